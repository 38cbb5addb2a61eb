"""The order of frames by the numbers in their file names, with gaps and duplicates made visible."""

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import pairwise

# Where two files have the same number the type that keeps gray levels exactly is preferred.
_TYPE_RANK = {"png": 0, "tif": 1, "tiff": 1, "bmp": 2, "dib": 2}
_DIGITS = re.compile(r"([0-9]+)")


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
        Neighbours that are further apart than the usual step.
    """

    names: tuple[str, ...]
    numbered: bool = True
    duplicates: tuple[tuple[int, str, tuple[str, ...]], ...] = ()
    unnumbered: tuple[str, ...] = ()
    gaps: tuple[tuple[int, int], ...] = ()


def order_frames(names: list[str]) -> FrameOrder:
    """Put the image files of one folder in the order of their frame numbers.

    The frame number is the last number in the name (``S005_001_00000011.png``: 11); where that is the same in all names
    as in ``frame12_30fps.png``, the last one that differs. Of several files with one number the lossless type is kept
    (PNG, then TIFF, BMP, others), then the pattern of name that most files have, then the name with most digits, then
    the first by name.
    """
    if len(names) == 1:
        return FrameOrder(names=tuple(names), numbered=_DIGITS.search(names[0]) is not None)
    runs = {name: _DIGITS.findall(name.rpartition(".")[0]) for name in names}
    numbered = [name for name in names if runs[name]]
    if not numbered:
        return FrameOrder(names=tuple(sorted(names)), numbered=False)
    column = _number_column([runs[name] for name in numbered])
    by_number = defaultdict(list)
    for name in numbered:
        by_number[int(runs[name][column])].append(name)
    numbers = sorted(by_number)
    if len(numbers) == len(names):
        return FrameOrder(names=tuple(by_number[number][0] for number in numbers), gaps=_gaps(numbers))
    pattern = {name: _DIGITS.sub("#", name) for name in numbered}
    patterns = Counter(pattern.values())
    kept, duplicates = [], []
    for number in numbers:
        first, *rest = sorted(
            by_number[number],
            key=lambda name: (_type_rank(name), -patterns[pattern[name]], -len(name), name),
        )
        kept.append(first)
        if rest:
            duplicates.append((number, first, tuple(rest)))
    return FrameOrder(
        names=tuple(kept),
        duplicates=tuple(duplicates),
        unnumbered=tuple(sorted(set(names) - set(numbered))),
        gaps=_gaps(numbers),
    )


def _number_column(runs: list[list[str]]) -> int:
    """Return which number of a name (counted from the end, -1 the last) is the frame number."""
    depth = min(map(len, runs))
    for column in range(-1, -depth - 1, -1):
        if len({int(run[column]) for run in runs}) > 1:
            return column
    return -1


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
