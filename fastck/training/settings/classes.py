"""Which labels a network tells apart: classes chosen by name, labels merged into one class, the onset as neutral."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from fastck.dataset.labels import emotion_names, label_name

if TYPE_CHECKING:
    import pandas as pd

# In place of names: every label that the store has.
ALL = "all"
NEUTRAL = "neutral"
# Between two pairs of one text: a semicolon or a space, where another class and "=" follow.
_NEXT_PAIR = re.compile(r"(?:\s*;\s*|\s+)(?=[^\s;=]+\s*=)")


def parse_classes(value: object) -> tuple[str, ...]:
    """Return class names from "happy,surprise", from several names, or from CK+'s codes.

    Raises
    ------
    TypeError
        If it is something else.
    ValueError
        If a name is empty or stands there twice, or there is only one.
    """
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, Iterable) or isinstance(parts, Mapping):
        raise TypeError(f"classes must be names such as happy,surprise, got {value!r}")
    names = tuple(ALL if part == ALL else label_name(part) for part in parts)
    if names == (ALL,):
        return names
    if ALL in names:
        raise ValueError(f"classes must be {ALL!r} alone or names without it, got {', '.join(names)}")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"classes must not name {', '.join(twice)} twice")
    if len(names) < 2:
        raise ValueError(f"classes must be at least two, got {', '.join(names) or 'none'}")
    return names


def parse_merge(value: object) -> dict[str, tuple[str, ...]]:
    """Return the labels of each merged class from pairs such as "positive=happy negative=anger,disgust", or a mapping.

    A space or semicolon separates the pairs of a text. There may be several texts.

    Raises
    ------
    TypeError
        If it is something else.
    ValueError
        If a text is not of that form, or a class or a label stands there twice.
    """
    if isinstance(value, Mapping):
        pairs = [(str(name), labels) for name, labels in value.items()]
    elif isinstance(value, str | Sequence):
        pairs = [pair for text in ([value] if isinstance(value, str) else value) for pair in _merge_pairs(text)]
    else:
        raise TypeError(f"merge must be such as negative=anger,disgust, got {value!r}")
    merge: dict[str, tuple[str, ...]] = {}
    owner: dict[str, str] = {}
    for name, labels in pairs:
        parts = labels.split(",") if isinstance(labels, str) else labels
        if not isinstance(parts, Iterable):
            raise TypeError(f"merge must give the labels of {name!r}, got {parts!r}")
        if name in merge:
            raise ValueError(f"merge names the class {name} twice: put all its labels into one")
        merge[name] = tuple(label_name(part) for part in parts)
        if not merge[name]:
            raise ValueError(f"merge gives no label for the class {name}")
        for label in merge[name]:
            if label in owner:
                raise ValueError(f"merge puts the label {label} into {owner[label]} and again into {name}")
            owner[label] = name
    return merge


def _merge_pairs(text: object) -> list[tuple[str, str]]:
    pairs = [part.partition("=") for part in _NEXT_PAIR.split(text.strip())] if isinstance(text, str) else []
    if not pairs or any("=" in labels or not (name.strip() and labels.strip()) for name, _, labels in pairs):
        raise ValueError(
            f"merge must be CLASS=LABEL,LABEL,... for each class, such as positive=happy negative=anger,disgust, "
            f"got {text!r}"
        )
    return [(name.strip(), labels) for name, _, labels in pairs]


def check_merged(classes: Sequence[str] | None, merge: Mapping[str, Sequence[str]]) -> None:
    """Raise ValueError where a class is chosen that has gone into another one."""
    for name, labels in merge.items():
        gone = [label for label in labels if label in (classes or ()) and label not in merge]
        if gone:
            raise ValueError(f"classes names {gone[0]}, which merge puts into {name}: choose {name}")


def class_of(label: str, merge: Mapping[str, Sequence[str]] | None) -> str:
    """Return the class that a label counts as."""
    return next((name for name, labels in (merge or {}).items() if label in labels), label)


def with_classes(table: "pd.DataFrame", merge: Mapping[str, Sequence[str]] | None = None) -> "pd.DataFrame":
    """Return a store's table with the class of each sequence in its column label, "" for none.

    Parameters
    ----------
    table : DataFrame
        Column label, or emotion (codes) in its place.
    merge : mapping of class to labels, optional
        Labels that count as one class.
    """
    labels = table["label"] if "label" in table else emotion_names(table["emotion"])
    known = {label: class_of(label, merge) for label in labels.unique()}
    return table.assign(label=labels.map(known).astype("str"))


def check_labels(table: "pd.DataFrame", merge: Mapping[str, Sequence[str]] | None, *, onsets: bool = False) -> None:
    """Raise ValueError where a label that is merged has no sequence in a store's table: it may be misspelt.

    With `onsets` there are samples of neutral faces beside the table's sequences.
    """
    before = with_classes(table)
    known = {*before["label"], *([NEUTRAL] if onsets else [])}
    unknown = [label for labels in (merge or {}).values() for label in labels if label not in known]
    if unknown:
        raise ValueError(
            f"merge names the label {', '.join(unknown)}, and no sequence has it; the store has {count_text(before)}"
        )


def every_class(table: "pd.DataFrame") -> tuple[str, ...]:
    """Return all classes of a table of `with_classes`, sorted."""
    return tuple(sorted(set(table["label"]) - {""}))


def count_text(table: "pd.DataFrame") -> str:
    """Return how many sequences each class of a table of `with_classes` has: "anger: 45, disgust: 59"."""
    counts = table.loc[table["label"] != "", "label"].value_counts().sort_index()
    return ", ".join(f"{label}: {count}" for label, count in counts.items()) or "no labelled sequence"
