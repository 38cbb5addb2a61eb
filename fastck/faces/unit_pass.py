"""Action units and shape as a feature of crops: a vector for each step, beside the sequence's first crop."""

import numpy as np
from numpy.typing import NDArray

from fastck.config import UNIT_VALUES
from fastck.faces.appearance import Look
from fastck.faces.box import FaceBox
from fastck.faces.units import UNITS, UnitReader

# The mirrored face's point for each point: outline, brows, nose, eyes, lips outside and inside.
_SPANS = ((0, 17), (17, 27), (31, 36), (48, 55), (55, 60), (60, 65), (65, 68))
_EYES = (45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40)


def mirror_points() -> NDArray[np.intp]:
    """Return for each point which one is in its place on the face seen in a mirror, (68,)."""
    order = np.arange(68)
    for first, end in _SPANS:
        order[first:end] = order[first:end][::-1]
    order[36:48] = _EYES
    return order


def mirrored_rows(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return rows (..., UNIT_VALUES) of the face seen in a mirror: sides change places, and columns their sign."""
    other = {"left": "right", "right": "left"}
    names = [name.partition("_") for name in UNITS]
    order = [UNITS.index(f"{name}_{other[side]}" if side else name) for name, _, side in names]
    units, shape = rows[..., : len(UNITS)], rows[..., len(UNITS) :]
    points = shape.reshape(*shape.shape[:-1], 68, 2)[..., mirror_points(), :] * np.array([-1, 1], np.float32)
    return np.concatenate([units[..., order], points.reshape(shape.shape)], axis=-1)


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
