"""TensorFlow's start, without the lines that its C++ parts print on stderr before any log level counts."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


def start_tensorflow() -> None:
    """Import TensorFlow and look for its devices, with nothing printed; does nothing where it was imported before.

    Its notices on CUDA and oneDNN are not about the user's data. They come from C++ before logging is set up, so that
    no setting keeps all of them back. Where the start fails, everything that it printed is shown.
    """
    if "tensorflow" in sys.modules:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _held_back():
        import keras  # noqa: F401
        import tensorflow as tf

        tf.config.list_physical_devices()
        tf.zeros(1)


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
