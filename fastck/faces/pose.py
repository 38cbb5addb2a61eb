"""The head's turn and place from its landmarks: the head model's own points, brought over those of the picture."""

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from fastck.faces.landmarks import load_landmark_model

# What jaw and lids move least: the outline before the ears, nose, eye corners, and the mouth but its lower lip.
RIGID = [0, 1, 15, 16, 27, 28, 29, 30, 31, 33, 35, 36, 39, 42, 45, 48, 51, 54]
FOCAL = 2.0  # of the picture's longer side, where nothing is said: a portrait's lens


class HeadPose(NamedTuple):
    """How a head is held, as seen by the camera.

    Attributes
    ----------
    yaw : float
        Degrees, positive towards the subject's own left: the nose moves to the picture's right.
    pitch : float
        Degrees, positive downwards: the subject looks at their feet.
    roll : float
        Degrees, positive where the head leans towards the subject's own right shoulder: counter-clockwise in the
        picture.
    position : tuple of float
        The middle between the eyes, decimetres from the camera: to the picture's right, downwards, and away. It has the
        scale of a head of average size, and the distance depends on the focal length.
    """

    yaw: float
    pitch: float
    roll: float
    position: tuple[float, float, float]


def head_pose(
    points: NDArray[np.floating],
    shape: tuple[int, ...],
    *,
    focal: float | None = None,
    head: NDArray[np.float32] | None = None,
) -> HeadPose:
    """Return how the head is held.

    Parameters
    ----------
    points : ndarray of shape (68, 2)
        Landmarks in pixels, as `fastck.detect_landmarks` gives them.
    shape : tuple of int
        Height and width of the picture that they are in.
    focal : float, optional
        The camera's focal length in pixels. Twice the picture's longer side by default.
    head : ndarray of shape (68, 3), optional
        The points on a head, decimetres; the bundled model's by default.

    Returns
    -------
    pose : HeadPose

    Raises
    ------
    ValueError
        If `points` has another shape or values that are not finite.
    """
    points = np.asarray(points, np.float64)
    if points.shape != (68, 2) or not np.isfinite(points).all():
        raise ValueError(f"points must be finite and of shape (68, 2), got shape {points.shape}")
    height, width = shape[:2]
    length = FOCAL * max(height, width) if focal is None else focal
    camera = np.array([[length, 0, (width - 1) / 2], [0, length, (height - 1) / 2], [0, 0, 1]])
    on_head = np.asarray(load_landmark_model().head if head is None else head, np.float64)
    middle = (on_head[36] + on_head[45]) / 2
    # OpenCV's axes: right, down, away. The model's: the subject's left (the picture's right), up, out of the face.
    model = (on_head - middle) * np.array([1.0, -1.0, -1.0])
    rotation, translation = np.zeros((3, 1)), _first_translation(model, points, camera)
    _, rotation, translation = cv2.solvePnP(
        model[RIGID], points[RIGID], camera, None, rotation, translation, useExtrinsicGuess=True
    )
    turn, _ = cv2.Rodrigues(rotation)
    # lean @ nod @ turn in the head model's axes, as the renderer has it.
    turn = turn * np.outer([1, -1, -1], [1, -1, -1])
    pitch = np.arcsin(np.clip(turn[2, 1], -1, 1))
    yaw, roll = np.arctan2(-turn[2, 0], turn[2, 2]), np.arctan2(-turn[0, 1], turn[1, 1])
    x, y, z = translation.ravel().tolist()
    yaw, pitch, roll = np.rad2deg([yaw, pitch, roll]).tolist()
    return HeadPose(yaw, pitch, roll, (x, y, z))


def turn_matrix(pose: HeadPose) -> NDArray[np.float64]:
    """Return the (3, 3) rotation of a pose in the head model's axes: the subject's left, up, out of the face."""
    (cy, cp, cr), (sy, sp, sr) = np.cos(np.deg2rad(pose[:3])), np.sin(np.deg2rad(pose[:3]))
    lean = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    nod = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    return lean @ nod @ np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])


def _first_translation(
    model: NDArray[np.float64], points: NDArray[np.floating[Any]], camera: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return a translation (3, 1) where the model is about as large as the points, and lies over them."""
    focal = camera[0, 0]
    spread = np.linalg.norm(points[RIGID].std(axis=0)) / np.linalg.norm(model[RIGID, :2].std(axis=0))
    away = focal / spread
    column, row = (points[36] + points[45]) / 2
    return np.array([[(column - camera[0, 2]) * away / focal], [(row - camera[1, 2]) * away / focal], [away]])
