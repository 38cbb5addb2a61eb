"""Faults in brief; `tests.campaigns.faults` is the long form, and also the ways in which files are trusted."""

import ast
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

import fastck
from fastck.pipeline import compiling
from fastck.store import builder as building
from fastck.store.builder import JOURNAL
from fastck.store.files import allocate, write_rows
from fastck.store.finished import append_journal, journal_line, read_journal
from tests.helpers import processes
from tests.helpers.stores import assert_same_store

OPTIONS = {"preset": "stable", "features": ("projection", "mask")}
SOURCES = sorted(Path(fastck.__file__).parent.rglob("*.py"))


class Stopped(BaseException):
    """Stands for a kill at an exact place."""


@pytest.fixture(scope="module")
def whole(rendered, tmp_path_factory):
    return fastck.preprocess(rendered, tmp_path_factory.mktemp("whole") / "store", **OPTIONS)


@pytest.mark.skipif(sys.platform != "linux", reason="the faults are those of Linux")
def test_the_campaign_in_brief_loses_nothing():
    """In a process of its own: it forks, which a process with TensorFlow's threads must not."""
    command = [sys.executable, "-m", "tests.campaigns.faults", "--kills", "2", "--subjects", "1", "--no-dask"]
    done = processes.run(command)
    tallies = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, (tallies, done.stderr)
    assert len(tallies) >= 5
    assert all(tally["stores"] >= 1 for tally in tallies)
    assert sum(tally["injected"] for tally in tallies if "kill" in tally["fault"]) >= 4


# -- A power cut: the journal says more than the disk holds ---------------------------------------------------------
@pytest.fixture
def unfinished(rendered, tmp_path, monkeypatch):
    """A store whose sequences are all done, but which is not closed."""
    with monkeypatch.context() as patch:
        patch.setattr("fastck.store.builder.StoreBuilder.finish", lambda *_: (_ for _ in ()).throw(Stopped))
        with pytest.raises(Stopped):
            fastck.preprocess(rendered, tmp_path / "store", **OPTIONS)
    return tmp_path / "store"


def resume(rendered, store):
    seen = []
    made = fastck.preprocess(rendered, store, on_progress=lambda progress: seen.append(progress.resumed), **OPTIONS)
    return made, seen[0]


@pytest.mark.parametrize("name", ["projection", "mask", "boxes"])
def test_rows_that_never_reached_the_disk_are_computed_again(rendered, whole, unfinished, name):
    row = whole.table.iloc[2]
    start = row["frame_start"] if name == "boxes" else row["start"]
    array = np.load(unfinished / f"{name}.npy")
    write_rows(unfinished / f"{name}.npy", int(start), np.zeros_like(array[:1]), len(array))
    made, resumed = resume(rendered, unfinished)
    assert resumed == len(whole.table) - 1
    assert_same_store(made.path, whole.path)


@pytest.mark.parametrize("damage", ["missing", "empty", "short", "other"])
def test_an_array_that_is_gone_starts_the_store_anew(rendered, whole, unfinished, damage):
    path = unfinished / "mask.npy"
    if damage == "missing":
        path.unlink()
    elif damage == "other":
        np.save(path, np.zeros((3, 267, 34), np.uint8))
    else:
        path.write_bytes(path.read_bytes()[: 0 if damage == "empty" else 100_000])
    made, resumed = resume(rendered, unfinished)
    assert resumed == 0
    assert_same_store(made.path, whole.path)


def test_zeros_in_the_journal_do_not_count(rendered, whole, unfinished):
    """What a file system leaves where a file's size reached the disk and its data did not."""
    path = unfinished / JOURNAL
    content = path.read_bytes()
    path.write_bytes(content[:-300] + bytes(300))
    made, resumed = resume(rendered, unfinished)
    assert 0 < resumed < len(whole.table)
    assert_same_store(made.path, whole.path)


def test_rows_that_change_before_the_store_is_closed_are_noticed(rendered, whole, tmp_path, monkeypatch):
    """A stray worker of a store that was replaced, or memory that fails."""
    real = building.StoreBuilder.finish

    def spoil(builder):
        array = np.load(builder.path / "mask.npy", mmap_mode="r+")
        array[0, 0, 0] ^= 1
        array.flush()
        real(builder)

    with monkeypatch.context() as patch:
        patch.setattr(building.StoreBuilder, "finish", spoil)
        with pytest.raises(OSError, match=f"rows of {whole.table['sequence'][0]} changed after they were written"):
            fastck.preprocess(rendered, tmp_path / "store", **OPTIONS)
    made, resumed = resume(rendered, tmp_path / "store")
    assert resumed == len(whole.table) - 1
    assert_same_store(made.path, whole.path)


def test_somebody_elses_journal_and_arrays_are_left_alone(rendered, tmp_path):
    for name in (JOURNAL, "weights.npy"):
        (tmp_path / name).write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(ValueError, match=r"neither empty nor a store \(it holds journal.jsonl\)"):
            fastck.preprocess(rendered, tmp_path, overwrite=overwrite, **OPTIONS)
    assert (tmp_path / "weights.npy").read_text() == "mine"


def test_a_journal_of_garbage_starts_anew(rendered, whole, unfinished):
    (unfinished / JOURNAL).write_bytes(np.random.default_rng(0).bytes(5000))
    made, resumed = resume(rendered, unfinished)
    assert resumed == 0
    assert_same_store(made.path, whole.path)


# -- Stray workers: of a run that was killed, or of a store that was replaced ---------------------------------------
def test_rows_that_do_not_belong_to_the_array_are_refused(tmp_path):
    path = tmp_path / "a.npy"
    allocate(path, (5, 3), np.dtype(np.float32))
    before = path.read_bytes()
    for start, rows, total in (
        (4, np.ones((2, 3), np.float32), 5),
        (-1, np.ones((1, 3), np.float32), 5),
        (0, np.ones((1, 4), np.float32), 5),
        (0, np.ones((1, 3), np.float64), 5),
        (0, np.ones((1, 3), np.float32), 6),
    ):
        with pytest.raises(ValueError, match=r"a.npy holds \(5, 3\) float32.*closed or replaced meanwhile"):
            write_rows(path, start, rows, total)
    assert path.read_bytes() == before


# -- Trust ----------------------------------------------------------------------------------------------------------
def calls(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_pickle_no_shell_no_eval(path):
    assert not imports(path) & {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "pty", "commands"}
    for name in calls(path):
        assert name not in {"eval", "exec", "os.system", "os.popen", "pd.read_pickle", "joblib.load", "torch.load"}
        if path.stem != "compiling":
            assert not name.startswith("subprocess."), "no other program is started"


def test_the_only_program_that_is_started_is_this_python(monkeypatch: pytest.MonkeyPatch):
    started: list[tuple[list[str], dict[str, object]]] = []

    class Noted:
        def __init__(self, command: list[str], **options: object) -> None:
            started.append((command, options))

        def wait(self) -> None: ...

    monkeypatch.setattr(compiling.subprocess, "Popen", Noted)
    monkeypatch.setattr(compiling, "is_new", lambda kernel: True)
    monkeypatch.setattr(compiling.os, "cpu_count", lambda: 2)
    compiling.compile_aside(lambda: None)
    ((command, options),) = started
    code = "from fastck.pipeline.compiling import compile_windows; compile_windows()"
    assert command == [sys.executable, "-c", code]
    assert not options.get("shell")


def keyword(path: Path, function: str, name: str) -> list[object]:
    """Return the values that a keyword has in the calls of a function."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == function:
            values = {word.arg: word.value for word in node.keywords}
            found.append(ast.literal_eval(values[name]) if name in values else None)
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_arrays_and_models_are_loaded_without_code(path):
    text = path.read_text(encoding="utf-8")
    if "np.load(" in text:
        assert set(keyword(path, "load", "allow_pickle")) == {False}
    if "keras.models.load_model(" in text:
        assert keyword(path, "load_model", "safe_mode") == [True]


def test_a_model_file_with_code_in_it_is_refused(tmp_path):
    """A Lambda layer is how a Keras file smuggles code."""
    keras = pytest.importorskip("keras")
    from fastck.training.models.network import load_network

    model = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x + 1)])
    model.save(tmp_path / "bad.keras")
    with pytest.raises(ValueError, match=r"(?i)lambda|unsafe|safe_mode"):
        load_network(tmp_path / "bad.keras")


@pytest.mark.parametrize("name", ["..", "../../x", "/etc/passwd", "a/../../b", "....", "~", "con\0", "x" * 400, ""])
def test_ids_never_lead_out_of_a_folder(tmp_path, name):
    from fastck.dataset.walk import safe_name

    made = safe_name(tuple(name.split("/")))
    assert (tmp_path / made).resolve().parent == tmp_path.resolve()
    assert len(os.fsencode(made)) <= 120


def test_a_table_that_lies_about_its_sequences_names_no_other_file(whole, tmp_path):
    """A store that came from elsewhere may say anything; its ids are looked up, never joined to a path."""
    import shutil

    from typer.testing import CliRunner

    from fastck.cli import app

    store = shutil.copytree(whole.path, tmp_path / "in" / "store")
    text = (store / "sequences.csv").read_text()
    first = whole.table["sequence"][0]
    (store / "sequences.csv").write_text(text.replace(f"{first},", "../../escaped,", 1))
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["export", str(store), "--to", "zarr", "-o", str(out)])
    assert result.exit_code in (0, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"][: 1 + out.exists()]
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["store"]


def test_the_journal_holds_plain_json_only(tmp_path):
    path = tmp_path / JOURNAL
    append_journal(path, journal_line({"sequence": "S005_001", "reason": "é\n\t\x00"}))
    assert list(read_journal(path)) == [{"sequence": "S005_001", "reason": "é\n\t\x00"}]
    assert path.read_bytes().isascii()
