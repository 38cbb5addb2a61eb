"""What a stretch of frames shows: an emotion or none, from action units, flow and their course over time."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastck.arrayfile import model_file
from fastck.faces.dense import blas, read_dense
from fastck.faces.units import UNITS, UnitModel
from fastck.recogniser import Recogniser, softmax
from fastck.recognition.follow import Reading
from fastck.recognition.reading import Reference, choose_rest
from fastck.recognition.windows import NEAR_APEX, motion_windows

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


def judged_inputs(units: Floats, absolute: Floats | None, pose: Floats, chances: Floats, moved: Floats) -> Floats:
    """Return what the network takes of a stretch of T frames, (D,) float32.

    Parameters
    ----------
    units : ndarray of shape (T, 44)
        Intensities beside the reference.
    absolute : ndarray of shape (T, 44), optional
        Intensities beside the rendered average, where the face never rests. Beside its own rest they say more about who
        somebody is than about what they show.
    pose : ndarray of shape (T, 3)
        The head's turn, radians.
    chances : ndarray of shape (T, 8)
        What the flow's network says about each frame.
    moved : ndarray of shape (T,)
        The flow's displacement.
    """
    plain = units[:, PLAIN]
    level = np.zeros_like(plain) if absolute is None else absolute[:, PLAIN]
    top = plain.max(axis=0)
    near = near_apex(moved)
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


MOST = 90  # frames before one that its own answer is taken from, within its window
FEWEST = 2  # frames with the face in a window, below which flow alone answers
# The flow's own say: of whether there is an emotion, and of which one. It costs a hundredth of the rendered clips, and
# the flow is what has been measured on real smiles.
SAY, SAY_OF_KIND = 0.35, 0.7
FLOW_INPUTS = slice(-(3 * N_EMOTIONS + 2), None)  # of `judged_inputs`
N_INPUTS = 7 * len(PLAIN) + len(LOPSIDED) + len(SWINGING) + 6 + 3 * N_EMOTIONS + 2


def near_apex(moved: Floats) -> NDArray[np.bool_]:
    """Return which of a stretch's frames are near its largest displacement."""
    return np.asarray(moved >= NEAR_APEX * moved.max())


def pooled(judged: Floats, flow: Floats) -> Floats:
    """Return probabilities (N, 8) of the judge's and of the flow's network alone, each heard."""
    neutral = (1 - SAY) * judged[:, :1] + SAY * flow[:, :1]
    kinds, others = (one[:, 1:] / np.maximum(one[:, 1:].sum(axis=1, keepdims=True), 1e-9) for one in (judged, flow))
    say = SAY_OF_KIND * flow[:, 1:].sum(axis=1, keepdims=True)
    return np.concatenate([neutral, (1 - neutral) * ((1 - say) * kinds + say * others)], axis=1).astype(np.float32)


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
        self.about: dict[str, Any]
        with model_file(path, "judge", FORMAT) as (self.about, arrays):
            self._networks = [read_dense(arrays, f"judge{member}") for member in range(self.about["members"])]
            for network in self._networks:
                if len(network.kernels[0]) != N_INPUTS or len(network.biases[-1]) != N_EMOTIONS:
                    raise ValueError(f"a network must take {N_INPUTS} values and give {N_EMOTIONS}")

    def probabilities(self, values: Sequence[Floats]) -> Floats:
        """Return the probability of each class, (N, 8), for what `judged_inputs` gives for each stretch."""
        rows = np.stack(values)
        with blas().limit(limits=1, user_api="blas"):
            outputs = np.mean([network(rows) for network in self._networks], axis=0)
            return softmax(np.asarray(outputs / np.float32(self.about["temperature"]), np.float32))


@cache
def bundled_judge() -> Judge:
    """Return the judge that comes with the package, read once."""
    return Judge()


def judge_readings(
    readings: Sequence[Reading], recogniser: Recogniser, model: UnitModel
) -> tuple[list[Reading], Reference]:
    """Return a person's readings with the judge's answers for each frame, and what their face was compared with.

    A frame is judged by its window up to there. Where the face was not seen the answer stays the flow's.

    Parameters
    ----------
    readings : sequence of Reading
        Of one person, with what action units are read from.
    recogniser : Recogniser
        Says what is unsure.
    model : UnitModel
    """
    judge = bundled_judge()
    seen = [one.seen for one in readings if one.seen is not None]
    rest, reference = choose_rest(model, seen)
    judged: list[Reading] = []
    for window in motion_windows(readings):
        # A window may begin later than the one before it ends: what lies between is at rest.
        begin = window[0].moment.frame
        judged += [one for one in readings if one.moment.frame < begin][len(judged) :]
        judged += judge_window(window, judge, model, rest)
    judged += readings[len(judged) :]
    return [replace(one, emotion=recogniser.decide(one.probabilities)) for one in judged], reference


def judge_window(window: Sequence[Reading], judge: Judge, model: UnitModel, rest: Floats | None) -> list[Reading]:
    """Return a window's readings with the judge's probabilities, each by the frames up to it."""
    seen = [one.seen for one in window if one.seen is not None]
    there = [place for place, one in enumerate(window) if one.seen is not None]
    if len(seen) < FEWEST:
        return list(window)
    units = model.intensities(seen, rest)
    pose = np.stack([one.pose for one in seen])
    chances = np.stack([window[place].probabilities for place in there])
    moved = np.array([window[place].moment.displacement for place in there], np.float32)
    values, flow = [], []
    for end in range(FEWEST, len(seen) + 1):
        part = slice(max(0, end - MOST), end)
        flow.append(chances[part][near_apex(moved[part])].mean(axis=0))
        values.append(
            judged_inputs(units[part], units[part] if rest is None else None, pose[part], chances[part], moved[part])
        )
    answers = dict(zip(there[FEWEST - 1 :], pooled(judge.probabilities(values), np.stack(flow)), strict=True))
    return [replace(one, probabilities=answers.get(place, one.probabilities)) for place, one in enumerate(window)]
