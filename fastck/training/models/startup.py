"""Keras' start on its backend, without the lines that C++ parts print on stderr before any log level counts."""

import importlib.util
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

# Keras' backends that fastck trains on, in the order in which an installed one is taken; the extra that brings each.
BACKENDS = {"tensorflow": "train", "jax": "train-jax", "torch": "train-torch"}

# Where each one reads, as it starts, how many threads it may have.
THREADS = {
    "tensorflow": ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"),
    "jax": ("NPROC",),
    "torch": ("OMP_NUM_THREADS",),
}


def chosen_backend() -> str:
    """Return the backend that KERAS_BACKEND names, or else the first one that is installed.

    Raises
    ------
    ValueError
        If the name is not one of BACKENDS, it is not installed, or none is.
    """
    if "keras" in sys.modules:
        return str(sys.modules["keras"].backend.backend())
    name = os.environ.get("KERAS_BACKEND", "")
    if name and name not in BACKENDS:
        raise ValueError(f"KERAS_BACKEND must be one of {', '.join(BACKENDS)}, got {name!r}")
    for backend in [name] if name else BACKENDS:
        if importlib.util.find_spec(backend) is not None:
            return backend
    extras = " or ".join(f"pip install 'fastck[{BACKENDS[entry]}]'" for entry in ([name] if name else BACKENDS))
    raise ValueError(f"training needs {name or 'one of ' + ', '.join(BACKENDS)}: {extras}")


def start_keras(threads: int | None = None) -> str:
    """Import Keras and its backend, look for devices, with nothing printed, and return the backend's name.

    With `threads` the backend gets so many of the processor's; one that has been started already keeps those it has.

    TensorFlow's notices on CUDA and oneDNN are not about the user's data. They come from C++ before logging is set up,
    so that no setting keeps all of them back. Where the start fails, everything that it printed is shown.

    Raises
    ------
    ValueError
        If no backend is installed, or KERAS_BACKEND names none.
    """
    name = chosen_backend()
    if "keras" in sys.modules:
        return name
    os.environ["KERAS_BACKEND"] = name
    if threads is not None:
        os.environ |= dict.fromkeys(THREADS[name], str(threads))
    # Its warnings are for those who write networks: that many of them are traced, one for each fold.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _held_back():
        import keras

        from fastck.training.models.backends import current_backend

        keras.ops.zeros(1)
        current_backend().device_name()
    return name


@contextmanager
def _held_back() -> Iterator[None]:
    """Keep what is written to file descriptor 2 from the terminal, unless the block raises."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as printed:
        os.dup2(printed.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(kept, 2)
            printed.seek(0)
            os.write(2, printed.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
