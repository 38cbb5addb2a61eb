"""The units' network in Keras, to be fitted; `fastck.faces.unit_network` runs what comes out with NumPy alone."""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastck.faces.appearance import GRID, Look
from fastck.faces.convolution import TAPS
from fastck.faces.unit_network import MIDDLE, N_POINTS
from fastck.faces.units import STRONGEST
from fastck.kernels.landmarks import DIRECTIONS
from tools.units.fit import Floats, Weights, falling

PLANES, CHANGE = 3, 2  # of a cell's directions: the face's own, its change, which counts twice, the reference's
THREADS = 2
EPSILON, MOMENTUM = 1e-5, 0.95  # of the batches' means
# Cells (n, 24, 24, 24), points (n, 278) and wanted outputs (n, M) of a batch, for the rows that are drawn.
Batches = Callable[[NDArray[np.intp], np.random.Generator], tuple[Floats, Floats, Floats]]


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """How a network is fitted: filters of the two convolutions, units of the inner layer, passes over the rows."""

    filters: tuple[int, int] = (64, 128)
    hidden: int = 320
    epochs: int = 5
    batch: int = 128
    rate: float = 2e-3
    decay: float = 2e-2


def cells_inputs(faces: Look, beside: Look) -> Floats:
    """Return what a network takes of cells, (N, 24, 24, 24): the face's, their change, the reference's."""
    own, other = (np.asarray(cells, np.float32) - np.float32(MIDDLE) for cells in (faces.cells, beside.cells))
    both = np.concatenate([own, np.float32(CHANGE) * (own - other), other], axis=-1)
    return np.asarray(both / np.float32(MIDDLE), np.float32)


def import_keras(seed: int) -> Any:
    """Import Keras on TensorFlow for `THREADS` threads, and let it draw from a seed.

    How many threads share a sum changes the last digits; on how many cores they run does not. Another process has
    settings of its own.
    """
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras
    import tensorflow as tf

    with suppress(RuntimeError):  # TensorFlow has begun, and keeps the threads that it has
        tf.config.threading.set_intra_op_parallelism_threads(THREADS)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(seed)
    return keras


def build(keras: Any, config: NetworkConfig, outputs: int) -> Any:
    """Return the network with its first weights."""
    layers = keras.layers
    cells, points = keras.Input((GRID, GRID, PLANES * DIRECTIONS)), keras.Input((N_POINTS,))
    seen = cells
    for number, filters in enumerate(config.filters):
        seen = layers.Conv2D(filters, TAPS, strides=2, padding="same", use_bias=False, name=f"cells{number}")(seen)
        seen = layers.BatchNormalization(epsilon=EPSILON, momentum=MOMENTUM, name=f"norm{number}")(seen)
        seen = layers.ReLU()(seen)
    both = layers.Concatenate()([layers.Flatten()(seen), points])
    inner = layers.Dense(config.hidden, activation="relu", name="dense0")(both)
    return keras.Model([cells, points], layers.Dense(outputs, name="dense1")(inner))


def bounded_error(wanted: Any, outputs: Any) -> Any:
    """Return half the squared error of each row; below 0 and above 5 is as good as 0 and 5."""
    from keras import ops

    error = outputs - wanted
    fine = ops.logical_or(
        ops.logical_and(wanted <= 0, outputs < 0), ops.logical_and(wanted >= STRONGEST, outputs > STRONGEST)
    )
    return 0.5 * ops.sum(ops.where(fine, ops.zeros_like(error), ops.square(error)), axis=-1)


def fit_network(batches: Batches, rows: int, outputs: int, config: NetworkConfig, *, seed: int) -> dict[str, Weights]:
    """Return the weights of a network: "maps", "beside" and "dense", as `folded` has them."""
    keras = import_keras(seed)
    rng = np.random.default_rng(seed)
    network = build(keras, config, outputs)
    steps = config.epochs * (rows // config.batch)
    adam = keras.optimizers.AdamW(config.rate, weight_decay=config.decay)
    adam.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    network.compile(adam, loss=bounded_error)
    step = 0
    for _ in range(config.epochs):
        order = rng.permutation(rows)
        for start in range(0, rows - config.batch + 1, config.batch):
            cells, points, wanted = batches(np.sort(order[start : start + config.batch]), rng)
            adam.learning_rate.assign(config.rate * falling(step / steps))
            network.train_on_batch([cells, points], wanted)
            step += 1
    return folded(network)


def folded(network: Any) -> dict[str, Weights]:
    """Return the weights as matrices, without the batches' means, and the first one's for either face's cells."""
    found: list[tuple[Any, Any]] = []
    for number in range(2):
        (kernel,) = network.get_layer(f"cells{number}").get_weights()
        gamma, beta, mean, variance = network.get_layer(f"norm{number}").get_weights()
        scale = gamma / np.sqrt(variance + EPSILON)
        found.append(((kernel * scale).reshape(-1, kernel.shape[-1]), beta - mean * scale))
    (first, bias), second = found
    own, change, other = first.reshape(TAPS**2, PLANES, DIRECTIONS, -1).transpose(1, 0, 2, 3)
    # What `cells_inputs` does to the cells is done to the weights.
    pairs = own + CHANGE * change, other - CHANGE * change
    face, beside = (values.reshape(-1, values.shape[-1]) / np.float32(MIDDLE) for values in pairs)
    dense = [network.get_layer(f"dense{number}").get_weights() for number in range(2)]
    return {
        "maps": as_weights([(face, bias), second]),
        "beside": as_weights([(beside, np.zeros_like(bias))]),
        "dense": as_weights([(kernel, bias) for kernel, bias in dense]),
    }


def as_weights(layers: list[tuple[Any, Any]]) -> Weights:
    """Return layers by their names: kernel0, bias0, kernel1 and so on."""
    named: Weights = {}
    for number, (kernel, bias) in enumerate(layers):
        named |= {f"kernel{number}": np.asarray(kernel, np.float32), f"bias{number}": np.asarray(bias, np.float32)}
    return named
