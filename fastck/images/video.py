"""One video file -> gray frames, decoded by OpenCV's FFmpeg."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fastck.images.header import ImageError
from fastck.images.quiet import quiet_opencv
from fastck.messages import one_line

VIDEO_SUFFIXES = frozenset({".avi", ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv"})
USUAL_FPS = 25.0
MOST_FPS = 1000.0  # a container that gives more gives its time base


def is_video(path: str | PathLike[str]) -> bool:
    """Return whether the name ends like a video's; the content is not looked at."""
    return os.path.splitext(path)[1].lower() in VIDEO_SUFFIXES  # noqa: PTH122


def read_video(path: str | PathLike[str], *, skip: int = 0) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames of a video as gray levels, one after the other.

    Parameters
    ----------
    path : path-like
    skip : int
        Frames passed over at the beginning.

    Yields
    ------
    gray : ndarray of shape (H, W), uint8
        The decoded frame through ``cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)``.

    Raises
    ------
    ImageError
        If the file is no video that OpenCV can decode.
    OSError
        If the file cannot be read.
    """
    with _opened(path) as capture:
        # Seeking by number lands elsewhere in many files; every frame is decoded, and only those wanted are converted.
        if not all(capture.grab() for _ in range(skip)):
            return
        while True:
            good, frame = capture.read()
            if not good:
                return
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)


def video_rate(path: str | PathLike[str]) -> float:
    """Return how many frames a second a video is made for; 25 where its container does not say.

    Raises
    ------
    ImageError
        If the file is no video that OpenCV can decode.
    OSError
        If the file cannot be read.
    """
    with _opened(path) as capture:
        rate = float(capture.get(cv2.CAP_PROP_FPS))
    return rate if 0 < rate <= MOST_FPS else USUAL_FPS


def count_video_frames(path: str | PathLike[str]) -> int:
    """Count the frames that `read_video` yields, by decoding them: a container's own count is often an estimate.

    Raises
    ------
    ImageError
        If the file is no video that OpenCV can decode.
    OSError
        If the file cannot be read.
    """
    count = 0
    with _opened(path) as capture:
        while capture.grab():
            count += 1
    return count


@contextmanager
def _opened(path: str | PathLike[str]) -> Iterator[cv2.VideoCapture]:
    with Path(path).open("rb"):  # a missing or forbidden file is the system's error, not the decoder's
        pass
    # Read by OpenCV when it opens its first video: FFmpeg says nothing for itself (-8 is its AV_LOG_QUIET).
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    with quiet_opencv():
        capture = cv2.VideoCapture(os.fspath(path), cv2.CAP_FFMPEG)
        if not capture.isOpened():
            raise ImageError(f"{one_line(os.fspath(path))}: not a video that can be decoded")
    try:
        yield capture
    finally:
        capture.release()
