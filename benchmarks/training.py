"""Train every phase on rendered faces and keep what came of it in benchmarks/training.json, for `benchmarks.report`.

    python -m benchmarks.training FOLDER [NAME ...]

Takes about two hours on two cores for the paper's phases and one for the features. A trial that is already in FOLDER is
not trained again; one that is neither there nor named stays in the file as it was. Each is a `train.py` of its own,
because peak memory and processor time are a process's.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import fastck
from benchmarks.machine import this_machine
from fastck import preprocess
from fastck.config import FlowConfig, Preset
from fastck.ops.flow import FlowPass
from fastck.render import EASY, HARD, render_dataset

RESULTS = Path(__file__).with_name("training.json")
TRAIN = Path(__file__).parents[1] / "train.py"
SUBJECTS = 60
FRAMES = 20
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
# Everything of one kind: all sequences, ten folds of people, the defaults of the model unless said.
FEATURES = {
    "flow": "--phase 5 --size 28",
    "flow_projection": "--phase 5 --size 64",
    "projection": "--phase 3 --per-emotion 0",
    "pool34": "--phase 2 --size 34 --per-emotion 0",
}
CONVLSTM = "--augment --batch-size 32 --filters 16 --learning-rate 0.002"
FOLDED = "--protocol subject-10fold --no-keep-models --checkpoint-every 0"
# People to render for the table of features; how many epochs a ConvLSTM2D gets there.
SETS = {"easy": {"seed": 11}, "hard": {"seed": 3, "hard": True}}
EPOCHS = {"easy": 12, "hard": 20}
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
    *(
        Trial(
            f"{people}-{preset}-{feature}-{model}",
            "features",
            f"{people}-{preset}",
            f"{FEATURES[feature]} --model {model} {FOLDED} "
            + (f"{CONVLSTM} --epochs {EPOCHS[people]}" if model == "convlstm" else ""),
        )
        for people in SETS
        for feature, presets, models in (
            ("flow", ("stable",), ("linear", "temporal")),
            ("flow_projection", ("stable",), ("linear", "temporal", "convlstm")),
            ("projection", ("stable", "paper"), ("linear", "convlstm")),
            ("pool34", ("stable", "paper"), ("linear",)),
        )
        for preset in presets
        for model in models
    ),
]


def stores(folder: Path, wanted: set[str]) -> dict[str, Path]:
    """Render and preprocess what is not there yet; path of each wanted store: "stable", "hard-paper", ..."""
    found: dict[str, Path] = {}
    for name in sorted(wanted):
        people, _, rest = name.partition("-")
        preset: Preset = "paper" if name.endswith("paper") else "stable"
        faces, found[name] = folder / (f"faces-{people}" if rest else "faces"), folder / f"store-{name}"
        features: tuple[str, ...] = ("projection", "pool34") if rest else ("projection",)
        if preset == "stable":
            features = (*features, "flow", "flow_projection") if rest else (*features, "mask", *POOLED)
        if not (found[name] / "manifest.json").exists():
            if not faces.exists():
                chosen = SETS.get(people, {"seed": 0})
                variation = HARD if chosen.get("hard") else EASY
                render_dataset(faces, subjects=SUBJECTS, seed=chosen["seed"], variation=variation)
            preprocess(faces, found[name], preset=preset, features=features)
    return found


def train(trial: Trial, store: Path, folder: Path) -> None:
    """Run one trial, unless it is there, and note its peak memory beside it."""
    run = folder / trial.name
    if done(trial, folder):
        return
    command = [sys.executable, str(TRAIN), str(store), "-o", str(run), *trial.options.split()]
    with (folder / f"{trial.name}.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{trial.name} failed: see {log.name}")
    (run / "peak.json").write_text(
        json.dumps({"peak": usage.ru_maxrss * 1024, "processor": usage.ru_utime + usage.ru_stime})
    )


def done(trial: Trial, folder: Path) -> bool:
    """Whether a trial's run is finished."""
    return (folder / trial.name / "peak.json").exists()


SHOWN = ("phase", "frame", "model", "protocol", "filters", "epochs", "batch_size")


def row(trial: Trial, folder: Path) -> dict[str, Any]:
    """What the report shows of a finished trial."""
    run = folder / trial.name
    record = json.loads((run / "run.json").read_text())
    report = json.loads((run / "report.json").read_text())
    history = pd.read_csv(run / "history.csv")
    fits = record["fits"]
    seconds = sum(fit["seconds"] for fit in fits)
    arguments = {**record["arguments"], "frame": record["feature"]}
    peak = json.loads((run / "peak.json").read_text())
    first, last = (history.loc[history["epoch"] == epoch, "loss"].mean() for epoch in (1, history["epoch"].max()))
    plan = record["memory_plan"] or {}
    return {
        "name": trial.name,
        "kind": trial.kind,
        "preset": trial.preset,
        "arguments": {key: arguments[key] for key in SHOWN},
        "plan": {key: plan.get(key) for key in ("total", "micro_batch", "remat", "parameters")},
        "peak": peak["peak"],
        "processor": peak.get("processor"),
        "calibration": report["evaluation"]["calibration"]["error"],
        "steps": sum(fit["optimizer_steps"] for fit in fits),
        "seconds": seconds,
        "input_share": sum(fit["input_seconds"] for fit in fits) / seconds,
        "loss": [float(first), float(last)],
        "n": report["evaluation"]["n"],
        "subjects": report["evaluation"]["subjects"],
        "leakage": report["leakage"],
        "scores": {key: report["evaluation"][key] for key in ("accuracy", "balanced_accuracy", "macro_f1")},
        "baselines": {entry["name"]: entry["accuracy"]["value"] for entry in report["baselines"]},
        "intervals": {entry["name"]: entry["accuracy"] for entry in report["baselines"]},
    }


def same(one: Path, two: Path) -> bool:
    """Whether two runs of the same seed wrote the same report, predictions and history."""
    return all(
        (one / name).read_bytes() == (two / name).read_bytes()
        for name in ("report.json", "predictions.csv", "history.csv")
    )


def feature_times() -> list[dict[str, Any]]:
    """Processor time of each feature for one frame of 267x267 pixels, in one thread: best of ten calls."""
    import cv2

    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.integers(0, 256, (300, 300), np.uint8), (0, 0), 3)
    texture = cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX)
    crops = np.stack([texture[step : step + 267, :267] for step in range(FRAMES)])
    ways: dict[str, Callable[[], object]] = {
        "difference": lambda: fastck.frame_difference(crops),
        "mask": lambda: fastck.motion_masks(crops),
        "pool134, pool67, pool34": lambda: fastck.motion_pools(crops),
        "projection": lambda: fastck.motion_projections(crops),
        "flow": lambda: fastck.optical_flow(crops),
        "flow_projection": lambda: FlowPass(FlowConfig()).rows(crops, ["flow_projection"]),
    }
    times = []
    for name, way in ways.items():
        way()
        seconds = []
        for _ in range(10):
            began = time.process_time()
            way()
            seconds.append(time.process_time() - began)
        times.append({"feature": name, "seconds": min(seconds) / (FRAMES - 1)})
    return times


def write_results(folder: Path) -> None:
    """Put every finished trial into the file; those that are not in the folder stay as they were."""
    before = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    rows = {entry["name"]: entry for entry in before.get("trials", [])}
    finished = [trial for trial in TRIALS if done(trial, folder)]
    rows |= {trial.name: row(trial, folder) for trial in finished if trial.kind != "again"}
    names = [trial.name for trial in TRIALS]
    document: dict[str, Any] = before | {
        "feature_times": feature_times(),
        "subjects": SUBJECTS,
        "trials": sorted(rows.values(), key=lambda entry: names.index(entry["name"])),
    }
    machine = "machine_of_features" if all(trial.kind == "features" for trial in finished) else "machine"
    document[machine] = this_machine()
    for trial in finished:
        if trial.kind == "again":
            first = trial.name.removesuffix("-again")
            document["same"] = {"name": first, "equal": same(folder / first, folder / trial.name)}
    RESULTS.write_text(json.dumps(document, indent=1) + "\n")


def main(arguments: list[str]) -> int:
    """Train what is missing of the trials named (all by default), then write down every one that is there."""
    if not arguments:
        print("usage: python -m benchmarks.training FOLDER [NAME ...]", file=sys.stderr)
        return 2
    folder, names = Path(arguments[0]).resolve(), arguments[1:]
    folder.mkdir(parents=True, exist_ok=True)
    chosen = [trial for trial in TRIALS if not names or trial.name in names]
    paths = stores(folder, {trial.preset for trial in chosen if not done(trial, folder)})
    for trial in chosen:
        print(trial.name, flush=True)
        if not done(trial, folder):
            train(trial, paths[trial.preset], folder)
        # After each, so that what is done is kept where the rest is cut off.
        write_results(folder)
    print(f"wrote {RESULTS}; python -m benchmarks.report shows it in BENCHMARKS.md")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
