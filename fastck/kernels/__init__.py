"""Compiled loops and nothing else: arrays and scalars in, `out` filled; no I/O, no checks, no allocation of results."""

import logging
from collections.abc import Callable
from typing import Any

from numba import njit

logger = logging.getLogger(__name__)


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a loop with Numba on first use: serial, without the GIL, kept on disk where a cache folder is writable.

    Serial because `pipeline` spreads sequences over threads, and Numba's own parallel layer aborts when several of
    them call it.
    """
    try:
        return njit(nogil=True, cache=True, error_model="numpy")(function)
    except RuntimeError as error:  # Numba found no folder to write to: a read-only install without a home
        logger.warning("%s is compiled anew in every process: %s", function.__name__, error)
        return njit(nogil=True, error_model="numpy")(function)
