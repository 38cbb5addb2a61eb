"""Answers as files: each is written when it is there, and none takes the place of what others made."""

import csv
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from typer.testing import CliRunner

import fastck
from fastck.cli import app
from fastck.dataset.csvfile import formulas, plain_place

SMILES = sorted((fastck.sample() / "cohn-kanade-images").glob("*/*"))
# Kills itself as soon as the fourth of five clips is asked for.
KILLED = """
import itertools, os, signal, sys
from fastck.recognition import inputs
answer, count = inputs.answer, itertools.count(1)
def killed(clips, **options):
    for answered in answer(clips, **options):
        if next(count) == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        yield answered
inputs.answer = killed
from fastck.cli import app
app(["predict", *sys.argv[1:]])
"""


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["predict", *map(str, arguments)], env={"COLUMNS": "300"})
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("five")
    return [Path(shutil.copytree(SMILES[0], folder / f"clip{number}")) for number in range(5)]


def test_a_kill_after_the_third_clip_leaves_three_answers(five: list[Path], tmp_path: Path):
    files = [tmp_path / "p.json", tmp_path / "p.csv", tmp_path / "frames.csv"]
    files[1].write_text("input\nan earlier run's\n")
    command = [*five, "--json", files[0], "--csv", files[1], "--frames", files[2], "--overwrite"]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *map(str, command)], capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    names = list(map(str, five[:3]))
    assert [row["input"] for row in json.loads(files[0].read_text())] == names
    assert [row["input"] for row in csv.DictReader(files[1].open())] == names
    assert [row["input"] for row in csv.DictReader(files[2].open())] == [name for name in names for _ in "12345"]
    assert set(tmp_path.iterdir()) == set(files)


def test_a_clip_without_an_answer_has_its_row(five: list[Path], tmp_path: Path):
    code, _, _ = run(tmp_path / "none", five[0], "--csv", tmp_path / "p.csv")
    assert code == 2
    missing, answered = csv.DictReader((tmp_path / "p.csv").open())
    assert missing["input"] == str(tmp_path / "none")
    assert missing["note"].startswith("error: ")
    assert missing["emotion"] == missing["p_happy"] == ""
    assert answered["emotion"] == "happy"


@pytest.mark.parametrize("option", ["--json", "--csv", "--plot", "--video"])
def test_a_file_that_is_there_is_kept(five: list[Path], tmp_path: Path, option: str):
    name = "out.mp4" if option == "--video" else "out"
    (tmp_path / name).write_text("mine")
    code, out, err = run(five[0], option, tmp_path / name)
    assert (code, out) == (2, "")
    assert "is there already" in err
    assert (tmp_path / name).read_text() == "mine"
    assert run(five[0], option, tmp_path / name, "--overwrite")[0] == 0
    assert (tmp_path / name).read_bytes() != b"mine"


def test_a_picture_in_a_folder_is_kept(five: list[Path], tmp_path: Path):
    (tmp_path / "clip0.png").write_text("mine")
    code, out, err = run(five[0], five[1], "--plot", tmp_path)
    assert (code, out) == (2, "")
    assert "clip0.png is there already" in err
    assert (tmp_path / "clip0.png").read_text() == "mine"


def test_clips_of_one_name_have_a_picture_each(tmp_path: Path):
    clips = [shutil.copytree(smile, tmp_path / name / "clip") for smile, name in zip(SMILES, "AB", strict=False)]
    assert run(*clips, "--plot", tmp_path / "plots")[0] == 0
    first, second = (cv2.imread(str(path)) for path in sorted((tmp_path / "plots").iterdir()))
    assert (first != second).any()


def test_a_dollar_sign_in_a_name_is_no_formula(tmp_path: Path):
    clip = shutil.copytree(SMILES[0], tmp_path / "cost $x_{$")
    code, _, err = run(clip, "--plot", tmp_path / "p.png")
    assert code == 0, err
    assert (tmp_path / "p.png").exists()


@pytest.mark.parametrize("name", ["=cmd", "+1", "@home", "\tclip"])
def test_no_path_in_a_table_is_a_formula(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(SMILES[0], name)
    code, _, errors = run(name, "--csv", "p.csv", "--frames", "f.csv", "--landmarks")
    assert code == 0, errors
    detected = CliRunner().invoke(app, ["detect", name, "-o", "boxes.csv", "--frames", "d.csv"])
    assert detected.exit_code == 0, detected.output
    for file in ("p.csv", "f.csv", "d.csv", "boxes.csv"):
        with Path(file).open(newline="") as open_file:
            rows = list(csv.reader(open_file))
        cells = {cell for row in rows for cell in row if cell}
        assert not [cell for cell in cells if cell[0] in "=+@\t\r"]
        for cell in (cell for cell in cells if cell[0] == "-"):
            assert float(cell) < 0
        if "input" in rows[0]:
            # The same place to who reads it.
            assert {row[0] for row in rows[1:]} == {f"./{name}"}
            assert Path(rows[1][0]).samefile(name)
    # JSON is no spreadsheet's.
    code, out, _ = run(name, "--json", "-")
    assert json.loads(out)[0]["input"] == name


def test_formulas_are_told_and_places_kept():
    assert formulas(["happy", "-1", "=1+1", "-1", "p_=x", ""]) == ["-1", "=1+1"]
    assert [plain_place(path) for path in ("a/=b", "-x", "/tmp/@", "\rx")] == ["a/=b", "./-x", "/tmp/@", "./\rx"]


def test_lines_of_clips_that_are_called_alike_name_the_paths(tmp_path: Path):
    frames = [sorted(SMILES[0].glob("*.png"))[place] for place in (0, -2, -1)]
    for name in ("a/clip", "b/clip", "other"):
        (tmp_path / name).mkdir(parents=True)
        for frame in frames:
            shutil.copy(frame, tmp_path / name)
    code, out, _ = run(*(tmp_path / name for name in ("a/clip", "b/clip", "other")))
    assert code == 0
    names = [line.split()[0] for line in out.splitlines()[:3]]
    assert [name[-7:] for name in names] == ["/a/clip", "/b/clip", "other"]
