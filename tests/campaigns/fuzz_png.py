"""Fuzz the image readers and the label parser with mutated files.

    python -m tests.campaigns.fuzz_png --executions 200000 --seed 0

Every mutated image must either be refused with `ImageError`, or give exactly the pixels that OpenCV gives. Every
mutated label must give an emotion code or a ValueError. Anything else is a finding: it is counted, and the first files
are written to --keep.
"""

import io
import os
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random

import cv2
import numpy as np
from PIL import Image

from fastck.dataset.labelfiles import parse_label
from fastck.dataset.labels import EMOTIONS
from fastck.images.header import ImageError
from fastck.images.image import decode_gray
from tests.campaigns.outcome import Outcome, campaign
from tests.helpers.pngfiles import SIGNATURE, chunk, exif, header, write_png

Chunks = list[tuple[bytes, bytes]]
_OPTIONAL = {
    b"gAMA": 4,
    b"sRGB": 1,
    b"cHRM": 32,
    b"tRNS": 6,
    b"eXIf": 26,
    b"cICP": 4,
    b"tEXt": 9,
    b"PLTE": 12,
    b"sBIT": 3,
    b"acTL": 8,
}


def fuzz(executions: int, seed: int) -> Outcome:
    """Run that many mutations, the same ones for the same seed."""
    random = Random(seed)
    outcome = Outcome()
    pngs, others, labels = png_seeds(), other_seeds(), [b"   3.0000000e+00\n", b"7", b"\xef\xbb\xbf5.0", b"1e0 \r\n"]
    for number in range(executions):
        sort = number % 10
        if sort == 0:
            outcome.counts["label: " + try_label(mutate_bytes(random.choice(labels), random), outcome)] += 1
        elif sort == 1:
            outcome.counts["other: " + try_image(mutate_bytes(random.choice(others), random), outcome)] += 1
        else:
            outcome.counts["PNG: " + try_image(mutate_png(random.choice(pngs), random), outcome)] += 1
        outcome.executions += 1
    return outcome


def try_image(content: bytes, outcome: Outcome) -> str:
    try:
        gray = decode_gray(content)
    except ImageError as error:
        if "\n" in str(error):
            outcome.findings.append((f"message of several lines: {error}", content))
        # OpenCV would allocate gigabytes for some of these; whether it agrees is asked for small images only.
        return "refused"
    except Exception as error:
        outcome.findings.append((f"{type(error).__name__}: {error}", content))
        return "crashed"
    if b"acTL" in content:  # OpenCV reads animations by other rules, and gives a black image where they are broken
        return "animation"
    expected = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
    if expected is None:
        outcome.findings.append(("accepted, but OpenCV refuses it", content))
        return "accepted alone"
    if not np.array_equal(gray, expected):
        outcome.findings.append((f"differs from OpenCV: {gray.shape} against {expected.shape}", content))
        return "differs"
    return "as OpenCV"


def try_label(content: bytes, outcome: Outcome) -> str:
    try:
        code = parse_label(content)
    except ValueError as error:
        if not str(error).isprintable():
            outcome.findings.append((f"message with control characters: {error!r}", content))
        return "refused"
    except Exception as error:
        outcome.findings.append((f"{type(error).__name__}: {error}", content))
        return "crashed"
    if code not in EMOTIONS:
        outcome.findings.append((f"code {code}", content))
    return "accepted"


def mutate_bytes(content: bytes, random: Random) -> bytes:
    data = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 4, 8))):
        at = random.randrange(len(data) + 1)
        action = random.randrange(6)
        if action == 0 and data:
            data[at % len(data)] ^= 1 << random.randrange(8)
        elif action == 1 and data:
            data[at % len(data)] = random.choice((0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)))
        elif action == 2:
            del data[at : at + random.choice((1, 1, 2, 4, 16, 1000))]
        elif action == 3:
            data[at:at] = random.randbytes(random.choice((1, 2, 4, 16)))
        elif action == 4:
            data[at : at + 4] = struct.pack(
                ">I", random.choice((0, 1, 255, 1 << 16, 1 << 26, (1 << 31) - 1, (1 << 32) - 1))
            )
        else:
            data[at:at] = data[: random.randrange(1, 40)]
    return bytes(data)


def mutate_png(chunks: Chunks, random: Random) -> bytes:
    """Mutate below the checksums, so that the decoder behind them is reached."""
    chunks = list(chunks)
    actions: list[Callable[[Chunks, Random], None]] = [
        *(mutate_rows, mutate_rows, mutate_header, mutate_content, add_optional),
        *(add_optional, move, repeat, drop, split_data),
    ]
    for _ in range(random.choice((0, 1, 1, 1, 2, 3))):
        random.choice(actions)(chunks, random)
    content = SIGNATURE + b"".join(chunk(kind, data) for kind, data in chunks)
    return mutate_bytes(content, random) if random.random() < 0.15 else content


def mutate_rows(chunks: Chunks, random: Random) -> None:
    for at, (kind, data) in enumerate(chunks):
        if kind == b"IDAT":
            try:
                rows = zlib.decompress(data)
            except zlib.error:
                return
            if random.random() < 0.3:
                rows = mutate_bytes(rows, random)
            else:
                changed = bytearray(rows)
                for _ in range(random.randrange(1, 30)):
                    if changed:
                        changed[random.randrange(len(changed))] = random.choice(
                            (0, 1, 2, 3, 4, 4, 255, random.randrange(256))
                        )
                rows = bytes(changed)
            chunks[at] = (kind, zlib.compress(rows, random.randrange(10)))
            return


def mutate_header(chunks: Chunks, random: Random) -> None:
    fields = (
        list(struct.unpack(">IIBBBBB", chunks[0][1])) if chunks and len(chunks[0][1]) == 13 else [4, 4, 8, 0, 0, 0, 0]
    )
    place = random.randrange(7)
    fields[place] = random.choice((0, 1, 2, 3, 4, 6, 8, 16, 33, 1 << 14) if place < 2 else (0, 1, 2, 3, 4, 6, 8, 16))
    chunks[:1] = [(b"IHDR", struct.pack(">IIBBBBB", *fields))]


def mutate_content(chunks: Chunks, random: Random) -> None:
    if chunks:
        at = random.randrange(len(chunks))
        chunks[at] = (chunks[at][0], mutate_bytes(chunks[at][1], random))


def add_optional(chunks: Chunks, random: Random) -> None:
    kind = random.choice(list(_OPTIONAL))
    data = exif(random.randrange(10)) if kind == b"eXIf" else random.randbytes(_OPTIONAL[kind])
    chunks.insert(random.randrange(1, len(chunks) + 1) if chunks else 0, (kind, data))


def move(chunks: Chunks, random: Random) -> None:
    if chunks:
        one = chunks.pop(random.randrange(len(chunks)))
        chunks.insert(random.randrange(len(chunks) + 1), one)


def repeat(chunks: Chunks, random: Random) -> None:
    if chunks:
        chunks.insert(random.randrange(len(chunks) + 1), random.choice(chunks))


def drop(chunks: Chunks, random: Random) -> None:
    if chunks:
        del chunks[random.randrange(len(chunks))]


def split_data(chunks: Chunks, random: Random) -> None:
    for at, (kind, data) in enumerate(chunks):
        if kind == b"IDAT":
            cut = random.randrange(len(data) + 1)
            chunks[at : at + 1] = [(kind, data[:cut]), (kind, data[cut:])]
            return


def png_seeds() -> list[Chunks]:
    """Return files of all colour types and depths, taken apart."""
    generator = np.random.default_rng(0)
    files = []
    for shape in ((1, 1), (7, 9), (7, 9, 3), (16, 33), (12, 5, 3)):
        for filters in (range(5), (4,), (3, 4, 1)):
            pixels = generator.choice(np.array([0, 1, 127, 128, 254, 255], np.uint8), shape)
            files.append(write_png(pixels, [filters[row % len(filters)] for row in range(shape[0])]))
    for mode in ("1", "P", "LA", "RGBA", "I;16"):
        buffer = io.BytesIO()
        levels = generator.integers(0, 256, (9, 11, 4), np.uint8)
        image = (
            Image.fromarray(levels[..., 0].astype(np.uint16))
            if mode == "I;16"
            else Image.fromarray(levels).convert(mode)
        )
        image.save(buffer, "PNG")
        files.append(buffer.getvalue())
    for bits, colour in ((8, 0), (8, 2), (2, 0), (16, 6)):
        raw = zlib.compress(bytes(generator.integers(0, 2, 2000, np.uint8)))
        start = SIGNATURE + header(9, 7, bits=bits, colour=colour, interlace=1)
        files.append(start + chunk(b"IDAT", raw) + chunk(b"IEND", b""))
    return [take_apart(content) for content in files]


def take_apart(content: bytes) -> Chunks:
    chunks, at = [], len(SIGNATURE)
    while at < len(content):
        length = int.from_bytes(content[at : at + 4])
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    return chunks


def other_seeds() -> list[bytes]:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 11, 3), np.uint8))
    seeds = []
    for name, options in (
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("BMP", {}),
        ("TIFF", {}),
        *(("TIFF", {"compression": name}) for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
    ):
        for mode in ("L", "RGB"):
            buffer = io.BytesIO()
            image.convert(mode).save(buffer, name, **options)
            seeds.append(buffer.getvalue())
    return seeds


def main() -> int:
    # libpng, as OpenCV calls it to compare, prints its opinion of each file.
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stderr.fileno())
    return campaign(__doc__, 20_000, fuzz)


if __name__ == "__main__":
    sys.exit(main())
