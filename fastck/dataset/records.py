"""What a data set holds, before anything is decoded: `SequenceRecord`, one for each recording, and `Scan`."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from operator import attrgetter
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from fastck.dataset.findings import Finding


class FramePaths(Sequence[Path]):
    """The image files of one folder, in order; a tuple's worth of paths in a quarter of its memory.

    Parameters
    ----------
    folder : path-like
    names : tuple of str
    """

    __slots__ = ("folder", "names")

    def __init__(self, folder: str | os.PathLike[str], names: tuple[str, ...]) -> None:
        self.folder = os.fspath(folder)
        self.names = names

    def __reduce__(self) -> tuple[type["FramePaths"], tuple[str, tuple[str, ...]]]:
        return FramePaths, (self.folder, self.names)

    def files(self) -> list[str]:
        """Return the paths as text."""
        start = f"{self.folder}/"
        return [start + name for name in self.names]

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> Path: ...
    @overload
    def __getitem__(self, index: slice) -> "FramePaths": ...
    def __getitem__(self, index: int | slice) -> "Path | FramePaths":
        if isinstance(index, slice):
            return FramePaths(self.folder, self.names[index])
        return Path(self.folder, self.names[index])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FramePaths | tuple) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))


@dataclass(frozen=True, kw_only=True, slots=True)
class SequenceRecord:
    """One ordered recording of one person.

    Attributes
    ----------
    sequence : str
        Unique id, also a harmless file name: "S005_001".
    subject : str
        "S005".
    frames : sequence of Path
        Image files in numeric order; empty for a video.
    video : Path or None
        The video file, where the sequence is one.
    emotion : int or None
        Code of `EMOTIONS`; None is "not labelled", which is not neutral.
    video_frames : int
        Frames of the video that belong to the sequence, counted when it was found; 0 for image files. Of a video that
        cannot be read as many as a table chooses, else 0.
    label : str
        Name of the emotion or any other text; "" is "not labelled". An emotion of `EMOTIONS` has that name.
    onset : int or None
        Number of the first frame, counted from 1, where the sequence is a part of its folder or video; None where it is
        all of it. `frames` and `video_frames` are those of the part.
    fold : str
        Which fold a table puts it in; "" for none.
    masks : bool
        The files are motion masks, one for each step, from which frames are made: one more than there are files.
    """

    sequence: str
    subject: str
    frames: Sequence[Path] = ()
    video: Path | None = None
    emotion: int | None = None
    video_frames: int = 0
    label: str = ""
    onset: int | None = None
    fold: str = ""
    masks: bool = False

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return len(self.frames) + self.masks if self.video is None else self.video_frames

    @property
    def path(self) -> str:
        """The folder, or the video file, as text."""
        if self.video is not None:
            return os.fspath(self.video)
        return self.frames.folder if isinstance(self.frames, FramePaths) else os.fspath(self.frames[0].parent)

    def names(self) -> Sequence[str]:
        """Return the names of the files that are read, without their folder."""
        if isinstance(self.frames, FramePaths) and self.video is None:
            return self.frames.names
        return [os.path.basename(path) for path in self.files()]  # noqa: PTH119

    def files(self) -> list[str]:
        """Return the files that are read, as text."""
        if self.video is not None:
            return [os.fspath(self.video)]
        return self.frames.files() if isinstance(self.frames, FramePaths) else [os.fspath(path) for path in self.frames]


_OTHERS = [field.name for field in fields(SequenceRecord) if field.name != "frames"]
_others_of = attrgetter(*_OTHERS)


def packed_record(record: SequenceRecord) -> tuple[Any, ...]:
    """Return a record as plain values, which pickle does in C: their folder and names, and the rest."""
    frames = record.frames
    folder, names = (frames.folder, frames.names) if isinstance(frames, FramePaths) else (None, frames)
    return folder, names, *_others_of(record)


def unpacked_record(folder: str | None, names: tuple[Any, ...], *others: Any) -> SequenceRecord:
    """Return the record that `packed_record` was given."""
    frames = names if folder is None else FramePaths(folder, names)
    return SequenceRecord(frames=frames, **dict(zip(_OTHERS, others, strict=True)))


def real_place(place: str | os.PathLike[str]) -> str:
    """Return a place free of links and "..", which behind a link leads elsewhere than its text says.

    A name that is a link itself keeps it: the clip is known by that name.
    """
    above, name = os.path.split(place)
    if name in ("", ".", ".."):
        return os.path.realpath(place)
    return os.path.join(os.path.realpath(above), name)  # noqa: PTH118


def relative_place(place: str | os.PathLike[str], folder: str) -> str:
    """Return a place told from a folder that is free of links."""
    return Path(os.path.relpath(real_place(place), folder)).as_posix()


def part_of(record: SequenceRecord, first: int, last: int) -> SequenceRecord:
    """Return the part of a whole sequence from one frame to another, both counted from 1 and included."""
    if (first, last) == (1, record.n_frames):
        return record
    if record.video is not None:
        # No last frame is known where the video cannot be read.
        return replace(record, onset=first, video_frames=max(last - first + 1, 0))
    return replace(record, onset=first, frames=record.frames[first - 1 : last])


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What a root holds: the sequences sorted by id, and everything odd that was met on the way.

    Attributes
    ----------
    records : list of SequenceRecord
    findings : list of Finding
    root : Path
        The folder that the sequences' paths are relative to: the root itself, of a table the folder it lies in or one
        above it.
    fingerprints : ndarray of shape (sequences,), bytes
        Digits that change with the name, size or modification time of one of a sequence's files.
    """

    records: list[SequenceRecord]
    findings: list[Finding]
    root: Path
    fingerprints: NDArray[np.bytes_] = field(compare=False)
