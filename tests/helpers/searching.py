"""What the face search computes, written plainly: checks for the compiled loops and for their plain Python."""

import dlib
import numpy as np

import fastck.faces.search as search_module
from fastck.faces.pyramid import Pyramid, doubled
from fastck.faces.search import orientation_table
from fastck.kernels import hog


def check_levels(shape: tuple[int, int], upsample: int) -> None:
    """Compare every level of the pyramid with dlib's, pixel for pixel."""
    gray = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    pyramid = Pyramid(shape, upsample)
    pyramid.build(gray)
    level = gray
    for _ in range(upsample):
        level = dlib.resize_image(level, *doubled(level.shape))
    shrink = dlib.pyramid_down(6)
    for ours in pyramid.images:
        np.testing.assert_array_equal(ours[:, : level.shape[1]], level)
        level = shrink(level)


def check_features() -> None:
    """Felzenszwalb's features written plainly, pixel by pixel, on 40x48 pixels."""
    gray = np.random.default_rng(3).integers(0, 256, (40, 48), np.uint8)
    expected = plain_hog(gray)
    rows, columns = expected.shape[1] + 9, expected.shape[2] + 9
    cells = np.zeros((rows, columns + 3, 32), np.float32)
    image = np.zeros((40, 80), np.uint8)
    image[:, :48] = gray
    cells[:4] = cells[-4:] = 7  # what an earlier image left
    cells[..., 31] = 0
    basis = np.random.default_rng(4).normal(0, 0.1, (32, 16)).astype(np.float32)
    basis[:, 15], basis[31, :8] = 0, np.arange(8)
    tables = (orientation_table(), search_module.vote_weights(), basis)
    planes = np.full((rows + 1, columns + 3, 16), 7, np.float32)
    filled = hog.extract(
        image.ravel(),
        40,
        48,
        0,
        0,
        rows,
        columns,
        columns + 3,
        tables,
        search_module.hog_buffers(columns),
        cells.ravel(),
        planes.ravel(),
    )
    assert filled == (4, rows - 5)
    np.testing.assert_allclose(cells[4:-5, 4:-8, :31].transpose(2, 0, 1), expected, atol=1e-5)
    sums = cells @ basis[:, :15]
    left = (cells[..., :24] ** 2).sum(axis=-1) + cells[..., 24:] ** 2 @ basis[31, :8] - (sums**2).sum(axis=-1)
    inner, at = (slice(4, rows - 5), slice(4, columns - 5)), (slice(0, 15), 15)
    np.testing.assert_allclose(planes[*inner, at[0]], sums[inner], atol=1e-6)
    np.testing.assert_allclose(planes[*inner, at[1]], np.sqrt(np.maximum(left[inner], 0) + hog.GUARD), atol=1e-5)
    # Sums beside the features are zero, and no length is less than zero.
    for border in (planes[:4], planes[rows - 5 : rows, 8:], planes[4:-6, :4, :15], planes[4:-6, columns - 5 :, :15]):
        assert not border.any()
    assert (planes[:rows, :, 15] >= 0).all()
    cells[4:-5, 4:-8, :31] = 0
    assert not cells.any()


def plain_hog(gray: np.ndarray) -> np.ndarray:
    rows, columns = (int(side / 8 + 0.5) for side in gray.shape)
    pixels = gray.astype(int)
    orientations = orientation_table() // 4
    cells = np.zeros((rows + 2, columns + 2, 18))
    for y in range(1, min(rows * 8, gray.shape[0]) - 1):
        for x in range(1, min(columns * 8, gray.shape[1]) - 1):
            dx = pixels[y, x + 1] - pixels[y, x - 1]
            dy = pixels[y + 1, x] - pixels[y - 1, x]
            o = orientations[(dy + 255) * 512 + dx + 255]
            cy, cx = (y + 0.5) / 8 + 0.5, (x + 0.5) / 8 + 0.5
            for r, wy in ((int(cy), 1 - cy % 1), (int(cy) + 1, cy % 1)):
                for c, wx in ((int(cx), 1 - cx % 1), (int(cx) + 1, cx % 1)):
                    cells[r, c, o] += wy * wx * np.hypot(dx, dy)
    cells = cells[1:-1, 1:-1]
    both = cells[..., :9] + cells[..., 9:]
    energy = (both**2).sum(axis=-1)
    corners = energy[:-1, :-1] + energy[1:, :-1] + energy[:-1, 1:] + energy[1:, 1:]
    scale = 1 / np.sqrt(corners + 0.0001)
    out = np.zeros((31, rows - 2, columns - 2))
    for y in range(rows - 2):
        for x in range(columns - 2):
            scales = np.array([scale[y + 1, x + 1], scale[y, x + 1], scale[y + 1, x], scale[y, x]])
            clipped = np.minimum(cells[y + 1, x + 1][:, None] * scales, 0.2)
            out[:18, y, x] = clipped.sum(axis=1) / 2
            out[18:27, y, x] = np.minimum(both[y + 1, x + 1][:, None] * scales, 0.2).sum(axis=1) / 2
            out[27:, y, x] = 0.2357 * clipped.sum(axis=0)
    return out
