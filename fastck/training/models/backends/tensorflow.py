"""TensorFlow as Keras' backend."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from fastck.training.models.backends.waiting import Waiting
from fastck.training.models.backends.waiting import convolve as convolve

# On CPU, XLA made epochs several times slower.
COMPILED = False
FEED = "tf.data"


def version() -> str:
    """Return the library's version."""
    return tf.__version__


def last_state(step: Callable[..., Any], frames: Any, begun: Any, weights: Sequence[Any], waiting: Waiting) -> Any:
    """Run `step` over time and return the last h; at step t it computes the first `begun[t]` samples and `waiting`.

    Parameters
    ----------
    step : callable
        (frame, h, c, *weights) -> (h, c).
    frames : tensor of shape (B, T, H, W, C)
        Sorted by first non-zero frame.
    begun : tensor of shape (T,), int32
        How many samples have seen a non-zero frame; the last one is B.
    weights : sequence of tensor
        Handed to `step`.
    waiting : Waiting
        Stands for the others.

    Returns
    -------
    h : tensor of shape (B, H', W', filters)
    """
    samples, steps = tf.shape(frames)[0], tf.shape(frames)[1]

    def wait(t: Any, h: Any, c: Any, *waited: Any) -> tuple[Any, ...]:
        return t + 1, h, c, *step(waiting.frame, *waited, *weights)

    def go(t: Any, h: Any, c: Any, *waited: Any) -> tuple[Any, ...]:
        starting = begun[t] - tf.shape(h)[0]
        h, c = (
            tf.concat([state, tf.repeat(waiting.widen(one), starting, axis=0)], axis=0)
            for state, one in zip((h, c), waited, strict=True)
        )
        return t + 1, *step(frames[: begun[t], t], h, c, *weights), *waited

    def wait_and_go(t: Any, *states: Any) -> tuple[Any, ...]:
        return wait(t, *go(t, *states)[1:])

    # Steps at which no sample has begun, at which some have, and at which all have. A single loop would take steps of
    # no samples, and with oneDNN TensorFlow's convolution of no samples has a wrong shape (2.21, with AVX-512).
    loops = (
        (wait, tf.math.count_nonzero(begun == 0, dtype=tf.int32)),
        (wait_and_go, tf.math.count_nonzero(begun < samples, dtype=tf.int32)),
        (go, steps),
    )
    none = waiting.widen(waiting.state)[:0]
    free = tf.TensorShape([None, *none.shape[1:]])
    state = (tf.constant(0), none, none, waiting.state, waiting.state)
    for body, end in loops:
        state = tf.while_loop(
            lambda t, *_, end=end: t < end,
            body,
            state,
            shape_invariants=(tf.TensorShape([]), free, free, waiting.state.shape, waiting.state.shape),
            maximum_iterations=frames.shape[1],
        )
    h = state[1]
    return h


def row_products(rows: Any, kernel: Any) -> Any:
    """Multiply (N, C) with (C, filters); rows of zeros are left out."""
    moving = tf.where(tf.reduce_any(rows != 0, axis=1))
    shape = tf.stack([tf.shape(rows, tf.int64)[0], tf.shape(kernel, tf.int64)[1]])
    return tf.scatter_nd(moving, tf.matmul(tf.gather_nd(rows, moving), kernel), shape)


def set_up(*, deterministic: bool) -> AbstractContextManager:
    """Ask for repeatable results where wanted, and return the scope in which a network is made.

    Several GPUs share each batch; untested, there was no GPU.
    """
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    many = len(tf.config.list_physical_devices("GPU")) > 1
    return (tf.distribute.MirroredStrategy() if many else tf.distribute.get_strategy()).scope()


def device_name() -> str | None:
    """Return the first GPU's name, None where there is none."""
    devices = tf.config.list_physical_devices("GPU")
    if not devices:
        return None
    return str(tf.config.experimental.get_device_details(devices[0]).get("device_name", devices[0].name))


def device_bytes() -> int | None:
    """Return the bytes that the first GPU gives to TensorFlow, None where there is none."""
    if not tf.config.list_physical_devices("GPU"):
        return None
    from tensorflow.python.client import device_lib

    limits = [device.memory_limit for device in device_lib.list_local_devices() if device.device_type == "GPU"]
    return int(limits[0]) if limits else None


def peak_bytes() -> int | None:
    """Return the most bytes that were held on the first GPU so far, None where there is none."""
    if not tf.config.list_physical_devices("GPU"):
        return None
    return int(tf.config.experimental.get_memory_info("GPU:0")["peak"])


def on_device(values: NDArray[np.generic]) -> Any:
    """Return the batch: tf.data copies it."""
    return values


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether the error says that a device has no memory left."""
    return isinstance(error, tf.errors.ResourceExhaustedError)
