"""Batches for Keras: tf.data where TensorFlow is the backend, elsewhere a thread that gathers ahead."""

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import keras
import numpy as np

from fastck.batches.gather import PREFETCH, Gather, cut_batches
from fastck.training.models.backends import current_backend


class Feed(keras.utils.PyDataset):
    """Gathers pieces of a store in a thread, ahead of the network and across the ends of epochs, on the GPU if any.

    Parameters
    ----------
    gather : Gather
    pieces : sequence of ndarray of int64
        Positions of each batch, pass after pass.
    weights : sequence of ndarray of float32, optional
        Sample weights of each batch.
    seeds : sequence of int, optional
        One for each batch: its sequences are augmented.
    steps : int, optional
        Batches of one pass; all by default. Behind the last piece the first one follows again.

    Attributes
    ----------
    waited : float
        Seconds that the network waited for a batch so far.
    """

    def __init__(
        self,
        gather: Gather,
        pieces: Sequence[np.ndarray],
        weights: Sequence[np.ndarray] | None = None,
        seeds: Sequence[int] | None = None,
        steps: int | None = None,
    ) -> None:
        super().__init__()
        self.waited = 0.0
        self._gather, self._pieces, self._weights, self._seeds = gather, pieces, weights, seeds
        self._steps = len(pieces) if steps is None else steps
        self._first = 0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="fastck-feed")
        self._ahead: dict[int, Future[Any]] = {}

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        """Return batch `index` of this pass: values, targets and, where there are any, sample weights."""
        began = time.perf_counter()
        wanted = [(self._first + index + more) % len(self._pieces) for more in range(1 + PREFETCH)]
        position = wanted[0]
        ahead = {other: self._ahead.get(other) or self._thread.submit(self._values, other) for other in wanted}
        values = ahead.pop(position).result()
        self._ahead = ahead
        self.waited += time.perf_counter() - began
        targets = self._gather.targets[self._pieces[position]]
        return (values, targets) if self._weights is None else (values, targets, self._weights[position])

    def start_pass(self, number: int) -> None:
        """Go on with the first piece of a pass, counted from 0.

        Keras' own `on_epoch_end` does not tell it: Keras calls it while it builds a network, too.
        """
        self._first = number * self._steps

    def _values(self, position: int) -> Any:
        piece = self._pieces[position]
        values = self._gather(piece) if self._seeds is None else self._gather.augmented(piece, self._seeds[position])
        return current_backend().on_device(values)


def training_feed(
    gather: Gather,
    pieces: Sequence[np.ndarray],
    weights: Sequence[np.ndarray] | None,
    seeds: Sequence[int] | None,
    steps: int,
) -> Any:
    """Return what Keras trains on: `pieces`, pass after pass, each of `steps` batches."""
    if current_backend().FEED == "tf.data":
        from fastck.tfdata import gathered

        return gathered(gather, lambda: pieces, len(pieces), weights, seeds)
    return Feed(gather, pieces, weights, seeds, steps)


def in_order(gather: Gather, batch_size: int) -> Any:
    """Return batches of all sequences of a gather, in its order."""
    pieces = cut_batches(np.arange(len(gather)), batch_size)
    return training_feed(gather, pieces, None, None, len(pieces))
