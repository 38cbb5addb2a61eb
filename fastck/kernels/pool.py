"""Loops that average 2x2 windows (paper, fig. 13)."""

import numpy as np

from fastck.kernels import kernel


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
