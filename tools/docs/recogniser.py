"""Prints the tables of explanation/recogniser.md and draws its picture.

`python -m tools.docs.recogniser REAL_FACES [PHOTOS]`

What it says about rendered people was measured when the model was made and stands in the model file.

REAL_FACES is a folder in CK+'s layout; labelled sequences are smiles, the others people who talk or sign. PHOTOS is a
folder of photographs of faces at rest.
"""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import fastck
from fastck.dataset.clip import clip_record
from fastck.dataset.layouts import scan
from fastck.dataset.records import SequenceRecord
from fastck.faces.box import Gray
from fastck.images.image import read_gray
from fastck.pipeline.frames import BadSequence, record_frames
from fastck.recogniser import bundled
from fastck.recognition.clip import recognise
from fastck.views.prediction_plot import plot_prediction

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "recogniser.png"
NOISE, REPEATS = 3.0, 14  # gray levels; frames
SHOWN = 1  # of the sample's clips
ANSWERS = ("unsure", "neutral", "the expression named", "another emotion")
MEASURED = {
    "right, of eight classes": "accuracy",
    "expected calibration error (15 bins)": "calibration_error",
    "clips that get 90 % or more": "sure",
    "of these, right": "sure_right",
    "clips that get an answer, 50 % or more": "told",
    "of the answers, right": "told_right",
}


def noisy(frame: Gray, seed: int) -> Iterator[Gray]:
    """Yield one frame again and again, each time with other camera noise."""
    rng = np.random.default_rng(seed)
    for _ in range(REPEATS):
        yield np.clip(frame + rng.normal(0, NOISE, frame.shape), 0, 255).round().astype(np.uint8)


def row(name: str, named: dict[str, float]) -> str:
    """Return a row of a table: the answer, and the two most likely classes."""
    first, second = sorted(named, key=named.__getitem__, reverse=True)[:2]
    answer = first if named[first] >= bundled().unsure_below else "unsure"
    return f"| {name} | {answer} | {first} {100 * named[first]:.0f} % | {second} {100 * named[second]:.0f} % |"


def clip_rows(records: list[SequenceRecord]) -> Iterator[str]:
    """Yield a row for each clip; why there is none where it cannot be used."""
    for record in records:
        try:
            prediction = recognise(record)
        except BadSequence as error:
            yield f"| {record.sequence} | {error} | | |"
            continue
        yield row(record.sequence, prediction.probabilities)


def rest_rows(frames: Iterable[tuple[str, Gray]]) -> Iterator[str]:
    """Yield a row for each picture of a face at rest, repeated with camera noise."""
    for seed, (name, frame) in enumerate(frames):
        yield row(name, fastck.predict(noisy(frame, seed)).probabilities)


def photographs(folder: Path) -> Iterator[tuple[str, Gray]]:
    """Yield names and gray levels of a folder's photographs."""
    for path in sorted(folder.glob("*.jpg")):
        yield path.stem, read_gray(path)


def rendered_rows(about: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of the tables about rendered people."""
    yield from ("| | |", "|---|---:|")
    for name, key in MEASURED.items():
        value = about[key]
        yield f"| {name} | {value:.3f} |" if key == "calibration_error" else f"| {name} | {100 * value:.1f} % |"
    yield from ("", "| shows | right |", "|---|---:|")
    for act, share in about["by_act"].items():
        yield f"| {act} | {100 * share:.0f} % |"
    yield from (
        "",
        "| clips that begin with an expression | " + " | ".join(ANSWERS) + " |",
        "|---|" + "---:|" * len(ANSWERS),
    )
    for kind, shares in about["begun"].items():
        yield f"| {kind} | " + " | ".join(f"{100 * shares[name]:.0f} %" for name in ANSWERS) + " |"
    yield ""


def main() -> None:
    """Print the tables about rendered people, smiles, faces at rest and people without a label; draw a picture."""
    cv2.setNumThreads(1)
    print("\n".join(rendered_rows(bundled().about)))
    records = scan(Path(sys.argv[1]), layout="ckplus").records
    smiles = [record for record in records if record.emotion is not None]
    others = [record for record in records if record.emotion is None]
    first = ((record.sequence, next(record_frames(record))) for record in smiles)
    tables = [clip_rows(smiles), rest_rows(first), clip_rows(others)]
    tables += [rest_rows(photographs(Path(folder))) for folder in sys.argv[2:]]
    for rows in tables:
        print("| clip | answer | most likely | next |\n|---|---|---|---|")
        for line in rows:
            print(line, flush=True)
        print()
    clips = sorted((fastck.sample() / "cohn-kanade-images").glob("*/*"))
    shown = clip_record(clips[SHOWN])
    plot_prediction(recognise(shown, keep_flow=True), PICTURE, record=shown)
    # Without transparency, and packed as small as it goes.
    cv2.imwrite(str(PICTURE), cv2.imread(str(PICTURE)), [cv2.IMWRITE_PNG_COMPRESSION, 9])


if __name__ == "__main__":
    main()
