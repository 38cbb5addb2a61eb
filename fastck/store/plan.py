"""Which rows of a store belong to which sequence, and what its input is known by: settled before any decoding."""

import os
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, overload

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fastck.dataset.records import SequenceRecord
from fastck.store.reader import BOXES, plain_text


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
        self.n_frames = np.fromiter((record.n_frames for record in records), np.int64, len(records))
        self.length = np.maximum(self.n_frames - 1, 0)
        self._starts = first_rows(self.length)
        self._frame_starts = first_rows(self.n_frames)
        self._fingerprints = fingerprints

    def __len__(self) -> int:
        return len(self.records)

    @overload
    def __getitem__(self, place: int) -> PlannedSequence: ...
    @overload
    def __getitem__(self, place: slice) -> list[PlannedSequence]: ...
    def __getitem__(self, place: int | slice) -> PlannedSequence | list[PlannedSequence]:
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        record = self.records[place]
        return PlannedSequence(
            record.sequence,
            record.subject,
            record.emotion,
            int(self.n_frames[place]),
            record_folder(record, self._root),
            self._fingerprints[place].decode(),
            int(self._starts[place]),
            int(self._frame_starts[place]),
            record.label,
            record.onset,
            record.fold,
        )

    def place(self, sequence: str) -> int | None:
        """Return the place of a sequence; None where it is not planned."""
        place = bisect_left(self.records, sequence, key=lambda record: record.sequence)
        return place if place < len(self) and self.records[place].sequence == sequence else None

    def rows(self, array: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the first row and the number of rows of every sequence in an array of the planned shape."""
        return (self._frame_starts, self.n_frames) if array == BOXES else (self._starts, self.length)

    def inputs(self) -> pd.DataFrame:
        """Return what the store's input is known by: one row per sequence.

        Labels that are no emotion's name, and folds, have columns of their own where there are any.
        """
        columns = {
            "sequence": [record.sequence for record in self.records],
            "subject": [record.subject for record in self.records],
            "emotion": pd.array([record.emotion for record in self.records], "Int64"),
            "n_frames": self.n_frames,
            "folder": self.folders(range(len(self))),
            "fingerprint": [digits.decode() for digits in self._fingerprints.tolist()],
        }
        added = {
            "label": [record.label if record.emotion is None else "" for record in self.records],
            "fold": [record.fold for record in self.records],
        }
        with plain_text():
            return pd.DataFrame(columns | {name: values for name, values in added.items() if any(values)})

    def folders(self, places: Iterable[int]) -> list[str]:
        """Return sequences' folders, or their video files, relative to the root."""
        return [record_folder(self.records[place], self._root) for place in places]


def first_rows(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where each sequence's rows begin when all lie one after another."""
    return np.cumsum(counts) - counts


def record_folder(record: SequenceRecord, root: Path) -> str:
    """Return a sequence's folder, or its video file, relative to the root."""
    place, above = record.place, f"{root}/"
    if place.startswith(above) and ".." not in place:
        return place[len(above) :]
    return Path(os.path.relpath(place, root)).as_posix()
