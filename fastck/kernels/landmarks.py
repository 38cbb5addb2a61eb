"""Loops of the landmark model: oriented gradients of a picture, their sums in cells round points, and linear layers."""

import numpy as np

from fastck.kernels import kernel

DIRECTIONS = 8  # of a gradient, evenly round the circle
SMOOTH = 1.0  # gray levels: gradients well below it count as none
DIAGONAL = np.sqrt(0.5)
LARGEST = 0.3  # of a patch's value once its length is 1: one strong edge must not hide all others
PARTS = 4096  # of a feature's 1: a patch's values, of length 1, times any bytes stay far below 32 bits


@kernel
def gradient_sums(frame, planes, out):
    """Sums of oriented gradients above and left of each corner: (S, S) uint8 -> (S + 1, S + 1, 8) float32.

    A gradient of length m counts m * cos(angle)^2 for each direction that is less than a right angle off. `planes`
    (8, S) float32 is working memory.
    """
    side = frame.shape[0]
    zero, one, smooth, diagonal = np.float32(0), np.float32(1), np.float32(SMOOTH), np.float32(DIAGONAL)
    out[0] = zero
    for r in range(side):
        above, below = frame[max(r - 1, 0)], frame[min(r + 1, side - 1)]
        left, right = frame[r], frame[r, 2:]
        # Whole rows at a time vectorise; the first and last column have no gradient.
        for c in range(side - 2):
            dx = np.float32(right[c]) - np.float32(left[c])
            dy = np.float32(below[c + 1]) - np.float32(above[c + 1])
            scale = one / (np.sqrt(dx * dx + dy * dy) + smooth)
            u, v = diagonal * (dx + dy), diagonal * (dy - dx)
            planes[0, c + 1] = max(dx, zero) * dx * scale
            planes[1, c + 1] = max(u, zero) * u * scale
            planes[2, c + 1] = max(dy, zero) * dy * scale
            planes[3, c + 1] = max(v, zero) * v * scale
            planes[4, c + 1] = min(dx, zero) * dx * scale
            planes[5, c + 1] = min(u, zero) * u * scale
            planes[6, c + 1] = min(dy, zero) * dy * scale
            planes[7, c + 1] = min(v, zero) * v * scale
        planes[:, 0] = zero
        planes[:, side - 1] = zero
        out[r + 1, 0] = zero
        s0, s1, s2, s3, s4, s5, s6, s7 = zero, zero, zero, zero, zero, zero, zero, zero
        for c in range(side):
            s0 += planes[0, c]
            s1 += planes[1, c]
            s2 += planes[2, c]
            s3 += planes[3, c]
            s4 += planes[4, c]
            s5 += planes[5, c]
            s6 += planes[6, c]
            s7 += planes[7, c]
            cell, upper = out[r + 1, c + 1], out[r, c + 1]
            cell[0] = upper[0] + s0
            cell[1] = upper[1] + s1
            cell[2] = upper[2] + s2
            cell[3] = upper[3] + s3
            cell[4] = upper[4] + s4
            cell[5] = upper[5] + s5
            cell[6] = upper[6] + s6
            cell[7] = upper[7] + s7


@kernel
def patch_features(sums, points, cell, cells, corners, out):
    """Oriented gradients in cells round each point: (S + 1, S + 1, 8) float32, (P, 2) float32 -> (P, cells^2 * 8).

    `cell` is a cell's side in pixels, `cells` how many there are along a patch's side; columns and rows of `points`
    count pixels' centres. A patch's values have the length 1, none above LARGEST before that. `corners`
    (cells + 1, cells + 1, 8) float32 is working memory.
    """
    last = np.float32(sums.shape[0] - 1)
    half = np.float32(0.5) * np.float32(cells) * np.float32(cell)
    zero, one, largest = np.float32(0), np.float32(1), np.float32(LARGEST)
    for p in range(points.shape[0]):
        left = points[p, 0] + np.float32(0.5) - half
        top = points[p, 1] + np.float32(0.5) - half
        for i in range(cells + 1):
            y = min(max(top + np.float32(i) * np.float32(cell), zero), last)
            r = min(int(y), sums.shape[0] - 2)
            fy = y - np.float32(r)
            for j in range(cells + 1):
                x = min(max(left + np.float32(j) * np.float32(cell), zero), last)
                c = min(int(x), sums.shape[0] - 2)
                fx = x - np.float32(c)
                for k in range(DIRECTIONS):
                    upper = sums[r, c, k] + fx * (sums[r, c + 1, k] - sums[r, c, k])
                    lower = sums[r + 1, c, k] + fx * (sums[r + 1, c + 1, k] - sums[r + 1, c, k])
                    corners[i, j, k] = upper + fy * (lower - upper)
        length = np.float32(cell) * np.float32(cell)
        n = 0
        for i in range(cells):
            for j in range(cells):
                for k in range(DIRECTIONS):
                    value = corners[i + 1, j + 1, k] - corners[i, j + 1, k] - corners[i + 1, j, k] + corners[i, j, k]
                    out[p, n] = value
                    length += value * value
                    n += 1
        scale = one / np.sqrt(length)
        length = np.float32(1e-6)
        for n in range(out.shape[1]):
            value = min(out[p, n] * scale, largest)
            out[p, n] = value
            length += value * value
        scale = one / np.sqrt(length)
        for n in range(out.shape[1]):
            out[p, n] *= scale


@kernel
def weigh(features, weights, scale, biases, whole, out):
    """Linear layer: (D,) float32, (N, D) int8, (N,) float32, (N,) float32 -> (N,) float32.

    A weight is its byte times its row's scale. Features are taken to the nearest 1 / PARTS, so that all is added up in
    whole numbers, two products at a time; `whole` (D,) int16 is working memory.
    """
    parts, most = np.float32(PARTS), np.float32(32767)
    for i in range(features.shape[0]):
        whole[i] = np.int16(min(max(np.rint(features[i] * parts), -most), most))
    for n in range(out.shape[0]):
        row = weights[n]
        total = np.int32(0)
        for i in range(whole.shape[0]):
            # Numba's own product of two numbers of 32 bits has 64.
            total = np.int32(total + np.int32(np.int32(whole[i]) * np.int32(row[i])))
        out[n] = biases[n] + scale[n] / parts * np.float32(total)
