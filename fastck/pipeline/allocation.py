"""Freed memory that a worker keeps for its next frame."""

import ctypes
import os
import sys
from contextlib import suppress
from functools import cache

# glibc's malloc.h
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST_BLOCK = 32 * 2**20  # bytes; the most glibc allows
_MOST_KEPT = 64 * 2**20


@cache
def keep_freed_memory() -> None:
    """Let glibc use the blocks of one frame for the next one, also where MALLOC_TRIM_THRESHOLD_ is set.

    Dask sets that variable in its workers. glibc then no longer adapts to large blocks: each file, each decompressed
    image and each frame is fresh memory from the system, page by page, and decoding takes a quarter more time. Without
    the variable, and under another C library, nothing is changed.
    """
    if "MALLOC_TRIM_THRESHOLD_" not in os.environ or sys.platform != "linux":
        return
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, _LARGEST_BLOCK)
        mallopt(_TRIM_THRESHOLD, _MOST_KEPT)
