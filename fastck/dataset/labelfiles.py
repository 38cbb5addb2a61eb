"""The text files of CK+ that hold a sequence's emotion."""

import math
import re
from pathlib import Path

from fastck.dataset.findings import Finding
from fastck.dataset.labels import EMOTIONS
from fastck.dataset.walk import Listing, walk
from fastck.messages import one_line, reason

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_CK_LABEL = re.compile(r"([A-Za-z]+[0-9]+)_([0-9]+)_[0-9]+_emotion")
_LONGEST_LABEL = 1024  # bytes; CK+'s files hold 16


def parse_label(content: bytes) -> int:
    """Return the emotion code in a label file's content, such as ``b"   3.0000000e+00"``.

    Raises
    ------
    ValueError
        If the content is not one number that is an emotion code from 0 to 7; the text says what it is instead.
    """
    text = content.decode("utf-8-sig", errors="backslashreplace").strip()
    if not text:
        raise ValueError("the label file is empty")
    if not _NUMBER.fullmatch(text):
        shown = one_line(text) if len(text) <= 40 else one_line(text[:40]) + "..."
        raise ValueError(f"the label file must hold one number, got '{shown}'")
    value = float(text)
    if not math.isfinite(value) or value != int(value) or int(value) not in EMOTIONS:
        raise ValueError(f"the label must be a whole number from 0 to {max(EMOTIONS)}, got {text[:40]}")
    return int(value)


def read_labels(
    root: Path, sequences: dict[tuple[str, ...], str], findings: list[Finding]
) -> dict[tuple[str, ...], int]:
    """Read all label files below a folder that mirrors the images' folders, as CK+'s ``Emotion`` does.

    Parameters
    ----------
    root : Path
        The label folder. ``root/S005/001/*.txt`` labels the sequence whose path parts are ("S005", "001").
    sequences : dict of path parts to sequence id
        The sequences that exist.
    findings : list of Finding
        Receives every label that is unusable, ambiguous, or belongs to no sequence.

    Returns
    -------
    emotions : dict of path parts to emotion code
        Sequences with a usable label only; a missing label means "not labelled", not neutral.
    """
    emotions = {}
    for listing in walk(root, findings):
        sequence = sequences.get(listing.parts, "")
        names = [name for name in listing.others if name.lower().endswith(".txt")]
        for name in [*listing.images, *listing.videos, *(name for name in listing.others if name not in names)]:
            findings.append(_finding("other-file", sequence, listing.path / name, "is no label file: left out"))
        if not names:
            if not listing.folders and listing.parts:
                findings.append(_finding("empty-label-folder", sequence, listing.path, "holds no label: not labelled"))
            continue
        if not sequence:
            findings.append(_finding("label-without-sequence", "", listing.path, "belongs to no sequence: left out"))
            continue
        emotion = _read_label_folder(listing, names, sequence, findings)
        if emotion is not None:
            emotions[listing.parts] = emotion
    return emotions


def _read_label_folder(listing: Listing, names: list[str], sequence: str, findings: list[Finding]) -> int | None:
    codes = [_read_label(listing.path / name, listing.parts, sequence, findings) for name in names]
    if len(names) > 1:
        agree = len(set(codes)) == 1
        outcome = "they agree" if agree else "they differ, so the sequence counts as not labelled"
        text = f"holds {len(names)} label files: {outcome}"
        findings.append(_finding("several-label-files", sequence, listing.path, text))
        if not agree:
            return None
    if codes[0] == 0:
        text = "says neutral, which CK+ gives to no sequence: kept"
        findings.append(_finding("neutral-label", sequence, listing.path, text))
    return codes[0]


def _read_label(path: Path, parts: tuple[str, ...], sequence: str, findings: list[Finding]) -> int | None:
    named = _CK_LABEL.fullmatch(path.stem)
    if named and named.groups() != parts[-2:]:
        text = f"is named after {'_'.join(named.groups())}, not after its folder: not used"
        findings.append(_finding("foreign-label", sequence, path, text))
        return None
    try:
        with path.open("rb") as file:
            return parse_label(file.read(_LONGEST_LABEL))
    except OSError as error:
        findings.append(_finding("unreadable-label", sequence, path, f"cannot be read ({reason(error)}): not labelled"))
    except ValueError as error:
        findings.append(_finding("bad-label", sequence, path, f"is not usable ({error}): not labelled"))
    return None


def _finding(kind: str, sequence: str, path: Path, text: str) -> Finding:
    return Finding(kind=kind, sequence=sequence, path=path, text=f"{one_line(path)} {text}")
