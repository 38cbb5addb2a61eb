"""Action units and shape as a feature of crops: a vector for each step, beside the sequence's first crop."""

import numpy as np
from numpy.typing import NDArray

from fastck.config import UNIT_VALUES
from fastck.faces.appearance import Look
from fastck.faces.box import FaceBox
from fastck.faces.mirror import mirrored_names, mirrored_shape
from fastck.faces.units import UNITS, UnitReader

UNIT_MIRROR = mirrored_names(UNITS)


def mirrored_rows(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return rows (..., UNIT_VALUES) of the face seen in a mirror: sides change places, and columns their sign."""
    units, shape = rows[..., : len(UNITS)], rows[..., len(UNITS) :]
    return np.concatenate([units[..., UNIT_MIRROR], mirrored_shape(shape)], axis=-1)


class UnitPass:
    """Reads the crops of one sequence, stretch after stretch; not to be shared between threads."""

    def __init__(self) -> None:
        self._reader = UnitReader()
        self._rest: Look | None = None

    def rows(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the steps of a stretch of crops, (T-1, 1, UNIT_VALUES): intensities, 0 to 5, then shape.

        Parameters
        ----------
        crops : ndarray of shape (T, N, N), uint8
            The first is the sequence's first, the face at rest, or the last of the stretch before.
        """
        # The crop is the face's box.
        box = FaceBox(0, 0, *crops.shape[1:])
        if self._rest is None:
            self._rest = self._reader(crops[0], box)
        looks = [self._reader(crop, box) for crop in crops[1:]]
        units = [self._reader.model.intensities([look], self._rest)[0] for look in looks]
        rows = [np.concatenate([unit, look.shape]) for unit, look in zip(units, looks, strict=True)]
        return np.array(rows, np.float32).reshape(len(looks), 1, UNIT_VALUES)
