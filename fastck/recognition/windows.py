"""The windows of a clip's motion: from rest to rest, and what the recogniser says about each."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from fastck.recogniser import Recogniser
from fastck.recognition.follow import Reading
from fastck.recognition.segments import Moment

NEAR_APEX = 0.9  # of a window's largest displacement: frames whose probabilities are averaged
SHORTEST_REST = 3  # frames at rest between two windows; fewer are noise


class Window(NamedTuple):
    """A window of a clip and what a network says about it.

    Attributes
    ----------
    first_frame, last_frame : int
        Counted from 1, both inside: from the onset to the apex; where a clip does not begin at rest, from its first
        frame to the last one that shows nearly the most.
    predicted : str
        The most likely class.
    emotion : str or None
        The same, None for unsure.
    probabilities : dict of str to float
        Of each class.
    """

    first_frame: int
    last_frame: int
    predicted: str
    emotion: str | None
    probabilities: dict[str, float]


def near_apex(window: Sequence[Reading]) -> list[Reading]:
    """Return the readings of a window whose displacement is nearly the largest.

    The frame at rest that a window begins with is never among them. A window has none where the face moves in the very
    frame from which on a new onset counts.
    """
    moving = window[1:] if window[0].moment.resting and len(window) > 1 else window
    largest = max(map(_size, moving))
    return [reading for reading in moving if _size(reading) >= NEAR_APEX * largest]


def from_apex(window: Sequence[Reading]) -> Sequence[Reading]:
    """Return the readings of a window from the first one on whose displacement is nearly the largest."""
    first = near_apex(window)[0]
    return window[next(place for place, reading in enumerate(window) if reading is first) :]


def largest_motion(window: Sequence[Reading]) -> Reading:
    """Return the first reading of a window with the largest displacement."""
    return max(window, key=_size)


def answered_windows(
    windows: Sequence[Sequence[Reading]],
    recogniser: Recogniser,
    answering: Callable[[Sequence[Reading]], Sequence[Reading]] = near_apex,
    apex: Callable[[Sequence[Reading]], Reading] = largest_motion,
) -> tuple[tuple[Window, ...], int]:
    """Return what is said about the windows of a clip, and the place of the one that shows the largest motion.

    A window's answer is the mean over those of its readings that `answering` returns; it is said to end at its `apex`.
    """
    answered = []
    for window in windows:
        mean = np.mean([reading.probabilities for reading in answering(window)], axis=0)
        answered.append(
            Window(
                first_frame=window[0].moment.frame + 1,
                last_frame=apex(window).moment.frame + 1,
                predicted=recogniser.classes[int(np.argmax(mean))],
                emotion=recogniser.decide(mean),
                probabilities=dict(zip(recogniser.classes, mean.tolist(), strict=True)),
            )
        )
    sizes = [max(map(_size, window)) for window in windows]
    return tuple(answered), int(np.argmax(sizes))


def strongest_window(readings: Sequence[Reading]) -> Sequence[Reading]:
    """Return the window with the largest displacement: the one that answers for the clip."""
    return max(motion_windows(readings), key=lambda window: max(map(_size, window)))


def _size(reading: Reading) -> float:
    return reading.moment.displacement


class WindowTracker:
    """Follows readings from window to window: from the last frame at rest until the face is back, or has a new onset.

    Attributes
    ----------
    begin : int
        The reading that the window begins with, or will, counted from 0.
    moved : bool
        Whether that window has begun.
    ended : bool
        Whether one has ended before.
    """

    def __init__(self) -> None:
        self.begin, self.moved, self.ended = 0, False, False
        self._count = self._rested = 0
        self._onset = -1

    def push(self, moment: Moment) -> slice | None:
        """Take in the next reading's moment; return the window that ended before it, None for none."""
        index, new_onset, window = self._count, self._count > 0 and moment.onset != self._onset, None
        if self.moved and (new_onset or self._rested >= SHORTEST_REST):
            # A face that moves again at once begins its window with the frame at rest before.
            end = index if new_onset or moment.resting else index - 1
            window = slice(self.begin, end)
            self.begin, self.moved, self.ended = end, False, True
        if new_onset:
            self.begin, self._rested = index, 0
        if moment.resting:
            self._rested += 1
            if not self.moved:
                self.begin = index
        else:
            self._rested, self.moved = 0, True
        self._count, self._onset = index + 1, moment.onset
        return window


def motion_windows(readings: Sequence[Reading], *, rested: bool = True) -> list[Sequence[Reading]]:
    """Cut readings into windows, as `WindowTracker` has them; a clip that rests all the time is one.

    `rested` says whether the face is at rest in the first frame; where it is not, the first window begins with that.
    """
    tracker = WindowTracker()
    ended = [tracker.push(reading.moment) for reading in readings]
    windows = [window for window in ended if window is not None]
    if tracker.moved or not windows:
        windows.append(slice(tracker.begin if tracker.moved else 0, len(readings)))
    if not rested:
        windows[0] = slice(0, windows[0].stop)
    return [readings[window] for window in windows]
