"""Rendered people whom settings were chosen by: others than those trained on, and more varied than the hard set's."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fastck.render.variation import HARD, Variation
from tools.recogniser.people import NO_CLASS, WIDE, Windows, render_people


def wide(number: int) -> Variation:
    """Return the wide variation, whoever it is."""
    return WIDE


def half_wide(number: int) -> Variation:
    """Return the hard set's variation for two of four people, the wide one for the others."""
    return HARD if number % 4 < 2 else WIDE


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A set: what is added to the seed, so that it has people of its own, and the arguments of `render_people`."""

    seed: int
    kind: str
    rounds: int
    variation: Callable[[int], Variation]


CHOICES = {
    "wide": Choice(seed=1007, kind="plain", rounds=1, variation=wide),
    "loose": Choice(seed=1008, kind="loose", rounds=1, variation=wide),
    "slight": Choice(seed=1009, kind="slight", rounds=2, variation=half_wide),
}


def choosing_windows(folder: Path, name: str, *, seed: int, people: int, n_jobs: int = -1) -> Windows:
    """Return windows of people whom settings are chosen by, rendered or from the folder.

    Parameters
    ----------
    folder : Path
    name : str
        "wide", by the renderer's recipes; "loose", by loose ones; "slight", by loose ones and weakly.
    seed : int
        That of the making.
    people, n_jobs : int
    """
    choice = CHOICES[name]
    seed += choice.seed
    path = folder / f"windows-choosing-{seed}-{people}.npz"
    if not path.exists():
        render_people(
            seed, people, choice.variation, rounds=choice.rounds, versions=2, kind=choice.kind, n_jobs=n_jobs
        ).save(path)
    windows = Windows.load(path)
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
