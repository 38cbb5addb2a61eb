"""TensorFlow as Keras' backend."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import tensorflow as tf

# On CPU, XLA made epochs several times slower.
COMPILED = False
FEED = "tf.data"


def version() -> str:
    """Return the library's version."""
    return tf.__version__


def last_state(step: Callable[..., Any], frames: Any, states: Sequence[Any], rows: Any, weights: Sequence[Any]) -> Any:
    """Run `step` over time and return the last h; at step t it computes the first `rows[t]` samples only.

    Parameters
    ----------
    step : callable
        (frame, h, c, *weights) -> (h, c).
    frames : tensor of shape (B, T, H, W, C)
        Sorted by first non-zero frame.
    states : sequence of tensor
        h and c of one sample, (1, H', W', filters).
    rows : tensor of shape (T,), int32
        Increasing; the last one is B. The last of these samples stands for all that have not begun.
    weights : sequence of tensor
        Handed to `step`.

    Returns
    -------
    h : tensor of shape (B, H', W', filters)
    """
    steps = tf.shape(frames)[1]

    def body(t: Any, h: Any, c: Any) -> tuple[Any, Any, Any]:
        starting = rows[t] - tf.shape(h)[0]
        # The last row stood for all that had not begun, those that begin now among them.
        h, c = (tf.concat([state, tf.repeat(state[-1:], starting, axis=0)], axis=0) for state in (h, c))
        h, c = step(frames[: rows[t], t], h, c, *weights)
        return t + 1, h, c

    free = tf.TensorShape([None, *states[0].shape[1:]])
    _, h, _ = tf.while_loop(
        lambda t, *_: t < steps,
        body,
        (tf.constant(0), *states),
        shape_invariants=(tf.TensorShape([]), free, free),
        maximum_iterations=frames.shape[1],
    )
    return h


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


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether the error says that a device has no memory left."""
    return isinstance(error, tf.errors.ResourceExhaustedError)
