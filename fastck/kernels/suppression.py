"""dlib's non-maximum suppression (image_processing/box_overlap_testing.h, object_detector.h)."""

from fastck.kernels import kernel

SLACK = 3.0  # pixels of the doubled image; boxes are rounded to whole ones


@kernel(inline="always")
def overlap(a, b, iou, percent_covered):
    """Whether two boxes (left, top, right, bottom, inclusive) suppress each other: dlib's test_box_overlap."""
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    if width <= 0 or height <= 0:
        return False
    inner = width * height
    outer = (max(a[2], b[2]) - min(a[0], b[0]) + 1) * (max(a[3], b[3]) - min(a[1], b[1]) + 1)
    area_a = (a[2] - a[0] + 1) * (a[3] - a[1] + 1)
    area_b = (b[2] - b[0] + 1) * (b[3] - b[1] + 1)
    return inner / outer > iou or inner / area_a > percent_covered or inner / area_b > percent_covered


@kernel
def suppress(boxes, iou, percent_covered, overlaps, by):
    """Greedy non-maximum suppression of detections, best first, by their boxes (N, 4): left, top, right, bottom.

    overlaps (N, N) bool: which suppress each other; by (N,) int64: the kept one that suppresses i, i itself where kept.
    """
    for i in range(boxes.shape[0]):
        by[i] = i
        for j in range(i):
            both = overlap(boxes[i], boxes[j], iou, percent_covered)
            overlaps[i, j] = both
            overlaps[j, i] = both
            if both and by[i] == i and by[j] == j:
                by[i] = j


@kernel(inline="always")
def reach(ratio, iou, percent_covered):
    """How far a square may stick out of another and still overlap with it, in sides of the other.

    `ratio` is the square's own side, also in these. One rule of `overlap` asks for more than `iou` of the smallest box
    around both, the other for more than `percent_covered` of either.
    """
    if ratio < 1:
        return max((ratio * ratio - iou) / (ratio + iou), (1 - percent_covered) * ratio)
    return max(ratio * (1 - iou) / (1 + ratio * iou), ratio - percent_covered)


@kernel
def _range_around(edges, first, n, low, high, iou, percent_covered):
    """Rows or columns of windows, counted from 5, whose boxes could overlap with one from `low` to `high`."""
    side = high - low + 1
    out = side * reach((edges[first, 1] - edges[first, 0] + 1) / side, iou, percent_covered) + SLACK
    begin = 0
    while begin < n and edges[first + begin, 0] < low - out:
        begin += 1
    end = begin
    while end < n and edges[first + end, 1] <= high + out:
        end += 1
    return 5 + begin, 5 + end


@kernel
def widen_around(boxes, edges, sizes, iou, percent_covered, windows):
    """Widen each level's part (top, left, bottom, right) in `windows` (L, 4) by all that could overlap with `boxes`.

    `edges` holds the edges of boxes by row and by column of windows, all levels' one behind the other, and where each
    level's begin; `sizes` (>= L, 2) the levels' rows and columns of windows. An empty part has its bottom above its
    top. Levels without windows stay as they are.
    """
    row_edges, column_edges, firsts = edges
    for level in range(windows.shape[0]):
        if sizes[level, 0] == 0:
            continue
        part = windows[level]
        for box in boxes:
            top, bottom = _range_around(
                row_edges, firsts[level, 0], sizes[level, 0], box[1], box[3], iou, percent_covered
            )
            left, right = _range_around(
                column_edges, firsts[level, 1], sizes[level, 1], box[0], box[2], iou, percent_covered
            )
            part[0] = min(part[0], top)
            part[1] = min(part[1], left)
            part[2] = max(part[2], bottom)
            part[3] = max(part[3], right)
