"""Small dense networks whose weights are bytes, run with NumPy alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Dense:
    """Dense layers with rectified units between them.

    Attributes
    ----------
    kernels : tuple of ndarray of shape (D, N), float32
    biases : tuple of ndarray of shape (N,), float32
    """

    kernels: tuple[Floats, ...]
    biases: tuple[Floats, ...]

    @property
    def outputs(self) -> int:
        """How many values it gives."""
        return len(self.biases[-1])

    def __call__(self, values: Floats) -> Floats:
        """Return the last layer's output: (N, D) float32 -> (N, M) float32."""
        sums = values @ self.kernels[0] + self.biases[0]
        for kernel, bias in zip(self.kernels[1:], self.biases[1:], strict=True):
            sums = np.maximum(sums, np.float32(0)) @ kernel + bias
        return np.asarray(sums)


def read_dense(arrays: Mapping[str, NDArray[Any]], name: str) -> Dense:
    """Return a network out of a model file's arrays; as `read_layers`, whose layers have to fit each other."""
    layers = read_layers(arrays, name)
    for number, (before, after) in enumerate(pairwise(kernel for kernel, _ in layers), start=1):
        if len(after) != before.shape[1]:
            raise ValueError(f"layer {number} of {name} does not fit the one before it")
    kernels, biases = zip(*layers, strict=True)
    return Dense(kernels=kernels, biases=biases)


def read_layers(arrays: Mapping[str, NDArray[Any]], name: str) -> list[tuple[Floats, Floats]]:
    """Return each layer's kernel and bias out of a model file: NAME/kernel0 bytes, NAME/scale0, NAME/bias0 and so on.

    Raises
    ------
    KeyError, ValueError
        If an array is missing, or one's shape does not fit or its values are not finite.
    """
    layers = []
    for layer in range(sum(key.startswith(f"{name}/kernel") for key in arrays) or 1):
        kernel, scale, bias = (arrays[f"{name}/{part}{layer}"] for part in ("kernel", "scale", "bias"))
        if kernel.dtype != np.int8 or kernel.ndim != 2 or not kernel.shape[1:] == scale.shape == bias.shape:
            raise ValueError(f"layer {layer} of {name} has arrays that do not fit")
        if not (np.isfinite(scale).all() and np.isfinite(bias).all()):
            raise ValueError(f"layer {layer} of {name} has weights that are not finite")
        layers.append((kernel.astype(np.float32) * scale.astype(np.float32), bias.astype(np.float32)))
    return layers


@cache
def blas() -> ThreadpoolController:
    """Return what limits NumPy's BLAS, looked up once: more threads wait for each other longer than they work."""
    return ThreadpoolController()
