"""The PNG reader against OpenCV: same pixels for every file, and no damaged file gets through."""

import io
import struct
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from fastck.images import png
from fastck.images.header import ImageError
from fastck.images.image import decode_gray
from fastck.images.png import parse_png
from tests.helpers.pngfiles import SIGNATURE, chunk, exif, header, write_png

WEIGHTS = (9797, 19234, 3737)


def opencv(content: bytes) -> NDArray[np.uint8] | None:
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)


def assert_as_opencv(content: bytes, *, plain: bool | None = None) -> None:
    np.testing.assert_array_equal(decode_gray(content), opencv(content), strict=True)
    if plain is not None:
        assert parse_png(content).is_plain == plain


def noise(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@st.composite
def files(draw: st.DrawFn) -> tuple[NDArray[np.uint8], bytes]:
    height, width = draw(st.integers(1, 12)), draw(st.integers(1, 40))
    shape = (height, width) if draw(st.booleans()) else (height, width, 3)
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    # Small steps make Paeth's ties, extremes make its wrap-around.
    values = draw(st.sampled_from([[0, 255], [0, 1, 2], [127, 128, 129], list(range(256))]))
    pixels = generator.choice(np.array(values, np.uint8), shape)
    filters = draw(st.lists(st.integers(0, 4), min_size=height, max_size=height))
    idat_bytes = draw(st.sampled_from([1, 7, 8192]))
    return pixels, write_png(pixels, filters, level=draw(st.integers(0, 9)), idat_bytes=idat_bytes)


@given(files())
@settings(max_examples=150, deadline=None)
def test_any_filters_as_opencv_and_as_written(pair: tuple[NDArray[np.uint8], bytes]):
    pixels, content = pair
    gray = pixels if pixels.ndim == 2 else ((pixels.astype(int) @ WEIGHTS) >> 15).astype(np.uint8)
    np.testing.assert_array_equal(decode_gray(content), gray, strict=True)
    assert_as_opencv(content, plain=True)


@pytest.mark.parametrize("kind", range(5))
@pytest.mark.parametrize("shape", [(1, 1), (1, 1, 3), (1, 70), (70, 1, 3), (33, 65), (65, 33, 3)])
def test_each_filter_in_all_rows(kind: int, shape: tuple[int, ...]):
    assert_as_opencv(write_png(noise(*shape), [kind] * shape[0]), plain=True)


def test_all_rgb_extremes():
    levels = np.array([0, 1, 2, 127, 128, 253, 254, 255], np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(16, 32, 3)
    assert_as_opencv(write_png(colours, [4] * 16), plain=True)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (61, 47)])
@pytest.mark.parametrize("optimize", [False, True])
def test_pillow_files(mode: str, size: tuple[int, int], optimize: bool):
    if mode == "I;16":
        image = Image.fromarray(np.random.default_rng(1).integers(0, 1 << 16, size[::-1], np.uint16))
    else:
        image = Image.fromarray(noise(size[1], size[0], 4), "RGBA").convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=optimize)
    assert_as_opencv(buffer.getvalue(), plain=mode in ("L", "RGB"))


@pytest.mark.parametrize("colours", [2, 4, 16, 256])
@pytest.mark.parametrize("transparency", [None, 1])
def test_palettes(colours: int, transparency: int | None):
    image = Image.fromarray(noise(20, 21) & (colours - 1), "P")
    image.putpalette(noise(3 * colours).tolist())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", bits=(colours - 1).bit_length(), **({} if transparency is None else {"transparency": 1}))
    assert_as_opencv(buffer.getvalue(), plain=False)


@pytest.mark.parametrize(
    "params", [[], [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_ALL_FILTERS], [cv2.IMWRITE_PNG_COMPRESSION, 0]]
)
@pytest.mark.parametrize("shape", [(37, 53), (37, 53, 3), (37, 53, 4)])
def test_opencv_files(params: list[int], shape: tuple[int, ...]):
    smooth = cv2.GaussianBlur(noise(*shape), (0, 0), 3)
    written, content = cv2.imencode(".png", smooth, params)
    assert written
    assert_as_opencv(content.tobytes())


@pytest.mark.parametrize("colour", [0, 2, 3, 4, 6])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("size", [(1, 1), (5, 3), (16, 9)])
def test_interlaced(colour: int, bits: int, size: tuple[int, int]):
    if bits not in {0: (1, 2, 4, 8, 16), 3: (1, 2, 4, 8)}.get(colour, (8, 16)):
        with pytest.raises(ImageError, match="header is damaged"):
            decode_gray(SIGNATURE + header(*size, bits=bits, colour=colour) + chunk(b"IEND", b""))
        return
    width, height = size
    deep = bits * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    raw = b""
    for top, left, down, right in (
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    ):
        columns = len(range(left, width, right))
        if columns:
            for row in range(top, height, down):
                raw += b"\0" + noise((columns * deep + 7) // 8, seed=row).tobytes()
    palette = chunk(b"PLTE", noise(3 << bits).tobytes()) if colour == 3 else b""
    start = SIGNATURE + header(width, height, bits=bits, colour=colour, interlace=1) + palette
    content = start + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    assert_as_opencv(content, plain=False)
    with pytest.raises(ImageError, match="damaged or incomplete"):
        decode_gray(start + chunk(b"IDAT", zlib.compress(raw[:-1])) + chunk(b"IEND", b""))


@pytest.mark.parametrize("shape", [(16, 24), (16, 24, 3)])
@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"gAMA", struct.pack(">I", 45455)),
        chunk(b"gAMA", struct.pack(">I", 100000)),
        chunk(b"sRGB", b"\0"),
        chunk(b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)),
        chunk(b"cICP", bytes([9, 16, 0, 1])),
        chunk(b"sRGB", b"\0") + chunk(b"gAMA", struct.pack(">I", 45455)),
        chunk(b"PLTE", bytes(6)) + chunk(b"gAMA", struct.pack(">I", 45455)),
        chunk(b"gAMA", b"\xff\0\0\0") + chunk(b"gAMA", struct.pack(">I", 45455)),
        chunk(b"gAMA", struct.pack(">I", 45455)) + chunk(b"gAMA", struct.pack(">I", 20000)),
        chunk(b"pHYs", struct.pack(">IIB", 1, 1, 1)) + chunk(b"tIME", bytes([7, 231, 1, 1, 0, 0, 0])),
        chunk(b"tEXt", b"Comment\0burnt-in time stamp"),
        chunk(b"sBIT", b"\5\5\5"),
        chunk(b"bKGD", b"\0\1"),
        chunk(b"tRNS", b"\0\1\0\1\0\1"),
        chunk(b"acTL", struct.pack(">II", 1, 0)),
        chunk(b"prVt", b"anything"),
        *(chunk(b"eXIf", exif(orientation)) for orientation in range(1, 9)),
        chunk(b"tEXt", b"Comment\0bad checksum")[:-1] + b"\0",
        chunk(b"eXIf", exif(6))[:-1] + b"\0",
    ],
    ids=lambda extra: extra[4:8].decode() + str(len(extra)),
)
def test_other_chunks_change_nothing_or_what_they_change_in_opencv(shape: tuple[int, ...], extra: bytes):
    assert_as_opencv(write_png(noise(*shape), [1] * 16, before=extra))
    if not extra.startswith(b"\0\0\0\6PLTE"):  # after the image data a palette is damage, below
        assert_as_opencv(write_png(noise(*shape), [1] * 16, after=extra))


def test_gamma_reaches_colour_only():
    gamma = chunk(b"gAMA", struct.pack(">I", 45455))
    assert parse_png(write_png(noise(4, 4), [0] * 4, before=gamma)).is_plain
    assert not parse_png(write_png(noise(4, 4, 3), [0] * 4, before=gamma)).is_plain


@pytest.mark.parametrize(("colour", "bits"), [(3, 8), *((colour, bits) for colour in (0, 2, 4, 6) for bits in (8, 16))])
@pytest.mark.parametrize(
    "space", [b"", chunk(b"sRGB", b"\0"), chunk(b"gAMA", struct.pack(">I", 45455))], ids=["none", "sRGB", "gAMA"]
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_precision_of_16_bit_colour_as_in_opencv(colour: int, bits: int, space: bytes, place: int):
    """With a gamma, libpng's table is as fine as sBIT says; in the wrong place or of a wrong length it says nothing."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    palette = chunk(b"PLTE", noise(768).tobytes()) if colour == 3 else b""
    rows = b"".join(b"\0" + noise(24 * channels * bits // 8, seed=row).tobytes() for row in range(16))
    data, end = chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    for precision in (b"\1", b"\5\5\5", b"\1\2", b"\3\10\5\2", b"\0\0\0", bytes(5)):
        extra = [b"", b"", b""]
        extra[place] = chunk(b"sBIT", precision)
        before, between, after = extra
        start = SIGNATURE + header(24, 16, bits=bits, colour=colour)
        assert_as_opencv(start + before + space + palette + between + data + after + end)


def test_precision_alone_leaves_a_file_plain():
    assert_as_opencv(write_png(noise(4, 4), [0] * 4, before=chunk(b"sBIT", b"\5")), plain=True)
    assert_as_opencv(write_png(noise(4, 4, 3), [0] * 4, before=chunk(b"sBIT", b"\5\5\5")), plain=True)


def test_gray_animation_gives_its_first_image():
    first, second = Image.fromarray(noise(20, 30)), Image.fromarray(noise(20, 30, seed=1))
    buffer = io.BytesIO()
    first.save(buffer, "PNG", save_all=True, append_images=[second])
    np.testing.assert_array_equal(decode_gray(buffer.getvalue()), noise(20, 30))
    assert_as_opencv(buffer.getvalue(), plain=True)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P"])
def test_animation_gives_the_still_image(mode: str):
    still, first, second = (Image.fromarray(noise(20, 30, 4, seed=n)).convert(mode) for n in range(3))
    alone, animated = io.BytesIO(), io.BytesIO()
    still.save(alone, "PNG")
    still.save(animated, "PNG", save_all=True, append_images=[first, second], default_image=True)
    np.testing.assert_array_equal(decode_gray(animated.getvalue()), decode_gray(alone.getvalue()))


PIXELS = noise(16, 24)
GOOD = write_png(PIXELS, [0, 1, 2, 3] * 4)
RAW = zlib.decompress(GOOD[GOOD.index(b"IDAT") + 4 : -16])


def assemble(raw: bytes, *, packed: bytes | None = None, start: bytes | None = None) -> bytes:
    data = zlib.compress(raw) if packed is None else packed
    return SIGNATURE + (start or header(24, 16)) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_surplus_is_passed_over_as_opencv_does():
    assert_as_opencv(GOOD + b"anything after the end")
    assert_as_opencv(assemble(RAW + bytes(25)))
    assert_as_opencv(assemble(RAW, packed=zlib.compress(RAW) + b"junk"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GOOD[:8], "the PNG file is cut off"),
        (GOOD[:30], "the PNG file is cut off"),
        (GOOD[: len(GOOD) // 2], "the PNG file is cut off"),
        (GOOD[:-12], "the PNG file is cut off"),
        (GOOD[:-1], "the PNG file is cut off"),
        (GOOD[:50] + bytes([GOOD[50] ^ 1]) + GOOD[51:], "wrong checksum in chunk IDAT"),
        (GOOD[:20] + bytes([GOOD[20] ^ 8]) + GOOD[21:], "wrong checksum in chunk IHDR"),
        (GOOD[:-1] + b"\0", "wrong checksum in chunk IEND"),
        (assemble(RAW[:-25]), "damaged or incomplete"),
        (assemble(RAW[:-1]), "damaged or incomplete"),
        (assemble(b""), "damaged or incomplete"),
        (assemble(RAW, packed=b""), "damaged or incomplete"),
        (assemble(RAW, packed=zlib.compress(RAW)[:-4]), "damaged or incomplete"),
        (assemble(RAW, packed=zlib.compress(RAW)[:-1] + b"\0"), "damaged or incomplete"),
        (assemble(RAW, packed=noise(300).tobytes()), "damaged or incomplete"),
        (assemble(b"\5" + RAW[1:]), "unknown row filter"),
        (assemble(RAW, start=header(0, 16)), "says 0 x 16 pixels: damaged"),
        (assemble(RAW, start=header(24, 16, bits=3)), "header is damaged"),
        (assemble(RAW, start=header(24, 16, colour=1)), "header is damaged"),
        (assemble(RAW, start=header(24, 16, interlace=2)), "header is damaged"),
        (assemble(RAW, start=header(24, 16) * 2), "header is damaged"),
        (assemble(RAW, start=chunk(b"tEXt", b"a\0b") + header(24, 16)), "header is damaged"),
        (assemble(RAW, start=header(24, 16) + chunk(b"ABCD", b"")), "unknown chunk b'ABCD'"),
        (assemble(RAW, start=header(24, 16) + chunk(b"tExT", b"")), "a chunk without a name"),
        (assemble(RAW, start=header(24, 16) + chunk(b"tE T", b"")), "a chunk without a name"),
        (assemble(RAW, start=header(24, 16, colour=3)), "palette is missing"),
        (assemble(RAW, start=header(24, 16, colour=3) + chunk(b"PLTE", bytes(4))), "palette is damaged"),
        (
            write_png(PIXELS, [0] * 16, idat_bytes=100).replace(b"IDAT", b"IDAT", 1)[:-12]
            + chunk(b"tEXt", b"a\0b") + chunk(b"IDAT", b"") + chunk(b"IEND", b""),
            "interrupted",
        ),
    ],
)  # fmt: skip
def test_damage_is_refused_in_one_line(content: bytes, message: str):
    with pytest.raises(ImageError, match=message) as caught:
        decode_gray(content)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [(20_000, 20_000), (1 << 26, 2), (0x7FFFFFFF, 0x7FFFFFFF), (8193, 8192)])
def test_decompression_bomb_is_refused_by_its_header(size: tuple[int, int]):
    content = SIGNATURE + header(*size) + chunk(b"IDAT", zlib.compress(bytes(1 << 20))) + chunk(b"IEND", b"")
    with pytest.raises(ImageError, match=f"{size[0]} x {size[1]} pixels; more than 67,108,864 are refused"):
        decode_gray(content)


def test_data_that_cannot_fill_the_size_is_refused_before_allocation(monkeypatch: pytest.MonkeyPatch):
    data = zlib.compress(bytes(100))
    content = SIGNATURE + header(8192, 8192, bits=16, colour=6) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    assert len(content) < 80
    with monkeypatch.context() as patch:
        patch.setattr(png.deflate, "zlib_decompress", lambda *args: pytest.fail("512 MiB were allocated"))
        patch.setattr(png.zlib, "decompressobj", lambda: pytest.fail("512 MiB were allocated"))
        with pytest.raises(ImageError, match="damaged or incomplete"):
            decode_gray(content)


def test_the_densest_data_there_is_still_decodes():
    raw = bytes(4097 * 4096)
    data = zlib.compress(raw, 9)
    assert len(raw) > 1025 * len(data)
    content = SIGNATURE + header(4096, 4096) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    assert not decode_gray(content).any()


def test_longest_side_is_libpngs():
    row = noise(1, 1_000_000)
    raw = zlib.compress(b"\0" + row.tobytes(), 1)
    start, end = SIGNATURE + header(1_000_000, 1), chunk(b"IDAT", raw) + chunk(b"IEND", b"")
    assert_as_opencv(start + end)
    longer = SIGNATURE + header(1_000_001, 1) + end
    assert opencv(longer) is None
    with pytest.raises(ImageError, match="a side above 1,000,000 is refused"):
        decode_gray(longer)


def test_rows_beyond_the_image_are_never_decompressed():
    bomb = assemble(RAW, packed=zlib.compress(RAW + bytes(20_000_000), 1))
    decode_gray(GOOD)  # compiles
    tracemalloc.start()
    np.testing.assert_array_equal(decode_gray(bomb), PIXELS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def test_broken_files_leave_standard_error_alone(tmp_path: Path):
    """libpng and OpenCV print for themselves, past sys.stderr: only a process of its own shows it."""
    gray_alpha = SIGNATURE + header(24, 16, colour=4)
    files = {
        "cut": GOOD[:-20],
        "crc": GOOD[:50] + b"x" + GOOD[51:],
        "rows": gray_alpha + chunk(b"IDAT", zlib.compress(b"\0" * 700)) + chunk(b"IEND", b""),
        "text": b"no image at all",
        "surplus": assemble(RAW + bytes(25)),
        "odd": write_png(noise(16, 24, 3), [0] * 16, before=chunk(b"gAMA", b"\0") + chunk(b"PLTE", bytes(6))),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    code = """
import sys
from fastck.images import png
from fastck.images.header import ImageError
from fastck.images.image import read_gray
for name in sys.argv[1:]:
    try:
        read_gray(name)
    except ImageError as error:
        print(error)
"""
    paths = [str(tmp_path / name) for name in files]
    done = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 4


def test_sample(sample: Path):
    for path in sample.glob("cohn-kanade-images/*/*/*.png"):
        assert_as_opencv(path.read_bytes(), plain=True)


def test_real_faces(real_faces: Path):
    paths = sorted(real_faces.glob("cohn-kanade-images/*/*/*.png"))[::6]
    assert {parse_png(path.read_bytes()).colour for path in paths} == {0, 2}
    for path in paths:
        assert_as_opencv(path.read_bytes(), plain=True)
