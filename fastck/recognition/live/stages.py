"""From the newest frame to an emotion, stage by stage, with what each one takes."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from fastck.config import FaceConfig
from fastck.faces.box import FaceBox, Gray
from fastck.faces.finder import searching
from fastck.pipeline.stopwatch import Stopwatch, add_times
from fastck.recogniser import Recogniser
from fastck.recognition.follow import Follower, Reading
from fastck.recognition.live.capture import NewestFrame
from fastck.recognition.person import following

if TYPE_CHECKING:
    from fastck.recognition.live.judging import LiveJudge
    from fastck.recognition.marks import Marks
    from fastck.recognition.reading import Reference

# No doubling: faces from about 80 pixels on. A search of the doubled frame does not keep up with a camera.
FACES = FaceConfig(upsample=(0,))
STAGES = ("face", "flow", "model", "units", "judge")
WARM_UP_SIDE = 120  # pixels; room for the smallest face that is searched for
RATE_OVER = 50  # results, two seconds of a camera


@dataclass(frozen=True, kw_only=True)
class LiveResult:
    """What came of a frame.

    Attributes
    ----------
    number : int
        The frame's, counted over all that came.
    gray : ndarray of shape (H, W), uint8
    reading : Reading or None
        Box, flow, probabilities, emotion; None as long as no face has been found.
    milliseconds : dict of str to float
        What the stages "face", "flow", "model", "units" and "judge" took, those that ran.
    delay : float
        Milliseconds from the frame's coming to this result.
    dropped : int
        Frames passed over so far.
    rate : float
        Results a second, lately.
    marks : Marks or None
        Landmarks and turn of the face; None where they are not asked for, or it was not found in this frame.
    units : dict of str to float or None
        Intensity of each action unit, 0 to 5; None where they are not asked for, or the face was not found.
    reference : {"onset", "median", "average"} or None
        What the face was compared with, as `fastck.predict` says it; None where flow alone answered.
    """

    number: int
    gray: Gray
    reading: Reading | None
    milliseconds: dict[str, float]
    delay: float
    dropped: int
    rate: float
    marks: "Marks | None" = None
    units: dict[str, float] | None = None
    reference: "Reference | None" = None


@dataclass(frozen=True, kw_only=True)
class Extras:
    """What is shown besides: landmarks and the head's turn, and action units."""

    landmarks: bool = False
    units: bool = False


NOTHING = Extras()


@dataclass(kw_only=True)
class Totals:
    """Sums over a run, for its last line."""

    results: int = 0
    faces: int = 0
    dropped: int = 0
    delay: float = 0.0
    longest_delay: float = 0.0
    milliseconds: dict[str, float] = field(default_factory=dict)

    def add(self, result: LiveResult) -> None:
        """Count a result in."""
        self.results += 1
        self.faces += result.reading is not None and result.reading.found
        self.dropped = result.dropped
        self.delay += result.delay
        self.longest_delay = max(self.longest_delay, result.delay)
        add_times(self.milliseconds, result.milliseconds)


def watch(
    newest: NewestFrame,
    *,
    recogniser: Recogniser | None = None,
    extras: Extras = NOTHING,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[LiveResult]:
    """Look at the newest frame, again and again, until the source ends.

    Parameters
    ----------
    newest : NewestFrame
    recogniser : Recogniser, optional
        In place of the bundled one and of the judge on top of it, with which landmarks and units are found.
    extras : Extras
        What is found besides.
    clock : callable
        Seconds, the one that frames are stamped with.

    Yields
    ------
    result : LiveResult

    Raises
    ------
    ValueError, OSError
        If the source failed.
    """
    # The judge was fitted to what the bundled recogniser says.
    judge = None if recogniser is not None else live_judge()
    look = None if judge is None else judge.look
    follower, turn = Follower(recogniser, look, keep_marks=extras.landmarks), 0
    finished: deque[float] = deque(maxlen=RATE_OVER)
    with following(FACES) as search:
        while (frame := newest.take()) is not None:
            if frame.turn != turn:
                follower, turn = Follower(recogniser, look, keep_marks=extras.landmarks), frame.turn
                if judge is not None:
                    judge.forget()
            stopwatch = Stopwatch()
            with stopwatch.stage("face"):
                found = search(frame.gray)
            reading = follower.push(frame.gray, found, stopwatch)
            if judge is not None and reading is not None:
                with stopwatch.stage("judge"):
                    reading = judge.judge(reading)
            now = clock()
            finished.append(now)
            yield LiveResult(
                number=frame.number,
                gray=frame.gray,
                reading=reading,
                milliseconds={stage: 1000 * taken for stage, taken in stopwatch.seconds.items()},
                delay=1000 * (now - frame.captured),
                dropped=newest.dropped,
                rate=rate_of(finished),
                marks=None if reading is None else reading.marks,
                units=judge.units if judge is not None and extras.units else None,
                reference=None if judge is None or reading is None else judge.reference,
            )


def live_judge() -> "LiveJudge":
    """Return what judges a face; what it needs is loaded now."""
    from fastck.recognition.live.judging import LiveJudge

    return LiveJudge()


def warm_up(*, extras: Extras = NOTHING) -> None:
    """Compile and load what the stages need, so that the first frames do not wait for it."""
    noise = np.random.default_rng(0).integers(0, 256, (WARM_UP_SIDE, WARM_UP_SIDE), dtype=np.uint8)
    judge = live_judge()
    follower = Follower(look=judge.look, keep_marks=extras.landmarks)
    with searching(FACES) as search:
        search(noise)
    box = FaceBox(0, 0, WARM_UP_SIDE, WARM_UP_SIDE)
    for _ in range(2):
        reading = follower.push(noise, box)
        assert reading is not None
        judge.judge(reading)


def rate_of(finished: deque[float]) -> float:
    """Return events a second out of their times, 0 for fewer than two."""
    passed = finished[-1] - finished[0]
    return (len(finished) - 1) / passed if passed > 0 else 0.0
