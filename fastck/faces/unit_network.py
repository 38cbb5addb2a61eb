"""Small networks that see a face beside another one, usually the same face at rest; with NumPy alone."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastck.faces.appearance import GRID, N_PATCHES, N_SHAPE, PATCH_LEVELS, Look
from fastck.faces.convolution import TAPS, as_maps, patches
from fastck.faces.dense import Floats, blas, read_dense, read_layers
from fastck.kernels.landmarks import DIRECTIONS

MIDDLE = 64  # levels of a cell that count as 0, and stand beyond the picture
SHAPE_SCALE, POSE_SCALE, PATCH_SCALE = np.float32(20), np.float32(3), np.float32(5)  # of the networks' inputs
N_POINTS = 2 * (N_SHAPE + 3)  # values of them


def each(values: NDArray[Any], n: int) -> NDArray[Any]:
    """Return what N faces stand beside, a row for each: G rows, each beside as many faces, one after another."""
    return np.repeat(values, n // len(values), axis=0)


def points_inputs(faces: Look, beside: Look, mean: Floats) -> Floats:
    """Return what a network takes of points and pose, (N, 278): change, place beside the mean, turn, and its change."""
    shape, pose = (each(values, len(faces.shape)) for values in (beside.shape, beside.pose))
    parts = [
        (faces.shape - shape) * SHAPE_SCALE,
        (faces.shape - mean) * SHAPE_SCALE,
        faces.pose * POSE_SCALE,
        (faces.pose - pose) * POSE_SCALE,
    ]
    return np.concatenate(parts, axis=1).astype(np.float32)


def patches_inputs(faces: Look, beside: Look) -> Floats:
    """Return what a network takes of patches, (N, 3232): their change."""
    change = faces.patches.astype(np.float32) - each(np.asarray(beside.patches, np.float32), len(faces.patches))
    return np.asarray(change * (PATCH_SCALE / np.float32(PATCH_LEVELS)), np.float32)


class PatchNetwork:
    """Dense layers on the points and on how the patches have changed.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        Of a model file.
    name : str
        Of the network in it.

    Raises
    ------
    KeyError, ValueError
        If an array is missing, does not fit or is not finite.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]], name: str) -> None:
        self.dense, self._mean = read_dense(arrays, f"{name}/dense"), arrays[f"{name}/mean_shape"].astype(np.float32)
        if self._mean.shape != (N_SHAPE,) or not np.isfinite(self._mean).all():
            raise ValueError(f"{name}/mean_shape must be finite and of shape {(N_SHAPE,)}")
        if len(self.dense.kernels[0]) != N_POINTS + N_PATCHES:
            raise ValueError(f"{name}/dense must take {N_POINTS + N_PATCHES} values: it does not fit")

    def __call__(self, faces: Look, beside: Look) -> Floats:
        """Return the outputs (N, M) float32; as `CellNetwork`, with the average face that it was fitted with."""
        values = np.concatenate([points_inputs(faces, beside, self._mean), patches_inputs(faces, beside)], axis=1)
        with blas().limit(limits=1, user_api="blas"):
            return self.dense(values)


class CellNetwork:
    """Two convolutions of 3x3 taps and a stride of 2 on the cells of both faces, then dense layers on points as well.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        Of a model file.
    name : str
        Of the network in it.

    Raises
    ------
    KeyError, ValueError
        If an array is missing, does not fit or is not finite.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]], name: str) -> None:
        # The first convolution is linear in the face's cells and in those of the other one.
        ((self._face, self._bias), self._second) = read_layers(arrays, f"{name}/maps")
        ((self._beside, _),) = read_layers(arrays, f"{name}/beside")
        self.dense = read_dense(arrays, f"{name}/dense")
        side = GRID // 4  # cells of the second convolution's maps
        wanted = {
            "maps/kernel0": (self._face, (TAPS**2 * DIRECTIONS, self._face.shape[1])),
            "beside/kernel0": (self._beside, self._face.shape),
            "maps/kernel1": (self._second[0], (TAPS**2 * self._face.shape[1], self._second[0].shape[1])),
            "dense/kernel0": (
                self.dense.kernels[0],
                (side**2 * self._second[0].shape[1] + N_POINTS, self.dense.kernels[0].shape[1]),
            ),
        }
        for part, (kernel, shape) in wanted.items():
            if kernel.shape != shape:
                raise ValueError(f"{name}/{part} must have the shape {shape}, got {kernel.shape}: it does not fit")

    def __call__(self, faces: Look, beside: Look, mean: Floats) -> Floats:
        """Return the outputs (N, M) float32.

        Parameters
        ----------
        faces : Look
            Arrays with a row for each of N faces.
        beside : Look
            Arrays with G rows: the first stands beside the first N / G faces, and so on.
        mean : ndarray of shape (136,), float32
            The shape of the average face.
        """
        points = points_inputs(faces, beside, mean)
        with blas().limit(limits=1, user_api="blas"):
            seen, other = self._first(faces.cells, self._face), self._first(beside.cells, self._beside) + self._bias
            pairs = seen.reshape(len(other), -1, *other.shape[1:])
            pairs += other[:, None]
            np.maximum(seen, 0, out=seen)
            kernel, bias = self._second
            maps = np.maximum(patches(seen, 2) @ kernel + bias, 0).reshape(len(seen), -1)
            return self.dense(np.concatenate([maps, points], axis=1))

    @staticmethod
    def _first(cells: NDArray[Any], kernel: Floats) -> Floats:
        """Return the first convolution's sums, (N, 24, 24, 8) -> (N, 12, 12, F)."""
        values = cells.astype(np.float32) - np.float32(MIDDLE)
        return as_maps(patches(values, 2) @ kernel, len(cells))
