"""Faults of the machine end a run and cost no sequence; what is quarantined can be looked at again."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fastck
from fastck.pipeline import dispatch, frames
from fastck.pipeline.worker import check_in_place
from fastck.store.arrays import StoreArrays
from tests.helpers.stores import assert_same_store

OPTIONS = {"features": ("projection", "mask"), "n_jobs": 1}


@pytest.fixture(scope="module")
def whole(rendered, tmp_path_factory):
    return fastck.preprocess(rendered, tmp_path_factory.mktemp("whole") / "store", **OPTIONS).path


@pytest.fixture
def dataset(rendered, tmp_path):
    return shutil.copytree(rendered, tmp_path / "set")


def disturb(monkeypatch, frame: Path, action) -> None:
    """Let something happen when a frame is read; the action may raise."""
    real = frames.read_gray

    def read(path):
        if path == frame:
            action()
        return real(path)

    monkeypatch.setattr(frames, "read_gray", read)


@pytest.mark.parametrize("way", ["folder", "mount point", "link", "subject"])
def test_a_disk_that_goes_midway_ends_the_run_and_can_be_brought_back(dataset, whole, tmp_path, monkeypatch, way):
    images, away = dataset / "cohn-kanade-images", tmp_path / "away"
    victim = fastck.scan(dataset).records[2].frames[3]
    if way == "link":
        images.rename(tmp_path / "disk")
        images.symlink_to(tmp_path / "disk")
    place = {"link": tmp_path / "disk", "subject": victim.parent.parent}.get(way, images)

    def unmount():
        place.rename(away)
        if way == "mount point":
            place.mkdir()

    with monkeypatch.context() as patch:
        disturb(patch, victim, unmount)
        with pytest.raises(OSError, match="is gone: bring it back, and run the same command again"):
            fastck.preprocess(dataset, tmp_path / "store", **OPTIONS)
    if way == "mount point":
        place.rmdir()
    away.rename(place)
    seen = []
    store = fastck.preprocess(dataset, tmp_path / "store", on_progress=lambda run: seen.append(run.done), **OPTIONS)
    assert seen[0] == 2
    assert_same_store(store.path, whole)


def test_one_removed_sequence_is_its_own_matter(dataset, tmp_path):
    record = fastck.scan(dataset).records[0]
    check_in_place(record, dataset)
    shutil.rmtree(record.frames[0].parent)
    check_in_place(record, dataset)


@pytest.mark.parametrize("fault", [errno.EMFILE, errno.ESTALE, errno.ENOMEM])
def test_a_fault_of_the_machine_ends_the_run(rendered, whole, tmp_path, monkeypatch, fault):
    victim = fastck.scan(rendered).records[1].frames[0]

    def fail():
        raise OSError(fault, os.strerror(fault), str(victim))

    with monkeypatch.context() as patch:
        disturb(patch, victim, fail)
        with pytest.raises(OSError, match="the machine is at fault, not the sequence: mend it"):
            fastck.preprocess(rendered, tmp_path / "store", box_cache=False, **OPTIONS)
    store = fastck.preprocess(rendered, tmp_path / "store", box_cache=False, **OPTIONS)
    assert_same_store(store.path, whole)


# -- Looking at the quarantine again ----------------------------------------------------------------------------------
@pytest.fixture
def quarantined(dataset, tmp_path):
    """A finished store with two sequences in quarantine; the files are sound again."""
    victims = [fastck.scan(dataset).records[place].frames[2] for place in (1, 3)]
    for victim in victims:
        victim.rename(tmp_path / victim.name)
        shutil.copy2(__file__, victim)
    store = fastck.preprocess(dataset, tmp_path / "store", **OPTIONS)
    assert len(store.quarantine) == 2
    for victim in victims:
        (tmp_path / victim.name).replace(victim)
    return store.path


def test_mended_files_are_taken_up_again(dataset, quarantined, whole):
    with pytest.raises(ValueError, match=r"another input: 2 sequences since changed"):
        fastck.preprocess(dataset, quarantined, **OPTIONS)
    seen = []
    store = fastck.preprocess(
        dataset, quarantined, retry=True, on_progress=lambda run: seen.append(run.done), **OPTIONS
    )
    assert seen == [4, 5, 6]
    assert_same_store(store.path, whole)
    again = []
    fastck.preprocess(dataset, quarantined, retry=True, on_progress=again.append, **OPTIONS)
    assert again == [], "there is nothing left to look at"


def test_a_sound_sequence_may_not_change_meanwhile(dataset, quarantined):
    sound = fastck.scan(dataset).records[0]
    os.utime(sound.frames[0])
    with pytest.raises(ValueError, match=rf"1 sequences since changed \({sound.sequence}\)"):
        fastck.preprocess(dataset, quarantined, retry=True, **OPTIONS)


class Killed(BaseException):
    """Stands for a kill at an exact place."""


@pytest.mark.parametrize("step", [0, 1, 2, 3])
def test_a_retry_that_is_killed_loses_nothing(dataset, quarantined, whole, tmp_path, monkeypatch, step):
    before = shutil.copytree(quarantined, tmp_path / "before")
    real, calls = StoreArrays._replace, iter(range(100))

    def dying(*arguments):
        if next(calls) == step:
            raise Killed
        real(*arguments)

    def die(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(StoreArrays, "_replace", dying)
        patch.setattr(dispatch, "_single_threaded", die)
        with pytest.raises(Killed):
            fastck.preprocess(dataset, quarantined, retry=True, **OPTIONS)
    assert not (quarantined / "manifest.json").exists()
    store = fastck.preprocess(dataset, quarantined, retry=True, **OPTIONS)
    assert_same_store(store.path, whole)
    assert len(fastck.open_store(before).quarantine) == 2


def test_an_unreadable_frame_is_quarantined_and_looked_at_again_in_an_unfinished_store(
    rendered, whole, tmp_path, monkeypatch
):
    victim = fastck.scan(rendered).records[1].frames[0]

    def fail():
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(victim))

    with monkeypatch.context() as patch:
        disturb(patch, victim, fail)
        patch.setattr("fastck.store.builder.StoreBuilder.finish", lambda _: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            fastck.preprocess(rendered, tmp_path / "store", **OPTIONS)
    seen = []
    store = fastck.preprocess(
        rendered, tmp_path / "store", retry=True, on_progress=lambda run: seen.append(run.done), **OPTIONS
    )
    assert seen == [5, 6]
    assert_same_store(store.path, whole)


# -- Workers elsewhere ------------------------------------------------------------------------------------------------
def test_workers_get_absolute_paths(dataset, tmp_path, monkeypatch):
    """A worker on another machine, or of another process, has another working folder."""
    seen, real = [], dispatch.work_batch

    def watched(batch, run, cancellation):
        seen.extend((task, run) for task in batch.tasks)
        return real(batch, run, cancellation)

    monkeypatch.setattr(dispatch, "work_batch", watched)
    monkeypatch.setenv("FASTCK_CACHE_DIR", "kept")
    monkeypatch.chdir(tmp_path)
    store = fastck.preprocess("set", "store", keep_crops=True, **OPTIONS)
    assert store.quarantine.empty
    assert len(seen) == len(store.table)
    for task, run in seen:
        paths = [*task.record.frames, run.root, task.kept.path, run.target.path]
        assert all(path.is_absolute() for path in paths)


@pytest.mark.slow
def test_a_single_worker_in_another_folder_does_the_work(dataset, whole, tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")
    from fastck.cluster import dask_cluster

    def elsewhere():
        os.chdir("/")

    def has_worked():
        return "fastck.pipeline.worker" in sys.modules

    monkeypatch.chdir(tmp_path)
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        client.run(elsewhere)
        with dask_cluster(cluster.scheduler_address):
            store = fastck.preprocess("set", "store", box_cache=False, **OPTIONS)
        assert list(client.run(has_worked).values()) == [True]
    assert_same_store(store.path, whole)


COMPILES = """
import sys
from pathlib import Path
import numba.core.dispatcher as dispatcher
from fastck import preprocess, scan
from fastck.config import FaceConfig, PreprocessConfig
from fastck.kernels import {modules}
from fastck.pipeline import compiling

def signatures():
    return {{(module.__name__, name, signature)
            for module in ({modules},) for name, kernel in vars(module).items()
            if isinstance(kernel, dispatcher.Dispatcher) for signature in kernel.signatures}}

faces = FaceConfig(crop={crop!r}, upsample={upsample})
features = ("projection", "mask", "pool34")
compiling.compile_kernels(PreprocessConfig(faces=faces, features=features))
before = signatures()
assert before
preprocess(sys.argv[1], sys.argv[2], faces=faces, features=features, n_jobs=1)
print(sorted(signatures() - before))
"""


@pytest.mark.parametrize(("crop", "upsample"), [("sequence", (0, 1)), ("frame", (1,))])
def test_the_parent_compiles_every_kernel_that_workers_need(dataset, tmp_path, crop, upsample):
    """Worker processes that fill Numba's cache on disk at the same time may crash."""
    folder = Path(fastck.__file__).parent / "kernels"
    modules = sorted(path.stem for path in folder.glob("*.py") if path.stem not in ("__init__", "raster"))
    for record in fastck.scan(dataset).records[1:]:
        shutil.rmtree(record.frames[0].parent)
    code = COMPILES.format(modules=", ".join(modules), crop=crop, upsample=upsample)
    command = [sys.executable, "-c", code, str(dataset), str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
