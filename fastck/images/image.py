"""One image file -> a gray frame.

PNG files of the usual sort are decoded by `fastck.images.png`, JPEG files by simplejpeg, everything else by OpenCV.
Each way the size is read from the header and refused above `MAX_PIXELS` before anything is allocated for it, and damage
that a decoder passes over is looked for.
"""

import os
from os import PathLike
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fastck.images.bmp import check_bmp
from fastck.images.header import PNG_SIGNATURE, ImageError, ImageHeader, jpeg_exif, read_header
from fastck.images.jpeg import decode_jpeg, probe_jpeg, turned_like
from fastck.images.png import decode_png, essential_png, inflate, parse_png
from fastck.images.quiet import quiet_opencv
from fastck.messages import one_line

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".jpe", ".tif", ".tiff", ".bmp", ".dib", ".webp"})
MAX_FILE_BYTES = 1 << 30  # twice what MAX_PIXELS take as uncompressed 16-bit colour with alpha
_HEADER_BYTES = 1 << 16
_TWELVE_BITS = 1 << 12
_DARK = 16  # gray levels; what 12 bits come to when they are taken for 16


def is_image(path: str | PathLike[str]) -> bool:
    """Return whether the name ends like an image's; the content is not looked at."""
    return os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 - a tenth of a Path's cost


def read_gray(path: str | PathLike[str]) -> NDArray[np.uint8]:
    """Read an image as gray levels, pixel for pixel as ``cv2.imread(path, cv2.IMREAD_GRAYSCALE)`` does.

    Parameters
    ----------
    path : path-like
        A PNG, JPEG, TIFF, BMP or WebP file; its content decides the format, not its name. Of a file with several pages
        the first is read, of an animated PNG the still image that readers without animation show. An EXIF orientation
        is applied.

    Returns
    -------
    gray : ndarray of shape (H, W), uint8
        Gray levels 0 to 255; 16-bit files are scaled as OpenCV does, and those that use 12 of their bits or
        fewer are refused. Colour animations alone may differ from OpenCV: by
        one gray level for rounding, and where the still image is not the first of the animation.

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
        If the content is no PNG, JPEG, TIFF, BMP or WebP, is damaged, cut off, or has more than `MAX_PIXELS` pixels.
    """
    if content.startswith(PNG_SIGNATURE):
        png = parse_png(content)
        if png.is_plain:
            return decode_png(png)
        inflate(png)  # so that damaged data is refused here, in our words
        content = essential_png(png)
    header = read_header(content)
    if header.kind == "JPEG":
        return _decode_jpeg(content, header)
    if header.kind == "BMP":
        check_bmp(content, header)
    gray = _decode_tiff(content, header) if header.kind == "TIFF" else _decode_opencv(content, header.kind)
    if header.bits == 16 and gray.max() <= _DARK:
        _refuse_fewer_bits(content)
    return gray


def read_image_header(path: str | PathLike[str]) -> ImageHeader:
    """Read kind and size of an image without decoding it.

    Raises
    ------
    ImageError
        If the content is no PNG, JPEG, TIFF, BMP or WebP, or its header is damaged or asks for too many pixels.
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


def _read_file(path: str | PathLike[str], most: int) -> bytes:
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - Path.open is slower, and buffers
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise ImageError(
                f"{one_line(os.fspath(path))}: the file has {size:,} bytes; more than {most:,} are refused"
            )
        return file.readall()


def _decode_jpeg(content: bytes, header: ImageHeader) -> NDArray[np.uint8]:
    gray = decode_jpeg(content)
    if header.channels not in (1, 3):
        # Inks are left to OpenCV.
        return _decode_opencv(content, "JPEG")
    exif = jpeg_exif(content)
    # OpenCV turns a small picture with the same EXIF: the large one need not be decoded twice.
    return turned_like(_decode_opencv(probe_jpeg(exif), "JPEG"), gray) if exif else gray


def _decode_tiff(content: bytes, header: ImageHeader) -> NDArray[np.uint8]:
    # Pillow takes a while to load.
    from fastck.images.tiff import check_tiff

    tiles = check_tiff(content, header)
    try:
        return _decode_opencv(content, "TIFF")
    except ImageError:
        if tiles is None:
            raise
        return tiles


def _refuse_fewer_bits(content: bytes) -> None:
    """Refuse a file of 16 bits whose values use 12 or fewer of them, as cameras write: it would come out black."""
    levels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH)
    if levels is not None and 0 < levels.max() < _TWELVE_BITS:
        raise ImageError(
            f"the values of a 16-bit image must go up to 65535, got at most {levels.max()}, which is black: scale them"
        )


def _decode_opencv(content: bytes, kind: str) -> NDArray[np.uint8]:
    with quiet_opencv():
        try:
            gray = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
        except (cv2.error, MemoryError) as error:
            raise ImageError(f"the {kind} file does not decode: {one_line(error).strip()}") from None
    if gray is None or gray.dtype != np.uint8 or gray.ndim != 2:
        raise ImageError(f"the {kind} file is damaged or of a sort OpenCV does not decode")
    return gray
