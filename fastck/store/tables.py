"""A store's tables: what they are made from when it is closed, and what they say of it when it is opened again."""

import csv
from collections.abc import Sequence
from typing import Any

import pandas as pd

from fastck.store.plan import PlannedSequence
from fastck.store.reader import ADDED_DTYPES, CHECKSUMS, QUARANTINE, SEQUENCES, TABLE_DTYPES, Store, plain_text

# Columns that the plan settles, those of a sequence's place apart.
PLANNED = ("sequence", "subject", "emotion", "label", "fold", "n_frames", "onset", "folder")
# Columns that a worker finds out.
FOUND = ("height", "width", "n_missed", "n_box_changes", "motion", "motion_at_box_changes")


def table_bytes(table: pd.DataFrame) -> bytes:
    """Return a table as CSV, the same bytes for the same values."""
    # The csv module leaves a lone carriage return unquoted, which would end a line on reading.
    returns = any("\r" in str(value) for value in table.select_dtypes(exclude="number").to_numpy().flat)
    text = table.to_csv(
        index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL
    )
    return text.encode(errors="surrogateescape")  # a folder's name may be bytes that are no text


def store_tables(
    plan: Sequence[PlannedSequence], done: dict[str, dict[str, Any]], arrays: Sequence[str]
) -> dict[str, pd.DataFrame]:
    """Return a finished store's tables by file name, from the journal's entries of all sequences."""
    rows, sums, left_out = [], [], []
    start = frame_start = 0
    for planned in plan:
        entry = done[planned.sequence]
        if "reason" in entry:
            left_out.append((planned.sequence, entry["reason"], planned.folder))
            continue
        known = {name: getattr(planned, name) for name in PLANNED}
        place = {"start": start, "length": planned.length, "frame_start": frame_start}
        rows.append({**known, **place, **entry["row"]})
        sums += [(planned.sequence, name, entry["crc32"][name]) for name in arrays]
        start, frame_start = start + planned.length, frame_start + planned.n_frames
    with plain_text():
        return {
            SEQUENCES: pd.DataFrame(rows, columns=[*TABLE_DTYPES, *ADDED_DTYPES]).astype(TABLE_DTYPES | ADDED_DTYPES),
            QUARANTINE: pd.DataFrame(left_out, columns=["sequence", "reason", "folder"]),
            CHECKSUMS: pd.DataFrame(sums, columns=["sequence", "array", "crc32"]),
        }


def finished_entries(store: Store) -> list[dict[str, Any]]:
    """Return the journal's entries that a finished store was closed with."""
    sums: dict[str, dict[str, str]] = {}
    for sequence, name, crc32 in store.checksums[["sequence", "array", "crc32"]].itertuples(index=False):
        sums.setdefault(sequence, {})[name] = crc32
    entries: list[dict[str, Any]] = []
    for row in store.table.to_dict("records"):
        found = {column: row[column] for column in FOUND}
        entries.append({"sequence": row["sequence"], "row": found, "crc32": sums.get(row["sequence"], {})})
    for row in store.quarantine.to_dict("records"):
        entries.append({"sequence": row["sequence"], "reason": row["reason"]})
    return entries
