"""Folder layouts -> a list of `SequenceRecord`: CK+ with all its quirks, plain folders, labelled folders, videos."""

import os
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from os import PathLike
from pathlib import Path

from fastck.config import Layout, Until, check_choice
from fastck.dataset.files import look_at_files
from fastck.dataset.findings import Finding
from fastck.dataset.labelfiles import read_labels
from fastck.dataset.labels import EMOTIONS, emotion_of_name
from fastck.dataset.patterns import Patterns
from fastck.dataset.records import Scan, SequenceRecord
from fastck.dataset.sequences import Source, make_record
from fastck.dataset.table import read_table
from fastck.dataset.walk import Listing, safe_name, short_hash, walk
from fastck.messages import one_line, reason, some_names

IMAGES_FOLDER = "cohn-kanade-images"
_LABELS_FOLDER = "Emotion"
_UNMATCHED = "has a name that a pattern of subject or label does not match"
_ODD_LABELS = {
    "unknown-emotion": "no folder above it names an emotion: {number} sequences count as not labelled",
    "own-label": "the folder name '{name}' stands for no emotion: {number} sequences, a class of its own",
    "code-label": "the folder name '{name}' is taken for CK+'s code of {emotion}: {number} sequences",
}
# Pictures and videos that people have, and what to make of them.
_UNREAD = {
    **dict.fromkeys((".heic", ".heif", ".avif", ".jp2", ".jxl"), "PNG files, an animation to a video"),
    **dict.fromkeys((".pgm", ".ppm", ".pnm", ".tga", ".raw", ".cr2", ".nef", ".dng"), "PNG files"),
}


def scan(
    root: str | PathLike[str],
    *,
    labels: str | PathLike[str] | None = None,
    layout: Layout | None = None,
    until: Until = "apex",
    patterns: Patterns | None = None,
) -> Scan:
    """Find the sequences below a folder, without opening an image.

    Parameters
    ----------
    root : path-like
        For "ckplus" the folder that holds ``cohn-kanade-images`` and ``Emotion``, else the folder of folders, or
        the CSV file for "table".
    labels : path-like, optional
        A folder of label files that mirrors the images' folders (``S005/001/*.txt``), in place of ``ROOT/Emotion``.
    layout : {"ckplus", "folders", "labelled-folders", "table", "masks"}, optional
        By default what `guess_layout` makes of the root. "ckplus": ``SUBJECT/SEQUENCE/*.png``, or a video
        ``SUBJECT/SEQUENCE.avi``. "folders": every folder that directly holds images is a sequence, and so is every
        video. "labelled-folders": the same, and the top folder's name is the label: any text; names of `EMOTIONS`,
        their relatives and CK+'s codes become those names. Pictures that lie in such a folder themselves are no
        sequence.
        "table": a CSV file with a line for each clip; see `fastck.dataset.table.read_table`.
        "masks": ``CODE/SUBJECT_SEQUENCE/*.png``, motion masks of 0 and 255 as the paper's script leaves them, one for
        each step; or without the folders of the codes.
    until : {"apex", "offset", "end"}
        The last frame that is used of a table's clips.
    patterns : Patterns, optional
        How file names tell subjects and labels, in layouts "folders" and "labelled-folders".

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
    Videos are decoded once to count their frames; the only part that takes time. One that cannot be read stays in the
    list without frames, as an image that cannot be read stays: folds are made from the list, and what is damaged
    must move no other.
    """
    if layout is None:
        layout, _ = guess_layout(root)
    check_choice("layout", layout, Layout)
    if labels is not None and layout == "labelled-folders":
        raise ValueError('layout "labelled-folders" takes labels from folder names: leave out labels, or use "folders"')
    if patterns and layout not in ("folders", "labelled-folders"):
        raise ValueError(f'patterns are for layouts "folders" and "labelled-folders", got them with layout {layout!r}')
    if layout == "table":
        if labels is not None:
            raise ValueError('layout "table" takes labels from its column label: leave out labels')
        return read_table(root, until=until)
    if until != "apex":
        raise ValueError(f'until is for layout "table", got {until!r} with layout {layout!r}')
    root = Path(root)
    findings: list[Finding] = []
    images_root = _images_root(root) if layout == "ckplus" else _existing_folder(root, "root")
    labels_root = _labels_root(root, labels, layout, findings)
    sources = _find_sources(images_root, layout, findings, patterns)
    # The old script's folder of a sequence has its whole name.
    ids = _unique_ids(sources, images_root, last_only=layout == "masks")
    records: list[SequenceRecord] = []
    # Where each of them was found.
    parts: list[tuple[str, ...]] = []
    sources.reverse()
    for sequence in ids:
        # Sources go as records come: there may be a million.
        source = sources.pop()
        record = make_record(source, sequence, layout, findings)
        records.append(replace(record, label=source.label) if source.label else record)
        parts.append(source.parts)
    if labels_root is not None:
        known = dict(zip(parts, (record.sequence for record in records), strict=True))
        emotions = read_labels(labels_root, known, findings)
        records = [_label(record, emotions.get(names)) for record, names in zip(records, parts, strict=True)]
    if patterns and patterns.label:
        codes = {name: code for code, name in EMOTIONS.items()}
        records = [_label(record, codes.get(record.label)) for record in records]
    elif layout == "labelled-folders" or (layout == "masks" and any(len(names) > 1 for names in parts)):
        # Whose codes these are is known: the paper's script wrote them.
        records = _label_by_folder(records, parts, images_root, [] if layout == "masks" else findings)
    records.sort(key=lambda record: record.sequence)
    fingerprints, odd = look_at_files(records)
    return Scan(records=records, findings=findings + odd, root=root, fingerprints=fingerprints)


def guess_layout(root: str | PathLike[str]) -> tuple[Layout, str]:
    """Return the layout that a root has by the look of it, and the reason in some words.

    Parameters
    ----------
    root : path-like
        A file is a table; a folder with ``cohn-kanade-images`` is CK+'s; one whose top folders are for the most part
        named after emotions, in words, is "labelled-folders"; any other is "folders".
    """
    root = Path(root)
    if root.is_file():
        return "table", "a file"
    if (root / IMAGES_FOLDER).is_dir() or os.path.basename(os.path.realpath(root)) == IMAGES_FOLDER:  # noqa: PTH119
        return "ckplus", f"there is a folder {IMAGES_FOLDER}"
    try:
        folders = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        # Reading the root says why it is none.
        folders = []
    named = [name for name in folders if name.isalpha() and emotion_of_name(name) is not None]
    if len(named) > len(folders) / 2:
        return "labelled-folders", f"folders are named after emotions ({some_names(named)})"
    return "folders", "every folder of images and every video is a sequence"


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
    images_root = root / IMAGES_FOLDER
    if images_root.is_dir():
        return _existing_folder(images_root, "root's folder")
    if root.resolve().name == IMAGES_FOLDER:
        advice = "give the folder above it as root"
    else:
        advice = f'put the images there, or use layout "folders" for another arrangement (it has {_some_names(root)})'
    raise ValueError(f"root must hold a folder {IMAGES_FOLDER}, got {one_line(root)} without one: {advice}")


def _some_names(root: Path) -> str:
    names = sorted(path.name for path in root.iterdir() if not path.name.startswith("."))
    return some_names(names) or "no entries"


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


def _find_sources(
    images_root: Path, layout: Layout, findings: list[Finding], patterns: Patterns | None
) -> list[Source]:
    sources: list[Source] = []
    for listing in walk(images_root, findings):
        depth = len(listing.parts)
        if listing.others:
            findings += [_other_file(listing.path / name) for name in listing.others]
        if layout == "ckplus" and depth != 2 and listing.images:
            what = f"holds {len(listing.images)} images where CK+ has none (SUBJECT/SEQUENCE/FRAME.png)"
            findings.append(_left_out("misplaced-images", listing.path, what))
        elif patterns and listing.images:
            sources += _named_sources(listing, patterns, findings)
        elif layout == "labelled-folders" and depth == 1 and listing.images:
            what = f"holds {len(listing.images)} pictures itself, as if of different people (FER, RAF-DB), no sequence"
            findings.append(_left_out("stills", listing.path, what))
        elif listing.images:
            sources.append(Source(listing.parts, listing.folder, tuple(listing.images)))
        elif _is_empty_sequence(listing, layout):
            findings.append(_left_out("empty-sequence", listing.path, "holds no image"))
        for name in listing.videos:
            path = listing.path / name
            if layout == "masks":
                findings.append(_left_out("misplaced-video", path, "is a video among masks"))
            elif layout == "ckplus" and depth != 1:
                findings.append(_left_out("misplaced-video", path, "is not where a sequence is (SUBJECT/SEQUENCE.avi)"))
            else:
                source = Source(parts=(*listing.parts, Path(name).stem), path=str(path), names=())
                named = patterns.read("/".join((*listing.parts, name))) if patterns else None
                if named is not None:
                    source = source._replace(subject=named.subject, label=named.label)
                elif patterns:
                    findings.append(_left_out("unmatched-name", path, _UNMATCHED))
                    continue
                sources.append(source)
    return sources


def _named_sources(listing: Listing, patterns: Patterns, findings: list[Finding]) -> Iterator[Source]:
    """Yield the sequences of one folder, told apart by the names of its images."""
    for named, names in patterns.groups(listing.parts, listing.images):
        if named is None:
            findings += [_left_out("unmatched-name", listing.path / name, _UNMATCHED) for name in names]
            continue
        # What a folder above says already is not said twice.
        new = [part for part in (named.sequence or named.subject, named.label) if part and part not in listing.parts]
        yield Source((*listing.parts, *new), listing.folder, tuple(names), named.subject, named.label)


def _other_file(path: Path) -> Finding:
    suffix = path.suffix.lower()
    advice = _UNREAD.get(suffix)
    if advice is not None:
        return _left_out("unread-format", path, f"is a format that is not read; convert it to {advice}")
    return _left_out("other-file", path, "is neither image nor video")


def _is_empty_sequence(listing: Listing, layout: Layout) -> bool:
    depth = len(listing.parts)
    return (depth == 2) if layout == "ckplus" else (depth > 0 and not listing.folders and not listing.videos)


def _unique_ids(sources: list[Source], images_root: Path, *, last_only: bool) -> list[str]:
    """Give every source an id; those whose plain ids collide get a hash of their path, whatever the order."""
    root_name = images_root.resolve().name
    plain = [
        safe_name((source.parts or (root_name,))[-1:] if last_only else source.parts or (root_name,))
        for source in sources
    ]
    ids = list(plain)
    hashed: set[int] = set()
    # Compared without case, as the file systems of macOS and Windows do.
    while len({name.casefold() for name in ids}) < len(ids):
        uses = Counter(name.casefold() for name in ids)
        # An id with a hash can itself be the plain id of another folder, which then takes a hash too.
        colliding = {index for index, name in enumerate(ids) if uses[name.casefold()] > 1} - hashed
        if not colliding:
            break
        hashed |= colliding
        for index in colliding:
            below = Path(sources[index].path).relative_to(images_root).parts
            ids[index] = f"{plain[index]}-{short_hash(below)}"
    return ids


def _label(record: SequenceRecord, emotion: int | None) -> SequenceRecord:
    return record if emotion is None else replace(record, emotion=emotion, label=EMOTIONS[emotion])


def _label_by_folder(
    records: list[SequenceRecord], parts: list[tuple[str, ...]], images_root: Path, findings: list[Finding]
) -> list[SequenceRecord]:
    labelled = []
    # Sequences by kind of finding and name of the folder.
    odd: dict[str, Counter[str]] = {kind: Counter() for kind in _ODD_LABELS}
    for record, names in zip(records, parts, strict=True):
        folders = names[:-1] if record.video is not None else names
        top = folders[0] if folders else ""
        emotion = emotion_of_name(top)
        if not top:
            odd["unknown-emotion"][top] += 1
        elif emotion is None:
            odd["own-label"][top] += 1
            record = replace(record, label=unicodedata.normalize("NFC", one_line(top)))
        elif top.strip()[0].isdigit():
            odd["code-label"][top] += 1
        labelled.append(_label(record, emotion))
    for kind, what in _ODD_LABELS.items():
        for top, number in sorted(odd[kind].items()):
            text = what.format(name=one_line(top), number=number, emotion=EMOTIONS.get(emotion_of_name(top) or 0))
            findings.append(Finding(kind=kind, sequence="", path=images_root / top, text=text))
    return labelled


def _left_out(kind: str, path: Path, what: str) -> Finding:
    return Finding(kind=kind, sequence="", path=path, text=f"{one_line(path)} {what}: left out")
