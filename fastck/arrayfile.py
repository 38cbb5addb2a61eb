"""Arrays of an .npz file that may be damaged or hostile: sizes are looked at before memory is taken."""

import json
import math
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from fastck.messages import one_line

SMALL = 2**26  # bytes that a file's arrays may take in any case; more only as far as the file itself is as large

# What zipfile, zlib and NumPy raise on damaged files.
_DAMAGE = (
    ValueError,
    KeyError,
    EOFError,
    OSError,
    RuntimeError,
    MemoryError,
    SyntaxError,
    TypeError,
    OverflowError,
    zipfile.BadZipFile,
    zlib.error,
)


def read_arrays(
    path: str | PathLike[str],
    what: str,
    *,
    check: Callable[[Mapping[str, tuple[int, ...]]], object] = lambda shapes: None,
) -> dict[str, np.ndarray]:
    """Read all arrays of an .npz file without running any code that it might hold.

    Parameters
    ----------
    path : path-like
    what : str
        How messages go on: "is no model".
    check : callable
        Is given every array's shape before one is read; raises ValueError where they do not fit.

    Returns
    -------
    arrays : dict of str to ndarray
        Numbers and texts; every number is finite or infinite, none is nan.

    Raises
    ------
    ValueError
        If the file is damaged, claims more than it can hold, or holds objects.
    OSError
        If it cannot be opened.
    """
    limit = max(SMALL, Path(path).stat().st_size)
    try:
        with zipfile.ZipFile(path) as file:
            heads = {info.filename.removesuffix(".npy"): _head(file, info) for info in file.infolist()}
            claimed = sum(math.prod(shape) * dtype.itemsize for shape, dtype in heads.values())
            if claimed > limit:
                raise ValueError(f"its arrays claim {claimed} bytes, more than such a file can hold")
            check({name: shape for name, (shape, _) in heads.items()})
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in heads}
    except _DAMAGE as error:
        raise ValueError(f"{path} {what}: {one_line(error)}") from error
    for name, values in arrays.items():
        if values.dtype.kind not in "fiuU" or (values.dtype.kind == "f" and np.isnan(values).any()):
            raise ValueError(f"{path} {what}: {name} must hold numbers or text, without nan")
    return arrays


@contextmanager
def model_file(
    path: str | PathLike[str], what: str, version: int
) -> Iterator[tuple[dict[str, Any], dict[str, np.ndarray]]]:
    """Hand over what a file of bundled weights says about itself, and its arrays.

    Whatever is wrong, what the caller finds there included, is a ValueError: "PATH is no model of fastck's WHAT: ...".
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            about: dict[str, Any] = json.loads(str(file["about"]))
            if about["format"] != version:
                raise ValueError(f"format {about['format']} is of another version of fastck, this one reads {version}")
            arrays = {name: file[name] for name in file.files if name != "about"}
        yield about, arrays
    except (KeyError, ValueError, EOFError) as error:
        raise ValueError(f"{path} is no model of fastck's {what}: {error}") from error


def _head(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return the shape and type that an array's header claims; its bytes must be as many."""
    with file.open(info) as member:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(member)
    if dtype.hasobject:
        raise ValueError(f"{info.filename} holds objects")
    if min(shape, default=1) < 0 or math.prod(shape) * dtype.itemsize > info.file_size:
        raise ValueError(f"{info.filename} claims the shape {shape} in {info.file_size} bytes")
    return shape, dtype
