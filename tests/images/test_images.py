"""Images and videos of every sort, whole and broken, against OpenCV."""

import io
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import av.codec.context
import cv2
import numpy as np
import pytest
import simplejpeg
from PIL import Image, ImageOps

from fastck.dataset.clip import clip_record
from fastck.dataset.layouts import scan
from fastck.images import image as images
from fastck.images.header import ImageError
from fastck.images.image import is_image, read_gray, read_image_header
from fastck.images.video import count_video_frames, holds_video, is_video, read_video, upright
from tests.helpers.pngfiles import SIGNATURE, exif, header, write_png

Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Write an image through Pillow and return its path."""

    def save_image(image: Image.Image, name: str, **options: object) -> Path:
        path = tmp_path / name
        image.save(path, **options)
        return path

    return save_image


def picture(mode: str = "L", size: tuple[int, int] = (37, 23)) -> Image.Image:
    levels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 4), np.uint8)
    smooth = cv2.GaussianBlur(levels, (0, 0), 2)
    return Image.fromarray(smooth, "CMYK" if mode == "CMYK" else "RGBA").convert(mode)


def assert_as_imread(path: Path) -> None:
    expected = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert expected is not None
    np.testing.assert_array_equal(read_gray(path), expected, strict=True)


def assert_refused(path: Path, message: str) -> None:
    with pytest.raises(ImageError, match=message) as caught:
        read_gray(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.jpeg", "a.tif", "a.tiff", "a.bmp", "A.PNG", "a b.JPG"])
def test_every_suffix(save: Save, mode: str, name: str):
    path = save(picture(mode), name)
    assert is_image(path)
    assert not is_video(path)
    assert_as_imread(path)
    assert read_gray(str(path)).shape == (23, 37)


@pytest.mark.parametrize(
    ("mode", "name", "options"),
    [
        ("CMYK", "cmyk.jpg", {}),
        ("L", "progressive.jpg", {"progressive": True}),
        ("RGB", "quality.jpg", {"quality": 30, "subsampling": 2}),
        ("RGB", "lzw.tif", {"compression": "tiff_lzw"}),
        ("RGB", "deflate.tif", {"compression": "tiff_adobe_deflate"}),
        ("L", "packbits.tif", {"compression": "packbits"}),
        ("1", "bilevel.tif", {}),
        ("P", "palette.bmp", {}),
        ("1", "bilevel.bmp", {}),
        ("RGBA", "alpha.bmp", {}),
        ("RGBA", "alpha.tif", {}),
        ("LA", "alpha.png", {}),
        ("RGB", "lossy.webp", {}),
        ("RGBA", "lossless.webp", {"lossless": True}),
        ("RGB", "photo.webp", {"exif": b"Exif\0\0" + exif(1)}),
    ],
)
def test_sorts_of_file(save: Save, mode: str, name: str, options: dict[str, object]):
    assert_as_imread(save(picture(mode), name, **options))


@pytest.mark.parametrize("name", ["deep.png", "deep.tif"])
@pytest.mark.parametrize("shape", [(9, 11), (9, 11, 3)])
def test_16_bits_are_scaled_as_opencv_does(tmp_path: Path, name: str, shape: tuple[int, ...]):
    path = tmp_path / name
    assert cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 1 << 16, shape, np.uint16))
    assert_as_imread(path)
    assert read_image_header(path).bits == 16


def counting(decode: Callable[..., np.ndarray], sizes: list[int]) -> Callable[..., np.ndarray]:
    def decode_and_count(*args: object, **options: object) -> np.ndarray:
        decoded = decode(*args, **options)
        sizes.append(decoded.size)
        return decoded

    return decode_and_count


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_jpeg_that_is_turned_is_decoded_once(
    save: Save, monkeypatch: pytest.MonkeyPatch, orientation: int, mode: str
):
    path = save(picture(mode, (370, 230)), "a.jpg", exif=b"Exif\0\0" + exif(orientation))
    imread = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("L"))
    sizes: list[int] = []
    for library, function in ((cv2, "imdecode"), (simplejpeg, "decode_jpeg")):
        monkeypatch.setattr(library, function, counting(getattr(library, function), sizes))
    gray = read_gray(path)
    assert [size for size in sizes if size >= 1000] == [gray.size]
    np.testing.assert_array_equal(gray, imread)
    # Of colour, Pillow rounds once more.
    np.testing.assert_allclose(gray.astype(int), upright, atol=0 if mode == "L" else 2)


@pytest.mark.parametrize("at", range(6, 32))
def test_a_jpeg_whose_exif_is_damaged_is_turned_as_opencv_does(save: Save, at: int):
    for value in (0, 1, 255):
        damaged = bytearray(b"Exif\0\0" + exif(6))
        damaged[at] = value
        assert_as_imread(save(picture(), "a.jpg", exif=bytes(damaged)))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif"])
def test_orientation_is_applied(save: Save, orientation: int, name: str):
    tags = Image.Exif()
    tags[0x112] = orientation
    path = save(picture(), name, exif=tags)
    if not (name.endswith("tif") and orientation > 4):  # cv2.imread 5.0 fails on TIFF files that it has to turn
        assert_as_imread(path)
    # From memory, because Pillow 13 turns a TIFF file that it maps twice.
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(path.read_bytes()))))
    assert read_gray(path).shape == upright.shape
    if not name.endswith("jpg"):  # decoders may differ by one
        np.testing.assert_array_equal(read_gray(path), upright)


def test_content_decides_not_the_suffix(save: Save):
    jpeg = save(picture(), "a.jpg")
    png = save(picture(), "b.png")
    for path in (jpeg.rename(jpeg.with_name("jpeg.png")), png.rename(png.with_name("png.bmp"))):
        assert_as_imread(path)


def test_first_page_and_first_image(save: Save):
    second = picture().transpose(Image.Transpose.ROTATE_180)
    for name in ("pages.tif", "animation.png"):
        path = save(picture(), name, save_all=True, append_images=[second])
        assert_as_imread(path)
        np.testing.assert_array_equal(read_gray(path), np.asarray(picture()))


def test_other_formats_are_refused_by_name(save: Save, tmp_path: Path):
    assert_refused(
        save(picture(), "a.gif").rename(tmp_path / "gif.png"), "must be PNG, JPEG, TIFF, BMP or WebP, got a GIF"
    )
    (tmp_path / "sound.png").write_bytes(b"RIFF\x24\0\0\0WAVEfmt ")
    assert_refused(tmp_path / "sound.png", "got a RIFF file")
    (tmp_path / "text.png").write_text("not an\nimage")
    assert_refused(tmp_path / "text.png", r"got a file that begins with b'not an\\ni'")
    (tmp_path / "empty.png").touch()
    assert_refused(tmp_path / "empty.png", "the file is empty")


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.tif"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
def test_truncated_files_are_refused(save: Save, name: str, share: float):
    path = save(picture("RGB"), name)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert_refused(path, "cut off|damaged")


def test_jpeg_without_end_is_refused_though_its_thumbnail_has_one(save: Save):
    thumbnail = io.BytesIO()
    picture().save(thumbnail, "JPEG")
    path = save(picture(), "a.jpg", exif=b"Exif\0\0" + exif(1) + thumbnail.getvalue())
    assert_as_imread(path)
    path.write_bytes(path.read_bytes()[:-2])
    assert_refused(path, "cut off")


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 2}])
@pytest.mark.parametrize(
    "behind", [b"\xff\xda", b"ftypmp42" + bytes(range(256)) * 9, b"\xff\xda\xff\xd8" * 50, b"\0" * 4096]
)
def test_jpeg_with_data_behind_its_end(save: Save, options: dict[str, object], behind: bytes):
    """Motion photos keep a video there, which may hold any bytes."""
    path = save(picture(), "a.jpg", **options)
    alone, content = cv2.imread(str(path), 0), path.read_bytes()
    path.write_bytes(content + behind)
    assert_as_imread(path)
    np.testing.assert_array_equal(read_gray(path), alone)
    path.write_bytes(content[:-2] + behind.replace(b"\xff\xd9", b""))
    assert_refused(path, "cut off")


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_jpeg_that_cannot_hold_its_size_never_reaches_a_decoder(
    save: Save, monkeypatch: pytest.MonkeyPatch, options: dict[str, object]
):
    path = save(picture(), "a.jpg", **options)
    content = bytearray(path.read_bytes())
    frame = content.index(b"\xff\xc2" if options else b"\xff\xc0")
    content[frame + 5 : frame + 9] = struct.pack(">HH", 8192, 8192)
    path.write_bytes(content)
    for library, function in ((cv2, "imdecode"), (simplejpeg, "decode_jpeg")):
        monkeypatch.setattr(library, function, lambda *args, **options: pytest.fail("the decoder was called"))
    assert_refused(path, "cut off")


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"exif": b"Exif\0\0" + exif(1)}, {"subsampling": 0}])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_damaged_jpeg_is_refused(save: Save, mode: str, options: dict[str, object]):
    path = save(picture(mode, (320, 240)), "a.jpg", **options)
    assert_as_imread(path)
    whole = path.read_bytes()
    middle = (whole.index(b"\xff\xda") + len(whole)) // 2
    for content in (
        whole[:middle] + b"\xff\xd9",
        whole[:middle] + bytes(len(whole) - middle - 2) + b"\xff\xd9",
        whole[:middle] + b"\xff" * 200 + whole[middle + 200 :],
    ):
        path.write_bytes(content)
        assert_refused(path, "the JPEG data is damaged or cut off: ")


def test_the_smallest_jpegs_there_are_still_decode(save: Save):
    for mode in ("L", "RGB"):
        for progressive in (False, True):
            path = save(Image.new(mode, (4000, 4000)), "a.jpg", quality=1, optimize=True, progressive=progressive)
            assert_as_imread(path)


def test_jpeg_with_bytes_between_its_segments(save: Save):
    path = save(picture(), "a.jpg")
    content = path.read_bytes()
    quantisation = content.index(b"\xff\xdb")
    path.write_bytes(content[:quantisation] + b"a\xff\x00b\xff" + content[quantisation:])
    assert_as_imread(path)


def tiff(width: int, height: int, tile: int = 0, *, order: str = "<") -> bytes:
    tags = [
        (256, 4, width),
        (257, 4, height),
        (258, 4, 8),
        (259, 4, 1),
        (262, 4, 1),
        (273, 4, 8),
        (277, 4, 1),
        (279, 4, 1),
    ]
    tags += [(322, 4, tile), (323, 4, tile)] if tile else []
    entries = b"".join(struct.pack(order + "HHII", tag, form, 1, value) for tag, form, value in tags)
    start = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    return start + struct.pack(order + "H", len(tags)) + entries + bytes(4)


def big_tiff(width: int, height: int) -> bytes:
    entries = struct.pack("<HHQQ", 256, 16, 1, width) + struct.pack("<HHQQ", 257, 16, 1, height)
    return b"II" + struct.pack("<HHHQ", 43, 8, 0, 16) + struct.pack("<Q", 2) + entries + bytes(8)


def jpeg_header(width: int, height: int) -> bytes:
    fields = struct.pack(">BHHB", 8, height, width, 1) + b"\1\x11\0"
    return b"\xff\xd8\xff\xe0\0\4ab\xff\xff\xc0" + struct.pack(">H", 2 + len(fields)) + fields + b"\xff\xd9"


@pytest.mark.parametrize(
    "content",
    [
        SIGNATURE + header(20_000, 20_000),
        jpeg_header(20_000, 20_000),
        b"BM" + bytes(12) + struct.pack("<IiiHH", 40, 20_000, -20_000, 1, 24) + bytes(30),
        b"BM" + bytes(12) + struct.pack("<IHHHH", 12, 20_000, 20_000, 1, 24) + bytes(30),
        tiff(20_000, 20_000),
        tiff(20_000, 20_000, order=">"),
        tiff(16, 16, tile=20_000),
        big_tiff(20_000, 20_000),
    ],
)
def test_decompression_bombs_never_reach_a_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes):
    monkeypatch.setattr(cv2, "imdecode", lambda *args: pytest.fail("the decoder was called"))
    path = tmp_path / "bomb.png"
    path.write_bytes(content)
    assert_refused(path, "more than 67,108,864 are refused|cut off")
    with pytest.raises(ImageError, match=r"\d+ x \d+ pixels; more than 67,108,864 are refused"):
        read_image_header(path)


def test_absurd_files_are_not_even_read(tmp_path: Path):
    path = tmp_path / "sparse.png"
    with path.open("wb") as file:
        file.truncate(images.MAX_FILE_BYTES + 1)
    assert_refused(path, "the file has 1,073,741,825 bytes; more than 1,073,741,824 are refused")


def test_system_errors_stay_system_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(FileNotFoundError):
        read_gray(tmp_path / "nowhere.png")
    with pytest.raises(IsADirectoryError):
        read_gray(tmp_path)
    with pytest.raises(FileNotFoundError):
        count_video_frames(tmp_path / "nowhere.avi")
    with pytest.raises(FileNotFoundError):
        read_image_header(tmp_path / "nowhere.png")


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user takes root's rights")
def test_forbidden_file(tmp_path: Path):
    path = tmp_path / "a.png"
    path.touch(mode=0o000)
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)
    code = "import os, sys; from fastck.images.image import read_gray; os.setuid(65534); read_gray(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert "PermissionError: [Errno 13] Permission denied" in done.stderr


def test_headers(save: Save):
    for name in ("a.png", "a.jpg", "a.tif", "a.bmp"):
        gray, colour = read_image_header(save(picture(), name)), read_image_header(save(picture("RGB"), name))
        assert (gray.width, gray.height, gray.channels, gray.bits) == (37, 23, 1, 8)
        assert (colour.width, colour.height, colour.channels, colour.bits) == (37, 23, 3, 8)
        assert gray.kind == colour.kind


def test_header_behind_long_metadata(save: Save):
    big = picture(size=(400, 300))
    assert read_image_header(save(big, "back.tif")).width == 400
    late = jpeg_header(40, 30).replace(b"\xff\xe0\0\4ab", b"\xff\xe2\xff\xff" + bytes(65533))
    path = save(picture(), "late.jpg")
    path.write_bytes(late)
    assert read_image_header(path).height == 30


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8\xff\xe0\0\1",
        b"\xff\xd8\xff\xe0\0\2x",
        SIGNATURE + bytes(30),
        b"II+\0\x08\0\0\0" + b"\xff" * 8,
        b"II*\0\x08\0\0\0\0\0",
        b"BM",
    ],
)
def test_damaged_headers(tmp_path: Path, content: bytes):
    (tmp_path / "a.png").write_bytes(content)
    assert_refused(tmp_path / "a.png", "header is damaged|cut off or damaged")


def test_failures_inside_opencv_are_image_errors(save: Save, monkeypatch: pytest.MonkeyPatch):
    path = save(picture(), "a.bmp")

    def fail(*args: object) -> None:
        raise cv2.error("OpenCV(5.0.0) error: (-4:Insufficient memory)\n Failed to allocate")

    monkeypatch.setattr(cv2, "imdecode", fail)
    assert_refused(path, "the BMP file does not decode: OpenCV.*Insufficient memory")


def log_level() -> int:
    return getattr(cv2.utils, "logging", cv2).getLogLevel()  # it moved in OpenCV 5


def test_opencv_log_level_is_given_back(save: Save):
    level = log_level()
    path = save(picture(), "a.bmp")
    read_gray(path)
    path.write_bytes(path.read_bytes()[:-30])
    assert_refused(path, "damaged")
    assert log_level() == level


def test_opencv_log_level_with_several_threads(save: Save):
    level = log_level()
    path = save(picture(), "a.jpg")
    with ThreadPoolExecutor(4) as pool:
        read = list(pool.map(read_gray, [path] * 200))
    assert all(np.array_equal(gray, read[0]) for gray in read)
    assert log_level() == level


def write_video(path: Path, fourcc: str = "MJPG", n_frames: int = 6) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*fourcc), 25, (48, 32))
    assert writer.isOpened()
    for n in range(n_frames):
        writer.write(np.full((32, 48, 3), (10 * n, 20 * n, 30 * n), np.uint8))
    writer.release()
    return path


@pytest.mark.parametrize(
    ("name", "fourcc"), [("a.avi", "MJPG"), ("a b.mp4", "mp4v"), ("ü.mov", "mp4v"), ("a.mkv", "XVID")]
)
def test_videos(tmp_path: Path, name: str, fourcc: str):
    path = write_video(tmp_path / name, fourcc)
    assert is_video(path)
    frames = list(read_video(path))
    assert len(frames) == count_video_frames(path) == 6
    capture = cv2.VideoCapture(str(path))
    for frame in frames:
        theirs = cv2.cvtColor(capture.read()[1], cv2.COLOR_BGR2GRAY)
        # The luma itself against luma made from colours that were made from it: each step rounds.
        np.testing.assert_allclose(frame, theirs.astype(int), atol=2)
    assert np.all(np.diff([frame.mean() for frame in frames]) > 0)


@pytest.mark.parametrize(("name", "fourcc"), [("a.mkv", "MJPG"), ("a.avi", "MJPG"), ("a.webm", "VP80")])
def test_cut_off_video_is_refused(tmp_path: Path, name: str, fourcc: str):
    path = write_video(tmp_path / name, fourcc, 20)
    assert count_video_frames(path) == 20
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    for read in (count_video_frames, lambda path: list(read_video(path))):
        with pytest.raises(ImageError, match="cut off"):
            read(path)


def encode(
    path: Path, frames: list[np.ndarray], codec: str, pixels: str, *, movflags: str = "", **options: object
) -> Path:
    with av.open(str(path), "w", options={"movflags": movflags} if movflags else {}) as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = frames[0].shape
        stream.pix_fmt = pixels
        for key, value in options.items():
            setattr(stream.codec_context, key, value)
        for gray in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(gray, format="gray").reformat(format=pixels)))
        container.mux(stream.encode())
    return path


GRADIENT = [np.tile(np.linspace(20 + 10 * n, 230, 64).astype(np.uint8), (48, 1)) for n in range(4)]


@pytest.mark.parametrize(("name", "codec", "pixels"), [("a.gif", "gif", "rgb8"), ("a.avi", "mjpeg", "yuvj420p")])
def test_video_with_a_hole_is_refused(tmp_path: Path, name: str, codec: str, pixels: str):
    noise = np.random.default_rng(0).integers(0, 256, (48, 64), np.uint8)
    path = encode(tmp_path / name, [noise] * 4, codec, pixels)
    content = path.read_bytes()
    with av.open(str(path)) as container:
        at = [packet.pos + packet.size // 2 for packet in container.demux(video=0) if packet.size][1]
    path.write_bytes(content[:at] + bytes(100) + content[at + 100 :])
    for read in (count_video_frames, lambda path: list(read_video(path))):
        with pytest.raises(ImageError, match="damaged"):
            read(path)
    path.write_bytes(content[:at])
    with pytest.raises(ImageError, match=r"cut off|damaged"):
        count_video_frames(path)


@pytest.mark.parametrize("lost", [1, 2])
@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [
        ("a.mkv", "vp8", "yuv420p"),
        ("a.mkv", "libx264", "yuv420p"),
        ("a.avi", "mjpeg", "yuvj420p"),
        ("a.avi", "libx264", "yuv420p"),
        ("a.mp4", "mpeg4", "yuv420p"),
        ("a.mov", "libx264", "yuv420p"),
        ("a.gif", "gif", "rgb8"),
    ],
)
def test_a_video_that_is_cut_off_between_two_frames_is_refused(
    tmp_path: Path, name: str, codec: str, pixels: str, lost: int
):
    # A header at the end of the file would be gone.
    path = encode(tmp_path / name, GRADIENT * 3, codec, pixels, movflags="faststart")
    assert count_video_frames(path) == 12
    with av.open(str(path)) as container:
        last = sorted(packet.pos for packet in container.demux(video=0) if packet.size)[-lost]
    # What stands before a packet in Matroska and AVI is the header of its block.
    header = 8 if name in ("a.mkv", "a.avi") else 0
    path.write_bytes(path.read_bytes()[: last - header])
    with pytest.raises(ImageError, match="cut off"):
        count_video_frames(path)


def test_an_avi_is_whole_without_its_index_and_with_frames_that_only_repeat(tmp_path: Path):
    path = write_video(tmp_path / "a.avi", n_frames=12)
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"idx1") + 20])
    assert count_video_frames(path) == 12
    # The last chunk is empty: what the frame before it shows stays.
    with av.open(str(path)) as container:
        last = [packet.pos for packet in container.demux(video=0) if packet.size][-1]
    index = bytearray(content[content.index(b"idx1") :])
    index[-4:] = bytes(4)
    changed = bytearray(content[: last - 4] + bytes(4) + index)
    movie = changed.index(b"movi")
    for at, end in ((4, len(changed)), (movie - 4, last)):
        changed[at : at + 4] = struct.pack("<I", end - at - 4)
    path.write_bytes(changed)
    assert count_video_frames(path) == 11


def test_interlaced_video_is_decoded_as_it_is(tmp_path: Path):
    interlaced = av.codec.context.Flags.interlaced_dct | av.codec.context.Flags.interlaced_me
    path = encode(tmp_path / "a.mpg", GRADIENT, "mpeg2video", "yuv420p", flags=interlaced, bit_rate=10**7)
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).interlaced_frame
    for frame, gray in zip(read_video(path), GRADIENT, strict=True):
        assert np.abs(frame.astype(int) - gray).mean() < 3


@pytest.mark.parametrize("name", [b"12:30:05.avi", b"caf\xe9.avi", b"a%03d.avi"])
def test_any_name_of_a_video_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: bytes):
    monkeypatch.chdir(tmp_path)
    write_video(Path("plain.avi")).rename(os.fsdecode(name))
    assert count_video_frames(os.fsdecode(name)) == 6


def test_wide_pixels_are_made_square(tmp_path: Path):
    path = encode(tmp_path / "a.mp4", GRADIENT, "mpeg4", "yuv420p", sample_aspect_ratio=Fraction(3, 2))
    assert {frame.shape for frame in read_video(path)} == {(48, 96)}


@pytest.mark.parametrize("mirrored", [(-1, 0, 0, 1), (0, 1, -1, 0), (0, 1, 1, 0), (-1, 0, 0, -1)])
def test_video_is_turned_and_mirrored_as_it_says(tmp_path: Path, mirrored: tuple[int, ...]):
    path = write_video(tmp_path / "a.mp4", "mp4v")
    gray = np.arange(6, dtype=np.uint8).reshape(2, 3)
    a, b, c, d = (number * 65536 for number in mirrored)
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 44
    content[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    assert next(read_video(path)).shape == ((48, 32) if b else (32, 48))
    matrix = np.array([a, b, 0, c, d, 0, 0, 0, 1 << 30], np.int32)
    shown = upright(gray, matrix)
    # Where the matrix sends each pixel, moved to begin at 0.
    rows, columns = np.indices(gray.shape)
    x, y = mirrored[0] * columns + mirrored[2] * rows, mirrored[1] * columns + mirrored[3] * rows
    expected = np.zeros_like(shown)
    expected[y - y.min(), x - x.min()] = gray
    np.testing.assert_array_equal(shown, expected)


def test_gray_of_ten_bits_and_limited_range(tmp_path: Path):
    path = encode(tmp_path / "a.mkv", GRADIENT, "ffv1", "yuv420p10le")
    for frame, gray in zip(read_video(path), GRADIENT, strict=True):
        np.testing.assert_allclose(frame, gray.astype(int), atol=1)


@pytest.mark.parametrize("name", ["clip", "clip.dat", "clip.001"])
def test_a_named_video_is_known_by_its_content(tmp_path: Path, name: str):
    path = write_video(tmp_path / "a.avi").rename(tmp_path / name)
    assert not is_video(path)
    assert holds_video(path)
    assert clip_record(path).video_frames == 6
    table = tmp_path / "clips.csv"
    table.write_text(f"path,subject\n{name},a\n")
    assert [record.n_frames for record in scan(table, layout="table").records] == [6]
    for content in (b"", b"text\n" * 50, bytes(range(256)) * 20, b"#EXTM3U\nfile:///etc/passwd\n"):
        path.write_bytes(content)
        assert not holds_video(path)
    picture().save(tmp_path / "a.jpg")
    assert not holds_video(tmp_path / "a.jpg")


def test_clips_of_one_video_decode_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write_video(tmp_path / "a.mp4", "mp4v", 30)
    whole = list(read_video(path))
    opened = []
    open_container = av.open
    monkeypatch.setattr(av, "open", lambda *args, **options: opened.append(1) or open_container(*args, **options))
    for start in range(0, 30, 5):
        clip = list(islice(read_video(path, skip=start), 3))
        np.testing.assert_array_equal(clip, whole[start : start + 3])
    assert len(opened) == 1
    # Further back, in two readers at once, and another file of the same name.
    first, second = read_video(path, skip=2), read_video(path, skip=2)
    for n in range(2, 6):
        np.testing.assert_array_equal(next(first), whole[n])
        np.testing.assert_array_equal(next(second), whole[n])
    first.close()
    write_video(tmp_path / "b.mp4", "mp4v", 9).replace(path)
    assert len(list(read_video(path, skip=6))) == 3
    assert len(opened) == 4
    second.close()
    path.unlink()
    with pytest.raises(FileNotFoundError):
        next(read_video(path, skip=20))


def test_a_program_that_reads_a_part_of_a_video_ends_in_silence(tmp_path: Path):
    code = "import sys; from fastck.images import read_video; print(next(iter(read_video(sys.argv[1]))).shape)"
    run = [sys.executable, "-c", code, str(write_video(tmp_path / "a.avi"))]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("(32, 48)\n", "")


def test_broken_video_is_refused_without_noise(tmp_path: Path):
    (tmp_path / "a.mp4").write_bytes(b"no video" * 100)
    code = """
import sys
from fastck.images.header import ImageError
from fastck.images.video import count_video_frames
try:
    count_video_frames(sys.argv[1])
except ImageError as error:
    print(error)
"""
    run = [sys.executable, "-c", code, str(tmp_path / "a.mp4")]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    assert done.stdout == f"{tmp_path / 'a.mp4'}: not a video that can be decoded\n"
    assert done.stderr == ""


def test_damage_in_a_file_names_it_on_one_line(tmp_path: Path):
    path = tmp_path / "line\nbreak.png"
    path.write_bytes(write_png(np.zeros((4, 4), np.uint8), [0] * 4)[:-5])
    with pytest.raises(ImageError, match=r"line\\nbreak.png: the PNG file is cut off$"):
        read_gray(path)
