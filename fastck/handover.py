"""Arrays on their way from a worker process to its parent, in memory that is used again and again.

Fresh shared memory costs more than the batch that is put into it: the system clears every page of it, and takes it back
after one batch. Here a worker keeps its blocks of memory. The parent maps the block that an array lies in, without a
copy; when nothing in the parent needs the array any more, the worker fills the block anew.

Linux only (`SUPPORTED`): blocks are anonymous files (memfd), found through /proc, and go with the processes.
"""

import math
import mmap
import os
import weakref
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike, NDArray

SUPPORTED = hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir()
# In front of a block's array, so that it is aligned; the first byte tells whether the parent needs the array.
_HEADER = 64
_FREE, _SENT = 0, 1
# Blocks kept for the next arrays; who held many batches and let them go gets the rest of the memory back.
_SPARE = 4


@dataclass(frozen=True)
class Parcel:
    """Where an array is for the parent process: pickled in its place, and opened once with `opened`."""

    path: str
    shape: tuple[int, ...]
    dtype: str


class _Block:
    """A block of a worker's memory; `array` is what lies in it."""

    def __init__(self, nbytes: int) -> None:
        self._file = os.memfd_create("fastck", os.MFD_CLOEXEC)
        self.path = f"/proc/{os.getpid()}/fd/{self._file}"
        os.ftruncate(self._file, _HEADER + nbytes)
        self.memory = mmap.mmap(self._file, _HEADER + nbytes)
        self.array: weakref.ref[NDArray[np.generic]] | None = None

    def close(self) -> None:
        self.memory.close()
        os.close(self._file)

    @property
    def free(self) -> bool:
        return self.memory[0] == _FREE and (self.array is None or self.array() is None)

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
        array: NDArray[np.generic] = np.ndarray(shape, dtype, buffer=self.memory, offset=_HEADER)
        self.array = weakref.ref(array)
        return array


_blocks: list[_Block] = []


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[np.generic]:
    """Return an array in a free block, its values whatever was there before.

    Parameters
    ----------
    shape : tuple of int
    dtype : data type

    Returns
    -------
    array : ndarray
        The block is free again when the array is gone here and, if it was sent, in the parent.
    """
    kind = np.dtype(dtype)
    nbytes = math.prod(shape) * kind.itemsize
    free = [block for block in _blocks if block.free]
    fitting = [block for block in free if len(block.memory) >= _HEADER + nbytes]
    for block in free:
        if block not in fitting[:_SPARE]:
            _blocks.remove(block)
            block.close()
    if not fitting:
        fitting.append(_Block(nbytes))
        _blocks.append(fitting[0])
    return fitting[0].empty(shape, kind)


def parcel(array: NDArray[np.generic]) -> Parcel | None:
    """Return what to send in place of an array of `empty`, to be opened once; None for any other array.

    Another array over the same memory will do, if it has the whole of it.
    """
    for block in _blocks:
        own = None if block.array is None else block.array()
        if own is not None and own.__array_interface__["data"] == array.__array_interface__["data"]:
            if own.shape != array.shape or own.strides != array.strides or own.dtype != array.dtype:
                return None
            block.memory[0] = _SENT
            return Parcel(block.path, own.shape, own.dtype.str)
    return None


def opened(sent: Parcel) -> NDArray[np.generic]:
    """Return a parcel's array, in the worker's own memory; when it is gone the worker may use that again.

    Raises
    ------
    OSError
        If the worker has died.
    """
    file = os.open(sent.path, os.O_RDWR)
    try:
        memory = mmap.mmap(file, 0)
    finally:
        os.close(file)
    array: NDArray[np.generic] = np.ndarray(sent.shape, sent.dtype, buffer=memory, offset=_HEADER)
    # At the interpreter's end tensors may still be read, and the worker goes as well.
    weakref.finalize(array, _release, memory, os.getpid()).atexit = False
    return array


def _release(memory: mmap.mmap, owner: int) -> None:
    # A forked process has a copy of every reference: what it lets go of, the owner may still need.
    if os.getpid() == owner:
        memory[0] = _FREE
