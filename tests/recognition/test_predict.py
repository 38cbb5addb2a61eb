import csv
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

import fastck
from fastck.cli import app
from fastck.faces.units import bundled_units
from fastck.images.image import read_gray
from fastck.recogniser import TRAINED_ON
from fastck.recognition.clip import predict
from fastck.recognition.judge import bundled_judge


def run(*arguments: object, width: int = 80) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["predict", *map(str, arguments)], env={"COLUMNS": str(width)})
    return result.exit_code, result.stdout, result.stderr


def test_a_real_smile_is_happy(smile: Path):
    prediction = fastck.predict(smile)
    assert prediction.emotion == "happy"
    assert prediction.n_frames == 5
    assert prediction.span[1] >= 4
    assert sum(prediction.probabilities.values()) == pytest.approx(1, abs=1e-5)


def test_a_smile_that_goes_back_to_rest_is_happy_where_anything_is_named():
    named = []
    for folder in sorted((fastck.sample() / "cohn-kanade-images").glob("*/*")):
        rest, *rising = [read_gray(path) for path in sorted(folder.glob("*.png"))]
        prediction = fastck.predict([*[rising[-1]] * 3, *rising[::-1], *[rest] * 3])
        named.append(prediction.emotion)
        assert prediction.reference == "median"
        first, last = prediction.span
        assert first == 1
        assert last >= 4, "the smile is held for four frames"
    assert named.count("happy") >= 2
    assert set(named) <= {"happy", None}


def test_frames_at_rest_with_camera_noise_are_neutral(gray_frames: list[np.ndarray], tmp_path: Path):
    rng = np.random.default_rng(0)
    noisy = [np.clip(gray_frames[0] + rng.normal(0, 3, gray_frames[0].shape), 0, 255).astype(np.uint8) for _ in "12345"]
    assert predict(write(noisy, tmp_path / "rest")).emotion == "neutral"


def test_a_data_sets_root_gives_a_line_for_each_clip(tmp_path: Path):
    code, out, _ = run(fastck.sample(), "--json", tmp_path / "p.json", "--csv", tmp_path / "p.csv")
    lines = out.splitlines()
    assert code == 0
    assert len(lines) == 4
    assert lines[-1] == TRAINED_ON
    for line in lines[:3]:
        assert len(line) <= 80
        assert line.split()[1] == "happy"
        assert line.endswith("to 5") or line.endswith("to 4")
    rows = json.loads((tmp_path / "p.json").read_text())
    assert [row["emotion"] for row in rows] == ["happy"] * 3
    for row in rows:
        assert Path(row["input"]).is_dir()
        assert list(row["probabilities"]) == ["neutral", *list(fastck.EMOTIONS.values())[1:]]
        assert {"first_frame", "last_frame"} <= set(row["windows"][0])
        assert TRAINED_ON in row["notes"]
    table = list(csv.DictReader((tmp_path / "p.csv").open()))
    assert [row["emotion"] for row in table] == ["happy"] * 3
    assert {row["note"] for row in table} == {TRAINED_ON}


def test_json_and_csv_go_to_stdout_alone(smile: Path):
    code, out, _ = run(smile, "--json", "-")
    assert code == 0
    assert json.loads(out)[0]["emotion"] == "happy"
    code, out, _ = run(smile, "--csv", "-")
    assert code == 0
    assert next(csv.DictReader(io.StringIO(out)))["emotion"] == "happy"


def test_a_damaged_clip_keeps_no_other_from_its_answer(smile: Path, tmp_path: Path):
    damaged = shutil.copytree(smile, tmp_path / "damaged")
    sorted(damaged.glob("*.png"))[2].write_bytes(b"\x89PNG\r\n\x1a\n")
    empty = tmp_path / "empty"
    empty.mkdir()
    gray = write([np.full((120, 120), 90, np.uint8)] * 3, tmp_path / "gray")
    frame = cv2.imread(str(min(smile.glob("*.png"))))
    single = tmp_path / "single.avi"
    writer = cv2.VideoWriter(str(single), cv2.VideoWriter.fourcc(*"FFV1"), 10, frame.shape[1::-1])
    writer.write(frame)
    writer.release()
    code, out, err = run(
        damaged, empty, gray, single, tmp_path / "none", smile, "--json", tmp_path / "p.json", width=400
    )
    assert code == 2
    assert len(out.splitlines()) == 2
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 5
    for line, words in zip(
        lines,
        [".png: ", "must hold images or videos", "no face found in any of its 3 frames", "takes two frames", "none"],
        strict=True,
    ):
        assert words in line
    rows = json.loads((tmp_path / "p.json").read_text())
    assert [row["emotion"] for row in rows] == [None] * 5 + ["happy"]
    assert all(row["error"] for row in rows[:5])


def test_a_video_equals_its_frames_and_is_drawn(gray_frames: list[np.ndarray], tmp_path: Path):
    path = tmp_path / "clip.avi"
    height, width = gray_frames[0].shape
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"FFV1"), 10, (width, height))
    for frame in gray_frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR))
    writer.release()
    code, out, _ = run(path, "--video", tmp_path / "out.mp4")
    assert code == 0
    assert out.split()[1] == "happy"
    assert predict(path).emotion == "happy"
    drawn = cv2.VideoCapture(str(tmp_path / "out.mp4"))
    pictures = []
    while (read := drawn.read())[0]:
        pictures.append(read[1])
    assert len(pictures) == len(gray_frames)
    assert pictures[0].shape[1] > width, "the bars stand beside the frame"
    face = (slice(height // 3, height), slice(0, width))
    colour = [np.ptp(picture[face].astype(int), axis=-1).mean() for picture in pictures]
    assert colour[-1] > colour[0] + 1, "the flow is laid over the face"


def test_plots_of_several_clips_go_into_a_folder(tmp_path: Path):
    code, _, _ = run(fastck.sample(), "--plot", tmp_path / "plots")
    assert code == 0
    pictures = sorted((tmp_path / "plots").iterdir())
    assert len(pictures) == 3
    assert cv2.imread(str(pictures[0])).shape[0] > 400


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name a folder of frames"),
        (["x", "--stride", "2"], "--stride is for --run"),
        (["x", "--json", "-", "--csv", "-"], "cannot both go to stdout"),
        (["x", "--run", "y", "--video", "z.mp4"], "leave --run out"),
        (["x", "--json", "no/such/folder/p.json"], "does not exist"),
        (["x", "--run", "no-run"], "no-run"),
    ],
)
def test_options_that_do_not_go_together(arguments: list[str], words: str):
    code, out, err = run(*arguments, width=300)
    assert code == 2
    assert out == ""
    assert words in err
    assert len(err.splitlines()) == 1


def test_about_is_the_model_card():
    code, out, _ = run("--about")
    assert code == 0
    assert TRAINED_ON in out
    assert "decisions about people" in out
    said = " ".join(out.split())
    read, answered = bundled_units().about["figures"]["rest"], bundled_judge().about["figures"]
    worlds = ("easy", "hard", "compressed")
    assert ", ".join(f"{read[world]['mean'][0]:.2f}" for world in worlds) in said
    assert ", ".join(f"{100 * answered[world]['judge']['begun_right']:.0f}" for world in worlds) in said
    assert all(len(line) <= 80 for line in out.splitlines())


def test_the_bundled_recogniser_needs_no_extra(smile: Path):
    program = (
        "import sys, fastck; from pathlib import Path; "
        f"assert fastck.predict(Path({str(smile)!r})).emotion == 'happy'; "
        "heavy = {'tensorflow', 'keras', 'torch', 'matplotlib'} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def write(frames: list[np.ndarray], folder: Path) -> Path:
    folder.mkdir()
    for number, frame in enumerate(frames, start=1):
        cv2.imwrite(str(folder / f"{number:03d}.png"), frame)
    return folder


def test_a_folder_of_photos_is_answered_file_by_file(smile: Path, tmp_path: Path):
    first, last = min(smile.glob("*.png")), max(smile.glob("*.png"))
    (tmp_path / "photos").mkdir()
    shutil.copy(first, tmp_path / "photos/anna.png")
    shutil.copy(last, tmp_path / "photos/L001_smile.png")
    code, out, err = run(tmp_path / "photos", width=400)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[:2]] == ["L001_smile.png", "anna.png"]
    assert "2 photos" in err
    code, out, err = run(tmp_path / "photos", "--as", "sequence", width=400)
    assert out.split()[0] == "photos"
    assert "photos (" not in err
