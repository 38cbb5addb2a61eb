"""A file of JSON lines that only grows, each with its checksum: what a kill tears or a disk spoils does not count."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import deflate

from fastck.outputs import write_atomically


def write(path: Path, entries: Iterable[dict[str, Any]]) -> None:
    """Begin a journal with some entries, in place of what was there."""
    write_atomically(path, map(line, entries))


def append(path: Path, lines: bytes) -> None:
    """Add lines with one write; a line before them that a kill has torn stays behind, alone."""
    with path.open("a+b") as file:
        size = file.tell()
        file.seek(max(size - 1, 0))
        torn = size and file.read(1) != b"\n"
        file.write(b"\n" * bool(torn) + lines)


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the entries of the whole lines in order."""
    with path.open("rb") as file:
        for content in file:
            text, _, found = content.decode(errors="replace").rstrip("\r\n").rpartition("\t")
            if text and found == _sum(text):
                yield json.loads(text)


def line(values: dict[str, Any]) -> bytes:
    """Return the line of an entry."""
    text = json.dumps(values)
    return f"{text}\t{_sum(text)}\n".encode()


def _sum(text: str) -> str:
    return f"{deflate.crc32(text.encode()):08x}"
