"""Face boxes: what one is, how it is cut out, and the policies that turn detections into one crop per frame."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from fastck.config import CropPolicy

Gray = NDArray[np.uint8]

# Frames; odd, and wide enough to outlast a jump of one or two frames between discrete scales of the image pyramid.
SMOOTH_WINDOW = 5


class FaceBox(NamedTuple):
    """A face's rectangle in pixels, half-open and inside the image: ``gray[top:bottom, left:right]`` is the crop."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def area(self) -> int:
        """Height times width in square pixels."""
        return (self.bottom - self.top) * (self.right - self.left)


def check_gray(gray: object) -> None:
    """Raise TypeError or ValueError unless `gray` is a (H, W) uint8 array with pixels in it."""
    if not isinstance(gray, np.ndarray) or gray.dtype != np.uint8:
        raise TypeError(f"gray must be a uint8 array, got {getattr(gray, 'dtype', type(gray).__name__)}")
    if gray.ndim != 2 or gray.size == 0:
        raise ValueError(f"gray must have shape (H, W) with H, W >= 1, got {gray.shape}")


def check_box(box: Sequence[float], shape: tuple[int, ...]) -> None:
    """Raise ValueError unless a box has four finite edges, is not empty and overlaps an image of `shape`."""
    edges = np.asarray(box, np.float64)
    good = edges.shape == (4,) and bool(np.isfinite(edges).all())
    if good:
        top, left, bottom, right = edges.tolist()
        good = bottom - top >= 1 and right - left >= 1
        good = good and bottom > 0 and right > 0 and top < shape[0] and left < shape[1]
    if not good:
        raise ValueError(
            f"a box must be top, left, bottom, right, not empty and inside the {shape[1]}x{shape[0]} image, got {box}"
        )


def clip_box(top: int, left: int, bottom: int, right: int, shape: tuple[int, ...]) -> FaceBox | None:
    """Return the part of a rectangle inside an image of `shape`, or None where nothing of it is inside."""
    box = FaceBox(max(top, 0), max(left, 0), min(bottom, shape[0]), min(right, shape[1]))
    return box if box.bottom > box.top and box.right > box.left else None


def overlap(a: FaceBox, b: FaceBox) -> float:
    """Return the area that two boxes share, relative to the area they cover."""
    height = min(a.bottom, b.bottom) - max(a.top, b.top)
    width = min(a.right, b.right) - max(a.left, b.left)
    shared = max(height, 0) * max(width, 0)
    return shared / (a.area + b.area - shared)


def largest(boxes: Sequence[FaceBox]) -> FaceBox | None:
    """Return the box with the largest area, the first of equals; None for no boxes."""
    return max(boxes, key=lambda box: box.area, default=None)


def crop(gray: Gray, box: FaceBox, *, side: int = 267, out: Gray | None = None) -> Gray:
    """Cut a box out and resize it to a square, bilinear, as the paper does (fig. 2).

    Parameters
    ----------
    gray : ndarray of shape (H, W), uint8
    box : FaceBox
        Inside the image.
    side : int
        Height and width of the result in pixels.
    out : ndarray of shape (side, side), uint8, optional
        Receives the result; C-contiguous.

    Returns
    -------
    cropped : ndarray of shape (side, side), uint8

    Raises
    ------
    ValueError
        If the box is empty or reaches outside of the image.
    """
    if clip_box(*box, shape=gray.shape) != box:
        raise ValueError(f"box must lie inside the {gray.shape[1]}x{gray.shape[0]} image and not be empty, got {box}")
    cut = gray[box.top : box.bottom, box.left : box.right]
    return cv2.resize(cut, (side, side), dst=out)


def fill_missing(found: Sequence[FaceBox | None]) -> list[FaceBox]:
    """Give every frame a box: a frame without a face takes the last one before it, leading ones the first found.

    Returns
    -------
    boxes : list of FaceBox
        As long as `found`, or empty where no frame has a face.
    """
    last = next((box for box in found if box is not None), None)
    if last is None:
        return []
    boxes = []
    for box in found:
        last = box or last
        boxes.append(last)
    return boxes


def smooth_boxes(boxes: Sequence[FaceBox]) -> list[FaceBox]:
    """Median-filter each edge in time over SMOOTH_WINDOW frames, the first and last box repeated at the ends."""
    half = SMOOTH_WINDOW // 2
    padded = np.pad(np.asarray(boxes), ((half, half), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, SMOOTH_WINDOW, axis=0)
    # An odd window's median is one of its values, so a smoothed box never leaves the image.
    return [FaceBox(*map(int, edges)) for edges in np.median(windows, axis=-1)]


def crop_boxes(found: Sequence[FaceBox | None], policy: CropPolicy) -> list[FaceBox]:
    """Return the box each frame is cropped with.

    Parameters
    ----------
    found : sequence of FaceBox or None
        The face of each frame, None where none was found. For the policy "sequence" later entries do not matter once
        one is found.
    policy : {"frame", "sequence", "smooth", "aligned"}
        Each frame's own box; the first one for all frames; each frame's own, median-filtered in time; each frame's own,
        in which the points lie that the crop follows.

    Returns
    -------
    boxes : list of FaceBox
        As long as `found`, or empty where no frame has a face.
    """
    boxes = fill_missing(found)
    if not boxes or policy in ("frame", "aligned"):
        return boxes
    return boxes[:1] * len(boxes) if policy == "sequence" else smooth_boxes(boxes)
