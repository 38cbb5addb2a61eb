"""JPEG data -> gray frames, decoded by libjpeg-turbo as OpenCV does, but with its warnings as errors.

What a decoder cannot read it fills up with gray: libjpeg, and so OpenCV and Pillow, merely warn of it.
"""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from fastck.images.header import ImageError, bare_jpeg, jpeg_holds, read_header
from fastck.messages import one_line

QUARTERS = np.array([[0, 80], [160, 240]], np.uint8)
# Of EXIF's orientations 1 to 8. OpenCV's take a quarter of the time of NumPy's.
TURNS: tuple[Callable[[NDArray[np.uint8]], Any], ...] = (
    np.asarray,
    lambda gray: cv2.flip(gray, 1),
    lambda gray: cv2.rotate(gray, cv2.ROTATE_180),
    lambda gray: cv2.flip(gray, 0),
    cv2.transpose,
    lambda gray: cv2.rotate(gray, cv2.ROTATE_90_CLOCKWISE),
    lambda gray: cv2.transpose(cv2.rotate(gray, cv2.ROTATE_180)),
    lambda gray: cv2.rotate(gray, cv2.ROTATE_90_COUNTERCLOCKWISE),
)


def decode_jpeg(content: bytes) -> NDArray[np.uint8]:
    """Decode an image without turning it as its EXIF says.

    Raises
    ------
    ImageError
        If the image is damaged or cut off, or has too many pixels.
    """
    if not jpeg_holds(content, read_header(content)):
        raise ImageError("the JPEG data is cut off")
    try:
        return _decode_strictly(content)
    except ValueError as error:
        raise ImageError(f"the JPEG data is damaged or cut off: {one_line(error)}") from None


def probe_jpeg(exif: bytes) -> bytes:
    """Return a JPEG file of QUARTERS, eight pixels wide each, with the segments of EXIF."""
    quarters = np.kron(QUARTERS, np.ones((8, 8), np.uint8))
    content = simplejpeg.encode_jpeg(quarters[..., None], quality=100, colorspace="GRAY", colorsubsampling="Gray")
    return content[:2] + exif + content[2:]


def turned_like(probe: NDArray[np.uint8], gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image turned and mirrored as the picture of `probe_jpeg` was."""
    (turn,) = [turn for turn in TURNS if np.array_equal(turn(QUARTERS), probe[::8, ::8])]
    return np.asarray(turn(gray))


def _decode_strictly(content: bytes) -> NDArray[np.uint8]:
    try:
        return simplejpeg.decode_jpeg(content, "GRAY", strict=True)[..., 0]
    except ValueError as error:
        if "extraneous" not in str(error):
            raise
        # Between the segments of the header stray bytes do no harm; in the image data they are what is left of damage.
        return simplejpeg.decode_jpeg(bare_jpeg(content), "GRAY", strict=True)[..., 0]
