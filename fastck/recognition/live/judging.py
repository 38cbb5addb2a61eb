"""The judge's answer for the newest frame of one face: what `predict` says of a clip that ends with it."""

from collections import deque
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fastck.faces.appearance import Look, median_look
from fastck.faces.people import LOST
from fastck.faces.units import UNITS, UnitReader
from fastck.recogniser import Recogniser, bundled
from fastck.recognition.follow import Reading
from fastck.recognition.judge import FEWEST, MOST, bundled_judge, course_of
from fastck.recognition.reading import Reference, rest_frames
from fastck.recognition.windows import WindowTracker

Floats = NDArray[np.float32]

REST_FROM = 50  # frames with the face, two seconds of a camera, in which its rest is looked for
GROWTH = 1.5  # so many times the frames a median has to be of to be taken anew


class LiveJudge:
    """Judges one face, frame after frame, by its window so far.

    Its rest is chosen from the first frames with it; as long as there is none, from the newest.

    Parameters
    ----------
    recogniser : Recogniser, optional
        Says what is unsure; the bundled one by default.

    Attributes
    ----------
    look : UnitReader
        What the readings have to be made with.
    reference : {"onset", "median", "average"}
        What the face was compared with in the last frame.
    units : dict of str to float or None
        Intensity of each action unit in the last frame; None where the face was not found.
    """

    def __init__(self, recogniser: Recogniser | None = None) -> None:
        self.look = UnitReader()
        self._recogniser, self._judge = recogniser or bundled(), bundled_judge()
        self.forget()

    def forget(self) -> None:
        """Begin with another face."""
        self.reference: Reference = "average"
        self.units: dict[str, float] | None = None
        # Frames that its rest is chosen from, with their numbers and their units beside the rendered average.
        self._first: deque[tuple[int, Look, Floats]] = deque(maxlen=REST_FROM)
        self._looked = self._count = self._missed = 0
        self._rest: Look | None = None
        self._rested: list[int] = []  # the numbers of the frames that it is taken from
        self._windows = WindowTracker()
        # With their numbers, their units beside the rest, and beside the average.
        self._recent: deque[tuple[int, Reading, Floats, Floats | None]] = deque(maxlen=MOST)

    def judge(self, reading: Reading) -> Reading:
        """Return the next reading with the judge's answer, or as it is where the face was not found or is at rest."""
        if reading.found and self._missed >= LOST:
            # Whoever comes after so long may be somebody else.
            self.forget()
        self._missed = 0 if reading.found else self._missed + 1
        self._windows.push(reading.moment)
        number, self._count = self._count, self._count + 1
        if reading.seen is None:
            self.units = None
            return reading
        units, absolute = self._units_of(number, reading.seen)
        self._recent.append((number, reading.without_flow(), units, absolute))
        rested = self.reference == "onset"
        # The first window begins with the face where that is not at rest.
        begin = self._windows.begin if self._windows.moved and (rested or self._windows.ended) else 0
        _, window, compared, level = zip(*[one for one in self._recent if one[0] >= begin], strict=True)
        course = course_of(window, np.stack(compared), None if rested else np.stack(level))
        self.units = dict(zip(UNITS, units.tolist(), strict=True))
        # Between two windows the face is at rest.
        if (rested and len(course.units) < FEWEST) or (self._windows.ended and not self._windows.moved):
            return reading
        (said,) = self._judge.probabilities([course])
        return replace(reading, probabilities=said, emotion=self._recogniser.decide(said))

    def _units_of(self, number: int, look: Look) -> tuple[Floats, Floats | None]:
        """Return a frame's units, beside the face's rest where it is known by now, and beside the average.

        The latter is None where the rest is known to be the onset.
        """
        model = self.look.model
        settled = self.reference != "average" and self._looked >= REST_FROM
        if settled and self.reference == "onset":
            return model.intensities([look], self._rest)[0], None
        absolute: Floats = model.intensities([look])[0]
        if not settled:
            self._look_for_rest(number, look, absolute)
        return absolute if self._rest is None else model.intensities([look], self._rest)[0], absolute

    def _look_for_rest(self, number: int, look: Look, absolute: Floats) -> None:
        """Choose the face's rest anew with the next frame."""
        self._looked += 1
        self._first.append((number, look, absolute))
        frames, reference = rest_frames(np.stack([own for *_, own in self._first]))
        rested = [self._first[frame][0] for frame in frames]
        more = reference == self.reference == "median" and set(self._rested) <= set(rested)
        self.reference = reference
        # All that was compared with another rest is compared anew: a median of many frames need not have each one.
        if rested != self._rested and not (more and len(rested) < GROWTH * len(self._rested)):
            self._rested = rested
            self._rest = median_look([self._first[frame][1] for frame in frames]) if frames else None
            looks = [one.seen for _, one, *_ in self._recent if one.seen is not None]
            again = self.look.model.intensities(looks, self._rest)
            renewed = [(at, one, own, mean) for (at, one, _, mean), own in zip(self._recent, again, strict=True)]
            self._recent = deque(renewed, maxlen=MOST)
