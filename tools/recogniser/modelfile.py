"""The model file: weights and what is said about them, the same bytes for the same values."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the earliest time a ZIP archive can hold: a file must not tell when it was made


def model_bytes(weights: dict[str, NDArray[np.float32]], about: dict[str, Any]) -> bytes:
    """Return an .npz file of the weights as float16, the scale as float32, and `about` as JSON text."""
    arrays: dict[str, NDArray[Any]] = {"about": np.array(json.dumps(about, sort_keys=True))}
    for name, values in weights.items():
        arrays[name] = values if name == "scale" else values.astype(np.float16)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, values in sorted(arrays.items()):
            content = io.BytesIO()
            np.lib.format.write_array(content, values, allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", LONG_AGO)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content.getvalue())
    return buffer.getvalue()


def rounded(weights: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """Return the weights as the file will hold them: what is calibrated and checked has to be what is shipped."""
    return {name: values if name == "scale" else values.astype(np.float16).astype(np.float32)
            for name, values in weights.items()}  # fmt: skip


def write_model(path: Path, weights: dict[str, NDArray[np.float32]], about: dict[str, Any]) -> None:
    """Write a model file."""
    path.write_bytes(model_bytes(weights, about))
