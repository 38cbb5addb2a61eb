"""From a store to tf.data: shuffled indices, cut in batches, each gathered from the memmap in one vectorised call."""

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

import numpy as np
import tensorflow as tf

from fastck.batches.gather import Gather, SequenceStore
from fastck.batches.orders import PREFETCH, cut_batches, pass_orders
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

    def draw() -> Iterator[np.ndarray]:
        """Positions of one iteration's batches."""
        for order in pass_orders(len(gather), shuffle=shuffle, seed=seed, epoch=next(first_passes), epochs=epochs):
            yield from cut_batches(order, batch_size)

    positions = tf.data.Dataset.from_generator(draw, output_signature=tf.TensorSpec((None,), tf.int64))
    targets = tf.constant(gather.targets)

    def load(rows: Any) -> tuple[Any, Any]:
        return _values(gather, rows), tf.gather(targets, rows)

    dataset = positions.map(load, num_parallel_calls=1, deterministic=True)
    return _prefetched(dataset, epochs * -(-len(gather) // batch_size))


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
