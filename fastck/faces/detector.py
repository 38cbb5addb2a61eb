"""dlib's frontal face detector, and what every face search has in common with it."""

from typing import Any, Protocol

import numpy as np

from fastck.faces.box import FaceBox, Gray, clip_box


class FaceSearch(Protocol):
    """Anything that finds the faces of one frame; may remember the last frame of the same sequence."""

    def __call__(self, gray: Gray) -> list[FaceBox]:
        """Return the faces of a (H, W) uint8 frame."""

    def with_scores(self, gray: Gray) -> list[tuple[FaceBox, float]]:
        """Return the faces of a (H, W) uint8 frame with their scores."""

    def reset(self) -> None:
        """Forget the last frame: another sequence begins."""


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


class Detector:
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

        self.upsample = check_upsample(upsample)
        self._search = dlib.get_frontal_face_detector()

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
            Most certain first.
        """
        check_gray(gray)
        rectangles, scores, _ = self._search.run(np.ascontiguousarray(gray), self.upsample, 0.0)
        boxes = (box_from_dlib(rectangle, gray.shape) for rectangle in rectangles)
        return [(box, float(score)) for box, score in zip(boxes, scores, strict=True) if box is not None]

    def reset(self) -> None:
        """Do nothing: every frame is searched by itself."""


def detector_version() -> str:
    """Return dlib's version: another one may find other boxes."""
    import dlib

    return str(dlib.__version__)


def check_gray(gray: object) -> None:
    """Raise TypeError or ValueError unless `gray` is a (H, W) uint8 array with pixels in it."""
    if not isinstance(gray, np.ndarray) or gray.dtype != np.uint8:
        raise TypeError(f"gray must be a uint8 array, got {getattr(gray, 'dtype', type(gray).__name__)}")
    if gray.ndim != 2 or gray.size == 0:
        raise ValueError(f"gray must have shape (H, W) with H, W >= 1, got {gray.shape}")
