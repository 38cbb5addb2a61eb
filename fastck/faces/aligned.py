"""Aligned crops: the face upright, at one size and in one place, by its eyes and mouth, steady over a sequence."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import cv2
import numpy as np
from numpy.typing import NDArray

from fastck.faces.box import SMOOTH_WINDOW, FaceBox, Gray, overlap
from fastck.faces.detector import find_landmarks

Floats = NDArray[np.float64]

# Eye corners and the middle of the mouth's corners: blinks and lips move other points more. Shares of a crop's side;
# a neutral frontal face then fills the crop about as it fills dlib's box.
EYE_CORNERS = (36, 39, 42, 45)
MOUTH_CORNERS = (48, 54)
PLACES = np.array([[0.20, 0.31], [0.39, 0.31], [0.61, 0.31], [0.80, 0.31], [0.50, 0.77]])
# What the points' noise moves the crop by: a movement counts from twice of it on. Shares of the crop's side for the
# place, of the size for the size, radians for the turn.
SLACK = np.array([0.006, 0.006, 0.012, 0.010])
# Points are found in the same box as long as the face's own overlaps with it by so much: noise makes dlib's boxes jump
# by a tenth of a face or a sixth of its size, and points that begin elsewhere end elsewhere.
KEPT_OVERLAP = 0.6


def alignment(points: NDArray[np.float32]) -> Floats:
    """Return where a face is, (4,): column and row of the crop's middle, log of the crop's side, turn in radians."""
    # Loaded by those alone who ask for aligned crops.
    from fastck.faces.landmarks import similarity

    target = np.concatenate([points[list(EYE_CORNERS)], points[list(MOUTH_CORNERS)].mean(axis=0, keepdims=True)])
    matrix = similarity(PLACES, target)
    column, row = matrix @ [0.5, 0.5, 1]
    return np.array([column, row, np.log(np.hypot(matrix[0, 0], matrix[1, 0])), np.arctan2(matrix[1, 0], matrix[0, 0])])


def steady(places: Floats) -> Floats:
    """Return the path (T, 4) of a crop that follows places (T, 4): median-filtered in time, and with some slack.

    Inside of the slack nothing moves, so that noise of the points is no motion; a face that goes further takes the crop
    along, without a jump.
    """
    half = SMOOTH_WINDOW // 2
    padded = np.pad(places, ((half, half), (0, 0)), mode="edge")
    smooth = np.median(np.lib.stride_tricks.sliding_window_view(padded, SMOOTH_WINDOW, axis=0), axis=-1)
    slack = SLACK * np.append(np.full(2, np.exp(np.median(places[:, 2]))), [1.0, 1.0])
    path = np.empty_like(smooth)
    at = np.median(smooth[:SMOOTH_WINDOW], axis=0)
    for number, place in enumerate(smooth):
        at = np.clip(at, place - slack, place + slack)
        path[number] = at
    return path


def find_alignments(frames: Iterable[Gray], found: Sequence[FaceBox | None]) -> Floats:
    """Return the path (T, 4) of a sequence's aligned crop; where no face was found it stays, as a box does.

    Parameters
    ----------
    frames : iterable of ndarray of shape (H, W), uint8
    found : sequence of FaceBox or None
        The face of each frame; one at least.
    """
    places: list[Floats | None] = []
    kept: FaceBox | None = None
    for gray, box in zip(islice(frames, len(found)), found, strict=False):
        if box is None:
            places.append(None)
            continue
        if kept is None or overlap(kept, box) < KEPT_OVERLAP:
            kept = box
        places.append(alignment(find_landmarks(gray, [kept])[0].points))
    last = next((place for place in places if place is not None), None)
    if last is None:
        raise ValueError(f"expected a face in one of {len(found)} frames, got none")
    filled = []
    for place in places:
        last = last if place is None else place
        filled.append(last)
    return steady(np.stack(filled))


def cut_aligned(frames: Iterable[Gray], path: Floats, side: int) -> Iterator[Gray]:
    """Cut each frame's face out as the path (T, 4) has it; the array is used again for the next one."""
    cropped = np.empty((side, side), np.uint8)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    for gray, (column, row, size, turn) in zip(frames, path, strict=True):
        step = np.exp(size) / side
        cosine, sine = step * np.cos(turn), step * np.sin(turn)
        half = (side - 1) / 2
        matrix = np.array(
            [[cosine, -sine, column - half * (cosine - sine)], [sine, cosine, row - half * (cosine + sine)]]
        )
        cv2.warpAffine(gray, matrix, (side, side), dst=cropped, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        yield cropped
