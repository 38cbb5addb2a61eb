"""3x3 convolutions as products of matrices, with NumPy alone: maps to rows of neighbourhoods, and rows to maps."""

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

TAPS = 3  # of a filter, in each direction


def patches(maps: NDArray[np.float32], stride: int) -> NDArray[np.float32]:
    """Return 3x3 neighbourhoods as rows: (N, S, S, C) -> (N * (S / stride) ** 2, 9 * C) float32.

    Each cell's at a stride of 1; at a stride of 2, for S even, those that begin at every second cell. Zeros stand
    beyond the maps.
    """
    n, side, _, planes = maps.shape
    first = 2 - stride
    padded = np.zeros((n, first + side + 1, first + side + 1, planes), maps.dtype)
    padded[:, first:-1, first:-1] = maps
    seen = sliding_window_view(padded.reshape(*padded.shape[:2], -1), (TAPS, TAPS * planes), axis=(1, 2))
    return seen[:, ::stride, :: stride * planes].reshape(-1, TAPS**2 * planes)


def as_maps(rows: NDArray[np.float32], n: int) -> NDArray[np.float32]:
    """Return the rows of N square maps as maps again: (N * S * S, C) -> (N, S, S, C)."""
    side = math.isqrt(len(rows) // n)
    return rows.reshape(n, side, side, rows.shape[1])
