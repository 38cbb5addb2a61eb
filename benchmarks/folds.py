"""Folds side by side, on a Dask cluster of which a worker dies, and models of slight expressions.

    python -m benchmarks.folds FOLDER

Each run is a `fastck train` of its own, one fold at a time and then two. FOLDER keeps the rendered people and their
store; what was measured on the same machine and day is not measured again. `benchmarks.report` shows the table.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.machine import this_machine
from fastck.render.dataset import render_dataset
from fastck.render.variation import EASY
from fastck.store.reader import open_store
from fastck.training.run import open_run

RESULTS = Path(__file__).with_name("folds.json")
SUBJECTS = 40
JOBS = (1, 2)
# Leave-one-subject-out is one fold a person.
LOSO = ("--phase=5", "--model=linear", "--protocol=loso", "--no-final")
WAYS: dict[str, tuple[str, ...]] = {
    f"linear, {SUBJECTS} folds": LOSO,
    "temporal, 4 folds of 6 epochs": (
        "--phase=5",
        "--model=temporal",
        "--protocol=stratified-group",
        "--folds=4",
        "--epochs=6",
        "--no-final",
    ),
    "ststnet, 4 folds of 30 epochs": (
        "--phase=5",
        "--model=ststnet",
        "--protocol=stratified-group",
        "--folds=4",
        "--epochs=30",
        "--no-final",
    ),
    "convlstm, 4 folds of 1 epoch": (
        "--phase=2",
        "--size=34",
        "--filters=16",
        "--protocol=stratified-group",
        "--folds=4",
        "--epochs=1",
        "--no-final",
    ),
}
# Expressions from a tenth of their strength on.
SLIGHT = replace(EASY, weakest=0.1)
SLIGHT_SEED = 22
MODELS = ("linear", "temporal", "ststnet")
SCORES = ("accuracy", "balanced_accuracy", "macro_f1")
# What a run writes that holds how long it took.
TIMED = {"run.json", "fold.json"}


def fastck(*arguments: str | Path) -> None:
    """Run a command to its end."""
    command = [sys.executable, "-m", "fastck.cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"fastck {' '.join(map(str, arguments))}: {done.stderr.strip()}")


def store_in(folder: Path) -> Path:
    """Return a store of rendered people, made where it is not there yet."""
    faces, store = folder / "faces", folder / "store"
    if not store.exists():
        if not faces.exists():
            fastck("render", faces, "--subjects", str(SUBJECTS), "--seed", "21", "--hard")
        fastck("preprocess", faces, store, "--features", "flow,pool34")
    return store


def run_of(store: Path, run: Path, *arguments: str) -> float:
    """Train into an empty folder and return the seconds it took."""
    shutil.rmtree(run, ignore_errors=True)
    began = time.perf_counter()
    fastck("train", store, "-o", run, *arguments)
    return time.perf_counter() - began


def written(run: Path) -> dict[str, bytes]:
    """Return all files of a run but those that hold times; of a network its weights."""
    files = (path for path in run.rglob("*") if path.is_file() and path.name not in TIMED)
    return {str(path.relative_to(run)): content(path) for path in files}


def content(path: Path) -> bytes:
    """Return a file's bytes; of a network's those of its weights, as Keras writes a time and counts its layers."""
    if path.suffix != ".keras":
        return path.read_bytes()
    with zipfile.ZipFile(path) as network:
        return network.read("model.weights.h5")


def side_by_side(store: Path, folder: Path, way: str) -> dict[str, Any]:
    """Return seconds for each number of jobs, and whether the runs are the same bytes."""
    runs = {jobs: folder / f"{way.split(',')[0]}-{jobs}" for jobs in JOBS}
    seconds = {jobs: run_of(store, run, *WAYS[way], "--jobs", str(jobs)) for jobs, run in runs.items()}
    one, two = (written(run) for run in runs.values())
    return {"way": way, "one": seconds[1], "two": seconds[2], "same": one == two}


def on_cluster(store: Path, folder: Path) -> dict[str, Any]:
    """Fit all people's folds on two workers, kill one on the way, and compare with the run of two jobs."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        killed = threading.Thread(target=kill_one, args=(cluster, folder / "run-dask"), daemon=True)
        shutil.rmtree(folder / "run-dask", ignore_errors=True)
        killed.start()
        seconds = run_of(store, folder / "run-dask", *LOSO, "--scheduler", cluster.scheduler_address)
        killed.join()
    run_of(store, folder / "run-2", *LOSO, "--jobs", "2")
    return {"seconds": seconds, "same": written(folder / "run-dask") == written(folder / "run-2")}


def kill_one(cluster: Any, run: Path) -> None:
    """Kill a worker once a quarter of the folds are there."""
    while len(list(run.glob("folds/*/fold.json"))) < SUBJECTS // 4:
        time.sleep(0.05)
    os.kill(next(iter(cluster.workers.values())).pid, signal.SIGKILL)


def on_slight(folder: Path) -> list[dict[str, Any]]:
    """Return each model's scores on people who show slight expressions: ten folds of people, its own defaults."""
    faces, store = folder / "slight", folder / "store-slight"
    if not store.exists():
        if not faces.exists():
            render_dataset(faces, subjects=SUBJECTS, seed=SLIGHT_SEED, variation=SLIGHT)
        fastck("preprocess", faces, store, "--features", "flow")
    entries = []
    for model in MODELS:
        run = folder / f"slight-{model}"
        options = ("--phase=5", f"--model={model}", "--protocol=subject-10fold", "--no-final", "--jobs=2")
        seconds = run_of(store, run, *options)
        report = open_run(run).report["evaluation"]
        entries.append({"model": model, "seconds": seconds, "scores": {name: report[name] for name in SCORES}})
        print(entries[-1], flush=True)
    return entries


def section() -> list[str]:
    """Return BENCHMARKS.md's section on folds; nothing without results."""
    if not RESULTS.exists():
        return []
    document = json.loads(RESULTS.read_text())
    lines = [
        "## Folds side by side",
        "",
        f"{document['sequences']} sequences of {SUBJECTS} rendered people of the hard set, {document['cores']} cores; "
        "a whole `fastck train` each, once, while other programs ran. Each network has one thread, however many "
        "folds are fitted at once. Written by `python -m benchmarks.folds`.",
        "",
        f"Machine: {document['machine']}.",
        "",
        "| | `--jobs 1` | `--jobs 2` | times as fast | files of the run, and weights |",
        "|---|---:|---:|---:|---|",
    ]
    for entry in document["entries"]:
        same = "the same bytes" if entry["same"] else "**different**"
        gained = entry["one"] / entry["two"]
        shown = f"{gained:.2f}x" if gained > 1 else f"{gained:.2f}x **slower**"
        lines.append(f"| {entry['way']} | {entry['one']:.1f} s | {entry['two']:.1f} s | {shown} | {same} |")
    lines.append("")
    if "dask" in document:
        outcome = "the same bytes as two jobs'" if document["dask"]["same"] else "**other bytes than two jobs'**"
        lines += [
            f"The {SUBJECTS} folds of the linear model on a local Dask cluster of two workers, one of them killed "
            f"after a quarter of the folds: {document['dask']['seconds']:.1f} s, {outcome}.",
            "",
        ]
    if "slight" in document:
        lines += [
            f"Slight expressions: {SUBJECTS} people of the easy set who show emotions from a tenth of their strength "
            "on, subject-10fold, each model with its own defaults; in brackets 95 % intervals over people.",
            "",
            "| model | accuracy | UAR | UF1 | ten folds, `--jobs 2` |",
            "|---|---:|---:|---:|---:|",
        ]
    for entry in document.get("slight", []):
        scores = [entry["scores"][name] for name in SCORES]
        shown = " | ".join(f"{one['value']:.3f} [{one['low']:.3f}, {one['high']:.3f}]" for one in scores)
        lines.append(f"| {entry['model']} | {shown} | {entry['seconds']:.0f} s |")
    return [*lines, ""]


def keep(document: dict[str, Any]) -> None:
    """Write down what was measured so far."""
    RESULTS.write_text(json.dumps(document, indent=1) + "\n")


def main(arguments: list[str]) -> int:
    """Measure all ways."""
    if len(arguments) != 1:
        print("usage: python -m benchmarks.folds FOLDER", file=sys.stderr)
        return 2
    folder = Path(arguments[0]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    store = store_in(folder)
    document: dict[str, Any] = {
        "machine": this_machine(),
        "cores": os.cpu_count(),
        "sequences": len(open_store(store)),
        "entries": [],
    }
    if RESULTS.exists() and (kept := json.loads(RESULTS.read_text()))["machine"] == document["machine"]:
        document = kept
    # After each part, so that what is done is kept where the rest is cut off.
    if "dask" not in document:
        document["dask"] = on_cluster(store, folder)
        keep(document)
    measured = {entry["way"] for entry in document["entries"]}
    for way in WAYS:
        if way not in measured:
            document["entries"].append(side_by_side(store, folder, way))
            print(document["entries"][-1], flush=True)
            keep(document)
    if "slight" not in document:
        document["slight"] = on_slight(folder)
        keep(document)
    print(f"wrote {RESULTS}; python -m benchmarks.report shows it in BENCHMARKS.md")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
