"""Fit the recogniser's network to windows of flow: a few dense layers, with NumPy, the same bytes for the same seed."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from benchmarks.recogniser.people import NO_CLASS, Windows
from fastck.dataset.labels import EMOTIONS
from fastck.recognition.model import logits, pooled, softmax

CLASSES = len(EMOTIONS)
Weights = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How the network is fitted.

    Attributes
    ----------
    hidden : tuple of int
        Units of each layer before the last one.
    epochs, batch : int
    rate : float
        Adam's learning rate at the start; it falls to 0 along a half cosine.
    decay : float
        Weight decay (Loshchilov and Hutter, 2019).
    drop_input, drop : float
        Share of the inputs, and of the hidden units, that a step leaves out.
    noise : float
        Standard deviation of the noise on the standardised inputs.
    gain : float
        Standard deviation of the log of the factor on a window's flow: stronger and weaker expressions.
    shift : int
        Cells by which a batch is moved at most, on each axis.
    smooth : float
        Label smoothing (Szegedy et al., 2016).
    none : float
        Weight of a window of no class, which should get the same probability everywhere.
    neutral : float
        Weight of neutral, an emotion's is 1: it stands for more than one act.
    """

    hidden: tuple[int, ...] = (96,)
    epochs: int = 16
    batch: int = 256
    rate: float = 3e-3
    decay: float = 1e-2
    drop_input: float = 0.1
    drop: float = 0.25
    noise: float = 0.1
    gain: float = 0.2
    shift: int = 1
    smooth: float = 0.02
    none: float = 0.3
    neutral: float = 2.0


def mirrored(flow: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return windows as of a mirrored face, (N, 3, 28, 28)."""
    turned = flow[..., ::-1].copy()
    turned[:, 0] *= -1
    return turned


def moved(flow: NDArray[np.float32], down: int, right: int) -> NDArray[np.float32]:
    """Return windows moved by whole cells, what comes in is at rest."""
    out = np.zeros_like(flow)
    height, width = flow.shape[2:]
    rows, columns = slice(max(down, 0), height + min(down, 0)), slice(max(right, 0), width + min(right, 0))
    from_rows, from_columns = (
        slice(max(-down, 0), height + min(-down, 0)),
        slice(max(-right, 0), width + min(-right, 0)),
    )
    out[:, :, rows, columns] = flow[:, :, from_rows, from_columns]
    return out


def targets(code: NDArray[np.int16], smooth: float) -> NDArray[np.float32]:
    """Return the wanted probabilities (N, 8): the class's, and all the same for a window of no class."""
    wanted = np.full((len(code), CLASSES), 1 / CLASSES, np.float32)
    known = code != NO_CLASS
    wanted[known] = smooth / CLASSES
    wanted[known, code[known]] += 1 - smooth
    return wanted


def sample_weights(code: NDArray[np.int16], *, none: float, neutral: float) -> NDArray[np.float32]:
    """Return weights (N,) under which each emotion counts the same; neutral and no class count as much as is said."""
    weights = np.zeros(len(code), np.float32)
    for value in (NO_CLASS, *range(CLASSES)):
        rows = code == value
        if rows.any():
            weights[rows] = {NO_CLASS: none, 0: neutral}.get(value, 1.0) / rows.sum()
    return weights / weights.mean()


def fit(windows: Windows, config: FitConfig, *, seed: int) -> Weights:
    """Return the weights that `fastck.recognition.model.logits` takes.

    Parameters
    ----------
    windows : Windows
        At least one of each class.
    config : FitConfig
    seed : int
    """
    rng = np.random.default_rng([seed, 3])
    flow, code = windows.flow, windows.code
    wanted, weight = targets(code, config.smooth), sample_weights(code, none=config.none, neutral=config.neutral)
    inputs = pooled(flow.astype(np.float32))
    # One scale for each plane: cells that hardly move must not be blown up to the size of the mouth's.
    planes = inputs.reshape(len(inputs), 3, -1)
    scale = np.repeat(1 / planes.std(axis=(0, 2)), planes.shape[2]).astype(np.float32)
    sizes = [inputs.shape[1], *config.hidden, CLASSES]
    weights: Weights = {"scale": scale}
    for layer, (rows, columns) in enumerate(pairwise(sizes)):
        weights[f"kernel{layer}"] = rng.normal(0, np.sqrt(2 / rows), (rows, columns)).astype(np.float32)
        weights[f"bias{layer}"] = np.zeros(columns, np.float32)
    adam = Adam({name: values for name, values in weights.items() if name != "scale"}, decay=config.decay)
    steps = config.epochs * (len(code) // config.batch)
    step = 0
    for _ in range(config.epochs):
        order = rng.permutation(len(code))
        for start in range(0, len(order) - config.batch + 1, config.batch):
            rows = np.sort(order[start : start + config.batch])
            batch = varied(flow[rows].astype(np.float32), config, rng)
            values = pooled(batch) * scale
            values += rng.normal(0, config.noise, values.shape).astype(np.float32)
            gradients = backward(values, wanted[rows], weight[rows], weights, config, rng)
            adam.step(gradients, config.rate * 0.5 * (1 + np.cos(np.pi * step / steps)))
            step += 1
    return weights


def varied(flow: NDArray[np.float32], config: FitConfig, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return a batch as of other faces: stronger or weaker, mirrored, and placed elsewhere in the crop."""
    flow = flow * np.exp(rng.normal(0, config.gain, (len(flow), 1, 1, 1))).astype(np.float32)
    if rng.random() < 0.5:
        flow = mirrored(flow)
    down, right = rng.integers(-config.shift, config.shift + 1, 2)
    return moved(flow, int(down), int(right))


def backward(
    values: NDArray[np.float32],
    wanted: NDArray[np.float32],
    weight: NDArray[np.float32],
    weights: Weights,
    config: FitConfig,
    rng: np.random.Generator,
) -> Weights:
    """Return the gradient of the weighted cross-entropy for one batch, with dropout."""
    layers = sum(name.startswith("kernel") for name in weights)
    kept, inputs = [], []
    for layer in range(layers):
        share = 1 - (config.drop if layer else config.drop_input)
        mask = (rng.random(values.shape, dtype=np.float32) < share).astype(np.float32) / np.float32(share)
        values = values * mask
        kept.append(mask)
        inputs.append(values)
        values = values @ weights[f"kernel{layer}"] + weights[f"bias{layer}"]
        if layer < layers - 1:
            values = np.maximum(values, 0)
    error = np.asarray((softmax(values) - wanted) * (weight / len(weight))[:, None], np.float32)
    gradients: Weights = {}
    for layer in reversed(range(layers)):
        gradients[f"kernel{layer}"] = inputs[layer].T @ error
        gradients[f"bias{layer}"] = error.sum(axis=0)
        if layer:
            error = np.asarray((error @ weights[f"kernel{layer}"].T) * kept[layer] * (inputs[layer] > 0), np.float32)
    return gradients


class Adam:
    """Adam with decoupled weight decay, in place.

    Parameters
    ----------
    weights : dict of str to ndarray
        Changed by `step`.
    decay : float
        Of the kernels.
    """

    def __init__(self, weights: Weights, *, decay: float) -> None:
        self._weights, self._decay = weights, decay
        self._first = {name: np.zeros_like(values) for name, values in weights.items()}
        self._second = {name: np.zeros_like(values) for name, values in weights.items()}
        self._steps = 0

    def step(self, gradients: Weights, rate: float) -> None:
        """Take one step of the learning rate `rate`."""
        self._steps += 1
        one, two = 1 - 0.9**self._steps, 1 - 0.999**self._steps
        for name, values in self._weights.items():
            first, second, gradient = self._first[name], self._second[name], gradients[name]
            first += np.float32(0.1) * (gradient - first)
            second += np.float32(0.001) * (gradient * gradient - second)
            if name.startswith("kernel"):
                values *= np.float32(1 - rate * self._decay)
            values -= np.float32(rate / one) * first / (np.sqrt(second / np.float32(two)) + np.float32(1e-8))


def predict(windows: Windows, weights: Weights, temperature: float = 1.0) -> NDArray[np.float32]:
    """Return the probabilities (N, 8) of windows."""
    return softmax(logits(windows.flow.astype(np.float32), weights) / np.float32(temperature))
