"""Recognise emotions: the bundled recogniser, onset and apex of clips, predictions."""

from fastck.recognition.follow import Follower, Reading
from fastck.recognition.model import Recogniser, bundled

__all__ = ["Follower", "Reading", "Recogniser", "bundled"]
