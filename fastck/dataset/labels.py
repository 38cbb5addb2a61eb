"""Emotion labels: the text files of CK+, and names of folders."""

import math
import re
from pathlib import Path

from fastck.dataset.findings import Finding
from fastck.dataset.walk import Listing, walk
from fastck.messages import one_line, reason

EMOTIONS = {
    0: "neutral",
    1: "anger",
    2: "contempt",
    3: "disgust",
    4: "fear",
    5: "happy",
    6: "sadness",
    7: "surprise",
}  # CK+'s codes (Lucey et al., 2010)

_OTHER_NAMES = {
    "angry": 1,
    "contemptuous": 2,
    "disgusted": 3,
    "fearful": 4,
    "happiness": 5,
    "joy": 5,
    "sad": 6,
    "surprised": 7,
}
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


def emotion_of_name(name: str) -> int | None:
    """Return the emotion code that a folder's name stands for, or None.

    Digits are codes ("3", "03"); words are the names of `EMOTIONS` in any case, or their common relatives
    ("happiness", "sad").
    """
    word = name.strip().lower()
    if re.fullmatch(r"[0-9]{1,3}", word):
        return int(word) if int(word) in EMOTIONS else None
    codes = {emotion: code for code, emotion in EMOTIONS.items()}
    return codes.get(word, _OTHER_NAMES.get(word))


def label_name(label: str | int) -> str:
    """Return the name that stands for a label: "happy" for 5, "5" or "happiness", any other text as it is.

    Raises
    ------
    ValueError
        If a number is no code of `EMOTIONS`, or a text is empty.
    """
    if not isinstance(label, str):
        if label not in EMOTIONS:
            raise ValueError(f"a label's code must be one of {', '.join(map(str, EMOTIONS))}, got {label!r}")
        return EMOTIONS[label]
    code = emotion_of_name(label)
    name = label.strip() if code is None else EMOTIONS[code]
    if not name:
        raise ValueError("a label must not be empty")
    return name


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
