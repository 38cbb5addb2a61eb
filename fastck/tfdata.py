"""From a store to tf.data: shuffled indices, cut in batches, each gathered from the memmap in one vectorised call."""

import time
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any, Protocol

import numpy as np
import pandas as pd
import tensorflow as tf

from fastck.config import TIMESTEPS
from fastck.store.frames import EARLIEST_END, LARGEST_SHIFT, Padding, as_frames, frame_shape, mirrored, padding_before

# Batches prepared ahead while the network computes: one is enough where input is quick, a second absorbs a slow disk.
PREFETCH = 2


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
        """Return the padded sequences at `indices`, each ended earlier, moved in time, and half of them mirrored.

        Moved by up to LARGEST_SHIFT steps: earlier or later within the padding; where all padding stands before the
        sequence, its last steps are left out or its last step is held.

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
        shift = rng.integers(-LARGEST_SHIFT, LARGEST_SHIFT, size=len(indices), endpoint=True)
        out = self._padded(self._start[indices], length, shift)
        for sequence in np.flatnonzero(rng.random(len(indices)) < 0.5):
            out[sequence] = mirrored(out[sequence], self._feature)
        self.seconds += time.perf_counter() - began
        return out

    def _padded(self, start: np.ndarray, length: np.ndarray, shift: np.ndarray | int = 0) -> np.ndarray:
        """Return `length` rows of each sequence from `start` on, zero steps around them, moved by `shift` steps."""
        timesteps, last = self.shape[0], length - 1
        skipped = np.zeros_like(length)
        if self._padding == "before":
            moved = np.maximum(length + shift, 1)
            length = np.minimum(moved, timesteps)
            skipped = moved - length
            left = padding_before(length, timesteps, self._padding)
        else:
            left = np.clip(padding_before(length, timesteps, self._padding) + shift, 0, timesteps - length)
        batch = np.repeat(np.arange(len(start)), length)
        step = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
        row = np.minimum(np.repeat(skipped, length) + step, np.repeat(last, length))
        values = as_frames(self._values[np.repeat(start, length) + row], self._feature)
        out = np.zeros((len(start), *self.shape, self.channels), dtype=np.float32)
        out[batch, np.repeat(left, length) + step] = values
        return out


def batches(
    store: SequenceStore,
    sequences: Sequence[str],
    *,
    feature: str,
    classes: Sequence[int],
    timesteps: int = TIMESTEPS,
    batch_size: int = 64,
    shuffle: bool = False,
    seed: int = 0,
    epoch: int = 0,
    epochs: int = 1,
    too_long: str = "error",
) -> tf.data.Dataset:
    """Return padded, one-hot labelled batches of a store's sequences as a tf.data.Dataset.

    Parameters
    ----------
    store : Store
        Holds the feature; read batch by batch from its memmap.
    sequences : sequence of str
        Names, in the order of an unshuffled pass.
    feature : str
        "projection", "pool134", "pool67", "pool34", "mask" (unpacked here to 0 and 1), "flow" or "flow_projection".
    classes : sequence of int
        Emotion codes; the position is the class index.
    timesteps : int
        Zeros before and after bring every sequence to this length: left ceil(rest / 2) (paper, fig. 11).
    batch_size : int
        Sequences per batch; the last one may be smaller.
    shuffle : bool
        Draw a new order for every pass, from `seed` and the pass's number alone: iterating over the dataset again, as
        Keras does for each epoch, goes on counting passes.
    seed : int
        Seed of the orders.
    epoch, epochs : int
        Number of the first pass, and how many passes one iteration holds. Pass 7 has the same order whether it was
        reached in one go or not.
    too_long : {"error", "skip", "first", "last"}
        For sequences with more than `timesteps` rows: raise, leave out, or keep the first or last rows.

    Returns
    -------
    dataset : tf.data.Dataset
        Of ((B, timesteps, rows, columns, channels) float32, (B, n_classes) float32 one-hot); one channel, three for
        "flow".

    Raises
    ------
    ValueError
        If a sequence is unknown, has another emotion, or is too long.
    """
    gather = Gather(store, sequences, feature=feature, classes=classes, timesteps=timesteps, too_long=too_long)
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    first_passes = count(epoch, epochs)

    def draw() -> Iterator[np.ndarray]:
        """Positions of one iteration's batches."""
        for order in pass_orders(len(gather), shuffle=shuffle, seed=seed, epoch=next(first_passes), epochs=epochs):
            yield from _cut(order, batch_size)

    positions = tf.data.Dataset.from_generator(draw, output_signature=tf.TensorSpec((None,), tf.int64))
    targets = tf.constant(gather.targets)

    def load(rows: Any) -> tuple[Any, Any]:
        return _values(gather, rows), tf.gather(targets, rows)

    dataset = positions.map(load, num_parallel_calls=1, deterministic=True)
    return _prefetched(dataset, epochs * -(-len(gather) // batch_size))


def _cut(order: np.ndarray, batch_size: int) -> list[np.ndarray]:
    return [order[first : first + batch_size] for first in range(0, len(order), batch_size)]


def _values(gather: Gather, positions: Any, seed: Any = None) -> Any:
    """Gather one batch within a tf.data pipeline, augmented where there is a seed."""
    if seed is None:
        values = tf.numpy_function(gather, [positions], tf.float32, stateful=False)
    else:
        values = tf.numpy_function(gather.augmented, [positions, seed], tf.float32, stateful=False)
    values.set_shape((None, *gather.shape, gather.channels))
    return values


def _prefetched(dataset: tf.data.Dataset, length: int) -> tf.data.Dataset:
    return dataset.apply(tf.data.experimental.assert_cardinality(length)).prefetch(PREFETCH)


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


def gathered(
    gather: Gather,
    pieces: Sequence[np.ndarray],
    weights: Sequence[np.ndarray] | None = None,
    seeds: Sequence[int] | None = None,
) -> tf.data.Dataset:
    """Dataset that gathers `pieces` (positions) one after another.

    With `weights` each sequence has a sample weight; with `seeds`, one for each piece, the sequences are augmented.
    """
    longest = max((len(piece) for piece in pieces), default=0)
    # One rectangular array instead of ragged pieces: positions, filled with -1 that each row cuts off again.
    table = np.full((len(pieces), longest), -1, dtype=np.int64)
    for row, piece in zip(table, pieces, strict=True):
        row[: len(piece)] = piece
    scale = np.zeros(table.shape, dtype=np.float32)
    for factors, weight in zip(scale, weights or (), strict=weights is not None):
        factors[: len(weight)] = weight
    draws = np.zeros(len(pieces), np.int64) if seeds is None else np.asarray(seeds, np.int64)
    targets = tf.constant(gather.targets)

    def load(positions: Any, factors: Any, seed: Any) -> tuple[Any, ...]:
        real = tf.boolean_mask(positions, positions >= 0)
        values = _values(gather, real, None if seeds is None else seed)
        if weights is None:
            return values, tf.gather(targets, real)
        return values, tf.gather(targets, real), tf.boolean_mask(factors, positions >= 0)

    rows = tf.data.Dataset.from_tensor_slices((table, scale, draws))
    return _prefetched(rows.map(load, num_parallel_calls=1, deterministic=True), len(pieces))
