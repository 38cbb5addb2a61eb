"""The model file: weights and what is said about them, the same bytes for the same values."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tools.npzfile import npz_bytes


def model_bytes(weights: dict[str, NDArray[np.float32]], about: dict[str, Any]) -> bytes:
    """Return an .npz file of the weights as float16, the scale as float32, and `about` as JSON text."""
    arrays: dict[str, NDArray[Any]] = {"about": np.array(json.dumps(about, sort_keys=True))}
    for name, values in weights.items():
        arrays[name] = values if name == "scale" else values.astype(np.float16)
    return npz_bytes(arrays)


def rounded(weights: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """Return the weights as the file will hold them: what is calibrated and checked has to be what is shipped."""
    return {name: values if name == "scale" else values.astype(np.float16).astype(np.float32)
            for name, values in weights.items()}  # fmt: skip


def write_model(path: Path, weights: dict[str, NDArray[np.float32]], about: dict[str, Any]) -> None:
    """Write a model file."""
    path.write_bytes(model_bytes(weights, about))
