"""Face boxes: what one is, and the searches that find them."""

from fastck.faces.box import FaceBox
from fastck.faces.compiled import FaceDetector, detect_faces
from fastck.faces.detector import Detector

__all__ = ["Detector", "FaceBox", "FaceDetector", "detect_faces"]
