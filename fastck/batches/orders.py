"""Orders of passes over a store's sequences, and how they are cut into batches and micro-batches."""

from collections.abc import Sequence

import numpy as np

# Batches prepared ahead while the network computes: one is enough where input is quick, a second absorbs a slow disk.
PREFETCH = 2


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
