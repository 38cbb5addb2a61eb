"""Compiled loops and nothing else: arrays and scalars in, `out` filled; no I/O, no checks, no allocation of results."""

import logging
from collections.abc import Callable
from functools import cache, partial
from typing import Any

from numba import njit

logger = logging.getLogger(__name__)


def kernel(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Compile a loop with Numba on first use: serial, without the GIL, kept on disk where a cache folder is writable.

    Serial because `pipeline` spreads sequences over threads, and Numba's own parallel layer aborts when several of
    them call it. `options` are more of Numba's, such as ``fastmath=True``.
    """
    if function is None:
        return partial(kernel, **options)
    settings = {"nogil": True, "error_model": "numpy", **options}  # Python's model tests every divisor for zero
    try:
        return njit(cache=True, **settings)(function)
    except RuntimeError:  # Numba found no folder to write to: a read-only install without a home
        _say_once()
        return njit(**settings)(function)


@cache
def _say_once() -> None:
    logger.warning("kernels are compiled anew in every process: set NUMBA_CACHE_DIR to a writable folder")
