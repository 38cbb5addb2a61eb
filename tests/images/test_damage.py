"""TIFF, BMP and WebP files whose damage OpenCV passes over, and values that would come out black."""

import io
import struct
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from fastck.images.header import ImageError, read_header
from fastck.images.image import decode_gray
from fastck.images.tiff import check_tiff

RAMP = np.add.outer(np.arange(48), 3 * np.arange(64)).astype(np.uint8)
NOISE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
SMOOTH = cv2.GaussianBlur(NOISE, (0, 0), 2)


def save(image: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def opencv(content: bytes) -> np.ndarray | None:
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)


def strips_of(content: bytes) -> list[tuple[int, int]]:
    tags = Image.open(io.BytesIO(content)).tag_v2
    return list(zip(tags[273], tags[279], strict=True))


def make_tiff(entries: list[tuple[int, int]], pieces: list[bytes], places: tuple[int, int] = (273, 279)) -> bytes:
    """Write a TIFF file of strips, or of tiles with the tags 324 and 325."""
    entries = sorted([*entries, (places[0], 0), (places[1], 0)], key=lambda entry: entry[0])
    at = 8 + 2 + 12 * len(entries) + 4
    body = at + 8 * len(pieces)
    begins = np.cumsum([body, *map(len, pieces)])[:-1]
    tables = {places[0]: begins, places[1]: list(map(len, pieces))}
    directory, lists = b"", b""
    for tag, value in entries:
        numbers = tables.get(tag, [value])
        if len(numbers) > 1:
            directory += struct.pack("<HHII", tag, 4, len(numbers), at + len(lists))
            lists += struct.pack(f"<{len(numbers)}I", *numbers)
        else:
            directory += struct.pack("<HHII", tag, 4, 1, numbers[0])
    start = b"II*\0" + struct.pack("<IH", 8, len(entries)) + directory + bytes(4)
    return (start + lists).ljust(body, b"\0") + b"".join(pieces)


def tags(width: int, height: int, compression: int = 1, **others: int) -> list[tuple[int, int]]:
    named = {"tile_width": 322, "tile_height": 323, "rows": 278, "planar": 284}
    size = [(256, width), (257, height), (258, 8), (259, compression), (262, 1), (277, 1)]
    return size + [(named[name], value) for name, value in others.items()]


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_damaged_strips_of_tiff_are_refused(compression: str, mode: str):
    content = save(Image.fromarray(SMOOTH).convert(mode), "TIFF", compression=compression, tiffinfo={278: 16})
    np.testing.assert_array_equal(decode_gray(content), opencv(content))
    at, length = strips_of(content)[1]
    for hole in (bytes(length // 2), b"\xff" * (length // 3)):
        damaged = bytearray(content)
        damaged[at + length // 4 : at + length // 4 + len(hole)] = hole
        with pytest.raises(ImageError, match=r"(TIFF file|JPEG data) is damaged"):
            decode_gray(bytes(damaged))


def test_checksum_of_deflated_tiff_is_looked_at():
    content = bytearray(save(Image.fromarray(NOISE), "TIFF", compression="tiff_adobe_deflate"))
    at, length = strips_of(bytes(content))[0]
    content[at + length - 1] ^= 1
    with pytest.raises(ImageError, match="TIFF file is damaged"):
        decode_gray(bytes(content))


def test_planar_tiff_without_its_last_planes_is_refused():
    planes = [NOISE[..., c].tobytes() for c in range(3)]
    entries = [(tag, {262: 2, 277: 3}.get(tag, value)) for tag, value in tags(64, 48, rows=48, planar=2)]
    content = make_tiff(entries, planes)
    assert decode_gray(content).shape == (48, 64)
    with pytest.raises(ImageError, match="TIFF"):
        decode_gray(content[: -2 * 48 * 64])
    with pytest.raises(ImageError, match="TIFF"):
        decode_gray(make_tiff(entries, planes[:2]))


@pytest.mark.parametrize("side", [16, 32])
def test_tiles_of_tiff_are_read(side: int):
    whole = np.zeros((64, 64), np.uint8)
    whole[:48] = RAMP
    pieces = [whole[r : r + side, c : c + side].tobytes() for r in range(0, 48, side) for c in range(0, 64, side)]
    content = make_tiff(tags(64, 48, tile_width=side, tile_height=side), pieces, (324, 325))
    np.testing.assert_array_equal(decode_gray(content), RAMP)
    gray = check_tiff(content, read_header(content))
    assert gray is not None
    np.testing.assert_array_equal(gray, RAMP)
    with pytest.raises(ImageError, match="cut off"):
        decode_gray(content[:-10])


@pytest.mark.parametrize("tag", [256, 257, 322])
def test_a_tag_of_tiff_that_is_there_twice_is_refused(tag: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cv2, "imdecode", lambda *args: pytest.fail("the decoder was called"))
    entries = [*tags(64, 48, tile_width=64, tile_height=48), (tag, 1 << 20)]
    with pytest.raises(ImageError, match=f"tag {tag} twice"):
        decode_gray(make_tiff(entries, [RAMP.tobytes()], (324, 325)))


@pytest.mark.parametrize(
    ("compression", "data"), [(1, bytes(1000)), (32773, bytes([129, 0]) * 10), (8, bytes(1000)), (5, b"\x80\x00\x40")]
)
def test_small_tiff_that_claims_a_large_size_is_refused(compression: int, data: bytes):
    with pytest.raises(ImageError, match="TIFF"):
        decode_gray(make_tiff(tags(8192, 8192, compression, rows=8192), [data]))


def rle(size: tuple[int, int], runs: bytes, bits: int = 8) -> bytes:
    palette = b"".join(bytes((level, level, level, 0)) for level in range(1 << bits))
    start = 54 + len(palette)
    fields = (40, *size, 1, bits, 1 if bits == 8 else 2, len(runs), 0, 0, 1 << bits, 0)
    return (
        b"BM"
        + struct.pack("<IHHI", start + len(runs), 0, 0, start)
        + struct.pack("<IiiHHIIiiII", *fields)
        + palette
        + runs
    )


ROWS = [b"\5\x09\0\3\1\2\3\0", b"\0\4\1\2\3\4\4\x07", b"\x08\x20"]


@pytest.mark.parametrize("bits", [8, 4])
def test_run_lengths_of_bmp(bits: int):
    rows = ROWS if bits == 8 else [b"\5\x19\0\3\x12\x30", b"\0\4\x12\x34\4\x27", b"\x08\x20"]
    end = b"\0\0"
    for runs in (end.join(rows) + b"\0\1", end.join(rows) + b"\0\0\0\1"):
        np.testing.assert_array_equal(decode_gray(rle((8, 3), runs, bits)), opencv(rle((8, 3), runs, bits)))
    for runs in (
        b"\0\1",
        end.join(rows[:2]) + b"\0\1",
        end.join(rows),
        rows[0] + end + end + rows[2] + b"\0\1",
        rows[0] + end + rows[1][:2],
        rows[0] + end + b"\0\2\0\1" + rows[2] + b"\0\1",
        end.join([rows[0], rows[1] + rows[2], rows[2]]) + b"\0\1",
    ):
        with pytest.raises(ImageError, match="BMP file is damaged, cut off or leaves pixels out"):
            decode_gray(rle((8, 3), runs, bits))


def test_small_bmp_that_claims_a_large_size_is_refused():
    with pytest.raises(ImageError, match="BMP"):
        decode_gray(rle((8192, 8192), b"\0\1"))
    plain = bytearray(save(Image.fromarray(RAMP), "BMP"))
    plain[18:26] = struct.pack("<ii", 8192, 8192)
    with pytest.raises(ImageError, match="BMP"):
        decode_gray(bytes(plain))


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"exif": Image.Exif().tobytes()}])
def test_webp(options: dict[str, object], monkeypatch: pytest.MonkeyPatch):
    content = save(Image.fromarray(SMOOTH), "WEBP", **options)
    header = read_header(content)
    assert (header.kind, header.width, header.height) == ("WebP", 64, 48)
    for share in (0.02, 0.5, 0.95):
        with pytest.raises(ImageError, match=r"WebP|cut off or damaged"):
            decode_gray(content[: int(share * len(content))])
    monkeypatch.setattr(cv2, "imdecode", lambda *args: pytest.fail("the decoder was called"))
    large = save(Image.new("L", (16383, 4200)), "WEBP", quality=0, method=0, **options)
    with pytest.raises(ImageError, match="16383 x 4200 pixels; more than"):
        decode_gray(large)


def test_moving_webp_is_refused_by_name():
    frames = [Image.fromarray(NOISE), Image.fromarray(SMOOTH)]
    with pytest.raises(ImageError, match="an animated WebP: convert it to a video"):
        decode_gray(save(frames[0], "WEBP", save_all=True, append_images=frames[1:]))


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("shape", [(48, 64), (48, 64, 3)])
def test_ten_and_twelve_of_sixteen_bits_are_not_black_in_silence(name: str, shape: tuple[int, ...]):
    levels = np.resize(np.arange(4096, dtype=np.uint16), shape)
    for values in (levels, levels // 4, levels // 16):
        content = cv2.imencode(Path(name).suffix, values)[1].tobytes()
        with pytest.raises(ImageError, match=r"must go up to 65535, got at most (\d+), which is black"):
            decode_gray(content)
    bright = cv2.imencode(Path(name).suffix, levels * 16)[1].tobytes()
    np.testing.assert_array_equal(decode_gray(bright), opencv(bright))
    black = cv2.imencode(Path(name).suffix, np.zeros(shape, np.uint16))[1].tobytes()
    assert not decode_gray(black).any()


def test_damaged_tags_of_tiff_make_no_noise(tmp_path: Path):
    content = make_tiff([*tags(64, 48, rows=48), (700, 5)], [RAMP.tobytes()])
    # A tag that is irrelevant, longer than the file.
    damaged = content.replace(struct.pack("<HHII", 700, 4, 1, 5), struct.pack("<HHII", 700, 1, 1 << 30, 8))
    (tmp_path / "a.tif").write_bytes(damaged)
    code = "import sys; from fastck.images import read_gray; print(read_gray(sys.argv[1]).shape)"
    run = [sys.executable, "-c", code, str(tmp_path / "a.tif")]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("(48, 64)\n", "")
