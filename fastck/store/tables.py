"""A store's tables: what they are made from when it is closed, and what they say of it when it is opened again."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from io import StringIO
from itertools import chain, islice
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastck.store.finished import FOUND, Finished
from fastck.store.plan import Plan, first_rows
from fastck.store.reader import ADDED_DTYPES, TABLE_DTYPES, Store

PART = 20_000  # sequences whose lines are made at once


def table_parts(names: Sequence[str], rows: Iterable[Sequence[Any]], *, quoted: bool = False) -> Iterator[bytes]:
    """Yield a table as CSV: the bytes that pandas writes, in less than half of its time.

    Parameters
    ----------
    names : sequence of str
        Of the columns.
    rows : iterable of sequences of str, int, float or None
        None is an empty cell.
    quoted : bool
        Quote every text; see `has_returns`.
    """
    rest = chain([names], rows)
    while part := list(islice(rest, PART)):
        text = StringIO()
        lines = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC if quoted else csv.QUOTE_MINIMAL)
        lines.writerows(part)
        # A folder's name may be bytes that are no text.
        yield text.getvalue().encode(errors="surrogateescape")


def has_returns(texts: Iterable[str]) -> bool:
    """Return whether a text holds a carriage return, which the csv module does not quote and which ends a line."""
    rest = iter(texts)
    while part := list(islice(rest, PART)):
        if "\r" in "".join(part):
            return True
    return False


def inputs_parts(plan: Plan) -> Iterator[bytes]:
    """Yield the record of a store's input, as CSV."""
    columns = (plan.input_columns(at, at + PART) for at in _cuts(len(plan)))
    first = next(columns)
    rows = chain.from_iterable(zip(*part.values(), strict=True) for part in chain([first], columns))
    yield from table_parts(list(first), rows, quoted=_returns_in(plan, range(len(plan))))


def sequences_parts(plan: Plan, done: Finished) -> Iterator[bytes]:
    """Yield a finished store's table of good sequences, as CSV."""
    good = np.flatnonzero(done.good)
    starts, frame_starts = first_rows(plan.length[good]), first_rows(plan.n_frames[good])

    def rows(at: int) -> Iterator[tuple[Any, ...]]:
        part = slice(at, at + PART)
        indices = good[part]
        records = [plan.records[index] for index in indices.tolist()]
        columns: dict[str, Iterable[Any]] = {
            **{
                name: map(attrgetter(name), records)
                for name in ("sequence", "subject", "emotion", "label", "fold", "onset")
            },
            "n_frames": plan.n_frames[indices].tolist(),
            "start": starts[part].tolist(),
            "length": plan.length[indices].tolist(),
            "frame_start": frame_starts[part].tolist(),
            **{name: _cells(done.rows[name][indices]) for name in FOUND},
            "folder": plan.folders(indices.tolist()),
        }
        return zip(*(columns[name] for name in names), strict=True)

    names = [*TABLE_DTYPES, *ADDED_DTYPES]
    every = chain.from_iterable(map(rows, _cuts(len(good))))
    yield from table_parts(names, every, quoted=_returns_in(plan, good.tolist()))


def quarantine_parts(plan: Plan, done: Finished) -> Iterator[bytes]:
    """Yield a finished store's table of the sequences that were left out, as CSV."""
    indices = sorted(done.reasons)
    folders = zip(indices, plan.folders(indices), strict=True)
    left_out = [(plan.records[index].sequence, done.reasons[index], folder) for index, folder in folders]
    quoted = has_returns(chain.from_iterable(left_out))
    yield from table_parts(("sequence", "reason", "folder"), left_out, quoted=quoted)


def checksums_parts(plan: Plan, done: Finished) -> Iterator[bytes]:
    """Yield a finished store's table of checksums, as CSV: one row per good sequence and array."""
    yield b"sequence,array,crc32\n"
    good = np.flatnonzero(done.good)
    for at in _cuts(len(good)):
        indices = good[at : at + PART].tolist()
        sums = done.rows["crc32"][indices].tolist()
        # Ids, names and digits: nothing that a CSV file would quote.
        yield "".join(
            f"{plan.records[index].sequence},{name},{crc32:08x}\n"
            for index, values in zip(indices, sums, strict=True)
            for name, crc32 in zip(done.arrays, values, strict=True)
        ).encode()


def _returns_in(plan: Plan, indices: Sequence[int]) -> bool:
    """Return whether a text in sequences' rows holds a carriage return; ids never do."""
    records = [plan.records[index] for index in indices]
    texts = chain.from_iterable((record.subject, record.label, record.fold) for record in records)
    # A folder below the root is a part of its path.
    return has_returns(texts) or (has_returns(record.path for record in records) and has_returns(plan.folders(indices)))


def _cells(column: NDArray[Any]) -> list[Any]:
    """Return numbers as Python's, None for NaN."""
    cells = column.tolist()
    return [None if cell != cell else cell for cell in cells] if column.dtype.kind == "f" else cells


def _cuts(n: int) -> range:
    """Return where parts begin; one part where there is nothing."""
    return range(0, max(n, 1), PART)


def finished_entries(store: Store) -> Iterator[dict[str, Any]]:
    """Yield the journal's entries that a finished store was closed with."""
    sums: dict[str, dict[str, str]] = {}
    for sequence, name, crc32 in store.checksums[["sequence", "array", "crc32"]].itertuples(index=False):
        sums.setdefault(sequence, {})[name] = crc32
    for row in store.table.to_dict("records"):
        found = {column: row[column] for column in FOUND}
        yield {"sequence": row["sequence"], "row": found, "crc32": sums.get(row["sequence"], {})}
    for row in store.quarantine.to_dict("records"):
        yield {"sequence": row["sequence"], "reason": row["reason"]}
