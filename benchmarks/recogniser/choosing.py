"""Rendered people whom settings were chosen by: others than those trained on, and more varied than the hard set's."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.recogniser.people import NO_CLASS, WIDE, Windows, load_windows, render_people

# Added to the seed: people whom no other part has.
SEEDS = {"wide": 1007, "loose": 1008}


def choosing_windows(folder: Path, kind: str, *, seed: int, people: int, n_jobs: int = -1) -> Windows:
    """Return windows of people who vary widely, rendered or from the folder.

    Parameters
    ----------
    folder : Path
    kind : str
        "wide", by the renderer's recipes, or "loose", by loose ones.
    seed : int
        That of the making.
    people, n_jobs : int
    """
    seed += SEEDS[kind]
    path = folder / f"windows-choosing-{seed}-{people}.npz"
    if not path.exists():
        render_people(
            seed, people, lambda number: WIDE, rounds=1, versions=2, loose=kind == "loose", n_jobs=n_jobs
        ).save(path)
    windows = load_windows(path)
    return windows.pick(windows.code != NO_CLASS)


def balanced(probabilities: NDArray[np.float32], code: NDArray[np.int16]) -> dict[str, float]:
    """Return the share right and the log loss, both as means over the classes' own."""
    right = probabilities.argmax(axis=1) == code
    loss = -np.log(np.maximum(probabilities[np.arange(len(code)), code], 1e-7))
    named = {"right": right, "log_loss": loss}
    return {
        name: round(float(np.mean([values[code == one].mean() for one in np.unique(code)])), 4)
        for name, values in named.items()
    }
