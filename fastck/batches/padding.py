"""A store's rows as a network sees them: rows, columns and channels of a frame, their mirror image, their padding."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fastck.config import TIMESTEPS, check_choice
from fastck.ops.checks import check_count

Padding = Literal["both", "before"]

# Share of a sequence after which an augmented one may end: the expression has begun to show by then.
EARLIEST_END = 0.7

# Steps by which an augmented one may come earlier or later.
LARGEST_SHIFT = 2


def frame_shape(feature: str, row_shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return rows, columns and channels of a frame, for a store's rows of that shape.

    Masks are square, though their packed rows hold eight pixels a byte. Flow has its channels (u, v, strain) first in
    a store. A flow projection has two rows, column means and row means, and two channels, u and v.
    """
    if feature == "flow_projection":
        return 2, row_shape[1], 2
    if feature == "mask":
        return row_shape[0], row_shape[0], 1
    return (row_shape[1], row_shape[2], row_shape[0]) if len(row_shape) == 3 else (row_shape[0], row_shape[1], 1)


def as_frames(values: NDArray[Any], feature: str) -> NDArray[Any]:
    """Return a store's rows as frames, channels last: (N, rows, columns, channels).

    Parameters
    ----------
    values : ndarray of shape (N, ...)
        Rows of the feature; masks packed, as a store holds them, or unpacked.
    feature : str
        Name of the feature.

    Returns
    -------
    frames : ndarray of shape (N, *frame_shape)
    """
    if feature == "flow_projection":
        return np.moveaxis(values.reshape(len(values), 2, 2, -1), 1, -1)
    if feature == "mask" and values.shape[1] != values.shape[2]:
        values = np.unpackbits(values, axis=-1, count=values.shape[1])
    return values[..., None] if values.ndim == 3 else np.moveaxis(values, 1, -1)


def mirrored(frames: NDArray[Any], feature: str) -> NDArray[Any]:
    """Return the frames of a face seen in a mirror: left and right change places, and u its sign.

    Parameters
    ----------
    frames : ndarray of shape (N, rows, columns, channels)
        As `as_frames` returns them.
    feature : str
        Name of the feature.

    Returns
    -------
    frames : ndarray of the same shape
        A copy.
    """
    if feature == "units":
        from fastck.faces.unit_pass import mirrored_rows

        return mirrored_rows(frames[:, 0, :, 0])[:, None, :, None]
    turned = frames.copy()
    if feature.endswith("projection"):
        # The first row holds column means, which change places; row means stay where they are.
        turned[:, 0] = frames[:, 0, ::-1]
    else:
        turned = np.ascontiguousarray(frames[:, :, ::-1])
    if feature.startswith("flow"):
        turned[..., 0] *= -1
    return turned


def padding_before(length: NDArray[np.int64] | int, timesteps: int, padding: Padding) -> Any:
    """Return how many zero steps stand in front of a sequence: ceil(rest / 2) for "both" (paper, fig. 11)."""
    rest = timesteps - length
    return rest if padding == "before" else -(-rest // 2)


def move(frames: NDArray[Any], length: int, shift: int, padding: Padding) -> None:
    """Move one padded sequence in time, in place.

    Parameters
    ----------
    frames : ndarray of shape (timesteps, ...)
        The sequence's `length` steps, with zero steps around them.
    length : int
        Steps of the sequence.
    shift : int
        Steps by which it comes later, or earlier where negative; as far as it can. Where all zero steps stand before
        it, a later sequence loses its last steps, but one, and an earlier one holds its last step.
    padding : {"both", "before"}
        Where its zero steps stand.
    """
    timesteps = len(frames)
    if padding == "both":
        before = padding_before(length, timesteps, padding)
        shift = min(max(shift, -before), timesteps - length - before)
    else:
        shift = min(shift, length - 1)
    if shift > 0:
        frames[shift:] = frames[:-shift].copy()
        frames[:shift] = 0
    elif shift < 0:
        frames[:shift] = frames[-shift:].copy()
        frames[shift:] = 0 if padding == "both" else frames[shift - 1]


def pad_sequence(features: NDArray[Any], *, timesteps: int = TIMESTEPS, padding: Padding = "both") -> NDArray[Any]:
    """Bring a sequence to a number of timesteps by zeros on both sides (paper, fig. 11), or before it.

    Parameters
    ----------
    features : ndarray of shape (n, ...), any dtype
        One row for each step; n <= `timesteps`. Not modified.
    timesteps : int
        Rows of the result (paper, fig. 11: 39).
    padding : {"both", "before"}
        Where the zero rows stand.

    Returns
    -------
    padded : ndarray of shape (timesteps, ...), dtype of `features`
        With ``rest = timesteps - n``: ``ceil(rest / 2)`` zero rows, the sequence, ``floor(rest / 2)`` zero rows; or
        all zero rows in front.

    Raises
    ------
    TypeError, ValueError
        If `features` is no array, or longer than `timesteps`: cut it first, knowingly.
    """
    timesteps = check_count("timesteps", timesteps)
    check_choice("padding", padding, Padding)
    if not isinstance(features, np.ndarray):
        raise TypeError(f"features must be a NumPy array, got {type(features).__name__}: np.asarray it")
    if features.ndim < 1:
        raise ValueError("features must have shape (n, ...), got a scalar")
    if len(features) > timesteps:
        raise ValueError(f"features must have at most {timesteps} rows, got {len(features)}: cut the sequence first")
    out = np.zeros((timesteps, *features.shape[1:]), features.dtype)
    before = padding_before(len(features), timesteps, padding)
    out[before : before + len(features)] = features
    return out
