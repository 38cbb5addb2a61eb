"""One image file or video -> gray frames."""

from collections.abc import Iterator
from os import PathLike
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".jpe", ".tif", ".tiff", ".bmp", ".dib"})
VIDEO_SUFFIXES = frozenset({".avi", ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv"})


class ImageError(ValueError):
    """A file that does not decode to a gray image or a video; the text is one line that says what is wrong."""


def is_image(path: str | PathLike[str]) -> bool:
    """Say whether the name ends like an image's; the content is not looked at."""
    return Path(path).suffix.lower() in IMAGE_SUFFIXES


def is_video(path: str | PathLike[str]) -> bool:
    """Say whether the name ends like a video's; the content is not looked at."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


def read_gray(path: str | PathLike[str]) -> NDArray[np.uint8]:
    """Read an image as gray levels, pixel for pixel as ``cv2.imread(path, cv2.IMREAD_GRAYSCALE)`` does.

    Parameters
    ----------
    path : path-like
        A PNG, JPEG, TIFF or BMP file; its content decides the format, not its name.

    Returns
    -------
    gray : ndarray of shape (H, W), uint8
        Gray levels 0 to 255; 16-bit files are scaled as OpenCV does.

    Raises
    ------
    ImageError
        If the file does not decode.
    OSError
        If the file cannot be read.
    """
    data = np.fromfile(path, np.uint8)
    gray = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE) if data.size else None
    if gray is None:
        raise ImageError(f"{path}: not an image that can be decoded ({data.size} bytes)")
    return gray


def read_video(path: str | PathLike[str]) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames of a video as gray levels, one after the other.

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
    capture = _open_video(path)
    try:
        while True:
            good, frame = capture.read()
            if not good:
                return
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
    finally:
        capture.release()


def count_video_frames(path: str | PathLike[str]) -> int:
    """Count the frames that `read_video` yields, by decoding them: a container's own count is often an estimate.

    Raises
    ------
    ImageError
        If the file is no video that OpenCV can decode.
    OSError
        If the file cannot be read.
    """
    capture = _open_video(path)
    try:
        count = 0
        while capture.grab():
            count += 1
        return count
    finally:
        capture.release()


def _open_video(path: str | PathLike[str]) -> cv2.VideoCapture:
    with Path(path).open("rb"):  # a missing or forbidden file is the system's error, not the decoder's
        pass
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    if not capture.isOpened():
        raise ImageError(f"{path}: not a video that can be decoded")
    return capture
