"""How a store's files are written: whole or not at all, and each sequence's rows at their place."""

import errno
import logging
import os
import shutil
from collections.abc import Iterable, Iterator
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

log = logging.getLogger(__name__)

BLOCK = 4 * 2**20  # bytes that are read at once
NOT_SUPPORTED = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}


def check_room(folder: Path, needed: int, *, what: str = "", advice: str = "make room first") -> None:
    """Raise OSError where a folder's file system has fewer bytes left than are needed."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(f"{folder} needs {needed / 2**20:,.0f} MiB{what}, {free / 2**20:,.0f} MiB are free: {advice}")


def sync(path: Path) -> None:
    """Have a file's data on disk when this returns."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _read_header(file: BinaryIO) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return the shape and dtype of a .npy file, which is left at its first row."""
    # `allocate` writes version 1.0.
    np.lib.format.read_magic(file)
    length = file.read(2)
    return _parse_header(length + file.read(int.from_bytes(length, "little")))


# NumPy evaluates the header as Python's: a tenth of a millisecond, for each of a million sequences.
@lru_cache(maxsize=64)
def _parse_header(content: bytes) -> tuple[tuple[int, ...], np.dtype[Any]]:
    shape, _, dtype = np.lib.format.read_array_header_1_0(BytesIO(content))
    return shape, dtype


def write_rows(path: Path, start: int, rows: NDArray[Any], total: int) -> None:
    """Write rows at their place in a .npy file that has `total` rows.

    A file of another shape is left alone: a worker of a run that was killed may come too late, when another run has
    closed or replaced the store.

    Not through a memmap: on a network file system two machines that map the same page lose each other's rows, and on a
    full disk a memmap kills the process where a write raises OSError.
    """
    with path.open("r+b") as file:
        shape, dtype = _read_header(file)
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


def _row_layout(path: Path) -> tuple[int, int]:
    """Return where a .npy file's rows begin, and how many bytes each has."""
    with path.open("rb") as file:
        shape, dtype = _read_header(file)
        return file.tell(), dtype.itemsize * int(np.prod(shape[1:]))


def read_pieces(path: Path, starts: NDArray[np.int64], counts: NDArray[np.int64]) -> Iterator[Iterable[memoryview]]:
    """Yield for each stretch of rows the pieces of its bytes; the file is read in blocks, best in the rows' order."""
    offset, size = _row_layout(path)
    begins = (offset + starts * size).tolist()
    ends = (offset + (starts + counts) * size).tolist()
    block, low, high = memoryview(b""), 0, 0

    def read(position: int) -> None:
        nonlocal block, low, high
        file.seek(position)
        block = memoryview(file.read(BLOCK))
        low, high = position, position + len(block)
        if low == high:
            raise OSError(errno.EIO, "the file ends before its last row", str(path))

    def pieces(position: int, end: int) -> Iterator[memoryview]:
        while position < end:
            if not low <= position < high:
                read(position)
            piece = block[position - low : min(end, high) - low]
            position += len(piece)
            yield piece

    with path.open("rb") as file:
        for begin, end in zip(begins, ends, strict=True):
            # Of a million short stretches nearly all lie within a block.
            yield (block[begin - low : end - low],) if low <= begin and end <= high else pieces(begin, end)


def copy_rows(source: Path, target: Path, moves: Iterable[tuple[int, int, int]]) -> None:
    """Copy stretches of rows, each given by its first row there, its first row here and its length, to another file."""
    offset, size = _row_layout(target)
    there, here, counts = np.array(list(moves), np.int64).reshape(-1, 3).T
    with target.open("r+b") as file:
        for start, pieces in zip(here.tolist(), read_pieces(source, there, counts), strict=True):
            file.seek(offset + start * size)
            file.writelines(pieces)
