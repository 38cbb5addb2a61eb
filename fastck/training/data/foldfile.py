"""Folds as a file that others can repeat: a CSV of sequence, subject and fold."""

import hashlib
import re
from pathlib import Path

import pandas as pd

from fastck.config import Layout, Until
from fastck.dataset.csvfile import csv_rows
from fastck.dataset.layouts import scan
from fastck.dataset.patterns import Patterns
from fastck.messages import one_line
from fastck.store.builder import JOURNAL
from fastck.store.reader import MANIFEST, open_store
from fastck.training.data.folds import fold_rows
from fastck.training.settings.classes import with_classes
from fastck.training.settings.config import TrainConfig

COLUMNS = ("sequence", "subject", "fold")
# pandas writes a column with empty cells as 2.0.
_WHOLE = re.compile(r"-?[0-9]{1,15}(\.0*)?")


def is_store(source: str | Path) -> bool:
    """Return whether a folder is a store, finished or not, and no data set."""
    return any((Path(source) / name).exists() for name in (MANIFEST, JOURNAL))


def read_listing(
    source: str | Path,
    *,
    labels: str | Path | None = None,
    layout: Layout | None = None,
    until: Until = "apex",
    patterns: Patterns | None = None,
) -> pd.DataFrame:
    """List every sequence of a data set, or of the data set that a store was made of, quarantined ones too.

    Parameters
    ----------
    source : path-like
        A store, or a data set's folder.
    labels, layout, until, patterns
        Of a data set's folder, as for `fastck.scan`.

    Returns
    -------
    listing : DataFrame
        sequence, subject, emotion (nullable), label, fold, n_frames, length (steps).

    Raises
    ------
    ValueError, OSError
        If it is neither, or cannot be read.
    """
    if is_store(source):
        return open_store(source).listing
    rows = [
        (
            record.sequence,
            record.subject,
            record.emotion,
            record.label,
            record.fold,
            record.n_frames,
            max(record.n_frames - 1, 0),
        )
        for record in scan(source, labels=labels, layout=layout, until=until, patterns=patterns).records
    ]
    columns = ["sequence", "subject", "emotion", "label", "fold", "n_frames", "length"]
    table = pd.DataFrame(rows, columns=columns)
    return table.astype({"emotion": "Int64"})


def assign_folds(listing: pd.DataFrame, config: TrainConfig) -> pd.DataFrame:
    """Assign each labelled sequence of a listing to the fold that tests it.

    Parameters
    ----------
    listing : DataFrame
        Of `read_listing`, or a store's.
    config : TrainConfig
        `protocol`, `folds` and `seed` are used.

    Returns
    -------
    folds : DataFrame
        sequence, subject, fold (from 1), sorted by sequence.

    Raises
    ------
    ValueError
        If the protocol has no folds, nothing is labelled, or there are too few subjects.
    """
    if config.protocol == "random":
        raise ValueError("random is a single split and has no folds; choose another protocol")
    listing = with_classes(listing)
    labelled = listing[listing["label"] != ""]
    labelled = labelled.sort_values("sequence").reset_index(drop=True)
    if labelled.empty:
        raise ValueError("no sequence is labelled: there is nothing to assign to folds")
    folds = pd.Series(0, index=labelled.index)
    for number, rows in enumerate(fold_rows(listing, labelled, config, config.seed), start=1):
        folds.iloc[rows] = number
    return labelled.assign(fold=folds)[list(COLUMNS)]


def read_folds(path: str | Path) -> pd.DataFrame:
    """Read a file of folds.

    Parameters
    ----------
    path : path-like
        CSV with the columns sequence and fold; others are left alone.

    Returns
    -------
    folds : DataFrame
        sequence, fold (a whole number of at least 1).

    Raises
    ------
    ValueError
        If a column is missing, a quote is stray, a fold is no whole number from 1, or a sequence stands there twice.
    OSError
        If the file cannot be read.
    """
    rows = csv_rows(path)
    _, columns = next(rows)
    if not {"sequence", "fold"} <= set(columns):
        got = ", ".join(map(one_line, columns)) or "none"
        raise ValueError(f"{path} must have the columns sequence and fold, got {got}")
    found = []
    for line, cells in rows:
        row = dict(zip(columns, cells, strict=False))
        text = row.get("fold", "").strip()
        if not _WHOLE.fullmatch(text):
            raise ValueError(
                f"{path} line {line} must have the columns sequence and fold, a whole number, got {text!r}"
            )
        found.append((row["sequence"], int(float(text))))
    table = pd.DataFrame(found, columns=["sequence", "fold"]).astype({"sequence": "str", "fold": "int64"})
    if (table["fold"] < 1).any():
        raise ValueError(f"{path}: folds count from 1, got {table['fold'].min()}")
    # An id is NFC in a store; macOS writes names in NFD.
    table["sequence"] = table["sequence"].str.normalize("NFC")
    twice = table.loc[table["sequence"].duplicated(), "sequence"]
    if len(twice):
        raise ValueError(f"{path} names {len(twice)} sequences twice, for example {twice.iloc[0]!r}")
    return table


def file_digest(path: str | Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
