"""Loops from frames to motion masks and what is made of them, one operation each (paper, fig. 3, 4, 13 and 14)."""

import numpy as np

from fastck.kernels import kernel


@kernel
def frame_difference_wrap(frames, advance, out):
    """frames[advance * t] - frames[t + 1] modulo 256: (T, H, W) uint8 -> (T-1, H, W) uint8; advance 0 or 1."""
    for t in range(out.shape[0]):
        for r in range(out.shape[1]):
            for c in range(out.shape[2]):
                out[t, r, c] = np.uint8(frames[advance * t, r, c] - frames[t + 1, r, c])


@kernel
def frame_difference_absolute(frames, advance, out):
    """|frames[advance * t] - frames[t + 1]|: (T, H, W) uint8 -> (T-1, H, W) uint8; advance 0 or 1."""
    for t in range(out.shape[0]):
        for r in range(out.shape[1]):
            for c in range(out.shape[2]):
                a = frames[advance * t, r, c]
                b = frames[t + 1, r, c]
                out[t, r, c] = np.uint8(max(a, b) - min(a, b))


@kernel
def frame_difference_saturate(frames, advance, out):
    """max(frames[advance * t] - frames[t + 1], 0): (T, H, W) uint8 -> (T-1, H, W) uint8; advance 0 or 1."""
    for t in range(out.shape[0]):
        for r in range(out.shape[1]):
            for c in range(out.shape[2]):
                a = frames[advance * t, r, c]
                b = frames[t + 1, r, c]
                out[t, r, c] = np.uint8(max(a, b) - b)


@kernel
def threshold(frames, level, value, out):
    """`value` above `level`, else 0: (T, H, W) uint8 -> same; both scalars uint8."""
    for t in range(out.shape[0]):
        for r in range(out.shape[1]):
            for c in range(out.shape[2]):
                out[t, r, c] = value if frames[t, r, c] > level else np.uint8(0)


@kernel
def _window(size, length):
    """Clip a footprint to an axis: pixels before the anchor (OpenCV's, size // 2) and pixels in all."""
    before = min(size // 2, length - 1)
    return before, before + min((size - 1) // 2, length - 1) + 1


@kernel
def _lower(first, second, out):
    """The lower of two: three (n,) uint8 arrays."""
    for i in range(out.size):
        out[i] = first[i] if first[i] < second[i] else second[i]


@kernel
def _copy(pixels, out):
    """Two (n,) uint8 arrays; an assignment of slices would do, but takes seconds to compile."""
    for i in range(out.size):
        out[i] = pixels[i]


# A minimum over n pixels is made of minima over 1, 2, 4, ... pixels and one last overlapping pair: log2(n) plain passes
# for any n. They run over the whole padded frame at once, first along the rows, then, a row's length apart, down the
# columns; what runs over the end of a row changes only the padding there. Padding is 255, so it never erodes.
@kernel
def erode(frames, size, out):
    """Minimum over a size x size footprint: (T, H, W) uint8 -> same."""
    height, width = out.shape[1], out.shape[2]
    above, tall = _window(size, height)
    left, wide = _window(size, width)
    stride = width + wide - 1
    pixels = (height + tall - 1) * stride
    plane = np.empty(pixels, np.uint8)
    spare = np.empty(pixels, np.uint8)
    for t in range(out.shape[0]):
        plane[:] = np.uint8(255)
        for r in range(height):
            start = (above + r) * stride + left
            _copy(frames[t, r], plane[start : start + width])
        current, target = plane, spare
        valid = pixels
        for extent, step in ((wide, 1), (tall, stride)):
            reach = 1
            while reach < extent:
                further = min(reach, extent - reach)  # the last pair overlaps
                valid -= further * step
                _lower(current[:valid], current[further * step : further * step + valid], target[:valid])
                current, target = target, current
                reach += further
        for r in range(height):
            _copy(current[r * stride : r * stride + width], out[t, r])


@kernel
def project_integers(frames, out):
    """Column means and row means: (T, N, N) uint8 -> (T, 2, N) float32."""
    n = out.shape[2]
    columns = np.empty(n, np.int32)
    few = np.empty(n, np.uint16)  # sums of up to 257 rows fit: twice as many in a vector
    for t in range(out.shape[0]):
        columns[:] = 0
        for first in range(0, n, 257):
            few[:] = 0
            for r in range(first, min(first + 257, n)):
                for c in range(n):
                    few[c] += np.uint16(frames[t, r, c])
                total = np.uint32(0)
                for c in range(n):
                    total += np.uint32(frames[t, r, c])
                out[t, 1, r] = np.float32(total / n)
            for c in range(n):
                columns[c] += np.int32(few[c])
        for c in range(n):
            out[t, 0, c] = np.float32(columns[c] / n)


@kernel
def project_floats(frames, out):
    """Column means and row means, summed in float64: (T, N, N) float -> (T, 2, N) float32."""
    n = out.shape[2]
    columns = np.empty(n, np.float64)
    for t in range(out.shape[0]):
        columns[:] = 0.0
        for r in range(n):
            total = 0.0
            for c in range(n):
                total += np.float64(frames[t, r, c])
                columns[c] += np.float64(frames[t, r, c])
            out[t, 1, r] = np.float32(total / n)
        for c in range(n):
            out[t, 0, c] = np.float32(columns[c] / n)


@kernel
def mean_pool_2x2(frames, out):
    """Mean of the pixels each 2x2 window covers: (T, H, W) uint8 or float32 -> (T, ceil(H/2), ceil(W/2)) float32."""
    height, width = frames.shape[1], frames.shape[2]
    for t in range(out.shape[0]):
        for i in range(out.shape[1]):
            top = 2 * i
            bottom = min(top + 1, height - 1)  # a window cut by the edge: its last row counts twice, the mean stays
            for j in range(width // 2):
                upper = np.float32(frames[t, top, 2 * j]) + np.float32(frames[t, top, 2 * j + 1])
                lower = np.float32(frames[t, bottom, 2 * j]) + np.float32(frames[t, bottom, 2 * j + 1])
                out[t, i, j] = (upper + lower) * np.float32(0.25)
            if width % 2:
                upper = np.float32(frames[t, top, width - 1])
                out[t, i, width // 2] = (upper + np.float32(frames[t, bottom, width - 1])) * np.float32(0.5)


@kernel
def mean_pool_2x2_doubles(frames, out):
    """`mean_pool_2x2` of float64, rounded to float32 once: (T, H, W) -> (T, ceil(H/2), ceil(W/2)) float32."""
    height, width = frames.shape[1], frames.shape[2]
    for t in range(out.shape[0]):
        for i in range(out.shape[1]):
            top = 2 * i
            bottom = min(top + 1, height - 1)
            for j in range(out.shape[2]):
                left = 2 * j
                right = min(left + 1, width - 1)
                # A quarter first: the sum of four large values is no number.
                upper = frames[t, top, left] * 0.25 + frames[t, top, right] * 0.25
                lower = frames[t, bottom, left] * 0.25 + frames[t, bottom, right] * 0.25
                out[t, i, j] = np.float32(upper + lower)
