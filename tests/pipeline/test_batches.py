"""Tiny sequences go to the workers together; stores, journals and what a kill costs stay what they were."""

import pickle
from types import SimpleNamespace

import pytest

import fastck
from fastck.cli.console import PreprocessView
from fastck.dataset.files import look_at_files
from fastck.dataset.records import FramePaths, SequenceRecord
from fastck.faces.box import FaceBox
from fastck.pipeline import dispatch
from fastck.pipeline.cropfile import CropFile
from fastck.pipeline.worker import Batch, Task
from fastck.store.builder import JOURNAL
from fastck.store.finished import read_journal
from fastck.store.plan import Plan, PlannedSequence
from tests.helpers.stores import assert_same_store

OPTIONS = {"preset": "stable", "features": ("projection",), "box_cache": False}


class Stopped(BaseException):
    """Stands for a kill at an exact place."""


@pytest.fixture(scope="module")
def one_by_one(rendered, tmp_path_factory):
    return fastck.preprocess(rendered, tmp_path_factory.mktemp("one") / "store", **OPTIONS)


@pytest.fixture
def batches_of_three(monkeypatch):
    monkeypatch.setattr(dispatch, "batch_size", lambda n_sequences: 3)
    monkeypatch.setattr(dispatch, "BATCH_FRAMES", 10_000)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_batches_give_the_same_bytes_and_tell_every_sequence(rendered, one_by_one, tmp_path, batches_of_three, n_jobs):
    seen = []
    store = fastck.preprocess(
        rendered, tmp_path / "store", n_jobs=n_jobs, on_progress=lambda run: seen.append(run.done), **OPTIONS
    )
    assert seen == [0, 1, 2, 3, 4, 5, 6]
    assert_same_store(store.path, one_by_one.path)


def test_what_was_said_to_be_done_is_in_the_journal(rendered, one_by_one, tmp_path, batches_of_three):
    def kill(run):
        entries = list(read_journal(tmp_path / "store" / JOURNAL))[1:]
        assert len(entries) >= run.done
        if run.done == 2:
            raise Stopped

    with pytest.raises(Stopped):
        fastck.preprocess(rendered, tmp_path / "store", n_jobs=1, on_progress=kill, **OPTIONS)
    seen = []
    store = fastck.preprocess(rendered, tmp_path / "store", on_progress=lambda run: seen.append(run.resumed), **OPTIONS)
    assert seen[0] == 3
    assert_same_store(store.path, one_by_one.path)


@pytest.mark.parametrize(("n", "most"), [(1, 1), (593, 1), (1999, 1), (2000, 2), (20_000, 20), (1_000_000, 192)])
def test_few_sequences_go_one_by_one(n, most):
    assert dispatch.batch_size(n) == most


def test_batches_end_before_they_have_too_many_frames():
    tasks = [SimpleNamespace(planned=SimpleNamespace(n_frames=n)) for n in (200, 376, 1, 700, 3, 3, 3, 3)]
    batches = [[task.planned.n_frames for task in batch] for batch in dispatch.iter_batches(tasks, most=3)]
    assert batches == [[200, 376], [1], [700], [3, 3, 3], [3]]


def test_a_batch_reaches_another_process_as_it_was(tmp_path):
    images = FramePaths(tmp_path, ("1.png", "2.png"))
    records = [
        SequenceRecord(sequence="a", subject="A", frames=images, emotion=3, label="happy"),
        SequenceRecord(sequence="b", subject="B", frames=(tmp_path / "7.png",), onset=7, fold="2"),
        SequenceRecord(sequence="c", subject="C", video=tmp_path / "c.avi", video_frames=4),
    ]
    plan = Plan(records, tmp_path, look_at_files(records)[0])
    known = [None, [], [None, FaceBox(1, 2, 3, 4)]]
    kept = [CropFile(tmp_path / "crops.npy", 2, 8), None, None]
    tasks = [Task(*parts) for parts in zip(range(3), plan, records, known, kept, strict=True)]
    data = pickle.dumps(Batch(tasks))
    copies = pickle.loads(data).tasks
    assert copies == tasks
    assert [type(copy.planned) for copy in copies] == [PlannedSequence] * 3
    assert type(copies[0].record.frames) is FramePaths
    assert type(copies[2].known[1]) is FaceBox
    # Objects of these classes would be pickled one by one, in Python.
    assert not any(name in data for name in (b"Task", b"PlannedSequence", b"SequenceRecord", b"FaceBox"))


def test_the_paths_of_frames_are_a_tuple_in_all_but_memory(tmp_path):
    paths = FramePaths(tmp_path, ("1.png", "2.png", "3.png"))
    expected = tuple(tmp_path / name for name in ("1.png", "2.png", "3.png"))
    assert paths == expected
    assert hash(paths) == hash(expected)
    assert paths[1:] == expected[1:]
    assert paths[-1] == expected[-1]
    assert paths.files() == list(map(str, expected))
    assert paths != expected[:2]
    assert repr(paths) == repr(expected)


def test_the_bar_is_not_drawn_for_every_one_of_a_thousand_sequences_a_second(monkeypatch):
    drawn = []
    monkeypatch.setattr("fastck.cli.console.time.perf_counter", lambda: 0.0)
    view = PreprocessView(drawn.append)
    run = dispatch.PreprocessProgress(total=1000, frames=3000)
    for _ in range(1000):
        run.done += 1
        run.frames_done += 3
        view(run)
    assert [state.done for state in drawn] == [3, 3000]
    assert view.last.done == 1000
