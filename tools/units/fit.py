"""Fit dense networks, with NumPy: the same bytes for the same seed."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tools.recogniser.fit import Adam, dropout

Floats = NDArray[np.float32]
Weights = dict[str, Floats]
# Values (n, D) and wanted outputs (n, M) of a batch, for the rows that are drawn.
Batches = Callable[[NDArray[np.intp], np.random.Generator], tuple[Floats, Floats]]
# The gradient of the loss by the outputs (n, M), for the outputs and what was wanted.
Loss = Callable[[Floats, Floats], Floats]


@dataclass(frozen=True, kw_only=True)
class DenseConfig:
    """How a network is fitted: units of its hidden layers, passes over the rows, and as for the recogniser."""

    hidden: tuple[int, ...]
    epochs: int
    batch: int = 256
    rate: float = 2e-3
    decay: float = 2e-2
    drop: float = 0.2


def fit_dense(batches: Batches, rows: int, loss: Loss, config: DenseConfig, *, seed: tuple[int, ...]) -> Weights:
    """Return the weights of a network: kernel0, bias0, kernel1 and so on."""
    rng = np.random.default_rng(seed)
    values, wanted = batches(np.arange(min(rows, 2)), rng)
    sizes = (values.shape[1], *config.hidden, wanted.shape[1])
    weights: Weights = {}
    for layer, (before, after) in enumerate(pairwise(sizes)):
        weights[f"kernel{layer}"] = (rng.standard_normal((before, after)) * np.sqrt(2 / before)).astype(np.float32)
        weights[f"bias{layer}"] = np.zeros(after, np.float32)
    weights["kernel0"] *= np.float32(0.3)
    adam = Adam(weights, decay=config.decay)
    steps, step = config.epochs * (rows // config.batch), 0
    for _ in range(config.epochs):
        order = rng.permutation(rows)
        for start in range(0, rows - config.batch + 1, config.batch):
            chosen = np.sort(order[start : start + config.batch])
            values, wanted = batches(chosen, rng)
            adam.step(gradients(values, wanted, weights, loss, config.drop, rng), config.rate * falling(step / steps))
            step += 1
    return weights


def falling(part: float) -> float:
    """Return the learning rate's factor: up within the first twentieth, then down along a half cosine."""
    return float(min(1.0, part / 0.05 + 0.05) * 0.5 * (1 + np.cos(np.pi * part)))


def gradients(
    values: Floats, wanted: Floats, weights: Weights, loss: Loss, drop: float, rng: np.random.Generator
) -> Weights:
    """Return the gradient of the mean loss of a batch; units of the hidden layers are left out at random."""
    layers = len(weights) // 2
    seen, kept = [values], []
    for layer in range(layers - 1):
        units = np.maximum(seen[-1] @ weights[f"kernel{layer}"] + weights[f"bias{layer}"], 0)
        kept.append(dropout(units.shape, drop, rng))
        seen.append(units * kept[-1])
    back = loss(seen[-1] @ weights[f"kernel{layers - 1}"] + weights[f"bias{layers - 1}"], wanted)
    found: Weights = {}
    for layer in reversed(range(layers)):
        found[f"kernel{layer}"], found[f"bias{layer}"] = seen[layer].T @ back, back.sum(axis=0)
        if layer:
            back = (back @ weights[f"kernel{layer}"].T) * kept[layer - 1] * (seen[layer] > 0)
    return found


def squared(outputs: Floats, wanted: Floats) -> Floats:
    """Return the gradient of half the mean squared error; below 0 and above 5 is as good as 0 and 5."""
    error = np.where((wanted <= 0) & (outputs < 0) | (wanted >= 5) & (outputs > 5), np.float32(0), outputs - wanted)
    return np.asarray(error / np.float32(len(outputs)), np.float32)


def as_bytes(weights: Weights, name: str) -> dict[str, NDArray[Any]]:
    """Return a network's arrays as a model file has them: kernels as bytes with a scale for each column."""
    arrays: dict[str, NDArray[Any]] = {}
    for layer in range(len(weights) // 2):
        kernel = weights[f"kernel{layer}"]
        scale = np.maximum(np.abs(kernel).max(axis=0), 1e-6) / 127
        arrays[f"{name}/kernel{layer}"] = np.rint(kernel / scale).astype(np.int8)
        arrays[f"{name}/scale{layer}"] = scale.astype(np.float32)
        arrays[f"{name}/bias{layer}"] = weights[f"bias{layer}"].astype(np.float32)
    return arrays
