"""How a store's files are written: whole or not at all, and each sequence's rows at their place."""

import errno
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

log = logging.getLogger(__name__)

NOT_SUPPORTED = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}


def write_atomically(path: Path, data: bytes) -> None:
    """Write a whole file or nothing, and have it on disk when this returns."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def check_room(folder: Path, needed: int, *, what: str = "", advice: str = "make room first") -> None:
    """Raise OSError where a folder's file system has fewer bytes left than are needed."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(f"{folder} needs {needed / 2**20:,.0f} MiB{what}, {free / 2**20:,.0f} MiB are free: {advice}")


def sync(path: Path) -> None:
    """Have a file's data on disk when this returns."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def write_rows(path: Path, start: int, rows: NDArray[Any], total: int) -> None:
    """Write rows at their place in a .npy file that has `total` rows.

    A file of another shape is left alone: a worker of a run that was killed may come too late, when another run has
    closed or replaced the store.

    Not through a memmap: on a network file system two machines that map the same page lose each other's rows, and on a
    full disk a memmap kills the process where a write raises OSError.
    """
    with path.open("r+b") as file:
        np.lib.format.read_magic(file)
        # `allocate` writes version 1.0; reading the header leaves the file at the first row.
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        if shape != (total, *rows.shape[1:]) or dtype != rows.dtype or not 0 <= start <= total - len(rows):
            raise ValueError(
                f"{path} holds {shape} {dtype}, got {rows.shape} {rows.dtype} for row {start} of {total}: "
                "the store was closed or replaced meanwhile"
            )
        file.seek(start * rows.itemsize * int(np.prod(rows.shape[1:])), os.SEEK_CUR)
        file.write(np.ascontiguousarray(rows).data)


def allocate(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Create a .npy file of zeros with its blocks reserved, so that a full disk shows now and not midway."""
    open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    with path.open("r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, max(path.stat().st_size, 1))
        except OSError as error:
            if error.errno not in NOT_SUPPORTED:
                raise
            log.warning("%s: this file system reserves no space beforehand (%s)", path.name, error.strerror)
