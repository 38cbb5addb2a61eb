"""A face's landmarks and the head's turn: found, drawn over a picture, and said. Loaded where they are asked for."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from fastck.faces.box import FaceBox, Gray
from fastck.faces.detector import find_landmarks
from fastck.faces.landmarks import Landmarks
from fastck.faces.pose import HeadPose, head_pose, turn_matrix
from fastck.pages.palette import DARK_CLASSES, bgr

NOSE = 30  # the point that the axes begin at
POINT, RIM = DARK_CLASSES[5], (0, 0, 0)
# Towards the subject's left, up, and out of the face.
AXES = tuple(DARK_CLASSES[place] for place in (1, 3, 7))
LENGTH = 0.4  # of an axis, shares of the points' height


@dataclass(frozen=True)
class Marks:
    """The landmarks of a face, and how the head is held."""

    landmarks: Landmarks
    pose: HeadPose


def find_marks(gray: Gray, box: FaceBox) -> Marks:
    """Return the landmarks and the turn of the face in a box."""
    (found,) = find_landmarks(gray, [box])
    return with_pose(found, gray.shape)


def with_pose(landmarks: Landmarks, shape: tuple[int, ...]) -> Marks:
    """Return a face's landmarks and its turn, for a picture of that shape."""
    return Marks(landmarks, head_pose(landmarks.points, shape))


def draw_marks(picture: NDArray[np.uint8], marks: Marks) -> None:
    """Draw the points and, from the tip of the nose, the head's three axes; in place, blue first."""
    points = marks.landmarks.points
    for column, row in np.rint(points).astype(int).tolist():
        for radius, shade in ((2, RIM), (1, bgr(POINT))):
            cv2.circle(picture, (column, row), radius, shade, -1)
    for end, colour in zip(np.rint(axis_ends(marks)).astype(int).tolist(), AXES, strict=True):
        cv2.line(picture, np.rint(points[NOSE]).astype(int).tolist(), end, bgr(colour), 2, cv2.LINE_AA)


def axis_ends(marks: Marks) -> NDArray[np.float64]:
    """Return where the head's three axes end, which begin at the tip of the nose: (3, 2), column and row."""
    points = marks.landmarks.points
    # The head model's axes; rows of a picture count downwards.
    ends = turn_matrix(marks.pose)[:2].T * [1, -1] * LENGTH * np.ptp(points[:, 1])
    return np.asarray(points[NOSE] + ends)


def said_turn(marks: Marks) -> str:
    """Return the head's turn in whole degrees: "yaw 3, pitch -2, roll 0"."""
    return ", ".join(f"{name} {round(angle)}" for name, angle in zip(HeadPose._fields[:3], marks.pose[:3], strict=True))
