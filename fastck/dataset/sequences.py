"""One folder of frames or one video -> its `SequenceRecord`, and what is odd about it."""

import re
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

from fastck.dataset.findings import Finding
from fastck.dataset.frames import FrameOrder, order_frames
from fastck.dataset.records import FramePaths, SequenceRecord
from fastck.dataset.walk import safe_name
from fastck.images.header import ImageError
from fastck.images.video import count_video_frames
from fastck.messages import one_line, reason

_CK_FRAME = re.compile(r"([A-Za-z]+[0-9]+)_([0-9]+)_[0-9]+\.")
# S005_001: subject, then number of the recording
_CK_SEQUENCE = re.compile(r"([A-Za-z]+[0-9]+)[_-][0-9]+")
# RAVDESS (Livingstone and Russo, 2018) has each actor's songs and speech in folders of their own.
_RAVDESS_FOLDER = re.compile(r"(?:Video|Audio)_(?:Song|Speech)_(Actor_[0-9]+)", re.IGNORECASE)


class Source(NamedTuple):
    """Where a sequence comes from.

    Attributes
    ----------
    parts : tuple of str
        Its path below the images' root, without a video's suffix.
    path : str
        The path of its folder, or of the video.
    names : tuple of str
        Its image files; empty for a video.
    subject, label : str
        As the file names say, where they are asked; else "".
    """

    parts: tuple[str, ...]
    path: str
    names: tuple[str, ...]
    subject: str = ""
    label: str = ""


def make_record(source: Source, sequence: str, layout: str, findings: list[Finding]) -> SequenceRecord:
    """Return the sequence of a source, its frames in order.

    A video that cannot be read stays in the list, with no frames: it counts where folds are made, and preprocessing
    puts it in quarantine. What is odd about the frames is appended to `findings`.
    """
    parts = source.parts[1:] if layout == "labelled-folders" else source.parts
    if layout == "masks":
        parts = source.parts[-1:]
    subject = source.subject or subject_of(parts or (sequence,))
    if not source.names:
        return _video_record(source, sequence, subject, findings)
    order = _order(source.names)
    add = partial(_add, findings, source.path, sequence)
    if not order.numbered:
        add("unnumbered-frames", "has no numbers in its file names: frames are in the order of their names")
    for name in order.unnumbered:
        add("unnumbered-frame", f"has a file without a frame number, {one_line(name)}: left out")
    for number, kept, rest in order.duplicates:
        left_out = ", ".join(map(one_line, rest))
        add("duplicate-frame", f"has frame {number} {1 + len(rest)} times: kept {one_line(kept)}, left out {left_out}")
    if order.open_order:
        names = f"{one_line(order.names[0])}, {one_line(order.names[1])}"
        add("open-order", f"has two numbers in its file names that say different orders: taken as {names}, ...")
    if order.gaps:
        gaps = ", ".join(f"{before} to {after}" for before, after in order.gaps[:5])
        more = f" and {len(order.gaps) - 5} more" if len(order.gaps) > 5 else ""
        add("frame-gap", f"has gaps in its frame numbers, {gaps}{more}: kept as it is")
    if layout == "ckplus":
        foreign = [name for name in order.names if _is_foreign(name, source.parts)]
        if foreign:
            add(
                "foreign-frames",
                f"has {len(foreign)} frames named after another sequence, {one_line(foreign[0])}: kept",
            )
    if len(order.names) == 1 and layout != "masks":
        add("single-frame", "has one frame only: no motion to see")
    return SequenceRecord(
        sequence=sequence, subject=subject, frames=FramePaths(source.path, order.names), masks=layout == "masks"
    )


def _video_record(source: Source, sequence: str, subject: str, findings: list[Finding]) -> SequenceRecord:
    path = Path(source.path)
    add = partial(_add, findings, source.path, sequence)
    n_frames = 0
    try:
        n_frames = count_video_frames(path)
    except ImageError as error:
        findings.append(Finding(kind="unreadable-video", sequence=sequence, path=path, text=str(error)))
    except OSError as error:
        add("unreadable-video", f"cannot be read ({reason(error)})")
    else:
        if n_frames == 0:
            add("unreadable-video", "holds no frame that decodes")
        if n_frames == 1:
            add("single-frame", "has one frame only: no motion to see")
    return SequenceRecord(sequence=sequence, subject=subject, video=path, video_frames=n_frames)


def subject_of(parts: tuple[str, ...]) -> str:
    """Return the subject of a path below the root (below the label): ("S005", "001") and ("S005_001",) give S005.

    RAVDESS' Video_Song_Actor_01 and Video_Speech_Actor_01 both give Actor_01.
    """
    return _subject_of(parts[0])


# One string for all sequences of a person.
@lru_cache(maxsize=1024)
def _subject_of(name: str) -> str:
    named = _CK_SEQUENCE.fullmatch(name) or _RAVDESS_FOLDER.fullmatch(name)
    return safe_name((named[1] if named else name,))


# Where a million sequences call their frames alike, they share the names.
@lru_cache(maxsize=64)
def _order(names: tuple[str, ...]) -> FrameOrder:
    return order_frames(list(names))


def _is_foreign(name: str, parts: tuple[str, ...]) -> bool:
    named = _CK_FRAME.match(name)
    return named is not None and named.groups() != parts


def _add(findings: list[Finding], path: str, sequence: str, kind: str, text: str) -> None:
    text = f"{one_line(path)} {text}"
    findings.append(Finding(kind=kind, sequence=sequence, path=Path(path), text=text))
