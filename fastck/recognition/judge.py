"""What a stretch of frames shows: an emotion or none, from action units, flow and their course over time."""

import json
from collections.abc import Sequence
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastck.faces.dense import blas, read_dense
from fastck.faces.units import UNITS
from fastck.recognition.model import softmax

Floats = NDArray[np.float32]

BUNDLED = Path(__file__).with_name("judge.npz")
FORMAT = 1  # raised when the network or its inputs are of another kind
PLAIN = [number for number, name in enumerate(UNITS) if "_" not in name]
LOPSIDED = [
    (UNITS.index(f"{name}_left"), UNITS.index(f"{name}_right")) for name in ("AU02", "AU10", "AU12", "AU14", "AU45")
]
# Units whose going to and fro is counted: those of a speaking mouth, the smile, and the lids.
SWINGING = [UNITS.index(name) for name in ("AU12", "AU18", "AU22", "AU25", "AU26", "AU45")]
NOISE = 0.4  # of an intensity from one frame to the next: less is no motion
NEAR_APEX = 0.9  # of the largest displacement
LEAST_SHARE = 1e-3  # of a flow's probabilities, whose logarithms are taken
N_EMOTIONS = 8


def swings(intensities: Floats) -> Floats:
    """Return how far each column (T, N) goes up and down, in units of its range: 1 for a rise, 2 with a fall."""
    kept = intensities[0].astype(np.float32).copy()
    path = np.zeros_like(kept)
    for row in intensities:
        moved = np.abs(row - kept) >= NOISE
        path += np.where(moved, np.abs(row - kept), np.float32(0))
        kept[moved] = row[moved]
    span = intensities.max(axis=0) - intensities.min(axis=0)
    return np.asarray(path / np.maximum(span, np.float32(1)), np.float32)


def judged_inputs(units: Floats, absolute: Floats, pose: Floats, chances: Floats, moved: Floats) -> Floats:
    """Return what the network takes of a stretch of T frames, (D,) float32.

    Parameters
    ----------
    units : ndarray of shape (T, 44)
        Intensities beside the reference.
    absolute : ndarray of shape (T, 44)
        Intensities beside the rendered average.
    pose : ndarray of shape (T, 3)
        The head's turn, radians.
    chances : ndarray of shape (T, 8)
        What the flow's network says about each frame.
    moved : ndarray of shape (T,)
        The flow's displacement.
    """
    plain, level = units[:, PLAIN], absolute[:, PLAIN]
    top = plain.max(axis=0)
    near = moved >= NEAR_APEX * moved.max()
    shares = np.log(np.maximum(chances, np.float32(LEAST_SHARE)))
    parts = [
        top,
        plain.mean(axis=0),
        plain[-1],
        plain[0],
        level.mean(axis=0),
        level.max(axis=0),
        # How long a unit is held near its top, where there is one.
        (plain >= np.maximum(0.6 * top, 0.5)).mean(axis=0),
        np.array([units[:, left].max() - units[:, right].max() for left, right in LOPSIDED]),
        swings(units[:, SWINGING]),
        np.ptp(pose, axis=0) * 5,
        pose.mean(axis=0) * 2,
        shares[near].mean(axis=0) / 3,
        shares.mean(axis=0) / 3,
        shares[-1] / 3,
        [moved.max() * 50, moved[-1] * 50],
    ]
    return np.concatenate([np.asarray(part, np.float32) for part in parts])


FLOW_INPUTS = slice(-(3 * N_EMOTIONS + 2), None)  # of `judged_inputs`
N_INPUTS = 7 * len(PLAIN) + len(LOPSIDED) + len(SWINGING) + 6 + 3 * N_EMOTIONS + 2


class Judge:
    """Probabilities of the seven emotions and neutral for stretches of frames.

    Parameters
    ----------
    path : path-like, optional
        A model file; the bundled one by default.

    Attributes
    ----------
    about : dict
        How it was made.

    Raises
    ------
    ValueError
        If the file is no model that this version can read, or is damaged.
    OSError
        If it cannot be read.
    """

    def __init__(self, path: str | PathLike[str] = BUNDLED) -> None:
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            self.about: dict[str, Any] = json.loads(str(arrays.pop("about")))
            if self.about["format"] != FORMAT:
                raise ValueError(
                    f"format {self.about['format']} is of another version of fastck, this one reads {FORMAT}"
                )
            self._networks = [read_dense(arrays, f"judge{member}") for member in range(self.about["members"])]
            for network in self._networks:
                if len(network.kernels[0]) != N_INPUTS or len(network.biases[-1]) != N_EMOTIONS:
                    raise ValueError(f"a network must take {N_INPUTS} values and give {N_EMOTIONS}")
        except (KeyError, ValueError, EOFError) as error:
            raise ValueError(f"{path} is no model of fastck's judge: {error}") from error

    def probabilities(self, values: Sequence[Floats]) -> Floats:
        """Return the probability of each class, (N, 8), for what `judged_inputs` gives for each stretch."""
        rows = np.stack(values)
        with blas().limit(limits=1, user_api="blas"):
            outputs = sum(network(rows) for network in self._networks) / np.float32(len(self._networks))
            return softmax(outputs / np.float32(self.about["temperature"]))


@cache
def bundled_judge() -> Judge:
    """Return the judge that comes with the package, read once."""
    return Judge()
