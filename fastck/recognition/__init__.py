"""Recognise emotions: the bundled recogniser, onset and apex of clips, predictions."""

from fastck.recogniser import Recogniser, bundled
from fastck.recognition.follow import Follower, Reading

__all__ = ["Follower", "Reading", "Recogniser", "bundled"]
