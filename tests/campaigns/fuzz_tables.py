"""Fuzz the readers of tables, folds files and boxes files with mutated, cut and mixed files.

    python -m tests.campaigns.fuzz_tables --executions 20000 --seed 0

Every file must either be refused with a ValueError of one line, or give what Python's own strict CSV reader gives: no
row less and no cell changed. Anything else is a finding: it is counted, and the first files are written to --keep.
"""

import argparse
import csv
import io
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

import cv2
import numpy as np

from fastck.dataset.table import read_table
from fastck.faces.boxfile import read_boxes
from fastck.training.data.foldfile import read_folds

_PIECES = [
    '"',
    '""',
    ",",
    ";",
    "\t",
    "\n",
    "\r\n",
    "\r",
    "\0",
    "\ufeff",
    "5.0",
    "nan",
    "=1",
    "-1",
    "a.avi",
    "é",
    "e\u0301",
]
_CLIPS = ("path,subject,label,sequence,onset,apex\n", "frames/a,S1,happy,x1,1,3\n", "frames/b,S2,,x2,,\n")
SEEDS = {
    "table": [*_CLIPS, "frames/a,S1,sad,x3,2,4\n", 'frames/b,S2,"a, b",x4,2,\n'],
    "folds": ["sequence,subject,fold\n", "x1,S1,1\n", "x2,S2,2\n", '"x3",S3,1\n', "x4,S4,3\n"],
    "boxes": ["sequence,frame,top,left,bottom,right\n", "x1,1,0,0,9,9\n", "x1,2,1,1,9,9\n", "x2,1,0,0,5,7\n"],
}
READERS: dict[str, Callable[[Path], int]] = {
    "table": lambda path: len(read_table(path).records),
    "folds": lambda path: len(read_folds(path)),
    "boxes": lambda path: len(read_boxes(path).sequences),
}


def fuzz(executions: int, seed: int, folder: Path) -> tuple[Counter[str], list[tuple[str, bytes]]]:
    """Run that many mutations, the same ones for the same seed; return outcomes and findings."""
    random = Random(seed)
    for name in ("a", "b"):
        (folder / "frames" / name).mkdir(parents=True, exist_ok=True)
        for number in range(1, 5):
            cv2.imwrite(str(folder / "frames" / name / f"{number}.png"), np.zeros((8, 8), np.uint8))
    counts: Counter[str] = Counter()
    findings: list[tuple[str, bytes]] = []
    path = folder / "fuzzed.csv"
    for _ in range(executions):
        sort = random.choice(list(SEEDS))
        content = mutate(SEEDS[sort], random)
        path.write_bytes(content)
        outcome = try_file(READERS[sort], sort, path)
        counts[f"{sort}: {outcome.split(':')[0]}"] += 1
        if outcome.startswith("finding"):
            findings.append((f"{sort}: {outcome}", content))
    return counts, findings


def mutate(lines: list[str], random: Random) -> bytes:
    """Return a file with some of its lines mixed, pieces put in, letters taken out, or its end cut off."""
    lines = [lines[0], *random.choices(lines[1:], k=random.randint(0, 6))]
    text = "".join(lines)
    for _ in range(random.randint(0, 3)):
        at = random.randint(0, len(text))
        how = random.randrange(3)
        if how == 0:
            text = text[:at] + random.choice(_PIECES) + text[at:]
        elif how == 1:
            text = text[:at] + text[at + random.randint(1, 4) :]
        else:
            text = text[:at]
    return text.encode() if random.random() < 0.9 else text.encode() + bytes([random.randrange(256)])


def try_file(read: Callable[[Path], int], sort: str, path: Path) -> str:
    """Return "refused", "read", or "finding: ..." with what went wrong."""
    try:
        number = read(path)
    except ValueError as error:
        return "refused" if "\n" not in str(error) else f"finding: message of several lines: {error!r}"
    except Exception as error:  # whatever it is, a user would see a traceback
        return f"finding: {type(error).__name__}: {error}"
    text = path.read_bytes().decode("utf-8-sig", errors="surrogateescape")
    delimiter = max(",;\t", key=text.splitlines()[0].count)
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True) if any(row)]
    except csv.Error as error:
        return f"finding: read, though {error}"
    rows = [row for row in rows[1:] if any(map(str.strip, row))]
    expected = len({row[0] for row in rows}) if sort == "boxes" else len(rows)
    # A row is a record, and each line is a row: none is swallowed by a quote.
    if number != expected:
        return f"finding: {number} read of {expected}"
    swallowed = [cell for row in rows for cell in row if cell.count("\n") and cell.count(delimiter) >= 5]
    return f"finding: a cell holds lines: {swallowed[0]!r}" if swallowed else "read"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--executions", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-tables-findings"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        counts, findings = fuzz(options.executions, options.seed, Path(folder))
    for outcome, number in sorted(counts.items()):
        print(f"{number:8,} {outcome}")
    for number, (text, content) in enumerate(findings[:20]):
        options.keep.mkdir(exist_ok=True)
        (options.keep / f"{number}.csv").write_bytes(content)
        print(f"{options.keep / f'{number}.csv'}: {text}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
