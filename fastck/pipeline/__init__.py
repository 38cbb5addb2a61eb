"""Bulk preprocessing: sequences -> boxes -> crops -> features -> a store, on all cores."""

from fastck.pipeline.dispatch import PreprocessProgress, preprocess
from fastck.pipeline.sequence import process_frames

__all__ = ["PreprocessProgress", "preprocess", "process_frames"]
