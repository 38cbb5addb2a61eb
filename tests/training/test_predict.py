import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

pytest.importorskip("keras")
data = pytest.importorskip("skimage.data")

from fastck.cli import app  # noqa: E402
from fastck.faces import FaceBox, detect_landmarks  # noqa: E402
from fastck.pipeline.detect import POINT_COLUMNS  # noqa: E402
from fastck.pipeline.dispatch import preprocess  # noqa: E402
from fastck.recognition.clip import predict  # noqa: E402
from fastck.recognition.prediction import window_starts  # noqa: E402
from fastck.training.report.write import write_report  # noqa: E402
from fastck.training.settings.config import TrainConfig  # noqa: E402
from fastck.training.train import train  # noqa: E402
from fastck.views.prediction_plot import plot_prediction  # noqa: E402

CONFIG = TrainConfig(
    phase=4,
    timesteps=5,
    filters=2,
    dense=4,
    epochs=1,
    too_long="last",
    baselines=False,
    learning_rate=0.05,
    final=False,
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CK+'s layout with a photograph whose mouth or brows get lighter; some sequences longer than the network takes."""
    root = tmp_path_factory.mktemp("faces")
    face = cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2GRAY)[20:240, 110:330]
    for subject in range(3):
        for number, emotion in enumerate((1, 3, 5, 7), start=1):
            name = f"S{subject:03d}_{number:03d}"
            images = root / "cohn-kanade-images" / name[:4] / name[5:]
            labels = root / "Emotion" / name[:4] / name[5:]
            images.mkdir(parents=True)
            labels.mkdir(parents=True)
            frames = 4 + 4 * (number == 4)
            for frame in range(frames):
                moved = face.astype(np.int16) + subject
                moved[60 + 15 * number :][:25, 70:150] += 6 * frame
                moved = np.clip(moved, 0, 255).astype(np.uint8)
                cv2.imwrite(str(images / f"{name}_{frame + 1:08d}.png"), moved)
            (labels / f"{name}_{frames:08d}_emotion.txt").write_text(f"   {emotion:.7e}\n")
    return root


@pytest.fixture(scope="module")
def run(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("predict")
    store = preprocess(root, folder / "store", preset="stable", n_jobs=1, box_cache=False)
    assert len(store.table) == 12
    assert (store.table["motion"] > 0).all()
    train(store.path, folder / "run", CONFIG, verbose=0)
    return folder / "run"


@pytest.mark.parametrize("file", ["predictions.csv", "training_predictions.csv"])
def test_predict_on_a_sequences_folder_equals_the_run(root: Path, run: Path, file: str):
    table = pd.read_csv(run / file)
    # Each sequence with the number 4 is longer than the network takes: its last window is what was trained on.
    long = table["sequence"].str.endswith("_004")
    for row in pd.concat([table[long].head(1), table[~long].head(1)]).to_dict("records"):
        prediction = predict(root / "cohn-kanade-images" / row["sequence"][:4] / row["sequence"][5:], run)
        columns = [name for name in table.columns if name.startswith("p_")]
        last = prediction.table.iloc[-1]
        np.testing.assert_allclose(last[columns].astype(float), [row[name] for name in columns], atol=1e-5)
        assert last["predicted"] == row["predicted"]
        assert last["last_frame"] == prediction.n_frames
        assert len(prediction.table) == (2 if row["sequence"].endswith("_004") else 1)


def test_longer_clips_are_cut_into_windows(root: Path, run: Path, tmp_path: Path):
    prediction = predict(root / "cohn-kanade-images" / "S000" / "004", run, stride=1)
    assert prediction.n_frames == 8
    assert prediction.n_missed == 0
    assert prediction.table[["first_frame", "last_frame"]].to_numpy().tolist() == [[1, 6], [2, 7], [3, 8]]
    assert sum(prediction.probabilities.values()) == pytest.approx(1, abs=1e-5)
    frames = prediction.frames
    assert frames["frame"].tolist() == list(range(1, 9))
    ends = frames.set_index("frame").filter(like="p_").dropna()
    assert ends.index.tolist() == prediction.table["last_frame"].tolist()
    np.testing.assert_allclose(ends, prediction.table.filter(like="p_"), atol=1e-6)
    assert frames[["score", "motion"]].isna().all(axis=None)
    values = prediction.as_dict()
    assert values["clip"] == "S000_004"
    assert len(values["windows"]) == 3
    json.dumps(values)
    plot_prediction(prediction, tmp_path / "prediction.png")
    plot_prediction(replace(prediction, windows=prediction.windows[:1]), tmp_path / "bars.png")
    for name in ("prediction.png", "bars.png"):
        assert cv2.imread(str(tmp_path / name)).shape[0] > 300


def test_a_run_has_landmarks_and_units_in_the_boxes_of_its_crops(root: Path, run: Path):
    folder = root / "cohn-kanade-images" / "S000" / "004"
    video = np.stack([cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in sorted(folder.iterdir())])
    plain = predict(folder, run).frames
    rows = predict(video, run, landmarks=True, units=True).frames
    for (_, row), gray in zip(rows.iterrows(), video, strict=True):
        (points,) = detect_landmarks(gray, [FaceBox(*map(int, row[list(FaceBox._fields)]))])
        np.testing.assert_allclose(row[list(POINT_COLUMNS)].to_numpy(float).reshape(68, 2), points, atol=5.1e-5)
    assert rows[["AU12", "AU45"]].notna().all(axis=None)
    columns = plain.columns[1:]
    pd.testing.assert_frame_equal(rows[columns], plain[columns])
    with pytest.raises(ValueError, match="name an array, not an iterator"):
        predict(iter(video), run, units=True)


@pytest.mark.parametrize(
    ("length", "timesteps", "options", "starts"),
    [
        (3, 39, {}, [0]),
        (39, 39, {}, [0]),
        (40, 39, {}, [0, 1]),
        (100, 39, {}, [0, 22, 61]),
        (100, 39, {"from_start": True}, [0, 39, 61]),
        (45, 39, {"stride": 2}, [0, 2, 4, 6]),
        (44, 39, {"stride": 2}, [0, 1, 3, 5]),
    ],
)
def test_windows(length: int, timesteps: int, options: dict[str, int], starts: list[int]):
    got = window_starts(length, timesteps, **options)
    assert got.tolist() == starts
    covered = {row for start in got for row in range(start, min(start + timesteps, length))}
    assert covered == set(range(length))


def test_unusable_runs_and_clips_are_refused(root: Path, run: Path, tmp_path: Path):
    with pytest.raises(ValueError, match="is not a training run"):
        predict(root / "cohn-kanade-images" / "S000" / "001", tmp_path)
    with pytest.raises(ValueError, match="must hold one sequence's frames"):
        predict(root, run)
    with pytest.raises(ValueError, match="stride must be at least 1"):
        predict(root, run, stride=0)
    gray = tmp_path / "gray"
    gray.mkdir()
    for frame in range(3):
        cv2.imwrite(str(gray / f"{frame}.png"), np.full((120, 120), 90, np.uint8))
    with pytest.raises(ValueError, match="face"):
        predict(gray, run)


def test_predict_and_report_on_the_command_line(root: Path, run: Path, tmp_path: Path):
    clip = root / "cohn-kanade-images" / "S000" / "004"
    prediction = predict(clip, run)
    files = ["--json", str(tmp_path / "p.json"), "--plot", str(tmp_path / "p.png")]
    result = CliRunner().invoke(app, ["predict", str(clip), "--run", str(run), *files], env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    share = prediction.probabilities[prediction.emotion]
    line = result.stdout.splitlines()[0]
    assert line.split() == [
        "S000_004",
        prediction.emotion,
        "█" * round(18 * share) + "░" * (18 - round(18 * share)),
        f"{100 * share:.0f}",
        "%",
        "frames",
        "1",
        "to",
        "8",
    ]
    assert "rendered people" not in result.stdout
    written = json.loads((tmp_path / "p.json").read_text())
    assert [len(row["windows"]) for row in written] == [2]
    assert written[0]["clip"] == "S000_004"
    assert written[0]["input"] == str(clip)
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")

    before = (run / "report.json").read_bytes()
    (run / "report.html").unlink()
    result = CliRunner().invoke(app, ["report", str(run)], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert "test sequences of 3 subjects" in result.stdout
    assert (run / "report.html").exists()
    assert (run / "report.json").read_bytes() == before


def test_nothing_but_the_commands_own_words_is_printed(root: Path, run: Path):
    clip = root / "cohn-kanade-images" / "S000" / "001"
    command = [sys.executable, "-m", "fastck.cli", "predict", str(clip), "--run", str(run)]
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    taken = "1 sequence of frames (the file names number frames; --as photos takes each file by itself)"
    assert (done.returncode, done.stderr) == (0, f"{clip}: {taken}\n")
    assert len(done.stdout.splitlines()) == 1


def test_a_start_that_fails_shows_all_that_was_printed(tmp_path: Path):
    (tmp_path / "keras.py").write_text("import os\nos.write(2, b'no such library')\nraise ImportError('broken')\n")
    program = "from fastck.training.models.startup import start_keras; start_keras()"
    places = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": places},
    )
    assert done.returncode == 1
    assert "no such library" in done.stderr
    assert "ImportError: broken" in done.stderr


def test_runs_that_cannot_predict_or_report_say_why(run: Path, tmp_path: Path):
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    (copy / "folds" / "repeat1-fold01").mkdir(parents=True)
    (copy / "model.keras").rename(copy / "folds" / "repeat1-fold01" / "model.keras")
    with pytest.raises(ValueError, match=r"holds 1 models, one per fold: name one, such as .*repeat1-fold01"):
        predict(tmp_path, copy)
    shutil.rmtree(copy / "folds")
    with pytest.raises(ValueError, match="holds no model: it was trained with keep_models off"):
        predict(tmp_path, copy)
    settings = json.loads((copy / "run.json").read_text())
    for text, message in [
        ("{", "is damaged"),
        ("[]", "was not written by fastck"),
        (json.dumps({**settings, "status": "training"}), "was not finished"),
    ]:
        (copy / "run.json").write_text(text)
        with pytest.raises(ValueError, match=message):
            write_report(copy)


def test_a_run_on_given_boxes_says_that_it_detects(root: Path, run: Path, tmp_path: Path):
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    settings = json.loads((copy / "run.json").read_text())
    settings["store"]["config"]["faces"]["boxes"] = "0" * 64
    (copy / "run.json").write_text(json.dumps(settings))
    clip = root / "cohn-kanade-images" / "S000" / "001"
    prediction = predict(clip, copy)
    assert prediction.notes == ("the run's store used a file of face boxes; here faces are detected",)
    pd.testing.assert_frame_equal(prediction.table, predict(clip, run).table)
