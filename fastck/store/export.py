"""A finished store in the formats of larger systems: one Zarr group, or sharded TFRecord or Parquet files."""

import json
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fastck.config import ExportFormat, check_choice
from fastck.messages import Progress
from fastck.store.parquet import write_parquet
from fastck.store.reader import SEQUENCES, Store

CHUNK_BYTES = 2**20  # a reader that takes one sequence should not have to inflate much more
SHARD_CHUNKS = 64  # chunks per file: object stores and parallel file systems want few large ones
INDEX = "index.json"


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
    if out.exists():
        raise ValueError(f"{out} exists already: name a new folder")
    report = on_progress or (lambda _: None)
    # A name that nobody else has: a folder "OUT.tmp" may be somebody's own.
    temporary = out.with_name(f"{out.name}.{uuid.uuid4().hex}.tmp")
    temporary.mkdir(parents=True)
    try:
        if to == "zarr":
            _write_zarr(store, temporary, report)
        elif to == "tfrecord":
            _write_tfrecord(store, temporary, shards, report)
        else:
            write_parquet(store, temporary, shards, report)
        if to != "parquet":
            # Parquet has the table's columns in every file, and its readers take a folder of nothing else.
            shutil.copyfile(store.path / SEQUENCES, temporary / SEQUENCES)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return temporary.rename(out)


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

    def data(*values: bytes) -> Any:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))

    def number(*values: int) -> Any:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    rows = list(store.table.itertuples(index=False))
    arrays = {name: store.feature(name) for name in store.features}
    files = [f"fastck-{shard:05d}-of-{shards:05d}.tfrecord" for shard in range(shards)]
    done = 0
    for file, part in zip(files, np.array_split(np.arange(len(rows)), shards), strict=True):
        with tf.io.TFRecordWriter(str(out / file)) as writer:
            for row in (rows[position] for position in part):
                keys = {
                    "sequence": data(row.sequence.encode()),
                    "subject": data(row.subject.encode()),
                    "emotion": number(-1 if pd.isna(row.emotion) else int(row.emotion)),
                    "length": number(row.length),
                    "label": data(row.label.encode()),
                    "fold": data(row.fold.encode()),
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
