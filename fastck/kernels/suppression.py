"""dlib's non-maximum suppression (image_processing/box_overlap_testing.h, object_detector.h)."""

from fastck.kernels import kernel


@kernel
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
def suppress(found, iou, percent_covered, overlaps, by):
    """Greedy non-maximum suppression of (N, 14) detections, best first.

    overlaps (N, N) bool: which suppress each other; by (N,) int64: the kept one that suppresses i, i itself where kept.
    """
    for i in range(found.shape[0]):
        by[i] = i
        for j in range(i):
            both = overlap(found[i, 5:9], found[j, 5:9], iou, percent_covered)
            overlaps[i, j] = both
            overlaps[j, i] = both
            if both and by[i] == i and by[j] == j:
                by[i] = j
