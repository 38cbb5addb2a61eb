"""What is odd about a data set: one `Finding` per oddity, and a table of the sorts there are."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Outcome = Literal["left out", "not labelled", "kept"]

# kind: what happens to the thing concerned, and what the kind means, for summaries ("12 x ...").
KINDS: dict[str, tuple[Outcome, str]] = {
    "unreadable-folder": ("left out", "folders that cannot be read"),
    "vanished-folder": ("left out", "folders that vanished while they were read"),
    "unreadable-image": ("left out", "images that do not decode; their sequences go to the quarantine"),
    "unreadable-video": ("left out", "videos that do not decode; they go to the quarantine"),
    "stills": ("left out", "folders of an emotion that hold pictures themselves, of different people: no sequence"),
    "unmatched-name": ("left out", "files whose names a pattern of subject or label does not match"),
    "empty-sequence": ("left out", "sequence folders without an image"),
    "single-frame": ("left out", "sequences of one frame, in which nothing moves; they go to the quarantine"),
    "mixed-sizes": ("left out", "sequences whose image size changes; they go to the quarantine"),
    "misplaced-images": ("left out", "folders with images where the layout has none"),
    "misplaced-video": ("left out", "videos where the layout has none"),
    "duplicate-frame": ("left out", "frame numbers that several files have; one of them is kept"),
    "unnumbered-frame": ("left out", "images without a frame number among numbered ones"),
    "broken-link": ("left out", "links that lead nowhere"),
    "symlink-loop": ("left out", "links to a folder that contains them"),
    "repeated-folder": ("left out", "folders that are met again, through a link: one person must not be two subjects"),
    "not-a-file": ("left out", "pipes, devices and the like"),
    "label-without-sequence": ("left out", "labels of sequences that do not exist"),
    "junk-folder": ("left out", "hidden and system folders"),
    "junk-file": ("left out", "hidden and system files"),
    "unread-format": ("left out", "pictures and videos in formats that are not read: convert them to PNG or AVI"),
    "shared-file": ("kept", "sequences of different subjects with a file in common: subject leakage"),
    "subject-in-folds": ("kept", "subjects in several folds of a table: training on these folds has subject leakage"),
    "other-column": ("kept", "columns of a table that say nothing here"),
    "other-file": ("left out", "files of other sorts"),
    "no-labels": ("not labelled", "data sets without a label folder"),
    "unknown-emotion": ("not labelled", "sequences that no folder names an emotion of"),
    "own-label": ("kept", "folder names that stand for no emotion: classes of their own"),
    "code-label": ("kept", "folder names that are numbers, taken for CK+'s codes: other sets number them otherwise"),
    "bad-label": ("not labelled", "label files that hold no emotion code"),
    "unreadable-label": ("not labelled", "label files that cannot be read"),
    "foreign-label": ("not labelled", "label files named after another sequence"),
    "several-label-files": ("not labelled", "label folders with several files; where they agree the label is used"),
    "empty-label-folder": ("not labelled", "label folders that are empty"),
    "several-people": ("kept", "sequences that show several people where their first face is: the largest is taken"),
    "mixed-colour": ("kept", "sequences with gray and colour images"),
    "frame-gap": ("kept", "sequences with gaps in their frame numbers"),
    "foreign-frames": ("kept", "sequences with frames named after another sequence"),
    "unnumbered-frames": ("kept", "sequences without frame numbers, in the order of their names"),
    "open-order": ("kept", "sequences whose names hold two numbers that say different orders: look at them"),
    "neutral-label": ("kept", "sequences labelled neutral, which CK+ gives to none"),
}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something odd about the input, in one line.

    Attributes
    ----------
    kind : str
        A key of `KINDS`: "junk-file", "empty-label-folder", ...
    sequence : str
        Id of the sequence concerned, or "" where there is none.
    path : Path
        The file or folder concerned.
    text : str
        One line: what is odd and what was done about it.
    """

    kind: str
    sequence: str
    path: Path
    text: str


# The quarantine says it.
_KNOWN_TO_PREPROCESSING = {"single-frame", "unreadable-image", "unreadable-video", "mixed-sizes"}
_EXPECTED = {"junk-folder", "junk-file", "empty-label-folder"}  # every copy of CK+ has them


def summarise(findings: Iterable[Finding]) -> list[str]:
    """Return one line for each kind of finding that a run should tell, with how many there are and an example."""
    by_kind: dict[str, list[Finding]] = {}
    for finding in findings:
        by_kind.setdefault(finding.kind, []).append(finding)
    return [
        f"{len(by_kind[kind])} x {meaning}: {outcome}, for example {by_kind[kind][0].text}"
        for kind, (outcome, meaning) in KINDS.items()
        if kind in by_kind and kind not in _KNOWN_TO_PREPROCESSING | _EXPECTED
    ]
