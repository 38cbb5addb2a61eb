"""The same bytes from a Dask cluster of real worker processes, one of them killed midway, and the exports."""

import json
import os
import signal
import sys
import threading

import numpy as np
import pandas as pd
import pytest

import fastck
from fastck.cluster import dask_cluster
from fastck.store.export import export_store
from fastck.store.reader import open_store
from tests.helpers.stores import assert_same_store
from tests.helpers.tinystore import make_store, make_table

OPTIONS = {"preset": "stable", "features": ("projection", "mask")}


@pytest.fixture(scope="module")
def here(rendered, tmp_path_factory):
    return fastck.preprocess(rendered, tmp_path_factory.mktemp("here") / "store", **OPTIONS)


@pytest.fixture
def cluster(own_cache):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        yield cluster


@pytest.mark.slow
def test_two_worker_processes_one_killed_midway(rendered, here, cluster, tmp_path):
    with dask_cluster(cluster.scheduler_address):
        whole = fastck.preprocess(rendered, tmp_path / "whole", box_cache=False, **OPTIONS)
    assert_same_store(whole.path, here.path)

    victim = next(iter(cluster.workers.values())).pid
    killed = threading.Event()

    def kill(progress):
        if progress.done >= 1 and not killed.is_set():
            killed.set()
            os.kill(victim, signal.SIGKILL)

    with dask_cluster(cluster.scheduler_address):
        store = fastck.preprocess(rendered, tmp_path / "killed", box_cache=False, on_progress=kill, **OPTIONS)
    assert killed.is_set()
    assert_same_store(store.path, here.path)


def test_no_scheduler_at_the_address(monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("fastck.cluster.CONNECT_SECONDS", 0.5)
    with (
        pytest.raises(OSError, match=r"no Dask scheduler answers at tcp://127.0.0.1:9"),
        dask_cluster("tcp://127.0.0.1:9"),
    ):
        pass


def test_zarr_export_is_read_by_zarr(here, tmp_path):
    zarr = pytest.importorskip("zarr")
    out = export_store(here, tmp_path / "out.zarr", to="zarr")
    group = zarr.open_group(out, mode="r")
    for name in here.features:
        np.testing.assert_array_equal(group[name][:], here.feature(name))
    np.testing.assert_array_equal(group["boxes"][:], here.boxes)
    assert group.attrs["fastck"]["config_hash"] == here.manifest["config_hash"]
    assert len(pd.read_csv(out / "sequences.csv")) == len(here.table)


def test_tfrecord_export_is_read_by_tensorflow(here, tmp_path):
    tf = pytest.importorskip("tensorflow")
    out = export_store(here, tmp_path / "records", to="tfrecord", shards=4)
    index = json.loads((out / "index.json").read_text())
    assert len(index["files"]) == 4
    seen = []
    for record in tf.data.TFRecordDataset([str(out / name) for name in index["files"]]):
        example = tf.train.Example.FromString(record.numpy()).features.feature
        sequence = example["sequence"].bytes_list.value[0].decode()
        row = here.row(sequence)
        assert example["emotion"].int64_list.value[0] == row.emotion
        for name, layout in index["features"].items():
            rows = np.frombuffer(example[name].bytes_list.value[0], layout["dtype"]).reshape(-1, *layout["row_shape"])
            np.testing.assert_array_equal(rows, here.feature(name)[row.start : row.start + row.length])
        seen.append(sequence)
    assert seen == list(here.table["sequence"])


def test_tfrecord_export_carries_a_table_s_labels_and_folds(tmp_path):
    tf = pytest.importorskip("tensorflow")
    table = make_table(subjects=2, emotions=(1, 5), frames=(2, 3))
    added = {
        "label": ["bored", "happy", "", "très X"],
        "fold": ["a", "b", "", "2"],
        "onset": pd.array([3, pd.NA, 1, 7], "Int64"),
    }
    store = make_store(tmp_path / "store", table)
    text = table.assign(emotion=pd.array([pd.NA, 5, pd.NA, pd.NA], "Int64"), **added).to_csv(index=False)
    (store.path / "sequences.csv").write_bytes(text.encode().replace(b"X", b"\xff"))
    out = export_store(open_store(store.path), tmp_path / "records", to="tfrecord", shards=1)
    found = []
    for record in tf.data.TFRecordDataset([str(path) for path in out.glob("*.tfrecord")]):
        example = tf.train.Example.FromString(record.numpy()).features.feature
        texts = [example[name].bytes_list.value[0] for name in ("label", "fold")]
        found.append((*texts, *(example[name].int64_list.value[0] for name in ("onset", "emotion"))))
    assert found == [
        (b"bored", b"a", 3, -1),
        (b"happy", b"b", 1, 5),
        (b"", b"", 1, -1),
        ("très ".encode() + b"\xff", b"2", 7, -1),
    ]


def test_exports_refuse_what_they_cannot_do(here, tmp_path):
    with pytest.raises(ValueError, match="exists already"):
        export_store(here, tmp_path, to="zarr")
    with pytest.raises(ValueError, match="to must be one of zarr, tfrecord, parquet"):
        export_store(here, tmp_path / "x", to="hdf5")
    with pytest.raises(ValueError, match="shards must be at least 1"):
        export_store(here, tmp_path / "x", to="tfrecord", shards=0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("to", "library"), [("zarr", "zarr"), ("tfrecord", "tensorflow"), ("parquet", "pyarrow")])
def test_exports_name_the_library_that_is_missing_and_leave_nothing(here, tmp_path, monkeypatch, to, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ValueError, match=rf"(?i)export to {to} needs {library}: install it with pip"):
        export_store(here, tmp_path / "x", to=to)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_export_leaves_nothing(here, tmp_path):
    pytest.importorskip("zarr")

    def stop(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_store(here, tmp_path / "x", to="zarr", on_progress=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("to", ["zarr", "tfrecord", "parquet"])
def test_an_export_leaves_other_folders_alone(here, tmp_path, to):
    pytest.importorskip({"zarr": "zarr", "tfrecord": "tensorflow", "parquet": "pyarrow"}[to])
    own = tmp_path / "out.tmp" / "thesis.txt"
    own.parent.mkdir()
    own.write_text("years of work")
    export_store(here, tmp_path / "out", to=to)
    assert own.read_text() == "years of work"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "out.tmp"]


def test_a_scheduler_needs_dask(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ValueError, match=r"--scheduler needs Dask"), dask_cluster("tcp://127.0.0.1:9"):
        pass
