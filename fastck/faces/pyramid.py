"""Sizes, tables and buffers of dlib's image pyramid: everything about a search that follows from the image's size."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fastck.kernels.resize import resize_all

SMALLEST_LEVEL = 64  # pixels; scan_fhog_pyramid.h
CELL = 8  # pixels per side of a HOG cell
MARGIN = 32  # columns behind each row that vector copies may touch
VECTOR = 16  # columns behind the tables of columns that vectors may read


def round_away(x: float) -> int:
    """Round halves away from zero, as C's lround."""
    return int(np.floor(abs(x) + 0.5)) * (1 if x >= 0 else -1)


def doubled(shape: tuple[int, int]) -> tuple[int, int]:
    """Height and width of dlib's pyramid_up of an image."""
    return 2 * shape[0] + 1, 2 * shape[1] + 2


def count_levels(shape: tuple[int, int]) -> int:
    """How many levels dlib's scan_fhog_pyramid searches; the last one may be smaller than SMALLEST_LEVEL."""
    edges = [0.0, 0.0, shape[1] - 1, shape[0] - 1]
    levels = 0
    while True:
        edges = [float(round_away((edge - 0.3) * (5 / 6.0))) for edge in edges]
        levels += 1
        left, top, right, bottom = edges
        if right - left + 1 < SMALLEST_LEVEL or bottom - top + 1 < SMALLEST_LEVEL:
            return levels


def count_windows(shape: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of window positions on a level; positions count from 5 (half a filter)."""
    rows, columns = (max(int(np.float32(side) / np.float32(CELL) + 0.5) - 2, 0) for side in shape)
    return (rows, columns) if rows and columns else (0, 0)


def column_table(n_in: int, n_out: int) -> tuple[NDArray[np.int64], NDArray[np.float32], int]:
    """Source column, weight of its right neighbour and number of SIMD columns of dlib's bilinear resize.

    dlib steps four float32 positions along a row, whose rounding adds up; the columns that are left over are
    computed in double precision.
    """
    scale = (n_in - 1) / max(n_out - 1, 1)
    at = -4 * scale
    lanes = np.array([at, at + scale, at + 2 * scale, at + 3 * scale], np.float32)
    left: list[int] = []
    weight: list[np.float32] = []
    while True:
        lanes = lanes + np.float32(4 * scale)
        whole = lanes.astype(np.int32)
        if whole[3] + 1 >= n_in:
            break
        left += whole.tolist()
        weight += list(lanes - whole.astype(np.float32))
    n_lanes = len(left)
    at = -scale + n_lanes * scale
    for _ in range(n_lanes, n_out):
        at += scale
        left.append(int(np.floor(at)))
        weight.append(np.float32(at - np.floor(at)))
    return np.array(left, np.int64), np.array(weight, np.float32), n_lanes


def row_table(n_in: int, n_out: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Source row and weight of the row below it, summed up in double precision as dlib does."""
    scale = (n_in - 1) / max(n_out - 1, 1)
    at = np.cumsum(np.concatenate([[-scale], np.full(n_out, scale)]))[1:]
    top = np.floor(at)
    return top.astype(np.int64), at - top


def copy_runs(left: NDArray[np.int64], *, double: bool) -> NDArray[np.uint32]:
    """Group columns into copies of up to 16 pixels: (K, 2) of target and source positions.

    A copy leaves out each sixth source pixel. With `double` it leaves out none and the source holds every pixel twice,
    so position p stands for pixel p // 2.
    """
    steps = np.arange(16 if double else 13)
    reach = steps if double else steps + steps // 5
    runs = []
    c = 0
    while c < left.size:
        best = (0, 0)
        for source in (2 * left[c], 2 * left[c] + 1) if double else (left[c],):
            reads = (source + reach) // 2 if double else source + reach
            same = left[c : c + len(reads)] == reads[: left.size - c]
            best = max(best, (len(same) if same.all() else int(np.argmin(same)), int(source)))
        runs.append((c, best[1]))
        # Two groups of five are copied rather than the start of a third: the next copy has to begin with a group.
        c += best[0] if double or best[0] < 10 else 10
    return np.array(runs, np.uint32)


@dataclass(frozen=True)
class Resize:
    """What dlib's bilinear resize between two sizes reads where, and with which weights.

    Attributes
    ----------
    lanes : int
        Columns that dlib computes with SIMD.
    runs : ndarray of shape (K, 2), uint32
        From `copy_runs`.
    fractions : ndarray of shape (n + VECTOR,), float32
        Weight of each column's right pixel.
    tops, row_fractions : ndarray of shape (h,)
        From `row_table`.
    """

    lanes: int
    runs: NDArray[np.uint32]
    fractions: NDArray[np.float32]
    tops: NDArray[np.int64]
    row_fractions: NDArray[np.float64]


def plan_resize(old: tuple[int, int], new: tuple[int, int]) -> Resize:
    """Prepare dlib's bilinear resize from one (height, width) to another."""
    left, fractions, lanes = column_table(old[1], new[1])
    runs = copy_runs(left, double=new[1] > old[1])
    return Resize(lanes, runs, np.append(fractions, np.zeros(VECTOR, np.float32)), *row_table(old[0], new[0]))


def beginnings(lengths: list[int]) -> list[int]:
    """Return where each of some parts begins when they lie one behind the other, and where the last one ends."""
    return [0, *np.cumsum(lengths, dtype=np.int64).tolist()]


class Pyramid:
    """The levels dlib searches for images of one size.

    Parameters
    ----------
    shape : tuple of int
        Height and width of the images.
    upsample : int
        How often an image is doubled first.

    Attributes
    ----------
    shapes, windows : list of tuple of int
        Rows and columns of each level's pixels and of its window positions, largest level first.
    pixels : ndarray, uint8
        All images one behind the other: the frame, what it is doubled to, the levels.
    layout : ndarray of shape (L, 4), int64
        Offset in `pixels`, height, width and stride of each level.
    """

    def __init__(self, shape: tuple[int, int], upsample: int) -> None:
        sizes = [shape]
        for _ in range(upsample):
            sizes.append(doubled(sizes[-1]))
        for _ in range(1, count_levels(sizes[-1])):
            sizes.append((5 * sizes[-1][0] // 6, 5 * sizes[-1][1] // 6))
        self.shapes = sizes[upsample:]
        self.windows = [count_windows(shape) for shape in self.shapes]
        offsets = beginnings([height * (width + MARGIN) for height, width in sizes])
        layout = [(offset, *size, size[1] + MARGIN) for offset, size in zip(offsets, sizes, strict=False)]
        self.pixels = np.zeros(offsets[-1], np.uint8)
        self.layout = np.array(layout[upsample:], np.int64)
        images = [self.pixels[o : o + h * stride].reshape(h, stride) for o, h, _, stride in layout]
        self.images = images[upsample:]
        self._frame = images[0]
        resizes = [plan_resize(old, new) for old, new in pairwise(sizes)]
        runs = beginnings([len(resize.runs) for resize in resizes])
        columns = beginnings([resize.fractions.size for resize in resizes])
        rows = beginnings([resize.tops.size for resize in resizes])
        # Of each step: the images it reads and writes, its lanes, and where its part of each table begins and ends.
        self._steps = np.array(
            [
                (*old, *new, resize.lanes, *run, *column, row)
                for old, new, resize, run, column, row in zip(
                    layout, layout[1:], resizes, pairwise(runs), pairwise(columns), rows, strict=False
                )
            ],
            np.int64,
        ).reshape(-1, 14)
        widest = max(width for _, width in sizes)
        # Each with an empty part in front: an image of one level is never resized.
        self._tables = (
            np.concatenate([np.zeros((0, 2), np.uint32), *(resize.runs for resize in resizes)]),
            np.concatenate([np.zeros(0, np.float32), *(resize.fractions for resize in resizes)]),
            np.concatenate([np.zeros(0, np.int64), *(resize.tops for resize in resizes)]),
            np.concatenate([np.zeros(0), *(resize.row_fractions for resize in resizes)]),
        )
        self._buffers = (
            np.zeros((2, 2, widest + MARGIN), np.uint8),
            np.zeros(2 * widest + MARGIN, np.uint8),
            np.zeros((2, widest + VECTOR), np.float32),
        )

    def build(self, gray: NDArray[np.uint8]) -> None:
        """Fill the levels from an image."""
        width = gray.shape[1]
        self._frame[:, :width] = gray
        self._frame[:, width] = gray[:, -1]
        resize_all(self.pixels, self._steps, *self._tables, *self._buffers)
