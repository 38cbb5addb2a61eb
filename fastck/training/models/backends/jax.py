"""JAX as Keras' backend."""

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from fastck.training.models.backends.waiting import Waiting
from fastck.training.models.backends.waiting import convolve as library_convolve

COMPILED = True
FEED = "thread"

# A compiled step has a fixed number of samples: so many sizes are compiled, and the smallest that holds all is run.
SIZES = 2


def version() -> str:
    """Return the library's version."""
    return jax.__version__


def last_state(step: Callable[..., Any], frames: Any, begun: Any, weights: Sequence[Any], waiting: Waiting) -> Any:
    """Run `step` over time and return the last h: as in backends.tensorflow, but in a few numbers of samples."""
    samples = frames.shape[0]
    # One of those that have not begun is among those that are computed, in place of the small one.
    rows = jnp.minimum(begun + 1, samples)
    sizes = sorted({-(-samples * size // SIZES) for size in range(1, SIZES + 1)})

    def sized(size: int) -> Callable[..., Any]:
        def run(frame: Any, h: Any, c: Any) -> tuple[Any, ...]:
            states = step(frame[:size], h[:size], c[:size], *weights)
            # The last row stands for all behind it: none of them has begun.
            return tuple(
                jnp.concatenate([state, jnp.broadcast_to(state[-1:], (samples - size, *state.shape[1:]))])
                for state in states
            )

        return run

    branches = [sized(size) for size in sizes]

    def body(carry: tuple[Any, ...], values: tuple[Any, Any]) -> tuple[tuple[Any, ...], None]:
        frame, n = values
        return jax.lax.switch(jnp.searchsorted(jnp.asarray(sizes), n), branches, frame, *carry), None

    zeros = waiting.widen(waiting.state)
    start = (jnp.broadcast_to(zeros, (samples, *zeros.shape[1:])),) * 2
    (h, _), _ = jax.lax.scan(body, start, (jnp.moveaxis(frames, 1, 0), rows))
    return h


def convolve(values: Any, kernel: Any, padding: str) -> Any:
    """Convolve (B, H, W, C) with (rows, columns, C, filters); padding is "valid" or "same".

    On a CPU it is one matrix product of the shifted values. XLA's own convolution is as fast forward; its gradient
    takes twenty times as long within a scan (jaxlib 0.10).
    """
    if device_name() is not None:
        return library_convolve(values, kernel, padding)
    rows, columns, channels, filters = kernel.shape
    if padding == "same":
        margins = [((size - 1) // 2, size // 2) for size in (rows, columns)]
        values = jnp.pad(values, ((0, 0), *margins, (0, 0)))
    height, width = values.shape[1] - rows + 1, values.shape[2] - columns + 1
    shifted = [
        values[:, row : row + height, column : column + width] for row in range(rows) for column in range(columns)
    ]
    return jnp.concatenate(shifted, axis=-1) @ kernel.reshape(rows * columns * channels, filters)


def row_products(rows: Any, kernel: Any) -> Any:
    """Multiply (N, C) with (C, filters); rows of zeros too: JAX compiles for a fixed number."""
    return rows @ kernel


def set_up(*, deterministic: bool) -> AbstractContextManager:
    """Ask for repeatable results where wanted, and return the scope in which a network is made."""
    flag = "--xla_gpu_deterministic_ops=true"
    flags = os.environ.get("XLA_FLAGS", "")
    if deterministic and device_name() and flag not in flags:
        # Read by each compilation; untested, there was no GPU.
        os.environ["XLA_FLAGS"] = f"{flags} {flag}".strip()
    return nullcontext()


def device_name() -> str | None:
    """Return the first GPU's or other accelerator's name, None where there is none."""
    device = jax.local_devices()[0]
    return None if device.platform == "cpu" else str(device.device_kind)


def device_bytes() -> int | None:
    """Return the bytes that the first device gives to JAX, None where it is the CPU."""
    return _statistic("bytes_limit")


def peak_bytes() -> int | None:
    """Return the most bytes that were held on the first device so far, None where it is the CPU."""
    return _statistic("peak_bytes_in_use")


def on_device(values: NDArray[np.generic]) -> Any:
    """Begin to copy a batch to the GPU; without one return the batch."""
    return values if device_name() is None else jax.device_put(values)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether the error says that a device has no memory left."""
    return isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error)


def _statistic(name: str) -> int | None:
    device = jax.local_devices()[0]
    values = None if device.platform == "cpu" else device.memory_stats()
    return int(values[name]) if values and name in values else None
