"""Compiled loops and nothing else: arrays and scalars in, `out` filled; no I/O, no checks, no allocation of results."""

import gc
import logging
from collections.abc import Callable
from functools import cache, partial, wraps
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from numba import config, njit
from numba.core.caching import FunctionCache
from numba.core.runtime import rtsys

logger = logging.getLogger(__name__)


def kernel(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Compile a loop with Numba on first use: serial, without the GIL, kept on disk where a cache folder is writable.

    Serial because `pipeline` spreads sequences over threads, and Numba's own parallel layer aborts when several of
    them call it. `options` are more of Numba's, such as ``fastmath=True``.
    """
    if function is None:
        return partial(kernel, **options)
    compiled = _compiled(function, options)
    try:
        compiled._cache = KernelCache(function)
    except (RuntimeError, OSError):  # Numba found no folder to write to: a read-only install without a home
        _warn_not_kept()
    return compiled


class KernelCache(FunctionCache):
    """Numba's cache on disk: fresh as long as no file of kernels changes, and never a reason to stop.

    Parameters
    ----------
    function : callable
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        # Numba looks at the function's own file only, and kernels use each other's.
        self._cache_file._source_stamp = _sources()

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return what is kept for a signature, None where that is nothing or damaged."""
        # Numba would first load all that compiling needs; what is compiled needs its runtime alone.
        rtsys.initialize(target_context)
        try:
            with self._guard_against_spurious_io_errors():
                kept = self._load_overload(sig, target_context)
        except Exception as error:  # a damaged pickle raises anything
            logger.debug("a kernel is compiled anew: %r", error)
            self._enabled = self._emptied()
            kept = None
        if kept is None:
            _say_compiling()
            _import_without_scipy()
        return kept

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep what was compiled where there is room for it."""
        try:
            super().save_overload(sig, data)
        except Exception as error:  # a full disk, a damaged index: the kernel is there all the same
            logger.debug("a kernel cannot be kept: %r", error)
            _warn_not_kept()

    def _emptied(self) -> bool:
        try:
            self.flush()
        except OSError:
            _warn_not_kept()
            return False
        return True


def is_new(compiled: Any) -> bool:
    """Return whether a kernel will be compiled: nothing of it is on disk, where it would be kept."""
    cache = compiled._cache
    if not isinstance(cache, KernelCache) or compiled.signatures:
        return False
    try:
        return not cache._cache_file._load_index()
    except Exception:  # a damaged index raises anything
        return True


def _compiled(function: Callable[..., Any], settings: dict[str, Any]) -> Any:
    """Return the function for Numba to compile, even where NUMBA_DISABLE_JIT is set: vector loops have no other way."""
    disabled = config.DISABLE_JIT
    if disabled:
        _say_compiled()
    config.DISABLE_JIT = 0
    # Python's error model tests every divisor for zero; nothing calls kernels through a C function.
    settings = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True, **settings}
    try:
        compiled = njit(**settings)(function)
    finally:
        config.DISABLE_JIT = disabled
    compiled.compile = _without_collection(compiled.compile)
    return compiled


def _without_collection(compile: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Compile, or read from disk, without looking for garbage: a tenth of the time, and hardly any is found."""

    @wraps(compile)
    def run(signature: Any) -> Any:
        enabled = gc.isenabled()
        gc.disable()
        try:
            return compile(signature)
        finally:
            if enabled:
                gc.enable()

    return run


@cache
def _import_without_scipy() -> None:
    """Import Numba's own arithmetic; it would import SciPy's linear algebra, only to see whether it is there."""
    if find_spec("scipy") is None:
        return
    from numba.np import linalg

    ensure = linalg.ensure_blas
    linalg.ensure_blas = lambda: None
    try:
        from numba.np import arraymath
    finally:
        linalg.ensure_blas = ensure
    arraymath.ensure_blas = ensure


@cache
def _sources() -> str:
    """Return a digest of every file in this folder."""
    digest = sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


@cache
def _say_compiled() -> None:
    logger.warning("NUMBA_DISABLE_JIT does not count for fastck's kernels: they run compiled only")


@cache
def _say_compiling() -> None:
    logger.info("compiling kernels, once on this machine: 10 to 20 s")


@cache
def _warn_not_kept() -> None:
    logger.warning("kernels are compiled anew in every process: set NUMBA_CACHE_DIR to a writable folder with room")
