"""PNG files -> gray frames, pixel for pixel as OpenCV reads them but at the speed of libdeflate.

Specification: https://www.w3.org/TR/png-3/. What is decoded here are 8-bit gray and RGB images without interlacing.
Palettes, alpha, other depths, interlacing, colour with a gamma and files with an orientation go to OpenCV, after the
same checks.

libdeflate was chosen over ISA-L by measurement on CK+-sized frames: 0.65 ms a frame against 0.81 ms (zlib 1.25 ms), and
its binding releases the GIL, so that two threads decode 1.9 times as much as one.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import deflate
import numpy as np
from numpy.typing import NDArray

from fastck.images.header import PNG_SIGNATURE, ImageError, read_header
from fastck.kernels.png import unfilter_gray, unfilter_rgb_to_gray

_GRAY, _RGB, _PALETTE, _GRAY_ALPHA, _RGB_ALPHA = 0, 2, 3, 4, 6
_SAMPLES = {_GRAY: 1, _RGB: 3, _PALETTE: 1, _GRAY_ALPHA: 2, _RGB_ALPHA: 4}
_BITS = {_GRAY: (1, 2, 4, 8, 16), _RGB: (8, 16), _PALETTE: (1, 2, 4, 8), _GRAY_ALPHA: (8, 16), _RGB_ALPHA: (8, 16)}
# libpng weighs colour in linear light where a chunk gives a gamma; in gray images these chunks change nothing.
_COLOUR_SPACE = frozenset({b"gAMA", b"sRGB", b"iCCP", b"cHRM", b"cICP"})
# How many bits count: with 16 bits of colour libpng's table for a gamma is as fine as this says, else it has no effect.
_PRECISION = b"sBIT"
# Of the other chunks only these can reach the pixels; text, time, animation and so on are never shown to OpenCV.
_USED = _COLOUR_SPACE | {_PRECISION, b"tRNS", b"eXIf"}
_LENGTHS = {b"gAMA": 4, b"sRGB": 1, b"cHRM": 32, b"cICP": 4}
_CHUNK_START = struct.Struct(">I4s")  # length, type
# Deflate's densest code: two bits stand for 258 bytes (RFC 1951), so that a byte gives 1032.
_MAX_EXPANSION = 1032
_LIBPNG_SURPLUS = 1024  # bytes; PNG_INFLATE_BUF_SIZE of libpng
# Adam7: first row, first column, row step, column step of each pass.
_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


@dataclass(frozen=True, kw_only=True)
class PngImage:
    """A PNG file taken apart, with lengths, checksums and order checked.

    Attributes
    ----------
    width, height, bits, colour : int
        As in the header; colour is PNG's colour type.
    interlaced : bool
        Whether the rows are in the seven passes of Adam7.
    data : bytes or memoryview
        The compressed rows (all IDAT chunks).
    head, tail : tuple of (type, content)
        Chunks before and after the image data that can change what OpenCV returns.
    """

    width: int
    height: int
    bits: int
    colour: int
    interlaced: bool
    data: bytes | memoryview
    head: tuple[tuple[bytes, memoryview], ...]
    tail: tuple[tuple[bytes, memoryview], ...]

    @property
    def is_plain(self) -> bool:
        """Whether `decode_png` can decode it: 8-bit gray or RGB, nothing that turns or recolours it."""
        surprises = {kind for kind, _ in self.head + self.tail} - {_PRECISION}
        if self.colour == _GRAY:
            surprises -= _COLOUR_SPACE
        return self.bits == 8 and self.colour in (_GRAY, _RGB) and not self.interlaced and not surprises


def parse_png(content: bytes) -> PngImage:
    """Take a PNG file apart and check everything but the pixels.

    Parameters
    ----------
    content : bytes
        The whole file.

    Raises
    ------
    ImageError
        If the file is cut off or damaged, if a chunk that matters fails its checksum, or if the image has too many
        pixels. A damaged chunk that does not matter is passed over, as libpng does.
    """
    chunks = _read_chunks(content)
    _, fields = next(chunks)
    header = read_header(content[:33])
    bits, colour, compression, filtering, interlacing = fields[8:13]
    if compression or filtering or interlacing > 1 or bits not in _BITS.get(colour, ()):
        raise ImageError(f"the PNG header is damaged: colour type {colour} with {bits} bits, interlacing {interlacing}")
    parts: list[memoryview] = []
    head: list[tuple[bytes, memoryview]] = []
    tail: list[tuple[bytes, memoryview]] = []
    has_palette = False
    for kind, data in chunks:
        if kind == b"IDAT":
            parts.append(data)
        elif kind == b"PLTE":
            if parts or has_palette or len(data) % 3 or not 3 <= len(data) <= 768:
                raise ImageError("the PNG palette is damaged")
            has_palette = True
            if colour not in (
                _GRAY,
                _GRAY_ALPHA,
            ):  # in RGB it is a mere suggestion, but a gamma after it counts no more
                head.append((kind, data))
        elif kind in _USED and _is_sound(kind, data, colour, late=bool(parts)):
            (tail if parts else head).append((kind, data))
    if colour == _PALETTE and not has_palette:
        raise ImageError("the PNG palette is missing: damaged")
    return PngImage(
        width=header.width,
        height=header.height,
        bits=bits,
        colour=colour,
        interlaced=interlacing == 1,
        data=parts[0] if len(parts) == 1 else b"".join(parts),
        head=tuple(head),
        tail=tuple(tail),
    )


def decode_png(png: PngImage) -> NDArray[np.uint8]:
    """Decode a plain PNG (`PngImage.is_plain`) as ``cv2.imread(path, cv2.IMREAD_GRAYSCALE)`` does.

    Returns
    -------
    gray : ndarray of shape (H, W), uint8
        Gray levels; RGB is weighted 0.299, 0.587, 0.114 in libpng's truncating fixed-point arithmetic.

    Raises
    ------
    ImageError
        If the image data is damaged or incomplete.
    """
    row_bytes = 1 + png.width * _SAMPLES[png.colour]
    raw = np.frombuffer(inflate(png), np.uint8).reshape(png.height, row_bytes)
    if raw[:, 0].max() > 4:
        raise ImageError("the PNG image data is damaged: unknown row filter")
    gray = np.empty((png.height, png.width), np.uint8)
    if png.colour == _GRAY:
        unfilter_gray(raw, gray)
    else:
        unfilter_rgb_to_gray(raw, np.empty((2, 3 * png.width), np.uint8), gray)
    return gray


def inflate(png: PngImage) -> bytearray:
    """Decompress the image data to filtered rows, exactly as many bytes as the size in the header asks for.

    Raises
    ------
    ImageError
        If the data is damaged or too short.
    """
    length = _raw_length(png)
    # Said before libdeflate allocates what the header promises: 69 bytes can claim 512 MiB.
    if length > _MAX_EXPANSION * len(png.data):
        raise ImageError("the PNG image data is damaged or incomplete")
    try:
        raw = deflate.zlib_decompress(png.data, length)
        complete = len(raw) == length
    except deflate.DeflateError:
        raw, complete = _inflate_start(png.data, length)
    if not complete:
        raise ImageError("the PNG image data is damaged or incomplete")
    return raw


def essential_png(png: PngImage) -> bytes:
    """Return a PNG file of only those chunks that can change the pixels, for OpenCV to decode.

    libpng prints its opinion of every odd chunk on standard error, and text chunks can be decompression bombs.
    """
    fields = struct.pack(">IIBBBBB", png.width, png.height, png.bits, png.colour, 0, 0, png.interlaced)
    image = (
        _chunk(b"IHDR", fields),
        *_chunks(png.head),
        _chunk(b"IDAT", png.data),
        *_chunks(png.tail),
        _chunk(b"IEND", b""),
    )
    return PNG_SIGNATURE + b"".join(image)


def _chunks(chunks: tuple[tuple[bytes, memoryview], ...]) -> list[bytes]:
    return [_chunk(kind, data) for kind, data in chunks]


def _is_sound(kind: bytes, data: memoryview, colour: int, *, late: bool) -> bool:
    """Return whether libpng would heed a chunk; after the image data (late) it heeds an orientation only."""
    if kind == _PRECISION:
        right_length = len(data) == _SAMPLES[_RGB if colour == _PALETTE else colour]
    elif kind == b"tRNS":
        right_length = 1 <= len(data) <= 256 if colour == _PALETTE else len(data) == {_GRAY: 2, _RGB: 6}.get(colour)
    else:
        right_length = len(data) == _LENGTHS.get(kind, len(data))
    return right_length and (kind == b"eXIf" or not late)


def _chunk(kind: bytes, data: bytes | memoryview) -> bytes:
    return b"".join((len(data).to_bytes(4), kind, data, deflate.crc32(data, deflate.crc32(kind)).to_bytes(4)))


def _read_chunks(content: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Yield type and content of each chunk from IHDR to IEND (without it), skipping damaged ones that do not matter."""
    view = memoryview(content)
    at = len(PNG_SIGNATURE)
    seen: set[bytes] = set()
    previous = b""
    while True:
        if at + 12 > len(content):
            raise ImageError("the PNG file is cut off")
        length, kind = _CHUNK_START.unpack_from(content, at)
        end = at + 8 + length
        if end + 4 > len(content):
            raise ImageError("the PNG file is cut off")
        if (
            kind != previous or kind == b"IHDR"
        ):  # most of a file is a run of IDAT chunks, of which the first is looked at
            _check_kind(kind, length, seen)
            seen.add(kind)
        if deflate.crc32(view[at + 4 : end]) == int.from_bytes(content[end : end + 4]):
            if kind == b"IEND":
                return
            yield kind, view[at + 8 : end]
        elif _is_critical(kind):
            raise ImageError(f"the PNG file is damaged: wrong checksum in chunk {kind.decode('ascii')}")
        previous = kind
        at = end + 4


def _check_kind(kind: bytes, length: int, seen: set[bytes]) -> None:
    """Refuse a chunk that cannot stand here, after a chunk of another type."""
    if (kind == b"IHDR") == bool(seen) or (kind == b"IHDR" and length != 13):
        raise ImageError("the PNG header is damaged")
    if kind == b"IDAT" and kind in seen:
        raise ImageError("the PNG image data is interrupted: damaged")
    if not (kind.isalpha() and kind.isascii() and kind[2:3].isupper()):
        raise ImageError("the PNG file is damaged: a chunk without a name")
    if _is_critical(kind) and kind not in (b"IHDR", b"PLTE", b"IDAT", b"IEND"):
        raise ImageError(f"the PNG file has an unknown chunk {kind!r}: damaged")


def _is_critical(kind: bytes) -> bool:
    return not kind[0] & 0x20  # PNG writes the types of chunks that matter with a capital


def _inflate_start(data: bytes | memoryview, length: int) -> tuple[bytearray, bool]:
    """Decompress with zlib what libdeflate refuses: more rows than the image has, of which libpng looks at 1 KiB."""
    decompressor = zlib.decompressobj()
    try:
        # A bytearray as above: one compiled kernel takes both.
        raw = bytearray(decompressor.decompress(data, length))
        surplus = decompressor.decompress(decompressor.unconsumed_tail, _LIBPNG_SURPLUS)
    except zlib.error:
        return bytearray(), False
    return raw, len(raw) == length and (decompressor.eof or len(surplus) == _LIBPNG_SURPLUS)


def _raw_length(png: PngImage) -> int:
    """Return the bytes of all filtered rows, each with its filter type."""
    bits = png.bits * _SAMPLES[png.colour]
    if not png.interlaced:
        return png.height * (1 + (png.width * bits + 7) // 8)
    length = 0
    for top, left, down, right in _ADAM7:
        rows, columns = -(-(png.height - top) // down), -(-(png.width - left) // right)
        if rows > 0 and columns > 0:
            length += rows * (1 + (columns * bits + 7) // 8)
    return length
