"""Batches from a store: padded sequences of one feature, copied out of its memmap in one call, and their orders."""

import time
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fastck.batches.padding import (
    EARLIEST_END,
    LARGEST_SHIFT,
    Padding,
    as_frames,
    frame_shape,
    mirrored,
    move,
    padding_before,
)
from fastck.config import TIMESTEPS
from fastck.ops.checks import empty_aligned

if TYPE_CHECKING:
    import pandas as pd

# Batches prepared ahead while the network computes: one is enough where input is quick, a second absorbs a slow disk.
PREFETCH = 2


class SequenceStore(Protocol):
    """What this module needs of a fastck.store.reader.Store."""

    @property
    def table(self) -> "pd.DataFrame": ...  # noqa: D102

    def feature(self, name: str) -> Any: ...  # noqa: D102


class Gather:
    """Reads padded batches of one feature: call it with positions in `sequences`.

    A pickled one holds no values: where it is loaded, it opens the store's file anew.

    Attributes
    ----------
    shape : tuple of int
        (timesteps, rows, columns) of one padded sequence.
    channels : int
        Values of each pixel or cell: three for "flow", two for "flow_projection", one for all others.
    lengths : ndarray of shape (n_sequences,), int64
        Steps of each sequence, without its padding.
    classes : ndarray of shape (n_sequences,), int64
        Each sequence's class: its label's position in the classes.
    targets : ndarray of shape (n_sequences, n_classes), float32
        The same, one-hot.
    seconds : float
        Time spent gathering so far.
    cut : dict of str to int
        Sequences longer than `timesteps`, with their true length in steps.
    """

    def __init__(
        self,
        store: SequenceStore,
        sequences: Sequence[str],
        *,
        feature: str,
        classes: Sequence[int] | Sequence[str],
        timesteps: int = TIMESTEPS,
        too_long: str = "error",
        padding: Padding = "both",
    ) -> None:
        if too_long not in ("error", "skip", "first", "last"):
            raise ValueError(f"too_long must be one of error, skip, first, last, got {too_long!r}")
        rows = store.table.set_index("sequence")
        missing = [name for name in sequences if name not in rows.index]
        if missing:
            raise ValueError(f"{len(missing)} sequences are not in the store, for example {missing[0]!r}")
        rows = rows.loc[list(sequences)]
        long = rows.index[rows["length"] > timesteps]
        self.cut: dict[str, int] = {str(name): int(length) for name, length in rows.loc[long, "length"].items()}
        if self.cut and too_long == "error":
            name, length = next(iter(self.cut.items()))
            raise ValueError(
                f"{len(self.cut)} sequences have more than timesteps={timesteps} steps, for example {name} "
                f"with {length}; raise timesteps, or choose too_long='last', 'first' or 'skip'"
            )
        if too_long == "skip":
            rows = rows.drop(long)
        self.sequences = tuple(str(name) for name in rows.index)
        self.classes = class_positions(rows, classes)
        self.targets = np.eye(len(classes), dtype=np.float32)[self.classes]
        self.seconds = 0.0
        self._store, self._feature, self._padding = store, feature, padding
        lengths = rows["length"].to_numpy(dtype=np.int64)
        self.lengths = np.minimum(lengths, timesteps)
        self._start = rows["start"].to_numpy(dtype=np.int64) + (lengths - self.lengths if too_long == "last" else 0)
        height, width, self.channels = frame_shape(feature, self._values.shape[1:])
        self.shape = (timesteps, height, width)

    @cached_property
    def _values(self) -> Any:
        values = self._store.feature(self._feature)
        # A plain array on the same mapped file: slices of a memmap object take several times as long. Rows of several
        # stores stay where they are.
        return np.asarray(values) if isinstance(values, np.ndarray) else values

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_values"}

    def __len__(self) -> int:
        return len(self.sequences)

    def __call__(self, indices: np.ndarray) -> np.ndarray:
        """Return the padded sequences at `indices`: (B, timesteps, rows, columns, channels) float32."""
        out = empty_aligned((len(indices), *self.shape, self.channels))
        self.fill(indices, out)
        return out

    def fill(self, indices: np.ndarray, out: NDArray[np.float32]) -> None:
        """Write the padded sequences at `indices` to `out`.

        Parameters
        ----------
        indices : ndarray of shape (B,), int64
        out : ndarray of shape (B, timesteps, rows, columns, channels), float32
            Overwritten; may be a view of an array that has its axes in another order.
        """
        began = time.perf_counter()
        self._fill(self._start[indices], self.lengths[indices], out)
        self.seconds += time.perf_counter() - began

    def steps(self, index: int) -> NDArray[Any]:
        """Return one sequence without padding: (length, rows, columns, channels), in the store's dtype."""
        start = self._start[index]
        return as_frames(self._values[start : start + self.lengths[index]], self._feature)

    def augmented(self, indices: np.ndarray, seed: int) -> np.ndarray:
        """Return the padded sequences at `indices`, each ended earlier, moved in time, and half of them mirrored.

        Parameters
        ----------
        indices : ndarray of shape (B,), int64
        seed : int
            Decides what becomes of each.

        Returns
        -------
        values : ndarray of shape (B, timesteps, rows, columns, channels), float32
        """
        began = time.perf_counter()
        rng = np.random.default_rng(seed)
        shares = rng.uniform(EARLIEST_END, 1, size=len(indices))
        length = np.maximum(np.ceil(shares * self.lengths[indices]).astype(np.int64), 1)
        out = empty_aligned((len(indices), *self.shape, self.channels))
        self._fill(self._start[indices], length, out)
        for sequence in np.flatnonzero(rng.random(len(indices)) < 0.5):
            out[sequence] = mirrored(out[sequence], self._feature)
        shifts = rng.integers(-LARGEST_SHIFT, LARGEST_SHIFT, size=len(indices), endpoint=True)
        for frames, steps, shift in zip(out, length.tolist(), shifts.tolist(), strict=True):
            move(frames, steps, shift, self._padding)
        self.seconds += time.perf_counter() - began
        return out

    def _fill(self, start: np.ndarray, length: np.ndarray, out: np.ndarray) -> None:
        """Write `length` rows of each sequence from `start` on, with zero steps around them."""
        first = padding_before(length, self.shape[0], self._padding)
        # Python's own numbers: NumPy's take several times as long in a slice.
        limits = np.stack([start, start + length, first, first + length], axis=1).tolist()
        for frames, (begin, end, left, right) in zip(out, limits, strict=True):
            frames[:left] = 0
            frames[left:right] = as_frames(self._values[begin:end], self._feature)
            frames[right:] = 0


def class_positions(table: "pd.DataFrame", classes: Sequence[int] | Sequence[str]) -> NDArray[np.int64]:
    """Return the position in `classes` of each row's label.

    Parameters
    ----------
    table : DataFrame
        Of a store, with the sequences as its index.
    classes : sequence of str or of int
        Labels, or CK+'s codes of emotions.

    Raises
    ------
    TypeError, ValueError
        If the classes are not of one kind, are not different ones, or a sequence has none of them.
    """
    names = [kind for kind in classes if isinstance(kind, str)]
    if names and len(names) < len(classes):
        raise TypeError(f"classes must be labels or codes, not both, got {tuple(classes)}")
    if isinstance(classes, str) or not len(classes) or len(set(classes)) < len(classes):
        raise ValueError(f"classes must be a sequence of different labels or codes, got {classes!r}")
    column = "label" if names else "emotion"
    position_of = {kind: position for position, kind in enumerate(classes)}
    positions = np.array([position_of.get(value, -1) for value in table[column]], dtype=np.int64)
    strange = np.flatnonzero(positions < 0)
    if len(strange):
        odd = table[column].iloc[strange[0]]
        shown = repr(odd) if names else odd
        raise ValueError(f"sequence {table.index[strange[0]]} has {column} {shown}, not one of {tuple(classes)}")
    return positions


def cut_batches(order: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Cut an order of positions into batches; the last one may be smaller."""
    return [order[first : first + batch_size] for first in range(0, len(order), batch_size)]


def pass_orders(n: int, *, shuffle: bool, seed: int, epoch: int = 0, epochs: int = 1) -> list[np.ndarray]:
    """Orders of passes `epoch` to `epoch + epochs - 1` over n sequences, each drawn from (seed, its number)."""
    if not shuffle:
        return [np.arange(n)] * epochs
    return [np.random.default_rng((seed, number)).permutation(n) for number in range(epoch, epoch + epochs)]


def accumulation_pieces(
    orders: Sequence[np.ndarray], *, batch_size: int, micro_batches: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Cut each batch into the same number of micro-batches, weighted so that their gradients' mean is the batch's.

    Keras sums the gradients of `micro_batches` steps and divides by that number, whatever each held. A batch of 34 in
    8 micro-batches makes pieces of 5 and 4; the weight 8 * 5 / 34 of a piece restores the mean over 34. Where a
    batch has fewer sequences than micro-batches, pieces of one sequence with weight 0 fill up.

    Parameters
    ----------
    orders : sequence of ndarray
        Positions, one array per pass.
    batch_size : int
        Sequences per optimizer step.
    micro_batches : int
        Pieces per optimizer step.

    Returns
    -------
    pieces, weights : list of ndarray
        Positions (int64) and weights (float32) of each micro-batch.
    """
    pieces, weights = [], []
    for order in orders:
        for batch in cut_batches(order, batch_size):
            for piece in np.array_split(batch, micro_batches):
                share = micro_batches * len(piece) / len(batch)
                pieces.append(piece if len(piece) else batch[:1])
                weights.append(np.full(max(len(piece), 1), share, dtype=np.float32))
    return pieces, weights
