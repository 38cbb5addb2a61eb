"""dlib's frontal face detector, and the compiled one: the same boxes in the same order, several times as fast."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from fastck.faces.box import FaceBox, Gray, check_box, check_gray, clip_box
from fastck.faces.search import FrameSearch, TooClose
from fastck.faces.weights import FilterBank, frontal_bank

if TYPE_CHECKING:
    from fastck.faces.landmarks import LandmarkFinder, Landmarks

LARGE = 0.25  # of the largest face's area: half as wide; smaller ones are passers-by, or pictures on a wall
SIZES = 3  # sizes of frames whose buffers are kept; CK+ has two

log = logging.getLogger(__name__)
_of_thread = threading.local()


def box_from_dlib(rectangle: Any, shape: tuple[int, ...]) -> FaceBox | None:
    """Convert dlib's rectangle, the only place that does so.

    dlib's right and bottom edge are inclusive; the paper slices with them as they are (fig. 2), which leaves the last
    row and column out. So its numbers, taken as half-open, give the paper's crop.
    """
    return clip_box(rectangle.top(), rectangle.left(), rectangle.bottom(), rectangle.right(), shape)


def check_upsample(upsample: int) -> int:
    """Return how often an image is doubled before a search."""
    # 1.0 equals 1, and would be kept in its place where detectors are kept; dlib takes whole numbers only.
    if isinstance(upsample, bool) or not isinstance(upsample, int | np.integer):
        raise TypeError(f"upsample must be an integer, got {upsample!r}")
    if upsample not in (0, 1, 2):
        raise ValueError(f"upsample must be 0, 1 or 2, got {upsample!r}")
    return int(upsample)


def detector_version() -> str:
    """Return dlib's version: another one may find other boxes."""
    import dlib

    return str(dlib.__version__)


def detect_faces(gray: Gray, upsample: int = 1) -> list[FaceBox]:
    """Find the faces of one image: the boxes of dlib's frontal face detector, in dlib's order.

    Parameters
    ----------
    gray : ndarray of shape (H, W), uint8
    upsample : {0, 1, 2}
        How often the image is doubled before the search. Smallest face found: about 80 pixels / 2**upsample.

    Returns
    -------
    boxes : list of FaceBox
        Most certain first; empty where no face is found.

    Raises
    ------
    TypeError, ValueError
        If `gray` is not of that dtype and shape, or `upsample` is out of range.

    Notes
    -----
    May be called from several threads: each keeps a `FaceDetector` of its own per value of `upsample`.
    """
    check_upsample(upsample)
    detectors: dict[int, FaceDetector] = _of_thread.__dict__.setdefault("detectors", {})
    if upsample not in detectors:
        detectors[upsample] = FaceDetector(upsample)
    return detectors[upsample](gray)


@overload
def detect_landmarks(
    gray: Gray, boxes: Sequence[FaceBox] | None = None, *, confidence: Literal[False] = False
) -> NDArray[np.float32]: ...


@overload
def detect_landmarks(
    gray: Gray, boxes: Sequence[FaceBox] | None = None, *, confidence: Literal[True]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]: ...


def detect_landmarks(
    gray: Gray, boxes: Sequence[FaceBox] | None = None, *, confidence: bool = False
) -> NDArray[np.float32] | tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Find the 68 points of the faces of one image.

    Parameters
    ----------
    gray : ndarray of shape (H, W), uint8
    boxes : sequence of FaceBox, optional
        The faces: top, left, bottom, right. By default those of `fastck.detect_faces`.
    confidence : bool
        Return how sure the points are as well.

    Returns
    -------
    points : ndarray of shape (n, 68, 2), float32
        Column and row in pixels, in iBUG's order, a face for each box; a pixel's centre lies at whole numbers.
    confidence : ndarray of shape (n,), float32
        Of each face, where asked for: 1 - 10 * expected mean error in shares of the distance between the outer eye
        corners, 0 to 1, so that 0.8 expects an error of 0.02. Calibrated on rendered people.

    Raises
    ------
    TypeError, ValueError
        If `gray` is not of that dtype and shape, or a box is empty or lies outside of the image.

    Notes
    -----
    May be called from several threads. The points were learnt from rendered people alone.
    """
    found = find_landmarks(gray, boxes)
    points = np.array([face.points for face in found], np.float32).reshape(-1, 68, 2)
    return (points, np.array([face.confidence for face in found], np.float32)) if confidence else points


def find_landmarks(gray: Gray, boxes: Sequence[FaceBox] | None = None) -> list[Landmarks]:
    """Return the points and the confidence of each face, as `detect_landmarks` finds them."""
    check_gray(gray)
    boxes = detect_faces(gray) if boxes is None else boxes
    for box in boxes:
        check_box(box, gray.shape)
    if "finder" not in _of_thread.__dict__:
        from fastck.faces.landmarks import LandmarkFinder

        _of_thread.finder = LandmarkFinder()
    return [_of_thread.finder(gray, box) for box in boxes]


class FaceSearch(ABC):
    """Finds the faces of one frame after another; may remember the last frame of the same sequence.

    Parameters
    ----------
    upsample : {0, 1, 2}
        How often an image is doubled before the search (paper: 1). Smallest face found: about 80 pixels / 2**upsample.
    """

    def __init__(self, upsample: int = 1) -> None:
        self.upsample = check_upsample(upsample)
        self._faces: list[tuple[FaceBox, float]] = []

    def __call__(self, gray: Gray) -> list[FaceBox]:
        """Return the faces of a frame in dlib's order, most certain first.

        Parameters
        ----------
        gray : ndarray of shape (H, W), uint8

        Returns
        -------
        boxes : list of FaceBox
            Empty where no face is found.
        """
        return [box for box, _ in self.with_scores(gray)]

    def with_scores(self, gray: Gray) -> list[tuple[FaceBox, float]]:
        """Return the faces of a frame with dlib's scores: above 0, and the higher the surer.

        Parameters
        ----------
        gray : ndarray of shape (H, W), uint8

        Returns
        -------
        faces : list of (FaceBox, float)
            Most certain first. A compiled search's scores are dlib's to about 1e-5.
        """
        check_gray(gray)
        self._faces = self._scored(gray)
        return self._faces

    def n_people(self) -> int:
        """Return how many faces of the last frame are at least half as wide as its largest one, 0 for none."""
        areas = [box.area for box, _ in self._faces]
        return sum(area >= LARGE * max(areas) for area in areas)

    @abstractmethod
    def _scored(self, gray: Gray) -> list[tuple[FaceBox, float]]:
        """Return the faces and scores of a frame that was checked."""

    def reset(self) -> None:  # noqa: B027 - most remember nothing
        """Forget the last frame: another sequence begins."""


class Detector(FaceSearch):
    """dlib's frontal face detector over the whole image.

    Parameters
    ----------
    upsample : int
        How often the image is doubled before the search (paper: 1). Smallest face found: about 80 pixels / 2**upsample.

    Notes
    -----
    Constructing it takes about a quarter of a second, and one object must not be shared between threads: make one per
    thread and keep it. dlib releases the GIL while it searches.
    """

    def __init__(self, upsample: int = 1) -> None:
        import dlib

        super().__init__(upsample)
        self._search = dlib.get_frontal_face_detector()

    def _scored(self, gray: Gray) -> list[tuple[FaceBox, float]]:
        rectangles, scores, _ = self._search.run(np.ascontiguousarray(gray), self.upsample, 0.0)
        boxes = (box_from_dlib(rectangle, gray.shape) for rectangle in rectangles)
        return [(box, float(score)) for box, score in zip(boxes, scores, strict=True) if box is not None]


class FaceDetector(FaceSearch):
    """All faces of one frame after another: dlib's frontal face detector, compiled.

    Takes the place of `fastck.Detector`, which is dlib's own: it returns the same boxes in the same order in about a
    fifth of the time.

    Parameters
    ----------
    upsample : {0, 1, 2}
        How often an image is doubled before the search (paper: 1).

    Notes
    -----
    One object must not be shared between threads: it keeps its buffers, about 10 MB for 640x490 pixels and upsample 1.
    The search releases the GIL. A frame whose scores are too close to call goes to dlib, which is rare.
    """

    def __init__(self, upsample: int = 1, *, landmarks: bool = False) -> None:
        super().__init__(upsample)
        self._finder: LandmarkFinder | None = None
        self.landmarks: list[Landmarks] | None = None
        if landmarks:
            from fastck.faces.landmarks import LandmarkFinder

            self._finder, self.landmarks = LandmarkFinder(), []
        self._bank: FilterBank = frontal_bank()
        self._searches: dict[tuple[int, ...], FrameSearch] = {}
        self._dlib: Detector | None = None

    def with_scores(self, gray: Gray) -> list[tuple[FaceBox, float]]:
        """Return the faces of a frame with dlib's scores, and find their points where that was asked for."""
        faces = super().with_scores(gray)
        if self._finder is not None:
            self.landmarks = [self._finder(gray, box) for box, _ in faces]
        return faces

    def _scored(self, gray: Gray) -> list[tuple[FaceBox, float]]:
        try:
            return self._find(self._search_for(gray), gray)
        except TooClose:
            log.debug("scores too close to call: dlib decides this frame")
            if self._dlib is None:
                self._dlib = Detector(self.upsample)
            return self._dlib.with_scores(gray)

    def _search_for(self, gray: Gray) -> FrameSearch:
        """Return the search for frames of that size, made when the size is first met."""
        if gray.shape not in self._searches:
            if len(self._searches) == SIZES:
                del self._searches[next(iter(self._searches))]
            self._searches[gray.shape] = FrameSearch(gray.shape, self.upsample, self._bank)
        return self._searches[gray.shape]

    def _find(self, search: FrameSearch, gray: Gray) -> list[tuple[FaceBox, float]]:
        return search.everything(gray)
