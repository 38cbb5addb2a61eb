"""Loops of an inverse search on patches (Kroeger et al. 2016): where the patches of a reference are in another crop.

A patch has PATCH x PATCH pixels, and every STEP pixels of a row and of a column there is one. Each round of a level
compares every patch with the crop where it is thought to be, takes one Gauss-Newton step, and lets the patches agree
with their neighbours: the sum over patches of w (u - g)' H (u - g) and over neighbours of AGREEMENT |u - u'|^2 becomes
less, with g where the step leads, H the patch's Hessian and w = 1 / (mean r^2 + NOISE). So what a patch cannot see (an
edge along itself, nothing at all) its neighbours decide. `benchmarks/naive.py` has the same in plain NumPy.

Motions are (2, n + 2, n + 2) float32: u and v of n x n patches in pixels of the level, with zeros around them.
"""

import numpy as np

from fastck.kernels import kernel
from fastck.kernels.vectors import patch_sums

PATCH, STEP = 8, 4  # pixels
MARGIN = 16  # pixels around a crop that repeat its edge: as far out as a patch is looked for
# Chosen on warped faces, as docs/explanation/flow.md has them: of 10 to 300, and of 0.3 to 60 squares of gray levels.
AGREEMENT = 50.0
NOISE = 1.0
SWEEPS = 4  # over the patches in a round; 6 are no better


@kernel
def enclose(padded):
    """Repeat the edge of what lies MARGIN pixels inside of an array: (S + 2 MARGIN, S + 2 MARGIN) float32."""
    side = padded.shape[0]
    last = side - MARGIN - 1
    for r in range(MARGIN, last + 1):
        for c in range(MARGIN):
            padded[r, c] = padded[r, MARGIN]
            padded[r, last + 1 + c] = padded[r, last]
    for r in range(MARGIN):
        for c in range(side):
            padded[r, c] = padded[MARGIN, c]
            padded[last + 1 + r, c] = padded[last, c]


@kernel
def halve(fine, coarse):
    """Means of 2x2 pixels, margins left out: (S + 2 MARGIN, ...) -> (S // 2 + 2 MARGIN, ...) float32."""
    quarter = np.float32(0.25)
    for r in range(coarse.shape[0] - 2 * MARGIN):
        for c in range(coarse.shape[0] - 2 * MARGIN):
            i, j = 2 * r + MARGIN, 2 * c + MARGIN
            top, bottom = fine[i, j] + fine[i, j + 1], fine[i + 1, j] + fine[i + 1, j + 1]
            coarse[r + MARGIN, c + MARGIN] = (top + bottom) * quarter


@kernel
def describe(padded, planes, patches):
    """A reference with its margin -> itself, dx and dy: planes (3, S, S); of each patch: (5, n, n), all float32.

    patches: sums of dx^2, dx dy and dy^2, each derivative less its mean; means of dx and dy.
    """
    half, share = np.float32(0.5), np.float32(1.0 / PATCH**2)
    for r in range(planes.shape[1]):
        for c in range(planes.shape[1]):
            i, j = r + MARGIN, c + MARGIN
            planes[0, r, c] = padded[i, j]
            planes[1, r, c] = (padded[i, j + 1] - padded[i, j - 1]) * half
            planes[2, r, c] = (padded[i + 1, j] - padded[i - 1, j]) * half
    for i in range(patches.shape[1]):
        for j in range(patches.shape[1]):
            xx, xy, yy, x, y = np.float32(0), np.float32(0), np.float32(0), np.float32(0), np.float32(0)
            for r in range(STEP * i, STEP * i + PATCH):
                for c in range(STEP * j, STEP * j + PATCH):
                    dx, dy = planes[1, r, c], planes[2, r, c]
                    xx += dx * dx
                    xy += dx * dy
                    yy += dy * dy
                    x += dx
                    y += dy
            patches[0, i, j] = xx - x * x * share
            patches[1, i, j] = xy - x * y * share
            patches[2, i, j] = yy - y * y * share
            patches[3, i, j] = x * share
            patches[4, i, j] = y * share


@kernel
def _place(first, motion, side):
    """Where a patch's first row or column is in a crop with its margin: whole pixel and fraction."""
    at = min(max(np.float32(first) + motion, np.float32(1 - MARGIN)), np.float32(side + MARGIN - PATCH - 2))
    at += np.float32(MARGIN)
    whole = np.int64(at)
    return whole, at - np.float32(whole)


@kernel
def compare(crop, planes, patches, motion, terms):
    """One Gauss-Newton step of each patch by itself, and what ties it to where that leads: terms (5, n, n) float32.

    crop: with its margin. terms: the inverse (xx, xy, yy) of a patch's Hessian times w, plus AGREEMENT for each
    neighbour; then that Hessian, times w, times the place it leads to.
    """
    n = patches.shape[1]
    side, pitch = np.uint64(planes.shape[1]), np.uint64(crop.shape[1])
    sums = np.empty(4, np.float32)
    share, one = np.float32(1.0 / PATCH**2), np.float32(1)
    for i in range(n):
        for j in range(n):
            u, v = motion[0, i + 1, j + 1], motion[1, i + 1, j + 1]
            row, down = _place(STEP * i, v, side)
            column, across = _place(STEP * j, u, side)
            at = np.uint64(row) * pitch + np.uint64(column)
            start = np.uint64(STEP * i) * side + np.uint64(STEP * j)
            patch_sums(crop, at, pitch, across, down, planes, start, side, side * side, sums)
            w = one / ((sums[1] - sums[0] * sums[0] * share) * share + np.float32(NOISE))
            x, y = w * (sums[2] - sums[0] * patches[3, i, j]), w * (sums[3] - sums[0] * patches[4, i, j])
            xx, xy, yy = w * patches[0, i, j], w * patches[1, i, j], w * patches[2, i, j]
            terms[3, i, j] = xx * u + xy * v - x
            terms[4, i, j] = xy * u + yy * v - y
            # Adding w, a gray level a pixel of noise, keeps the step finite where there is nothing to see.
            alone = one / ((xx + w) * (yy + w) - xy * xy)
            motion[0, i + 1, j + 1] = u - ((yy + w) * x - xy * y) * alone
            motion[1, i + 1, j + 1] = v - ((xx + w) * y - xy * x) * alone
            neighbours = (i > 0) + (i < n - 1) + (j > 0) + (j < n - 1)
            tied = np.float32(AGREEMENT) * np.float32(neighbours)
            xx, yy = xx + tied, yy + tied
            together = one / (xx * yy - xy * xy)
            terms[0, i, j] = yy * together
            terms[1, i, j] = -xy * together
            terms[2, i, j] = xx * together


@kernel
def agree(terms, motion, line):
    """SWEEPS times down and up the rows: each patch's best motion, given its neighbours'; line (2, n) float32."""
    n = terms.shape[1]
    tie = np.float32(AGREEMENT)
    for sweep in range(SWEEPS):
        for k in range(n):
            i = k if sweep % 2 == 0 else n - 1 - k
            for axis in range(2):
                for j in range(n):
                    beside = motion[axis, i + 1, j] + motion[axis, i + 1, j + 2]
                    beside += motion[axis, i, j + 1] + motion[axis, i + 2, j + 1]
                    line[axis, j] = terms[3 + axis, i, j] + tie * beside
            for j in range(n):
                motion[0, i + 1, j + 1] = terms[0, i, j] * line[0, j] + terms[1, i, j] * line[1, j]
                motion[1, i + 1, j + 1] = terms[1, i, j] * line[0, j] + terms[2, i, j] * line[1, j]


@kernel
def refine(coarse, places, shares, fine):
    """The motion that a level begins with, from that of the level above: (2, m + 2, m + 2) -> (2, n + 2, n + 2).

    For each of n patches on an axis, `places` has the patch before it in the level above, `shares` how near the next
    one is.
    """
    two = np.float32(2)
    for axis in range(2):
        for r in range(places.size):
            i, down = places[r] + 1, shares[r]
            for c in range(places.size):
                j, across = places[c] + 1, shares[c]
                top = coarse[axis, i, j] + across * (coarse[axis, i, j + 1] - coarse[axis, i, j])
                bottom = coarse[axis, i + 1, j] + across * (coarse[axis, i + 1, j + 1] - coarse[axis, i + 1, j])
                fine[axis, r + 1, c + 1] = two * (top + down * (bottom - top))


@kernel
def spread(motion, places, shares, line, flow):
    """Motions between patches' middles, for every pixel: (2, n + 2, n + 2) -> (S, S, 2), float32; line (2, n)."""
    for r in range(places.size):
        i, down = places[r] + 1, shares[r]
        for axis in range(2):
            for j in range(line.shape[1]):
                top, bottom = motion[axis, i, j + 1], motion[axis, i + 1, j + 1]
                line[axis, j] = top + down * (bottom - top)
        for c in range(places.size):
            j, across = places[c], shares[c]
            flow[r, c, 0] = line[0, j] + across * (line[0, j + 1] - line[0, j])
            flow[r, c, 1] = line[1, j] + across * (line[1, j + 1] - line[1, j])
