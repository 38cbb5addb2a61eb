"""What the operations ask of their arguments, and the shapes they return."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

ALIGNMENT = 64  # bytes; TensorFlow takes an array over as it is where it begins at a multiple, and copies it elsewhere


def check_frames(
    frames: object, *, min_frames: int = 1, dtypes: Sequence[str] = ("uint8",), name: str = "frames"
) -> np.ndarray:
    """Return `frames` as a contiguous read-only view (a copy only where it is not contiguous)."""
    if not isinstance(frames, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array, got {type(frames).__name__}: np.asarray it")
    if frames.dtype.name not in dtypes:
        raise TypeError(f"{name} must have dtype {' or '.join(dtypes)}, got {frames.dtype}: convert with astype")
    if frames.ndim != 3 or frames.shape[0] < min_frames or 0 in frames.shape[1:]:
        raise ValueError(f"{name} must have shape (T, H, W) with T >= {min_frames} and H, W >= 1, got {frames.shape}")
    # Numba compiles anew for each array type: read-only, C-ordered and native is one that every array can become.
    view = np.require(frames, frames.dtype.newbyteorder("="), ("C", "A", "E")).view()
    view.flags.writeable = False
    return view


def check_out(
    out: object,
    *,
    shape: tuple[int, ...],
    dtype: npt.DTypeLike,
    name: str = "out",
    apart: Iterable[np.ndarray] = (),
) -> np.ndarray:
    """Return `out`, or a new array where it is None; kernels write to it, so it has to fit exactly.

    `apart` are the arrays that are read or written meanwhile: they must not share memory with it.
    """
    if out is None:
        return np.empty(shape, dtype)
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array, got {type(out).__name__}")
    if out.dtype != dtype:
        raise TypeError(f"{name} must have dtype {np.dtype(dtype)}, got {out.dtype}")
    if out.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {out.shape}")
    if not (out.flags.c_contiguous and out.flags.aligned and out.flags.writeable):
        raise ValueError(f"{name} must be C-contiguous, aligned and writeable: pass a slice along the first axis")
    if any(np.may_share_memory(out, other) for other in apart):
        raise ValueError(f"{name} must not share memory with the frames or another out: pass a new array")
    return out.view(np.ndarray)


def check_gray_level(name: str, value: object) -> np.uint8:
    """Return a gray level as uint8."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if not 0 <= value <= 255:
        raise ValueError(f"{name} must be 0 to 255 gray levels, got {value}")
    return np.uint8(value)


def check_count(name: str, value: object) -> int:
    """Return a number that counts something, so is at least one."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")
    return int(value)


def difference_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of the differences of frames of `shape`."""
    return (shape[0] - 1, *shape[1:])


def packed_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of masks of `shape` with eight pixels in a byte."""
    return (*shape[:-1], -(-shape[-1] // 8))


def pooled_shape(shape: tuple[int, ...], *, times: int = 1) -> tuple[int, ...]:
    """Shape of frames of `shape` after `times` 2x2 poolings."""
    height, width = shape[-2:]
    for _ in range(times):
        height, width = -(-height // 2), -(-width // 2)
    return (*shape[:-2], height, width)


def projection_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of the projections of square frames of `shape`."""
    if shape[-1] != shape[-2]:
        raise ValueError(f"frames to project must be square, got {shape[-2]} x {shape[-1]} pixels: crop or resize them")
    return (*shape[:-2], 2, shape[-1])


def empty_aligned(shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return a new array, float32, with its values at a multiple of ALIGNMENT; contents are whatever was there."""
    size = math.prod(shape) * np.dtype(np.float32).itemsize
    room = np.empty(size + ALIGNMENT, np.uint8)
    begin = -room.ctypes.data % ALIGNMENT
    return room[begin : begin + size].view(np.float32).reshape(shape)
