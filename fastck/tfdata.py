"""From a store to tf.data: shuffled indices, cut in batches, each gathered from the memmap in one vectorised call."""

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import numpy as np
import tensorflow as tf

from fastck.batches.gather import PREFETCH, Gather, SequenceStore, cut_batches, pass_orders
from fastck.config import TIMESTEPS


def batches(
    store: SequenceStore,
    sequences: Sequence[str],
    *,
    feature: str,
    classes: Sequence[int] | Sequence[str],
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
    classes : sequence of str or of int
        Labels, or CK+'s codes of emotions; the position is the class index.
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

    def draw() -> list[np.ndarray]:
        """Return positions of one iteration's batches."""
        orders = pass_orders(len(gather), shuffle=shuffle, seed=seed, epoch=next(first_passes), epochs=epochs)
        return [piece for order in orders for piece in cut_batches(order, batch_size)]

    return gathered(gather, draw, epochs * -(-len(gather) // batch_size))


def gathered(
    gather: Gather,
    draw: Callable[[], Sequence[np.ndarray]],
    length: int,
    weights: Sequence[np.ndarray] | None = None,
    seeds: Sequence[int] | None = None,
) -> tf.data.Dataset:
    """Return batches of sequences whose positions are named: what `batches` and training read.

    Parameters
    ----------
    gather : Gather
        Reads the sequences.
    draw : callable
        Called at the start of each iteration; returns the positions of each batch, int64.
    length : int
        Number of batches of an iteration.
    weights : sequence of ndarray of float32, optional
        Sample weights of each batch: the third part of what the dataset yields.
    seeds : sequence of int, optional
        One for each batch: its sequences are augmented.

    Returns
    -------
    dataset : tf.data.Dataset
        As `batches` returns it.
    """
    draws = np.zeros(length, np.int64) if seeds is None else np.asarray(seeds, np.int64)
    targets = tf.constant(gather.targets)

    def load(positions: Any, factors: Any, seed: Any) -> tuple[Any, ...]:
        real = positions >= 0
        rows = tf.boolean_mask(positions, real)
        read, given = (gather, [rows]) if seeds is None else (gather.augmented, [rows, seed])
        values = tf.numpy_function(read, given, tf.float32, stateful=False)
        values.set_shape((None, *gather.shape, gather.channels))
        labelled = values, tf.gather(targets, rows)
        return labelled if weights is None else (*labelled, tf.boolean_mask(factors, real))

    def drawn(_: Any) -> tf.data.Dataset:
        # One rectangular array instead of ragged pieces: positions, filled with -1 that each row cuts off again.
        table = tf.numpy_function(lambda: _rectangle(draw(), -1, np.int64), [], tf.int64)
        return tf.data.Dataset.from_tensor_slices(tf.ensure_shape(table, (length, None)))

    positions = tf.data.Dataset.range(1).flat_map(drawn)
    factors = tf.data.Dataset.from_tensor_slices(_rectangle(weights or [np.empty(0)] * length, 0, np.float32))
    rows = tf.data.Dataset.zip((positions, factors, tf.data.Dataset.from_tensor_slices(draws)))
    dataset = rows.map(load, num_parallel_calls=1, deterministic=True)
    return dataset.apply(tf.data.experimental.assert_cardinality(length)).prefetch(PREFETCH)


def _rectangle(pieces: Sequence[np.ndarray], fill: int, dtype: type[np.generic]) -> np.ndarray:
    """Return the pieces as rows of one array, filled up behind the shorter ones."""
    table = np.full((len(pieces), max(map(len, pieces), default=0)), fill, dtype=dtype)
    for row, piece in zip(table, pieces, strict=True):
        row[: len(piece)] = piece
    return table
