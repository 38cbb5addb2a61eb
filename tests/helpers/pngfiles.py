"""A plain PNG writer for tests: any filter in any row, any chunk anywhere, any damage."""

import struct
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def header(width: int, height: int, *, bits: int = 8, colour: int = 0, interlace: int = 0) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlace))


def filter_rows(pixels: NDArray[np.uint8], filters: Sequence[int]) -> bytes:
    """Filter rows as the specification's formulas say, pixel by pixel: (H, W) or (H, W, 3) -> the bytes to compress."""
    step = 1 if pixels.ndim == 2 else pixels.shape[2]
    rows = pixels.reshape(len(pixels), -1).astype(int)
    written = bytearray()
    above = [0] * rows.shape[1]
    for row, kind in zip(rows.tolist(), filters, strict=True):
        written.append(kind)
        for i, value in enumerate(row):
            left = row[i - step] if i >= step else 0
            corner = above[i - step] if i >= step else 0
            written.append((value - predict(kind, left, above[i], corner)) % 256)
        above = row
    return bytes(written)


def predict(kind: int, a: int, b: int, c: int) -> int:
    if kind < 4:
        return (0, a, b, (a + b) // 2)[kind]
    p = a + b - c
    return min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]


def write_png(
    pixels: NDArray[np.uint8],
    filters: Sequence[int],
    *,
    before: bytes = b"",
    after: bytes = b"",
    level: int = 6,
    idat_bytes: int = 1 << 20,
) -> bytes:
    """Return an 8-bit gray (H, W) or RGB (H, W, 3) file with the given filter in each row."""
    data = zlib.compress(filter_rows(pixels, filters), level)
    parts = [chunk(b"IDAT", data[at : at + idat_bytes]) for at in range(0, len(data), idat_bytes)]
    start = header(pixels.shape[1], pixels.shape[0], colour=0 if pixels.ndim == 2 else 2)
    return SIGNATURE + start + before + b"".join(parts) + after + chunk(b"IEND", b"")


def exif(orientation: int) -> bytes:
    """Return EXIF data that says nothing but the orientation."""
    return b"II*\0\x08\0\0\0\1\0" + struct.pack("<HHIHH", 0x112, 3, 1, orientation, 0) + b"\0\0\0\0"
