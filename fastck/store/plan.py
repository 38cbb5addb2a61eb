"""Which rows of a store belong to which sequence, and the record of its input: settled before any decoding."""

import os
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from fastck.dataset.records import SequenceRecord, relative_place
from fastck.store.reader import BOXES, plain_text

if TYPE_CHECKING:
    import pandas as pd

# Columns of a store's input that only some have.
_ADDED: dict[str, Callable[[SequenceRecord], str]] = {
    "label": lambda record: record.label if record.emotion is None else "",
    "fold": lambda record: record.fold,
}
_PART = 1000  # sequences whose columns are made Python's numbers at once


class PlannedSequence(NamedTuple):
    """One sequence's share of the store: known before anything is decoded."""

    sequence: str
    subject: str
    emotion: int | None
    n_frames: int
    folder: str
    fingerprint: str  # changes when a file of the sequence does
    start: int
    frame_start: int
    label: str = ""
    onset: int | None = None
    fold: str = ""

    @property
    def length(self) -> int:
        """Rows in the feature arrays: one per pair of successive frames."""
        return max(self.n_frames - 1, 0)

    def rows(self, array: str) -> tuple[int, int]:
        """Return the first row and the number of rows in an array of the planned shape."""
        return (self.frame_start, self.n_frames) if array == BOXES else (self.start, self.length)


class Plan(Sequence[PlannedSequence]):
    """The sequences of a store in the making, each with its rows, whether it will turn out good or not.

    A million of them take 40 bytes each beside their records: a `PlannedSequence` is made when it is asked for.

    Parameters
    ----------
    records : sequence of SequenceRecord
        Sorted by sequence.
    root : Path
        The data set's.
    fingerprints : ndarray of shape (sequences,), bytes
        As `fastck.dataset.files.look_at_files` gives them.

    Attributes
    ----------
    records : sequence of SequenceRecord
    n_frames, length : ndarray of shape (sequences,), int64
        Frames, and rows in the feature arrays.
    """

    def __init__(self, records: Sequence[SequenceRecord], root: Path, fingerprints: NDArray[np.bytes_]) -> None:
        self.records = records
        self._root = root
        self._above = f"{root}/"
        self.n_frames = np.fromiter((record.n_frames for record in records), np.int64, len(records))
        self.length = np.maximum(self.n_frames - 1, 0)
        self._starts = first_rows(self.length)
        self._frame_starts = first_rows(self.n_frames)
        self._fingerprints = fingerprints

    def __len__(self) -> int:
        return len(self.records)

    @overload
    def __getitem__(self, index: int) -> PlannedSequence: ...
    @overload
    def __getitem__(self, index: slice) -> list[PlannedSequence]: ...
    def __getitem__(self, index: int | slice) -> PlannedSequence | list[PlannedSequence]:
        if isinstance(index, slice):
            return list(self.some(np.arange(*index.indices(len(self)))))
        return next(self.some(np.array([range(len(self))[index]])))

    def some(self, indices: NDArray[np.int64]) -> Iterator[PlannedSequence]:
        """Yield the sequences at some indices; a third of the cost of asking for one after the other."""
        columns = (self.n_frames, self._fingerprints, self._starts, self._frame_starts)
        for at in range(0, len(indices), _PART):
            part = indices[at : at + _PART]
            rows = zip(part.tolist(), *(column[part].tolist() for column in columns), strict=True)
            for index, n_frames, fingerprint, start, frame_start in rows:
                record = self.records[index]
                yield PlannedSequence(
                    record.sequence,
                    record.subject,
                    record.emotion,
                    n_frames,
                    self._folder(record),
                    fingerprint.decode(),
                    start,
                    frame_start,
                    record.label,
                    record.onset,
                    record.fold,
                )

    def find(self, sequence: str) -> int | None:
        """Return the index of a sequence; None where it is not planned."""
        index = bisect_left(self.records, sequence, key=lambda record: record.sequence)
        return index if index < len(self) and self.records[index].sequence == sequence else None

    def rows(self, array: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the first row and the number of rows of every sequence in an array of the planned shape."""
        return (self._frame_starts, self.n_frames) if array == BOXES else (self._starts, self.length)

    def inputs(self) -> "pd.DataFrame":
        """Return the record of the store's input: one row per sequence."""
        import pandas as pd

        columns = self.input_columns(0, len(self))
        with plain_text():
            return pd.DataFrame(columns | {"emotion": pd.array(columns["emotion"], "Int64")})

    def input_columns(self, start: int, stop: int) -> dict[str, list[Any]]:
        """Return the cells of `inputs` from one sequence to before another; None is an empty one.

        Labels that are no emotion's name, and folds, have columns of their own where there are any.
        """
        records = self.records[start:stop]
        return {
            "sequence": [record.sequence for record in records],
            "subject": [record.subject for record in records],
            "emotion": [record.emotion for record in records],
            "n_frames": self.n_frames[start:stop].tolist(),
            "folder": [self._folder(record) for record in records],
            "fingerprint": [digits.decode() for digits in self._fingerprints[start:stop].tolist()],
            **{name: [_ADDED[name](record) for record in records] for name in self._added},
        }

    @cached_property
    def _added(self) -> list[str]:
        return [name for name, cell in _ADDED.items() if any(map(cell, self.records))]

    def folders(self, indices: Iterable[int]) -> list[str]:
        """Return sequences' folders, or their video files, relative to the root."""
        return [self._folder(self.records[index]) for index in indices]

    def _folder(self, record: SequenceRecord) -> str:
        path = record.path
        if path.startswith(self._above) and ".." not in path:
            return path[len(self._above) :]
        return relative_place(path, os.path.realpath(self._root))


def first_rows(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where each sequence's rows begin when all lie one after another."""
    return np.cumsum(counts) - counts
