"""A run's files as `open_run` gives them back: names stay what they are, and damage is told in one line."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastck
from fastck.training.data.folds import make_splits
from fastck.training.files import read_run_table, write_file, write_run_table
from fastck.training.run import open_run
from fastck.training.settings.config import FOUR, TrainConfig
from tests.helpers.tinystore import make_store, make_table

CONFIG = TrainConfig(
    phase=4,
    # What is asked of a run does not depend on its network, and this one is made soonest.
    model="temporal",
    timesteps=9,
    filters=2,
    epochs=1,
    batch_size=16,
    protocol="stratified-group",
    folds=2,
    per_emotion=0,
    final=False,
)
# Each is something that pandas takes for "no value" or for a number, if it is let.
SUBJECTS = ("NA", "None", "001", "1e5")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> fastck.Run:
    pytest.importorskip("keras")
    from fastck.training.train import train

    folder = tmp_path_factory.mktemp("names")
    table = make_table(subjects=len(SUBJECTS))
    table["subject"] = [SUBJECTS[int(subject[1:])] for subject in table["subject"]]
    table["sequence"] = [f"{number:03d}" for number in range(len(table))]
    store = make_store(folder / "store", table)
    return train(store.path, folder / "run", CONFIG, verbose=0)


def test_nobody_vanishes_whatever_the_name(run: fastck.Run):
    evaluation = run.report["evaluation"]
    assert evaluation["subjects"] == len(SUBJECTS)
    assert evaluation["n"] == np.sum(evaluation["confusion"]) == 4 * len(SUBJECTS)
    assert run.baselines is not None
    for table in (run.predictions, run.baselines):
        assert set(table["subject"]) == set(SUBJECTS)
        assert sorted(table["sequence"].unique()) == [f"{number:03d}" for number in range(4 * len(SUBJECTS))]
    accuracy = (run.predictions["true"] == run.predictions["predicted"]).mean()
    assert evaluation["accuracy"]["value"] == pytest.approx(accuracy)


def test_everybody_is_left_out_once_whatever_the_name(run: fastck.Run):
    table = fastck.open_store(run.path.parent / "store").table
    splits = make_splits(table, replace(CONFIG, protocol="loso"))
    subject = table.set_index("sequence")["subject"]
    assert sorted(subject[list(split.test)].unique().tolist() for split in splits) == [
        [name] for name in sorted(SUBJECTS)
    ]


def test_a_run_opens_as_it_was_trained(run: fastck.Run):
    opened = fastck.open_run(run.path)
    assert opened.settings == replace(CONFIG, classes=FOUR)
    assert opened.classes == ("anger", "disgust", "happy", "surprise")
    assert len(opened.history) == len(opened.record["fits"]) == CONFIG.folds
    pd.testing.assert_frame_equal(opened.predictions, run.predictions)
    with pytest.raises(ValueError, match=r"holds 2 models, one per fold: name one, such as .*repeat1-fold01"):
        _ = opened.model
    fold = fastck.open_run(run.path / "folds" / "repeat1-fold02")
    assert fold.path == run.path
    assert fold.model.output_shape == (None, 4)


@pytest.mark.parametrize("file", ["predictions.csv", "history.csv"])
def test_damaged_tables_are_told(run: fastck.Run, tmp_path: Path, file: str):
    copy = Path(shutil.copytree(run.path, tmp_path / "run"))
    text = (copy / file).read_text().splitlines()
    (copy / file).write_text("\n".join([*text[:2], text[2].replace("0,", "zero,", 1)]) + "\n")
    with pytest.raises(ValueError, match=f"{file} is damaged"):
        getattr(open_run(copy), file.removesuffix(".csv"))
    (copy / "report.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"report.json was not written by fastck"):
        _ = open_run(copy).report


@given(
    names=st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=9), min_size=1)
)
def test_tables_are_read_as_they_were_written(names: list[str], tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.mktemp("table") / "t.csv"
    values = np.random.default_rng(len(names)).random(len(names)).astype(np.float32).astype(np.float64)
    texts = pd.array(names, "str")
    table = pd.DataFrame({"sequence": texts, "true": texts, "p_happy": values})
    write_run_table(path, table)
    pd.testing.assert_frame_equal(read_run_table(path), table, check_dtype=False)


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path):
    path = tmp_path / "model.keras"
    path.write_text("before")

    def die(temporary: Path) -> None:
        assert temporary.suffix == ".keras"
        temporary.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_file(path, die)
    assert path.read_text() == "before"


def test_an_unfinished_run_is_refused(run: fastck.Run, tmp_path: Path):
    record = {**run.record, "status": "running"}
    (tmp_path / "run.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match="was not finished"):
        open_run(tmp_path)


@pytest.mark.parametrize(("version", "message"), [(1, "train again into another folder"), (3, "update fastck")])
def test_a_run_of_another_format_is_refused(run: fastck.Run, tmp_path: Path, version: int, message: str):
    (tmp_path / "run.json").write_text(json.dumps({**run.record, "format": version}))
    with pytest.raises(ValueError, match=f"has format {version}, this fastck reads format 2: {message}"):
        open_run(tmp_path)


def test_settings_of_another_version_are_told(run: fastck.Run, tmp_path: Path):
    record = {**run.record, "arguments": {**replace(CONFIG).as_dict(), "epoch": 3}}
    (tmp_path / "run.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match="unknown training settings epoch"):
        _ = open_run(tmp_path).settings


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        (("store", "config"), 5, "store.config must be an object, got 5"),
        (("store",), {}, "store lacks name"),
        (("splits", 0, "test"), [1], r"splits\[0\].test\[0\] must be text, got 1"),
        (("splits",), [None], r"splits\[0\] must be an object, got None"),
        (("fits", 0, "temperature"), "x", r"fits\[0\].temperature must be a number or null, got x"),
        (("fits",), [], "fits must be one for each of the 2 splits, got 0"),
        (("notes",), "x", "notes must be a list, got x"),
        (("leakage",), True, "leakage must be a number, got True"),
        (("classes", 0), 7, r"classes\[0\] must be text, got 7"),
    ],
)
def test_damaged_parts_of_a_record_are_told(
    run: fastck.Run, tmp_path: Path, where: tuple[str | int, ...], value: object, message: str
):
    record = json.loads(json.dumps(run.record))
    part = record
    for key in where[:-1]:
        part = part[key]
    part[where[-1]] = value
    (tmp_path / "run.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match=f"run.json is damaged: {message}"):
        open_run(tmp_path)
