"""Loops from a dense optical flow to what a store keeps of it: the head's motion taken out, strain, cells, projections.

Displacements are in pixels of the working size S until the last step, which divides them by S. `benchmarks/naive.py`
has the same in plain NumPy.
"""

import numpy as np

from fastck.kernels import kernel

# Every fifth pixel of every fifth row is enough for six numbers: DIS itself solves for one displacement every three
# pixels or more and interpolates. An odd step can lie symmetrically, so that a mirrored flow has the mirrored fit.
FIT_STEP = 5
# The corners of a rendered crop are then, on average, within a tenth of a pixel of where all pixels and 60 rounds put
# them, at the apex; least squares alone is 1.3 pixels off.
FIT_ROUNDS = 10
# Pixels squared: residuals of a hundredth of a pixel are rounding, and say nothing about outliers.
LEAST_SCALE = 1e-4


@kernel(fastmath={"reassoc"})
def _fit_round(samples, places, inverse, fit, sums):
    """Weighted sums for the next fit from the residuals of this one: samples (2, n, n) float64 -> sums (13,) float64.

    Weight 1 / (1 + r^2 * inverse). sums: n, x, y, xx, xy, yy; u, ux, uy; v, vx, vy; weighted r^2.
    """
    n = places.size
    for i in range(sums.size):
        sums[i] = 0.0
    ux, vx = fit[0, 1], fit[1, 1]
    for r in range(n):
        y = places[r]
        u0, v0 = fit[0, 0] + fit[0, 2] * y, fit[1, 0] + fit[1, 2] * y
        row, row_x, row_xx, row_u, row_ux, row_v, row_vx, row_apart = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for c in range(n):
            x = places[c]
            u, v = samples[0, r, c], samples[1, r, c]
            du, dv = u - (u0 + ux * x), v - (v0 + vx * x)
            apart = du * du + dv * dv
            w = 1.0 / (1.0 + apart * inverse)
            row += w
            row_x += w * x
            row_xx += w * x * x
            row_u += w * u
            row_ux += w * u * x
            row_v += w * v
            row_vx += w * v * x
            row_apart += w * apart
        sums[0] += row
        sums[1] += row_x
        sums[2] += row * y
        sums[3] += row_xx
        sums[4] += row_x * y
        sums[5] += row * y * y
        sums[6] += row_u
        sums[7] += row_ux
        sums[8] += row_u * y
        sums[9] += row_v
        sums[10] += row_vx
        sums[11] += row_v * y
        sums[12] += row_apart


@kernel
def _solve(sums, fit):
    """Weighted least squares from the sums of `_fit_round` -> fit (2, 3) float64: constant, along x, along y."""
    n, x, y, xx, xy, yy = sums[0], sums[1], sums[2], sums[3], sums[4], sums[5]
    # Cofactors of the symmetric matrix [[n, x, y], [x, xx, xy], [y, xy, yy]].
    c00, c01, c02 = xx * yy - xy * xy, xy * y - x * yy, x * xy - xx * y
    c11, c12, c22 = n * yy - y * y, x * y - n * xy, n * xx - x * x
    determinant = n * c00 + x * c01 + y * c02
    for axis in range(2):
        b, bx, by = sums[6 + 3 * axis], sums[7 + 3 * axis], sums[8 + 3 * axis]
        if determinant > 1e-9 * n * xx * yy:
            fit[axis, 0] = (c00 * b + c01 * bx + c02 * by) / determinant
            fit[axis, 1] = (c01 * b + c11 * bx + c12 * by) / determinant
            fit[axis, 2] = (c02 * b + c12 * bx + c22 * by) / determinant
        else:  # a single sample: a translation is all that it shows
            fit[axis, 0] = b / n
            fit[axis, 1] = 0.0
            fit[axis, 2] = 0.0


@kernel
def fit_affine(flow, fit):
    """Affine motion that most of a flow follows: (S, S, 2) float32 -> fit (2, 3) float64: constant, along x, along y.

    x and y count pixels from the middle. Least squares, then FIT_ROUNDS rounds reweighted by 1 / (1 + r^2 / scale).
    """
    side = flow.shape[0]
    # As far from the first pixel as the last sample is from the last one: 2 * first = side - 1 modulo 5.
    first = min(3 * (side - 1) % FIT_STEP, (side - 1) // 2)
    n = (side - 1 - first) // FIT_STEP + 1
    places = np.empty(n, np.float64)
    for i in range(n):
        places[i] = first + FIT_STEP * i - (side - 1) / 2
    samples = np.empty((2, n, n), np.float64)
    for r in range(n):
        for c in range(n):
            samples[0, r, c] = flow[first + FIT_STEP * r, first + FIT_STEP * c, 0]
            samples[1, r, c] = flow[first + FIT_STEP * r, first + FIT_STEP * c, 1]
    sums = np.empty(13, np.float64)
    for axis in range(2):
        for i in range(3):
            fit[axis, i] = 0.0
    _fit_round(samples, places, 0.0, fit, sums)
    _solve(sums, fit)
    _fit_round(samples, places, 0.0, fit, sums)
    for _ in range(FIT_ROUNDS):
        # The weighted mean of r^2 comes to rest where the mean weight is one half: as robust a scale as the median.
        scale = max(sums[12] / sums[0], LEAST_SCALE)
        _fit_round(samples, places, 1.0 / scale, fit, sums)
        _solve(sums, fit)


@kernel
def subtract(flow, fit, planes):
    """Flow less an affine motion, u and v apart: (S, S, 2) float32, (2, 3) float64 -> planes 0 and 1 (S, S)."""
    side = flow.shape[0]
    along_x = np.empty((2, side), np.float32)
    for c in range(side):
        along_x[0, c] = fit[0, 1] * (c - (side - 1) / 2)
        along_x[1, c] = fit[1, 1] * (c - (side - 1) / 2)
    for r in range(side):
        y = r - (side - 1) / 2
        u0, v0 = np.float32(fit[0, 0] + fit[0, 2] * y), np.float32(fit[1, 0] + fit[1, 2] * y)
        for c in range(side):
            planes[0, r, c] = flow[r, c, 0] - (u0 + along_x[0, c])
        for c in range(side):
            planes[1, r, c] = flow[r, c, 1] - (v0 + along_x[1, c])


# Infinitesimal strain of the displacement, e = (grad d + (grad d)^T) / 2, and the magnitude that Shreve et al. (2009,
# "Towards macro- and micro-expression spotting in video using strain patterns") take of it: the root of the sum of the
# squares of its four components. Derivatives are central differences, one-sided at the edge, as np.gradient has them.
@kernel
def strain(planes):
    """Strain magnitude of a displacement: planes 0 and 1 -> plane 2, (S, S) float32."""
    u, v, out = planes[0], planes[1], planes[2]
    side = out.shape[0]
    half, two = np.float32(0.5), np.float32(2.0)
    for r in range(side):
        up, down = max(r - 1, 0), min(r + 1, side - 1)
        per_row = np.float32(1.0 / max(down - up, 1))
        for c in range(1, side - 1):
            xx = (u[r, c + 1] - u[r, c - 1]) * half
            yy = (v[down, c] - v[up, c]) * per_row
            xy = ((u[down, c] - u[up, c]) * per_row + (v[r, c + 1] - v[r, c - 1]) * half) * half
            out[r, c] = np.sqrt(xx * xx + yy * yy + two * (xy * xy))
        for c, left, right in ((0, 0, min(1, side - 1)), (side - 1, max(side - 2, 0), side - 1)):
            xx = u[r, right] - u[r, left]
            yy = (v[down, c] - v[up, c]) * per_row
            xy = ((u[down, c] - u[up, c]) * per_row + (v[r, right] - v[r, left])) * half
            out[r, c] = np.sqrt(xx * xx + yy * yy + two * (xy * xy))


@kernel
def _pool_line(line, edges, shares, scale, out):
    """Weighted sums of a line's pixels in each cell, times `scale`: (S,) float32 -> out (cells,) float32.

    Of each cell, edges (cells, 2) intp has its first and last pixel, shares (cells, 2) float32 how much of them is the
    cell's; all pixels between are. A pixel is `cells` long.
    """
    whole = np.float32(out.size)
    for j in range(out.size):
        first, last = edges[j, 0], edges[j, 1]
        total = line[first] * shares[j, 0] + line[last] * shares[j, 1]
        for c in range(first + 1, last):
            total += line[c] * whole
        out[j] = total * scale


@kernel
def _clear(line):
    """Set a line to 0: (S,) float32; an assignment to a slice would do, but takes seconds to compile."""
    for c in range(line.size):
        line[c] = np.float32(0.0)


@kernel
def _add_row(row, weight, line):
    """Add a weighted row to a line: two (S,) float32."""
    for c in range(line.size):
        line[c] += weight * row[c]


@kernel
def pool(planes, edges, shares, scales, line, out):
    """Weighted sums of pixels in each cell, times each plane's scale: (K, S, S) -> out (K, cells, cells), float32.

    Edges and shares as for `_pool_line`, for rows and columns alike; line (S,) float32 is room to work in.
    """
    whole = np.float32(out.shape[1])
    for kind in range(out.shape[0]):
        for i in range(out.shape[1]):
            first, last = edges[i, 0], edges[i, 1]
            _clear(line)
            _add_row(planes[kind, first], shares[i, 0], line)
            for r in range(first + 1, last):
                _add_row(planes[kind, r], whole, line)
            if last > first:
                _add_row(planes[kind, last], shares[i, 1], line)
            _pool_line(line, edges, shares, scales[kind], out[kind, i])


@kernel(fastmath={"reassoc"})
def _sum(line):
    """Sum of a line, added in the order that is quickest: (S,) float32 -> float32."""
    total = np.float32(0.0)
    for c in range(line.size):
        total += line[c]
    return total


@kernel
def project(planes, edges, shares, scale, line, projection):
    """Column sums and row sums of planes 0 and 1, pooled as by `pool`, times `scale`: -> projection (4, m) float32."""
    for kind in range(2):
        plane = planes[kind]
        _clear(line)
        for r in range(line.size):
            _add_row(plane[r], np.float32(1.0), line)
        _pool_line(line, edges, shares, scale, projection[2 * kind])
        for r in range(line.size):
            line[r] = _sum(plane[r])
        _pool_line(line, edges, shares, scale, projection[2 * kind + 1])
