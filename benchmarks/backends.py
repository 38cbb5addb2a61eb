r"""Time a training step of phases 3 and 5 on each Keras backend, on the CPU, and keep it in benchmarks/backends.json.

    python -m benchmarks.backends tensorflow=.venv/bin/python \
        jax=.venv-backends/bin/python torch=.venv-backends/bin/python

Each measurement is a process of its own, and the backends take turns. `benchmarks.report` shows the table.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu import STEPS
from benchmarks.machine import this_machine
from fastck.training.models.memory import GIB

RESULTS = Path(__file__).with_name("backends.json")
PHASES = (3, 5)
SAMPLES = 8
ROUNDS = 2


def measured(backend: str, python: str, phase: int) -> dict[str, Any]:
    """Return what one process measured."""
    command = [python, "-m", "benchmarks.gpu", "--measure", str(phase), "--samples", str(SAMPLES)]
    hidden = {"KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **hidden}, check=False)
    if done.returncode:
        raise SystemExit(f"{backend}, phase {phase}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def table(document: dict[str, Any]) -> list[str]:
    """Return the results as a Markdown table's lines, the fastest backend of each phase first."""
    lines = [
        "| phase | backend | first step, s | step, s | waiting for input | peak, GiB | planned, GiB | losses apart |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for phase in PHASES:
        entries = [entry for entry in document["entries"] if entry["phase"] == phase]
        reference = next(entry["losses"] for entry in entries if entry["backend"] == "tensorflow")
        for entry in sorted(entries, key=lambda entry: entry["step"]):
            apart = np.abs(np.subtract(entry["losses"], reference)).max()
            lines.append(
                f"| {phase} | {entry['backend']} {entry['version']} | {entry['first_step']:.1f} | {entry['step']:.2f} "
                f"| {entry['waiting']:.1%} | {entry['peak'] / GIB:.2f} | {entry['plan'] / GIB:.2f} | {apart:.0e} |"
            )
    return lines


def section() -> list[str]:
    """Return BENCHMARKS.md's section on Keras' backends; nothing without results."""
    if not RESULTS.exists():
        return []
    document = json.loads(RESULTS.read_text())
    about = (
        f"Steps of {SAMPLES} random sequences with the paper's 64 filters and the same initial weights; median of "
        f"{STEPS - 1} steps, the better of {ROUNDS} processes in turns. Losses of {STEPS} steps are compared with "
        "TensorFlow's; the peak is the whole process's. "
        "Written by `python -m benchmarks.backends`."
    )
    return ["## A step on each Keras backend, CPU", "", about, "", document["machine"], "", *table(document), ""]


def main(arguments: list[str]) -> int:
    """Measure all backends named, in turns."""
    pythons = dict(argument.partition("=")[::2] for argument in arguments)
    if "tensorflow" not in pythons or not all(pythons.values()):
        print("usage: python -m benchmarks.backends tensorflow=PYTHON [jax=PYTHON] [torch=PYTHON]", file=sys.stderr)
        return 2
    entries = []
    for phase in PHASES:
        rounds = [{name: measured(name, python, phase) for name, python in pythons.items()} for _ in range(ROUNDS)]
        for name in pythons:
            best = min((entry[name] for entry in rounds), key=lambda entry: entry["step"])
            entries.append({"phase": phase, **best})
            print(f"phase {phase} {name}: {best['step']:.2f} s a step", flush=True)
    RESULTS.write_text(json.dumps({"machine": this_machine(), "entries": entries}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
