"""dlib's bilinear resize, bit for bit: one gray level more would shift a window's score by 1e-3.

The arithmetic follows dlib 20, image_transforms/interpolation.h. A pixel is a sum of four products, rounded. Here each
source row is interpolated once and two of them are mixed, which is less work and rounds otherwise: the two sums are
within 2e-4 of each other. So where a sum is further than that from a half, both round to one gray level; where it is
not, which is one pixel of some thousand, the sum is taken again as dlib does.
"""

import numpy as np

from fastck.kernels import kernel
from fastck.kernels.vectors import WHOLE, copy_all, copy_five_of_six, interpolate16, mix16

ONE = np.float32(32768)  # a gray level in units of mix16
TIE = 8  # of these units, 2.4e-4 gray levels; both sums together are off by less than 2e-4


@kernel
def _mix_exactly(spread, top, bottom, fractions, exact, c):
    """Return column c of an output row as dlib's SIMD loop has it: float32 sums in its order, rounded half up."""
    one = np.float32(1)
    half = np.float32(0.49999997)  # v + this truncates to v rounded half up for every float32 in 0 to 255
    low = np.float32(exact)
    high = np.float32(1.0 - exact)
    x = fractions[c]
    y = one - x
    value = (
        (high * y) * np.float32(spread[top & 1, 0, c])
        + (high * x) * np.float32(spread[top & 1, 1, c])
        + (low * y) * np.float32(spread[bottom & 1, 0, c])
        + (low * x) * np.float32(spread[bottom & 1, 1, c])
    )
    return np.uint8(np.int32(value + half))


@kernel
def resize(pixels, source, out, lanes, runs, fractions, tops, row_fractions, spread, line, mixed):
    """Bilinear resize as dlib's of one image of a flat array to another one, with n columns of `fractions` (n+16).

    `source` and `out` are offset, height, width and stride in `pixels`, uint8; a stride is 32 more than the width.

    Behind each row, of the source too, its last pixel is repeated once. Each source row is first spread to the
    output's columns, once the pixel left of each and once the one right of it, and these are mixed to `mixed`
    (2, n+16). Columns mostly read every pixel but each sixth one, so `runs` (K, 2) lists where 16 pixels are copied to
    and from at once; with `double` the row's pixels are repeated before and copied without a gap. The first `lanes`
    columns are dlib's SIMD ones (float32, rounded), the others its scalar ones (truncated).
    """
    of, height, width, pitch = source
    to, new_height, new_width, new_pitch = out
    columns = fractions.size - 16
    last = height - 1
    double = new_width > width
    one = np.float32(1)
    shift = np.float32(WHOLE) + ONE / np.float32(2) + np.float32(TIE)
    held_even = -1
    held_odd = -1
    for r in range(new_height):
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
                start = of + row * pitch
                for c in range(width + 1):
                    line[2 * c] = pixels[start + c]
                    line[2 * c + 1] = pixels[start + c]
                for k in range(runs.shape[0]):
                    into = np.uint64(runs[k, 0])
                    begin = np.uint64(runs[k, 1])
                    copy_all(left, into, line, begin)
                    copy_all(right, into, line, begin + np.uint64(2))
            else:
                first = np.uint64(of + row * pitch)
                for k in range(runs.shape[0]):
                    into = np.uint64(runs[k, 0])
                    begin = first + np.uint64(runs[k, 1])
                    copy_five_of_six(left, into, pixels, begin)
                    copy_five_of_six(right, into, pixels, begin + np.uint64(1))
            for c in range(0, lanes, 16):
                interpolate16(left, right, fractions, np.uint64(c), mixed[row & 1])
        exact = row_fractions[r]
        above, below = mixed[top & 1], mixed[bottom & 1]
        low = np.float32(exact) * ONE
        high = np.float32(1.0 - exact) * ONE
        result = pixels[to + r * new_pitch : to + (r + 1) * new_pitch]
        for c in range(0, lanes, 16):
            close = mix16(above, below, np.uint64(c), high, low, shift, np.int16(2 * TIE), result, np.uint64(c))
            if close:
                for lane in range(min(16, lanes - c)):
                    if close >> np.uint64(lane) & np.uint64(1):
                        result[c + lane] = _mix_exactly(spread, top, bottom, fractions, exact, c + lane)
        top_left, top_right = spread[top & 1, 0], spread[top & 1, 1]
        bottom_left, bottom_right = spread[bottom & 1, 0], spread[bottom & 1, 1]
        for c in range(lanes, columns):
            x = fractions[c]
            y = one - x
            over = np.float32(y * np.float32(top_left[c]) + x * np.float32(top_right[c]))
            under = np.float32(y * np.float32(bottom_left[c]) + x * np.float32(bottom_right[c]))
            result[c] = np.uint8(np.int32(np.float32((1.0 - exact) * np.float64(over) + exact * np.float64(under))))
        result[columns] = result[columns - 1]


@kernel
def resize_all(pixels, steps, runs, fractions, tops, row_fractions, spread, line, mixed):
    """Resize images of a flat array, each from one before it; their tables lie one behind the other.

    A row of `steps` (S, 14): offset, height, width and stride of the image that is read and of the one that is written;
    its lanes; where its part of `runs` and of `fractions` begins and ends; where its part of the tables of rows begins.
    Source rows end in 32 columns more than the width, which vectors may touch.
    """
    for s in range(steps.shape[0]):
        lanes, run, run_end, column, end, row = steps[s, 8:]
        resize(
            pixels,
            steps[s, :4],
            steps[s, 4:8],
            lanes,
            runs[run:run_end],
            fractions[column:end],
            tops[row:],
            row_fractions[row:],
            spread,
            line,
            mixed,
        )
