"""One clip by its path: a folder of frames or a video file, outside of any data set."""

import os
from dataclasses import replace
from os import PathLike
from pathlib import Path

from fastck.dataset.layouts import scan
from fastck.dataset.records import SequenceRecord
from fastck.dataset.walk import safe_name
from fastck.images.video import count_video_frames, holds_video, is_video
from fastck.messages import one_line


def clip_record(path: str | PathLike[str]) -> SequenceRecord:
    """Return the one sequence that a path stands for.

    Parameters
    ----------
    path : path-like
        A folder that holds the frames as image files, put in the order of their numbers, or a video file.

    Returns
    -------
    record : SequenceRecord
        Called after the folder or file, without a label.

    Raises
    ------
    ValueError
        If the folder holds no frames itself, or the file is no video that can be decoded.
    OSError
        If the path does not exist or cannot be read.
    """
    path = Path(path)
    # Not `resolve`, which fails on links that lead in a circle.
    name = _name(Path(os.path.realpath(path)))
    if path.is_file() and holds_video(path):
        return SequenceRecord(sequence=name, subject=name, video=path, video_frames=count_video_frames(path))
    if path.is_file():
        raise ValueError(f"a folder of frames or a video is needed, got the file {one_line(path)}")
    records = scan(path, layout="folders").records
    clips = [record for record in records if record.frames and record.frames[0].parent == path]
    if not clips and len(records) == 1:
        clips = records
    if not clips:
        found = f"{len(records)} sequences below it: name one of them" if records else "no image and no video"
        raise ValueError(f"{one_line(path)} must hold one sequence's frames, found {found}")
    if clips[0].video is not None and not clips[0].n_frames:
        # Its decoder says why.
        count_video_frames(clips[0].video)
    return replace(clips[0], sequence=name, subject=name)


def _name(path: Path) -> str:
    """Return a name for the clip: "S005_001" for CK+'s S005/001, whose own name says little."""
    stem = path.stem if is_video(path) else path.name
    return safe_name((path.parent.name, stem) if stem.isdigit() else (stem,))
