"""A store's tables: what they are made from when it is closed, and what they say of it when it is opened again."""

import csv
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any

import numpy as np
import pandas as pd

from fastck.store.finished import FOUND, Finished
from fastck.store.plan import Plan, first_rows
from fastck.store.reader import ADDED_DTYPES, TABLE_DTYPES, Store, plain_text

PART = 20_000  # sequences whose lines are made at once


def table_parts(tables: Iterable[pd.DataFrame], *, quoted: bool = False) -> Iterator[bytes]:
    """Yield a table, given in parts, as CSV, the same bytes for the same values however it is divided.

    Parameters
    ----------
    tables : iterable of DataFrame
        At least one, which may be empty.
    quoted : bool
        Quote every text; see `has_returns`.
    """
    header = True
    for table in tables:
        text = table.to_csv(
            index=False,
            header=header,
            lineterminator="\n",
            quoting=csv.QUOTE_NONNUMERIC if quoted else csv.QUOTE_MINIMAL,
        )
        # A folder's name may be bytes that are no text.
        yield text.encode(errors="surrogateescape")
        header = False


def has_returns(texts: Iterable[str]) -> bool:
    """Return whether a text holds a carriage return, which the csv module does not quote and which ends a line."""
    rest = iter(texts)
    while some := list(islice(rest, PART)):
        if "\r" in "".join(some):
            return True
    return False


def inputs_parts(plan: Plan) -> Iterator[bytes]:
    """Yield the table of what a store's input is known by, as CSV."""
    texts = [plan.folders(range(len(plan)))]
    texts += [[getattr(record, name) for record in plan.records] for name in ("subject", "label", "fold")]
    yield from table_parts(_divided(plan.inputs()), quoted=has_returns(chain.from_iterable(texts)))


def sequences_parts(plan: Plan, done: Finished) -> Iterator[bytes]:
    """Yield a finished store's table of good sequences, as CSV."""
    good = np.flatnonzero(done.good)
    records = [plan.records[place] for place in good.tolist()]
    columns: dict[str, Any] = {
        "sequence": [record.sequence for record in records],
        "subject": [record.subject for record in records],
        "emotion": pd.array([record.emotion for record in records], "Int64"),
        "n_frames": plan.n_frames[good],
        "start": first_rows(plan.length[good]),
        "length": plan.length[good],
        "frame_start": first_rows(plan.n_frames[good]),
        **{name: done.rows[name][good] for name in FOUND},
        "folder": plan.folders(good.tolist()),
        "label": [record.label for record in records],
        "fold": [record.fold for record in records],
        "onset": pd.array([record.onset for record in records], "Int64"),
    }
    with plain_text():
        table = pd.DataFrame(columns, columns=[*TABLE_DTYPES, *ADDED_DTYPES]).astype(TABLE_DTYPES | ADDED_DTYPES)
    texts = chain.from_iterable(columns[name] for name in ("subject", "folder", "label", "fold"))
    yield from table_parts(_divided(table), quoted=has_returns(texts))


def quarantine_parts(plan: Plan, done: Finished) -> Iterator[bytes]:
    """Yield a finished store's table of the sequences that were left out, as CSV."""
    places = sorted(done.reasons)
    folders = zip(places, plan.folders(places), strict=True)
    left_out = [(plan.records[place].sequence, done.reasons[place], folder) for place, folder in folders]
    with plain_text():
        table = pd.DataFrame(left_out, columns=["sequence", "reason", "folder"])
    yield from table_parts(_divided(table), quoted=has_returns(chain.from_iterable(left_out)))


def checksums_parts(plan: Plan, done: Finished) -> Iterator[bytes]:
    """Yield a finished store's table of checksums, as CSV: one row per good sequence and array."""
    yield b"sequence,array,crc32\n"
    good = np.flatnonzero(done.good)
    for at in _cuts(len(good)):
        places = good[at : at + PART].tolist()
        sums = done.rows["crc32"][places].tolist()
        # Ids, names and digits: nothing that a CSV file would quote.
        yield "".join(
            f"{plan.records[place].sequence},{name},{crc32:08x}\n"
            for place, own in zip(places, sums, strict=True)
            for name, crc32 in zip(done.arrays, own, strict=True)
        ).encode()


def _divided(table: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Yield a table in parts: its text whole would take as much memory again."""
    return (table.iloc[at : at + PART] for at in _cuts(len(table)))


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
