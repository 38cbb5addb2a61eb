"""Repeats the report's experiments on a data set: `python -m tools.paper CK+ OUT` writes OUT/paper.md.

Preset `paper`, the report's split (70/30, shuffled), its network, 100 epochs: phases 3 and 4, its tables beside ours.
"""

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from sklearn.metrics import classification_report

from fastck import open_store, preprocess
from fastck.dataset.labels import EMOTIONS
from fastck.training.settings.config import TrainConfig
from fastck.training.train import train

# The report's figures 15 and 19: F1 and tested sequences by CK+'s code of the emotion, and accuracy.
REPORTED = {
    3: ({1: (0.63, 7), 2: (0.46, 6), 3: (0.71, 9), 4: (1.0, 3), 5: (0.84, 9), 6: (0.33, 7), 7: (0.95, 11)}, 0.71),
    4: ({1: (0.91, 12), 3: (0.87, 10), 5: (0.84, 9), 7: (0.90, 11)}, 0.88),
}


def main(
    folder: Annotated[Path, typer.Argument(help="CK+, or a folder in its layout.")],
    out: Annotated[Path, typer.Argument(help="Folder for the store, the two runs and paper.md.")],
    epochs: Annotated[int, typer.Option(help="Passes over the training part; the report's are 100.")] = 100,
) -> None:
    """Preprocess as the report's scripts do, train phases 3 and 4, and write the report's tables beside ours."""
    store = out / "store"
    preprocess(folder, store, preset="paper")
    text = "# The report's experiments, repeated\n"
    for phase in REPORTED:
        run = train(store, out / f"phase{phase}", TrainConfig(phase=phase, epochs=epochs))
        text += beside(run.predictions, phase)
    people = open_store(store).table["subject"].nunique()
    text += f"\nFrom {people} people of {folder.name}. Most tested sequences show a person of the training set.\n"
    (out / "paper.md").write_text(text, encoding="utf-8")
    print(text)


def beside(predictions: pd.DataFrame, phase: int) -> str:
    """A table with the report's F1 of each emotion, and that of these predictions."""
    reported, accuracy = REPORTED[phase]
    ours = classification_report(predictions["true"], predictions["predicted"], output_dict=True, zero_division=0)
    lines = [
        f"\n## Phase {phase}\n",
        "| | report: F1 | sequences | here: F1 | sequences |",
        "|---|---:|---:|---:|---:|",
    ]
    for code, (f1, support) in reported.items():
        row = ours[EMOTIONS[code]]
        lines.append(f"| {EMOTIONS[code]} | {f1:.2f} | {support} | {row['f1-score']:.2f} | {row['support']:.0f} |")
    tested = sum(support for _, support in reported.values())
    right = (predictions["true"] == predictions["predicted"]).mean()
    lines.append(f"| accuracy | {accuracy:.2f} | {tested} | {right:.2f} | {len(predictions)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    typer.run(main)
