"""Padded batches of a store: orders of passes, cut in batches, each gathered from the memmap in one call."""

import time
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import pandas as pd

from fastck.config import TIMESTEPS
from fastck.store.frames import EARLIEST_END, Padding, as_frames, frame_shape, mirrored, padding_before


class SequenceStore(Protocol):
    """What this module needs of a fastck.store.reader.Store."""

    @property
    def table(self) -> pd.DataFrame: ...  # noqa: D102

    def feature(self, name: str) -> np.ndarray: ...  # noqa: D102


class Gather:
    """Reads padded batches of one feature: call it with positions in `sequences`.

    Attributes
    ----------
    shape : tuple of int
        (timesteps, rows, columns) of one padded sequence.
    channels : int
        Values of each place: three for "flow", one for all others.
    targets : ndarray of shape (n_sequences, n_classes), float32
        One-hot emotions.
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
        classes: Sequence[int],
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
        strange = rows.index[~rows["emotion"].isin(list(classes)).to_numpy(dtype=bool)]
        if len(strange):
            odd = rows.loc[strange, "emotion"].iloc[0]
            raise ValueError(f"sequence {strange[0]} has emotion {odd}, not one of {tuple(classes)}")
        self.sequences = tuple(str(name) for name in rows.index)
        self.seconds = 0.0
        self._values = store.feature(feature)
        self._feature, self._padding = feature, padding
        lengths = rows["length"].to_numpy(dtype=np.int64)
        self._length = np.minimum(lengths, timesteps)
        self._start = rows["start"].to_numpy(dtype=np.int64) + (lengths - self._length if too_long == "last" else 0)
        height, width, self.channels = frame_shape(feature, self._values.shape[1:])
        self.shape = (timesteps, height, width)
        codes = rows["emotion"].to_numpy(dtype=np.int64)
        self.targets = (codes[:, None] == np.asarray(classes)[None, :]).astype(np.float32)

    def __len__(self) -> int:
        return len(self.sequences)

    def __call__(self, indices: np.ndarray) -> np.ndarray:
        """Return the padded sequences at `indices`: (B, timesteps, rows, columns, channels) float32."""
        began = time.perf_counter()
        out = self._padded(self._start[indices], self._length[indices])
        self.seconds += time.perf_counter() - began
        return out

    def augmented(self, indices: np.ndarray, seed: int) -> np.ndarray:
        """Return the padded sequences at `indices`, each ending earlier or later and half of them mirrored.

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
        length = np.maximum(np.ceil(shares * self._length[indices]).astype(np.int64), 1)
        out = self._padded(self._start[indices], length)
        for sequence in np.flatnonzero(rng.random(len(indices)) < 0.5):
            out[sequence] = mirrored(out[sequence], self._feature)
        self.seconds += time.perf_counter() - began
        return out

    def _padded(self, start: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Return `length` rows of each sequence from `start` on, with zero steps around them."""
        batch = np.repeat(np.arange(len(start)), length)
        step = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
        left = padding_before(length, self.shape[0], self._padding)
        values = as_frames(self._values[np.repeat(start, length) + step], self._feature)
        out = np.zeros((len(start), *self.shape, self.channels), dtype=np.float32)
        out[batch, np.repeat(left, length) + step] = values
        return out


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
        for first in range(0, len(order), batch_size):
            batch = order[first : first + batch_size]
            for piece in np.array_split(batch, micro_batches):
                share = micro_batches * len(piece) / len(batch)
                pieces.append(piece if len(piece) else batch[:1])
                weights.append(np.full(max(len(piece), 1), share, dtype=np.float32))
    return pieces, weights
