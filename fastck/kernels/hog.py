"""Kernels of dlib's frontal face search: resize, Felzenszwalb HOG, separable filters, boxes, suppression.

The arithmetic follows dlib 20 (image_transforms/interpolation.h, fhog.h, spatial_filtering.h; image_processing/
scan_fhog_pyramid.h, object_detector.h). Resized pixels equal dlib's bit for bit, since one grey level more would shift
scores by 1e-3. HOG and filters sum in another order than dlib's, so scores agree to about 1e-5 and the caller treats
scores closer than that as ties.
"""

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from fastck.kernels import kernel

PLANES = 31  # 18 contrast-sensitive orientations, 9 insensitive, 4 textures
BLOCK = 72  # values of a block: 18 orientations times the 4 cells around it


def _vector_pointer(context, builder, kind, array, offset, vector):
    """Pointer to the vector that starts at an array's element `offset`."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [offset]), vector.as_pointer())


@intrinsic
def add_scaled4(typingctx, target, at, source, start, factor):
    """target[at:at+4] += factor * source[start:start+4], float32, as one vector: Numba leaves four scalar sums."""

    def codegen(context, builder, signature, args):
        vector = ir.VectorType(ir.FloatType(), 4)
        to = _vector_pointer(context, builder, signature.args[0], args[0], args[1], vector)
        by = _vector_pointer(context, builder, signature.args[2], args[2], args[3], vector)
        factors = ir.Constant(vector, ir.Undefined)
        for lane in range(4):
            factors = builder.insert_element(factors, args[4], ir.Constant(ir.IntType(32), lane))
        product = builder.fmul(factors, builder.load(by, align=4), flags=("contract",))
        builder.store(builder.fadd(builder.load(to, align=4), product, flags=("contract",)), to, align=4)
        return context.get_dummy_value()

    return types.void(target, at, source, start, factor), codegen


def _copy16(skip):
    """Make the intrinsic that copies 16 uint8 values as one vector, leaving out each `skip`-th source value."""
    # The last few lanes lie behind the vector's end and repeat its last value.
    lanes = [min(lane + (lane // (skip - 1) if skip else 0), 15) for lane in range(16)]

    @intrinsic
    def copy16(typingctx, target, at, source, start):
        def codegen(context, builder, signature, args):
            vector = ir.VectorType(ir.IntType(8), 16)
            to = _vector_pointer(context, builder, signature.args[0], args[0], args[1], vector)
            of = _vector_pointer(context, builder, signature.args[2], args[2], args[3], vector)
            values = builder.load(of, align=1)
            order = ir.Constant(ir.VectorType(ir.IntType(32), 16), lanes)
            builder.store(builder.shuffle_vector(values, values, order), to, align=1)
            return context.get_dummy_value()

        return types.void(target, at, source, start), codegen

    return copy16


copy_all = _copy16(0)
copy_five_of_six = _copy16(6)  # the pixels that a resize to 5/6 reads, until its rounding skips another one


@kernel
def resize(source, width, out, double, runs, fractions, lanes, tops, row_fractions, spread, line):
    """Bilinear resize as dlib's: (H, >= width+32) uint8 -> (h, > n) uint8, n = fractions.size.

    Behind each row, of the source too, its last pixel is repeated once. Each source row is first spread to the
    output's columns, once the pixel left of each and once the one right of it. Columns mostly read every pixel but each
    sixth one, so `runs` (K, 2) lists where 16 pixels are copied to and from at once; with `double` the row's pixels are
    repeated before and copied without a gap. The first `lanes` columns are dlib's SIMD ones (float32, rounded), the
    others its scalar ones (truncated).
    """
    columns = fractions.size
    last = source.shape[0] - 1
    one = np.float32(1)
    half = np.float32(0.49999997)  # v + this truncates to v rounded half up for every float32 in 0 to 255
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
        top_left, top_right = spread[top & 1, 0], spread[top & 1, 1]
        bottom_left, bottom_right = spread[bottom & 1, 0], spread[bottom & 1, 1]
        exact = row_fractions[r]
        low = np.float32(exact)
        high = np.float32(1.0 - exact)
        result = out[r]
        for c in range(lanes):
            x = fractions[c]
            y = one - x
            value = (
                (high * y) * np.float32(top_left[c])
                + (high * x) * np.float32(top_right[c])
                + (low * y) * np.float32(bottom_left[c])
                + (low * x) * np.float32(bottom_right[c])
            )
            result[c] = np.uint8(np.int32(value + half))
        for c in range(lanes, columns):
            x = fractions[c]
            y = one - x
            over = np.float32(y * np.float32(top_left[c]) + x * np.float32(top_right[c]))
            under = np.float32(y * np.float32(bottom_left[c]) + x * np.float32(bottom_right[c]))
            result[c] = np.uint8(np.int32(np.float32((1.0 - exact) * np.float64(over) + exact * np.float64(under))))
        result[columns] = result[columns - 1]


@kernel(fastmath=True)
def _gradients(image, y, x, n, index, length):
    """Row y, columns x to x+n: each pixel's gradient as an index into the orientation table, and its length."""
    above = image[y - 1, x:]
    here = image[y, x - 1 :]
    below = image[y + 1, x:]
    for c in range(n):
        gx = np.int32(here[c + 2]) - np.int32(here[c])
        gy = np.int32(below[c]) - np.int32(above[c])
        index[c] = gy * np.int32(511) + gx + np.int32(130560)
        length[c] = np.sqrt(np.float32(gx * gx + gy * gy))


@kernel(fastmath=True)
def _vote(index, length, orientations, weights, blocks, n_blocks):
    """Add 8 rows of pixels to their blocks' histograms, (n_blocks, 18, 4) flat; n_blocks even.

    The 64 pixels between four cell centres vote for the same four cells, so one pixel is one addition of four
    weighted lengths. Two blocks take turns: votes for one bin wait for each other.
    """
    for k in range(0, n_blocks, 2):
        first = np.uint64(k * BLOCK)
        second = np.uint64((k + 1) * BLOCK)
        for p in range(8):
            row = index[p]
            votes = length[p]
            for q in range(8):
                weight = np.uint64((p * 8 + q) * 4)
                i = np.uint64(k * 8 + q)
                j = np.uint64(k * 8 + 8 + q)
                at = first + np.uint64(orientations[np.uint64(np.uint32(row[i]))])
                also = second + np.uint64(orientations[np.uint64(np.uint32(row[j]))])
                add_scaled4(blocks, at, weights, weight, votes[i])
                add_scaled4(blocks, also, weights, weight, votes[j])


@kernel(fastmath=True)
def _features(histogram, above, below, out, base, n):
    """One row of n cells: histograms (18, n+2), clips (2, n+1) of corners above and below -> 31 planes from `base`."""
    l1, l2, l3, l4 = below[0, 1:], above[0, 1:], below[0], above[0]
    s1, s2, s3, s4 = below[1, 1:], above[1, 1:], below[1], above[1]
    t1, t2, t3, t4 = out[27, base:], out[28, base:], out[29, base:], out[30, base:]
    for o in range(18):
        values = histogram[o, 1:]
        plane = out[o, base:]
        for k in range(n):
            v = values[k]
            a = min(v, l1[k]) * s1[k]
            b = min(v, l2[k]) * s2[k]
            c = min(v, l3[k]) * s3[k]
            d = min(v, l4[k]) * s4[k]
            plane[k] = (a + b) + (c + d)
            t1[k] += a
            t2[k] += b
            t3[k] += c
            t4[k] += d
    texture = np.float32(2 * 0.2357)
    for k in range(n):
        t1[k] *= texture
        t2[k] *= texture
        t3[k] *= texture
        t4[k] *= texture
    for o in range(9):
        values = histogram[o, 1:]
        opposite = histogram[o + 9, 1:]
        plane = out[o + 18, base:]
        for k in range(n):
            v = values[k] + opposite[k]
            plane[k] = (min(v, l1[k]) * s1[k] + min(v, l2[k]) * s2[k]) + (min(v, l3[k]) * s3[k] + min(v, l4[k]) * s4[k])


@kernel(fastmath=True)
def extract(image, height, width, top, left, rows, columns, tables, work, planes):
    """HOG planes of a part of an image: (height, >= width) uint8 -> planes (31, >= rows*columns) float32.

    Rows and columns count as in dlib's planes padded for a 10x10 filter: four zero cells before and five after the
    features. What lies outside of them is zero, so a part equals the same part of the whole. Returns the range of rows
    that hold features.
    """
    orientations, weights = tables
    index, length, blocks, histogram, energy, clip = work
    for i in range(PLANES):
        for k in range(rows * columns):
            planes[i, k] = 0
    cells_r = int(np.float32(height) / np.float32(8) + 0.5)
    cells_c = int(np.float32(width) / np.float32(8) + 0.5)
    y0 = max(top - 4, 0)
    y1 = min(top - 4 + rows, cells_r - 2)
    x0 = max(left - 4, 0)
    x1 = min(left - 4 + columns, cells_c - 2)
    if y1 <= y0 or x1 <= x0:
        return 0, 0
    nx = x1 - x0 + 2  # cells: one more than features on each side
    n_blocks = (nx + 2) // 2 * 2  # one more than cells, made even
    first_x = 8 * (x0 - 1) + 4
    begin = max(1, first_x)
    end = min(min(cells_c * 8, width) - 1, first_x + 8 * n_blocks)
    end_y = min(cells_r * 8, height) - 1
    for j in range(y1 - y0 + 3):
        current = blocks[j & 1]
        before = blocks[1 - (j & 1)]
        for k in range(n_blocks * BLOCK):
            current[k] = 0
        for p in range(8):
            y = 8 * (y0 - 1 + j) + 4 + p
            if y < 1 or y >= end_y:
                length[p, : 8 * n_blocks] = 0
            else:
                length[p, : begin - first_x] = 0
                length[p, end - first_x : 8 * n_blocks] = 0
                at = begin - first_x
                _gradients(image, y, begin, end - begin, index[p, at:], length[p, at:])
        _vote(index, length, orientations, weights, current, n_blocks)
        if j == 0:
            continue
        cells = histogram[(j - 1) & 1]
        for o in range(18):
            inner = cells[o]
            lower = current[o * 4 :]
            upper = before[o * 4 :]
            for k in range(nx):
                inner[k] = (lower[(k + 1) * BLOCK] + lower[k * BLOCK + 1]) + (
                    upper[(k + 1) * BLOCK + 2] + upper[k * BLOCK + 3]
                )
        sums = energy[(j - 1) & 1]
        sums[:nx] = 0
        for o in range(9):
            one = cells[o]
            two = cells[o + 9]
            for k in range(nx):
                s = one[k] + two[k]
                sums[k] += s * s
        if j < 2:
            continue
        others = energy[j & 1]
        corner = clip[j & 1]  # what the four cells around a corner scale with; these corners lie below cells j-2
        for k in range(nx - 1):
            s = sums[k] + sums[k + 1] + others[k] + others[k + 1] + np.float32(0.0001)
            level = np.float32(0.2) * np.sqrt(s)
            corner[0, k] = level
            corner[1, k] = np.float32(0.1) / level
        if j < 3:
            continue
        base = (y0 + j - 3 - (top - 4)) * columns + x0 - (left - 4)
        _features(histogram[j & 1], clip[1 - (j & 1)], corner, planes, base, nx - 2)
    return y0 - (top - 4), y1 - (top - 4)


@kernel(fastmath=True)
def _along_rows(f, v, w, begin, n, first, second):
    """first[begin:begin+n], second[...] = the correlations of f[begin:begin+n+9] with v and w, whose loads they share.

    Rows lie one behind the other, so the last 9 values of each are void.
    """
    v0, v1, v2, v3, v4, v5, v6, v7, v8, v9 = v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9]
    w0, w1, w2, w3, w4, w5, w6, w7, w8, w9 = w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8], w[9]
    f, first, second = f[begin:], first[begin:], second[begin:]
    for i in range(n):
        x = f[i]
        a, b = x * v0, x * w0
        x = f[i + 1]
        a, b = a + x * v1, b + x * w1
        x = f[i + 2]
        a, b = a + x * v2, b + x * w2
        x = f[i + 3]
        a, b = a + x * v3, b + x * w3
        x = f[i + 4]
        a, b = a + x * v4, b + x * w4
        x = f[i + 5]
        a, b = a + x * v5, b + x * w5
        x = f[i + 6]
        a, b = a + x * v6, b + x * w6
        x = f[i + 7]
        a, b = a + x * v7, b + x * w7
        x = f[i + 8]
        a, b = a + x * v8, b + x * w8
        x = f[i + 9]
        first[i], second[i] = a + x * v9, b + x * w9


@kernel(fastmath=True)
def _along_columns(line, width, w, n, sums):
    """sums[:n] += the correlation of w with ten rows of `line`, `width` apart."""
    l1, l2, l3 = line[width:], line[2 * width :], line[3 * width :]
    l4, l5, l6 = line[4 * width :], line[5 * width :], line[6 * width :]
    l7, l8, l9 = line[7 * width :], line[8 * width :], line[9 * width :]
    w0, w1, w2, w3, w4, w5, w6, w7, w8, w9 = w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8], w[9]
    for i in range(n):
        a = sums[i] + line[i] * w0 + l1[i] * w1 + l2[i] * w2 + l3[i] * w3 + l4[i] * w4
        sums[i] = a + l5[i] * w5 + l6[i] * w6 + l7[i] * w7 + l8[i] * w8 + l9[i] * w9


@kernel(fastmath=True)
def correlate(planes, rows, columns, filled, bank, lines, sums):
    """Sum of separable 10x10 filters: planes (31, rows*columns) -> sums (5, (rows-9)*columns), last 9 columns void.

    `filled` is the range of rows that are not zero; `lines` (2, > rows*columns) is scratch.
    """
    planes_of, detectors_of, row_filters, column_filters, _ = bank
    m = (rows - 9) * columns
    for d in range(sums.shape[0]):
        sums[d, :m] = 0
    begin, end = filled[0] * columns, min(filled[1] * columns, rows * columns - 9)
    if end <= begin:
        return
    lines[:, :begin] = 0
    lines[:, end : rows * columns] = 0
    k = 0
    while k < planes_of.size:
        # A plane's filters go in pairs; an odd one out is its own partner.
        pair = 1 if k + 1 < planes_of.size and planes_of[k + 1] == planes_of[k] else 0
        plane = planes[planes_of[k]]
        _along_rows(plane, row_filters[k], row_filters[k + pair], begin, end - begin, lines[0], lines[1])
        for i in range(pair + 1):
            _along_columns(lines[i], columns, column_filters[k + i], m, sums[detectors_of[k + i]])
        k += pair + 1


@kernel
def search_windows(layers, jobs, edges, bank, margin, tables, work, planes, lines, sums, found, n_found):
    """Score windows of some layers; append those above -margin to `found` (N, 14) float64.

    Each of `jobs` (J, 5) is a layer and the top, left, bottom, right (half-open) of its window positions. `layers`
    holds all layers' pixels in one array, with offset, height, width and stride of each; `edges` all layers' boxes'
    edges by row and column of windows, with the first of each layer. A row of `found`: score above the threshold,
    detector, layer, row, column; left, top, right, bottom of the box in the search's image, then in the frame; area in
    the frame. Returns the new count, which may exceed N: then `found` was too small.
    """
    pixels, layout = layers
    row_edges, column_edges, firsts = edges
    thresholds = bank[4]
    for j in range(jobs.shape[0]):
        level, top, left, bottom, right = jobs[j]
        offset, height, width, stride = layout[level]
        image = pixels[offset : offset + height * stride].reshape(height, stride)
        rows = bottom - top + 9
        columns = right - left + 9
        filled = extract(image, height, width, top - 5, left - 5, rows, columns, tables, work, planes)
        correlate(planes, rows, columns, filled, bank, lines, sums)
        for d in range(thresholds.size):
            scores = sums[d]
            lowest = thresholds[d] - margin
            for r in range(bottom - top):
                for c in range(right - left):
                    score = np.float64(scores[r * columns + c])
                    if score >= lowest:
                        if n_found < found.shape[0]:
                            row = found[n_found]
                            row[0] = score - thresholds[d]
                            row[1] = d
                            row[2] = level
                            row[3] = top + r
                            row[4] = left + c
                            for i in range(4):
                                row[5 + 2 * i] = column_edges[firsts[level, 1] + left + c - 5, i]
                                row[6 + 2 * i] = row_edges[firsts[level, 0] + top + r - 5, i]
                            row[13] = max(row[11] - row[9], 0.0) * max(row[12] - row[10], 0.0)
                        n_found += 1
    return n_found


@kernel
def overlap(a, b, union_share, covered_share):
    """Whether two boxes (left, top, right, bottom, inclusive) exclude each other: dlib's test_box_overlap."""
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    if width <= 0 or height <= 0:
        return False
    inner = width * height
    outer = (max(a[2], b[2]) - min(a[0], b[0]) + 1) * (max(a[3], b[3]) - min(a[1], b[1]) + 1)
    area_a = (a[2] - a[0] + 1) * (a[3] - a[1] + 1)
    area_b = (b[2] - b[0] + 1) * (b[3] - b[1] + 1)
    return inner / outer > union_share or inner / area_a > covered_share or inner / area_b > covered_share


@kernel
def suppress(found, union_share, covered_share, overlaps, by):
    """Greedy non-maximum suppression of (N, 14) detections, best first.

    overlaps (N, N) bool: which exclude each other; by (N,) int64: the kept one that excludes i, i itself where kept.
    """
    for i in range(found.shape[0]):
        by[i] = i
        for j in range(i):
            both = overlap(found[i, 5:9], found[j, 5:9], union_share, covered_share)
            overlaps[i, j] = both
            overlaps[j, i] = both
            if both and by[i] == i and by[j] == j:
                by[i] = j
