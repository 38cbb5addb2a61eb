"""Frame after frame from gray image to emotion: what clips and a live picture share."""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fastck.config import FaceConfig
from fastck.faces.box import FaceBox, Gray, crop
from fastck.pipeline.stopwatch import Stopwatch
from fastck.recogniser import Recogniser, bundled
from fastck.recognition.segments import BoxKeeper, Moment, OnsetTracker

if TYPE_CHECKING:
    from fastck.faces.appearance import Look
    from fastck.faces.units import UnitReader
    from fastck.recognition.marks import Marks

SIDE = FaceConfig().side
NO_FLOW = np.zeros((0, 28, 28), np.float32)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What the recogniser says about a frame.

    Attributes
    ----------
    moment : Moment
        The frame's number, its onset and the flow between them.
    box : FaceBox
        What the crop was cut with.
    found : bool
        Whether the search found a face in this very frame; otherwise the box is the one before it.
    probabilities : ndarray of shape (8,), float32
        In the order of `Recogniser.classes`.
    emotion : str or None
        The most likely class; None for unsure.
    face : FaceBox or None
        What the search found in this very frame.
    score : float
        The search's for it; NaN where it is not known.
    seen : Look or None
        What action units are read from; None where no face was found, or they were not asked for.
    marks : Marks or None
        The face's landmarks and turn; None where no face was found, or they were not asked for.
    """

    moment: Moment
    box: FaceBox
    found: bool
    probabilities: NDArray[np.float32]
    emotion: str | None
    face: FaceBox | None = None
    score: float = math.nan
    seen: "Look | None" = None
    marks: "Marks | None" = None

    def without_flow(self) -> "Reading":
        """Return the reading with an empty flow: an hour of video has 1 GB of it."""
        return replace(self, moment=replace(self.moment, flow=NO_FLOW))


class Follower:
    """Follows one face: keeps its box, its onset, and says for each frame what it shows.

    Parameters
    ----------
    recogniser : Recogniser, optional
        The bundled one by default.
    look : UnitReader, optional
        Reads action units as well; several followers of one thread may share it.
    keep_marks : bool
        Also keep the landmarks that these are read from.
    """

    def __init__(
        self, recogniser: Recogniser | None = None, look: "UnitReader | None" = None, *, keep_marks: bool = False
    ) -> None:
        self.recogniser = recogniser or bundled()
        self._look, self._keep_marks = look, keep_marks
        self._boxes, self._tracker = BoxKeeper(), OnsetTracker()
        self._frame = -1

    def skip(self, frames: int = 1) -> None:
        """Pass over frames that show nothing of the face."""
        self._frame += frames

    def push(self, gray: Gray, found: FaceBox | None, stopwatch: Stopwatch | None = None) -> Reading | None:
        """Take in the next frame.

        Parameters
        ----------
        gray : ndarray of shape (H, W), uint8
        found : FaceBox or None
            The face to follow, as a search found it in this frame; None where it found none.
        stopwatch : Stopwatch, optional
            Counts the stages "flow", "model" and, where they are looked at, "units".

        Returns
        -------
        reading : Reading or None
            None as long as no face has been found.
        """
        self._frame += 1
        if self._boxes.update(found):
            self._tracker.reset()
        box = self._boxes.box
        if box is None:
            return None
        stopwatch = stopwatch or Stopwatch()
        with stopwatch.stage("flow"):
            moment = self._tracker.push(self._frame, crop(gray, box, side=SIDE))
        with stopwatch.stage("model"):
            probabilities = self.recogniser.probabilities(moment.flow[None])[0]
        seen: Look | None = None
        marks: Marks | None = None
        if found is not None and self._look is not None:
            with stopwatch.stage("units"):
                landmarks = self._look.find(gray, found)
                seen = self._look.see(gray, landmarks)
                if self._keep_marks:
                    from fastck.recognition.marks import with_pose

                    marks = with_pose(landmarks, gray.shape)
        return Reading(
            moment=moment,
            box=box,
            found=found is not None,
            probabilities=probabilities,
            emotion=self.recogniser.decide(probabilities),
            face=found,
            seen=seen,
            marks=marks,
        )


def compile_reading() -> None:
    """Compile what follows a face and reads its units."""
    from fastck.faces.units import UnitReader

    gray = np.zeros((SIDE, SIDE), np.uint8)
    follower = Follower(look=UnitReader())
    for _ in range(2):
        follower.push(gray, FaceBox(0, 0, SIDE, SIDE))
