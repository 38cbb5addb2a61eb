"""Loops from frames to motion masks, one operation each (paper, fig. 3, 4 and 14)."""

import numpy as np

from fastck.kernels import kernel


@kernel
def frame_difference_wrap(frames, out):
    """frames[t] - frames[t + 1] modulo 256: (T, H, W) uint8 -> (T-1, H, W) uint8."""
    for t in range(out.shape[0]):
        for r in range(out.shape[1]):
            for c in range(out.shape[2]):
                out[t, r, c] = np.uint8(frames[t, r, c] - frames[t + 1, r, c])


@kernel
def frame_difference_absolute(frames, out):
    """|frames[t] - frames[t + 1]|: (T, H, W) uint8 -> (T-1, H, W) uint8."""
    for t in range(out.shape[0]):
        for r in range(out.shape[1]):
            for c in range(out.shape[2]):
                a = frames[t, r, c]
                b = frames[t + 1, r, c]
                out[t, r, c] = np.uint8(max(a, b) - min(a, b))


@kernel
def frame_difference_saturate(frames, out):
    """max(frames[t] - frames[t + 1], 0): (T, H, W) uint8 -> (T-1, H, W) uint8."""
    for t in range(out.shape[0]):
        for r in range(out.shape[1]):
            for c in range(out.shape[2]):
                a = frames[t, r, c]
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


# A minimum over n pixels is made of minima over 1, 2, 4, ... pixels and one last overlapping pair: log2(n) passes of
# plain vectorisable loops, for any n. Pixels outside the frame hold 255, so they never erode.
@kernel
def erode(frames, size, out):
    """Minimum over a size x size footprint: (T, H, W) uint8 -> same."""
    height, width = out.shape[1], out.shape[2]
    above, tall = _window(size, height)
    left, wide = _window(size, width)
    rows = np.empty((height + tall - 1, width), np.uint8)
    line = np.full(width + wide - 1, np.uint8(255), np.uint8)
    spare = np.empty_like(line)
    pairs = np.empty_like(line)
    for t in range(out.shape[0]):
        rows[:above] = np.uint8(255)
        rows[above + height :] = np.uint8(255)
        for r in range(height):
            line[left : left + width] = frames[t, r]
            reach = 1
            current, target, other = line, spare, pairs
            while 2 * reach <= wide:
                for c in range(width + wide - 2 * reach):
                    target[c] = min(current[c], current[c + reach])
                current, target, other = target, other, target
                reach *= 2
            for c in range(width):
                rows[above + r, c] = min(current[c], current[c + wide - reach])
        reach = 1
        while 2 * reach <= tall:
            for r in range(height + tall - 2 * reach):
                for c in range(width):
                    rows[r, c] = min(rows[r, c], rows[r + reach, c])
            reach *= 2
        for r in range(height):
            for c in range(width):
                out[t, r, c] = min(rows[r, c], rows[r + tall - reach, c])


@kernel
def project_integers(frames, out):
    """Column means and row means: (T, N, N) uint8 -> (T, 2, N) float32."""
    n = out.shape[2]
    columns = np.empty(n, np.uint32)
    for t in range(out.shape[0]):
        columns[:] = np.uint32(0)
        for r in range(n):
            total = np.uint32(0)
            for c in range(n):
                total += np.uint32(frames[t, r, c])
                columns[c] += np.uint32(frames[t, r, c])
            out[t, 1, r] = np.float32(total / n)
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
