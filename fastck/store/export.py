"""A finished store in the formats of larger systems: one Zarr group, or sharded TFRecord or Parquet files."""

import json
import shutil
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fastck.config import ExportFormat, check_choice
from fastck.messages import Progress
from fastck.outputs import new_folder
from fastck.store.reader import BOXES, SEQUENCES, Store

CHUNK_BYTES = 2**20  # a reader that takes one sequence should not have to inflate much more
SHARD_CHUNKS = 64  # chunks per file: object stores and parallel file systems want few large ones
INDEX = "index.json"
# Columns that say where rows lie in the store's own arrays, and mean nothing outside of it.
PLACES = ("start", "frame_start")
GROUP_BYTES = 2**25  # of Parquet's row groups: what a reader has to hold at once


def export_store(
    store: Store,
    out: str | Path,
    *,
    to: ExportFormat,
    shards: int = 16,
    on_progress: Callable[[Progress], None] | None = None,
) -> Path:
    """Write a store's features and table in another format.

    Parameters
    ----------
    store : Store
    out : path-like
        Folder to write; must not exist. It appears when it is complete.
    to : {"zarr", "tfrecord", "parquet"}
        "zarr" (extra `zarr`): a Zarr 3 group with one sharded, compressed array per feature and one of "boxes", rows as
        in the store; the manifest is in its attributes, ``sequences.csv`` beside. "tfrecord" (extra `train`): one
        ``tf.train.Example`` per sequence with the keys sequence, subject, emotion (-1 for none), label (an emotion's
        name or a table's own text, empty for none), fold (empty for none), onset (1 for whole sequences), length, and
        the raw bytes of each feature, whose row shapes and dtypes stand in ``index.json``. "parquet" (extra `parquet`):
        one row per sequence with the columns of the store's table, "boxes" and each feature as nested lists (step by
        step); the manifest is in the schema's metadata under "fastck". Masks are packed in all formats, as in the
        store.
    shards : int
        Number of TFRecord or Parquet files (no more than sequences); not used for Zarr.
    on_progress : callable, optional
        Called with a `Progress`: arrays of Zarr, sequences of the others.

    Returns
    -------
    out : Path

    Raises
    ------
    ValueError
        If `out` exists, an option is wrong, or the format's library is not installed.
    """
    check_choice("to", to, ExportFormat)
    if shards < 1:
        raise ValueError(f"shards must be at least 1, got {shards}")
    out = Path(out)
    report = on_progress or (lambda _: None)
    with new_folder(out) as temporary:
        if to == "zarr":
            _write_zarr(store, temporary, report)
        elif to == "tfrecord":
            _write_tfrecord(store, temporary, shards, report)
        else:
            _write_parquet(store, temporary, shards, report)
        if to != "parquet":
            # Parquet has the table's columns in every file, and its readers take a folder of nothing else.
            shutil.copyfile(store.path / SEQUENCES, temporary / SEQUENCES)
    return out


def _write_zarr(store: Store, out: Path, report: Callable[[Progress], None]) -> None:
    try:
        import zarr
    except ImportError:
        raise ValueError('export to zarr needs Zarr: install it with pip install "fastck[zarr]"') from None
    group = zarr.open_group(out, mode="w", attributes={"fastck": store.manifest})
    names = ("boxes", *store.features)
    for done, name in enumerate(names):
        report(Progress(done=done, total=len(names)))
        source = store.boxes if name == "boxes" else store.feature(name)
        rows = max(CHUNK_BYTES // max(source[:1].nbytes, 1), 1)
        chunk, shard = (rows, *source.shape[1:]), (rows * SHARD_CHUNKS, *source.shape[1:])
        array = group.create_array(name, shape=source.shape, dtype=source.dtype, chunks=chunk, shards=shard)
        for start in range(0, len(source), shard[0]):
            array[start : start + shard[0]] = source[start : start + shard[0]]
    report(Progress(done=len(names), total=len(names)))


def _write_tfrecord(store: Store, out: Path, shards: int, report: Callable[[Progress], None]) -> None:
    try:
        import tensorflow as tf
    except ImportError:
        raise ValueError('export to tfrecord needs TensorFlow: install it with pip install "fastck[train]"') from None

    def data(value: bytes) -> Any:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    def text(value: str) -> Any:
        # A name may be bytes that are no text.
        return data(value.encode(errors="surrogateescape"))

    def number(value: int) -> Any:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))

    rows = list(store.table.itertuples(index=False))
    arrays = {name: store.feature(name) for name in store.features}
    files = [f"fastck-{shard:05d}-of-{shards:05d}.tfrecord" for shard in range(shards)]
    done = 0
    for file, part in zip(files, np.array_split(np.arange(len(rows)), shards), strict=True):
        with tf.io.TFRecordWriter(str(out / file)) as writer:
            for row in (rows[position] for position in part):
                keys = {
                    "sequence": text(row.sequence),
                    "subject": text(row.subject),
                    "emotion": number(-1 if pd.isna(row.emotion) else int(row.emotion)),
                    "length": number(row.length),
                    "label": text(row.label),
                    "fold": text(row.fold),
                    "onset": number(1 if pd.isna(row.onset) else int(row.onset)),
                }
                for name, array in arrays.items():
                    keys[name] = data(np.ascontiguousarray(array[row.start : row.start + row.length]).tobytes())
                writer.write(tf.train.Example(features=tf.train.Features(feature=keys)).SerializeToString())
                done += 1
                report(Progress(done=done, total=len(rows)))
    layout = {name: {"row_shape": list(array.shape[1:]), "dtype": array.dtype.str} for name, array in arrays.items()}
    index = {"files": files, "features": layout, "side": store.config.faces.side, "manifest": store.manifest}
    (out / INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")


# -- Parquet ----------------------------------------------------------------------------------------------------------
def _write_parquet(store: Store, out: Path, shards: int, report: Callable[[Progress], None]) -> None:
    """Write a store's sequences to `shards` files in the folder `out`, or to one for each where there are fewer."""
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
