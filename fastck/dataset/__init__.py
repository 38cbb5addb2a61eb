"""Folders of frames and videos -> a list of sequences: what is there, how it is labelled, and what is odd about it."""

from fastck.dataset.labels import EMOTIONS
from fastck.dataset.layouts import scan
from fastck.dataset.records import Scan, SequenceRecord
from fastck.dataset.sample import sample

__all__ = ["EMOTIONS", "Scan", "SequenceRecord", "sample", "scan"]
