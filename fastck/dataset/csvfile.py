"""CSV files that people made, read strictly: a stray quote must not swallow lines."""

import csv
from collections.abc import Callable, Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import NoReturn

from fastck.messages import one_line

# What a cell begins with that spreadsheets take for a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")

# Line, column, what is expected, what is there.
OnMistake = Callable[[int, str, str, str], None]


def csv_rows(path: str | PathLike[str], on_mistake: OnMistake | None = None) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a CSV file that are not empty, each with the number of its first line.

    Parameters
    ----------
    path : path-like
        In UTF-8; separated by commas, semicolons or tabs, whichever the first line has most of.
    on_mistake : callable, optional
        Is told of a row with too many cells, or with a quoted cell that holds whole lines of the table; the row is
        passed over. Without it they are a ValueError.

    Yields
    ------
    line : int
    cells : list of str
        Those of the first row are the names of the columns, in lower case and without space around them.

    Raises
    ------
    ValueError
        If the file is not CSV, quotes that are never closed among it; the text names the line.
    OSError
        If the file cannot be read.
    """
    path = Path(path)
    told = on_mistake or _refuse(path)
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        start = file.readline()
        file.seek(0)
        delimiter = max(",;\t", key=start.count)
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        line = 1
        try:
            names = [name.strip().lower() for name in next(reader, [])]
            yield line, names
            line = reader.line_num + 1
            for cells in reader:
                if len(cells) > len(names) and any(map(str.strip, cells[len(names) :])):
                    told(line, names[-1] if names else "1", f"{len(names)} cells a line are expected", str(len(cells)))
                elif reader.line_num > line and _hold_a_line(cells, delimiter, len(names)):
                    got = f"a quote that is closed in line {reader.line_num}"
                    told(line, names[0], "a quoted cell must not hold whole lines of the table", got)
                elif any(map(str.strip, cells)):
                    yield line, cells
                line = reader.line_num + 1
        except csv.Error as error:
            last = f" (read on to line {reader.line_num})" if reader.line_num > line else ""
            raise ValueError(
                f"{one_line(path)} line {line} is not CSV: {error}{last}; a cell that holds a quote is quoted, and the "
                "quote doubled"
            ) from None


def plain_place(path: str) -> str:
    """Return a path as a cell that no spreadsheet takes for a formula: "=clip" is the same place as "./=clip"."""
    return f"./{path}" if path.startswith(FORMULA) else path


def formulas(cells: Iterable[str]) -> list[str]:
    """Return the different cells that a spreadsheet takes for formulas, sorted; names and labels stay as they are."""
    return sorted({cell for cell in cells if cell.startswith(FORMULA)})


def _refuse(path: Path) -> OnMistake:
    def refuse(line: int, column: str, expected: str, got: str) -> NoReturn:
        raise ValueError(f"{one_line(path)} line {line}, column {one_line(column)}: {expected}, got {got}")

    return refuse


def _hold_a_line(cells: list[str], delimiter: str, columns: int) -> bool:
    """Return whether a stray quote seems to have swallowed a line: remarks of several lines hold no such commas."""
    parts = [part for cell in cells if "\n" in cell for part in cell.splitlines()[1:]]
    if "\n" in cells[0]:
        # A quote at the start of a line swallows the whole of it.
        parts.append(cells[0].splitlines()[0])
    return any(part.count(delimiter) >= columns - 1 for part in parts)
