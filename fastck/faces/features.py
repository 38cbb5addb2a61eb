"""Tables and buffers of the HOG kernels, and how the cells of images usually are."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from fastck.faces.pyramid import MARGIN, Pyramid
from fastck.kernels import hog

Gray = NDArray[np.uint8]

LEAVES, LEAVES_SIDE, SMALLEST_LEAF = 1500, 256, 4.0  # discs, pixels, pixels
SMOOTH = 8  # what smooth images count beside sharp ones; best of those tried


@cache
def orientation_table() -> NDArray[np.uint8]:
    """Return 4 times the orientation (0 to 17) of each gradient (dy, dx) in -255 to 255, ties as in dlib.

    512 to a row, flat.
    """
    cosines = (1.0, 0.9397, 0.7660, 0.5, 0.1736, -0.1736, -0.5, -0.7660, -0.9397)
    sines = (0.0, 0.3420, 0.6428, 0.8660, 0.9848, 0.9848, 0.8660, 0.6428, 0.3420)
    steps = np.arange(-255, 256, dtype=np.float32)
    best = np.zeros((511, 511), np.float32)
    # A column more than there are differences: rows of 512 are found by a shift.
    orientation = np.zeros((511, 512), np.uint8)
    for o, (cosine, sine) in enumerate(zip(cosines, sines, strict=True)):
        along = steps[None, :] * np.float32(cosine) + steps[:, None] * np.float32(sine)
        for number, value in ((o, along), (o + 9, -along)):
            better = value > best
            best[better] = value[better]
            orientation[:, :511][better] = number
    return (4 * orientation).ravel()


def vote_weights() -> NDArray[np.float32]:
    """Return the bilinear weights of a block's 64 pixels for its four cells, (64, 4) flat."""
    near = (np.arange(8) + 0.5) / 8
    pair = np.stack([1 - near, near])
    return np.einsum("ip,jq->pqij", pair, pair).astype(np.float32).ravel()


def hog_buffers(columns: int) -> tuple[NDArray[np.generic], ...]:
    """Return the scratch arrays that `hog.extract` wants for up to `columns` columns of cells."""
    blocks = columns + 16
    return (
        np.zeros(8 * hog.GRADIENTS, np.int32),
        np.zeros(8 * hog.GRADIENTS, np.float32),
        np.zeros((2, hog.BLOCK * blocks), np.float32),
        np.zeros((2, hog.ORIENTATIONS * blocks), np.float32),
        np.zeros((2, blocks), np.float32),
        np.zeros((2, 2, blocks), np.float32),
    )


def dead_leaves(seed: int) -> Gray:
    """Return an image of discs that cover each other: its edges have the statistics of photographs.

    Many small discs and few large ones (Lee, Mumford and Huang, "Occlusion models for natural images", 2001), with a
    little noise.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:LEAVES_SIDE, :LEAVES_SIDE]
    image = np.full(x.shape, 128.0)
    for _ in range(LEAVES):
        left, top = rng.uniform(0, LEAVES_SIDE, 2)
        radius = min(SMALLEST_LEAF / np.sqrt(1 - rng.uniform(0, 0.999)), LEAVES_SIDE / 3)
        around = tuple(slice(max(0, int(at - radius)), int(at + radius) + 2) for at in (top, left))
        image[around][(x[around] - left) ** 2 + (y[around] - top) ** 2 < radius**2] = rng.uniform(0, 255)
    return np.clip(image + rng.normal(0, 2, image.shape), 0, 255).astype(np.uint8)


def all_cells(image: Gray, width: int) -> NDArray[np.float32]:
    """Return the features of an image of that width, (N, 31); its rows have some columns more."""
    height = len(image)
    rows, columns = height // 8 + 8, width // 8 + 8
    cells = np.zeros((rows + 1, columns, hog.CELL), np.float32)
    begin, end = hog.extract(
        image.ravel(),
        height,
        width,
        0,
        0,
        rows,
        columns,
        columns,
        (orientation_table(), vote_weights(), np.zeros((hog.CELL, hog.REDUCED), np.float32)),
        hog_buffers(columns),
        cells.ravel(),
        np.zeros((rows + 1) * columns * hog.REDUCED, np.float32),
    )
    found = cells[begin:end, :, : hog.PLANES].reshape(-1, hog.PLANES)
    return found[found.any(axis=1)]


@cache
def usual_moments() -> NDArray[np.float64]:
    """Return the mean products of the planes of cells, (31, 31), of images like those that are searched.

    Most windows lie on doubled images, which are smooth; noise and small images are sharp.
    """
    moments = np.zeros((hog.PLANES, hog.PLANES))
    pyramid = Pyramid((LEAVES_SIDE, LEAVES_SIDE), 1)
    for seed in range(2):
        leaves = dead_leaves(seed)
        pyramid.build(leaves)
        smooth = all_cells(pyramid.images[1], pyramid.shapes[1][1])
        sharp = all_cells(np.pad(leaves, ((0, 0), (0, MARGIN))), LEAVES_SIDE)
        moments += SMOOTH * (smooth.T @ smooth) / len(smooth) + (sharp.T @ sharp) / len(sharp)
    return moments
