"""The bundled recogniser: a small network on optical flow, run with NumPy alone."""

import json
from collections.abc import Mapping
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastck.flow import FLOW_SHAPES

BUNDLED = Path(__file__).with_name("bundled.npz")
FORMAT = 2  # raised when the network takes other inputs
# Cells of the circle within a crop's 14x14 cells.
INSIDE = np.hypot(*(np.mgrid[:14, :14] - 6.5)) <= 7
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
        try:
            with np.load(path, allow_pickle=False) as file:
                self.about: dict[str, Any] = json.loads(str(file["about"]))
                if self.about["format"] != FORMAT:
                    raise ValueError(
                        f"format {self.about['format']} is of another version of fastck, this one reads {FORMAT}"
                    )
                values = {name: file[name].astype(np.float32) for name in file.files if name != "about"}
        except (KeyError, ValueError, EOFError) as error:
            raise ValueError(f"{path} is no model of fastck's recogniser: {error}") from error
        self.classes: tuple[str, ...] = tuple(self.about["classes"])
        self.unsure_below: float = self.about["unsure_below"]
        self._weights = values

    def probabilities(self, flow: NDArray[Any]) -> NDArray[np.float32]:
        """Return the probability of each class for each window.

        Parameters
        ----------
        flow : ndarray of shape (N, 3, 28, 28), float32
            From the onset of each window to its apex: rows of ``fastck.optical_flow(crops, reference="onset")``.

        Returns
        -------
        probabilities : ndarray of shape (N, 8), float32
            Each row sums to 1.

        Raises
        ------
        ValueError
            If the flow has another shape.
        """
        flow = np.asarray(flow, dtype=np.float32)
        if flow.ndim != 4 or flow.shape[1:] != FLOW_SHAPES["flow"]:
            raise ValueError(f"flow must have shape (N, 3, 28, 28), got {flow.shape}")
        return softmax(logits(flow, self._weights) / np.float32(self.about["temperature"]))

    def decide(self, probabilities: NDArray[np.float32]) -> str | None:
        """Return the name of the most likely class of one row (8,), None where that is unsure."""
        best = int(np.argmax(probabilities))
        return self.classes[best] if probabilities[best] >= self.unsure_below else None


def pooled(flow: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return means over 2x2 cells: (N, 3, 28, 28) float32 -> (N, 3, 14, 14) float32."""
    n, planes, side, _ = flow.shape
    return np.asarray(flow.reshape(n, planes, side // 2, 2, side // 2, 2).mean(axis=(3, 5), dtype=np.float32))


def mirrored(cells: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return flow (N, 3, rows, columns) as of a mirrored face."""
    turned = cells[..., ::-1].copy()
    turned[:, 0] *= -1
    return turned


def inputs(cells: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what the network takes, (N, 3, 14, 14) -> (N, 6 * K) float32: the flow, and the flow relative to its size.

    Only the K cells of INSIDE count: the crop's corners show hair, clothes and background. A weak expression moves the
    same places as a strong one, each by less: relative to their size the two are alike. The size is the root mean
    square of the displacement.
    """
    inside = cells[..., INSIDE]
    flat = inside.reshape(len(cells), -1)
    size = np.sqrt(2 * np.mean(np.square(inside[:, :2]), axis=(1, 2)) + np.float32(SMALLEST**2))
    return np.concatenate([flat, flat / size[:, None]], axis=1)


def logits(flow: NDArray[np.float32], weights: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """Run the network: (N, 3, 28, 28) float32 -> (N, C) float32.

    Means over the 2x2 cells inside, as they are and relative to their size, times a scale; a dense layer with rectified
    units, and a second layer. The mean of the face's and its mirror image's: both get the same answer.
    """
    cells = pooled(flow)
    total = np.zeros((len(flow), len(weights["bias1"])), np.float32)
    for values in (cells, mirrored(cells)):
        scaled = inputs(values) * weights["scale"]
        total += np.maximum(scaled @ weights["kernel0"] + weights["bias0"], 0) @ weights["kernel1"] + weights["bias1"]
    return total / np.float32(2)


def softmax(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the softmax of each row, (N, C) float32."""
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)


@cache
def bundled() -> Recogniser:
    """Return the recogniser that comes with the package, read once."""
    return Recogniser()
