"""Boxes that a user brings along: a CSV in place of detection."""

import hashlib
from bisect import bisect_left
from collections.abc import Mapping
from itertools import islice
from operator import itemgetter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fastck.dataset.csvfile import csv_rows
from fastck.faces.box import FaceBox
from fastck.messages import one_line, some_names

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

    def strangers(self, n_frames: Mapping[str, int]) -> list[str]:
        """Return a line for boxes of sequences that are not there, and one for boxes of frames that they do not have.

        Parameters
        ----------
        n_frames : mapping of sequence id to int
            The sequences that there are, with their number of frames.
        """
        lines = []
        unknown = [name for name in self.sequences if name not in n_frames]
        if unknown:
            lines.append(
                f"boxes of {len(unknown)} sequences that are not there, {some_names(unknown)}: left out; those "
                f"that are there are called {some_names(list(n_frames), 3)}"
            )
        frames = np.asarray(self._boxes)[::5]
        beyond = []
        for index, name in enumerate(self.sequences):
            # They stand in the order of their frames.
            last = frames[self._starts[index + 1] - 1]
            if last > n_frames.get(name, last):
                beyond.append(f"frame {last} of {one_line(name)}, which has {n_frames[name]}")
        if beyond:
            lines.append(f"boxes of frames that {len(beyond)} sequences do not have, {beyond[0]}: left out")
        return lines

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
        If a column is missing, a value is not a whole number, a quote is stray, or a box is empty or has a negative
        edge; the text names the line.
    """
    rows = csv_rows(path)
    _, columns = next(rows)
    missing = [name for name in COLUMNS if name not in columns]
    if missing:
        raise ValueError(
            f"{path} is not a CSV file with the columns {', '.join(COLUMNS)}: it lacks {', '.join(missing)}"
        )
    cells_of = itemgetter(*map(columns.index, COLUMNS))
    no_cells = [""] * len(columns)
    numbers: dict[str, int] = {}
    which, boxes = [np.empty(0, np.int64)], [np.empty((0, 5), np.int64)]
    while part := list(islice(rows, _READ_LINES)):
        cells = [cells_of(row if len(row) >= len(columns) else row + no_cells) for _, row in part]
        boxes.append(_whole_numbers([row[1:] for row in cells], path, [line for line, _ in part]))
        which.append(np.array([numbers.setdefault(row[0], len(numbers)) for row in cells], np.int64))
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
    return BoxFile(list(numbers), np.concatenate(which), np.concatenate(boxes), digest)


def _whole_numbers(rows: list[tuple[str, ...]], path: str | Path, lines: list[int]) -> NDArray[np.int64]:
    """Return frames and edges as numbers, (rows, 5) int64, of rows that begin in those lines of the file."""
    try:
        numbers = np.array(rows, object).astype(np.int64)
    except (ValueError, OverflowError):
        for line, row in zip(lines, rows, strict=True):
            try:
                np.array(list(map(int, row)), np.int64)
            except (ValueError, OverflowError):
                raise ValueError(f"{path} line {line}: whole numbers expected, got {list(row)}") from None
        raise
    frame, top, left, bottom, right = numbers.T
    wrong = np.flatnonzero((frame < 1) | (top < 0) | (left < 0) | (bottom <= top) | (right <= left))
    if len(wrong):
        values = ", ".join(rows[wrong[0]])
        raise ValueError(
            f"{path} line {lines[wrong[0]]}: frame >= 1, 0 <= top < bottom, 0 <= left < right expected, got {values}"
        )
    return numbers
