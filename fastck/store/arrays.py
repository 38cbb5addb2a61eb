"""The arrays of a store in the making: which rows belong to whom, and whether they still hold what was written."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from fastck.config import PreprocessConfig
from fastck.store.files import allocate, sync
from fastck.store.plan import PlannedSequence
from fastck.store.reader import BOXES, array_layout, checksum, open_array

State = Literal["open", "closing", "lost"]


def rows_of(planned: PlannedSequence, name: str) -> tuple[int, int]:
    """Return the first row and the number of rows of a sequence in an array of the planned shape."""
    return (planned.frame_start, planned.n_frames) if name == BOXES else (planned.start, planned.length)


class StoreArrays:
    """The boxes and features of a store that is being written.

    Parameters
    ----------
    path : Path
        The store's folder.
    config : PreprocessConfig
    plan : sequence of PlannedSequence
    """

    def __init__(self, path: Path, config: PreprocessConfig, plan: Sequence[PlannedSequence]) -> None:
        self.path = path
        self.plan = plan
        self.names: tuple[str, ...] = (BOXES, *config.features)
        self._layouts = {name: array_layout(name, config.faces.side) for name in self.names}

    def dtype(self, name: str) -> np.dtype[Any]:
        """Return an array's dtype."""
        return self._layouts[name][1]

    @cached_property
    def totals(self) -> dict[str, int]:
        """Rows of each array while the store is in the making, with room for sequences that will fail."""
        return {name: sum(rows_of(planned, name)[1] for planned in self.plan) for name in self.names}

    def planned_shape(self, name: str) -> tuple[int, ...]:
        """Return an array's shape while the store is in the making."""
        return (self.totals[name], *self._layouts[name][0])

    def closed_shape(self, name: str, good: Iterable[PlannedSequence]) -> tuple[int, ...]:
        """Return an array's shape in the finished store, which holds the good sequences only."""
        return (sum(rows_of(planned, name)[1] for planned in good), *self._layouts[name][0])

    def n_bytes(self) -> int:
        """Return what the arrays take on disk."""
        return sum(int(np.prod(self.planned_shape(name))) * self.dtype(name).itemsize for name in self.names)

    def allocate(self) -> None:
        """Create every array with its blocks reserved."""
        for name in self.names:
            allocate(self._file(name), self.planned_shape(name), self.dtype(name))

    def sync(self) -> None:
        """Have all rows on disk when this returns."""
        for name in self.names:
            sync(self._file(name))

    # -- What is there ------------------------------------------------------------------------------------------------
    def state(self, done: dict[str, dict[str, Any]]) -> State:
        """Return in what state the arrays are.

        Parameters
        ----------
        done : dict of str to dict
            What the journal says of the sequences that are done.

        Returns
        -------
        state : {"open", "closing", "lost"}
            "open": all have the planned shape. "closing": every sequence is done, and a run was killed while it took
            the rows of quarantined sequences out. "lost": an array is missing, damaged, or somebody else's.
        """
        try:
            shapes = {name: open_array(self._file(name)).shape for name in self.names}
        except (OSError, ValueError):
            return "lost"
        if all(shape == self.planned_shape(name) for name, shape in shapes.items()):
            return "open"
        good = self.good(done)
        known = all(
            shape in (self.planned_shape(name), self.closed_shape(name, good)) for name, shape in shapes.items()
        )
        return "closing" if known and len(done) == len(self.plan) else "lost"

    def spoilt(self, done: dict[str, dict[str, Any]]) -> set[str]:
        """Return the finished sequences whose rows are not what was written; the arrays have to be "open".

        A kill spoils nothing. A power cut may: the journal can be on disk before the rows it counts on.
        """
        arrays = {name: open_array(self._file(name)) for name in self.names}
        return {
            planned.sequence
            for planned in self.good(done)
            for name, array in arrays.items()
            if checksum(_rows(array, planned, name)) != done[planned.sequence]["crc32"].get(name)
        }

    def good(self, done: dict[str, dict[str, Any]]) -> list[PlannedSequence]:
        """Return the sequences that are done and not quarantined."""
        return [planned for planned in self.plan if "row" in done.get(planned.sequence, {})]

    # -- Closing and opening ------------------------------------------------------------------------------------------
    def close(self, good: Sequence[PlannedSequence]) -> dict[str, dict[str, Any]]:
        """Take the rows of all other sequences out; return each array's shape and dtype, as the manifest has them."""
        for name in self.names:
            shape = self.closed_shape(name, good)
            source = open_array(self._file(name))
            # An array that has this shape already was closed by a run that was killed after it.
            if source.shape != shape:
                self._replace(name, shape, (_rows(source, planned, name) for planned in good))
        return {
            name: {"shape": list(self.closed_shape(name, good)), "dtype": self.dtype(name).str} for name in self.names
        }

    def reopen(self, good: Sequence[PlannedSequence]) -> None:
        """Give closed arrays their planned shape again, with room for the sequences that were taken out."""
        kept = {planned.sequence for planned in good}
        for name in self.names:
            source = open_array(self._file(name))
            shape = self.planned_shape(name)
            if source.shape != shape:
                self._replace(name, shape, _spread(source, self.plan, kept, name))

    def _replace(self, name: str, shape: tuple[int, ...], parts: Iterable[NDArray[Any]]) -> None:
        temporary = self.path / f"{name}.npy.tmp"
        allocate(temporary, shape, self.dtype(name))
        target = open_memmap(temporary, mode="r+")
        row = 0
        for part in parts:
            target[row : row + len(part)] = part
            row += len(part)
        target.flush()
        temporary.replace(self._file(name))

    def _file(self, name: str) -> Path:
        return self.path / f"{name}.npy"


def _rows(array: NDArray[Any], planned: PlannedSequence, name: str) -> NDArray[Any]:
    start, length = rows_of(planned, name)
    return array[start : start + length]


def _spread(source: NDArray[Any], plan: Sequence[PlannedSequence], kept: set[str], name: str) -> Iterable[NDArray[Any]]:
    """Yield each planned sequence's rows of a closed array, zeros for those that it does not hold."""
    row = 0
    for planned in plan:
        length = rows_of(planned, name)[1]
        if planned.sequence in kept:
            yield source[row : row + length]
            row += length
        else:
            yield np.zeros((length, *source.shape[1:]), source.dtype)
