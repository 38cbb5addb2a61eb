"""A store as Parquet, read back with what others read it with: pandas, PyArrow, and datasets where it is installed."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fastck.messages import Progress
from fastck.store import export
from fastck.store.export import export_store
from fastck.store.reader import Store
from tests.helpers.tinystore import make_store, make_table

pytest.importorskip("pyarrow")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    table = make_table(subjects=5)
    table.loc[3, "emotion"] = pd.NA
    path = tmp_path_factory.mktemp("parquet") / "store"
    made = make_store(path, table.assign(folder="S"), side=21, flow=True)
    # A byte that is no UTF-8, as a folder's name may have it.
    text = (path / "sequences.csv").read_bytes().split(b"\n")
    text[5] = text[5][:-1] + b"\xff"
    (path / "sequences.csv").write_bytes(b"\n".join(text))
    boxes = np.arange(4 * table["n_frames"].sum(), dtype=np.int32).reshape(-1, 4)
    np.save(path / "boxes.npy", boxes)
    manifest = made.manifest
    manifest["arrays"]["boxes"] = {"shape": boxes.shape, "dtype": "int32"}
    return Store(path, manifest)


def stacked(value: np.ndarray) -> np.ndarray:
    """Pandas' arrays of arrays as one array."""
    return np.stack([stacked(part) for part in value]) if value.dtype == object else value


@pytest.mark.parametrize("group_bytes", [2**25, 30_000])
def test_pandas_reads_a_row_per_sequence(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group_bytes: int
):
    from pyarrow import parquet as arrow

    monkeypatch.setattr(export, "GROUP_BYTES", group_bytes)
    told: list[Progress] = []
    out = export_store(store, tmp_path / "out", to="parquet", shards=3, on_progress=told.append)
    files = sorted(path.name for path in out.iterdir())
    assert files == [f"fastck-{n:05d}-of-00003.parquet" for n in range(3)]
    groups = sum(arrow.ParquetFile(out / name).num_row_groups for name in files)
    assert groups == 3 if group_bytes == 2**25 else groups > 6
    assert [step.done for step in told][-1] == told[-1].total == len(store.table)
    table = pd.read_parquet(out)
    assert table["sequence"].to_list() == store.table["sequence"].to_list()
    for column in ("subject", "label", "n_frames", "length", "motion"):
        assert table[column].to_list() == store.table[column].to_list(), column
    assert pd.isna(table["emotion"][3])
    assert table["emotion"].drop(3).to_list() == store.table["emotion"].drop(3).to_list()
    assert table["folder"][4] == r"\xff"
    for position in (0, 7, len(table) - 1):
        row, own = table.iloc[position], store.row(table["sequence"][position])
        for name in store.features:
            expected = store.feature(name)[own.start : own.start + own.length]
            got = stacked(row[name])
            np.testing.assert_array_equal(got, expected)
            assert got.dtype == expected.dtype
        np.testing.assert_array_equal(stacked(row["boxes"]), store.boxes[own.frame_start :][: own.n_frames])
    metadata = arrow.read_schema(out / files[0]).metadata
    assert json.loads(metadata[b"fastck"])["config_hash"] == store.manifest["config_hash"]


def test_datasets_reads_the_folder(store: Store, tmp_path: Path):
    datasets = pytest.importorskip("datasets")
    out = export_store(store, tmp_path / "out", to="parquet", shards=2)
    loaded = datasets.load_dataset(str(out), split="train", cache_dir=str(tmp_path / "cache")).with_format("numpy")
    assert len(loaded) == len(store.table)
    for position in (0, 9):
        row = loaded[position]
        np.testing.assert_array_equal(row["projection"], store.sequence(str(row["sequence"]), "projection"))


def test_no_more_files_than_sequences(store: Store, tmp_path: Path):
    out = export_store(store, tmp_path / "out", to="parquet", shards=1000)
    assert len(list(out.iterdir())) == len(store.table)
