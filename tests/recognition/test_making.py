import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.recogniser.fit import FitConfig, fit, mirrored, moved, predict, sample_weights, targets
from benchmarks.recogniser.make import Made, Plan, make
from benchmarks.recogniser.modelfile import model_bytes, write_model
from benchmarks.recogniser.people import NO_CLASS, Windows, load_windows
from fastck.recognition.model import Recogniser

ROOT = Path(__file__).resolve().parents[2]
CONFIG = FitConfig(hidden=(8,), epochs=2, batch=32)


def plan(folder: Path, n_jobs: int = 1) -> Plan:
    people = {"people": 1, "calibrating_people": 1, "checking_people": 1}
    return Plan(folder=folder, seed=3, **people, rounds=1, versions=2, config=CONFIG, n_jobs=n_jobs)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recogniser")


@pytest.fixture(scope="module")
def made(folder: Path) -> Made:
    return make(plan(folder / "first"), say=lambda text: None)


def test_the_same_seed_gives_the_same_file(made: Made, folder: Path) -> None:
    again = make(plan(folder / "second", n_jobs=2), say=lambda text: None)
    assert model_bytes(again.weights, again.about) == model_bytes(made.weights, made.about)
    kept = make(plan(folder / "first"), say=lambda text: None)
    assert model_bytes(kept.weights, kept.about) == model_bytes(made.weights, made.about)


def test_the_file_says_what_the_fitted_network_says(made: Made, folder: Path) -> None:
    write_model(folder / "model.npz", made.weights, made.about)
    model = Recogniser(folder / "model.npz")
    windows = load_windows(folder / "first" / "windows-mixed-3-1-1-2.npz")
    assert {NO_CLASS, *range(8)} == set(windows.code.tolist())
    expected = predict(windows, made.weights, made.about["temperature"])
    np.testing.assert_allclose(model.probabilities(windows.flow), expected, atol=1e-6)
    assert model.about["people"] == 1
    assert model.about["clips"] == 14


def test_a_network_learns_what_can_be_learned() -> None:
    rng = np.random.default_rng(0)
    code = np.tile(np.arange(8, dtype=np.int16), 40)
    flow = rng.normal(0, 0.01, (320, 3, 28, 28))
    for row, value in enumerate(code):
        # Rows of cells, so that a mirrored window shows the same.
        flow[row, 1, 3 * value : 3 * value + 3] += 0.05
    windows = Windows(
        flow=flow.astype(np.float16),
        code=code,
        person=np.zeros(320, np.int32),
        ending=np.ones(320, np.float32),
        version=np.zeros(320, np.int16),
    )
    weights = fit(windows, FitConfig(hidden=(16,), epochs=20, batch=32, shift=0), seed=1)
    assert (predict(windows, weights).argmax(axis=1) == code).mean() > 0.95


def test_mirroring_and_moving() -> None:
    flow = np.random.default_rng(0).normal(0, 1, (2, 3, 28, 28)).astype(np.float32)
    turned = mirrored(flow)
    np.testing.assert_array_equal(turned[:, 0], -flow[:, 0, :, ::-1])
    np.testing.assert_array_equal(turned[:, 1:], flow[:, 1:, :, ::-1])
    np.testing.assert_array_equal(mirrored(turned), flow)
    np.testing.assert_array_equal(moved(flow, 2, -1)[:, :, 2:, :-1], flow[:, :, :-2, 1:])
    assert not moved(flow, 2, -1)[:, :, :2].any()


def test_targets_and_weights() -> None:
    code = np.array([0, 0, 5, 5, 5, 5, NO_CLASS], np.int16)
    wanted = targets(code, 0.08)
    np.testing.assert_allclose(wanted.sum(axis=1), 1, rtol=1e-6)
    assert wanted[2, 5] == pytest.approx(0.93)
    np.testing.assert_allclose(wanted[-1], 1 / 8)
    weights = sample_weights(code, none=0.5, neutral=2.0)
    assert weights[:2].sum() == pytest.approx(2 * weights[2:6].sum())
    assert weights[-1] == pytest.approx(0.5 * weights[2:6].sum())


def test_the_command_says_what_it_does() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.recogniser", "--help"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "120"},
    )
    assert done.returncode == 0
    assert "--ablation" in done.stdout
