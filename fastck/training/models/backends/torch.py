"""PyTorch as Keras' backend."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fastck.training.models.backends.waiting import Waiting
from fastck.training.models.backends.waiting import convolve as convolve

# Keras runs PyTorch without a compiler.
COMPILED = False
FEED = "thread"


def version() -> str:
    """Return the library's version."""
    return str(torch.__version__)


def last_state(step: Callable[..., Any], frames: Any, begun: Any, weights: Sequence[Any], waiting: Waiting) -> Any:
    """Run `step` over time and return the last h: as in backends.tensorflow."""
    waited = (waiting.state, waiting.state)
    h = c = waiting.widen(waiting.state)[:0]
    for t, n in enumerate(begun.tolist()):
        starting = n - len(h)
        if starting:
            widened = (waiting.widen(state) for state in waited)
            new_h, new_c = (state.expand(starting, *state.shape[1:]) for state in widened)
            h, c = torch.cat([h, new_h]), torch.cat([c, new_c])
        if n:
            h, c = step(frames[:n, t], h, c, *weights)
        if n < len(frames):
            waited = step(waiting.frame, *waited, *weights)
    return h


def row_products(rows: Any, kernel: Any) -> Any:
    """Multiply (N, C) with (C, filters); rows of zeros are left out."""
    moving = (rows != 0).any(dim=1).nonzero()[:, 0]
    return rows.new_zeros(len(rows), kernel.shape[1]).index_copy(0, moving, rows[moving] @ kernel)


def set_up(*, deterministic: bool) -> AbstractContextManager:
    """Ask for repeatable results where wanted, and return the scope in which a network is made."""
    # An operation without a repeatable form warns and runs: it must not end a training.
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    return nullcontext()


def device_name() -> str | None:
    """Return the first GPU's name, None where there is none."""
    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None


def device_bytes() -> int | None:
    """Return the first GPU's bytes, None where there is none."""
    return int(torch.cuda.mem_get_info(0)[1]) if torch.cuda.is_available() else None


def peak_bytes() -> int | None:
    """Return the most bytes that were held on the first GPU so far, None where there is none."""
    return int(torch.cuda.max_memory_reserved(0)) if torch.cuda.is_available() else None


def on_device(values: NDArray[np.generic]) -> Any:
    """Begin to copy a batch to the GPU, out of memory that it reads by itself; without one return the batch."""
    if not torch.cuda.is_available():
        return values
    return torch.from_numpy(values).pin_memory().to("cuda", non_blocking=True)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether the error says that a device has no memory left."""
    # On a CPU it is a plain RuntimeError of the allocator.
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "DefaultCPUAllocator: can't allocate memory" in str(error)
    )
