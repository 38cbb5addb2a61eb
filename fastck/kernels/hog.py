"""Kernels of dlib's frontal face search: Felzenszwalb HOG, filters by Fourier transform, windows above threshold.

The arithmetic follows dlib 20 (image_transforms/fhog.h, spatial_filtering.h; image_processing/scan_fhog_pyramid.h,
object_detector.h). dlib correlates every plane with some 300 separable filters. Here a cell's 31 values are reduced to
15 sums and the length of what these leave out, which bounds by how much they can be wrong; a tile of 32x32 reduced
cells is transformed once, and a filter is a product per frequency. That gives no window less than its score (`ROUGH`
leaves room for a hundred times the transforms' rounding), so it tells which windows can be above their threshold:
these are scored plainly. Plain sums run in another order than dlib's, so scores agree to about 1e-5 and the caller
treats scores closer than that as ties.
"""

import numpy as np

from fastck.kernels import kernel
from fastck.kernels.vectors import (
    BLOCK,
    DETECTORS,
    PAIRS,
    PLACES,
    SCORES,
    SIDE,
    VALID,
    dot320,
    features31,
    filter_frequencies,
    gradients8,
    reaching8,
    reduce4,
    transform_cells,
    transform_scores,
    vote8,
)

PLANES = 31  # 18 contrast-sensitive orientations, 9 insensitive, 4 textures
CELL = 32  # values of a cell: the planes and a zero
REDUCED = 2 * PAIRS  # values of a reduced cell
WINDOW = 10  # cells per side of a filter
CHUNK = 16  # blocks whose gradients are computed before they vote, so that these stay in the nearest cache
GRADIENTS = 8 * CHUNK + 8  # room for a row of them; vectors may write 7 more
ORIENTATIONS = 20  # room for a cell's 18 orientations
ROW = (SIDE + 1) * REDUCED  # values of a tile's row; one cell more, or all rows would fall into one set of the cache
ROUGH = 1e-3  # scores from transforms are at most so far below the real ones
# Squares of lengths in reduced cells are off by less: 15 sums of 31 products, each rounded by 6e-8, of a cell whose
# square length is at most 10.
GUARD = np.float32(2e-4)
FEW = 24  # windows; so many are scored plainly in less time than a tile's transform takes


@kernel
def _gradients(image, at, stride, n, index, length, to):
    """N pixels from `at` on, or up to 7 more: each one's gradient as an index into the orientations, and its length."""
    for c in range(0, n, 8):
        gradients8(image, np.uint64(at + c), np.uint64(stride), index, length, np.uint64(to + c))


@kernel
def _vote(index, length, orientations, weights, blocks, first, n_blocks):
    """Add 8 rows of pixels to their blocks' histograms, (n_blocks, 18, 4) flat; n_blocks a multiple of 8.

    The 64 pixels between four cell centres vote for the same four cells, so one pixel is one addition of four
    weighted lengths.
    """
    for k in range(0, n_blocks, 8):
        block = np.uint64((first + k) * BLOCK)
        for p in range(8):
            for q in range(0, 8, 2):
                pixel = np.uint64(p * GRADIENTS + 8 * k + q)
                vote8(blocks, block, orientations, index, length, pixel, weights, np.uint64((8 * p + q) * 4))


@kernel(fastmath=True)
def _add_blocks(below, above, n, cells, energy):
    """N cells' orientations and energy, from the blocks of the rows below and above them."""
    for k in range(n):
        at = np.uint64(k * BLOCK)
        one, two = below[at + np.uint64(BLOCK) :], below[at + np.uint64(1) :]
        three, four = above[at + np.uint64(BLOCK + 2) :], above[at + np.uint64(3) :]
        cell = cells[np.uint64(k * ORIENTATIONS) :]
        for o in range(18):
            cell[o] = (one[4 * o] + two[4 * o]) + (three[4 * o] + four[4 * o])
        total = np.float32(0)
        for o in range(9):
            both = cell[o] + cell[o + 9]
            total += both * both
        energy[k] = total


@kernel
def _features(cells, above, below, out, base, n):
    """One row of n cells: orientations, clips (2, n+1) of corners above and below -> CELL values each from `base`."""
    texture = np.float32(2 * 0.2357)
    step = np.uint64(below.shape[1])
    for k in range(n):
        at = np.uint64((k + 1) * ORIENTATIONS)
        features31(cells, at, below, above, np.uint64(k), step, texture, out, np.uint64(base + k * CELL))


@kernel
def _reduce(cells, base, n, basis, planes):
    """N cells from `base` on, and up to three more, to REDUCED values each."""
    for k in range(0, n, 4):
        at = np.uint64(base + k * CELL)
        reduce4(cells, at, basis, GUARD, planes, at // np.uint64(CELL // REDUCED))


@kernel
def _clear(cells, planes, begin, end):
    """Set cells from `begin` to `end`, and what they are reduced to, to zero."""
    cells[begin * CELL : end * CELL] = 0
    planes[begin * REDUCED : end * REDUCED] = 0


@kernel(fastmath=True)
def extract(image, height, width, top, left, rows, columns, stride, tables, work, out, planes):
    """HOG cells of a part of a flat image: (rows, stride, CELL) float32, flat, the first `columns` of each row.

    Rows and columns count as in dlib's planes padded for a 10x10 filter: four zero cells before and five after the
    features. `planes` receives the same cells reduced to REDUCED values. Returns the range of rows that hold features.
    """
    orientations, weights, basis = tables
    index, length, blocks, cells, energy, clip = work
    pixels = image.shape[0] // height  # of a row
    cells_r = int(np.float32(height) / np.float32(8) + 0.5)
    cells_c = int(np.float32(width) / np.float32(8) + 0.5)
    y0 = max(top - 4, 0)
    y1 = min(top - 4 + rows, cells_r - 2)
    x0 = max(left - 4, 0)
    x1 = min(left - 4 + columns, cells_c - 2)
    if y1 <= y0 or x1 <= x0:
        return 0, 0
    _clear(out, planes, 0, (y0 - (top - 4)) * stride)
    _clear(out, planes, (y1 - (top - 4)) * stride, rows * stride)
    nx = x1 - x0 + 2  # cells: one more than features on each side
    n_blocks = (nx + 8) // 8 * 8  # one more than cells, made a multiple of 8
    first_x = 8 * (x0 - 1) + 4
    begin = max(1, first_x)
    end = min(min(cells_c * 8, width) - 1, first_x + 8 * n_blocks)
    end_y = min(cells_r * 8, height) - 1
    for j in range(y1 - y0 + 3):
        current = blocks[j & 1]
        before = blocks[1 - (j & 1)]
        current[: n_blocks * BLOCK] = 0
        for b in range(0, n_blocks, CHUNK):
            n = min(CHUNK, n_blocks - b)
            first = first_x + 8 * b
            low = max(first, begin)
            high = max(low, min(first + 8 * n, end))
            for p in range(8):
                y = 8 * (y0 - 1 + j) + 4 + p
                votes = length[p * GRADIENTS : p * GRADIENTS + 8 * n]
                if y < 1 or y >= end_y:
                    votes[:] = 0
                else:
                    _gradients(image, y * pixels + low, pixels, high - low, index, length, p * GRADIENTS + low - first)
                    votes[: low - first] = 0
                    votes[high - first :] = 0
            _vote(index, length, orientations, weights, current, b, n)
        if j == 0:
            continue
        sums = energy[(j - 1) & 1]
        _add_blocks(current, before, nx, cells[(j - 1) & 1], sums)
        if j < 2:
            continue
        others = energy[j & 1]
        corner = clip[j & 1]  # what the four cells around a corner scale with; these corners lie below cells j-2
        for k in range(nx - 1):
            s = sums[k] + sums[k + 1] + others[k] + others[k + 1] + np.float32(0.0001)
            most = np.float32(0.2) * np.sqrt(s)
            corner[0, k] = most
            corner[1, k] = np.float32(0.1) / most
        if j < 3:
            continue
        first_cell = (y0 + j - 3 - (top - 4)) * stride
        begin_cell = first_cell + x0 - (left - 4)
        end_cell = begin_cell + nx - 2
        _clear(out, planes, first_cell, begin_cell)
        _clear(out, planes, end_cell, first_cell + stride)
        _features(cells[j & 1], clip[1 - (j & 1)], corner, out, begin_cell * CELL, nx - 2)
        _reduce(out, begin_cell * CELL, nx - 2, basis, planes)
    return y0 - (top - 4), y1 - (top - 4)


# A transform is a thousand instructions, which these hold once.
@kernel
def _transform_cells(source, at, step, target, to, step_to):
    """The transform of 32 positions of a tile's cells."""
    transform_cells(source, at, step, target, to, step_to)


@kernel
def _transform_scores(source, at, step, target, to, step_to):
    """The transform of 32 positions of a tile's scores."""
    transform_scores(source, at, step, target, to, step_to)


@kernel
def correlate_tile(planes, at, stride, begin, end, n, spectra, buffers):
    """Bounds on a tile's scores: SIDE x SIDE reduced cells from `at` on -> n rows of (VALID, SIDE, 2*SCORES), buffer 3.

    Only rows from `begin` to `end` hold features; the others count as zero. The transform of a pair of planes is one of
    complex values; the real part of their products with the filters' spectra is what both planes' filters add up to. A
    window's scores lie at PLACES.
    """
    tile, products, lines, scores, _ = buffers
    for r in range(SIDE):
        row = r * ROW
        # The first n rows of windows do not reach further.
        if r < begin or r >= end or r >= n + WINDOW - 1:
            tile[row : row + SIDE * REDUCED] = 0
            continue
        start = np.uint64((at + r * stride) * REDUCED)
        _transform_cells(planes, start, np.uint64(REDUCED), tile, np.uint64(row), np.uint64(REDUCED))
    for c in range(SIDE):
        start = np.uint64(c * REDUCED)
        _transform_cells(tile, start, np.uint64(ROW), tile, start, np.uint64(ROW))
    for r in range(SIDE):
        opposite_r = (SIDE - r) % SIDE
        for c in range(SIDE):
            opposite_c = (SIDE - c) % SIDE
            one, other = r * SIDE + c, opposite_r * SIDE + opposite_c
            if one > other:
                continue
            filter_frequencies(
                tile,
                np.uint64(r * ROW + c * REDUCED),
                np.uint64(opposite_r * ROW + opposite_c * REDUCED),
                spectra,
                np.uint64(one * DETECTORS * REDUCED),
                np.uint64(other * DETECTORS * REDUCED),
                products,
                np.uint64(one * 2 * SCORES),
                np.uint64(other * 2 * SCORES),
            )
    # The products were conjugated, so two more transforms lead back.
    step = np.uint64(SIDE * 2 * SCORES)
    for c in range(SIDE):
        start = np.uint64(c * 2 * SCORES)
        _transform_scores(products, start, step, lines, start, step)
    for r in range(n):
        start = np.uint64(r * SIDE * 2 * SCORES)
        _transform_scores(lines, start, np.uint64(2 * SCORES), scores, start, np.uint64(2 * SCORES))


@kernel(inline="always")
def score(cells, at, stride, weights, detector):
    """Score of the window whose first cell is `at`, by filters (D, WINDOW, WINDOW * CELL) float32."""
    total = 0.0
    for r in range(WINDOW):
        row = np.uint64((detector * WINDOW + r) * WINDOW * CELL)
        total += np.float64(dot320(cells, np.uint64((at + r * stride) * CELL), weights, row))
    return total


@kernel(inline="always")
def _keep(value, detector, level, r, c, thresholds, edges, found, n_found):
    """Fill a row of `found` for the window at a level's row r and column c."""
    row_edges, column_edges, firsts = edges
    row = found[n_found]
    row[0] = value - thresholds[detector]
    row[1] = detector
    row[2] = level
    row[3] = r
    row[4] = c
    for i in range(4):
        row[5 + 2 * i] = column_edges[firsts[level, 1] + c - 5, i]
        row[6 + 2 * i] = row_edges[firsts[level, 0] + r - 5, i]
    row[13] = max(row[11] - row[9], 0.0) * max(row[12] - row[10], 0.0)


@kernel
def search_windows(levels, jobs, edges, bank, margin, tables, work, cells, planes, buffers, found, n_found):
    """Score windows of some levels; append those above -margin to `found` (N, 14) float64.

    Each of `jobs` (J, 5) is a level and the top, left, bottom, right (half-open) of its window positions. `levels`
    holds all levels' pixels in one array, with offset, height, width and stride of each; `edges` all levels' boxes'
    edges by row and column of windows, with the first of each level. A row of `found`: score above the threshold,
    detector, level, row, column; left, top, right, bottom of the box in the search's image, then in the frame; area in
    the frame. Returns the new count, which may exceed N: then `found` was too small.
    """
    pixels, layout = levels
    weights, spectra, thresholds = bank
    rough = buffers[3]
    limits = buffers[4]
    limits[:] = np.inf
    for d in range(DETECTORS):
        limits[PLACES[d]] = np.float32(thresholds[d] - margin - ROUGH)
    for j in range(jobs.shape[0]):
        level, top, left, bottom, right = jobs[j]
        offset, height, width, pitch = layout[level]
        image = pixels[offset : offset + height * pitch]
        n_rows, n_columns = bottom - top, right - left
        rows, columns = n_rows + WINDOW - 1, n_columns + WINDOW - 1
        plain = n_rows * n_columns <= FEW
        tiles_r, tiles_c = (n_rows + VALID - 1) // VALID, (n_columns + VALID - 1) // VALID
        stride = columns if plain else tiles_c * VALID + WINDOW - 1
        begin, end = extract(
            image, height, width, top - 5, left - 5, rows, columns, stride, tables, work, cells, planes
        )
        if end <= begin:
            continue
        for tile_r in range(tiles_r):
            for tile_c in range(tiles_c):
                y, x = tile_r * VALID, tile_c * VALID
                n = min(VALID, n_rows - y)
                if not plain:
                    correlate_tile(planes, y * stride + x, stride, begin - y, end - y, n, spectra, buffers)
                for r in range(n):
                    for c in range(min(VALID, n_columns - x)):
                        reaching = np.uint64(2 ** (2 * SCORES) - 1)
                        if not plain:
                            reaching = reaching8(rough, np.uint64((r * SIDE + c) * 2 * SCORES), limits)
                            if reaching == np.uint64(0):
                                continue
                        for d in range(DETECTORS):
                            if reaching >> np.uint64(PLACES[d]) & np.uint64(1) == np.uint64(0):
                                continue
                            value = score(cells, (y + r) * stride + x + c, stride, weights, d)
                            if value >= thresholds[d] - margin:
                                if n_found < found.shape[0]:
                                    _keep(value, d, level, top + y + r, left + x + c, thresholds, edges, found, n_found)
                                n_found += 1
    return n_found
