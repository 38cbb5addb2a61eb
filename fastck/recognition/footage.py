"""What is looked at: frames from a path, an array or an iterator, and their times."""

from array import array
from collections.abc import Callable, Iterable, Iterator, MutableSequence, Sized
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fastck.dataset.inputs import is_photo
from fastck.dataset.records import SequenceRecord
from fastck.faces.box import Gray
from fastck.pipeline.frames import record_frames

Frames = NDArray[np.uint8] | Iterable[NDArray[np.uint8]]


@dataclass(frozen=True, kw_only=True)
class Footage:
    """The frames of a clip.

    Attributes
    ----------
    name, source : str
        The clip's name, and what the user named it by.
    open : callable
        Returns the frames from the start.
    n_frames : int
        How many there are.
    times : mutable sequence of float
        Seconds of each frame that was read; NaN where they are not known.
    fps : float or None
        Frames a second, in place of the times.
    photo : bool
        Whether it is a single picture.
    record : SequenceRecord or None
        Its files; None for frames in memory.
    """

    name: str
    source: str
    open: Callable[[], Iterator[Gray]]
    n_frames: int
    times: MutableSequence[float] = field(default_factory=lambda: array("d"))
    fps: float | None = None
    photo: bool = False
    record: SequenceRecord | None = None

    def decode_some(self) -> None:
        """Decode one frame of a file, so that what that takes is compiled; nothing for frames in memory."""
        if self.record is not None:
            # What cannot be read is told of where it is looked at.
            with suppress(ValueError, OSError):
                next(record_frames(self.record), None)

    def seconds(self, n_frames: int) -> NDArray[np.float64]:
        """Return the time of each of the frames that were read."""
        if self.fps is not None:
            return np.arange(n_frames) / self.fps
        return np.array(self.times or [np.nan] * n_frames, np.float64)


def footage_of(record: SequenceRecord, *, source: str = "", fps: float | None = None) -> Footage:
    """Return the frames of a sequence; its source is its name by default."""
    times = array("d")
    return Footage(
        name=record.sequence,
        source=source or record.sequence,
        open=lambda: record_frames(record, times),
        n_frames=record.n_frames,
        times=times,
        fps=fps,
        photo=is_photo(record),
        record=record,
    )


def frames_in_memory(frames: Frames, *, fps: float | None = None) -> Footage:
    """Return frames that are in memory, or come from an iterator, as gray ones; they are called "frames".

    Raises
    ------
    TypeError, ValueError
        If they are neither an array nor an iterable, or an array is no (T, H, W) or (T, H, W, 3) uint8. An iterator's
        frames are checked when they come.
    """
    if isinstance(frames, bytes) or not isinstance(frames, Iterable):
        raise TypeError(
            "a clip must be a path, a list of paths, an array of frames (T, H, W) or (T, H, W, 3), or an iterable of "
            f"frames, got {type(frames).__name__}"
        )
    if isinstance(frames, np.ndarray) and frames.ndim not in (3, 4):
        raise ValueError(f"frames must have shape (T, H, W) or (T, H, W, 3), got {frames.shape}")
    known = len(frames) if isinstance(frames, Sized) else 0
    return Footage(name="frames", source="frames", open=lambda: map(as_gray, frames), n_frames=known, fps=fps)


def as_gray(frame: Any) -> Gray:
    """Return a frame, (H, W) or (H, W, 3) uint8 with red first, as gray levels."""
    frame = np.asarray(frame)
    if frame.dtype != np.uint8:
        raise TypeError(f"frames must be uint8, gray levels of 0 to 255, got {frame.dtype}: scale and convert them")
    if frame.ndim == 3 and frame.shape[-1] == 3 and frame.size:
        return np.asarray(cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY), np.uint8)
    if frame.ndim != 2 or not frame.size:
        raise ValueError(f"a frame must have shape (H, W) or (H, W, 3), got {frame.shape}")
    return frame
