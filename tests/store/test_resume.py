"""Runs that are killed, doubled, or come back with something else: the bytes are those of an undisturbed run."""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

import fastck
from fastck import outputs
from fastck.config import MotionConfig
from fastck.store import builder as building
from fastck.store import files as storefiles
from fastck.store.builder import JOURNAL, LOCK
from tests.helpers import processes
from tests.helpers.stores import assert_same_store

OPTIONS = {"preset": "stable", "features": ("projection", "mask")}
COMMAND = ["preprocess", "--preset", "stable", "--features", "projection,mask"]


@pytest.fixture(scope="module")
def dataset(rendered, tmp_path_factory):
    """The rendered set with one sequence that goes to the quarantine, so that closing has rows to take out."""
    root = shutil.copytree(rendered, tmp_path_factory.mktemp("killed") / "set")
    fastck.scan(root).records[1].frames[2].write_bytes(b"")
    return root


@pytest.fixture(scope="module")
def undisturbed(dataset, tmp_path_factory):
    return fastck.preprocess(dataset, tmp_path_factory.mktemp("undisturbed") / "store", **OPTIONS)


def start(root: Path, store: Path, jobs: int) -> subprocess.Popen:
    command = [sys.executable, "-m", "fastck.cli", *COMMAND, str(root), str(store), "--jobs", str(jobs)]
    return processes.start(command)


@pytest.mark.parametrize("jobs", [1, 2])
def test_killed_at_random_moments(dataset, undisturbed, tmp_path, jobs):
    rng = random.Random(jobs)
    for number in range(2):
        process = start(dataset, tmp_path / "store", jobs)
        deadline = time.monotonic() + 60
        journal = tmp_path / "store" / JOURNAL
        while not journal.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.8) * number)
        process.kill()
        process.communicate()
    store = fastck.preprocess(dataset, tmp_path / "store", n_jobs=jobs, **OPTIONS)
    assert_same_store(store.path, undisturbed.path)


class Killed(BaseException):
    """Stands for a kill at an exact place: nothing after it runs, as nothing catches it."""


@pytest.mark.parametrize("name", ["write_atomically", "allocate", "write_rows"])
def test_killed_at_every_step_of_opening_and_closing(dataset, undisturbed, tmp_path, monkeypatch, name):
    users = {"write_rows": ["writer"], "allocate": ["arrays"], "write_atomically": ["builder", "finished"]}[name]
    real = getattr(outputs if name == "write_atomically" else storefiles, name)
    finished = False
    for step in range(40):
        calls = iter(range(1000))

        def dying(*arguments, calls=calls, step=step):
            if next(calls) == step:
                raise Killed
            real(*arguments)

        path = tmp_path / f"store{step}"
        with monkeypatch.context() as patch:
            for user in users:
                patch.setattr(f"fastck.store.{user}.{name}", dying)
            try:
                fastck.preprocess(dataset, path, n_jobs=1, **OPTIONS)
                finished = True
            except Killed:
                pass
        assert_same_store(fastck.preprocess(dataset, path, n_jobs=1, **OPTIONS).path, undisturbed.path)
        if finished:
            break
        shutil.rmtree(path)
    assert finished, "there are more steps than were tried"


def test_torn_and_foreign_journal_lines_do_not_count(dataset, undisturbed, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(building.StoreBuilder, "finish", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            fastck.preprocess(dataset, tmp_path / "store", **OPTIONS)
    journal = tmp_path / "store" / JOURNAL
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b"0", b"1", 1)  # a flipped bit
    journal.write_bytes(b"".join(lines)[:-7])  # a line torn by a kill
    seen = []
    store = fastck.preprocess(dataset, tmp_path / "store", on_progress=lambda p: seen.append(p.done), **OPTIONS)
    assert seen[0] == len(lines) - 3
    assert_same_store(store.path, undisturbed.path)


def test_ctrl_c_says_how_to_go_on(dataset, undisturbed, tmp_path):
    process = start(dataset, tmp_path / "store", 2)
    journal = tmp_path / "store" / JOURNAL
    while not journal.exists() and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, stderr = processes.finish(process)
    if process.returncode:  # else it had finished before the signal came
        assert process.returncode == 130
        assert "the same command goes on from here" in stderr
        assert "Traceback" not in stderr
    store = fastck.preprocess(dataset, tmp_path / "store", **OPTIONS)
    assert_same_store(store.path, undisturbed.path)


def test_a_finished_store_is_left_alone(dataset, undisturbed, tmp_path):
    path = shutil.copytree(undisturbed.path, tmp_path / "store")
    before = {entry.name: entry.stat().st_mtime_ns for entry in path.iterdir() if entry.name != LOCK}
    seen = []
    fastck.preprocess(dataset, path, on_progress=seen.append, **OPTIONS)
    assert seen == []
    assert before == {entry.name: entry.stat().st_mtime_ns for entry in path.iterdir() if entry.name != LOCK}


def test_other_settings_are_never_mixed(dataset, undisturbed, tmp_path):
    path = shutil.copytree(undisturbed.path, tmp_path / "store")
    with pytest.raises(ValueError, match=r"motion.level 127 \(now 20\); take another folder, or --overwrite"):
        fastck.preprocess(dataset, path, motion=MotionConfig(level=20), **OPTIONS)
    assert_same_store(path, undisturbed.path)
    other = fastck.preprocess(dataset, path, motion=MotionConfig(level=20), overwrite=True, **OPTIONS)
    assert other.config.motion.level == 20


def test_another_input_is_never_mixed(dataset, undisturbed, tmp_path):
    path = shutil.copytree(undisturbed.path, tmp_path / "store")
    root = shutil.copytree(dataset, tmp_path / "set")
    records = fastck.scan(root).records
    touched, removed, relabelled = records[0], records[2], records[3]
    os.utime(touched.frames[0])
    shutil.rmtree(removed.frames[0].parent)
    (label,) = (root / "Emotion").glob(f"*/*/{relabelled.sequence}_*")
    label.write_text("   4.0000000e+00\n")
    with pytest.raises(ValueError, match="another input") as caught:
        fastck.preprocess(root, path, **OPTIONS)
    text = str(caught.value)
    assert f"1 sequences since removed ({removed.sequence})" in text
    assert f"1 sequences since changed ({touched.sequence})" in text
    assert f"1 sequences since relabelled ({relabelled.sequence})" in text
    assert_same_store(path, undisturbed.path)


def test_a_folder_with_other_files_is_not_touched(dataset, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(ValueError, match=r"neither empty nor a store \(it holds thesis.txt\)"):
            fastck.preprocess(dataset, tmp_path, overwrite=overwrite, **OPTIONS)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_file_in_place_of_the_store(dataset, tmp_path):
    (tmp_path / "store").write_text("")
    with pytest.raises(ValueError, match="the store must be a folder"):
        fastck.preprocess(dataset, tmp_path / "store", **OPTIONS)


def test_the_second_run_says_who_holds_the_lock(dataset, tmp_path):
    path = tmp_path / "store"
    path.mkdir()
    (path / ".lock-owner").write_text("process 77 on elsewhere")
    with FileLock(path / LOCK), pytest.raises(OSError, match="is being written by process 77 on elsewhere"):
        fastck.preprocess(dataset, path, **OPTIONS)


def test_disk_space_is_looked_at_first(dataset, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=3 * 2**20)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(OSError, match=r"needs 6[0-9] MiB, 3 MiB are free: make room first"):
        fastck.preprocess(dataset, tmp_path / "store", **OPTIONS)


def test_a_disk_that_fills_up_midway_ends_the_run_and_loses_nothing(dataset, undisturbed, tmp_path, monkeypatch):
    real, calls = storefiles.write_rows, iter(range(1000))

    def full(*arguments):
        if next(calls) == 9:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(arguments[0]))
        real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr("fastck.store.writer.write_rows", full)
        with pytest.raises(OSError, match="No space left"):
            fastck.preprocess(dataset, tmp_path / "store", n_jobs=2, **OPTIONS)
    seen = []
    store = fastck.preprocess(dataset, tmp_path / "store", on_progress=lambda p: seen.append(p.done), **OPTIONS)
    assert seen[0] > 0
    assert_same_store(store.path, undisturbed.path)


def test_a_strange_error_costs_one_sequence(dataset, tmp_path, monkeypatch):
    real, calls = fastck.motion_features, iter(range(1000))

    def strange(*arguments, **options):
        if next(calls) == 2:
            raise RuntimeError("what was that")
        return real(*arguments, **options)

    monkeypatch.setattr("fastck.pipeline.sequence.motion_features", strange)
    store = fastck.preprocess(dataset, tmp_path / "store", n_jobs=1, **OPTIONS)
    assert len(store.quarantine) == 2
    assert "unexpected RuntimeError: what was that" in set(store.quarantine["reason"])


def test_journal_lines_are_plain_json(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(building.StoreBuilder, "finish", lambda *_: (_ for _ in ()).throw(Killed))
    with pytest.raises(Killed):
        fastck.preprocess(dataset, tmp_path / "store", **OPTIONS)
    lines = (tmp_path / "store" / JOURNAL).read_text().splitlines()
    entries = [json.loads(line.rpartition("\t")[0]) for line in lines]
    assert {entry["sequence"] for entry in entries[1:]} == {r.sequence for r in fastck.scan(dataset).records}
    projection = np.load(tmp_path / "store" / "projection.npy")
    assert len(projection) == sum(r.n_frames - 1 for r in fastck.scan(dataset).records)


def test_rows_are_on_disk_before_the_store_is_said_complete(dataset, tmp_path, monkeypatch):
    order = []
    write = building.write_atomically
    monkeypatch.setattr("fastck.store.arrays.sync", lambda path: order.append(path.name))
    monkeypatch.setattr(
        building, "write_atomically", lambda path, data: (order.append(path.name), write(path, data))[1]
    )
    fastck.preprocess(dataset, tmp_path / "store", **OPTIONS)
    written = order.index("manifest.json")
    for name in ("boxes", "mask", "projection"):
        assert order.index(f"{name}.npy") < written
