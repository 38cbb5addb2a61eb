"""Writes one sequence's rows into a store, from any thread, process or machine that reaches its folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from fastck.store.files import write_rows
from fastck.store.plan import PlannedSequence
from fastck.store.reader import checksum


class SequenceWriter:
    """Knows where a sequence's rows go, and what the journal has to say of them.

    Parameters
    ----------
    path : Path
        The store's folder; absolute, as the writer may be sent to another process.
    spans : dict of str to (int, int)
        For each array the sequence's first row and its number of rows.
    totals : dict of str to int
        Rows of each array in all.
    """

    def __init__(self, path: Path, spans: dict[str, tuple[int, int]], totals: dict[str, int]) -> None:
        self._path = path
        self._spans = spans
        self._totals = totals
        self._written = dict.fromkeys(spans, 0)
        self._sums = dict.fromkeys(spans, "00000000")

    def write(self, rows: Mapping[str, NDArray[Any]]) -> None:
        """Write the next rows of some arrays.

        Raises
        ------
        ValueError
            If there are more rows than were planned, or the store was closed or replaced meanwhile.
        OSError
            If they cannot be written.
        """
        for name, values in rows.items():
            start, length = self._spans[name]
            written = self._written[name] + len(values)
            if written > length:
                raise ValueError(f"{name} takes {length} rows of this sequence, got {written}")
            write_rows(self._path / f"{name}.npy", start + self._written[name], values, self._totals[name])
            self._written[name] = written
            self._sums[name] = checksum(values, self._sums[name])

    def entry(self, row: dict[str, float]) -> dict[str, Any]:
        """Return the journal's entry of the finished sequence; `row` is what `finished.FOUND` names.

        Raises
        ------
        ValueError
            If rows are missing.
        """
        missing = [name for name, (_, length) in self._spans.items() if self._written[name] != length]
        if missing:
            raise ValueError(f"rows of {', '.join(missing)} are missing")
        return {"row": row, "crc32": self._sums}


@dataclass(frozen=True)
class RowTarget:
    """Where the rows of all sequences of a store go; may be sent to another process.

    Attributes
    ----------
    path : Path
        The store's folder; absolute.
    totals : dict of str to int
        Rows of each array in all.
    """

    path: Path
    totals: dict[str, int]

    @property
    def arrays(self) -> tuple[str, ...]:
        """Names of the arrays, in the order of the checksums."""
        return tuple(self.totals)

    def writer(self, planned: PlannedSequence) -> SequenceWriter:
        """Return what writes one sequence's rows."""
        return SequenceWriter(self.path, {name: planned.rows(name) for name in self.totals}, self.totals)
