"""Training on optical flow: both networks, class weights, augmentation, resume, and the saved network on its own."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.helpers.tinystore import make_store, make_table

pytest.importorskip("keras")

from fastck.batches.padding import as_frames, padding_before
from fastck.store.reader import open_store
from fastck.training.models.network import load_network
from fastck.training.settings.config import TrainConfig
from fastck.training.train import train

SMALL = TrainConfig(
    phase=5,
    model="temporal",
    protocol="stratified-group",
    folds=2,
    timesteps=9,
    filters=8,
    dense=8,
    epochs=12,
    batch_size=16,
    learning_rate=0.02,
    augment=True,
    final=False,
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    table = make_table(subjects=6, emotions=(1, 2, 3, 4, 5, 6, 7))
    return make_store(tmp_path_factory.mktemp("flow") / "store", table, flow=True).path


@pytest.fixture(scope="module")
def run(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(store, tmp_path_factory.mktemp("run") / "run", SMALL, verbose=0).path


def test_the_temporal_network_reads_flow_and_learns(run: Path):
    record = json.loads((run / "run.json").read_text())
    assert record["feature"] == "flow"
    report = json.loads((run / "report.json").read_text())
    assert report["evaluation"]["accuracy"]["value"] > 0.8
    assert "temporal convolution" in (run / "report.txt").read_text()
    names = {entry["name"] for entry in report["baselines"]}
    assert "logistic regression" in names


def test_the_papers_network_reads_flow_projections_and_learns(store: Path, tmp_path: Path):
    config = replace(SMALL, model="convlstm", protocol="random", filters=4, epochs=24, baselines=False)
    assert config.feature == "flow_projection"
    made = train(store, tmp_path / "run", config, verbose=0)
    assert made.report["evaluation"]["accuracy"]["value"] > 0.6


def test_the_papers_network_reads_flow_where_it_is_asked_to(store: Path, tmp_path: Path):
    config = replace(
        SMALL, model="convlstm", size=28, protocol="random", epochs=1, max_steps=1, filters=2, baselines=False
    )
    assert (config.feature, config.kernel_size) == ("flow", (3, 3))
    train(store, tmp_path / "run", config, verbose=0)


def test_the_saved_network_needs_nothing_but_the_stores_values(store: Path, run: Path):
    opened = open_store(store)
    predictions = pd.read_csv(run / "folds" / "repeat1-fold01" / "predictions.csv").head(3)
    network = load_network(run / "folds" / "repeat1-fold01" / "model.keras")
    for row in predictions.itertuples():
        frames = as_frames(opened.sequence(row.sequence, "flow"), "flow")
        padded = np.zeros((1, 9, 28, 28, 3), np.float32)
        padded[0, padding_before(len(frames), 9, "before") :] = frames
        probabilities = network.predict(padded, verbose=0)[0]
        np.testing.assert_allclose(probabilities, row[4:], atol=1e-5)


def test_rare_emotions_weigh_as_much_as_common_ones(store: Path):
    from fastck.batches.gather import Gather
    from fastck.training.fitting import _training_dataset
    from fastck.training.models.memory import plan_memory

    opened = open_store(store)
    table = opened.table
    names = table.loc[(table["emotion"] != 2) | (table["subject"] == "S000"), "sequence"].tolist()
    gather = Gather(opened, names, feature="flow", classes=SMALL.class_names, timesteps=9, padding="before")
    shape = SMALL.network_shape(opened.feature("flow").shape[1:])
    plan = plan_memory(shape, batch_size=16)
    dataset, _ = _training_dataset(gather, replace(SMALL, epochs=1), plan, seed=0, start=0)
    batches = list(dataset.as_numpy_iterator())
    targets = np.concatenate([batch[1] for batch in batches])
    weights = np.concatenate([batch[2] for batch in batches])
    assert len(weights) == len(names)
    np.testing.assert_allclose(weights @ targets, np.full(7, len(names) / 7), rtol=1e-5)
    assert weights.mean() == pytest.approx(1)


def test_ststnet_is_scored_over_joined_stores_as_the_composite_protocol_has_it(tmp_path: Path):
    """Leave one person out over all data sets, UF1 and UAR of all predictions together (See et al. 2019)."""
    from sklearn.metrics import balanced_accuracy_score, f1_score

    tables = [make_table(subjects=subjects, emotions=(1, 5, 7), seed=subjects) for subjects in (2, 1)]
    stores = [make_store(tmp_path / f"set{number}", table, flow=True).path for number, table in enumerate(tables)]
    config = replace(
        SMALL, model="ststnet", protocol="loso", classes=("anger", "happy", "surprise"), epochs=2, early_stopping=1
    )
    made = train(stores, tmp_path / "run", replace(config, baselines=False), verbose=0)
    predictions = made.predictions
    assert sorted(predictions["subject"].unique()) == ["set0/S000", "set0/S001", "set1/S000"]
    true, predicted = predictions["true"], predictions["predicted"]
    evaluation = made.report["evaluation"]
    expected = f1_score(true, predicted, average="macro", zero_division=0)
    assert evaluation["macro_f1"]["value"] == pytest.approx(expected)
    assert evaluation["balanced_accuracy"]["value"] == pytest.approx(balanced_accuracy_score(true, predicted))
    assert "STSTNet" in (made.path / "report.txt").read_text()
