"""Who is seen and what is shown, read out of file names: for folders that say it nowhere else."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from fastck.dataset.labels import EMOTIONS, emotion_of_name
from fastck.dataset.walk import safe_name
from fastck.messages import one_line


class _Naming(NamedTuple):
    """How a data set names its files; `labels` are the names of its codes."""

    subject: str
    label: str
    labels: Mapping[str, str]


# In a file's path below the root: the file's name, or that of a folder of its frames.
_START, _END = r"(?:^|/)", r"(?=[./])"
NAMED = {
    # Livingstone and Russo (2018): modality-channel-emotion-intensity-statement-repetition-actor.
    "ravdess": _Naming(
        _START + r"[0-9]{2}(?:-[0-9]{2}){5}-(?P<subject>[0-9]{2})" + _END,
        _START + r"[0-9]{2}-[0-9]{2}-(?P<label>[0-9]{2})(?:-[0-9]{2}){4}" + _END,
        {
            "01": "neutral",
            "02": "calm",
            "03": "happy",
            "04": "sadness",
            "05": "anger",
            "06": "fear",
            "07": "disgust",
            "08": "surprise",
        },
    ),
    # Cao et al. (2014): actor_sentence_emotion_level.
    "crema-d": _Naming(
        _START + r"(?P<subject>[0-9]{4})_[A-Z]{3}_[A-Z]{3}_[A-Z]{1,2}" + _END,
        _START + r"[0-9]{4}_[A-Z]{3}_(?P<label>[A-Z]{3})_[A-Z]{1,2}" + _END,
        {"ANG": "anger", "DIS": "disgust", "FEA": "fear", "HAP": "happy", "NEU": "neutral", "SAD": "sadness"},
    ),
    # The pictures of CK+ that are cut to the face: subject_sequence_frame in a folder for each emotion.
    "ck+48": _Naming(
        _START + r"(?P<sequence>(?P<subject>S[0-9]{3})_[0-9]{3})_[0-9]+" + _END, r"(?P<label>[^/]+)/[^/]+$", {}
    ),
}


class Named(NamedTuple):
    """What a file's name says, "" where it is not asked: its sequence within the folder, its subject and its label."""

    sequence: str
    subject: str
    label: str


@dataclass(frozen=True, kw_only=True)
class Patterns:
    """Regular expressions for the path of a file below the root, "happy/S005_001_00000011.png".

    Attributes
    ----------
    subject : str
        A name of `NAMED`, or an expression whose group "subject", or else its first one, is the subject. Files of one
        folder are one sequence where they have the group "sequence", or else the subject, and the label in common.
    label : str
        The same for the label, of the group "label" or the first one. Names of `EMOTIONS` and their relatives become
        those names; any other text, numbers too, is a label of its own.
    """

    subject: str = ""
    label: str = ""
    _compiled: tuple["re.Pattern[str] | None", ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        texts = {"subject": self.subject, "label": self.label}
        compiled = tuple(_compile(what, text) if text else None for what, text in texts.items())
        object.__setattr__(self, "_compiled", compiled)

    def __bool__(self) -> bool:
        return any(self._compiled)

    def read(self, path: str) -> Named | None:
        """Return what a file's path says; None where an expression does not match."""
        parts = {"sequence": "", "subject": "", "label": ""}
        for what, pattern in zip(("subject", "label"), self._compiled, strict=True):
            if pattern is None:
                continue
            match = pattern.search(path)
            text = (match[what] if what in pattern.groupindex else match[1]) if match else None
            if match is None or not text:
                return None
            parts[what] = text
            if "sequence" in pattern.groupindex:
                parts["sequence"] = match["sequence"] or ""
        named = NAMED.get(self.label.lower())
        label = parts["label"] if named is None else named.labels.get(parts["label"], parts["label"])
        code = None if label[:1].isdigit() else emotion_of_name(label)
        label = one_line(label) if code is None else EMOTIONS[code]
        subject = safe_name((parts["subject"],)) if parts["subject"] else ""
        return Named(parts["sequence"], subject, label)

    def groups(self, above: Sequence[str], names: Sequence[str]) -> Iterator[tuple[Named | None, list[str]]]:
        """Yield the files of one folder by what their names say; None with those that do not match."""
        found: dict[Named | None, list[str]] = {}
        for name in names:
            found.setdefault(self.read("/".join((*above, name))), []).append(name)
        yield from found.items()


def _compile(what: str, text: str) -> "re.Pattern[str]":
    named = NAMED.get(text.lower())
    try:
        pattern = re.compile(text if named is None else getattr(named, what))
    except re.error as error:
        raise ValueError(f"{what} pattern must be a regular expression or one of {', '.join(NAMED)}: {error}") from None
    if not pattern.groups:
        raise ValueError(f"{what} pattern must have a group, such as (?P<{what}>[^_]+), got {text!r}")
    return pattern
