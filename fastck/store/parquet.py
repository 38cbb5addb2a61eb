"""A store as Parquet files: one row per sequence, its steps as nested lists."""

import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastck.messages import Progress
from fastck.store.reader import BOXES, Store

# Columns that say where rows lie in the store's own arrays, and mean nothing outside of it.
PLACES = ("start", "frame_start")
GROUP_BYTES = 2**25  # of a row group: what a reader has to hold at once


def write_parquet(store: Store, out: Path, shards: int, report: Callable[[Progress], None]) -> None:
    """Write a store's sequences to `shards` files in the folder `out`, or to one for each where there are fewer.

    Raises
    ------
    ValueError
        If PyArrow is not installed.
    """
    try:
        from pyarrow import parquet
    except ImportError:
        raise ValueError('export to parquet needs PyArrow: install it with pip install "fastck[parquet]"') from None
    n = len(store.table)
    shards = max(min(shards, n), 1)
    done = 0
    for shard, part in enumerate(np.array_split(np.arange(n), shards)):
        file = out / f"fastck-{shard:05d}-of-{shards:05d}.parquet"
        bounds = list(_groups(store, part)) or [slice(0, 0)]
        first = _arrow_table(store, bounds[0])
        with parquet.ParquetWriter(file, first.schema, compression="zstd") as writer:
            for number, rows in enumerate(bounds):
                writer.write_table(_arrow_table(store, rows) if number else first)
                done += rows.stop - rows.start
                report(Progress(done=done, total=n))


def _groups(store: Store, part: NDArray[np.int64]) -> Iterator[slice]:
    """Cut successive sequences into groups of about GROUP_BYTES each."""
    if not len(part):
        return
    bytes_a_step = sum(store.feature(name)[:1].nbytes for name in store.features)
    sizes = store.table["length"].to_numpy()[part] * bytes_a_step
    number = (np.cumsum(sizes) - sizes) // GROUP_BYTES
    edges = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), len(part)]
    for low, high in pairwise(edges):
        yield slice(int(part[0]) + low, int(part[0]) + high)


def _arrow_table(store: Store, rows: slice) -> Any:
    """Return some sequences as an Arrow table: the store's columns, then the frames' boxes and the features."""
    import pyarrow as pa

    table = store.table.iloc[rows]
    columns: dict[str, Any] = {}
    for name in table.columns.drop(list(PLACES)):
        values = table[name]
        if name in ("emotion", "onset"):
            columns[name] = pa.array(values.to_numpy("float64", na_value=np.nan), pa.float64(), from_pandas=True).cast(
                "int64"
            )
        elif values.dtype.kind in "if":
            columns[name] = pa.array(values.to_numpy())
        else:
            # A folder's name may be bytes that are no text, which Parquet cannot hold.
            columns[name] = pa.array([_as_text(value) for value in values], pa.string())
    columns[BOXES] = _lists(store.boxes, table["frame_start"].to_numpy(), table["n_frames"].to_numpy())
    for name in store.features:
        columns[name] = _lists(store.feature(name), table["start"].to_numpy(), table["length"].to_numpy())
    return pa.table(columns).replace_schema_metadata({"fastck": json.dumps(store.manifest)})


def _as_text(value: str) -> str:
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _lists(array: NDArray[Any], start: NDArray[np.int64], length: NDArray[np.int64]) -> Any:
    """Return rows that follow one another as an Arrow array: per sequence a list of rows, each as nested lists."""
    import pyarrow as pa

    begin, total = (int(start[0]) if len(start) else 0), int(length.sum())
    rows = np.ascontiguousarray(array[begin : begin + total])
    nested = pa.array(rows.reshape(-1))
    for size in reversed(rows.shape[1:]):
        nested = pa.ListArray.from_arrays(np.arange(0, len(nested) + 1, size, dtype=np.int32), nested)
    return pa.ListArray.from_arrays(np.concatenate([[0], np.cumsum(length)]).astype(np.int32), nested)
