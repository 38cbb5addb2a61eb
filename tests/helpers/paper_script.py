"""What the paper's scripts compute, straight from dlib and OpenCV: the oracle for the whole way (fig. 2 to 14)."""

from functools import cache
from itertools import pairwise
from pathlib import Path

import cv2
import dlib
import numpy as np

_detector = dlib.get_frontal_face_detector()


@cache
def paper_boxes(paths: tuple[Path, ...]) -> tuple[list, int]:
    """The face rectangle of each frame, and how many frames had none; largest face, last box for a miss."""
    found = []
    for path in paths:
        faces = _detector(cv2.imread(str(path), 0), 1)
        sizes = [(r.bottom() - r.top()) * (r.right() - r.left()) for r in faces]
        found.append(faces[int(np.argmax(sizes))] if sizes else None)
    first = next(r for r in found if r is not None)
    rectangles = []
    for r in found:
        rectangles.append(r or (rectangles[-1] if rectangles else first))
    return rectangles, sum(r is None for r in found)


def paper_masks(paths: tuple[Path, ...]) -> tuple[np.ndarray, int]:
    """The binary images of a sequence, (T-1, 267, 267) uint8 of 0 and 1, and the number of missed frames."""
    rectangles, missed = paper_boxes(paths)
    crops = []
    for path, r in zip(paths, rectangles, strict=True):
        gray = cv2.imread(str(path), 0)
        # What NumPy does with a negative edge is no crop at all; the part inside the image is meant.
        cut = gray[max(r.top(), 0) : r.bottom(), max(r.left(), 0) : r.right()]
        crops.append(cv2.resize(cut, (267, 267)))
    masks = []
    for previous, current in pairwise(crops):
        _, mask = cv2.threshold(previous - current, 127, 255, cv2.THRESH_BINARY)
        masks.append(cv2.erode(mask, np.ones((5, 5), np.uint8)) // 255)
    return np.stack(masks), missed


def paper_projections(masks: np.ndarray) -> np.ndarray:
    """Column means and row means, (T, 2, 267)."""
    return np.stack([masks.mean(axis=1), masks.mean(axis=2)], axis=1)


def paper_pool(images: np.ndarray) -> np.ndarray:
    """2x2 means of the pixels that are there: (T, ceil(H/2), ceil(W/2))."""
    sums = [np.zeros((*images.shape[:1], -(-images.shape[1] // 2), -(-images.shape[2] // 2))) for _ in range(2)]
    for r in (0, 1):
        for c in (0, 1):
            part = images[:, r::2, c::2]
            sums[0][:, : part.shape[1], : part.shape[2]] += part
            sums[1][:, : part.shape[1], : part.shape[2]] += 1
    return sums[0] / sums[1]
