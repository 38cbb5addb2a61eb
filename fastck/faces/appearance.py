"""What a face looks like apart from where it is: its points beside those of the head model, and an aligned picture."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from fastck.faces.box import Gray
from fastck.faces.landmarks import POINTS, load_landmark_model, similarity
from fastck.faces.pose import RIGID, head_pose
from fastck.kernels import landmarks as kernels
from fastck.kernels.landmarks import DIRECTIONS

Floats = NDArray[np.float32]

# Eye corners and the nose: what no expression moves much.
STEADY = [27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 39, 42, 45]
EYES = 40.0  # pixels between the outer eye corners in the aligned picture
SIDE = 96  # pixels of it
EYES_ROW = 36.0  # where the eyes are in it
CELL = 4  # pixels of a cell
GRID = SIDE // CELL  # cells along a side
AROUND = 5  # cells along the side of what a cell's gradients are a share of
FAINT = 16.0  # added to that: a gray level in each pixel of a cell
LEVELS = 150.0  # of a byte, for a share whose root is 1
# Patches see more at once, and less of where it is: pixels of their cells, cells along a side, pixels between patches.
PATCH_CELL, PATCH_CELLS, PATCH_STEP = 8.0, 2, 8
# Patches outside of the ellipse show hair and background. Pixels from the middle of the picture.
OVAL = (42.0, 52.0)
PATCH_LEVELS = 600.0  # of a byte, for a patch's value; the largest is 0.3 before the last normalising


class Look(NamedTuple):
    """What one frame shows of a face.

    Attributes
    ----------
    shape : ndarray of shape (136,), float32
        How far each point lies from the head model's own in the same pose, upright, in shares of the distance between
        the outer eye corners: columns and rows in turn.
    pose : ndarray of shape (3,), float32
        Yaw, pitch and roll in radians.
    patches : ndarray of shape (3232,), uint8
        Oriented gradients of overlapping patches of the aligned picture; means and medians of them as float32.
    cells : ndarray of shape (24, 24, 8), uint8
        Those of finer cells, as shares of the gradients around; as above.
    """

    shape: Floats
    pose: Floats
    patches: NDArray[Any]
    cells: NDArray[Any]


def patch_centres() -> Floats:
    """Return the patches' centres in the aligned picture, (P, 2) pixels."""
    places = np.arange(PATCH_STEP, SIDE, PATCH_STEP) - 0.5
    grid = np.stack(np.meshgrid(places, places), axis=-1).reshape(-1, 2)
    inside = np.hypot(*((grid - (SIDE - 1) / 2) / OVAL).T) <= 1
    return grid[inside].astype(np.float32)


N_SHAPE, N_PATCHES = 2 * POINTS, len(patch_centres()) * PATCH_CELLS**2 * DIRECTIONS


def stacked(looks: Sequence[Look]) -> Look:
    """Return looks as one whose arrays have a row for each."""
    return Look(*map(np.stack, zip(*looks, strict=True)))


def median_look(looks: Sequence[Look]) -> Look:
    """Return the median of looks, value by value."""
    return Look(*(np.median(values, axis=0).astype(np.float32) for values in stacked(looks)))


class Looker:
    """Looks at faces whose points are known, with buffers that are kept: not to be shared between threads."""

    def __init__(self) -> None:
        head = load_landmark_model().head.astype(np.float64)
        self._head = head - (head[36] + head[45]) / 2
        self._eyes = float(np.linalg.norm(head[36] - head[45]))
        self._centres = patch_centres()
        self._corners = np.empty((PATCH_CELLS + 1, PATCH_CELLS + 1, DIRECTIONS), np.float32)
        self._planes = np.empty((DIRECTIONS, SIDE), np.float32)
        self._sums = np.empty((SIDE + 1, SIDE + 1, DIRECTIONS), np.float32)

    def __call__(self, gray: Gray, points: NDArray[np.floating]) -> Look:
        """Return what a frame shows of the face.

        Parameters
        ----------
        gray : ndarray of shape (H, W), uint8
        points : ndarray of shape (68, 2)
            As `fastck.detect_landmarks` finds them in it.
        """
        found = points.astype(np.float64)
        yaw, pitch, roll, _ = head_pose(found, gray.shape)
        angles = np.deg2rad([yaw, pitch, roll])
        posed = self._posed(*angles)
        # The model without its lean: the points are laid upright by it.
        back = similarity(found[RIGID], posed[RIGID])
        shape = (found @ back[:, :2].T + back[:, 2] - posed) / self._eyes
        picture = self._picture(gray, found, posed)
        kernels.gradient_sums(picture, self._planes, self._sums)
        return Look(shape.ravel().astype(np.float32), angles.astype(np.float32), self._patches(), self._cells())

    def _posed(self, yaw: float, pitch: float, roll: float) -> NDArray[np.float64]:
        """Return the head model's points as they are seen in a pose but upright, (68, 2), rows downwards."""
        sine, cosine = np.sin(yaw), np.cos(yaw)
        x = cosine * self._head[:, 0] + sine * self._head[:, 2]
        z = cosine * self._head[:, 2] - sine * self._head[:, 0]
        y = np.cos(pitch) * self._head[:, 1] - np.sin(pitch) * z
        return np.column_stack([x, -y])

    def _picture(self, gray: Gray, points: NDArray[np.float64], posed: NDArray[np.float64]) -> Gray:
        """Return the picture in which eyes and nose are where the model has them, (96, 96) uint8."""
        scale = EYES / self._eyes
        target = posed[STEADY] * scale + np.array([(SIDE - 1) / 2, EYES_ROW])
        matrix = similarity(target, points[STEADY])
        size = float(np.hypot(matrix[0, 0], matrix[1, 0]))
        corner = np.floor(points.min(axis=0) - 0.6 * EYES * size).astype(int)
        corner = np.clip(corner, 0, [gray.shape[1] - 1, gray.shape[0] - 1])
        end = np.ceil(points.max(axis=0) + 0.6 * EYES * size).astype(int)
        near = gray[corner[1] : max(end[1], corner[1] + 1), corner[0] : max(end[0], corner[0] + 1)]
        matrix[:, 2] -= corner
        if size > 1:
            # A larger face is blurred to the picture's own sharpness first.
            near = cv2.GaussianBlur(near, (0, 0), 0.5 * size)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return np.asarray(
            cv2.warpAffine(near, matrix, (SIDE, SIDE), flags=flags, borderMode=cv2.BORDER_REPLICATE), np.uint8
        )

    def _patches(self) -> NDArray[np.uint8]:
        out = np.empty((len(self._centres), PATCH_CELLS**2 * DIRECTIONS), np.float32)
        kernels.patch_features(self._sums, self._centres, np.float32(PATCH_CELL), PATCH_CELLS, self._corners, out)
        return np.clip(np.rint(out.ravel() * PATCH_LEVELS), 0, 255).astype(np.uint8)

    def _cells(self) -> NDArray[np.uint8]:
        corners = self._sums[::CELL, ::CELL]
        cells = np.maximum(corners[1:, 1:] - corners[:-1, 1:] - corners[1:, :-1] + corners[:-1, :-1], 0)
        length = np.sqrt((cells * cells).sum(axis=-1))
        around = cv2.boxFilter(length, -1, (AROUND, AROUND), borderType=cv2.BORDER_REPLICATE)
        shares = np.sqrt(cells / (around[..., None] + np.float32(FAINT)))
        return np.clip(np.rint(shares * LEVELS), 0, 255).astype(np.uint8)
