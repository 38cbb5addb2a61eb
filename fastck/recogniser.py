"""The bundled recogniser: small convolutional networks on optical flow, run with NumPy alone."""

from collections.abc import Iterator, Mapping
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastck.arrayfile import model_file
from fastck.batches.padding import as_frames, mirrored
from fastck.faces.convolution import as_maps, patches
from fastck.faces.dense import blas
from fastck.ops.flow import FLOW_SHAPES

BUNDLED = Path(__file__).with_suffix(".npz")
FORMAT = 4  # raised when the network is another kind of one, or reads another flow
# Cells of the circle within a crop's 28x28 cells.
INSIDE = np.hypot(*(np.mgrid[:28, :28] - 13.5)) <= 14
STRIDES = (2, 1, 2)  # of the convolutions: 28x28 cells, 14x14, 14x14, 7x7
SMALLEST = 0.002  # shares of the crop's side: a flow this small is noise, and is not made larger
TRAINED_ON = "trained on rendered people"


class Recogniser:
    """Probabilities of the seven emotions and neutral for windows of optical flow.

    Parameters
    ----------
    path : path-like, optional
        A model file; the bundled one by default.

    Attributes
    ----------
    classes : tuple of str
        Names in the order of the probabilities: "neutral", then the emotions by CK+'s codes.
    unsure_below : float
        A highest probability below it is no answer.
    about : dict
        How the model was made: seed, people, sizes, figures.

    Raises
    ------
    ValueError
        If the file is no model that this version can read.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> from fastck.recognition import Recogniser
    >>> Recogniser().probabilities(fastck.optical_flow(crops)[-1:])
    """

    def __init__(self, path: str | PathLike[str] = BUNDLED) -> None:
        self.about: dict[str, Any]
        with model_file(path, "recogniser", FORMAT) as (self.about, arrays):
            values = {name: array.astype(np.float32) for name, array in arrays.items()}
        self.classes: tuple[str, ...] = tuple(self.about["classes"])
        self.unsure_below: float = self.about["unsure_below"]
        if damaged := [name for name, array in values.items() if not np.isfinite(array).all()]:
            raise ValueError(f"{path} is damaged: expected finite weights, {', '.join(damaged)} has others")
        self._weights = values

    def probabilities(self, flow: NDArray[Any]) -> NDArray[np.float32]:
        """Return the probability of each class for each window.

        Parameters
        ----------
        flow : ndarray of shape (N, 3, 28, 28), float32
            From the onset of each window to its apex: rows of ``fastck.optical_flow(crops)``.

        Returns
        -------
        probabilities : ndarray of shape (N, 8), float32
            Each row sums to 1.

        Raises
        ------
        ValueError
            If the flow has another shape.
        """
        with blas().limit(limits=1, user_api="blas"):
            return softmax(logits(as_flow(flow), self._weights) / np.float32(self.about["temperature"]))

    def inner(self, flow: NDArray[Any]) -> NDArray[np.float32]:
        """Return what the networks' inner layers make of windows of flow: features for people of one's own.

        Parameters
        ----------
        flow : ndarray of shape (N, 3, 28, 28), float32
            As for `probabilities`.

        Returns
        -------
        values : ndarray of shape (N, inner_size), float32
            At least 0; the same for a face and its mirror image.

        Raises
        ------
        ValueError
            If the flow has another shape.
        """
        with blas().limit(limits=1, user_api="blas"):
            return inner(as_flow(flow), self._weights)

    @property
    def inner_size(self) -> int:
        """Values that `inner` gives for a window."""
        return self._weights["bias0"].size

    def decide(self, probabilities: NDArray[np.float32]) -> str | None:
        """Return the name of the most likely class of one row (8,), None where that is unsure."""
        best = int(np.argmax(probabilities))
        return self.classes[best] if probabilities[best] >= self.unsure_below else None


def as_flow(flow: NDArray[Any]) -> NDArray[np.float32]:
    """Return flow as float32; raise ValueError unless its shape is (N, 3, 28, 28)."""
    flow = np.asarray(flow, dtype=np.float32)
    if flow.ndim != 4 or flow.shape[1:] != FLOW_SHAPES["flow"]:
        raise ValueError(f"flow must have shape (N, 3, 28, 28), got {flow.shape}")
    return flow


def mirrored_flow(flow: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return flow (N, 3, 28, 28) as of a mirrored face."""
    return np.moveaxis(mirrored(as_frames(flow, "flow"), "flow"), -1, 1)


def inputs(flow: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what the network takes, (N, 3, 28, 28) -> (N, 28, 28, 6) float32: the flow, and that relative to its size.

    Only the cells of INSIDE count: the crop's corners show hair, clothes and background. A weak expression moves the
    same places as a strong one, each by less: relative to their size the two are alike. The size is the root mean
    square of the displacement.
    """
    inside = np.where(INSIDE, flow, np.float32(0))
    square = np.square(inside[:, :2]).sum(axis=(1, 2, 3)) / np.float32(INSIDE.sum())
    size = np.sqrt(square + np.float32(SMALLEST**2))
    return np.concatenate([inside, inside / size[:, None, None, None]], axis=1).transpose(0, 2, 3, 1)


def logits(flow: NDArray[np.float32], weights: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """Run the networks: (N, 3, 28, 28) float32 -> (N, C) float32.

    The flow of the cells inside, as it is and relative to its size, times a scale for each plane; three convolutions; a
    dense layer; a second one. Rectified units. The mean over the networks, which are the first axis of each array but
    the scale, and over the face and its mirror image: both get the same answer.
    """
    n = len(flow)
    total = np.zeros((2 * n, weights["bias1"].shape[1]), np.float32)
    for units, one in hidden(flow, weights):
        total += units @ one["kernel1"] + one["bias1"]
    return np.asarray((total[:n] + total[n:]) / np.float32(2 * len(weights["bias1"])))


def inner(flow: NDArray[np.float32], weights: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return the inner layers side by side, (N, 3, 28, 28) -> (N, U): means over a face and its mirror image."""
    n = len(flow)
    return np.concatenate([(units[:n] + units[n:]) / np.float32(2) for units, _ in hidden(flow, weights)], axis=1)


def hidden(
    flow: NDArray[np.float32], weights: Mapping[str, NDArray[np.float32]]
) -> Iterator[tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]]:
    """Yield each network's inner layer for faces and then for their mirror images, (2 N, U), and its own weights."""
    both = np.concatenate([flow, mirrored_flow(flow)])
    seen = patches(inputs(both) * weights["scale"], STRIDES[0])
    for member in range(len(weights["bias1"])):
        one = {name: values[member] for name, values in weights.items() if name != "scale"}
        yield one_inner(seen, one, len(both)), one


def convolved(seen: NDArray[np.float32], weights: Mapping[str, NDArray[np.float32]], layer: int) -> NDArray[np.float32]:
    """Return a convolution's rectified output for neighbourhoods as `patches` gives them, a row for each."""
    return np.asarray(np.maximum(seen @ weights[f"filters{layer}"] + weights[f"offsets{layer}"], 0))


def one_network(seen: NDArray[np.float32], weights: Mapping[str, NDArray[np.float32]], n: int) -> NDArray[np.float32]:
    """Run one network on the neighbourhoods of N windows' inputs: (N * 14 * 14, 54) float32 -> (N, C) float32."""
    return np.asarray(one_inner(seen, weights, n) @ weights["kernel1"] + weights["bias1"])


def one_inner(seen: NDArray[np.float32], weights: Mapping[str, NDArray[np.float32]], n: int) -> NDArray[np.float32]:
    """Return one network's inner layer, (N, U), for the same."""
    rows = convolved(seen, weights, 0)
    for layer in range(1, len(STRIDES)):
        rows = convolved(patches(as_maps(rows, n), STRIDES[layer]), weights, layer)
    return np.asarray(np.maximum(rows.reshape(n, -1) @ weights["kernel0"] + weights["bias0"], 0))


def softmax(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the softmax of each row, (N, C) float32."""
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)


@cache
def bundled() -> Recogniser:
    """Return the recogniser that comes with the package, read once."""
    return Recogniser()
