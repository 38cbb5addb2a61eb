"""A grid of settings: each a run, and the validating people of each fold choose among them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score
from typer.testing import CliRunner

from fastck.cli import app
from fastck.training.files import read_run_table
from fastck.training.report.evaluation import evaluate
from fastck.training.run import Run, open_run
from fastck.training.settings.config import TrainConfig
from fastck.training.sweep import choose, read_grid, sweep
from tests.helpers.tinystore import make_store, make_table


def grid_file(folder: Path, text: str) -> Path:
    path = folder / "grid.toml"
    path.write_text(text)
    return path


def test_a_grid_is_every_combination_over_what_is_given(tmp_path: Path):
    path = grid_file(tmp_path, "phase = 5\nfilters = [8, 16]\nlearning_rate = [0.001, 0.01]\n")
    configs = read_grid(path, {"protocol": "loso", "phase": 3, "dense": 7})
    assert list(configs) == [f"filters-{filters},learning_rate-{rate}" for filters in (8, 16) for rate in (0.001, 0.01)]
    expected = TrainConfig(phase=5, protocol="loso", dense=7, filters=16, learning_rate=0.001)
    assert configs["filters-16,learning_rate-0.001"] == expected


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        ("filters = 8\n", {"protocol": "loso"}, "tries nothing: give a setting a list of values"),
        ("filters = []\n", {"protocol": "loso"}, "tries nothing"),
        ("filters = [8, 16]\n", {}, "under the protocol random the tested people validate"),
        ("phase = [3, 4]\n", {"protocol": "loso"}, "tries phases of other classes"),
        ("filters = [0]\n", {"protocol": "loso"}, "filters must be at least 1"),
        ("seed = [1, 2]\nfilters = [8]\n", {"protocol": "loso"}, "seed must be of type int"),
    ],
)
def test_a_grid_that_cannot_be_chosen_from_is_refused(
    tmp_path: Path, text: str, settings: dict[str, object], message: str
):
    with pytest.raises(ValueError, match=message):
        read_grid(grid_file(tmp_path, text), settings)


def finished(folder: Path, config: TrainConfig, *, good: int, right: float) -> Run:
    """A run whose validating people are served well in one fold; all of its tested ones are right, or none."""
    names = ("anger", "disgust", "happy", "surprise")
    table = pd.DataFrame({"repeat": 0, "fold": [0, 0, 1, 1], "sequence": list("abcd"), "subject": list("ssuu")})
    table = table.assign(true=names, predicted=names if right else names[::-1])
    # The first epoch is the better one: with early stopping its weights are the ones that were kept.
    history = pd.DataFrame({"repeat": 0, "fold": [0, 0, 1, 1], "epoch": [1, 2, 1, 2], "val_loss": [0.5, 0.6] * 2})
    history["val_accuracy"] = np.where(history["fold"] == good, 0.9, 0.3) - 0.2 * (history["epoch"] == 2)
    run = Run(folder, {"arguments": config.as_dict(), "classes": list(names)})
    run.__dict__.update(predictions=table, history=history, report={"evaluation": evaluate(table, classes=names)})
    return run


@pytest.mark.parametrize(("stopping", "expected"), [(5, 0.9), (None, 0.7)])
def test_each_fold_takes_what_its_validating_people_choose(tmp_path: Path, stopping: int | None, expected: float):
    config = TrainConfig(phase=4, protocol="loso", early_stopping=stopping)
    runs = {str(good): finished(tmp_path, config, good=good, right=1 - good) for good in (0, 1)}
    choices = choose(runs)
    assert choices["run"].tolist() == ["0", "1"]
    assert choices["val_accuracy"].tolist() == pytest.approx([expected, expected])
    # A better score on the tested people changes nothing.
    runs["1"].predictions["predicted"] = runs["1"].predictions["true"]
    assert choose(runs)["run"].tolist() == ["0", "1"]
    runs["1"].history["val_loss"] = np.nan
    with pytest.raises(ValueError, match="fold 1 has no validating sequences"):
        choose(runs)
    runs["1"].predictions["sequence"] = list("abce")
    with pytest.raises(ValueError, match="1 tested other sequences than 0"):
        choose(runs)


def test_the_command_trains_every_run_and_says_which_fold_chose_what(tmp_path: Path):
    store = make_store(tmp_path / "store", make_table(subjects=6), noise=0.4).path
    grid = grid_file(tmp_path, "phase = 4\nmodel = 'linear'\naugment = [true, false]\nbaselines = false\n")
    command = ["train", str(store), "-o", str(tmp_path / "out"), "--sweep", str(grid)]
    command += ["--protocol", "stratified-group", "--folds", "2"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    runs = {name: open_run(tmp_path / "out" / name) for name in ("augment-True", "augment-False")}
    choices = pd.read_csv(tmp_path / "out" / "choices.csv")
    summary = json.loads((tmp_path / "out" / "sweep.json").read_text())
    expected = [
        run.predictions[run.predictions["fold"] == row.fold] for row in choices.itertuples() for run in [runs[row.run]]
    ]
    predictions = pd.concat(expected, ignore_index=True)
    pd.testing.assert_frame_equal(read_run_table(tmp_path / "out" / "predictions.csv"), predictions)
    accuracy = accuracy_score(predictions["true"], predictions["predicted"])
    assert summary["evaluation"]["accuracy"]["value"] == pytest.approx(accuracy)
    assert "repeat 1, fold 2: augment-" in result.stdout
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 2
    assert "is not empty" in again.stderr
    assert CliRunner().invoke(app, [*command, "--resume"]).exit_code == 0
    assert json.loads((tmp_path / "out" / "sweep.json").read_text()) == summary


def test_a_run_that_was_begun_goes_on(tmp_path: Path):
    begun = []

    def train_one(path: Path, config: TrainConfig, again: bool) -> Run:
        begun.append(again)
        path.mkdir(exist_ok=True)
        (path / "run.json").touch()
        if len(begun) == 2:
            raise KeyboardInterrupt
        return finished(path, config, good=0, right=1)

    config = TrainConfig(phase=4, protocol="loso")
    configs = {"a": config, "b": replace(config, filters=8)}
    with pytest.raises(KeyboardInterrupt):
        sweep(configs, tmp_path, train_one)
    assert begun == [False, False]
    sweep(configs, tmp_path, lambda path, config, again: begun.append(again) or finished(path, config, good=0, right=1))
    assert begun[2:] == [True, True]
