"""A CSV table as a data set: one line for each clip, wherever the clips are, and which of their frames count.

`read_table` gives the same records as a folder layout does, `write_table` writes what any layout found. Mistakes in a
table are collected and told together, by column and line.
"""

import csv
import io
import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path

from fastck.config import Until, check_choice
from fastck.dataset.csvfile import csv_rows, plain_place
from fastck.dataset.files import look_at_files
from fastck.dataset.findings import Finding
from fastck.dataset.labels import EMOTIONS, emotion_of_name
from fastck.dataset.records import Scan, SequenceRecord, part_of, real_place, relative_place
from fastck.dataset.sequences import Source, make_record
from fastck.dataset.walk import safe_name, walk
from fastck.images.video import holds_video, is_video
from fastck.messages import one_line
from fastck.outputs import write_atomically

COLUMNS = ("path", "subject", "label", "sequence", "onset", "apex", "offset", "fold")
REQUIRED = ("path", "subject")
_WHOLE = re.compile(r"[0-9]{1,9}(\.0*)?")  # pandas writes a column with empty cells as 12.0
_NOTHING = {"nan", "<na>", "nat"}
_SHOWN_LINES = 5


def read_table(path: str | PathLike[str], *, until: Until = "apex") -> Scan:
    """Read the sequences that a table lists.

    Parameters
    ----------
    path : path-like
        A CSV file in UTF-8 with a line of column names, separated by commas, semicolons or tabs. ``path``: a folder of
        frames or a video, relative to the table. ``subject``: the person. Optional: ``label`` (any text; the names of
        `EMOTIONS`, their relatives such as "happiness" and CK+'s codes become those names), ``sequence`` (the id; else
        made of the path), ``onset``, ``apex``, ``offset`` (numbers of frames within the clip, counted from 1 in their
        order), ``fold``. An empty cell says nothing.
    until : {"apex", "offset", "end"}
        The last frame that is used; the first is the onset, or frame 1. Where there is no apex the offset counts, and
        where there is neither the last frame of the clip.

    Returns
    -------
    scan : Scan
        As `fastck.scan` gives it. Its root is the folder that the table lies in, or where clips lie elsewhere the
        nearest one that holds them too.

    Raises
    ------
    ValueError
        If the file is no such table, or cells are wrong: all of them are named by column and line.
    OSError
        If the file cannot be read.
    """
    check_choice("until", until, Until)
    path = Path(path)
    if path.is_dir():
        raise ValueError(f'layout "table" takes a CSV file, got the folder {one_line(path)}')
    findings: list[Finding] = []
    mistakes = _Mistakes()
    rows = [_read_row(line, cells, mistakes) for line, cells in _lines(path, findings, mistakes)]
    if not rows and not mistakes:
        raise ValueError(f"{one_line(path)} must list clips, one a line, below the column names: it lists none")
    _name_rows(rows, mistakes)
    records = _find_records([row for row in rows if row.path], path.parent, until, findings, mistakes)
    if mistakes:
        raise ValueError(mistakes.text(path))
    in_order = sorted(records, key=lambda record: record.sequence)
    fingerprints, odd = look_at_files(in_order)
    findings += odd + _subjects_in_folds(path, rows)
    root = _common_folder(path.parent, in_order)
    return Scan(records=in_order, findings=findings, root=root, fingerprints=fingerprints)


def write_table(records: Iterable[SequenceRecord], path: str | PathLike[str], *, until: Until = "apex") -> None:
    """Write sequences as a table for `read_table`: to be edited, or to say exactly what a study used.

    Parameters
    ----------
    records : iterable of SequenceRecord
    path : path-like
        The CSV file; the clips' paths are written relative to its folder.
    until : {"apex", "offset", "end"}
        As the records were read, and as the table is to be read: the last frame goes to the column ``offset`` for
        "offset", else to ``apex``.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    path = Path(path)
    last = "offset" if until == "offset" else "apex"
    folder = os.path.realpath(path.parent)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, restval="")
    writer.writeheader()
    for record in records:
        source = record.video or record.frames[0].parent
        cells = {name: getattr(record, name) for name in ("subject", "label", "sequence", "fold")}
        cells |= {"onset": record.onset or 1} if record.onset or record.n_frames else {}
        # Of a video that cannot be read nobody knows the last frame, where the table does not name it.
        cells |= {last: (record.onset or 1) + record.n_frames - 1} if record.n_frames else {}
        writer.writerow({"path": plain_place(relative_place(source, folder)), **cells})
    write_atomically(path, text.getvalue().encode(errors="surrogateescape"))


@dataclass(kw_only=True)
class _Row:
    line: int
    path: str
    subject: str
    label: str
    sequence: str
    fold: str
    numbers: dict[str, int] = field(default_factory=dict)
    # Told already: the clip of a line above.
    repeated: bool = False


class _Mistakes:
    """Wrong cells, gathered by column and by what is wrong with them, so that 10,000 of them are told in a line."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)

    def __bool__(self) -> bool:
        return bool(self._lines)

    def add(self, line: int, column: str, expected: str, got: str) -> None:
        self._lines[column, expected].append((line, got))

    def text(self, path: Path) -> str:
        number = sum(map(len, self._lines.values()))
        parts = [self._part(*key, found) for key, found in self._lines.items()]
        return f"{one_line(path)} has {number:,} mistake{'s' if number > 1 else ''}: {'; '.join(parts)}"

    @staticmethod
    def _part(column: str, expected: str, found: list[tuple[int, str]]) -> str:
        lines = sorted({line for line, _ in found})
        first, got = min(found)
        example = f" in line {first}" if len(lines) > 1 else ""
        shown = got if len(got) <= 80 else got[:80] + "..."
        return f"column {column}, {_some_lines(lines)}: {expected}, got {one_line(shown)}{example}"


def _some_lines(lines: list[int]) -> str:
    """Return line numbers as text, runs of them as 2-10001, the rest counted after a few."""
    runs: list[list[int]] = []
    for line in lines:
        if runs and line == runs[-1][1] + 1:
            runs[-1][1] = line
        else:
            runs.append([line, line])
    shown = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs[:_SHOWN_LINES])
    rest = sum(last - first + 1 for first, last in runs[_SHOWN_LINES:])
    more = f" and {rest:,} more" if rest else ""
    return f"line{'s' if len(lines) > 1 else ''} {shown}{more}"


def _lines(path: Path, findings: list[Finding], mistakes: _Mistakes) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the first line's number and the cells of each row, by column."""
    rows = csv_rows(path, mistakes.add)
    _, names = next(rows)
    _check_columns(path, names, findings)
    for line, cells in rows:
        yield line, dict(zip(names, cells, strict=False))


def _check_columns(path: Path, names: list[str], findings: list[Finding]) -> None:
    # An Excel sheet is a ZIP archive; UTF-16, which Excel writes as "Unicode text", has zero bytes.
    if any("\0" in name or name.startswith("pk\x03\x04") for name in names):
        raise ValueError(f"{one_line(path)} is not a CSV file in UTF-8: save the sheet as one (CSV UTF-8 in Excel)")
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        got = ", ".join(map(one_line, filter(None, names)))[:200] or "none"
        raise ValueError(
            f"{one_line(path)} line 1 must name the columns {' and '.join(REQUIRED)}, and may name "
            f"{', '.join(COLUMNS[2:])}: it lacks {' and '.join(missing)}, got {got}"
        )
    twice = sorted({name for name in names if name in COLUMNS and names.count(name) > 1})
    if twice:
        raise ValueError(f"{one_line(path)} line 1 names the column {', '.join(twice)} twice: keep one of them")
    for name in names:
        if name and name not in COLUMNS:
            text = f"{one_line(path)} has a column {one_line(name)}, which says nothing here: passed over"
            findings.append(Finding(kind="other-column", sequence="", path=path, text=text))


def _read_row(line: int, cells: dict[str, str], mistakes: _Mistakes) -> _Row:
    text = {name: cells.get(name, "").strip() for name in COLUMNS}
    for name in ("subject", "label", "fold"):
        # One person spelled in two ways of Unicode is one; what pandas writes for an empty cell is none.
        text[name] = "" if text[name].lower() in _NOTHING else unicodedata.normalize("NFC", text[name])
    row = _Row(
        line=line,
        path=cells["path"] if text["path"] else "",
        subject=text["subject"],
        label=text["label"],
        sequence=text["sequence"],
        fold=text["fold"],
    )
    for name in REQUIRED:
        if not text[name]:
            mistakes.add(line, name, "must not be empty", "nothing")
    for name in ("subject", "label", "fold"):
        if not text[name].isprintable():
            mistakes.add(line, name, "must be text on one line", repr(text[name]))
    if row.sequence and row.sequence != safe_name((row.sequence,)):
        mistakes.add(line, "sequence", "must be of letters, digits, _, - and inner dots", repr(row.sequence))
    code = emotion_of_name(row.label)
    if code is not None:
        row.label = EMOTIONS[code]
    for name in ("onset", "apex", "offset"):
        if _WHOLE.fullmatch(text[name]) and float(text[name]) >= 1:
            row.numbers[name] = int(float(text[name]))
        elif text[name]:
            mistakes.add(line, name, "must be a frame's number from 1 on, or empty", repr(text[name]))
    for before, after in (("onset", "apex"), ("apex", "offset"), ("onset", "offset")):
        if row.numbers.get(before, 0) > row.numbers.get(after, row.numbers.get(before, 0)):
            got = f"{row.numbers[after]} after {row.numbers[before]}"
            mistakes.add(line, after, f"must not come before the {before}", got)
    return row


def _name_rows(rows: list[_Row], mistakes: _Mistakes) -> None:
    """Give every row an id, and see to it that no two have the same."""
    clips: dict[tuple[Path, tuple[tuple[str, int], ...]], _Row] = {}
    clips_of: Counter[str] = Counter(row.path for row in rows)
    for row in rows:
        first = clips.setdefault((Path(row.path), tuple(sorted(row.numbers.items()))), row)
        if first is not row and row.path:
            _add_repeated(row, first, mistakes)
    owners: dict[str, _Row] = {}
    for row in rows:
        given = bool(row.sequence)
        if not given and row.path:
            row.sequence = _clip_name(row, several=clips_of[row.path] > 1)
        first = owners.setdefault(row.sequence.casefold(), row)
        if first is not row and row.path and first.path and not row.repeated:
            what = "ids must differ" if given else "paths must give ids that differ; name them in the column sequence"
            mistakes.add(row.line, "sequence", what, f"{row.sequence} as in line {first.line}")


def _add_repeated(row: _Row, first: _Row, mistakes: _Mistakes) -> None:
    row.repeated = True
    labels = "" if first.label == row.label else f" and with another label, {first.label!r} and {row.label!r}"
    mistakes.add(row.line, "path", "every clip must be listed once", f"that of line {first.line} again{labels}")


def _clip_name(row: _Row, *, several: bool) -> str:
    """Return an id made of the path; several clips of one video are told apart by their onsets."""
    path = Path(row.path).with_suffix("") if is_video(row.path) else Path(row.path)
    parts = tuple(part for part in path.parts if part not in (path.anchor, "..", "."))
    return safe_name((*parts, f"{row.numbers.get('onset', 1):05d}") if several else parts)


def _find_records(
    rows: list[_Row], root: Path, until: Until, findings: list[Finding], mistakes: _Mistakes
) -> list[SequenceRecord]:
    """Find the folders and videos of the rows, each looked at once, and cut the clips out."""
    found: dict[str, SequenceRecord | str] = {}
    used: dict[tuple[str, int, int], _Row] = {}
    records = []
    for row in rows:
        if row.path not in found:
            found[row.path] = _find_clip(root / row.path, row.sequence, findings)
        whole = found[row.path]
        if isinstance(whole, str):
            mistakes.add(row.line, "path", whole, repr(row.path))
            continue
        for name, number in row.numbers.items():
            # Of a video that cannot be read nobody knows how many frames it has.
            if number > whole.n_frames > 0:
                mistakes.add(row.line, name, "must be one of the clip's frames", f"{number} of {whole.n_frames} frames")
        first = row.numbers.get("onset", 1)
        ends = {"apex": ("apex", "offset"), "offset": ("offset",), "end": ()}[until]
        last = next((row.numbers[name] for name in ends if name in row.numbers), whole.n_frames)
        # The same frames by another name, or with the numbers that another line leaves to be understood.
        other = used.setdefault((os.path.realpath(root / row.path), first, last), row)
        if other is not row and not row.repeated:
            _add_repeated(row, other, mistakes)
        if first == last and whole.n_frames > 1:
            text = f"{one_line(root / row.path)} is used from frame {first} to {last}: no motion to see"
            findings.append(Finding(kind="single-frame", sequence=row.sequence, path=root / row.path, text=text))
        records.append(part_of(_labelled(whole, row), first, last))
    return records


def _subjects_in_folds(path: Path, rows: list[_Row]) -> list[Finding]:
    """Return a finding for every subject that stands in several folds."""
    lines: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row.fold:
            lines[row.subject][row.fold].append(row.line)
    findings = []
    for subject, folds in lines.items():
        if len(folds) > 1:
            shown = [f"fold {one_line(fold)} ({_some_lines(own)})" for fold, own in folds.items()]
            more = f" and {len(shown) - _SHOWN_LINES:,} more folds" if len(shown) > _SHOWN_LINES else ""
            text = f"subject {one_line(subject)} is in {', '.join(shown[:_SHOWN_LINES])}{more}"
            findings.append(Finding(kind="subject-in-folds", sequence="", path=path, text=text))
    return findings


def _labelled(record: SequenceRecord, row: _Row) -> SequenceRecord:
    emotion = emotion_of_name(row.label)
    return replace(record, sequence=row.sequence, subject=row.subject, label=row.label, fold=row.fold, emotion=emotion)


def _common_folder(folder: Path, records: list[SequenceRecord]) -> Path:
    # A root is a folder: of a video the one that holds it.
    clips = [(real_place(record.path), record.video) for record in records]
    places = [os.path.dirname(place) if video else place for place, video in clips]  # noqa: PTH120
    real = os.path.realpath(folder)
    common = os.path.commonpath([real, *places])
    return folder if common == real else Path(common)


def _find_clip(path: Path, sequence: str, findings: list[Finding]) -> SequenceRecord | str:
    """Return the whole sequence of a folder or video, or what is wrong with the path."""
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except (OSError, ValueError):
        # A name that the system does not take.
        is_folder = is_file = False
    if is_file and holds_video(path):
        return make_record(Source(parts=(sequence,), path=str(path), names=()), sequence, "table", findings)
    if not is_folder:
        return "must be a folder of frames or a video" if is_file else "no such folder or video"
    listing = next(walk(path, findings), None)
    if listing is None:
        return f"the folder cannot be read ({findings.pop().text})"
    names = tuple(listing.images)
    if not names:
        return "the folder must hold frames itself"
    return make_record(Source(parts=(sequence,), path=str(path), names=names), sequence, "table", findings)
