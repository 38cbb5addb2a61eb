"""One folder of frames or one video -> its `SequenceRecord`, and what is odd about it."""

import os
import re
from array import array
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fastck.dataset.findings import Finding
from fastck.dataset.frames import order_frames
from fastck.dataset.records import FramePaths, SequenceRecord
from fastck.dataset.walk import safe_name
from fastck.images.header import ImageError
from fastck.images.video import count_video_frames
from fastck.messages import one_line, reason

_CK_FRAME = re.compile(r"([A-Za-z]+[0-9]+)_([0-9]+)_[0-9]+\.")
# S005_001: subject, then number of the recording
_CK_SEQUENCE = re.compile(r"([A-Za-z]+[0-9]+)[_-][0-9]+")


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a sequence comes from; `parts` is its path below the images' root, without a video's suffix."""

    parts: tuple[str, ...]
    path: Path
    names: tuple[str, ...]  # image files; empty for a video


def make_record(source: Source, sequence: str, layout: str, findings: list[Finding]) -> SequenceRecord:
    """Return the sequence of a source, its frames in order.

    A video that cannot be read stays in the list, with no frames: whoever deals out folds counts it, and preprocessing
    puts it in quarantine. What is odd about the frames is appended to `findings`.
    """
    parts = source.parts[1:] if layout == "labelled-folders" else source.parts
    subject = subject_of(parts or (sequence,))
    if not source.names:
        return _video_record(source, sequence, subject, findings)
    order = order_frames(list(source.names))
    add = _Reporter(source.path, sequence, findings)
    if not order.numbered:
        add("unnumbered-frames", "has no numbers in its file names: frames are in the order of their names")
    for name in order.unnumbered:
        add("unnumbered-frame", f"has a file without a frame number, {one_line(name)}: left out")
    for number, kept, rest in order.duplicates:
        left_out = ", ".join(map(one_line, rest))
        add("duplicate-frame", f"has frame {number} {1 + len(rest)} times: kept {one_line(kept)}, left out {left_out}")
    if order.gaps:
        places = ", ".join(f"{before} to {after}" for before, after in order.gaps[:5])
        more = f" and {len(order.gaps) - 5} more" if len(order.gaps) > 5 else ""
        add("frame-gap", f"has gaps in its frame numbers, {places}{more}: kept as it is")
    if layout == "ckplus":
        foreign = [name for name in order.names if _is_foreign(name, source.parts)]
        if foreign:
            add(
                "foreign-frames",
                f"has {len(foreign)} frames named after another sequence, {one_line(foreign[0])}: kept",
            )
    if len(order.names) == 1:
        add("single-frame", "has one frame only: no motion to see")
    return SequenceRecord(sequence=sequence, subject=subject, frames=FramePaths(source.path, order.names))


def _video_record(source: Source, sequence: str, subject: str, findings: list[Finding]) -> SequenceRecord:
    add = _Reporter(source.path, sequence, findings)
    n_frames = 0
    try:
        n_frames = count_video_frames(source.path)
    except ImageError as error:
        findings.append(Finding(kind="unreadable-video", sequence=sequence, path=source.path, text=str(error)))
    except OSError as error:
        add("unreadable-video", f"cannot be read ({reason(error)})")
    else:
        if n_frames == 0:
            add("unreadable-video", "holds no frame that decodes")
        if n_frames == 1:
            add("single-frame", "has one frame only: no motion to see")
    return SequenceRecord(sequence=sequence, subject=subject, video=source.path, video_frames=n_frames)


def subject_of(parts: tuple[str, ...]) -> str:
    """Return the subject of a path below the root (below the label): ("S005", "001") and ("S005_001",) give S005."""
    named = _CK_SEQUENCE.fullmatch(parts[0])
    return safe_name((named[1],)) if named else safe_name(parts[:1])


def shared_files(records: Sequence[SequenceRecord]) -> list[Finding]:
    """Return a finding for every sequence that has a file in common with another subject's, through links or by name.

    The walk meets no folder twice, but files of their own may be links to, or other names of, one and the same file.
    """
    numbers, places = array("Q"), array("Q")
    for place, record in enumerate(records):
        for path in record.files():
            # A file that cannot be looked at is nobody else's; its decoding will say so.
            with suppress(OSError):
                status = os.stat(path)  # noqa: PTH116 - a third of a Path's cost
                numbers.append(hash((status.st_dev, status.st_ino)) & 2**64 - 1)
                places.append(place)
    # Millions of files fit into these arrays; only those whose number is met again are looked at once more.
    _, which, counts = np.unique(np.frombuffer(numbers, np.uint64), return_inverse=True, return_counts=True)
    again = np.unique(np.frombuffer(places, np.uint64)[counts[which] > 1])
    findings = []
    owners: dict[tuple[int, int], SequenceRecord] = {}
    for record in (records[int(place)] for place in again):
        others = {}
        for path in record.files():
            with suppress(OSError):
                status = os.stat(path)  # noqa: PTH116
                owner = owners.setdefault((status.st_dev, status.st_ino), record)
                if owner.subject != record.subject:
                    others[owner.sequence] = path
        for sequence, path in others.items():
            text = f"{one_line(path)} is also a file of {sequence}, another subject: kept, as two people"
            findings.append(Finding(kind="shared-file", sequence=record.sequence, path=Path(path), text=text))
    return findings


def _is_foreign(name: str, parts: tuple[str, ...]) -> bool:
    named = _CK_FRAME.match(name)
    return named is not None and named.groups() != parts


@dataclass(frozen=True)
class _Reporter:
    path: Path
    sequence: str
    findings: list[Finding]

    def __call__(self, kind: str, text: str) -> None:
        text = f"{one_line(self.path)} {text}"
        self.findings.append(Finding(kind=kind, sequence=self.sequence, path=self.path, text=text))
