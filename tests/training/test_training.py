import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from tests.helpers.tinystore import make_store, make_table

pytest.importorskip("keras")

from fastck.training.models.calibration import calibration_error
from fastck.training.run import Run
from fastck.training.settings.config import TrainConfig, parse_bytes
from fastck.training.train import train
from train import app

ROOT = Path(__file__).resolve().parents[2]
FILES = {
    "accuracy.png",
    "baselines.csv",
    "classification_report.json",
    "classification_report.txt",
    "confusion_matrix.png",
    "history.csv",
    "loss.png",
    "model.keras",
    "model_summary.txt",
    "training_predictions.csv",
    "predictions.csv",
    "report.html",
    "report.json",
    "report.txt",
    "run.json",
}
SMALL = TrainConfig(
    phase=4,
    timesteps=9,
    filters=3,
    dense=8,
    epochs=4,
    batch_size=16,
    learning_rate=0.02,
    dropout=0.2,
    baselines=False,
    final=False,
)
SETTINGS = replace(SMALL, baselines=True, micro_batch=4, early_stopping=3)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("training") / "store", make_table(subjects=12), noise=0.05).path


@pytest.fixture(scope="module")
def run(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "run"
    train(store, path, SETTINGS, verbose=0)
    return path


@pytest.fixture(scope="module")
def by_people(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two folds, each stopped early. The network that is made soonest: what is asked does not depend on it."""
    config = replace(SMALL, model="temporal", early_stopping=1, epochs=30, learning_rate=0.5)
    config = replace(config, protocol="stratified-group", folds=2)
    return train(store, tmp_path_factory.mktemp("people") / "run", config, verbose=0)


def results(run: Path) -> dict[str, str]:
    """All that a run says, without the times it took."""
    return {name: (run / name).read_text() for name in ("report.json", "history.csv", "predictions.csv")}


def test_a_run_writes_everything(run: Path):
    assert {path.name for path in run.iterdir() if path.is_file()} - {"fold.json"} == FILES
    assert not (run / "checkpoint").exists()
    history = pd.read_csv(run / "history.csv")
    assert list(history["epoch"]) == [1, 2, 3, 4]
    assert history.notna().all().all()
    predictions = pd.read_csv(run / "predictions.csv")
    np.testing.assert_allclose(predictions.filter(like="p_").sum(axis=1), 1, atol=1e-5)
    record = json.loads((run / "run.json").read_text())
    split = record["splits"][0]
    assert sorted(predictions["sequence"]) == split["test"] == split["validation"]
    assert len(split["train"]) == 33
    assert record["store"]["config_hash"]
    assert record["arguments"]["epochs"] == 4
    page = (run / "report.html").read_text()
    assert page.count("<svg") == 3
    assert 'src="' not in page
    text = (run / "report.txt").read_text()
    assert "have their subject in the training part" in text
    assert "not comparable:" in text
    assert "nearest centroid" in text


def test_report_agrees_with_the_predictions(run: Path):
    report = json.loads((run / "report.json").read_text())
    predictions = pd.read_csv(run / "predictions.csv")
    accuracy = (predictions["true"] == predictions["predicted"]).mean()
    assert report["evaluation"]["accuracy"]["value"] == pytest.approx(accuracy)
    sklearn_report = json.loads((run / "classification_report.json").read_text())
    assert sklearn_report["accuracy"] == pytest.approx(accuracy)


def test_the_same_seed_gives_the_same_run_though_it_is_killed(
    store: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import fastck.training.models.checkpoint

    class Killed(BaseException):
        pass

    write = fastck.training.models.checkpoint.Checkpoint._write

    def write_and_die(self: fastck.training.models.checkpoint.Checkpoint, epoch: int) -> None:
        write(self, epoch)
        if epoch == 2:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("fastck.training.models.checkpoint.Checkpoint._write", write_and_die)
        with pytest.raises(Killed):
            train(store, tmp_path / "killed", SETTINGS, verbose=0)
    assert not (tmp_path / "killed" / "predictions.csv").exists()
    with pytest.raises(ValueError, match="started with other arguments"):
        train(store, tmp_path / "killed", replace(SETTINGS, seed=5), resume=True, verbose=0)
    train(store, tmp_path / "killed", SETTINGS, resume=True, verbose=0)
    assert results(tmp_path / "killed") == results(run)


def test_early_stopping_goes_back_to_the_best_epoch(by_people: Run):
    folds = list(by_people.history.groupby("fold"))
    assert len(folds) == 2
    for _, fold in folds:
        assert len(fold) < 30
        assert fold["val_loss"].to_numpy().argmin() == len(fold) - 2


@pytest.mark.parametrize(
    ("phase", "size", "feature", "dropout"), [(1, None, "mask", 0.2), (2, 67, "pool67", 0.0)], ids=["1", "2"]
)
def test_square_phases_train(tmp_path: Path, phase: int, size: int | None, feature: str, dropout: float):
    table = make_table(subjects=4, emotions=(1, 2, 3, 4, 5, 6, 7))
    store = make_store(tmp_path / "store", table, side=16)
    config = replace(SMALL, phase=phase, size=size, dropout=dropout)
    config = replace(config, epochs=1, max_steps=1, checkpoint_every=0, micro_batch=8)
    result = train(store.path, tmp_path / "run", config, verbose=0)
    assert result.report["feature"] == feature
    assert result.report["training"]["optimizer_steps"] == 1
    assert "paper" not in result.report


def test_tensorboard_logs_need_their_package(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install tensorboard"):
        train(store, tmp_path / "run", replace(SMALL, tensorboard=True))


@pytest.mark.parametrize(
    ("phase", "size", "feature"),
    [(1, None, "mask"), (2, 134, "pool134"), (2, 67, "pool67"), (2, None, "pool34"), (3, None, "projection")],
)
def test_phases_read_their_feature(phase: int, size: int | None, feature: str):
    config = TrainConfig(phase=phase, size=size)
    assert config.feature == feature
    assert config.kernel_size == ((1, 3) if phase == 3 else (3, 3))


def test_a_temperature_is_fitted_on_people_who_are_not_tested(run: Path, by_people: Run):
    fits = by_people.record["fits"]
    calibration = by_people.report["evaluation"]["calibration"]
    assert calibration["temperatures"] == [fit["temperature"] for fit in fits]
    probabilities = by_people.predictions.filter(like="p_").to_numpy()
    true = [by_people.classes.index(name) for name in by_people.predictions["true"]]
    assert calibration["error"] == pytest.approx(calibration_error(probabilities, true))
    text = (by_people.path / "report.txt").read_text()
    assert "before the temperature" in text
    assert "UAR (balanced accuracy)" in text
    # Under "random" the test part validates: a temperature from it would flatter.
    report = json.loads((run / "report.json").read_text())
    calibration = report["evaluation"]["calibration"]
    assert calibration["temperatures"] is None
    assert calibration["error"] == pytest.approx(calibration["uncalibrated_error"])


def test_input_takes_little_of_the_time(run: Path):
    (fit,) = json.loads((run / "run.json").read_text())["fits"]
    assert 0 < fit["input_seconds"] < fit["seconds"]


def test_a_used_folder_is_refused(store: Path, run: Path):
    with pytest.raises(ValueError, match="is not empty"):
        train(store, run, SMALL, verbose=0)


def test_a_store_without_the_feature_is_refused(store: Path, tmp_path: Path):
    shutil.copytree(store, tmp_path / "store")
    manifest = json.loads((tmp_path / "store" / "manifest.json").read_text())
    manifest["config"]["features"] = ["pool34"]
    (tmp_path / "store" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=r"phase 4 reads the feature 'projection'.*--features projection"):
        train(tmp_path / "store", tmp_path / "run", SMALL)
    assert not (tmp_path / "run").exists()


def test_command_line_refuses_in_one_line(store: Path, tmp_path: Path):
    settings = tmp_path / "settings.toml"
    settings.write_text('phase = 4\nepoch = 3\nmemory = "4GiB"\n')
    command = [str(store), "--config", str(settings), "-o", str(tmp_path / "run")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: unknown training settings epoch; known are ")
    assert result.stderr.count("\n") == 1
    missing = CliRunner().invoke(app, [str(tmp_path), *command[3:]])
    assert missing.exit_code == 2
    assert "manifest.json" in missing.stderr.splitlines()[-1]
    assert not (tmp_path / "run").exists()


def test_command_line_trains_with_a_settings_file(store: Path, tmp_path: Path):
    settings = tmp_path / "settings.toml"
    lines = ["phase = 4", 'model = "temporal"', "filters = 2", "epochs = 7", "timesteps = 8", "baselines = false"]
    settings.write_text("\n".join(lines))
    command = [sys.executable, ROOT / "train.py", store, "--config", settings, "-o", tmp_path / "run"]
    options = ["--epochs", "1", "--memory", "4GiB"]
    result = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert "memory plan" in result.stdout
    assert "4.00 GiB" in result.stdout
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (record["arguments"]["epochs"], record["arguments"]["filters"]) == (1, 2)


@pytest.mark.parametrize(
    ("text", "size"), [("12GiB", 12 * 2**30), ("500 MB", 500_000_000), ("1.5gib", 3 * 2**29), ("4096", 4096)]
)
def test_memory_sizes(text: str, size: int):
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "12 apples", "GiB", "-3GiB", "nan"])
def test_memory_nonsense(text: str):
    with pytest.raises(ValueError, match="memory must be a size such as 12GiB"):
        parse_bytes(text)
