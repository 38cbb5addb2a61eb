"""What is seen of a face in a mirror: half of what the networks learn from."""

import numpy as np
from numpy.typing import NDArray

from fastck.faces.appearance import N_PATCHES, PATCH_CELLS, Look, patch_centres
from fastck.faces.mirror import mirrored_names, mirrored_shape
from fastck.faces.units import OUTPUTS
from fastck.kernels.landmarks import DIRECTIONS

FACING = [(DIRECTIONS // 2 - way) % DIRECTIONS for way in range(DIRECTIONS)]  # of a mirrored picture's gradients
OUTPUT_MIRROR = mirrored_names(OUTPUTS)
POSE_MIRROR = np.array([-1, 1, -1], np.float32)


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
