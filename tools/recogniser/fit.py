"""Fit the recogniser's networks to windows of flow: with NumPy, the same bytes for the same seed."""

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from fastck.dataset.labels import EMOTIONS
from fastck.faces.convolution import TAPS, as_maps, patches
from fastck.recogniser import INSIDE, STRIDES, convolved, inputs, logits, mirrored_flow, softmax
from tools.recogniser.people import NO_CLASS, Windows

CLASSES = len(EMOTIONS)
CALMEST = 0.15  # of a window's flow: a calm one has at most so much of it
PLANES = 6  # of the network's inputs: u, v and strain, as they are and relative to their size
CELLS = (len(INSIDE) // math.prod(STRIDES)) ** 2  # of the last convolution's maps
MEASURED = 20_000  # windows at most that the scale is taken from
Weights = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How the network is fitted.

    Attributes
    ----------
    members : int
        Networks whose logits are averaged; each begins and draws elsewhere.
    filters : tuple of int
        Of a member's convolutions.
    hidden : int
        Units of its dense layer.
    epochs, batch : int
    rate : float
        Adam's learning rate at the start; it falls to 0 along a half cosine.
    decay : float
        Weight decay (Loshchilov and Hutter, 2019).
    drop : float
        Share of the dense layer's units that a step leaves out.
    gain : float
        Standard deviation of the log of the factor on a window's flow: stronger and weaker expressions.
    shift, stretch : float
        Standard deviations of a window's place in the crop, cells, and of the log of its size, on each axis.
    smooth : float
        Label smoothing (Szegedy et al., 2016).
    none : float
        Weight of a window of no class, which should get the same probability everywhere.
    neutral : float
        Weight of neutral, an emotion's is 1: it stands for more than one act.
    calm : float
        Windows that hardly move, as a share of the others; they are shown as neutral.
    """

    members: int = 2
    filters: tuple[int, ...] = (16, 24, 32)
    hidden: int = 96
    epochs: int = 10
    batch: int = 256
    rate: float = 3e-3
    decay: float = 1e-2
    drop: float = 0.25
    gain: float = 0.2
    shift: float = 0.8
    stretch: float = 0.05
    smooth: float = 0.02
    none: float = 0.6
    neutral: float = 1.5
    calm: float = 0.045


def placements(
    n: int, rng: np.random.Generator, *, cells: int = 28, shift: float, stretch: float
) -> NDArray[np.float32]:
    """Return matrices (n, cells, cells) that move and stretch one axis; what comes in from outside is at rest."""
    centre, place = (cells - 1) / 2, np.arange(cells)
    size = np.exp(rng.normal(0, stretch, (n, 1)))
    source = centre + (place - centre) * size + rng.normal(0, shift, (n, 1))
    return np.maximum(1 - np.abs(source[:, :, None] - place), 0).astype(np.float32)


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


def fit(windows: Windows, config: FitConfig, *, seed: int, n_jobs: int = 1) -> Weights:
    """Return the weights that `fastck.recogniser.logits` takes.

    Parameters
    ----------
    windows : Windows
        At least one of each class.
    config : FitConfig
    seed : int
    n_jobs : int
        Processes, as joblib counts them; they never change the weights.
    """
    windows = Windows.join([windows, calm_windows(windows, config.calm, np.random.default_rng((seed, 9)))])
    scale = plane_scale(windows.flow[:: 1 + len(windows) // MEASURED].astype(np.float32))
    one = delayed(fit_member)
    members = range(config.members)
    fitted = Parallel(n_jobs=n_jobs)(one(windows, scale, config, seed=(seed, 3, member)) for member in members)
    return {"scale": scale, **{name: np.stack([weights[name] for weights in fitted]) for name in fitted[0]}}


def plane_scale(flow: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return one factor for each plane (6,): cells that hardly move must not be blown up to the size of the mouth's."""
    return np.asarray(1 / inputs(flow)[:, INSIDE].std(axis=(0, 1)), np.float32)


def calm_windows(windows: Windows, share: float, rng: np.random.Generator) -> Windows:
    """Return a share of the windows as if hardly anything had moved yet, as neutral.

    The network sees flow relative to its size too: without these, camera noise on a face at rest looks like something.
    """
    chosen = np.zeros(len(windows), np.bool_)
    chosen[rng.choice(len(windows), round(share * len(windows)), replace=False)] = True
    some = windows.pick(chosen)
    size = rng.uniform(0, CALMEST, (len(some), 1, 1, 1)).astype(np.float32)
    return replace(some, flow=(some.flow * size).astype(np.float16), code=np.zeros(len(some), np.int16))


def first_weights(config: FitConfig, rng: np.random.Generator) -> Weights:
    """Return a network's weights before it is fitted (He et al., 2015)."""
    planes = enumerate(pairwise((PLANES, *config.filters)))
    shapes = {f"filters{layer}": (TAPS**2 * before, after) for layer, (before, after) in planes}
    shapes |= {"kernel0": (CELLS * config.filters[-1], config.hidden), "kernel1": (config.hidden, CLASSES)}
    weights: Weights = {}
    for name, (rows, columns) in shapes.items():
        weights[name] = rng.normal(0, np.sqrt(2 / rows), (rows, columns)).astype(np.float32)
        weights[name.replace("filters", "offsets").replace("kernel", "bias")] = np.zeros(columns, np.float32)
    return weights


def fit_member(windows: Windows, scale: NDArray[np.float32], config: FitConfig, *, seed: tuple[int, ...]) -> Weights:
    """Return one network's weights."""
    # The order in which a library's threads add up changes the last digits.
    with threadpool_limits(1):
        rng = np.random.default_rng(seed)
        flow, code = windows.flow, windows.code
        wanted, weight = targets(code, config.smooth), sample_weights(code, none=config.none, neutral=config.neutral)
        weights = first_weights(config, rng)
        adam = Adam(weights, decay=config.decay)
        steps = config.epochs * (len(code) // config.batch)
        step = 0
        for _ in range(config.epochs):
            order = rng.permutation(len(code))
            for start in range(0, len(order) - config.batch + 1, config.batch):
                chosen = np.sort(order[start : start + config.batch])
                values = inputs(varied(flow[chosen].astype(np.float32), config, rng)) * scale
                gradients = backward(values, wanted[chosen], weight[chosen], weights, config, rng)
                adam.step(gradients, config.rate * 0.5 * (1 + np.cos(np.pi * step / steps)))
                step += 1
        return weights


def varied(flow: NDArray[np.float32], config: FitConfig, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return a batch's flow as of other faces: stronger or weaker, mirrored, and placed elsewhere."""
    n = len(flow)
    down = placements(n, rng, shift=config.shift, stretch=config.stretch)
    right = placements(n, rng, shift=config.shift, stretch=config.stretch)
    gain = np.exp(rng.normal(0, config.gain, (n, 1, 1, 1))).astype(np.float32)
    moved = down[:, None] @ (flow * gain) @ right.transpose(0, 2, 1)[:, None]
    turned = rng.random(n) < 0.5
    moved[turned] = mirrored_flow(moved[turned])
    return np.asarray(moved)


def backward(
    values: NDArray[np.float32],
    wanted: NDArray[np.float32],
    weight: NDArray[np.float32],
    weights: Weights,
    config: FitConfig,
    rng: np.random.Generator,
) -> Weights:
    """Return the gradient of the weighted cross-entropy for one batch, with dropout; forward as in `one_network`."""
    n = len(values)
    maps, steps = values, []
    for layer, stride in enumerate(STRIDES):
        seen = patches(maps, stride)
        rows = convolved(seen, weights, layer)
        steps.append((seen, rows))
        maps = as_maps(rows, n)
    flat = rows.reshape(n, -1)
    kept = dropout((n, config.hidden), config.drop, rng)
    units = np.maximum(flat @ weights["kernel0"] + weights["bias0"], 0) * kept
    chances = softmax(units @ weights["kernel1"] + weights["bias1"])
    error = np.asarray((chances - wanted) * (weight / n)[:, None], np.float32)
    back = np.asarray((error @ weights["kernel1"].T) * kept * (units > 0), np.float32)
    gradients = {"kernel1": units.T @ error, "bias1": error.sum(axis=0)}
    gradients |= {"kernel0": flat.T @ back, "bias0": back.sum(axis=0)}
    back = back @ weights["kernel0"].T
    for layer in reversed(range(len(STRIDES))):
        seen, rows = steps[layer]
        back = back.reshape(rows.shape) * (rows > 0)
        gradients |= {f"filters{layer}": seen.T @ back, f"offsets{layer}": back.sum(axis=0)}
        if layer:
            back = patches_back(back @ weights[f"filters{layer}"].T, n, STRIDES[layer])
    return gradients


def patches_back(seen: NDArray[np.float32], n: int, stride: int) -> NDArray[np.float32]:
    """Return the gradient of the N maps that `patches` took: (N * (S / stride) ** 2, 9 * C) -> (N, S, S, C)."""
    taps = as_maps(seen, n)
    side, planes = stride * taps.shape[1], taps.shape[3] // TAPS**2
    first = 2 - stride
    back = np.zeros((n, first + side + 1, first + side + 1, planes), np.float32)
    for tap in range(TAPS**2):
        r, c = divmod(tap, TAPS)
        back[:, r : r + side : stride, c : c + side : stride] += taps[..., tap * planes : (tap + 1) * planes]
    return back[:, first : first + side, first : first + side]


def dropout(shape: tuple[int, ...], share: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return factors that leave out a share of the values and make up for it."""
    kept = np.float32(1 - share)
    return (rng.random(shape, dtype=np.float32) < kept).astype(np.float32) / kept


class Adam:
    """Adam with decoupled weight decay, in place.

    Parameters
    ----------
    weights : dict of str to ndarray
        Changed by `step`.
    decay : float
        Of the kernels and filters.
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
            if name.startswith(("kernel", "filters")):
                values *= np.float32(1 - rate * self._decay)
            values -= np.float32(rate / one) * first / (np.sqrt(second / np.float32(two)) + np.float32(1e-8))


def predict(windows: Windows, weights: Weights, temperature: float = 1.0) -> NDArray[np.float32]:
    """Return the probabilities (N, 8) of windows."""
    return softmax(logits(windows.flow.astype(np.float32), weights) / np.float32(temperature))
