"""The commands as a user types them: what they write, what they say, how they leave."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import fastck
from fastck.cli import app
from fastck.cli.console import PreprocessView
from fastck.cli.tour import EPOCHS
from fastck.messages import Progress
from fastck.render import HARD
from tests.helpers.stores import assert_same_store

COMMANDS = [command.name or command.callback.__name__.replace("_", "-") for command in app.registered_commands]


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def plain_error(result) -> str:
    """The one line that a user's mistake gets."""
    assert result.exit_code == 2, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, result.stderr
    assert "Traceback" not in result.output
    return lines[0]


@pytest.fixture(scope="module")
def store(rendered, tmp_path_factory):
    path = tmp_path_factory.mktemp("cli") / "store"
    result = run("preprocess", rendered, path, "--preset", "stable", "--features", "projection, mask", "--jobs", 2)
    assert result.exit_code == 0, result.output
    return path, result


def test_preprocess_writes_a_store_and_sums_it_up(store, rendered):
    path, result = store
    frames = len(list((rendered / "cohn-kanade-images").rglob("*.png")))
    assert re.search(r"sequences\s+6 done, 0 quarantined", result.stdout)
    assert re.search(rf"frames\s+{frames}, 0 without a face", result.stdout)
    assert "frames/s" in result.stdout
    assert fastck.open_store(path).features == ("projection", "mask")


def test_preprocess_again_has_nothing_to_do(store, rendered):
    path, _ = store
    result = run("preprocess", rendered, path, "--preset", "stable", "--features", "projection,mask")
    assert result.exit_code == 0
    assert "complete already, nothing to do" in result.stdout


def test_control_characters_of_a_table_never_reach_the_terminal(store, tmp_path):
    """A store may come from anywhere; an escape sequence can rewrite what a terminal shows."""
    path = shutil.copytree(store[0], tmp_path / "store")
    table = pd.read_csv(path / "sequences.csv")
    name = table["sequence"][0] + "\x1b[2J\x07"
    table.loc[0, "sequence"] = name
    table.to_csv(path / "sequences.csv", index=False)
    pd.DataFrame([["x\x1bc", "bad\x1b]0;title\x07", "a"]], columns=["sequence", "reason", "folder"]).to_csv(
        path / "quarantine.csv", index=False
    )
    for arguments in (
        ["info", path],
        ["info", path, "--verify"],
        ["preview", path, "x\x1bc", "-o", tmp_path / "x.png"],
    ):
        result = run(*arguments)
        assert "\x1b[2J" not in result.output
        assert "\x1bc" not in result.output
        assert "\x1b]" not in result.output
        assert "\x07" not in result.output
        assert "x1b" in result.output


def test_other_settings_are_refused_with_what_differs(store, rendered):
    path, _ = store
    line = plain_error(run("preprocess", rendered, path, "--preset", "stable", "--features", "mask"))
    assert 'features ["projection", "mask"] (now ["mask"])' in line
    assert "--overwrite" in line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--features", "masks"], "features must be some of"),
        (["--level", "256"], "level must be 0 to 255"),
        (["--size", "0"], "size must be at least 1"),
        (["--upsample", "x"], "--upsample takes whole numbers"),
        (["--boxes", "nowhere.csv"], "nowhere.csv: No such file"),
        (["--labels", "nowhere"], "nowhere"),
        (["--scheduler", "tcp://127.0.0.1:9"], "no Dask scheduler answers"),
    ],
)
def test_wrong_options_get_one_line(rendered, tmp_path, monkeypatch, options, message):
    if "--scheduler" in options:
        pytest.importorskip("distributed")
    monkeypatch.setattr("fastck.cluster.CONNECT_SECONDS", 0.5)
    assert message in plain_error(run("preprocess", rendered, tmp_path / "s", *options))
    assert not (tmp_path / "s").exists()


def test_a_root_that_is_not_there(tmp_path):
    for command in (["preprocess", tmp_path / "no", tmp_path / "s"], ["check", tmp_path / "no"]):
        assert "no" in plain_error(run(*command))


def test_a_table_of_what_check_found_gives_the_same_store(store, rendered, tmp_path):
    """Written into a copy of the data set and read as it is: every file the same, byte for byte."""
    path, _ = store
    root = tmp_path / "set"
    shutil.copytree(rendered, root)
    result = run("check", root, "--csv", root / "clips.csv")
    assert result.exit_code == 0
    assert f"wrote {root}/clips.csv: 6 sequences" in result.stdout
    options = ("--preset", "stable", "--features", "projection,mask")
    assert run("preprocess", root / "clips.csv", tmp_path / "s", "--layout", "table", *options).exit_code == 0
    assert_same_store(tmp_path / "s", path)
    result = run("preprocess", root / "clips.csv", path, "--layout", "table", *options)
    assert "complete already, nothing to do" in result.stdout


def test_a_table_chooses_frames(rendered, tmp_path):
    """One part of a folder of frames: its features are rows of the whole, wherever it begins."""
    folder = next((rendered / "cohn-kanade-images").glob("*/*"))
    for name, cells in (("part", "3,6,8"), ("whole", ",,")):
        table = tmp_path / f"{name}.csv"
        table.write_text(f"path,subject,sequence,label,onset,apex,offset\n{folder},S1,x,happy,{cells}\n")
    options = ("--layout", "table", "--preset", "stable")
    assert run("preprocess", tmp_path / "whole.csv", tmp_path / "whole", *options).exit_code == 0
    whole = fastck.open_store(tmp_path / "whole")
    boxes = tmp_path / "boxes.csv"
    edges = ",".join(map(str, whole.boxes[0]))
    boxes.write_text("sequence,frame,top,left,bottom,right\n" + f"x,1,{edges}\n")
    for until, last in (("apex", 6), ("offset", 8), ("end", len(whole.boxes))):
        target = tmp_path / until
        result = run("preprocess", tmp_path / "part.csv", target, *options, "--until", until, "--boxes", boxes)
        assert result.exit_code == 0, result.output
        part = fastck.open_store(target)
        assert part.row("x").n_frames == last - 2
        np.testing.assert_array_equal(part.feature("projection"), whole.feature("projection")[2 : last - 1])


def test_a_wrong_table_is_told_in_one_line(tmp_path):
    table = tmp_path / "clips.csv"
    table.write_text("path,subject\na.avi,\nb.avi,S1\n")
    for command in (["preprocess", table, tmp_path / "s"], ["check", table]):
        line = plain_error(run(*command, "--layout", "table"))
        assert "3 mistakes: column subject, line 2" in line
        assert "column path, lines 2-3: no such folder or video" in line
    assert not (tmp_path / "s").exists()


def test_a_run_without_a_usable_sequence_fails(tmp_path):
    folder = tmp_path / "set" / "clip"
    folder.mkdir(parents=True)
    (folder / "1.png").write_bytes(b"")
    (folder / "2.png").write_bytes(b"")
    result = run("preprocess", tmp_path / "set", tmp_path / "s", "--layout", "folders")
    assert "no sequence of" in plain_error(result)
    assert "quarantined because" in result.stdout


def test_reasons_that_sequences_share_are_one_row(rendered, tmp_path):
    for number in range(30):
        folder = tmp_path / "set" / f"clip{number:02d}"
        folder.mkdir(parents=True)
        for frame in (1, 2):
            (folder / f"{number}_{frame}.png").write_bytes(b"")
    result = run("preprocess", tmp_path / "set", tmp_path / "s", "--layout", "folders")
    rows = [line for line in result.stdout.splitlines() if "clip00" in line]
    assert len(rows) == 1
    assert "30" in rows[0]
    assert result.stdout.count("clip") < 10


def test_info_and_verify(store, tmp_path):
    path, _ = store
    result = run("info", path, "--verify", "--html", tmp_path / "info.html")
    assert result.exit_code == 0, result.output
    assert "6 of 2 subjects" in result.stdout
    assert "verified" in result.stdout
    assert (tmp_path / "info.html").read_text().startswith("<!")


def test_verify_fails_on_damage(store, tmp_path):
    import shutil

    path = shutil.copytree(store[0], tmp_path / "store")
    rows = np.load(path / "mask.npy", mmap_mode="r+")
    rows[0, 0, 0] ^= 1
    rows.flush()
    result = run("info", path, "--verify")
    assert "1 problems" in plain_error(result)
    assert "mask.npy: the rows of" in result.stderr


def test_check_says_what_is_there(rendered):
    result = run("check", rendered)
    assert result.exit_code == 0, result.output
    assert re.search(r"sequences\D+6\D+593", result.stdout)


def test_render_then_preview(tmp_path):
    result = run("render", tmp_path / "r", "--subjects", 1, "--sequences", 1, "--seed", 5)
    assert result.exit_code == 0, result.output
    assert "1 sequences" in result.stdout
    clip = next((tmp_path / "r" / "cohn-kanade-images").glob("*/*"))
    drawn = run("preview", clip, "-o", tmp_path / "p.png", "--columns", 4)
    assert drawn.exit_code == 0, drawn.output
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_render_hard_with_neutral_sequences_and_less_noise(tmp_path):
    options = ("--subjects", 1, "--sequences", 1, "--neutral", 1, "--hard", "--noise", 1)
    result = run("render", tmp_path / "r", *options)
    assert result.exit_code == 0, result.output
    assert "1 of them neutral" in result.stdout
    note = json.loads((tmp_path / "r" / "rendered.json").read_text())
    assert note["variation"] == asdict(replace(HARD, noise=1.0))
    assert note["neutral"] == {"S001_002": "still"}
    assert "neutral must be 0 to 99" in plain_error(run("render", tmp_path / "no", "--neutral", -1))


def test_preview_needs_something_to_write(store):
    assert "nothing to write" in plain_error(run("preview", store[0], "S001_001"))


@pytest.mark.parametrize("command", ["info", "report", "export"])
def test_what_is_not_a_store_or_run_gets_one_line(tmp_path, command):
    options = ["--to", "zarr", "-o", tmp_path / "x"] if command == "export" else []
    plain_error(run(command, tmp_path, *options))


def test_export(store, tmp_path):
    pytest.importorskip("zarr")
    result = run("export", store[0], "--to", "zarr", "-o", tmp_path / "out.zarr")
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "out.zarr" / "zarr.json").read_text())["node_type"] == "group"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_that_says_what_it_does(command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.stdout
    assert re.search(r"\n\n  \w.{20,}", result.stdout), "no description"
    for option in re.findall(r"^  (?:-\w, )?(--[\w-]+)(?: [<\w|:/>.-]+)?$\n\n", result.stdout, re.MULTILINE):
        pytest.fail(f"{option} has no help")


def test_version():
    assert run("--version").stdout == f"fastck {fastck.__version__}\n"


def test_an_unknown_command_leaves_with_2():
    assert run("preproces").exit_code == 2


@pytest.fixture
def clips(tmp_path, rendered):
    """A data set's first sequences in the layout "folders", an image with two faces, and one without."""
    folder = tmp_path / "clips"
    for number, source in enumerate(sorted((rendered / "cohn-kanade-images").glob("*/*"))[:2]):
        (folder / f"P{number}").mkdir(parents=True)
        for path in sorted(source.glob("*.png"))[:2]:
            shutil.copy(path, folder / f"P{number}")
    frame = cv2.imread(str(min((folder / "P0").glob("*.png"))), cv2.IMREAD_GRAYSCALE)
    small = cv2.resize(frame, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(tmp_path / "two.png"), np.concatenate([frame[: len(small)], small], axis=1))
    cv2.imwrite(str(tmp_path / "none.png"), np.zeros((90, 120), np.uint8))
    return tmp_path


def test_detect_writes_the_faces_that_dlib_finds(clips):
    result = run("detect", clips / "clips", clips / "two.png", clips / "none.png", "-o", clips / "b.csv")
    assert result.exit_code == 0, result.output
    table = pd.read_csv(clips / "b.csv")
    assert list(table.columns) == ["sequence", "frame", "top", "left", "bottom", "right", "score"]
    expected = []
    for sequence, paths in (
        ("P0", sorted((clips / "clips" / "P0").glob("*.png"))),
        ("P1", sorted((clips / "clips" / "P1").glob("*.png"))),
        ("two.png", [clips / "two.png"]),
    ):
        for number, path in enumerate(paths, start=1):
            gray = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
            expected += [(sequence, number, *box) for box in fastck.Detector(1)(gray)]
    assert list(table.iloc[:, :6].itertuples(index=False, name=None)) == expected
    assert (table["sequence"] == "two.png").sum() == 2
    assert (table["score"] > 0).all()
    assert f"{len(expected)} faces in 5 of 6 frames" in result.stdout


def test_detect_largest_feeds_preprocess_and_draws(clips):
    arguments = ("detect", clips / "clips", "-o", clips / "b.csv", "--draw", clips / "drawn", "--jobs", 1)
    assert run(*arguments, "--largest").exit_code == 0
    pictures = sorted(path.name for path in (clips / "drawn").iterdir())
    assert pictures == [f"P{i}_{t:08d}.png" for i in (0, 1) for t in (1, 2)]
    drawn = cv2.imread(str(clips / "drawn" / "P0_00000001.png"), cv2.IMREAD_GRAYSCALE)
    frame = cv2.imread(str(min((clips / "clips" / "P0").glob("*.png"))), cv2.IMREAD_GRAYSCALE)
    row = pd.read_csv(clips / "b.csv").iloc[0]
    changed = np.argwhere(drawn != frame)
    assert [*changed.min(axis=0), *changed.max(axis=0) + 1] == [row.top, row.left, row.bottom, row.right]
    for name, options in (("own", []), ("file", ["--boxes", clips / "b.csv"])):
        result = run("preprocess", clips / "clips", clips / name, "--layout", "folders", "--preset", "paper", *options)
        assert result.exit_code == 0, result.output
    own, file = (fastck.open_store(clips / name) for name in ("own", "file"))
    np.testing.assert_array_equal(own.feature("projection"), file.feature("projection"))
    assert len(own.boxes) == 4


def test_detect_in_a_data_set_uses_its_ids_and_goes_on_after_a_broken_file(rendered, tmp_path):
    root = tmp_path / "cohn-kanade-images"
    for source in sorted((rendered / "cohn-kanade-images").glob("*/*"))[:2]:
        target = root / source.relative_to(rendered / "cohn-kanade-images")
        target.mkdir(parents=True)
        for path in sorted(source.glob("*.png"))[:2]:
            shutil.copy(path, target)
    broken = sorted(root.rglob("*.png"))[1]
    broken.write_bytes(b"no image")
    result = run("detect", tmp_path, "-o", tmp_path / "b.csv", "--upsample", 0)
    assert result.exit_code == 0, result.output
    assert f"cut short: {broken.parent.parent.name}_{broken.parent.name}: {broken.name}" in result.stderr
    assert len(pd.read_csv(tmp_path / "b.csv")) == 3
    for path in root.rglob("*.png"):
        path.write_bytes(b"no image")
    assert "no frame could be read" in plain_error(run("detect", tmp_path, "-o", tmp_path / "c.csv"))
    assert not (tmp_path / "c.csv").exists()


def test_detect_refuses_what_it_cannot_do(clips):
    out = clips / "b.csv"
    (clips / "notes.txt").write_text("no face")
    (clips / "empty").mkdir()
    for arguments, text in (
        ([clips / "nowhere.png"], "nowhere.png does not exist"),
        ([clips / "notes.txt"], "an image, a folder or a video is needed, got"),
        ([clips / "empty"], "must hold images or videos, found none"),
        ([clips / "two.png", clips / "two.png"], "two inputs hold a sequence two"),
        ([clips / "two.png", "--upsample", 3], "upsample must be 0, 1 or 2, got 3"),
        ([clips / "two.png", "-o", clips / "x" / "b.csv"], "does not exist: make it first"),
        ([clips / "clips", "--layout", "ckplus"], "cohn-kanade-images"),
    ):
        assert text in plain_error(run("detect", "-o", out, *arguments))
    assert not out.exists()


def test_compare_boxes(rendered):
    result = run("compare-boxes", rendered, "--limit", 1)
    assert result.exit_code == 0, result.output
    assert re.search(r"0 of \d+ frames differ, \d+ have a face; dlib takes [\d.]+ times as long", result.stdout)


@pytest.mark.parametrize(("options", "sides"), [(["--quick"], [267]), ([], [64, 267, 512])])
def test_bench_measures_each_size(monkeypatch, options, sides):
    from fastck.bench import quick

    asked = []
    monkeypatch.setattr("fastck.bench.quick", lambda side: asked.append(side) or quick(side=16, budget=0.001))
    result = run("bench", *options)
    assert result.exit_code == 0, result.output
    assert asked == sides
    assert re.findall(r"frames of (\d+)x", result.stdout) == [str(side) for side in sides]
    assert result.stdout.count("paper's loops") == 2 * len(sides)


def test_demo_passes_its_options_on_and_prints_the_text(tmp_path, monkeypatch):
    def run_demo(out, *, on_message, on_progress, **options):
        on_message("[rendering]")
        on_progress(Progress(done=1, total=2, step="rendering"))
        return SimpleNamespace(text=f"{out.name} {options}")

    monkeypatch.setattr("fastck.cli.tour.run_demo", run_demo)
    result = run("demo", tmp_path / "[d]", "--subjects", 5, "--seed", 3, "--jobs", 2)
    assert result.exit_code == 0, result.output
    options = {"subjects": 5, "seed": 3, "epochs": EPOCHS, "n_jobs": 2}
    assert result.stdout == f"[d] {options}\n"
    assert "[rendering]" in result.stderr


@pytest.mark.parametrize(("when", "how_far"), [(0, "before the first one"), (2, "with 2 of 6 sequences done")])
def test_an_interrupted_run_says_how_far_it_came(rendered, tmp_path, monkeypatch, when, how_far):
    show = PreprocessView.__call__

    def interrupt(view, state):
        if state.done >= when:
            raise KeyboardInterrupt
        show(view, state)

    monkeypatch.setattr(PreprocessView, "__call__", interrupt)
    result = run("preprocess", rendered, tmp_path / "s", "--jobs", 1)
    assert result.exit_code == 130
    assert f"stopped {how_far}; the same command goes on from here" in result.stderr


def test_an_interrupted_command_says_so(store, monkeypatch):
    def interrupt(path):
        raise KeyboardInterrupt

    monkeypatch.setattr("fastck.store.reader.open_store", interrupt)
    result = run("info", store[0])
    assert (result.exit_code, result.stderr) == (130, "stopped\n")


def test_debugging_shows_the_traceback(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTCK_DEBUG", "1")
    with pytest.raises(ValueError, match="has no manifest"):
        CliRunner().invoke(app, ["info", str(tmp_path)], catch_exceptions=False)


def test_as_a_program(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "fastck.cli", "info", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_a_reader_that_is_gone_is_no_error():
    command = [sys.executable, "-m", "fastck.cli", "predict", "--about"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_help_groups_every_command_and_cuts_no_line():
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "80"}, terminal_width=80).output
    commands = [command.name for command in app.registered_commands]
    assert all(sum(line.startswith(f"  {name} ") for line in shown.splitlines()) == 1 for name in commands)
    assert "..." not in shown.split("Use what is there:")[1]
    assert max(map(len, shown.splitlines())) <= 80
