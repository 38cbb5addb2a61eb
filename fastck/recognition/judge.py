"""What a stretch of frames shows: an emotion or none, from action units, flow and their course over time."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastck.arrayfile import model_file
from fastck.faces.appearance import Look
from fastck.faces.dense import blas, read_dense
from fastck.faces.units import UNITS, UnitModel
from fastck.recogniser import Recogniser, softmax
from fastck.recognition.follow import Reading
from fastck.recognition.reading import Reference, expressiveness, read_units
from fastck.recognition.windows import NEAR_APEX, from_apex, largest_motion, motion_windows, near_apex

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


class Course(NamedTuple):
    """What is known of a stretch of T frames.

    Attributes
    ----------
    units : ndarray of shape (T, 44)
        Intensities beside the reference.
    level : ndarray of shape (T, 44), optional
        As in `fastck.recognition.reading.FaceUnits`: None where the clip begins at rest.
    pose : ndarray of shape (T, 3)
        The head's turn, radians.
    chances : ndarray of shape (T, 8)
        What the flow's network says about each frame.
    moved : ndarray of shape (T,)
        The flow's displacement.
    """

    units: Floats
    level: Floats | None
    pose: Floats
    chances: Floats
    moved: Floats

    def until(self, end: int) -> "Course":
        """Return the last frames before one, `MOST` of them."""
        part = slice(max(0, end - MOST), end)
        level = None if self.level is None else self.level[part]
        return Course(self.units[part], level, self.pose[part], self.chances[part], self.moved[part])

    def flow(self) -> Floats:
        """Return what the flow alone says, (8,): its mean near the apex."""
        return np.asarray(self.chances[near_top(self.moved)].mean(axis=0), np.float32)


def judged_inputs(course: Course) -> Floats:
    """Return what the network takes of a stretch of frames, (D,) float32."""
    units, level, pose, chances, moved = course
    plain = units[:, PLAIN]
    level = np.zeros_like(plain) if level is None else level[:, PLAIN]
    top = plain.max(axis=0)
    near = near_top(moved)
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
FEWEST = 2  # frames with the face in a window that begins at rest, below which flow alone answers
# The flow's own say: of whether there is an emotion, and of which one. It costs a hundredth of the rendered clips, and
# the flow is what has been measured on real smiles. It has none where a clip begins otherwise: a face that does not
# move from its onset is at rest only if that is.
SAY, SAY_OF_KIND = 0.35, 0.7
FLOW_INPUTS = slice(-(3 * N_EMOTIONS + 2), None)  # of `judged_inputs`
N_INPUTS = 7 * len(PLAIN) + len(LOPSIDED) + len(SWINGING) + 6 + 3 * N_EMOTIONS + 2


def near_top(moved: Floats) -> NDArray[np.bool_]:
    """Return which of a stretch's frames are near its largest displacement."""
    return np.asarray(moved >= NEAR_APEX * moved.max())


def pooled(judged: Floats, flow: Floats, rested: NDArray[np.bool_]) -> Floats:
    """Return probabilities (N, 8) of the judge's network and of the flow's, both heard where a clip begins at rest."""
    neutral = (1 - SAY) * judged[:, :1] + SAY * flow[:, :1]
    kinds, others = (one[:, 1:] / np.maximum(one[:, 1:].sum(axis=1, keepdims=True), 1e-9) for one in (judged, flow))
    say = SAY_OF_KIND * flow[:, 1:].sum(axis=1, keepdims=True)
    both = np.concatenate([neutral, (1 - neutral) * ((1 - say) * kinds + say * others)], axis=1)
    return np.where(rested[:, None], both, judged).astype(np.float32)


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
                if len(network.kernels[0]) != N_INPUTS or network.outputs != N_EMOTIONS:
                    raise ValueError(f"a network must take {N_INPUTS} values and give {N_EMOTIONS}")

    def probabilities(self, courses: Sequence[Course]) -> Floats:
        """Return each class' probability for each stretch, (N, 8), with the flow's say where one begins at rest."""
        rows, flow = np.stack([judged_inputs(one) for one in courses]), np.stack([one.flow() for one in courses])
        rested = np.array([one.level is None for one in courses])
        with blas().limit(limits=1, user_api="blas"):
            outputs = np.mean([network(rows) for network in self._networks], axis=0)
        return pooled(softmax(np.asarray(outputs / np.float32(self.about["temperature"]), np.float32)), flow, rested)


@cache
def bundled_judge() -> Judge:
    """Return the judge that comes with the package, read once."""
    return Judge()


class Judged(NamedTuple):
    """A person's readings with the judge's answers.

    Attributes
    ----------
    readings : list of Reading
    reference : {"onset", "median", "average", "neutral"}
        What the face was compared with.
    shown : dict of int to float, optional
        Where the clip does not begin at rest: how much the face shows beside the reference, for each frame with it.
    """

    readings: list[Reading]
    reference: Reference
    shown: dict[int, float] | None

    @property
    def windows(self) -> list[Sequence[Reading]]:
        """The windows of the readings."""
        return motion_windows(self.readings, rested=self.shown is None)

    def apex(self, window: Sequence[Reading]) -> Reading:
        """Return the reading that a window is said to end with.

        The one with the largest displacement; where the clip does not begin at rest that may be its rest, and it is the
        last one that shows nearly the most.
        """
        most = self._showing_most(window)
        return window[most[-1]] if most else largest_motion(window)

    def answering(self, window: Sequence[Reading]) -> Sequence[Reading]:
        """Return those of a window's readings whose mean is its answer.

        Each has heard the window up to there, and the later ones the most: the later half of the readings from the apex
        on. Where a clip does not begin at rest: all readings from the one on that shows nearly the most. None that no
        longer hears the apex.
        """
        if self.shown is None:
            late = from_apex(window)[:MOST]
            return late[len(late) // 2 :]
        most = self._showing_most(window)
        return window[most[0] :][:MOST] if most else near_apex(window)

    def _showing_most(self, window: Sequence[Reading]) -> list[int]:
        """Return the places of a window's readings that show nearly the most; none of a clip that begins at rest."""
        shown = self.shown or {}
        sizes = {place: shown[one.moment.frame] for place, one in enumerate(window) if one.moment.frame in shown}
        least = NEAR_APEX * max(sizes.values(), default=0.0)
        return [place for place, size in sizes.items() if size >= least]


def judge_readings(
    readings: Sequence[Reading], recogniser: Recogniser, model: UnitModel, *, neutral: Look | None = None
) -> Judged:
    """Return a person's readings with the judge's answers for each frame.

    A frame is judged by its window up to there. Where the face was not seen the answer stays the flow's.

    Parameters
    ----------
    readings : sequence of Reading
        Of one person, with what action units are read from.
    recogniser : Recogniser
        Says what is unsure.
    model : UnitModel
    neutral : Look, optional
        The face in a picture that is known to show it at rest; it need not be the first reading's.
    """
    judge = bundled_judge()
    units, reference, level = read_units(model, [one.seen for one in readings], neutral=neutral)
    judged: list[Reading] = []
    for window in motion_windows(readings, rested=level is None):
        # A window may begin later than the one before it ends: what lies between is at rest.
        begin = window[0].moment.frame
        judged += [one for one in readings if one.moment.frame < begin][len(judged) :]
        own = slice(len(judged), len(judged) + len(window))
        judged += judge_window(window, judge, units[own], None if level is None else level[own])
    judged += readings[len(judged) :]
    return Judged(
        readings=[replace(one, emotion=recogniser.decide(one.probabilities)) for one in judged],
        reference=reference,
        shown=None if level is None else shown_by(readings, units),
    )


def shown_by(readings: Sequence[Reading], units: Floats) -> dict[int, float]:
    """Return the sum of the intensities that tell (N, 44) for each frame in which the face was seen."""
    sums = expressiveness(units).tolist()
    return {one.moment.frame: size for one, size in zip(readings, sums, strict=True) if one.seen is not None}


def judge_window(window: Sequence[Reading], judge: Judge, units: Floats, level: Floats | None) -> list[Reading]:
    """Return a window's readings with the judge's probabilities, each by the frames up to it and their units (T, 44).

    `level` as in `Course`.
    """
    there = [place for place, one in enumerate(window) if one.seen is not None]
    fewest = FEWEST if level is None else 1
    if len(there) < fewest:
        return list(window)
    course = course_of([window[place] for place in there], units[there], None if level is None else level[there])
    said = judge.probabilities([course.until(end) for end in range(fewest, len(there) + 1)])
    answers = dict(zip(there[fewest - 1 :], said, strict=True))
    return [replace(one, probabilities=answers.get(place, one.probabilities)) for place, one in enumerate(window)]


def course_of(readings: Sequence[Reading], units: Floats, level: Floats | None) -> Course:
    """Return what is known of readings, in each of which the face was seen, and of their units."""
    return Course(
        units=units,
        level=level,
        pose=np.stack([one.seen.pose for one in readings if one.seen is not None]),
        chances=np.stack([one.probabilities for one in readings]),
        moved=np.array([one.moment.displacement for one in readings], np.float32),
    )
