"""The judge's answer for the newest frame of one face: what `predict` says of a clip that ends with it."""

from collections import deque
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fastck.faces.people import LOST
from fastck.faces.units import UNITS, Seen, UnitReader
from fastck.recogniser import Recogniser, bundled
from fastck.recognition.follow import Reading
from fastck.recognition.judge import FEWEST, MOST, bundled_judge, course_of
from fastck.recognition.reading import Reference, choose_rest
from fastck.recognition.windows import WindowTracker

REST_FROM = 50  # frames with the face, two seconds of a camera, in which its rest is looked for


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
        self._first: deque[Seen] = deque(maxlen=REST_FROM)
        self._looked = self._count = self._missed = 0
        self._rest: NDArray[np.float32] | None = None
        self._windows = WindowTracker()
        # With their numbers.
        self._recent: deque[tuple[int, Reading]] = deque(maxlen=MOST)

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
        self._choose_rest(reading.seen)
        self._recent.append((number, reading.without_flow()))
        begin = self._windows.begin if self._windows.moved else 0
        course = course_of([one for at, one in self._recent if at >= begin], self.look.model, self._rest)
        self.units = dict(zip(UNITS, course.units[-1].tolist(), strict=True))
        # Between two windows the face is at rest.
        if len(course.units) < FEWEST or (self._windows.ended and not self._windows.moved):
            return reading
        (said,) = self._judge.probabilities([course])
        return replace(reading, probabilities=said, emotion=self._recogniser.decide(said))

    def _choose_rest(self, seen: Seen) -> None:
        if self.reference == "average" or self._looked < REST_FROM:
            self._looked += 1
            self._first.append(seen)
            self._rest, self.reference = choose_rest(self.look.model, list(self._first))
