"""Undoing PNG's row filters (PNG specification, third edition, section 9), for 8-bit gray and RGB."""

import numpy as np

from fastck.kernels import kernel

# libpng weights RGB for gray as OpenCV asks it to (0.299, 0.587, rest), truncated to 15-bit fixed point. The sum
# is truncated as well, which is why cv2.cvtColor (rounded) differs from cv2.imread by one in half of the pixels.
RED, GREEN, BLUE = 9797, 19234, 3737

# Paeth's predictor is the one of left (a), above (b), above left (c) that is nearest to a + b - c. With
# distance = 3c - a - b this is the smaller of a and b where distance >= the larger, the larger where distance <= the
# smaller, else c: the same, ties included, without absolute values or branches (the form of stb_image). It halves the
# time of the chain from pixel to pixel.


@kernel
def unfilter_gray(raw, out):
    """Undo the filters of 8-bit gray rows: (H, 1+W) uint8, filter type first, -> (H, W) uint8."""
    height, width = out.shape
    for r in range(height):
        kind = raw[r, 0]
        if kind == 0 or (kind == 2 and r == 0):  # the row above the first counts as zeros
            for i in range(width):
                out[r, i] = raw[r, i + 1]
        elif kind == 1 or (kind == 4 and r == 0):
            left = np.uint8(0)
            for i in range(width):
                left = np.uint8(left + raw[r, i + 1])
                out[r, i] = left
        elif kind == 2:
            for i in range(width):
                out[r, i] = np.uint8(raw[r, i + 1] + out[r - 1, i])
        elif kind == 3:
            a = np.int32(0)
            for i in range(width):
                b = np.int32(out[r - 1, i]) if r > 0 else np.int32(0)
                a = np.int32((raw[r, i + 1] + ((a + b) >> 1)) & 255)
                out[r, i] = np.uint8(a)
        else:
            a = np.int32(0)
            c = np.int32(0)
            for i in range(width):
                b = np.int32(out[r - 1, i])
                distance = 3 * c - b - a
                low, high = min(a, b), max(a, b)
                best = low if high <= distance else c
                best = high if distance <= low else best
                a = np.int32((raw[r, i + 1] + best) & 255)
                out[r, i] = np.uint8(a)
                c = b


@kernel
def unfilter_rgb_to_gray(raw, lines, out):
    """Undo the filters of 8-bit RGB rows and make them gray: (H, 1+3W), scratch lines (2, 3W) -> (H, W), all uint8."""
    height, width = out.shape
    lines[1] = 0  # the row above the first
    for r in range(height):
        kind = raw[r, 0]
        line, above = lines[r & 1], lines[1 - (r & 1)]
        if kind == 0:
            for i in range(3 * width):
                line[i] = raw[r, i + 1]
        elif kind == 1:
            red, green, blue = np.uint8(0), np.uint8(0), np.uint8(0)
            for i in range(width):
                red = np.uint8(red + raw[r, 3 * i + 1])
                green = np.uint8(green + raw[r, 3 * i + 2])
                blue = np.uint8(blue + raw[r, 3 * i + 3])
                line[3 * i] = red
                line[3 * i + 1] = green
                line[3 * i + 2] = blue
        elif kind == 2:
            for i in range(3 * width):
                line[i] = np.uint8(raw[r, i + 1] + above[i])
        elif kind == 3:
            a0, a1, a2 = np.int32(0), np.int32(0), np.int32(0)
            for i in range(width):
                a0 = np.int32((raw[r, 3 * i + 1] + ((a0 + above[3 * i]) >> 1)) & 255)
                a1 = np.int32((raw[r, 3 * i + 2] + ((a1 + above[3 * i + 1]) >> 1)) & 255)
                a2 = np.int32((raw[r, 3 * i + 3] + ((a2 + above[3 * i + 2]) >> 1)) & 255)
                line[3 * i] = np.uint8(a0)
                line[3 * i + 1] = np.uint8(a1)
                line[3 * i + 2] = np.uint8(a2)
        else:
            a0, a1, a2 = np.int32(0), np.int32(0), np.int32(0)
            c0, c1, c2 = np.int32(0), np.int32(0), np.int32(0)
            for i in range(width):
                b0, b1, b2 = np.int32(above[3 * i]), np.int32(above[3 * i + 1]), np.int32(above[3 * i + 2])
                a0 = np.int32((raw[r, 3 * i + 1] + _paeth(a0, b0, c0)) & 255)
                a1 = np.int32((raw[r, 3 * i + 2] + _paeth(a1, b1, c1)) & 255)
                a2 = np.int32((raw[r, 3 * i + 3] + _paeth(a2, b2, c2)) & 255)
                line[3 * i] = np.uint8(a0)
                line[3 * i + 1] = np.uint8(a1)
                line[3 * i + 2] = np.uint8(a2)
                c0, c1, c2 = b0, b1, b2
        for i in range(width):
            gray = RED * np.uint32(line[3 * i]) + GREEN * np.uint32(line[3 * i + 1]) + BLUE * np.uint32(line[3 * i + 2])
            out[r, i] = np.uint8(np.uint32(gray) >> np.uint32(15))


@kernel(inline="always")
def _paeth(a, b, c):
    """Return Paeth's predictor of one pixel: three int32 -> int32."""
    distance = 3 * c - b - a
    low, high = min(a, b), max(a, b)
    best = low if high <= distance else c
    return high if distance <= low else best
