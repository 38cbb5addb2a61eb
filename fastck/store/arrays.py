"""The arrays of a store in the making: which rows belong to whom, and whether they still hold what was written."""

from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import deflate
import numpy as np
from numpy.typing import NDArray

from fastck.config import PreprocessConfig
from fastck.outputs import replacing
from fastck.store.files import allocate, copy_rows, read_pieces, sync
from fastck.store.finished import Finished
from fastck.store.plan import Plan
from fastck.store.reader import BOXES, array_layout, open_array

State = Literal["open", "closing", "lost"]
# Rows that are copied: the first one's number before, the first one's number after, and how many.
Move = tuple[int, int, int]


class StoreArrays:
    """The boxes and features of a store that is being written.

    Parameters
    ----------
    path : Path
        The store's folder.
    config : PreprocessConfig
    plan : Plan
    """

    def __init__(self, path: Path, config: PreprocessConfig, plan: Plan) -> None:
        self.path = path
        self.plan = plan
        self.names: tuple[str, ...] = (BOXES, *config.features)
        self._side = config.faces.side
        self._layouts = {name: array_layout(name, config.faces.side) for name in self.names}

    def dtype(self, name: str) -> np.dtype[Any]:
        """Return an array's dtype."""
        return self._layouts[name][1]

    @cached_property
    def totals(self) -> dict[str, int]:
        """Rows of each array while the store is in the making, with room for sequences that will fail."""
        return {name: int(self.plan.rows(name)[1].sum()) for name in self.names}

    def planned_shape(self, name: str) -> tuple[int, ...]:
        """Return an array's shape while the store is in the making."""
        return (self.totals[name], *self._layouts[name][0])

    def closed_shape(self, name: str, good: NDArray[np.bool_]) -> tuple[int, ...]:
        """Return an array's shape in the finished store, which holds the good sequences only."""
        return (int(self.plan.rows(name)[1][good].sum()), *self._layouts[name][0])

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
    def state(self, done: Finished) -> State:
        """Return in what state the arrays are.

        Parameters
        ----------
        done : Finished
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
        good = done.good
        known = all(
            shape in (self.planned_shape(name), self.closed_shape(name, good)) for name, shape in shapes.items()
        )
        return "closing" if known and len(done) == len(self.plan) else "lost"

    def is_like(self, name: str) -> bool:
        """Return whether a file has an array's name and its kind of rows, whatever their number."""
        try:
            array = open_array(self._file(name))
        except (OSError, ValueError):
            return False
        return (array.shape[1:], array.dtype) == array_layout(name, self._side)

    def damaged(self, done: Finished) -> NDArray[np.int64]:
        """Return the indices of finished sequences whose rows are not what was written; the arrays have to be "open".

        A kill damages nothing. A power cut may: the journal can be on disk before the rows it counts on.
        """
        good = np.flatnonzero(done.good)
        wrong = np.zeros(len(good), bool)
        for column, name in enumerate(self.names):
            starts, counts = (numbers[good] for numbers in self.plan.rows(name))
            found = np.fromiter(self._checksums(name, starts, counts), np.int64, len(good))
            wrong |= found != done.rows["crc32"][good, column]
        return good[wrong]

    def _checksums(self, name: str, starts: NDArray[np.int64], counts: NDArray[np.int64]) -> Iterator[int]:
        """Yield the CRC-32 of some stretches of rows. Read and not mapped: mapped rows would count as memory."""
        for pieces in read_pieces(self._file(name), starts, counts):
            crc32 = 0
            for piece in pieces:
                crc32 = deflate.crc32(piece, crc32)
            yield crc32

    # -- Closing and opening ------------------------------------------------------------------------------------------
    def close(self, good: NDArray[np.bool_]) -> dict[str, dict[str, Any]]:
        """Take the rows of all other sequences out; return each array's shape and dtype, as the manifest has them."""
        layouts = {}
        for name in self.names:
            shape = self.closed_shape(name, good)
            # An array that has this shape already was closed by a run that was killed after it.
            if open_array(self._file(name)).shape != shape:
                self._replace(name, shape, self._moves(name, good))
            layouts[name] = {"shape": list(shape), "dtype": self.dtype(name).str}
        return layouts

    def reopen(self, good: NDArray[np.bool_]) -> None:
        """Give closed arrays their planned shape again, with room for the sequences that were taken out."""
        for name in self.names:
            shape = self.planned_shape(name)
            if open_array(self._file(name)).shape != shape:
                back = ((closed, planned, count) for planned, closed, count in self._moves(name, good))
                self._replace(name, shape, back)

    def _moves(self, name: str, good: NDArray[np.bool_]) -> Iterator[Move]:
        """Yield the stretches of good sequences' rows: where they are in the planned array and in the closed one."""
        starts, counts = self.plan.rows(name)
        edges = np.flatnonzero(np.diff(np.r_[False, good, False]))
        closed = 0
        for first, end in edges.reshape(-1, 2).tolist():
            count = int(counts[first:end].sum())
            yield int(starts[first]), closed, count
            closed += count

    def _replace(self, name: str, shape: tuple[int, ...], moves: Iterable[Move]) -> None:
        """Put an array of another shape, zeros but for the rows that are moved, in the place of the old one."""
        with replacing(self._file(name)) as temporary:
            allocate(temporary, shape, self.dtype(name))
            copy_rows(self._file(name), temporary, moves)
            sync(temporary)

    def _file(self, name: str) -> Path:
        return self.path / f"{name}.npy"
