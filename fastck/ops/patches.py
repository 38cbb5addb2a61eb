"""A search on patches: the optical flow from one reference crop to others, compiled."""

import numpy as np
from numpy.typing import NDArray

from fastck.kernels import patches as kernels
from fastck.kernels.patches import MARGIN, PATCH, STEP

COARSEST = 32  # pixels; a level that is as large has one above it, of half the size
# Of each level, and of the coarsest: where a head has moved by a tenth of the crop, three leave it too far away.
ROUNDS, FIRST_ROUNDS = 3, 10


class PatchSearch:
    """Finds where the pixels of a reference crop are in other crops.

    Image pyramid, derivatives and Hessians of the reference are computed once.

    Parameters
    ----------
    size : int
        Height and width of the crops; at least COARSEST.
    """

    def __init__(self, size: int) -> None:
        self._levels = [_Level(size)]
        while self._levels[-1].side >= COARSEST:
            self._levels.append(_Level(self._levels[-1].side // 2))
        self._starts = [
            _between((finer.middles - 0.5) / 2, coarser.n)
            for finer, coarser in zip(self._levels[:-1], self._levels[1:], strict=True)
        ]
        self._pixels = _between(np.arange(size, dtype=np.float64), self._levels[0].n)
        self._flow = np.empty((size, size, 2), np.float32)

    def set_reference(self, crop: NDArray[np.uint8]) -> None:
        """Measure from this crop on, (size, size) uint8."""
        self._show(crop)
        for level in self._levels:
            kernels.describe(level.crop, level.planes, level.patches)

    def find(self, crop: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the flow from the reference to a crop in pixels, (size, size, 2); the next call overwrites it."""
        self._show(crop)
        self._levels[-1].motion[:] = 0
        for number, level in reversed([*enumerate(self._levels)]):
            coarsest = level is self._levels[-1]
            if not coarsest:
                kernels.refine(self._levels[number + 1].motion, *self._starts[number], level.motion)
            for _ in range(FIRST_ROUNDS if coarsest else ROUNDS):
                kernels.compare(level.crop, level.planes, level.patches, level.motion, level.terms)
                kernels.agree(level.terms, level.motion, level.line)
        kernels.spread(self._levels[0].motion, *self._pixels, self._levels[0].line, self._flow)
        return self._flow

    def _show(self, crop: NDArray[np.uint8]) -> None:
        """Make the image pyramid of a crop."""
        self._levels[0].crop[MARGIN:-MARGIN, MARGIN:-MARGIN] = crop
        kernels.enclose(self._levels[0].crop)
        for finer, coarser in zip(self._levels[:-1], self._levels[1:], strict=True):
            kernels.halve(finer.crop, coarser.crop)
            kernels.enclose(coarser.crop)


class _Level:
    """One level's arrays, as the kernels name them."""

    def __init__(self, side: int) -> None:
        self.side, self.n = side, (side - PATCH) // STEP + 1
        self.middles = STEP * np.arange(self.n) + (PATCH - 1) / 2
        self.crop = np.empty((side + 2 * MARGIN, side + 2 * MARGIN), np.float32)
        self.planes = np.empty((3, side, side), np.float32)
        self.patches, self.terms = (np.empty((5, self.n, self.n), np.float32) for _ in range(2))
        self.motion = np.zeros((2, self.n + 2, self.n + 2), np.float32)
        self.line = np.empty((2, self.n), np.float32)


def _between(places: NDArray[np.float64], n: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Return the patch before each place on an axis of n patches, and how near the next one is, 0 to 1."""
    at = np.clip((places - (PATCH - 1) / 2) / STEP, 0, n - 1)
    first = np.minimum(at.astype(np.intp), n - 2)
    return first, (at - first).astype(np.float32)
