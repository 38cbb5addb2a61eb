"""A file of JSON lines that only grows, each with its checksum: what a kill tears or a disk spoils does not count."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from fastck.store.files import write_atomically
from fastck.store.reader import checksum


def write(path: Path, lines: Iterable[dict[str, Any]]) -> None:
    """Begin a journal with some lines, in place of what was there."""
    write_atomically(path, b"".join(map(_line, lines)))


def append(path: Path, lines: Iterable[dict[str, Any]]) -> None:
    """Add lines with one write; a line before them that a kill has torn stays behind, alone."""
    with path.open("a+b") as file:
        size = file.tell()
        file.seek(max(size - 1, 0))
        torn = size and file.read(1) != b"\n"
        file.write(b"\n" * bool(torn) + b"".join(map(_line, lines)))


def read(path: Path) -> list[dict[str, Any]]:
    """Return the whole lines in order."""
    lines = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        text, _, found = line.rpartition("\t")
        if text and found == _sum(text):
            lines.append(json.loads(text))
    return lines


def _line(values: dict[str, Any]) -> bytes:
    text = json.dumps(values)
    return f"{text}\t{_sum(text)}\n".encode()


def _sum(text: str) -> str:
    return checksum(np.frombuffer(text.encode(), np.uint8))
