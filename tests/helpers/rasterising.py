"""A plain rasteriser, and the checks that the compiled loops and their plain Python both have to pass."""

import numpy as np

from fastck.kernels import raster

FAR = -9.0


def plain_rasterise(screen: np.ndarray, triangles: np.ndarray, two_sided: np.ndarray, height: int, width: int):
    """The same picture without a clever step: every triangle tests every pixel."""
    hit, depth = np.full((height, width), -1), np.full((height, width), FAR)
    rows, columns = np.mgrid[:height, :width]
    for f, corners in enumerate(screen[triangles]):
        (x0, y0, z0), (x1, y1, z1), (x2, y2, z2) = corners
        doubled = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if abs(doubled) <= 1e-6 or (doubled > 0 and not two_sided[f]):
            continue
        w0 = ((x1 - columns) * (y2 - rows) - (x2 - columns) * (y1 - rows)) / doubled
        w1 = ((x2 - columns) * (y0 - rows) - (x0 - columns) * (y2 - rows)) / doubled
        w2 = 1 - w0 - w1
        z = w0 * z0 + w1 * z1 + w2 * z2
        nearer = (np.minimum(np.minimum(w0, w1), w2) >= -1e-6) & ((hit < 0) | (z > depth))
        hit[nearer], depth[nearer] = f, z[nearer]
    return hit, depth


def compiled_rasterise(screen: np.ndarray, triangles: np.ndarray, two_sided: np.ndarray, height: int, width: int):
    hit, depth = np.empty((height, width), np.int32), np.full((height, width), FAR, np.float32)
    weights = np.zeros((height, width, 2), np.float32)
    raster.rasterise(screen, triangles, two_sided, hit, weights, depth)
    return hit, weights, depth


def check_rasteriser(seed: int, height: int, width: int) -> None:
    """Rasterise random triangles and compare with the plain version."""
    rng = np.random.default_rng(seed)
    screen = rng.uniform(-10, 50, (30, 3))
    triangles = rng.integers(0, 30, (25, 3)).astype(np.int32)  # some are degenerate
    two_sided = rng.random(25) < 0.3
    hit, depth = plain_rasterise(screen, triangles, two_sided, height, width)
    fast_hit, weights, fast_depth = compiled_rasterise(screen, triangles, two_sided, height, width)
    # A pixel exactly between two triangles may go to either: rounding differs. The depth may not.
    np.testing.assert_allclose(fast_depth, depth, rtol=0, atol=1e-4)
    assert ((fast_hit >= 0) == (hit >= 0)).all()
    covered = fast_hit >= 0
    first, second = weights[covered].T
    corners = screen[triangles[fast_hit[covered]]][..., :2]
    place = first[:, None] * corners[:, 0] + second[:, None] * corners[:, 1]
    place += (1 - first - second)[:, None] * corners[:, 2]
    np.testing.assert_allclose(place, np.argwhere(covered)[:, ::-1], atol=1e-3)


def check_film_noise(size: int) -> None:
    """Expose one gray level with noise: the spread is the one asked for, and the key alone decides."""
    image = np.full(size, 0.5, np.float32)
    curve = np.linspace(0, 255, 4096, dtype=np.float32)
    frames = np.empty((3, size), np.uint8)
    for frame, key in zip(frames, (7, 7, 8), strict=True):
        raster.expose(image, curve, np.float32(4), np.uint64(key), frame)
    assert (frames[0] == frames[1]).all()
    if size > 1000:
        assert abs(frames[0].mean() - 127.5) < 0.15
        assert abs(frames[0].std() - 4) < 0.1
        assert abs(np.corrcoef(frames[0], frames[2])[0, 1]) < 0.02
        assert abs(np.corrcoef(frames[0][:-1], frames[0][1:])[0, 1]) < 0.02


def check_tone_curve() -> None:
    """Expose without noise: only the tone curve is left."""
    image = np.array([-1, 0, 0.25, 0.5, 1, 2], np.float32)
    out = np.empty(6, np.uint8)
    raster.expose(image, np.linspace(0, 255, 4096, dtype=np.float32), np.float32(0), np.uint64(0), out)
    assert out.tolist() == [0, 0, 64, 128, 255, 255]
