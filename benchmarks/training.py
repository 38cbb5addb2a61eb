"""Train every phase on rendered faces and keep what came of it in benchmarks/training.json, for `benchmarks.report`.

    python -m benchmarks.training FOLDER [NAME ...]

Takes about two hours on two cores. A trial that is already in FOLDER is not trained again. Each is a `train.py` of its
own, because peak memory is a process's.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.report import this_machine
from fastck import preprocess
from fastck.config import Preset
from fastck.render import render_dataset

RESULTS = Path(__file__).with_name("training.json")
TRAIN = Path(__file__).parents[1] / "train.py"
SUBJECTS = 60
POOLED = ("pool134", "pool67", "pool34")
# An eighth of the paper's filters and a third of its epochs: a fold then takes minutes, not hours, on two cores.
SMALL = "--filters 8 --epochs 30 --learning-rate 0.003 --no-keep-models --checkpoint-every 0"
BRIEF = "--no-baselines --no-keep-models --checkpoint-every 0"


@dataclass(frozen=True)
class Trial:
    """One training run: `memory` trials compare plan and peak, `accuracy` trials say what the network is worth."""

    name: str
    kind: str
    preset: str
    options: str


PHASES = {
    "phase-1": "--phase 1 --memory 20GiB --batch-size 4 --per-emotion 1 --epochs 4 --learning-rate 0.00001",
    "phase-2-134": "--phase 2 --size 134 --batch-size 8 --per-emotion 2 --epochs 4 --learning-rate 0.0001",
    "phase-2-67": "--phase 2 --size 67 --batch-size 16 --per-emotion 3 --epochs 4 --learning-rate 0.0001",
    "phase-2-34": "--phase 2 --size 34 --per-emotion 10 --epochs 4",
    "phase-3": "--phase 3 --epochs 4",
    "phase-4": "--phase 4 --epochs 4",
}
PROTOCOLS = ("random", "subject-10fold", "random-folds --folds 5", "stratified-group --folds 5")
TRIALS = [
    *(Trial(name, "memory", "stable", f"{options} {BRIEF}") for name, options in PHASES.items()),
    *(
        Trial(
            f"{preset}-{phase}-{protocol.split()[0]}",
            "accuracy",
            preset,
            f"--phase {phase} --protocol {protocol} {SMALL}",
        )
        for phase in (4, 3)
        for protocol in PROTOCOLS
        for preset in ("stable", "paper")
    ),
    Trial("stable-4-loso", "accuracy", "stable", f"--phase 4 --protocol loso {SMALL}"),
    Trial("stable-4-random-again", "again", "stable", f"--phase 4 --protocol random {SMALL}"),
]


def stores(folder: Path) -> dict[str, Path]:
    """Render and preprocess once; path of each preset's store."""
    if not (folder / "faces").exists():
        render_dataset(folder / "faces", subjects=SUBJECTS, seed=0)
    found: dict[str, Path] = {}
    features: dict[Preset, tuple[str, ...]] = {"stable": ("projection", "mask", *POOLED), "paper": ("projection",)}
    for preset in features:
        found[preset] = folder / f"store-{preset}"
        preprocess(folder / "faces", found[preset], preset=preset, features=features[preset])
    return found


def train(trial: Trial, store: Path, folder: Path) -> None:
    """Run one trial, unless it is there, and note its peak memory beside it."""
    run = folder / trial.name
    if (run / "peak.json").exists():
        return
    command = [sys.executable, str(TRAIN), str(store), "-o", str(run), *trial.options.split()]
    with (folder / f"{trial.name}.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{trial.name} failed: see {log.name}")
    (run / "peak.json").write_text(json.dumps({"peak": usage.ru_maxrss * 1024}))


def row(trial: Trial, folder: Path) -> dict[str, Any]:
    """What the report shows of a finished trial."""
    run = folder / trial.name
    record = json.loads((run / "run.json").read_text())
    report = json.loads((run / "report.json").read_text())
    history = pd.read_csv(run / "history.csv")
    fits = record["fits"]
    seconds = sum(fit["seconds"] for fit in fits)
    arguments = {**record["arguments"], "frame": record["feature"]}
    first, last = (history.loc[history["epoch"] == epoch, "loss"].mean() for epoch in (1, history["epoch"].max()))
    plan = record["memory_plan"]
    return {
        "name": trial.name,
        "kind": trial.kind,
        "preset": trial.preset,
        "arguments": {key: arguments[key] for key in ("phase", "frame", "protocol", "filters", "epochs", "batch_size")},
        "plan": {key: plan[key] for key in ("total", "micro_batch", "remat", "parameters")},
        "peak": json.loads((run / "peak.json").read_text())["peak"],
        "steps": sum(fit["optimizer_steps"] for fit in fits),
        "seconds": seconds,
        "input_share": sum(fit["input_seconds"] for fit in fits) / seconds,
        "loss": [float(first), float(last)],
        "n": report["evaluation"]["n"],
        "subjects": report["evaluation"]["subjects"],
        "leakage": report["leakage"],
        "scores": {key: report["evaluation"][key] for key in ("accuracy", "balanced_accuracy", "macro_f1")},
        "baselines": {entry["name"]: entry["accuracy"]["value"] for entry in report["baselines"]},
    }


def same(one: Path, two: Path) -> bool:
    """Whether two runs of the same seed wrote the same report, predictions and history."""
    return all(
        (one / name).read_bytes() == (two / name).read_bytes()
        for name in ("report.json", "predictions.csv", "history.csv")
    )


def main(arguments: list[str]) -> int:
    """Train what is missing of the trials named (all by default), then write down every one that is there."""
    if not arguments:
        print("usage: python -m benchmarks.training FOLDER [NAME ...]", file=sys.stderr)
        return 2
    folder, names = Path(arguments[0]).resolve(), arguments[1:]
    folder.mkdir(parents=True, exist_ok=True)
    paths = stores(folder)
    for trial in TRIALS:
        if not names or trial.name in names:
            print(trial.name, flush=True)
            train(trial, paths[trial.preset], folder)
    done = [trial for trial in TRIALS if (folder / trial.name / "peak.json").exists()]
    document: dict[str, Any] = {
        "machine": this_machine(),
        "subjects": SUBJECTS,
        "trials": [row(trial, folder) for trial in done if trial.kind != "again"],
    }
    for trial in done:
        if trial.kind == "again":
            first = trial.name.removesuffix("-again")
            document["same"] = {"name": first, "equal": same(folder / first, folder / trial.name)}
    RESULTS.write_text(json.dumps(document, indent=1) + "\n")
    print(f"wrote {RESULTS}; python -m benchmarks.report shows it in BENCHMARKS.md")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
