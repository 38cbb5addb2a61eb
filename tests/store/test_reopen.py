"""Unfinished stores that come back with other libraries, a damaged journal, or after a failed creation."""

import errno
import os
import shutil

import pytest

import fastck
from fastck.pipeline import dispatch
from fastck.store.builder import JOURNAL, StoreBuilder
from tests.helpers.stores import assert_same_store

OPTIONS = {"features": ("projection", "mask"), "n_jobs": 1}


class Killed(BaseException):
    """Stands for a kill at an exact place."""


@pytest.fixture(scope="module")
def whole(rendered, tmp_path_factory):
    return fastck.preprocess(rendered, tmp_path_factory.mktemp("whole") / "store", **OPTIONS).path


@pytest.fixture(scope="module")
def closing(rendered, tmp_path_factory):
    """A store whose sequences are all done, but which is not closed."""
    path = tmp_path_factory.mktemp("unfinished") / "store"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fastck.store.builder.StoreBuilder.finish", lambda _: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            fastck.preprocess(rendered, path, **OPTIONS)
    return path


@pytest.fixture
def unfinished(closing, tmp_path):
    return shutil.copytree(closing, tmp_path / "store")


@pytest.fixture
def other_dlib(monkeypatch):
    real = dispatch.library_versions()
    monkeypatch.setattr(dispatch, "library_versions", lambda: {**real, "dlib": "18.0"})


def test_rows_of_two_versions_are_never_mixed(rendered, unfinished, whole, request):
    request.getfixturevalue("other_dlib")
    now = dispatch.library_versions()["dlib"]
    with pytest.raises(ValueError, match=rf"was begun with dlib .* \(now {now}\): go on with these versions; take"):
        fastck.preprocess(rendered, unfinished, **OPTIONS)
    store = fastck.preprocess(rendered, unfinished, overwrite=True, **OPTIONS)
    assert store.manifest["versions"]["dlib"] == now


def test_libraries_that_change_no_byte_may_differ(rendered, unfinished, whole, monkeypatch):
    real = dispatch.library_versions()
    monkeypatch.setattr(dispatch, "library_versions", lambda: {**real, "joblib": "0.1"})
    seen = []
    fastck.preprocess(rendered, unfinished, on_progress=lambda run: seen.append(run.done), **OPTIONS)
    assert seen[0] == 6


def test_a_finished_store_is_complete_under_any_version(rendered, whole, other_dlib):
    seen = []
    store = fastck.preprocess(rendered, whole, on_progress=seen.append, **OPTIONS)
    assert seen == []
    assert store.manifest["versions"]["dlib"] != "18.0"


def test_a_damaged_first_line_is_told_and_can_be_overwritten(rendered, unfinished, whole):
    path = unfinished / JOURNAL
    path.write_bytes(b"x" + path.read_bytes()[1:])
    with pytest.raises(ValueError, match="has a damaged journal that no longer says how the store was made; take"):
        fastck.preprocess(rendered, unfinished, **OPTIONS)
    store = fastck.preprocess(rendered, unfinished, overwrite=True, **OPTIONS)
    assert_same_store(store.path, whole)


@pytest.mark.parametrize("overwrite", [False, True])
def test_after_a_failed_creation_other_features_may_be_tried(rendered, tmp_path, monkeypatch, overwrite):
    from fastck.store import arrays

    real = arrays.allocate

    def full(path, *arguments):
        if path.name == "pool134.npy":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        real(path, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(arrays, "allocate", full)
        with pytest.raises(OSError, match="No space left"):
            fastck.preprocess(rendered, tmp_path / "store", features=("mask", "pool134", "pool34"), n_jobs=1)
    store = fastck.preprocess(rendered, tmp_path / "store", features=("projection",), overwrite=overwrite, n_jobs=1)
    assert sorted(path.name for path in store.path.glob("*.npy")) == ["boxes.npy", "projection.npy"]


def test_overwriting_leaves_arrays_that_are_not_the_store_s(rendered, whole, tmp_path):
    path = shutil.copytree(whole, tmp_path / "store")
    (path / "weights.npy").write_text("mine")
    fastck.preprocess(rendered, path, features=("mask",), overwrite=True, n_jobs=1)
    assert (path / "weights.npy").read_text() == "mine"
    assert not (path / "projection.npy").exists()


@pytest.mark.parametrize("step", range(13))
def test_an_overwrite_that_is_killed_while_it_removes_the_old_files_goes_on(
    rendered, unfinished, whole, monkeypatch, step
):
    remove, calls = StoreBuilder._own_files, iter(range(1000))

    def dying(self):
        for path in remove(self):
            if next(calls) == step:
                raise Killed
            yield path

    with monkeypatch.context() as patch:
        patch.setattr("fastck.store.builder.StoreBuilder._own_files", dying)
        with pytest.raises(Killed):
            fastck.preprocess(rendered, unfinished, features=("mask",), n_jobs=1, overwrite=True)
    assert_same_store(fastck.preprocess(rendered, unfinished, overwrite=True, **OPTIONS).path, whole)
