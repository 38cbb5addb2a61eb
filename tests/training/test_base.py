"""`train --from bundled`: logistic regression on the bundled recogniser's inner layer."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import fastck
from fastck.cli import app
from fastck.recogniser import bundled
from fastck.training.models.linear import as_vectors
from fastck.training.settings.config import TrainConfig
from tests.helpers.tinystore import make_store, make_table

OPTIONS = ["--phase=5", "--protocol=stratified-group", "--folds=2", "--timesteps=9", "--classes=happy,surprise"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> fastck.Run:
    folder = tmp_path_factory.mktemp("base")
    store = make_store(folder / "store", make_table(subjects=6), flow=True)
    command = ["train", str(store.path), "-o", str(folder / "run"), "--model=linear", "--from", "bundled", *OPTIONS]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    return fastck.open_run(folder / "run")


def test_the_inner_layer_says_what_the_recogniser_says():
    flow = np.random.default_rng(1).normal(0, 0.02, (5, 3, 28, 28)).astype(np.float32)
    inner, weights = bundled().inner(flow), bundled()._weights
    assert inner.shape == (5, bundled().inner_size)
    members = np.split(inner, len(weights["bias1"]), axis=1)
    # The last layer is linear: the mean over networks, a face and its mirror image may be taken before it.
    parts = zip(members, weights["kernel1"], weights["bias1"], strict=True)
    logits = np.mean([part @ kernel + bias for part, kernel, bias in parts], axis=0) / bundled().about["temperature"]
    expected = np.log(bundled().probabilities(flow))
    np.testing.assert_allclose(logits - logits[:, :1], expected - expected[:, :1], atol=1e-3)
    mirrored = flow[..., ::-1] * np.array([-1, 1, 1], np.float32)[:, None, None]
    np.testing.assert_allclose(bundled().inner(mirrored), inner, atol=1e-4)
    with pytest.raises(ValueError, match=r"\(N, 3, 28, 28\)"):
        bundled().inner(flow[0])


def test_a_run_keeps_what_it_began_with(run: fastck.Run):
    final = fastck.open_run(run.path / "final")
    model = final.model
    assert model.view == "bundled"
    values = np.random.default_rng(3).normal(0, 0.02, (4, *model.input_shape)).astype(np.float32)
    vectors = bundled().inner(np.moveaxis(values[:, -1], -1, 1))
    np.testing.assert_array_equal(as_vectors(values, "bundled"), vectors)
    logits = (vectors - model.mean) / model.scale @ model.coefficients.T + model.intercept
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(model.predict(values), powers / powers.sum(axis=1, keepdims=True), atol=1e-4)
    # The baseline beside it sees the flow as it is.
    assert set(run.baselines["baseline"]) >= {"logistic regression"}
    assert (run.predictions["true"] == run.predictions["predicted"]).mean() > 0.7


@pytest.mark.parametrize(
    "values", [{}, {"phase": 5}, {"phase": 5, "model": "temporal"}, {"phase": 4, "model": "linear"}]
)
def test_what_the_recogniser_does_not_read_is_refused(values: dict[str, object]):
    with pytest.raises(ValueError, match="takes phase 5 and the model linear"):
        TrainConfig.from_dict({"base": "bundled", **values})


def test_the_option_is_refused_in_one_line(tmp_path: Path):
    store = make_store(tmp_path / "store", make_table(subjects=3), flow=True)
    result = CliRunner().invoke(app, ["train", str(store.path), "-o", str(tmp_path / "run"), "--from", "bundled"])
    assert result.exit_code == 2
    assert "phase 5" in result.output
