"""dlib's bilinear resize, bit for bit: one gray level more would shift a window's score by 1e-3.

The arithmetic follows dlib 20, image_transforms/interpolation.h. A pixel is a sum of four products, rounded. Here each
source row is interpolated once and two of them are mixed, which is less work and rounds otherwise: the two sums are
within 1.7e-4 of each other. So where a sum is further than that from a half, both round to one gray level; where it is
not, which is one pixel of some thousand, the sum is taken again as dlib does.
"""

import numpy as np

from fastck.kernels import kernel
from fastck.kernels.vectors import copy_all, copy_five_of_six, mix16

ONE = np.float32(65536)  # a gray level in units of mix16
TIE = 12  # of these units, 1.8e-4 gray levels; both sums together are off by less than 1.7e-4


@kernel(fastmath={"contract"})
def _interpolate(left, right, fractions, n, out):
    """Mix n columns' left and right pixels: uint8 -> float32."""
    for c in range(n):
        first = np.float32(left[c])
        out[c] = first + fractions[c] * (np.float32(right[c]) - first)


@kernel
def _mix_exactly(spread, top, bottom, fractions, exact, begin, end, out):
    """Columns of an output row as dlib's SIMD loop has them: float32 sums in its order, rounded half up."""
    one = np.float32(1)
    half = np.float32(0.49999997)  # v + this truncates to v rounded half up for every float32 in 0 to 255
    top_left, top_right = spread[top & 1, 0], spread[top & 1, 1]
    bottom_left, bottom_right = spread[bottom & 1, 0], spread[bottom & 1, 1]
    low = np.float32(exact)
    high = np.float32(1.0 - exact)
    for c in range(begin, end):
        x = fractions[c]
        y = one - x
        value = (
            (high * y) * np.float32(top_left[c])
            + (high * x) * np.float32(top_right[c])
            + (low * y) * np.float32(bottom_left[c])
            + (low * x) * np.float32(bottom_right[c])
        )
        out[c] = np.uint8(np.int32(value + half))


@kernel
def resize(source, width, out, double, runs, fractions, lanes, tops, row_fractions, spread, line, mixed):
    """Bilinear resize as dlib's: (H, >= width+32) uint8 -> (h, >= n+32) uint8, n columns of `fractions` (n+16).

    Behind each row, of the source too, its last pixel is repeated once. Each source row is first spread to the
    output's columns, once the pixel left of each and once the one right of it, and these are mixed to `mixed`
    (2, n+16). Columns mostly read every pixel but each sixth one, so `runs` (K, 2) lists where 16 pixels are copied to
    and from at once; with `double` the row's pixels are repeated before and copied without a gap. The first `lanes`
    columns are dlib's SIMD ones (float32, rounded), the others its scalar ones (truncated).
    """
    columns = fractions.size - 16
    last = source.shape[0] - 1
    one = np.float32(1)
    shift = ONE / np.float32(2) + np.float32(TIE)
    held_even = -1
    held_odd = -1
    for r in range(out.shape[0]):
        top = tops[r]
        bottom = min(top + 1, last)
        for row in range(top, bottom + 1):
            if row & 1:
                if held_odd == row:
                    continue
                held_odd = row
            else:
                if held_even == row:
                    continue
                held_even = row
            left = spread[row & 1, 0]
            right = spread[row & 1, 1]
            if double:
                pixels = source[row]
                for c in range(width + 1):
                    line[2 * c] = pixels[c]
                    line[2 * c + 1] = pixels[c]
                for k in range(runs.shape[0]):
                    to = np.uint64(runs[k, 0])
                    of = np.uint64(runs[k, 1])
                    copy_all(left, to, line, of)
                    copy_all(right, to, line, of + np.uint64(2))
            else:
                start = np.uint64(row * source.shape[1])
                for k in range(runs.shape[0]):
                    to = np.uint64(runs[k, 0])
                    of = start + np.uint64(runs[k, 1])
                    copy_five_of_six(left, to, source, of)
                    copy_five_of_six(right, to, source, of + np.uint64(1))
            _interpolate(left, right, fractions, lanes, mixed[row & 1])
        exact = row_fractions[r]
        above, below = mixed[top & 1], mixed[bottom & 1]
        low = np.float32(exact) * ONE
        high = np.float32(1.0 - exact) * ONE
        result = out[r]
        for c in range(0, lanes, 16):
            if mix16(above, below, np.uint64(c), high, low, shift, np.uint16(2 * TIE), result, np.uint64(c)):
                _mix_exactly(spread, top, bottom, fractions, exact, c, min(c + 16, lanes), result)
        top_left, top_right = spread[top & 1, 0], spread[top & 1, 1]
        bottom_left, bottom_right = spread[bottom & 1, 0], spread[bottom & 1, 1]
        for c in range(lanes, columns):
            x = fractions[c]
            y = one - x
            over = np.float32(y * np.float32(top_left[c]) + x * np.float32(top_right[c]))
            under = np.float32(y * np.float32(bottom_left[c]) + x * np.float32(bottom_right[c]))
            result[c] = np.uint8(np.int32(np.float32((1.0 - exact) * np.float64(over) + exact * np.float64(under))))
        result[columns] = result[columns - 1]
