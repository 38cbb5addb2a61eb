"""A sequence's frames, decoded one after the other, and what it means where one cannot be read."""

import errno
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, MutableSequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from fastck.dataset.records import SequenceRecord
from fastck.faces.box import Gray
from fastck.images.image import read_gray
from fastck.images.video import read_video
from fastck.messages import one_line
from fastck.pipeline.stopwatch import Stopwatch

# What the system says when the machine is at fault: no sequence must pay for it.
MACHINE_FAULTS = {
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.ENOBUFS,
    errno.ESTALE,
    errno.ENOTCONN,
    errno.ETIMEDOUT,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.ENODEV,
    errno.ENXIO,
}

# Of decoded frames that a worker keeps from the search for the crops: 200 frames of 640x490 pixels.
KEPT_BYTES = 64 * 2**20


class BadSequence(ValueError):
    """A sequence that gives no features; the text says why, for the quarantine."""


def record_frames(record: SequenceRecord, times: MutableSequence[float] | None = None) -> Iterator[Gray]:
    """Decode a record's frames in order.

    Parameters
    ----------
    record : SequenceRecord
    times : mutable sequence of float, optional
        Receives each frame's time in seconds, anew each time; NaN for image files.

    Raises
    ------
    BadSequence
        If a file cannot be read or decoded; the text names it.
    OSError
        If the machine is at fault: too many open files, a network disk that does not answer.
    """
    if times is not None:
        del times[:]
    if record.video is not None:
        try:
            video = read_video(record.video, skip=(record.onset or 1) - 1, times=times)
            yield from video if record.onset is None else islice(video, record.video_frames or 1)
        except (ValueError, OSError) as error:
            raise _unreadable(error, record.video) from error
    if record.masks:
        yield from _mask_frames(record)
        return
    for path in record.frames:
        try:
            gray = read_gray(path)
        except (ValueError, OSError) as error:
            raise _unreadable(error, path) from error
        if times is not None:
            times.append(math.nan)
        yield gray


def _mask_frames(record: SequenceRecord) -> Iterator[Gray]:
    """Yield frames whose differences, modulo 256, are a record's masks."""
    frame: Gray | None = None
    for mask, path in zip(record_frames(replace(record, masks=False)), record.frames, strict=True):
        other = mask[(mask != 0) & (mask != 255)]
        if len(other):
            raise BadSequence(f"{path.name}: a mask must hold 0 and 255 alone, got {other[0]}: was it saved as JPEG?")
        if frame is None:
            frame = np.zeros_like(mask)
            yield frame
        if mask.shape != frame.shape:
            raise BadSequence(f"{path.name}: masks must have one size, got {mask.shape} after {frame.shape}")
        # One more where the mask is on: less the later frame that is -1, or 255.
        frame = frame + (mask == 255)
        yield frame


def _unreadable(error: Exception, path: Path) -> Exception:
    """Return what an error in a file means: a bad sequence, or a fault of the machine that has to end the run."""
    text = str(error)
    if isinstance(error, OSError):
        text = error.strerror or text
        if error.errno in MACHINE_FAULTS:
            advice = "the machine is at fault, not the sequence: mend it, and run the same command again to go on"
            return OSError(error.errno, f"{text} ({advice})", str(path))
    # One line after the file's name; where the data set lies does not matter.
    return BadSequence(f"{path.name}: {' '.join(text.replace(f'{one_line(str(path))}: ', '').split())}")


def decode(frames: Iterable[Gray], watch: Stopwatch) -> Iterator[Gray]:
    """Pass frames on as long as they have one size; the time that they take to come is the stage "decode"."""
    iterator = iter(frames)
    shape: tuple[int, ...] = ()
    number = 0
    while True:
        with watch.stage("decode"):
            gray = next(iterator, None)
        if gray is None:
            return
        number += 1
        shape = shape or gray.shape
        if gray.shape != shape:
            raise BadSequence(
                f"frame {number} is {gray.shape[1]}x{gray.shape[0]} pixels, those before {shape[1]}x{shape[0]}"
            )
        yield gray


def whole(frames: Iterable[Gray], n_frames: int) -> Iterator[Gray]:
    """Pass on exactly `n_frames` frames."""
    count = 0
    for gray in frames:
        count += 1
        if count > n_frames:
            raise BadSequence(f"it has more than the {n_frames} frames it had when it was listed")
        yield gray
    if count < n_frames:
        raise BadSequence(f"only {count} of its {n_frames} frames can be read")


class ReadOnce:
    """The frames of a sequence for several passes, decoded once where what they saw fits into KEPT_BYTES.

    Parameters
    ----------
    open_frames : callable
        Returns the frames from the start, none of them an array that is used again.
    """

    def __init__(self, open_frames: Callable[[], Iterator[Gray]]) -> None:
        self._open = open_frames
        self._kept: deque[Gray] | None = None
        self._rest: Iterator[Gray] = iter(())
        self._n_bytes = 0

    def first(self) -> Iterator[Gray]:
        """Yield the frames from the start, once or more; the receiver may stop where it has seen enough."""
        if self._kept is None:
            self._kept, self._rest, self._n_bytes = deque(), self._open(), 0
        else:
            yield from self._kept
        for gray in self._rest:
            self._n_bytes += gray.nbytes
            if self._n_bytes > KEPT_BYTES:
                self._kept = None
            if self._kept is not None:
                self._kept.append(gray)
            yield gray

    def again(self) -> Iterator[Gray]:
        """Yield all frames from the start; call it once and last, after `first` or without it."""
        if self._kept is None:
            yield from self._open()
            return
        while self._kept:
            yield self._kept.popleft()
        yield from self._rest
