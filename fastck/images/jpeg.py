"""JPEG data -> gray frames, decoded by libjpeg-turbo as OpenCV does, but with its warnings as errors.

What a decoder cannot read it fills up with gray: libjpeg, and so OpenCV and Pillow, merely warn of it.
"""

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from fastck.images.header import ImageError, bare_jpeg, jpeg_holds, read_header
from fastck.messages import one_line


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


def _decode_strictly(content: bytes) -> NDArray[np.uint8]:
    try:
        return simplejpeg.decode_jpeg(content, "GRAY", strict=True)[..., 0]
    except ValueError as error:
        if "extraneous" not in str(error):
            raise
        # Between the segments of the header stray bytes do no harm; in the image data they are what is left of damage.
        return simplejpeg.decode_jpeg(bare_jpeg(content), "GRAY", strict=True)[..., 0]
