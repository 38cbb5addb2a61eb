"""Faces as a mirror shows them: points, gradients and the sides of units change places."""

import numpy as np
from numpy.typing import NDArray

from fastck.faces.appearance import N_PATCHES, PATCH_CELLS, Look, patch_centres
from fastck.kernels.landmarks import DIRECTIONS

# The mirrored face's point for each point: outline, brows, nose, eyes, lips outside and inside.
MIRRORED = np.array([
    *range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1), 45, 44, 43, 42, 47, 46,
    39, 38, 37, 36, 41, 40, *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), 67, 66, 65,
])  # fmt: skip
FACING = [(DIRECTIONS // 2 - way) % DIRECTIONS for way in range(DIRECTIONS)]  # of a mirrored picture's gradients
POSE_MIRROR = np.array([-1, 1, -1], np.float32)


def mirrored_names(names: tuple[str, ...]) -> NDArray[np.intp]:
    """Return for each unit which one is in its place on a mirrored face: of AU12_left AU12_right, of AU17 itself."""
    other = {"left": "right", "right": "left"}
    parts = [name.partition("_") for name in names]
    return np.array([names.index(f"{name}_{other[side]}" if side else name) for name, _, side in parts])


def mirrored_shape(shape: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the shapes (..., 136) of mirrored faces."""
    points = shape.reshape(*shape.shape[:-1], len(MIRRORED), 2)[..., MIRRORED, :] * np.array([-1, 1], np.float32)
    return np.asarray(points.reshape(shape.shape), np.float32)


def patch_mirror() -> NDArray[np.intp]:
    """Return where each value of the patches comes from in a mirrored picture."""
    centres = patch_centres()
    places = {(float(x), float(y)): number for number, (x, y) in enumerate(centres)}
    middle = float(centres[:, 0].min() + centres[:, 0].max())
    index = np.arange(N_PATCHES).reshape(len(centres), PATCH_CELLS, PATCH_CELLS, DIRECTIONS)
    other = [places[middle - float(x), float(y)] for x, y in centres]
    return index[other][:, :, ::-1][..., FACING].ravel()


PATCH_MIRROR = patch_mirror()


def mirrored_look(look: Look) -> Look:
    """Return looks as of mirrored pictures; arrays with rows. Patches may be left out."""
    patches = look.patches[:, PATCH_MIRROR] if look.patches.shape[1] else look.patches
    return Look(mirrored_shape(look.shape), look.pose * POSE_MIRROR, patches, look.cells[:, :, ::-1][..., FACING])
