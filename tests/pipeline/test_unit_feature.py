"""Action units and shape as a feature: rows of a store, their mirror image, and the models that read them."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import fastck
from fastck.batches.padding import as_frames, mirrored
from fastck.cli import app
from fastck.config import UNIT_VALUES, PreprocessConfig
from fastck.dataset.clip import clip_record
from fastck.faces.appearance import N_SHAPE
from fastck.faces.box import FaceBox, crop
from fastck.faces.dense import Dense, blas
from fastck.faces.unit_pass import UnitPass
from fastck.faces.units import UNITS
from fastck.images.image import read_gray
from fastck.ops.motion import feature_shape
from fastck.pipeline.sequence import process_record
from fastck.training.settings.config import TrainConfig
from tests.helpers.stores import assert_same_store

SMILES = sorted((fastck.sample() / "cohn-kanade-images").glob("*/*"))


@pytest.fixture(scope="module")
def crops() -> np.ndarray:
    frames = [read_gray(path) for path in sorted(SMILES[1].glob("*.png"))]
    (box,) = fastck.detect_faces(frames[0])
    return np.stack([crop(gray, box) for gray in frames])


def test_a_row_is_units_and_shape(crops: np.ndarray):
    assert len(UNITS) + N_SHAPE == UNIT_VALUES == feature_shape("units")[1]
    rows = UnitPass().rows(crops)
    assert (rows.shape, rows.dtype) == ((4, 1, UNIT_VALUES), np.float32)
    units = rows[:, 0, : len(UNITS)]
    # What action units of the whole frames are, but for what lies outside of the crop.
    expected = fastck.action_units(SMILES[1]).intensities[1:]
    smile = UNITS.index("AU12")
    assert units[-1, smile] > 2
    assert np.abs(units - expected).mean() < 0.4
    assert np.abs(rows[:, 0, len(UNITS) :]).max() < 0.5
    # In stretches as at once.
    reader = UnitPass()
    np.testing.assert_array_equal(np.concatenate([reader.rows(crops[:3]), reader.rows(crops[2:])]), rows)


def test_the_mirror_image_is_what_a_mirrored_face_gives(crops: np.ndarray):
    frames = as_frames(UnitPass().rows(crops), "units")
    turned = mirrored(frames, "units")
    np.testing.assert_array_equal(mirrored(turned, "units"), frames)
    seen = as_frames(UnitPass().rows(np.ascontiguousarray(crops[:, :, ::-1])), "units")
    # Landmarks of the mirrored picture are found anew.
    assert np.abs(turned - seen).mean() < 0.5 * np.abs(frames - seen).mean() + 0.02
    left, right = UNITS.index("AU12_left"), UNITS.index("AU12_right")
    np.testing.assert_array_equal(turned[:, 0, left], frames[:, 0, right])


def test_a_store_holds_them_whatever_the_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FASTCK_CACHE_DIR", str(tmp_path / "cache"))
    features = ("projection", "units")
    one, two, kept = (
        fastck.preprocess(fastck.sample(), tmp_path / name, features=features, n_jobs=jobs, keep_crops=keep)
        for name, jobs, keep in (("one", 1, True), ("two", 2, False), ("kept", 1, True))
    )
    assert one.features == features
    assert_same_store(two.path, one.path)
    assert_same_store(kept.path, one.path)
    record = clip_record(SMILES[0])
    alone = process_record(record, PreprocessConfig(features=("units",)))
    np.testing.assert_array_equal(one.sequence("L008_001", "units"), alone.features["units"])
    assert FaceBox(*one.boxes[0]) == alone.boxes[0]


def test_workers_compute_with_one_blas_thread_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Sums by several threads end in other digits."""
    monkeypatch.setenv("FASTCK_CACHE_DIR", str(tmp_path / "cache"))
    seen, network = [], Dense.__call__

    def threads() -> list[int]:
        return [library["num_threads"] for library in blas().info() if library["user_api"] == "blas"]

    def watched(dense: Dense, values: np.ndarray) -> np.ndarray:
        found = network(dense, values)
        seen.extend(threads())
        return found

    monkeypatch.setattr(Dense, "__call__", watched)
    before = threads()
    fastck.preprocess(fastck.sample(), tmp_path / "store", features=("units",), n_jobs=2)
    assert set(seen) == {1}
    assert threads() == before


def test_phase_6_takes_models_of_vectors():
    for model in ("linear", "temporal"):
        config = TrainConfig(phase=6, model=model)
        assert config.feature == "units"
        assert config.network_shape((1, UNIT_VALUES)).input_shape[1:] == (1, UNIT_VALUES, 1)
    with pytest.raises(ValueError, match="phase 6 reads vectors, not pictures: model must be linear or temporal"):
        TrainConfig(phase=6)


def test_a_linear_model_is_trained_on_them_and_answers(rendered: Path, tmp_path: Path):
    run = CliRunner()
    made = run.invoke(app, ["preprocess", str(rendered), str(tmp_path / "store"), "--features", "units"])
    assert made.exit_code == 0, made.output
    options = ["--phase", "6", "--model", "linear", "--protocol", "loso", "--no-baselines", "--classes", "all"]
    trained = run.invoke(app, ["train", str(tmp_path / "store"), "-o", str(tmp_path / "run"), *options])
    assert trained.exit_code == 0, trained.output
    clip = sorted((rendered / "cohn-kanade-images").glob("*/*"))[0]
    prediction = fastck.predict(clip, tmp_path / "run")
    assert prediction.emotion in prediction.probabilities
