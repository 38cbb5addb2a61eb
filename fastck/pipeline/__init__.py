"""Bulk preprocessing: sequences -> boxes -> crops -> features -> a store, on all cores."""

from fastck.pipeline.dispatch import Progress, preprocess
from fastck.pipeline.sequence import process_frames

__all__ = ["Progress", "preprocess", "process_frames"]
