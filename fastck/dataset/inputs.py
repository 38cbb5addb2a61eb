"""What an input is: decided here for every command that takes files and folders as they come, and said."""

from collections import Counter
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from fastck.config import InputKind, Layout, check_choice
from fastck.dataset.clip import clip_record
from fastck.dataset.findings import KINDS, Finding
from fastck.dataset.frames import number_pattern
from fastck.dataset.layouts import IMAGES_FOLDER, scan
from fastck.dataset.records import FramePaths, SequenceRecord
from fastck.dataset.walk import LONGEST_NAME, safe_name, short_hash, walk
from fastck.images.image import is_image
from fastck.images.video import holds_video
from fastck.messages import one_line

# Of a folder's files that have one pattern of name, for it to be a sequence: a cover among frames is no frame.
_SHARE = 0.9
# Said when the frames are read, or of no use to anyone.
_NOT_SAID = {"junk-folder", "junk-file", "empty-sequence", "single-frame", "unreadable-video"}


class Inputs(NamedTuple):
    """What inputs stand for.

    Attributes
    ----------
    records : list of SequenceRecord
        A photo is one of a single frame, its id the file's name.
    notes : list of str
        Lines for the user: what each folder was taken for, and every file that is left out.
    """

    records: list[SequenceRecord]
    notes: list[str]


def read_inputs(
    inputs: Iterable[str | PathLike[str]], *, layout: Layout | None = None, kind: InputKind | None = None
) -> Inputs:
    """Return the sequences, videos and photos that paths stand for.

    Parameters
    ----------
    inputs : iterable of path-like
        Images, each a photo; videos; and folders. A folder whose file names number frames is a sequence; the files of
        any other are photos.
    layout : {"ckplus", "folders", "labelled-folders", "table"}, optional
        Of the inputs that are data sets, where folders are sequences by definition. Without it, a folder that holds
        CK+'s images' folder is such a set.
    kind : {"photos", "sequence"}, optional
        What every folder of images is, in place of what its names say.

    Raises
    ------
    ValueError
        If a file is neither image nor video, a folder holds neither, or two inputs have one id.
    OSError
        If a path does not exist or cannot be read.
    """
    if kind is not None:
        check_choice("kind", kind, InputKind)
    records: dict[str, SequenceRecord] = {}
    notes: list[str] = []
    for path in map(Path, inputs):
        found = _read_input(path, layout, kind)
        notes += found.notes
        for record in found.records:
            if record.sequence in records:
                raise ValueError(
                    f"two inputs hold a sequence {record.sequence}, the second is {one_line(path)}: "
                    "search them one after the other, each into its own file"
                )
            records[record.sequence] = record
    return Inputs(list(records.values()), notes)


def is_photo(record: SequenceRecord) -> bool:
    """Return whether an input is a single picture."""
    return record.video is None and record.n_frames == 1


def numbers_frames(names: Sequence[str]) -> bool:
    """Return whether the file names of a folder number the frames of one sequence.

    They do where nearly all are alike but for their numbers: "S005_001_00000011.png", "t0.765.jpg". Files that differ
    in their type only count once.
    """
    stems = {name.rpartition(".")[0] for name in names}
    patterns = Counter(map(number_pattern, stems))
    pattern, most = patterns.most_common(1)[0]
    return "#" in pattern and 2 <= most >= _SHARE * len(stems)


def _read_input(path: Path, layout: Layout | None, kind: InputKind | None) -> Inputs:
    if path.is_dir() or layout == "table":
        return _read_folder(path, layout, kind)
    if not path.exists():
        raise FileNotFoundError(f"{one_line(path)} does not exist: an image, a folder or a video is needed")
    if is_image(path):
        return Inputs([_photo(str(path.parent), path.name, _photo_name((path.name,)))], [])
    if holds_video(path):
        return Inputs([clip_record(path)], [])
    raise ValueError(f"an image, a folder or a video is needed, got {one_line(path)}")


def _read_folder(path: Path, layout: Layout | None, kind: InputKind | None) -> Inputs:
    a_set = layout is not None or (path / IMAGES_FOLDER).is_dir()
    found = scan(path, layout=layout or ("ckplus" if a_set else "folders"))
    if not found.records:
        raise ValueError(f"{one_line(path)} must hold images or videos, found none")
    if a_set and kind is None:
        return Inputs(found.records, _left_out(found.findings, set()))
    records: list[SequenceRecord] = []
    split: set[str] = set()
    n_photos = 0
    for record in found.records:
        names = [] if record.video is not None else next(walk(Path(record.path), [])).images
        if not names or (kind == "sequence" if kind else numbers_frames(names)):
            records.append(record)
            continue
        below = Path(record.path).relative_to(path).parts
        photos: dict[str, SequenceRecord] = {}
        for name in names:
            key = _photo_name((*below, name))
            if key.casefold() in photos:
                key += "-" + short_hash((*below, name))
            photos[key.casefold()] = _photo(record.path, name, key)
        records += photos.values()
        n_photos += len(photos)
        split.add(record.sequence)
    notes = [] if kind else _said(path, records, n_photos)
    return Inputs(records, notes + _left_out(found.findings, split))


def _photo_name(parts: tuple[str, ...]) -> str:
    """Return a photo's file name, after the folders below the input; a harmless one where it is no line of text."""
    name = "_".join(parts)
    return name if name.isprintable() and len(name.encode()) <= LONGEST_NAME else safe_name(parts)


def _photo(folder: str, name: str, key: str) -> SequenceRecord:
    return SequenceRecord(sequence=key, subject=key, frames=FramePaths(folder, (name,)))


def _said(path: Path, records: Sequence[SequenceRecord], n_photos: int) -> list[str]:
    n_videos = sum(record.video is not None for record in records)
    n_sequences = len(records) - n_photos - n_videos
    counts = {"sequence{} of frames": n_sequences, "video{}": n_videos, "photo{}": n_photos}
    parts = [f"{number} {what.format('s' * (number != 1))}" for what, number in counts.items() if number]
    if n_photos:
        why = "file names that do not number frames are photos; --as sequence takes a folder's for one sequence"
    elif n_sequences:
        why = "the file names number frames; --as photos takes each file by itself"
    else:
        return []
    return [f"{one_line(path)}: {', '.join(parts)} ({why})"]


def _left_out(findings: Iterable[Finding], split: set[str]) -> list[str]:
    """Return a line for everything that is left out, and for orders that are open; of photos nothing is."""
    return [
        finding.text
        for finding in findings
        if finding.sequence not in split
        and finding.kind not in _NOT_SAID
        and (KINDS[finding.kind][0] == "left out" or finding.kind == "open-order")
    ]
