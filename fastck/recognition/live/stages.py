"""From the newest frame to an emotion, stage by stage, with what each one takes."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fastck.config import FaceConfig
from fastck.faces.box import FaceBox, Gray
from fastck.faces.finder import searching
from fastck.pipeline.stopwatch import Stopwatch, add_times
from fastck.recogniser import Recogniser
from fastck.recognition.follow import Follower, Reading
from fastck.recognition.live.capture import NewestFrame
from fastck.recognition.person import following

if TYPE_CHECKING:
    from fastck.faces.units import Seen
    from fastck.recognition.marks import Marks

# No doubling: faces from about 80 pixels on. A search of the doubled frame does not keep up with a camera.
FACES = FaceConfig(upsample=(0,))
STAGES = ("face", "flow", "model")
LANDMARKS, UNITS = "landmarks", "units"  # the stages that are there where they are asked for
REST_FROM = 50  # frames with the face, two seconds of a camera, in which its rest is looked for
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
        What the stages "face", "flow", "model" and "landmarks" took, those that ran.
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


@dataclass(frozen=True, kw_only=True)
class Extras:
    """What is shown besides: landmarks and the head's turn, and action units."""

    landmarks: bool = False
    units: bool = False

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages that they take."""
        return (*[LANDMARKS] * self.landmarks, *[UNITS] * self.units)


NOTHING = Extras()


class LiveUnits:
    """Reads one face's action units, frame after frame, beside its rest: looked for in the first frames with it."""

    def __init__(self) -> None:
        from fastck.recognition.reading import UnitReader

        self._reader = UnitReader()
        self.forget()

    def forget(self) -> None:
        """Begin with another face."""
        self._first: list[Seen] = []
        self._rest: NDArray[np.float32] | None = None

    def read(self, gray: Gray, box: FaceBox) -> dict[str, float]:
        """Return the intensity of each unit of the face in a box."""
        from fastck.faces.units import UNITS
        from fastck.recognition.reading import choose_rest

        model, seen = self._reader.model, self._reader(gray, box)
        if len(self._first) < REST_FROM:
            self._first.append(seen)
            self._rest, _ = choose_rest(model, self._first)
        return dict(zip(UNITS, model.intensities([seen], self._rest)[0].tolist(), strict=True))


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
        The bundled one by default.
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
    follower, turn = Follower(recogniser), 0
    finished: deque[float] = deque(maxlen=RATE_OVER)
    reader = LiveUnits() if extras.units else None
    with following(FACES) as search:
        while (frame := newest.take()) is not None:
            if frame.turn != turn:
                follower, turn = Follower(recogniser), frame.turn
                if reader is not None:
                    reader.forget()
            stopwatch = Stopwatch()
            with stopwatch.stage("face"):
                found = search(frame.gray)
            reading = follower.push(frame.gray, found, stopwatch)
            marks, units = None, None
            if extras.landmarks:
                from fastck.recognition.marks import find_marks

                with stopwatch.stage(LANDMARKS):
                    marks = None if found is None else find_marks(frame.gray, found)
            if reader is not None:
                with stopwatch.stage(UNITS):
                    units = None if found is None else reader.read(frame.gray, found)
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
                marks=marks,
                units=units,
            )


def warm_up(recogniser: Recogniser | None = None, *, extras: Extras = NOTHING) -> None:
    """Compile and load what the stages need, so that the first frames do not wait for it."""
    noise = np.random.default_rng(0).integers(0, 256, (WARM_UP_SIDE, WARM_UP_SIDE), dtype=np.uint8)
    follower = Follower(recogniser)
    with searching(FACES) as search:
        search(noise)
    box = FaceBox(0, 0, WARM_UP_SIDE, WARM_UP_SIDE)
    for _ in range(2):
        follower.push(noise, box)
    if extras.landmarks:
        from fastck.recognition.marks import find_marks

        find_marks(noise, box)
    if extras.units:
        LiveUnits().read(noise, box)


def rate_of(finished: deque[float]) -> float:
    """Return events a second out of their times, 0 for fewer than two."""
    passed = finished[-1] - finished[0]
    return (len(finished) - 1) / passed if passed > 0 else 0.0
