"""Boxes that a user brings along: a CSV in place of detection."""

import hashlib
import io
from bisect import bisect_left
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fastck.faces.box import FaceBox

COLUMNS = ("sequence", "frame", "top", "left", "bottom", "right")
_READ_LINES = 100_000  # that are in memory as text at once


class BoxFile:
    """The boxes of a CSV file, the largest of each frame; in columns, as there may be millions.

    Parameters
    ----------
    names : sequence of str
        Ids of the sequences.
    which : ndarray of shape (boxes,), int64
        Which of the names each box belongs to.
    boxes : ndarray of shape (boxes, 5), int64
        Frame (counted from 1), top, left, bottom, right.
    digest : str
        Names the file's content in a store's configuration.
    """

    def __init__(self, names: list[str], which: NDArray[np.int64], boxes: NDArray[np.int64], digest: str) -> None:
        by_name = sorted(range(len(names)), key=names.__getitem__)
        rank = np.empty(len(names), np.int64)
        rank[by_name] = np.arange(len(names))
        owner = rank[which]
        frame, top, left, bottom, right = boxes.T
        # Sorting keeps the order of equals: of two largest boxes the first stays.
        order = np.lexsort((-(bottom - top) * (right - left), frame, owner))
        keys = np.stack((owner, frame), axis=1)[order]
        first = np.r_[True, np.any(keys[1:] != keys[:-1], axis=1)][: len(order)]
        self.sequences = [names[number] for number in by_name]
        self.digest = digest
        # Asked for a million times, one sequence at a time: a view's numbers are Python's.
        self._boxes = boxes[order[first]].ravel().data
        self._starts = np.searchsorted(keys[first, 0], np.arange(len(names) + 1)).data

    @classmethod
    def of(cls, boxes: Mapping[str, Mapping[int, FaceBox]], digest: str) -> "BoxFile":
        """Return what a file with these boxes gives, by sequence and frame."""
        rows = [(which, frame, *box) for which, frames in enumerate(boxes.values()) for frame, box in frames.items()]
        numbers = np.array(rows, np.int64).reshape(-1, 6)
        return cls(list(boxes), numbers[:, 0], numbers[:, 1:], digest)

    def found(self, sequence: str, n_frames: int) -> list[FaceBox | None]:
        """Return a sequence's box for each frame, None where the file has none."""
        found: list[FaceBox | None] = [None] * n_frames
        index = bisect_left(self.sequences, sequence)
        if index < len(self.sequences) and self.sequences[index] == sequence:
            cells = iter(self._boxes[5 * self._starts[index] : 5 * self._starts[index + 1]].tolist())
            for frame, top, left, bottom, right in zip(cells, cells, cells, cells, cells, strict=True):
                if frame <= n_frames:
                    found[frame - 1] = FaceBox(top, left, bottom, right)
        return found


def read_boxes(path: str | Path) -> BoxFile:
    """Read face boxes from a CSV with the columns sequence, frame, top, left, bottom, right.

    Parameters
    ----------
    path : path-like
        ``frame`` counts from 1 within the sequence. Edges are pixels, half-open: ``gray[top:bottom, left:right]``. A
        frame without a row counts as a frame without a face; of several rows of a frame the largest box counts, the
        first of equals. Further columns, such as a score, are left alone.

    Returns
    -------
    boxes : BoxFile

    Raises
    ------
    ValueError
        If a column is missing, a value is not a whole number, or a box is empty or has a negative edge.
    """
    data = Path(path).read_bytes()
    numbers: dict[str, int] = {}
    which, boxes, line = [np.empty(0, np.int64)], [np.empty((0, 5), np.int64)], 2
    try:
        with pd.read_csv(io.BytesIO(data), dtype="str", keep_default_na=False, chunksize=_READ_LINES) as tables:
            for table in tables:
                missing = [name for name in COLUMNS if name not in table.columns]
                if missing:
                    expected = f"must have the columns {', '.join(COLUMNS)}, it lacks {', '.join(missing)}"
                    raise ValueError(f"{path} {expected}")
                boxes.append(_whole_numbers(table, path, line))
                which.append(np.array([numbers.setdefault(name, len(numbers)) for name in table["sequence"]], np.int64))
                line += len(table)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a CSV file: {error}") from error
    digest = hashlib.sha256(data).hexdigest()[:16]
    return BoxFile(list(numbers), np.concatenate(which), np.concatenate(boxes), digest)


def _whole_numbers(table: pd.DataFrame, path: str | Path, line: int) -> NDArray[np.int64]:
    """Return frames and edges as numbers, (rows, 5) int64; the first row is that line of the file."""
    texts = table[list(COLUMNS[1:])].to_numpy(object)
    try:
        numbers = texts.astype(np.int64)
    except (ValueError, OverflowError):
        for below, row in enumerate(texts.tolist()):
            try:
                np.array(list(map(int, row)), np.int64)
            except (ValueError, OverflowError):
                raise ValueError(f"{path} line {line + below}: whole numbers expected, got {row}") from None
        raise
    frame, top, left, bottom, right = numbers.T
    wrong = np.flatnonzero((frame < 1) | (top < 0) | (left < 0) | (bottom <= top) | (right <= left))
    if len(wrong):
        values = ", ".join(texts[wrong[0]])
        raise ValueError(
            f"{path} line {line + int(wrong[0])}: frame >= 1, 0 <= top < bottom, 0 <= left < right expected, "
            f"got {values}"
        )
    return numbers
