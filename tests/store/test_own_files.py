"""A folder may hold a user's own files: none is taken for the store's, removed, or written through."""

import errno
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from typer.testing import CliRunner

import fastck
from fastck.cli import app
from fastck.config import MotionConfig
from fastck.dataset.records import SequenceRecord
from fastck.outputs import check_output, is_temporary, replacing, write_atomically
from fastck.recognition.inputs import Answer
from fastck.views.prediction_files import name_drawings

LEVEL = MotionConfig(level=60)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fastck.preprocess(fastck.sample(), tmp_path_factory.mktemp("made") / "store", n_jobs=1).path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["inputs.csv", "manifest.json", "journal.jsonl", ".lock-owner", "inputs.csv.tmp"])
def test_a_folder_of_the_users_own_is_refused_and_stays_as_it_is(tmp_path: Path, name: str, overwrite: bool):
    (tmp_path / name).write_text('{"icons": []}' if name == "manifest.json" else "my,own,table\n1,2,3\n")
    for array in ("mask", "flow", "projection"):
        np.save(tmp_path / f"{array}.npy", np.arange(10.0))
    before = contents(tmp_path)
    with pytest.raises(ValueError, match="neither empty nor a store"):
        fastck.preprocess(fastck.sample(), tmp_path, n_jobs=1, overwrite=overwrite)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", [".lock", ".lock-owner", "inputs.csv.tmp"])
def test_nothing_is_written_through_a_link(tmp_path: Path, name: str):
    (tmp_path / "precious").write_text("precious")
    store = tmp_path / "store"
    store.mkdir()
    (store / name).symlink_to(tmp_path / "precious")
    with pytest.raises(ValueError, match="take another"):
        fastck.preprocess(fastck.sample(), store, n_jobs=1)
    assert (tmp_path / "precious").read_text() == "precious"


def test_overwriting_leaves_an_array_with_a_feature_s_name(made: Path, tmp_path: Path):
    store = shutil.copytree(made, tmp_path / "store")
    np.save(store / "mask.npy", np.arange(10.0))
    fastck.preprocess(fastck.sample(), store, n_jobs=1, motion=LEVEL, overwrite=True)
    assert np.load(store / "mask.npy").tolist() == list(range(10))
    before = contents(store)
    with pytest.raises(ValueError, match=r"mask\.npy is there and not the store's"):
        fastck.preprocess(fastck.sample(), store, n_jobs=1, features=("mask",), overwrite=True)
    assert contents(store) == before


def test_an_opened_store_that_is_replaced_is_never_mixed_with_the_new_one(made: Path, tmp_path: Path):
    path = shutil.copytree(made, tmp_path / "store")
    opened, unread, sent = fastck.open_store(path), fastck.open_store(path), pickle.dumps(fastck.open_store(path))
    assert len(opened.table) == 3
    rows = opened.feature("projection")
    before = rows.copy()
    fastck.preprocess(fastck.sample(), path, n_jobs=1, motion=LEVEL, overwrite=True)
    np.testing.assert_array_equal(rows, before)
    for store in (opened, unread, pickle.loads(sent)):
        for read in (lambda store: store.feature("projection"), lambda store: store.boxes, lambda store: store.listing):
            with pytest.raises(ValueError, match="was replaced or removed since it was opened: open it again"):
                read(store)
    assert not np.array_equal(fastck.open_store(path).feature("projection"), before)


def test_what_killed_runs_left_is_removed(made: Path, tmp_path: Path):
    store = shutil.copytree(made, tmp_path / "store")
    for number in range(3):
        (store / f".fastck-{number:032x}.npy").write_bytes(b"half")
    fastck.preprocess(fastck.sample(), store, n_jobs=1)
    assert not any(is_temporary(path.name) for path in store.iterdir())


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_a_complete_store_on_a_read_only_disk_is_complete(made: Path, monkeypatch: pytest.MonkeyPatch, code: int):
    def acquire(*arguments: object, **options: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(FileLock, "acquire", acquire)
    before = contents(made)
    assert len(fastck.preprocess(fastck.sample(), made, n_jobs=1).table) == 3
    with pytest.raises(OSError, match=os.strerror(code)):
        fastck.preprocess(fastck.sample(), made, n_jobs=1, motion=LEVEL, overwrite=True)
    assert contents(made) == before


def test_a_file_of_anybody_s_beside_the_output_stays(tmp_path: Path):
    (tmp_path / "x.csv.tmp").write_text("notes")
    (tmp_path / "real.csv").write_text("old")
    (tmp_path / "x.csv").symlink_to(tmp_path / "real.csv")
    write_atomically(tmp_path / "x.csv", b"new")
    assert contents(tmp_path) == {"x.csv.tmp": b"notes", "real.csv": b"old", "x.csv": b"new"}
    with pytest.raises(ValueError, match="midway"):
        fail_midway(tmp_path / "x.csv")
    assert contents(tmp_path) == {"x.csv.tmp": b"notes", "real.csv": b"old", "x.csv": b"new"}


def fail_midway(path: Path) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(b"half")
        raise ValueError("midway")


def test_an_output_is_none_of_the_inputs_by_whatever_name(tmp_path: Path):
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"1")
    (tmp_path / "link.mp4").symlink_to(clip)
    os.link(clip, tmp_path / "other.mp4")
    for name in ("clip.mp4", "link.mp4", "other.mp4"):
        with pytest.raises(ValueError, match="would be lost"):
            check_output(tmp_path / name, [clip])
    with pytest.raises(ValueError, match="would be lost"):
        check_output(clip, [tmp_path])
    check_output(tmp_path / "new.mp4", [clip, tmp_path])


def test_commands_do_not_write_over_what_they_read(tmp_path: Path):
    clip = shutil.copytree(fastck.sample() / "cohn-kanade-images/L008/001", tmp_path / "L008_001")
    first = sorted(clip.iterdir())[0].rename(clip / "L008_001_00000001.png")
    before = contents(clip)
    run = CliRunner()
    for arguments in (
        ["detect", str(clip), "-o", str(tmp_path / "x.csv"), "--draw", str(clip)],
        ["detect", str(clip), "-o", str(first)],
        ["predict", str(clip), "--json", str(first)],
        ["preview", str(clip), "-o", str(first)],
        ["preview", str(clip), "-o", str(first), "--overwrite"],
        ["detect", str(clip), "-o", str(tmp_path / "x.csv"), "--draw", str(clip), "--overwrite"],
    ):
        assert run.invoke(app, arguments).exit_code == 2, arguments
    assert contents(clip) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["detect", "CLIP", "--largest", "-o", "OUT.csv"],
        ["check", "SET", "--csv", "OUT.csv"],
        ["folds", "SET", "--protocol", "loso", "-o", "OUT.csv"],
        ["info", "STORE", "--html", "OUT.html"],
        ["preview", "STORE", "L008_001", "--columns", "2", "-o", "OUT.png"],
        ["preview", "CLIP", "--columns", "2", "--gif", "OUT.gif"],
        ["preview", "CLIP", "--columns", "2", "--mp4", "OUT.mp4"],
    ],
    ids=lambda arguments: arguments[0] + arguments[-1].removeprefix("OUT"),
)
def test_a_file_that_is_there_stays_unless_told_otherwise(made: Path, tmp_path: Path, arguments: list[str]):
    clip = fastck.sample() / "cohn-kanade-images/L008/001"
    words = {"CLIP": clip, "SET": fastck.sample(), "STORE": made}
    out = tmp_path / arguments[-1]
    line = [str(words.get(word, word)) for word in arguments[:-1]] + [str(out)]
    (tmp_path / "precious").write_text("precious")
    out.symlink_to(tmp_path / "precious")
    refused = CliRunner().invoke(app, line)
    assert refused.exit_code == 2
    assert "is there already: name another file, or give --overwrite" in refused.stderr
    assert out.is_symlink()
    assert CliRunner().invoke(app, [*line, "--overwrite"]).exit_code == 0
    assert not out.is_symlink()
    assert out.stat().st_size > len("precious")
    assert (tmp_path / "precious").read_text() == "precious"
    assert {path.name for path in tmp_path.iterdir()} == {"precious", out.name}


def test_pictures_of_faces_go_to_an_empty_folder_unless_told_otherwise(tmp_path: Path):
    clip = fastck.sample() / "cohn-kanade-images/L008/001"
    drawn = tmp_path / "drawn"
    drawn.mkdir()
    (tmp_path / "precious").write_text("precious")
    (drawn / "001_00000002.png").symlink_to(tmp_path / "precious")
    line = ["detect", str(clip), "--largest", "-o", str(tmp_path / "x.csv"), "--draw", str(drawn)]
    refused = CliRunner().invoke(app, line)
    assert refused.exit_code == 2
    assert "is not empty" in refused.stderr
    assert CliRunner().invoke(app, [*line, "--overwrite"]).exit_code == 0
    assert len(list(drawn.iterdir())) == len(list(clip.iterdir()))
    assert (tmp_path / "precious").read_text() == "precious"


def test_clips_called_alike_have_drawings_of_their_own(tmp_path: Path):
    clips = [Answer(source=f"{n}/clip", record=SequenceRecord(sequence="clip", subject="clip")) for n in "ab"]
    assert name_drawings(clips, [tmp_path]) == {"a/clip": "clip", "b/clip": "clip-2"}
