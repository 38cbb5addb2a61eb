"""The windows of a clip's motion: from rest to rest, and what the recogniser says about each."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from fastck.recognition.follow import Reading
from fastck.recognition.model import Recogniser

NEAR_APEX = 0.9  # of a window's largest displacement: frames whose probabilities are averaged
SHORTEST_REST = 3  # frames at rest between two windows; fewer are noise


def window_table(
    readings: Sequence[Reading], recogniser: Recogniser, *, judged: bool = False
) -> tuple[pd.DataFrame, int]:
    """Return a row for each window, as `Prediction.table` has them, and the row that shows the largest motion.

    A window's answer is the mean over the frames near its apex; where each frame was judged by its window up to there,
    over all frames from the apex on.
    """
    rows: list[dict[str, object]] = []
    windows = motion_windows(readings)
    for window in windows:
        rows_of = from_apex if judged else near_apex
        mean = np.mean([reading.probabilities for reading in rows_of(window)], axis=0)
        best = int(np.argmax(mean))
        rows.append(
            {
                "window": len(rows),
                "first_frame": window[0].moment.frame + 1,
                "last_frame": max(window, key=_size).moment.frame + 1,
                "predicted": recogniser.classes[best],
                "emotion": recogniser.decide(mean),
                **{f"p_{name}": float(value) for name, value in zip(recogniser.classes, mean, strict=True)},
            }
        )
    sizes = [max(map(_size, window)) for window in windows]
    return pd.DataFrame(rows), int(np.argmax(sizes))


def strongest_window(readings: Sequence[Reading]) -> Sequence[Reading]:
    """Return the window with the largest displacement: the one that answers for the clip."""
    return max(motion_windows(readings), key=lambda window: max(map(_size, window)))


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


def _size(reading: Reading) -> float:
    return reading.moment.displacement


def motion_windows(readings: Sequence[Reading]) -> list[Sequence[Reading]]:
    """Cut readings into windows: from the last frame at rest until the face is back at rest, or has a new onset.

    A clip that rests all the time is one window.
    """
    windows: list[Sequence[Reading]] = []
    begin, rested, moved = 0, 0, False
    for index, reading in enumerate(readings):
        new_onset = index > 0 and reading.moment.onset != readings[index - 1].moment.onset
        if moved and (new_onset or rested >= SHORTEST_REST):
            windows.append(readings[begin:index])
            moved = False
        if new_onset:
            begin, rested = index, 0
        if reading.moment.resting:
            rested += 1
            if not moved:
                begin = index
        else:
            rested, moved = 0, True
    if moved:
        windows.append(readings[begin:])
    return windows or [readings]
