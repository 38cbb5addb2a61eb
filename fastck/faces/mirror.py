"""Faces as a mirror shows them: points and the sides of units change places."""

import numpy as np
from numpy.typing import NDArray

# The mirrored face's point for each point: outline, brows, nose, eyes, lips outside and inside.
MIRRORED = np.array([
    *range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1), 45, 44, 43, 42, 47, 46,
    39, 38, 37, 36, 41, 40, *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), 67, 66, 65,
])  # fmt: skip


def mirrored_names(names: tuple[str, ...]) -> NDArray[np.intp]:
    """Return for each unit which one is in its place on a mirrored face: of AU12_left AU12_right, of AU17 itself."""
    other = {"left": "right", "right": "left"}
    parts = [name.partition("_") for name in names]
    return np.array([names.index(f"{name}_{other[side]}" if side else name) for name, _, side in parts])


def mirrored_shape(shape: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the shapes (..., 136) of mirrored faces."""
    points = shape.reshape(*shape.shape[:-1], len(MIRRORED), 2)[..., MIRRORED, :] * np.array([-1, 1], np.float32)
    return np.asarray(points.reshape(shape.shape), np.float32)
