"""What differs between Keras' backends: one module each, named as Keras names the backend, with the same functions.

`last_state` runs a recurrent step over time, `convolve` is the convolution within it, `row_products` multiplies rows of
which many are zero, `set_up` prepares several devices and repeatable results, `device_name`, `device_bytes` and
`peak_bytes` ask the device, `on_device` copies a batch to it ahead, `is_out_of_memory` knows its error, `version` names
the library. `COMPILED` says whether Keras compiles a training step with XLA, `FEED` who prepares batches ahead.
"""

import importlib
from types import ModuleType


def current_backend() -> ModuleType:
    """Return the module of the backend that Keras runs on."""
    import keras

    return importlib.import_module(f"{__name__}.{keras.backend.backend()}")
