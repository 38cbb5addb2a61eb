"""Kind and size of an image from its first bytes, so that an absurd size is refused before anything is allocated."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

MAX_PIXELS = 1 << 26  # 8192 x 8192; OpenCV alone would accept 2**30 and allocate gigabytes
MAX_SIDE = 1_000_000  # libpng's limit; OpenCV's is 2**20

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_OTHER_KINDS = (
    (b"GIF8", "a GIF"),
    (b"RIFF", "a RIFF file (AVI, WAV)"),
    (b"%PDF", "a PDF"),
    (b"PK\3\4", "a ZIP archive"),
)
_JPEG_END, _JPEG_SCAN, _JPEG_APP1 = 0xD9, 0xDA, 0xE1
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF0..15; the rest are tables and extensions
_JPEG_HUFFMAN = frozenset(range(0xC0, 0xC8)) - {0xC4}
_JPEG_SINGLE = frozenset({0x00, 0x01, *range(0xD0, 0xD8)})  # markers without a length; 0 is none at all
_WEBP_ANIMATED = 2
_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_BITS, _TIFF_SAMPLES, _TIFF_TILE_WIDTH, _TIFF_TILE_HEIGHT = 256, 257, 258, 277, 322, 323


class ImageError(ValueError):
    """A file that does not decode to a gray image or a video; the text is one line that says what is wrong."""


@dataclass(frozen=True, kw_only=True)
class ImageHeader:
    """What an image file says of itself.

    Attributes
    ----------
    kind : str
        "PNG", "JPEG", "TIFF", "BMP" or "WebP".
    width, height : int
        Pixels as stored, before an EXIF orientation is applied.
    channels : int
        1 for gray (and palettes), 2 for gray and alpha, 3 or 4 for colour.
    bits : int
        Bits of one channel.
    """

    kind: str
    width: int
    height: int
    channels: int
    bits: int


def read_header(data: bytes) -> ImageHeader:
    """Return kind and size of an image, and refuse what is no image or has too many pixels.

    Parameters
    ----------
    data : bytes
        The file from its beginning. For PNG and BMP 33 bytes are enough; TIFF keeps its header anywhere in the file.

    Raises
    ------
    ImageError
        If the content is no PNG, JPEG, TIFF, BMP or WebP, if its header is damaged or cut off, or if it has more than
        `MAX_PIXELS` pixels or `MAX_SIDE` on one side.
    """
    try:
        header, largest = _parse(data)
    except (struct.error, IndexError, OverflowError) as error:  # OverflowError: an offset of BigTIFF
        raise ImageError("the header is cut off or damaged") from error
    if header.width < 1 or header.height < 1:
        raise ImageError(f"the header says {header.width} x {header.height} pixels: damaged")
    if max(largest, header.width * header.height) > MAX_PIXELS:
        size = f"{header.width} x {header.height}"
        raise ImageError(f"the header says {size} pixels; more than {MAX_PIXELS:,} are refused: scale the image down")
    if max(header.width, header.height) > MAX_SIDE:
        raise ImageError(
            f"the header says {header.width} x {header.height} pixels; a side above {MAX_SIDE:,} is refused"
        )
    return header


def _parse(data: bytes) -> tuple[ImageHeader, int]:
    """Return the header and the pixels of the largest block a decoder would allocate."""
    if data.startswith(PNG_SIGNATURE):
        kind, width, height, bits, colour = struct.unpack_from(">4sIIBB", data, 12)
        if kind != b"IHDR":
            raise ImageError("the PNG header is damaged")
        return ImageHeader(kind="PNG", width=width, height=height, channels=_PNG_CHANNELS.get(colour, 0), bits=bits), 0
    if data.startswith(b"\xff\xd8\xff"):
        return _parse_jpeg(data), 0
    if data.startswith(_TIFF_SIGNATURES):
        return _parse_tiff(data)
    if data.startswith(b"BM"):
        return _parse_bmp(data), 0
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _parse_webp(data), 0
    if not data:
        raise ImageError("the file is empty")
    what = next(
        (name for start, name in _OTHER_KINDS if data.startswith(start)), f"a file that begins with {data[:8]!r}"
    )
    raise ImageError(f"the content must be PNG, JPEG, TIFF, BMP or WebP, got {what}")


_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type


def _parse_jpeg(data: bytes) -> ImageHeader:
    for marker, at, _ in _jpeg_segments(data):
        if marker in _JPEG_FRAMES:
            bits, height, width, channels = struct.unpack_from(">BHHB", data, at + 4)
            return ImageHeader(kind="JPEG", width=width, height=height, channels=channels, bits=bits)
    raise ImageError("the header is damaged: a JPEG without a size")


def jpeg_holds(data: bytes, header: ImageHeader) -> bool:
    """Return whether a JPEG file is long enough for its size.

    With Huffman codes each block of 8x8 samples takes a bit or more; of the blocks that the whole image has, a file
    holds at least half.
    """
    coded = any(marker in _JPEG_HUFFMAN for marker, _, _ in _jpeg_segments(data))
    return not coded or 16 * len(data) >= -(-header.width // 8) * -(-header.height // 8)


def jpeg_exif(data: bytes) -> bytes:
    """Return the segments of a JPEG file's header that hold EXIF, as they are."""
    segments = (data[at:end] for marker, at, end in _jpeg_segments(data) if marker == _JPEG_APP1)
    return b"".join(segment for segment in segments if segment[4:].startswith(b"Exif\0\0"))


def bare_jpeg(data: bytes) -> bytes:
    """Return a JPEG file without the stray bytes between the segments of its header."""
    segments = list(_jpeg_segments(data))
    return b"".join([data[:2], *(data[at:end] for _, at, end in segments), data[segments[-1][2] :]])


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, beginning and end of each segment up to the first scan's."""
    marker, at = 0, 2
    while marker not in (_JPEG_SCAN, _JPEG_END):
        at = data.find(b"\xff", at)  # bytes between two segments are passed over, as libjpeg does
        if at < 0 or at + 1 == len(data):
            raise ImageError("the header is cut off or damaged")
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker in _JPEG_SINGLE:
            at += 2
        elif marker != _JPEG_END:
            length = int.from_bytes(data[at + 2 : at + 4])
            if length < 2:
                raise ImageError("the header is cut off or damaged")
            yield marker, at, at + 2 + length
            at += 2 + length


def _parse_bmp(data: bytes) -> ImageHeader:
    (size,) = struct.unpack_from("<I", data, 14)
    if size == 12:  # OS/2
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
    else:
        width, height, _, bits = struct.unpack_from("<iiHH", data, 18)
    channels = 1 if bits <= 8 else 4 if bits == 32 else 3
    # A negative height means rows from top to bottom.
    return ImageHeader(kind="BMP", width=width, height=abs(height), channels=channels, bits=min(bits, 8))


def _parse_webp(data: bytes) -> ImageHeader:
    kind = data[12:16]
    if kind == b"VP8X":
        flags, width, height = (
            data[20],
            1 + int.from_bytes(data[24:27], "little"),
            1 + int.from_bytes(data[27:30], "little"),
        )
        if flags & 2:
            raise ImageError("the content must be one image, got an animated WebP: convert it to a video")
    elif kind == b"VP8L":
        (sides,) = struct.unpack_from("<I", data, 21)
        width, height = 1 + (sides & 0x3FFF), 1 + (sides >> 14 & 0x3FFF)
    elif kind == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    else:
        raise ImageError("the header is cut off or damaged")
    return ImageHeader(kind="WebP", width=width, height=height, channels=3, bits=8)


def _parse_tiff(data: bytes) -> tuple[ImageHeader, int]:
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    if big:
        (at,) = struct.unpack_from(order + "Q", data, 8)
        (count,) = struct.unpack_from(order + "Q", data, at)
        at, size, entry = at + 8, 20, order + "HHQ"
    else:
        (at,) = struct.unpack_from(order + "I", data, 4)
        (count,) = struct.unpack_from(order + "H", data, at)
        at, size, entry = at + 2, 12, order + "HHI"
    values = {}
    for number in range(min(count, 4096)):
        tag, form, n = struct.unpack_from(entry, data, at + number * size)
        # Which of two a decoder takes nobody knows.
        if tag in values:
            raise ImageError(f"the header is damaged: a TIFF with tag {tag} twice")
        values[tag] = _tiff_value(data, at + number * size + struct.calcsize(entry), order, form, n, 8 if big else 4)
    if _TIFF_WIDTH not in values or _TIFF_HEIGHT not in values:
        raise ImageError("the header is damaged: a TIFF without a size")
    header = ImageHeader(
        kind="TIFF",
        width=values[_TIFF_WIDTH],
        height=values[_TIFF_HEIGHT],
        channels=values.get(_TIFF_SAMPLES, 1),
        bits=values.get(_TIFF_BITS, 1),
    )
    return header, values.get(_TIFF_TILE_WIDTH, 0) * values.get(_TIFF_TILE_HEIGHT, 0)


def _tiff_value(data: bytes, at: int, order: str, form: int, n: int, room: int) -> int:
    """Return the first value of a TIFF entry, 0 for types that hold no whole number."""
    code = {1: "B", 3: "H", 4: "I", 16: "Q"}.get(form)
    if code is None or n == 0:
        return 0
    if n * struct.calcsize(code) > room:
        (at,) = struct.unpack_from(order + ("Q" if room == 8 else "I"), data, at)
    (value,) = struct.unpack_from(order + code, data, at)
    return int(value)
