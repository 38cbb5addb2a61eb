"""Flow in a store: what is in it, for any number of jobs, after a kill, and that other stores are as they were."""

import json
import shutil

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

import fastck
from fastck.cli import app
from fastck.config import FaceConfig, FlowConfig, MotionConfig, PreprocessConfig
from fastck.faces.box import FaceBox, crop
from fastck.images.image import read_gray
from fastck.ops.flow import FLOW_SHAPES, FlowPass
from fastck.pipeline.sequence import iter_features
from tests.helpers.stores import assert_same_store

OPTIONS = {"preset": "stable", "features": ("projection", "flow", "flow_projection")}


@pytest.fixture(scope="module")
def flow_store(rendered, tmp_path_factory):
    return fastck.preprocess(rendered, tmp_path_factory.mktemp("flow") / "store", n_jobs=1, **OPTIONS)


def crops_of(root, store, row):
    boxes = store.boxes[row.frame_start : row.frame_start + row.n_frames]
    paths = sorted((root / row.folder).glob("*.png"))
    return np.stack(
        [crop(read_gray(path), FaceBox(*map(int, box)), side=267) for path, box in zip(paths, boxes, strict=True)]
    )


def test_a_store_holds_the_operations_values(rendered, flow_store):
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    for row in list(flow_store.table.itertuples())[:2]:
        crops = crops_of(rendered, flow_store, row)
        np.testing.assert_array_equal(flow_store.sequence(row.sequence, "flow"), fastck.optical_flow(crops))
        expected = FlowPass(FlowConfig()).rows(crops, ["flow_projection"])["flow_projection"]
        np.testing.assert_array_equal(flow_store.sequence(row.sequence, "flow_projection"), expected)
        assert abs(expected[-1]).max() > 0.001, "the case shows nothing"
    cv2.setNumThreads(before)
    for name, shape in FLOW_SHAPES.items():
        assert flow_store.feature(name).shape == (len(flow_store.feature("projection")), *shape)
        assert flow_store.feature(name).dtype == np.float32
    assert not list(flow_store.verify())


@pytest.mark.parametrize("n_jobs", [2, 5])
def test_any_number_of_jobs_gives_the_same_bytes(rendered, flow_store, tmp_path, n_jobs):
    store = fastck.preprocess(rendered, tmp_path / "s", n_jobs=n_jobs, box_cache=False, **OPTIONS)
    assert_same_store(store.path, flow_store.path)


@pytest.mark.parametrize("chunk", [1, 4, 100])
@pytest.mark.parametrize("reference", ["onset", "previous"])
def test_the_onset_is_kept_however_frames_are_held(monkeypatch, chunk, reference):
    noise = np.random.default_rng(0).integers(0, 256, (9, 80, 80), np.uint8)
    crops = np.stack([cv2.GaussianBlur(frame, (0, 0), 5) for frame in noise])
    config = PreprocessConfig(
        faces=FaceConfig(side=80), features=("flow", "pool34"), flow=FlowConfig(reference=reference)
    )
    expected = fastck.optical_flow(crops, reference=reference)
    monkeypatch.setattr("fastck.pipeline.sequence.CHUNK", chunk)
    rows = list(iter_features(iter(crops), config))
    assert len(rows) == -(-8 // chunk)
    np.testing.assert_array_equal(np.concatenate([part["flow"] for part in rows]), expected)
    assert set(rows[0]) == {"projection", "pool34", "flow"}


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


@pytest.mark.parametrize("step", [1, 7])
def test_a_killed_run_goes_on_to_the_same_bytes(rendered, flow_store, tmp_path, monkeypatch, step):
    from fastck.store import files

    calls = iter(range(1000))

    def dying(*arguments):
        if next(calls) == step:
            raise Killed
        files.write_rows(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr("fastck.store.writer.write_rows", dying)
        with pytest.raises(Killed):
            fastck.preprocess(rendered, tmp_path / "s", n_jobs=1, **OPTIONS)
    assert_same_store(fastck.preprocess(rendered, tmp_path / "s", n_jobs=2, **OPTIONS).path, flow_store.path)


# Hashes and configurations as fastck 0.1.0 wrote them before it knew optical flow.
def test_stores_without_flow_keep_their_configuration_and_hash():
    paper = FaceConfig(crop="frame", upsample=(1,), search="full")
    assert PreprocessConfig(faces=paper).hash() == "64c6a64e2859bcb8"
    config = PreprocessConfig(
        faces=FaceConfig(crop="sequence", upsample=(0, 1), search="tracked"),
        motion=MotionConfig(mode="absolute", level=15),
        features=("projection", "mask", "pool134", "pool67", "pool34"),
    )
    assert config.hash() == "21bf1a404ce06b0f"
    assert set(config.as_dict()) == {"faces", "motion", "features"}
    assert PreprocessConfig.from_dict(config.as_dict()) == config
    assert PreprocessConfig(flow=FlowConfig(size=96)) == PreprocessConfig()


def test_flow_settings_are_recorded_and_read_back(flow_store):
    recorded = flow_store.manifest["config"]["flow"]
    assert recorded == {"reference": "onset", "compensate": True, "size": 128, "preset": "patches"}
    assert flow_store.config.flow == FlowConfig()
    config = PreprocessConfig(features=("flow_projection",), flow=FlowConfig(compensate=False))
    assert PreprocessConfig.from_dict(json.loads(json.dumps(config.as_dict()))) == config
    assert config.hash() != PreprocessConfig(features=("flow_projection",)).hash()
    values = {**config.as_dict(), "flow": {"reference": "onset"}}
    assert PreprocessConfig.from_dict(values).flow == FlowConfig()
    with pytest.raises(ValueError, match="incomplete or from another fastck version"):
        PreprocessConfig.from_dict({**config.as_dict(), "flow": {"method": "tv-l1"}})


def test_another_flow_is_another_store(rendered, flow_store, tmp_path):
    shutil.copytree(flow_store.path, tmp_path / "s")
    with pytest.raises(ValueError, match=r"was made with features .*; flow .* \(now null\)"):
        fastck.preprocess(rendered, tmp_path / "s", preset="stable")


def test_the_command_line_takes_flow(rendered, flow_store, tmp_path):
    arguments = ["preprocess", str(rendered), str(tmp_path / "s"), "--preset", "stable", "--jobs", "1"]
    done = CliRunner().invoke(app, [*arguments, "--features", "flow,flow_projection,projection"])
    assert done.exit_code == 0, done.output
    assert_same_store(tmp_path / "s", flow_store.path)


def test_the_transformer_gives_flow(rendered, flow_store):
    row = next(flow_store.table.itertuples())
    crops = crops_of(rendered, flow_store, row)
    last = fastck.MotionFeatures("flow", preset=None, timesteps=len(crops) - 1).transform([crops])
    stored = flow_store.sequence(row.sequence, "flow")
    np.testing.assert_allclose(last.reshape(stored.shape), stored, atol=1e-4)
    from_store = fastck.MotionFeatures("flow", store=flow_store.path, timesteps=100).transform([row.sequence])
    assert from_store.shape == (1, 100 * 3 * 28 * 28)


def test_the_search_of_older_stores_stays_selectable(rendered, flow_store, tmp_path):
    given = ["--features", "flow", "--flow-preset", "medium", "-j", "1"]
    done = CliRunner().invoke(app, ["preprocess", str(rendered), str(tmp_path / "store"), *given])
    assert done.exit_code == 0, done.output
    store = fastck.open_store(tmp_path / "store")
    assert PreprocessConfig.from_dict(store.manifest["config"]).flow == FlowConfig(preset="medium")
    row = next(store.table.itertuples())
    crops = crops_of(rendered, store, row)
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    np.testing.assert_array_equal(
        store.sequence(row.sequence, "flow"), FlowPass(FlowConfig(preset="medium")).rows(crops, ["flow"])["flow"]
    )
    cv2.setNumThreads(before)
