"""The journal, and what it says of the sequences that are done, in columns: there may be a million of them.

The journal is a file of JSON lines that only grows, each with its checksum: what a kill tears or a disk damages does
not count.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import deflate
import numpy as np
from numpy.typing import NDArray

from fastck.outputs import write_atomically
from fastck.store.plan import Plan

GOOD, QUARANTINED = 1, 2
# Columns of the store's table that a worker finds out.
FOUND = ("height", "width", "n_missed", "n_box_changes", "n_people", "motion", "motion_at_box_changes")
_COUNTS = FOUND[:5]
NO_CHECKSUM = -1


# -- The journal ------------------------------------------------------------------------------------------------------
def write_journal(path: Path, entries: Iterable[dict[str, Any]]) -> None:
    """Begin a journal with some entries, in place of what was there."""
    write_atomically(path, map(journal_line, entries))


def append_journal(path: Path, lines: bytes) -> None:
    """Add lines with one write; a line before them that a kill has torn stays behind, alone."""
    with path.open("a+b") as file:
        size = file.tell()
        file.seek(max(size - 1, 0))
        torn = size and file.read(1) != b"\n"
        file.write(b"\n" * bool(torn) + lines)


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the entries of the whole lines in order."""
    with path.open("rb") as file:
        for content in file:
            text, _, found = content.decode(errors="replace").rstrip("\r\n").rpartition("\t")
            if text and found == _sum(text):
                yield json.loads(text)


def journal_line(values: dict[str, Any]) -> bytes:
    """Return the line of an entry."""
    text = json.dumps(values)
    return f"{text}\t{_sum(text)}\n".encode()


def _sum(text: str) -> str:
    return f"{deflate.crc32(text.encode()):08x}"


# -- What is done -----------------------------------------------------------------------------------------------------
def row_type(arrays: Sequence[str]) -> np.dtype[Any]:
    """Return the dtype of an entry: index in the plan, state, what was found, and a checksum for each array."""
    found = [(name, "i4" if name in _COUNTS else "f8") for name in FOUND]
    return np.dtype([("index", "i4"), ("state", "u1"), *found, ("crc32", "i8", (len(arrays),))])


@dataclass(frozen=True)
class Entries:
    """The journal's entries of some sequences, which a worker may have made in another process.

    Attributes
    ----------
    lines : bytes
        For the journal.
    rows : ndarray of `row_type`
        The same for `Finished`.
    reasons : dict of int to str
        Why sequences go to the quarantine, by their indices in the plan.
    """

    lines: bytes
    rows: NDArray[np.void]
    reasons: dict[int, str]

    @classmethod
    def of(cls, entries: Iterable[tuple[int, str, dict[str, Any]]], arrays: Sequence[str]) -> "Entries":
        """Return the entries of sequences, each given by its index in the plan, its id, and the entry."""
        listed = list(entries)
        lines = b"".join(journal_line({"sequence": sequence, **entry}) for _, sequence, entry in listed)
        return cls(lines, *entry_rows(((index, entry) for index, _, entry in listed), arrays))


def entry_rows(
    entries: Iterable[tuple[int, dict[str, Any]]], arrays: Sequence[str]
) -> tuple[NDArray[np.void], dict[int, str]]:
    """Return entries as rows, and the reasons of those that go to the quarantine."""
    rows: list[tuple[Any, ...]] = []
    reasons: dict[int, str] = {}
    nothing = (0,) * len(FOUND)
    no_sums = (NO_CHECKSUM,) * len(arrays)
    for index, entry in entries:
        if "row" in entry:
            # Of a journal without it nobody knows the number of people.
            found, sums = {"n_people": 0, **entry["row"]}, entry["crc32"]
            crc32 = tuple(int(sums[name], 16) if name in sums else NO_CHECKSUM for name in arrays)
            rows.append((index, GOOD, *(found[name] for name in FOUND), crc32))
        else:
            reasons[index] = entry["reason"]
            rows.append((index, QUARANTINED, *nothing, no_sums))
    return np.array(rows, row_type(arrays)), reasons


class Finished:
    """The sequences that are done, and what came of them.

    Parameters
    ----------
    plan : Plan
    arrays : sequence of str
        The store's arrays, in the order of the checksums.

    Attributes
    ----------
    rows : ndarray of `row_type`, one for each planned sequence
        Its state is 0 where it is still to do.
    reasons : dict of int to str
        Why sequences are in quarantine, by index.
    """

    def __init__(self, plan: Plan, arrays: Sequence[str]) -> None:
        self._plan = plan
        self.arrays = tuple(arrays)
        self.rows = np.zeros(len(plan), row_type(arrays))
        self.reasons: dict[int, str] = {}

    def __len__(self) -> int:
        return int(np.count_nonzero(self.rows["state"]))

    def __contains__(self, sequence: object) -> bool:
        index = self._plan.find(str(sequence))
        return index is not None and bool(self.rows["state"][index])

    @property
    def good(self) -> NDArray[np.bool_]:
        """Whether each planned sequence is done and not quarantined: (sequences,) bool."""
        return self.rows["state"] == GOOD

    @property
    def to_do(self) -> NDArray[np.int64]:
        """The indices of the sequences that are not done."""
        return np.flatnonzero(self.rows["state"] == 0)

    def take(self, rows: NDArray[np.void], reasons: dict[int, str]) -> None:
        """Take entries in; a sequence's last one counts."""
        self.rows[rows["index"]] = rows
        if self.reasons:
            for index in rows["index"].tolist():
                self.reasons.pop(index, None)
        self.reasons.update(reasons)

    def drop(self, indices: NDArray[np.int64]) -> None:
        """Forget what was said of some sequences."""
        self.rows["state"][indices] = 0
        for index in indices.tolist():
            self.reasons.pop(index, None)

    def drop_quarantined(self) -> None:
        """Forget what was said of the sequences in quarantine."""
        self.rows["state"][self.rows["state"] == QUARANTINED] = 0
        self.reasons.clear()
