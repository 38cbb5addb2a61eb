"""TIFF files, checked for damage that OpenCV's decoder passes over in silence.

Pillow reports what libtiff calls an error. But libtiff does not look at the checksum of deflated data, and merely warns
of packed or JPEG data that does not fill its strip.
"""

import io
import warnings
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fastck.images.header import ImageError, ImageHeader
from fastck.images.jpeg import decode_jpeg
from fastck.messages import one_line

_PLAIN, _JPEG, _DEFLATE, _PACKBITS = 1, 7, (8, 32946), 32773
_SEPARATE = 2
_COMPRESSION, _SAMPLES, _ROWS, _PLANAR, _TILE_WIDTH, _TILE_HEIGHT, _JPEG_TABLES = 259, 277, 278, 284, 322, 323, 347
# Tags of where strips and tiles begin, and of how long they are.
_STRIPS, _TILES = (273, 279), (324, 325)

# What is odd about a header is told on standard error, once for a process; what matters is in the exceptions.
warnings.filterwarnings("ignore", module=r"PIL\.TiffImagePlugin")


def check_tiff(content: bytes, header: ImageHeader) -> NDArray[np.uint8] | None:
    """Decode a TIFF file with Pillow to find out whether it is whole.

    Returns
    -------
    gray : ndarray of shape (H, W), uint8, or None
        The gray levels of a file in tiles; OpenCV 5 does not decode all of these from memory. None for others.

    Raises
    ------
    ImageError
        If the file is damaged or cut off, or of a sort that Pillow does not decode.
    """
    try:
        image: Any = Image.open(io.BytesIO(content), formats=["TIFF"])
        _check_strips(content, image.tag_v2, header)
        image.load()
    except ImageError:
        raise
    # Pillow lets through whatever its parsing of a damaged file runs into.
    except Exception as error:
        raise ImageError(f"the TIFF file is damaged or of a sort that is not read: {one_line(error)}") from None
    if _TILE_WIDTH not in image.tag_v2:
        return None
    if image.mode.startswith("I;16"):
        return (np.asarray(image) >> 8).astype(np.uint8)
    # Planes of 16 bits come out wrong.
    return np.asarray(image.convert("L")) if header.bits == 8 else None


def _check_strips(content: bytes, tags: Any, header: ImageHeader) -> None:
    """Refuse strips or tiles that are missing, cut off, or do not hold what they have to."""
    tiled = _TILE_WIDTH in tags
    width = tags.get(_TILE_WIDTH, header.width)
    rows = tags.get(_TILE_HEIGHT) if tiled else min(tags.get(_ROWS, header.height), header.height)
    samples = tags.get(_SAMPLES, 1)
    planes, samples = (samples, 1) if tags.get(_PLANAR) == _SEPARATE else (1, samples)
    row_bytes = -(-width * samples * header.bits // 8)
    down = -(-header.height // rows)
    offsets, lengths = (tags[tag] for tag in (_TILES if tiled else _STRIPS))
    if min(len(offsets), len(lengths)) < down * -(-header.width // width) * planes:
        raise ImageError("the TIFF file is damaged: a part of the image is missing")
    for number, (at, length) in enumerate(zip(offsets, lengths, strict=True)):
        strip = content[at : at + length]
        if len(strip) < length:
            raise ImageError("the TIFF file is cut off")
        # The last strip of a plane has fewer rows.
        least = rows if tiled else min(rows, header.height - number % down * rows)
        if not _is_sound(strip, tags, least * row_bytes, rows * row_bytes):
            raise ImageError("the TIFF file is damaged")


def _is_sound(strip: bytes, tags: Any, least: int, whole: int) -> bool:
    """Return whether a strip holds so many bytes and, where it has a checksum, has the right one."""
    compression = tags.get(_COMPRESSION, 1)
    if compression in _DEFLATE:
        inflate = zlib.decompressobj()
        # The stream is at its end once the checksum was read; asking for one byte more than there can be leads there.
        return len(inflate.decompress(strip, whole + 1)) >= least and inflate.eof
    if compression == _JPEG:
        jpeg = tags.get(_JPEG_TABLES, b"\xff\xd8\xff\xd9")[:-2] + strip[2:]
        return bool(decode_jpeg(jpeg).size)
    if compression == _PACKBITS:
        return _packed_bytes(strip) in (least, whole)
    return compression != _PLAIN or len(strip) >= least


def _packed_bytes(strip: bytes) -> int:
    """Return how many bytes the runs of PackBits stand for."""
    at = n_bytes = 0
    while at < len(strip):
        code = strip[at]
        n_bytes += code + 1 if code < 128 else 257 - code if code > 128 else 0
        at += code + 2 if code < 128 else 2 if code > 128 else 1
    return n_bytes
