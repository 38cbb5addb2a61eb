"""One image file or video -> gray frames.

PNG files of the usual sort are decoded by `fastck.decoding.png`, everything else by OpenCV. Either way the size is
read from the header and refused above `MAX_PIXELS` before anything is allocated for it.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fastck.decoding.imageheader import MAX_PIXELS, PNG_SIGNATURE, ImageError, ImageHeader, read_header
from fastck.decoding.png import decode_png, essential_png, inflate, parse_png
from fastck.messages import one_line

__all__ = [
    "MAX_PIXELS",
    "ImageError",
    "ImageHeader",
    "count_video_frames",
    "decode_gray",
    "is_image",
    "is_video",
    "read_gray",
    "read_image_header",
    "read_video",
]

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".jpe", ".tif", ".tiff", ".bmp", ".dib"})
VIDEO_SUFFIXES = frozenset({".avi", ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv"})
MAX_FILE_BYTES = 1 << 30  # twice what MAX_PIXELS take as uncompressed 16-bit colour with alpha
_HEADER_BYTES = 1 << 16

_log_lock = threading.Lock()
_log_users = 0
_log_level = 0


def is_image(path: str | PathLike[str]) -> bool:
    """Say whether the name ends like an image's; the content is not looked at."""
    return os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 - a tenth of a Path's cost


def is_video(path: str | PathLike[str]) -> bool:
    """Say whether the name ends like a video's; the content is not looked at."""
    return os.path.splitext(path)[1].lower() in VIDEO_SUFFIXES  # noqa: PTH122


def read_gray(path: str | PathLike[str]) -> NDArray[np.uint8]:
    """Read an image as gray levels, pixel for pixel as ``cv2.imread(path, cv2.IMREAD_GRAYSCALE)`` does.

    Parameters
    ----------
    path : path-like
        A PNG, JPEG, TIFF or BMP file; its content decides the format, not its name. Of a file with several pages the
        first is read, of an animated PNG the still image that readers without animation show. An EXIF orientation is
        applied.

    Returns
    -------
    gray : ndarray of shape (H, W), uint8
        Gray levels 0 to 255; 16-bit files are scaled as OpenCV does. Colour animations alone may differ from OpenCV: by
        one grey level for rounding, and where the still image is not the first of the animation.

    Raises
    ------
    ImageError
        If the content is of another format, damaged, cut off, or has more than `MAX_PIXELS` pixels.
    OSError
        If the file cannot be read.
    """
    content = _read_file(path, MAX_FILE_BYTES)
    try:
        return decode_gray(content)
    except ImageError as error:
        raise ImageError(f"{one_line(os.fspath(path))}: {error}") from None


def decode_gray(content: bytes) -> NDArray[np.uint8]:
    """Decode the content of an image file; as `read_gray`.

    Raises
    ------
    ImageError
        If the content is no PNG, JPEG, TIFF or BMP, is damaged, cut off, or has more than `MAX_PIXELS` pixels.
    """
    if content.startswith(PNG_SIGNATURE):
        png = parse_png(content)
        if png.is_plain:
            return decode_png(png)
        inflate(png)  # so that damaged data is refused here, in our words
        return _decode_opencv(essential_png(png), "PNG")
    header = read_header(content)
    # OpenCV's JPEG decoder may fill up a cut-off file with gray. Inside of image data the byte 255 is always escaped,
    # so these two are markers: the start of the last scan, and the end after it.
    if header.kind == "JPEG" and content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda"):
        raise ImageError("the JPEG file is cut off")
    return _decode_opencv(content, header.kind)


def read_image_header(path: str | PathLike[str]) -> ImageHeader:
    """Read kind and size of an image without decoding it.

    Raises
    ------
    ImageError
        If the content is no PNG, JPEG, TIFF or BMP, or its header is damaged or asks for too many pixels.
    OSError
        If the file cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            start = file.read(_HEADER_BYTES)
            try:
                return read_header(start)
            except ImageError:
                if len(start) < _HEADER_BYTES:
                    raise
        return read_header(_read_file(path, MAX_FILE_BYTES))  # TIFF and long metadata put the size further back
    except ImageError as error:
        raise ImageError(f"{one_line(os.fspath(path))}: {error}") from None


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
    # Read by OpenCV when it opens its first video: FFmpeg says nothing for itself (-8 is its AV_LOG_QUIET).
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    with _quiet_opencv():
        capture = cv2.VideoCapture(os.fspath(path), cv2.CAP_FFMPEG)
        if not capture.isOpened():
            raise ImageError(f"{one_line(os.fspath(path))}: not a video that can be decoded")
    return capture


def _read_file(path: str | PathLike[str], most: int) -> bytes:
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - Path.open is slower, and buffers
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise ImageError(
                f"{one_line(os.fspath(path))}: the file has {size:,} bytes; more than {most:,} are refused"
            )
        return file.readall()


def _decode_opencv(content: bytes, kind: str) -> NDArray[np.uint8]:
    with _quiet_opencv():
        try:
            gray = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
        except (cv2.error, MemoryError) as error:
            raise ImageError(f"the {kind} file does not decode: {one_line(error).strip()}") from None
    if gray is None or gray.dtype != np.uint8 or gray.ndim != 2:
        raise ImageError(f"the {kind} file is damaged or of a sort OpenCV does not decode")
    return gray


# The function moved in OpenCV 5; both return the level before.
_set_log_level = getattr(cv2.utils, "logging", cv2).setLogLevel
_SILENT = 0


@contextmanager
def _quiet_opencv() -> Iterator[None]:
    """Silence OpenCV's own messages while any thread is in here: what they say is in the exception."""
    global _log_users, _log_level
    with _log_lock:
        if _log_users == 0:
            _log_level = _set_log_level(_SILENT)
        _log_users += 1
    try:
        yield
    finally:
        with _log_lock:
            _log_users -= 1
            if _log_users == 0:
                _set_log_level(_log_level)
