"""MotionFeatures: its numbers against the operations and a store, and its manners against scikit-learn's own checks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.utils import InputTags
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import check_is_fitted, validate_data

from fastck.batches.padding import pad_sequence
from fastck.dataset.layouts import scan
from fastck.estimator import MotionFeatures
from fastck.ops.motion import motion_masks, motion_pools, motion_projections
from fastck.pipeline.dispatch import preprocess
from fastck.pipeline.sequence import process_record

SIDE = 16


class OnMatrix(MotionFeatures):
    """Feeds each row of a float matrix as three crops, so that scikit-learn's checks can hand in their matrices."""

    def fit(self, X: Any, y: Any = None) -> "OnMatrix":
        return super().fit(self.crops(validate_data(self, X)))  # type: ignore[return-value]

    def transform(self, X: Any) -> NDArray[np.float32]:
        check_is_fitted(self, "n_features_in_")
        return super().transform(self.crops(validate_data(self, X, reset=False)))

    def crops(self, X: NDArray[np.float64]) -> NDArray[np.uint8]:
        levels = (np.abs(X) * 37).astype(np.uint64).astype(np.uint8)
        return np.stack([[np.resize(np.roll(row, t), (SIDE, SIDE)) for t in range(3)] for row in levels])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags = InputTags()
        tags.requires_fit = True  # the matrix's number of columns is remembered
        return tags


@parametrize_with_checks(
    [
        OnMatrix(preset=None, side=SIDE, timesteps=4, size=1),
        OnMatrix("pool34", preset=None, side=SIDE, over_time="mean", size=1, mode="absolute", level=20),
    ]
)
def test_scikit_learn_checks(estimator: Any, check: Any):
    check(estimator)


@pytest.fixture(scope="module")
def crops() -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(3)
    return [rng.integers(0, 256, (n, SIDE, SIDE), np.uint8) for n in (2, 5, 9)]


def test_rows_are_padded_projections(crops: list[NDArray[np.uint8]]):
    features = MotionFeatures(preset=None, side=SIDE, timesteps=8, size=2)
    rows = features.fit(crops).transform(crops)
    expected = [pad_sequence(motion_projections(one, size=2), timesteps=8).ravel() for one in crops]
    assert rows.dtype == np.float32
    assert np.array_equal(rows, np.stack(expected))
    assert len(features.get_feature_names_out()) == rows.shape[1]
    assert features.get_feature_names_out()[[0, SIDE, -1]].tolist() == [
        "projection_t0_0_0",
        "projection_t0_1_0",
        f"projection_t7_1_{SIDE - 1}",
    ]
    assert np.array_equal(features.set_params(n_jobs=2).transform(crops), rows)


def test_reductions_over_time_take_any_length(crops: list[NDArray[np.uint8]]):
    kwargs: dict[str, Any] = {"preset": None, "side": SIDE, "timesteps": 3, "size": 1}
    mean = MotionFeatures("mask", over_time="mean", **kwargs).fit_transform(crops)
    assert np.allclose(mean, [motion_masks(one, size=1).mean(axis=0).ravel() for one in crops])
    most = MotionFeatures("pool67", over_time="max", **kwargs).fit_transform(crops)
    assert np.array_equal(most, [motion_pools(one, times=2, size=1).max(axis=0).ravel() for one in crops])
    with pytest.raises(ValueError, match="sequence 1: features must have at most 3 rows, got 4"):
        MotionFeatures(**kwargs).transform(crops)
    last = MotionFeatures(too_long="last", **kwargs).transform(crops[2:])
    assert np.array_equal(last[0], motion_projections(crops[2], size=1)[-3:].ravel())


def test_all_kinds_of_sequences_give_the_same_rows(rendered: Path, tmp_path: Path):
    records = scan(rendered).records[:2]
    store = preprocess(rendered, tmp_path / "store", preset="stable", features=("projection", "pool34"))
    names = [record.sequence for record in records]
    folders = [record.frames[0].parent for record in records]
    from_files = MotionFeatures("pool34").fit_transform(folders)
    assert np.array_equal(MotionFeatures("pool34").fit_transform(records), from_files)
    assert np.array_equal(MotionFeatures("pool34", store=store.path).fit_transform(np.asarray(names)), from_files)
    assert from_files.shape == (2, 39 * 34 * 34)
    with pytest.raises(ValueError, match="mask"):
        MotionFeatures("mask", store=store.path).fit(names)


def test_grouped_cross_validation_on_a_store(rendered: Path, tmp_path: Path):
    store = preprocess(rendered, tmp_path / "store", preset="stable")
    table = store.table
    model = make_pipeline(MotionFeatures(store=store.path, over_time="mean"), LogisticRegression())
    moved = (table["motion"] > table["motion"].groupby(table["subject"]).transform("median")).to_numpy()
    predicted = cross_val_predict(model, table["sequence"].to_numpy(), moved, groups=table["subject"], cv=GroupKFold(2))
    assert predicted.shape == moved.shape
    assert clone(model).get_params()["motionfeatures__over_time"] == "mean"


def test_frames_in_memory_are_searched_for_faces(rendered: Path):
    from fastck.config import PreprocessConfig, preset_faces
    from fastck.pipeline.frames import record_frames

    record = scan(rendered).records[0]
    frames = np.stack(list(record_frames(record)))
    expected = process_record(record, PreprocessConfig(faces=preset_faces("stable"))).features["projection"]
    rows = MotionFeatures(over_time="mean").fit_transform(frames[None])
    assert np.allclose(rows[0], expected.mean(axis=0).ravel(), rtol=1e-6)  # float32 sums of about 20 steps


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"feature": "motion"}, "feature must be one of"),
        ({"over_time": "sum"}, "over_time must be one of pad, mean, max"),
        ({"too_long": "skip"}, "too_long must be one of"),
        ({"timesteps": 0}, "timesteps must be at least 1"),
        ({"level": 256}, "level must be 0 to 255"),
        ({"preset": "best"}, "preset must be one of"),
        ({"store": "/nowhere"}, "not a store"),
    ],
)
def test_wrong_parameters_show_at_fit(parameters: dict[str, Any], text: str):
    with pytest.raises(ValueError, match=text):
        MotionFeatures(**parameters).fit([])


def test_wrong_sequences_are_named(crops: list[NDArray[np.uint8]], tmp_path: Path):
    features = MotionFeatures(preset=None, side=SIDE)
    with pytest.raises(TypeError, match="put it in a list"):
        features.transform(str(tmp_path))
    with pytest.raises(TypeError, match=r"sequence 1 \(5\): a path, a SequenceRecord or an array"):
        features.transform([crops[0], 5])  # type: ignore[list-item]
    with pytest.raises(ValueError, match=r"sequence 0: crops must have shape \(T, 20, 20\)"):
        features.set_params(side=20).transform(crops)
    with pytest.raises(ValueError, match="no image and no video"):
        MotionFeatures().transform([tmp_path])
    assert features.transform([]).shape == (0, 39 * 2 * 20)
