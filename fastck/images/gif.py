"""Animations whose damage FFmpeg passes over: it shows whatever it finds."""

from os import PathLike
from pathlib import Path

from fastck.images.header import ImageError
from fastck.messages import one_line


def check_gif(path: str | PathLike[str]) -> None:
    """Refuse an animation that is damaged, or whose blocks do not lead to its end.

    Raises
    ------
    ImageError
        If it is damaged or cut off.
    """
    # Pillow takes a while to load.
    from PIL import Image, ImageSequence

    try:
        with Image.open(path, formats=["GIF"]) as image:
            for frame in ImageSequence.Iterator(image):
                frame.load()
        _check_trailer(Path(path).read_bytes())
    except IndexError:
        raise ImageError("the animation is damaged or cut off: copy it again") from None
    # Pillow lets through whatever its parsing of a damaged file runs into.
    except Exception as error:
        raise ImageError(f"the animation is damaged or cut off: {one_line(error)}") from None


def _check_trailer(content: bytes) -> None:
    """Raise IndexError where the blocks do not lead to the byte that ends a file."""
    at = 13 + _colours(content[10])
    while content[at : at + 1] != b";":
        kind = content[at : at + 1]
        if kind == b",":
            at += 11 + _colours(content[at + 9])
        elif kind == b"!":
            at += 2
        elif kind:
            # Between two blocks stray bytes do no harm.
            at += 1
            continue
        while content[at]:
            at += 1 + content[at]
        at += 1


def _colours(flags: int) -> int:
    """Return the bytes of a table of colours."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0
