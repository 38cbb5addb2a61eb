"""Faces: their boxes and the searches that find them, landmarks, head pose, action units."""

from fastck.faces.box import FaceBox
from fastck.faces.detector import Detector, FaceDetector, detect_faces, detect_landmarks

__all__ = ["Detector", "FaceBox", "FaceDetector", "detect_faces", "detect_landmarks"]
