"""A data set in which everything is wrong that can be: one sequence per mishap, beside sound ones."""

import io
import os
import shutil
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.helpers.pngfiles import SIGNATURE, chunk, exif, header

Gray = NDArray[np.uint8]
FRAMES = 3  # of each sequence: enough for two steps, and quick


def png(gray: Gray) -> bytes:
    return cv2.imencode(".png", gray)[1].tobytes()


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def jpeg(gray: Gray, mode: str = "L", **options: object) -> bytes:
    return saved(Image.fromarray(gray).convert("RGB").convert(mode), "JPEG", quality=95, **options)


def bad_checksum(content: bytes) -> bytes:
    at = content.index(b"IDAT")
    length = int.from_bytes(content[at - 4 : at])
    end = at + 4 + length
    return content[:end] + bytes([content[end] ^ 1]) + content[end + 1 :]


def bomb() -> bytes:
    """400 million pixels promised, 1 KiB delivered."""
    return SIGNATURE + header(20_000, 20_000) + chunk(b"IDAT", zlib.compress(bytes(1024))) + chunk(b"IEND", b"")


def interlaced(gray: Gray) -> bytes:
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    rows = b"".join(b"\0" + row.tobytes() for top, left, down, right in passes for row in gray[top::down, left::right])
    start = header(gray.shape[1], gray.shape[0], interlace=1)
    return SIGNATURE + start + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b"")


def sixteen_bit(gray: Gray) -> bytes:
    return cv2.imencode(".png", gray.astype(np.uint16) * 256 + 77)[1].tobytes()


def turned(gray: Gray) -> bytes:
    """Stored lying on its side, with the note that says so."""
    return jpeg(np.ascontiguousarray(np.rot90(gray)), exif=b"Exif\0\0" + exif(6))


def animated(gray: Gray) -> bytes:
    first = Image.fromarray(gray)
    return saved(first, "PNG", save_all=True, append_images=[first.transpose(Image.Transpose.FLIP_LEFT_RIGHT)])


# Files that decode, each frame in the sort of file named; the result must be that of plain gray PNGs.
SORTS: dict[str, tuple[str, Callable[[Gray], bytes]]] = {
    "wrong-extension": (".jpg", png),
    "jpeg-named-png": (".png", jpeg),
    "16-bit": (".png", sixteen_bit),
    "palette": (".png", lambda gray: saved(Image.fromarray(gray).convert("RGB").quantize(64), "PNG")),
    "alpha": (".png", lambda gray: saved(Image.fromarray(gray).convert("RGBA"), "PNG")),
    "gray-alpha": (".png", lambda gray: saved(Image.fromarray(gray).convert("LA"), "PNG")),
    "interlaced": (".png", interlaced),
    "cmyk-jpeg": (".jpg", lambda gray: jpeg(gray, "CMYK")),
    "exif-turned-jpeg": (".jpg", turned),
    "animated": (".png", animated),
}

# Contents of the second frame that cost the sequence, and what is said of it.
DAMAGED: dict[str, tuple[Callable[[Gray], bytes], str]] = {
    "truncated": (lambda gray: png(gray)[:-2000], "the PNG file is cut off"),
    "zero-bytes": (lambda _: b"", "the file is empty"),
    "text": (
        lambda _: b"face of S005, frame 2\n",
        "the content must be PNG, JPEG, TIFF, BMP or WebP, got a file that begins",
    ),
    "bad-checksum": (lambda gray: bad_checksum(png(gray)), "wrong checksum in chunk IDAT"),
    "bomb": (lambda _: bomb(), "the header says 20000 x 20000 pixels; more than 67,108,864 are refused"),
    "truncated-jpeg": (lambda gray: jpeg(gray)[:-2000], "the JPEG data is damaged or cut off"),
    "animated-gif": (lambda gray: saved(Image.fromarray(gray), "GIF"), "got a GIF"),
    "size-changes": (lambda gray: png(gray[:-10]), r"frame 2 is 640x\d+ pixels, those before 640x\d+"),
}

# Folder names, and the id each gets.
NAMES = {
    "with space": "with_space",
    "Zoë-日本": "Zoë-日本",
    "two\nlines\r": "two_lines_",
    "-rf": "_rf",
    "$(touch x);`id`": "__touch_x___id_",
    "[bold]": "_bold_",
    os.fsdecode(b"latin-\xe9"): "latin-_",
}

# Label files of one sequence each: contents, and the code that comes of it.
LABELS: dict[str, tuple[list[bytes], int | None]] = {
    "empty": ([b""], None),
    "garbage": ([b"\xff\xfe\x00happy\x1b[31m"], None),
    "two": ([b"   3.0000000e+00\n", b"   5.0000000e+00\n"], None),
    "zero": ([b"   0.0000000e+00\n"], 0),
    "nine": ([b"   9.0000000e+00\n"], None),
    "infinite": ([b"1e999"], None),
}


class BadSet:
    """Writes sequences ``SUBJECT/001`` below a root; `faces` are the frames of a sound sequence."""

    def __init__(self, root: Path, faces: Sequence[Gray]) -> None:
        self.root = root
        self.faces = list(faces)

    def folder(self, subject: str) -> Path:
        return self.root / "cohn-kanade-images" / subject / "001"

    def add(self, subject: str, contents: Sequence[bytes], suffix: str = ".png", numbers: Sequence[int] = ()) -> Path:
        folder = self.folder(subject)
        folder.mkdir(parents=True)
        for number, content in zip(numbers or range(1, len(contents) + 1), contents, strict=True):
            (folder / f"{number:08d}{suffix}").write_bytes(content)
        return folder

    def label(self, subject: str, contents: Sequence[bytes]) -> None:
        folder = self.root / "Emotion" / subject / "001"
        folder.mkdir(parents=True)
        for number, content in enumerate(contents):
            (folder / f"label{number}.txt").write_bytes(content)


def build(root: Path, rendered: Path, faces: Sequence[Gray]) -> BadSet:
    """Write the whole set: the rendered one, and beside it every mishap."""
    shutil.copytree(rendered, root)
    made = BadSet(root, faces)
    plain = [png(face) for face in faces]
    made.add("plain", plain)
    for name, (suffix, write) in SORTS.items():
        contents = [write(face) for face in faces]
        made.add(name, contents, suffix)
        made.add(f"{name}-twin", [png(cv2.imdecode(np.frombuffer(c, np.uint8), 0)) for c in contents])
    for name, (write, _) in DAMAGED.items():
        made.add(name, [plain[0], write(faces[1]), plain[2]])
    tiny, blank = png(np.zeros((1, 1), np.uint8)), png(np.full_like(faces[0], 128))
    made.add("one-pixel", [tiny] * FRAMES)
    made.add("no-face", [blank] * FRAMES)
    made.add("single-frame", plain[:1])
    made.add("half-without-face", [blank, blank, plain[0], plain[1]])
    small = cv2.resize(faces[0], None, fx=0.5, fy=0.5)
    beside = np.full((faces[0].shape[0], small.shape[1]), 128, np.uint8)
    beside[: small.shape[0]] = small
    made.add("two-faces", [png(np.hstack([beside, face])) for face in faces])
    made.add("cut-off-face", [png(face[faces[0].shape[0] // 5 :]) for face in faces])
    made.add("gap", plain, numbers=(1, 2, 7))
    folder = made.add("duplicates", plain)
    (folder / "2.png").write_bytes(plain[0])
    folder = made.add("forbidden", plain)
    (folder / "00000002.png").chmod(0)
    made.add("forbidden-folder", plain).chmod(0)
    folder = made.add("links", plain)
    (folder / "loop").symlink_to(folder.parent)
    (folder / "00000004.png").symlink_to("00000004.png")
    (folder / "00000005.png").symlink_to("nowhere.png")
    os.mkfifo(folder / "00000006.png")
    for name in NAMES:
        made.add(name, plain)
    for name, (contents, _) in LABELS.items():
        made.add(f"label-{name}", plain)
        made.label(f"label-{name}", contents)
    made.label("label-of-nobody", [b"   3.0000000e+00\n"])
    return made


def unforbid(root: Path) -> None:
    """Let pytest remove the set again."""
    (root / "cohn-kanade-images" / "forbidden-folder" / "001").chmod(0o755)
