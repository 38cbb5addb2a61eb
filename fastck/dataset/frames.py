"""The order of frames by the numbers in their file names, with gaps and duplicates made visible."""

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Any

# Where two files have the same number the type that keeps gray levels exactly is preferred.
_TYPE_RANK = {"png": 0, "tif": 1, "tiff": 1, "bmp": 2, "dib": 2}
_CK_NAME = re.compile(r"S[0-9]{3}_[0-9]{3}_[0-9]+\.")
_DIGITS = re.compile(r"[0-9]+(?:\.[0-9]+)?")


@dataclass(frozen=True, kw_only=True)
class FrameOrder:
    """The frames of one sequence.

    Attributes
    ----------
    names : tuple of str
        The files to use, in numeric order (by name where no name holds a number).
    numbered : bool
        Whether the names hold numbers.
    duplicates : tuple of (number, kept name, names left out)
        Numbers that several files have.
    unnumbered : tuple of str
        Files left out because they have no number while others do.
    gaps : tuple of (number, number)
        Neighbours that are further apart than the usual step; none are looked for where several numbers differ.
    open_order : bool
        Two numbers of the names say different orders; the one further left was followed.
    """

    names: tuple[str, ...]
    numbered: bool = True
    duplicates: tuple[tuple[int, str, tuple[str, ...]], ...] = ()
    unnumbered: tuple[str, ...] = ()
    gaps: tuple[tuple[int, int], ...] = ()
    open_order: bool = False


def order_frames(names: list[str]) -> FrameOrder:
    """Put the image files of one folder in the order of their frame numbers.

    All numbers in the names that differ count, from left to right, as numbers: ``S005_001_00000011.png`` is frame 11,
    ``frame12_30fps.png`` frame 12, and ``12-30-05-123.png`` comes after ``12-30-04-987.png``. A number with a point is
    a decimal one. Of several files with one number the lossless type is kept
    (PNG, then TIFF, BMP, others), then the pattern of name that most files have, then the name with most digits, then
    the first by name.
    """
    if len(names) == 1:
        return FrameOrder(names=tuple(names), numbered=_DIGITS.search(names[0]) is not None)
    runs = {name: _DIGITS.findall(name.rpartition(".")[0]) for name in names}
    numbered = [name for name in names if runs[name]]
    if not numbered:
        return FrameOrder(names=tuple(sorted(names)), numbered=False)
    columns = [_values(column) for column in _columns([runs[name] for name in numbered])]
    # In CK+'s own names the numbers before the last one are subject and sequence.
    if all(map(_CK_NAME.match, numbered)):
        columns = columns[-1:]
    varying = [column for column in columns if len(set(column)) > 1] or columns[-1:]
    # Times have several numbers: an order of their own, and no usual step.
    keys = list(zip(*varying, strict=True))
    by_key = defaultdict(list)
    for name, key in zip(numbered, keys, strict=True):
        by_key[key].append(name)
    order = sorted(by_key)
    several = len(varying) > 1
    open_order = several and _is_open(order)
    gaps = () if several else _gaps([int(key[0]) for key in order])
    if len(order) == len(names):
        return FrameOrder(names=tuple(by_key[key][0] for key in order), gaps=gaps, open_order=open_order)
    pattern = {name: number_pattern(name) for name in numbered}
    patterns = Counter(pattern.values())
    kept, duplicates = [], []
    for key in order:
        first, *rest = sorted(
            by_key[key],
            key=lambda name: (_type_rank(name), -patterns[pattern[name]], -len(name), name),
        )
        kept.append(first)
        if rest:
            duplicates.append((int(key[-1]), first, tuple(rest)))
    return FrameOrder(
        names=tuple(kept),
        duplicates=tuple(duplicates),
        unnumbered=tuple(sorted(set(names) - set(numbered))),
        gaps=gaps,
        open_order=open_order,
    )


def number_pattern(stem: str) -> str:
    """Return a name with "#" in place of each number."""
    return _DIGITS.sub("#", stem)


def _columns(runs: list[list[str]]) -> list[list[str]]:
    """Return the numbers of all names by their place in the name; counted from the end where names have more."""
    depth = min(map(len, runs))
    return [list(column) for column in zip(*(run[len(run) - depth :] for run in runs), strict=True)]


def _values(column: list[str]) -> list[Decimal] | list[int]:
    """Return numbers as numbers: 0.9 comes after 0.765; clip1.9 and clip1.10 count on after the point."""
    if not any("." in text for text in column):
        return [int(text) for text in column]
    whole, _, parts = zip(*(text.partition(".") for text in column), strict=True)
    counts = len(set(whole)) == 1 and len(set(map(len, parts))) > 1 and not any(part.startswith("0") for part in parts)
    return [int(part or "0") for part in parts] if counts else [Decimal(text) for text in column]


def _is_open(order: list[tuple[Any, ...]]) -> bool:
    """Return whether the first number differs in every name and the last, which does too, says another order.

    Numbers that count on as a clock's do are not open: the first stays while the last one moves.
    """
    firsts, lasts = [key[0] for key in order], [key[-1] for key in order]
    return len(set(firsts)) == len(set(lasts)) == len(order) and lasts != sorted(lasts)


def _gaps(numbers: list[int]) -> tuple[tuple[int, int], ...]:
    """Return the neighbours that are further apart than most; a set that keeps every fifth frame has no gaps."""
    steps = Counter(after - before for before, after in pairwise(numbers))
    if not steps:
        return ()
    most = max(steps.values())
    usual = min(step for step, count in steps.items() if count == most)
    return tuple((before, after) for before, after in pairwise(numbers) if after - before > usual)


def _type_rank(name: str) -> int:
    return _TYPE_RANK.get(name.rpartition(".")[2].lower(), 3)
