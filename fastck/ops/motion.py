"""The public operations on frames: check, allocate, call the kernel, return."""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fastck.config import UNIT_VALUES, Mode, Reference, check_choice
from fastck.kernels import masks, motion
from fastck.ops.checks import (
    check_count,
    check_frames,
    check_gray_level,
    check_out,
    difference_shape,
    packed_shape,
    pooled_shape,
    projection_shape,
)
from fastck.ops.flow import FLOW_SHAPES

_DIFFERENCE: dict[str, Callable[..., None]] = {
    "wrap": motion.frame_difference_wrap,
    "absolute": motion.frame_difference_absolute,
    "saturate": motion.frame_difference_saturate,
}
# How the fused kernel compares, by mode.
_COMPARISON: dict[Mode, int] = {"wrap": masks.WRAP, "absolute": masks.ABSOLUTE, "saturate": masks.SATURATE}
_POOLS = {"pool134": 1, "pool67": 2, "pool34": 3}  # how often a 267-pixel mask is halved (paper, phase 2)
FEATURES: tuple[str, ...] = ("projection", "mask", *_POOLS)
STORE_FEATURES: tuple[str, ...] = (*FEATURES, *FLOW_SHAPES, "units")
# What the fused kernel fills.
_FORMS = ("projection", "unpacked", "mask", *_POOLS)
_WORD = 64  # pixels that the fused kernel loads at once
_of_thread = threading.local()


def feature_shape(name: str, side: int = 267) -> tuple[int, ...]:
    """Shape of one row of a store's feature for crops of `side` pixels.

    Raises
    ------
    ValueError
        If no feature has that name.
    """
    _check_feature(name, STORE_FEATURES)
    if name == "units":
        return 1, UNIT_VALUES
    return FLOW_SHAPES.get(name) or _motion_shape(name, (2, side, side))[1:]


def feature_dtype(name: str) -> np.dtype[Any]:
    """Type of a store's feature: packed masks are bytes, all others float32.

    Raises
    ------
    ValueError
        If no feature has that name.
    """
    _check_feature(name, STORE_FEATURES)
    return np.dtype(np.uint8 if name == "mask" else np.float32)


def _check_feature(name: str, features: tuple[str, ...] = FEATURES) -> None:
    if name not in features:
        raise ValueError(f"feature must be one of {', '.join(features)}, got {name!r}")


def _motion_shape(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    _check_feature(name)
    rows = difference_shape(shape)
    if name == "projection":
        return projection_shape(rows)
    return packed_shape(rows) if name == "mask" else pooled_shape(rows, times=_POOLS[name])


def _fuse(
    frames: np.ndarray, wanted: Mapping[str, np.ndarray], mode: Mode, level: object, size: object, reference: str
) -> None:
    """Fill the wanted arrays, by their names in _FORMS, in one pass over the frames."""
    check_choice("mode", mode, Mode)
    check_choice("reference", reference, Reference)
    above, side = int(check_gray_level("level", level)), check_count("size", size)
    if side > masks.LARGEST_FOOTPRINT:
        _motion_by_pixels(frames, wanted, mode, above, side, reference)
        return
    comparison = masks.SIGN if (mode, above) == ("wrap", 127) else _COMPARISON[mode]
    width = frames.shape[2]
    if width < _WORD:
        narrow, frames = frames, np.zeros((*frames.shape[:2], _WORD), np.uint8)
        frames[:, :, :width] = narrow
    forms = (wanted.get(form) for form in _FORMS)
    masks.motion_words(
        frames, width, reference == "onset", comparison, above, side, _buffers(frames.shape[1], width, side), *forms
    )


def _buffers(height: int, width: int, size: int) -> tuple[np.ndarray, ...]:
    """Return this thread's scratch arrays for the fused kernel: kept, as making them takes longer than two frames."""
    key = height, width, size
    if _of_thread.__dict__.get("key") != key:
        _of_thread.buffers, _of_thread.key = _make_buffers(*key), key
    buffers: tuple[np.ndarray, ...] = _of_thread.buffers
    return buffers


def _make_buffers(height: int, width: int, size: int) -> tuple[np.ndarray, ...]:
    strip = (65 - size) // 8 * 8
    strips = -(-width // strip)
    around = height + min(size // 2, height - 1) + min((size - 1) // 2, height - 1)
    # Whole vectors, and room for windows that the edge cuts.
    padded = -(-(height + 8) // masks.ROWS) * masks.ROWS
    return (
        np.empty(strips, np.int64),
        np.empty((4, strips), np.uint64),
        # Rows above and below the frame never erode.
        np.full((2, strips, around), ~np.uint64(0)),
        np.empty((2, around), np.uint64),
        np.zeros((strips, padded), np.uint64),
        np.empty((strips, height), np.uint64),
        np.empty((masks.PLANES, 4), np.uint64),
        np.empty(strips * strip + 64, np.int32),
        np.empty(height, np.uint64),
        np.empty(strips * strip // 2 + 32, np.float32),
    )


def _motion_by_pixels(
    frames: np.ndarray, wanted: Mapping[str, np.ndarray], mode: Mode, level: int, size: int, reference: str
) -> None:
    """Do as `masks.motion_words`, for a footprint of any size."""
    for t in range(frames.shape[0] - 1):
        pair = frames[[0, t + 1]] if reference == "onset" else frames[t : t + 2]
        mask = erode(threshold(frame_difference(pair, mode=mode), level=level, value=1), size=size)
        pooled = mask
        for form, out in wanted.items():
            if form == "projection":
                project(mask, out=out[t : t + 1])
            elif form == "unpacked":
                out[t] = mask[0]
            elif form == "mask":
                out[t] = np.packbits(mask[0], axis=-1)
        for form, times in _POOLS.items():
            if times <= max((_POOLS[name] for name in wanted if name in _POOLS), default=0):
                pooled = mean_pool_2x2(pooled)
                if form in wanted:
                    wanted[form][t] = pooled[0]


def frame_difference(
    frames: np.ndarray, *, mode: Mode = "wrap", reference: Reference = "previous", out: np.ndarray | None = None
) -> np.ndarray:
    """Subtract from every frame the one after it (paper, fig. 3), or every later frame from the first.

    Parameters
    ----------
    frames : ndarray of shape (T, H, W), uint8
        Gray levels; T >= 2. Not modified.
    mode : {"wrap", "absolute", "saturate"}
        ``frames[t] - frames[t + 1]`` modulo 256 as the paper's scripts have it, its absolute value, or 0 where negative
        (`cv2.subtract`).
    reference : {"previous", "onset"}
        What a frame is subtracted from: the frame before it, or the first: ``frames[0] - frames[t + 1]``.
    out : ndarray of shape (T-1, H, W), uint8, optional
        Receives the result; may be a memmap slice.

    Returns
    -------
    difference : ndarray of shape (T-1, H, W), uint8
        Gray levels.

    Raises
    ------
    TypeError, ValueError
        If `frames`, `mode` or `out` is not as above.
    """
    check_choice("mode", mode, Mode)
    check_choice("reference", reference, Reference)
    frames = check_frames(frames, min_frames=2)
    out = check_out(out, shape=difference_shape(frames.shape), dtype=np.uint8, apart=[frames])
    _DIFFERENCE[mode](frames, 0 if reference == "onset" else 1, out)
    return out


def threshold(frames: np.ndarray, *, level: int = 127, value: int = 255, out: np.ndarray | None = None) -> np.ndarray:
    """Set pixels above a level to a value and all others to 0, as `cv2.THRESH_BINARY` (paper, fig. 4).

    Parameters
    ----------
    frames : ndarray of shape (T, H, W), uint8
        Gray levels; T >= 1. Not modified.
    level, value : int
        Gray levels, 0 to 255.
    out : ndarray of the shape of `frames`, uint8, optional
        Receives the result; may be a memmap slice.

    Returns
    -------
    thresholded : ndarray of the shape of `frames`, uint8
        `value` and 0.

    Raises
    ------
    TypeError, ValueError
        If `frames`, a level or `out` is not as above.
    """
    frames = check_frames(frames)
    above, on = check_gray_level("level", level), check_gray_level("value", value)
    out = check_out(out, shape=frames.shape, dtype=np.uint8)
    motion.threshold(frames, above, on, out)
    return out


def erode(frames: np.ndarray, *, size: int = 5, out: np.ndarray | None = None) -> np.ndarray:
    """Replace each pixel by the minimum of a square around it, as `cv2.erode` (paper, fig. 4).

    Pixels outside the frame never erode, and an even footprint reaches one pixel further up and left, as in OpenCV.

    Parameters
    ----------
    frames : ndarray of shape (T, H, W), uint8
        Gray levels or mask values; T >= 1. Not modified.
    size : int
        Side of the footprint in pixels; at least 1, may exceed the frame.
    out : ndarray of the shape of `frames`, uint8, optional
        Receives the result; may be a memmap slice, not `frames` itself.

    Returns
    -------
    eroded : ndarray of the shape of `frames`, uint8
        Gray levels.

    Raises
    ------
    TypeError, ValueError
        If `frames`, `size` or `out` is not as above.
    """
    frames = check_frames(frames)
    size = check_count("size", size)
    out = check_out(out, shape=frames.shape, dtype=np.uint8, apart=[frames])
    motion.erode(frames, size, out)
    return out


def mean_pool_2x2(frames: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """Average each 2x2 window, halving height and width (paper, fig. 13).

    Parameters
    ----------
    frames : ndarray of shape (T, H, W), uint8, float32 or float64
        Gray levels or mask values; T, H, W >= 1. Not modified.
    out : ndarray of shape (T, ceil(H/2), ceil(W/2)), float32, optional
        Receives the result; may be a memmap slice.

    Returns
    -------
    pooled : ndarray of shape (T, ceil(H/2), ceil(W/2)), float32
        Mean of the pixels each window covers, in the units of `frames`.

    Raises
    ------
    TypeError, ValueError
        If `frames` is not of that dtype or shape, or `out` does not fit.
    """
    frames = check_frames(frames, dtypes=("uint8", "float32", "float64"))
    out = check_out(out, shape=pooled_shape(frames.shape), dtype=np.float32, apart=[frames])
    (motion.mean_pool_2x2_doubles if frames.dtype == np.float64 else motion.mean_pool_2x2)(frames, out)
    return out


def project(frames: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """Reduce each square frame to its column means and row means (paper, fig. 14).

    Parameters
    ----------
    frames : ndarray of shape (T, N, N), uint8, float32 or float64
        Gray levels or mask values; T >= 1. Not modified.
    out : ndarray of shape (T, 2, N), float32, optional
        Receives the result; may be a memmap slice.

    Returns
    -------
    projections : ndarray of shape (T, 2, N), float32
        Row 0 holds the column means, row 1 the row means, in the units of `frames`.

    Raises
    ------
    TypeError, ValueError
        If `frames` is not of that dtype or shape or not square, or `out` does not fit.
    """
    frames = check_frames(frames, dtypes=("uint8", "float32", "float64"))
    out = check_out(out, shape=projection_shape(frames.shape), dtype=np.float32, apart=[frames])
    (motion.project_integers if frames.dtype == np.uint8 else motion.project_floats)(frames, out)
    return out


def motion_features(
    frames: np.ndarray,
    *,
    features: Sequence[str] = ("projection",),
    mode: Mode = "wrap",
    level: int = 127,
    size: int = 5,
    reference: Reference = "previous",
    out: Mapping[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """Compute several of a store's features in one pass over the frames.

    Parameters
    ----------
    frames : ndarray of shape (T, H, W), uint8
        Gray levels; T >= 2; square where "projection" is asked for. Not modified.
    features : sequence of str
        Of `FEATURES`: "projection", "mask" (packed), "pool134", "pool67", "pool34" (the mask pooled 1, 2 and 3 times).
    mode, level, size, reference
        As in `motion_masks`.
    out : mapping of str to ndarray, optional
        Arrays to fill, by feature; others are allocated.

    Returns
    -------
    arrays : dict of str to ndarray
        By feature: (T-1, 2, N) float32, (T-1, H, ceil(W/8)) uint8, (T-1, h, w) float32.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above.
    """
    frames = check_frames(frames, min_frames=2)
    given = dict(out or {})
    unknown = sorted(set(given) - set(features))
    if unknown:
        raise ValueError(f"out holds arrays for features not asked for: {', '.join(unknown)}")
    made: dict[str, np.ndarray] = {}
    for name in features:
        shape, dtype = _motion_shape(name, frames.shape), feature_dtype(name)
        apart = [frames, *made.values()]
        made[name] = check_out(given.get(name), shape=shape, dtype=dtype, name=f"out[{name!r}]", apart=apart)
    _fuse(frames, made, mode, level, size, reference)
    return made


def motion_masks(
    frames: np.ndarray,
    *,
    mode: Mode = "wrap",
    level: int = 127,
    size: int = 5,
    reference: Reference = "previous",
    packed: bool = False,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Difference, threshold and erode in one pass (paper, fig. 3 and 4).

    Parameters
    ----------
    frames : ndarray of shape (T, H, W), uint8
        Gray levels; T >= 2. Not modified.
    mode : {"wrap", "absolute", "saturate"}
        As in `frame_difference`.
    level : int
        A pixel is on where the difference is above it; 0 to 255 gray levels.
    size : int
        Side of erosion's footprint in pixels, as in `erode`.
    reference : {"previous", "onset"}
        As in `frame_difference`.
    packed : bool
        Eight pixels in a byte, as ``np.packbits(mask, axis=-1)`` has them: the store's format.
    out : ndarray of shape (T-1, H, W) or, packed, (T-1, H, ceil(W/8)), uint8, optional
        Receives the result; may be a memmap slice.

    Returns
    -------
    masks : ndarray of the shape of `out`, uint8
        0 and 1, or packed bits.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above.
    """
    frames = check_frames(frames, min_frames=2)
    shape = difference_shape(frames.shape)
    out = check_out(out, shape=packed_shape(shape) if packed else shape, dtype=np.uint8, apart=[frames])
    _fuse(frames, {"mask" if packed else "unpacked": out}, mode, level, size, reference)
    return out


def motion_projections(
    frames: np.ndarray,
    *,
    mode: Mode = "wrap",
    level: int = 127,
    size: int = 5,
    reference: Reference = "previous",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Project the motion masks in one pass, without making them (paper, fig. 3, 4 and 14).

    Parameters
    ----------
    frames : ndarray of shape (T, N, N), uint8
        Gray levels; T >= 2. Not modified.
    mode, level, size, reference
        As in `motion_masks`.
    out : ndarray of shape (T-1, 2, N), float32, optional
        Receives the result; may be a memmap slice.

    Returns
    -------
    projections : ndarray of shape (T-1, 2, N), float32
        Fractions from 0 to 1: row 0 column means, row 1 row means.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above.
    """
    frames = check_frames(frames, min_frames=2)
    out = check_out(out, shape=projection_shape(difference_shape(frames.shape)), dtype=np.float32, apart=[frames])
    _fuse(frames, {"projection": out}, mode, level, size, reference)
    return out


def motion_pools(
    frames: np.ndarray,
    *,
    times: int = 1,
    mode: Mode = "wrap",
    level: int = 127,
    size: int = 5,
    reference: Reference = "previous",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Average the motion masks over 2x2 windows, `times` times over (paper, fig. 13).

    Parameters
    ----------
    frames : ndarray of shape (T, H, W), uint8
        Gray levels; T >= 2. Not modified.
    times : int
        How often height and width are halved, at least once: 267 to 134, 67, 34.
    mode, level, size, reference
        As in `motion_masks`.
    out : ndarray of shape (T-1, h, w), float32, optional
        Receives the result; may be a memmap slice.

    Returns
    -------
    pools : ndarray of shape (T-1, h, w), float32
        Fractions from 0 to 1, exactly those of `mean_pool_2x2` applied `times` times.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above.
    """
    frames = check_frames(frames, min_frames=2)
    times = check_count("times", times)
    shape = difference_shape(frames.shape)
    out = check_out(out, shape=pooled_shape(shape, times=times), dtype=np.float32, apart=[frames])
    form = list(_POOLS)[min(times, 3) - 1]
    pools = out if times <= 3 else np.empty(pooled_shape(shape, times=3), np.float32)
    _fuse(frames, {form: pools}, mode, level, size, reference)
    for done in range(3, times):
        pools = mean_pool_2x2(pools, out=out if done == times - 1 else None)
    return out


def unpack_masks(packed: np.ndarray, *, width: int = 267, out: np.ndarray | None = None) -> np.ndarray:
    """Unpack masks of eight pixels a byte, as ``np.unpackbits(packed, axis=-1, count=width)``.

    Parameters
    ----------
    packed : ndarray of shape (..., H, ceil(width/8)), uint8
        Packed masks, as a store keeps them.
    width : int
        Pixels in a row.
    out : ndarray of shape (..., H, width), uint8, optional
        Receives the result.

    Returns
    -------
    masks : ndarray of shape (..., H, width), uint8
        0 and 1.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above.
    """
    width = check_count("width", width)
    if not isinstance(packed, np.ndarray) or packed.dtype != np.uint8:
        raise TypeError(f"packed must be a NumPy array of uint8, got {getattr(packed, 'dtype', type(packed).__name__)}")
    if packed.ndim < 1 or packed.shape[-1] != -(-width // 8):
        raise ValueError(f"packed must hold {-(-width // 8)} bytes a row for width {width}, got shape {packed.shape}")
    masks = np.unpackbits(packed, axis=-1, count=width)
    if out is None:
        return masks
    out = check_out(out, shape=masks.shape, dtype=np.uint8)
    out[...] = masks
    return out
