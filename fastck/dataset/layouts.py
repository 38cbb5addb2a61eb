"""Folder layouts -> a list of `SequenceRecord`: CK+ with all its quirks, plain folders, labelled folders, videos."""

import re
from collections import Counter
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

from fastck.config import Layout, check_choice
from fastck.dataset.findings import Finding
from fastck.dataset.frames import order_frames
from fastck.dataset.labels import emotion_of_name, read_labels
from fastck.dataset.records import Scan, SequenceRecord
from fastck.dataset.walk import Listing, safe_name, short_hash, walk
from fastck.images.header import ImageError
from fastck.images.video import count_video_frames
from fastck.messages import one_line, reason

_IMAGES_FOLDER = "cohn-kanade-images"
_LABELS_FOLDER = "Emotion"
_CK_FRAME = re.compile(r"([A-Za-z]+[0-9]+)_([0-9]+)_[0-9]+\.")
_CK_SEQUENCE = re.compile(r"([A-Za-z]+[0-9]+)[_-][0-9]+")  # S005_001: subject, then number of the recording


@dataclass(frozen=True, kw_only=True)
class _Source:
    """Where a sequence comes from; `parts` is its path below the images' root, without a video's suffix."""

    parts: tuple[str, ...]
    path: Path
    names: tuple[str, ...]  # image files; empty for a video


def scan(root: str | PathLike[str], *, labels: str | PathLike[str] | None = None, layout: Layout = "ckplus") -> Scan:
    """Find the sequences below a folder, without opening an image.

    Parameters
    ----------
    root : path-like
        For "ckplus" the folder that holds ``cohn-kanade-images`` and ``Emotion``, else the folder of folders.
    labels : path-like, optional
        A folder of label files that mirrors the images' folders (``S005/001/*.txt``), in place of ``ROOT/Emotion``.
    layout : {"ckplus", "folders", "labelled-folders"}
        "ckplus": ``SUBJECT/SEQUENCE/*.png``, or a video ``SUBJECT/SEQUENCE.avi``. "folders": every folder that
        directly holds images is a sequence, and so is every video. "labelled-folders": the same, and the top folder's
        name is the label (a name or code of `EMOTIONS`; sequences below any other name count as not labelled).

    Returns
    -------
    scan : Scan
        Records sorted by id, and findings: all that was left out or is odd. In layouts other than CK+'s the subject is
        the first folder below the root (below the label), "S005" where it is called "S005_001".

    Raises
    ------
    ValueError
        If the layout is unknown, or the root does not hold it.
    OSError
        If the root does not exist or cannot be read.

    Notes
    -----
    Videos are decoded once to count their frames; the only part that takes time.
    """
    check_choice("layout", layout, Layout)
    if labels is not None and layout == "labelled-folders":
        raise ValueError('layout "labelled-folders" takes labels from folder names: leave out labels, or use "folders"')
    root = Path(root)
    findings: list[Finding] = []
    images_root = _images_root(root) if layout == "ckplus" else _existing_folder(root, "root")
    labels_root = _labels_root(root, labels, layout, findings)
    sources = _find_sources(images_root, layout, findings)
    ids = _unique_ids(sources, images_root)
    records = {}
    for source in sources:
        record = _record(source, ids[source.parts, source.path], layout, findings)
        if record is not None:
            records[source.parts, source.path] = record
    if labels_root is not None:
        known = {parts: record.sequence for (parts, _), record in records.items()}
        emotions = read_labels(labels_root, known, findings)
        records = {key: replace(record, emotion=emotions.get(key[0])) for key, record in records.items()}
    if layout == "labelled-folders":
        records = _label_by_folder(records, images_root, findings)
    return Scan(records=sorted(records.values(), key=lambda record: record.sequence), findings=findings)


def subject_of(parts: tuple[str, ...]) -> str:
    """Return the subject of a path below the root (below the label): ("S005", "001") and ("S005_001",) give S005."""
    named = _CK_SEQUENCE.fullmatch(parts[0])
    return safe_name((named[1],)) if named else safe_name(parts[:1])


def _existing_folder(path: Path, what: str) -> Path:
    if not path.exists():
        raise FileNotFoundError(f"{what} must be an existing folder, got {one_line(path)}: check the path")
    if not path.is_dir():
        raise NotADirectoryError(f"{what} must be a folder, got the file {one_line(path)}: name the folder above it")
    try:
        next(path.iterdir(), None)
    except PermissionError as error:
        raise PermissionError(f"{what} {one_line(path)} cannot be read ({reason(error)}): check its rights") from error
    return path


def _images_root(root: Path) -> Path:
    _existing_folder(root, "root")
    images_root = root / _IMAGES_FOLDER
    if images_root.is_dir():
        return _existing_folder(images_root, "root's folder")
    if root.resolve().name == _IMAGES_FOLDER:
        advice = "give the folder above it as root"
    else:
        advice = f'put the images there, or use layout "folders" for another arrangement (it has {_some_names(root)})'
    raise ValueError(f"root must hold a folder {_IMAGES_FOLDER}, got {one_line(root)} without one: {advice}")


def _some_names(root: Path) -> str:
    names = sorted(path.name for path in root.iterdir() if not path.name.startswith("."))
    return ", ".join(map(one_line, names[:5])) + (", ..." if len(names) > 5 else "") if names else "no entries"


def _labels_root(
    root: Path, labels: str | PathLike[str] | None, layout: Layout, findings: list[Finding]
) -> Path | None:
    if labels is not None:
        path = Path(labels)
        if not path.is_dir():
            raise ValueError(f"labels must be a folder of label files, got {one_line(path)}: check the path")
        return _existing_folder(path, "labels")
    if layout != "ckplus":
        return None
    path = root / _LABELS_FOLDER
    if path.is_dir():
        return path
    text = f"{one_line(path)} does not exist: no sequence is labelled (labels can be given apart)"
    findings.append(Finding(kind="no-labels", sequence="", path=path, text=text))
    return None


def _find_sources(images_root: Path, layout: Layout, findings: list[Finding]) -> list[_Source]:
    sources = []
    for listing in walk(images_root, findings):
        depth = len(listing.parts)
        for name in listing.others:
            findings.append(_left_out("other-file", listing.path / name, "is neither image nor video"))
        if layout == "ckplus" and depth != 2 and listing.images:
            what = f"holds {len(listing.images)} images where CK+ has none (SUBJECT/SEQUENCE/FRAME.png)"
            findings.append(_left_out("misplaced-images", listing.path, what))
        elif listing.images:
            sources.append(_Source(parts=listing.parts, path=listing.path, names=tuple(listing.images)))
        elif _is_empty_sequence(listing, layout):
            findings.append(_left_out("empty-sequence", listing.path, "holds no image"))
        for name in listing.videos:
            path = listing.path / name
            if layout == "ckplus" and depth != 1:
                findings.append(_left_out("misplaced-video", path, "is not where a sequence is (SUBJECT/SEQUENCE.avi)"))
            else:
                sources.append(_Source(parts=(*listing.parts, Path(name).stem), path=path, names=()))
    return sources


def _is_empty_sequence(listing: Listing, layout: Layout) -> bool:
    depth = len(listing.parts)
    return (depth == 2) if layout == "ckplus" else (depth > 0 and not listing.folders and not listing.videos)


def _unique_ids(sources: list[_Source], images_root: Path) -> dict[tuple[tuple[str, ...], Path], str]:
    """Give every source an id; those whose plain ids collide get a hash of their path, whatever the order."""
    plain = {
        (source.parts, source.path): safe_name(source.parts or (images_root.resolve().name,)) for source in sources
    }
    hashes = {key: short_hash(key[1].relative_to(images_root).parts) for key in plain}
    ids = dict(plain)
    hashed: set[tuple[tuple[str, ...], Path]] = set()
    while True:
        # Compared without case, as the file systems of macOS and Windows do.
        uses = Counter(name.casefold() for name in ids.values())
        # An id with a hash can itself be the plain id of another folder, which then takes a hash too.
        colliding = {key for key, name in ids.items() if uses[name.casefold()] > 1} - hashed
        if not colliding:
            break
        hashed |= colliding
        ids |= {key: f"{plain[key]}-{hashes[key]}" for key in colliding}
    return ids


def _record(source: _Source, sequence: str, layout: Layout, findings: list[Finding]) -> SequenceRecord | None:
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
    frames = tuple(source.path / name for name in order.names)
    return SequenceRecord(sequence=sequence, subject=subject, frames=frames)


def _video_record(source: _Source, sequence: str, subject: str, findings: list[Finding]) -> SequenceRecord | None:
    add = _Reporter(source.path, sequence, findings)
    try:
        count = count_video_frames(source.path)
    except ImageError as error:
        text = f"{error}: left out"
        findings.append(Finding(kind="unreadable-video", sequence=sequence, path=source.path, text=text))
        return None
    except OSError as error:
        add("unreadable-video", f"cannot be read ({reason(error)}): left out")
        return None
    if count == 0:
        add("unreadable-video", "holds no frame that decodes: left out")
        return None
    if count == 1:
        add("single-frame", "has one frame only: no motion to see")
    return SequenceRecord(sequence=sequence, subject=subject, video=source.path, video_frames=count)


def _label_by_folder(
    records: dict[tuple[tuple[str, ...], Path], SequenceRecord], images_root: Path, findings: list[Finding]
) -> dict[tuple[tuple[str, ...], Path], SequenceRecord]:
    labelled = {}
    unknown: Counter[str] = Counter()
    for (parts, path), record in records.items():
        folders = parts[:-1] if record.video is not None else parts
        top = folders[0] if folders else ""
        emotion = emotion_of_name(top)
        unknown[top] += emotion is None
        labelled[parts, path] = replace(record, emotion=emotion)
    for top in sorted(+unknown):
        name = (
            f"the folder name '{one_line(top)}' stands for no emotion" if top else "no folder above it names an emotion"
        )
        text = f"{name}: {unknown[top]} sequences count as not labelled"
        findings.append(Finding(kind="unknown-emotion", sequence="", path=images_root / top, text=text))
    return labelled


def _is_foreign(name: str, parts: tuple[str, ...]) -> bool:
    named = _CK_FRAME.match(name)
    return named is not None and named.groups() != parts


def _left_out(kind: str, path: Path, what: str) -> Finding:
    return Finding(kind=kind, sequence="", path=path, text=f"{one_line(path)} {what}: left out")


@dataclass(frozen=True)
class _Reporter:
    path: Path
    sequence: str
    findings: list[Finding]

    def __call__(self, kind: str, text: str) -> None:
        text = f"{one_line(self.path)} {text}"
        self.findings.append(Finding(kind=kind, sequence=self.sequence, path=self.path, text=text))
