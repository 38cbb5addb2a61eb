"""What is kept between runs: never another sequence's, never another version's, and never a byte that changed."""

import os
import shutil
import sqlite3
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fastck
from fastck import MotionConfig
from fastck.config import FaceConfig
from fastck.faces import landmarks
from fastck.faces.box import FaceBox
from fastck.faces.boxfile import BoxFile
from fastck.outputs import cache_folder
from fastck.pipeline import cropfile
from fastck.pipeline.cache import Cache, packed_boxes
from fastck.pipeline.cropfile import CropFile
from fastck.store.plan import PlannedSequence
from tests.helpers.stores import assert_same_store

SIDE = 9
VERSIONS = {"fastck": "1", "opencv": "2", "dlib": "3"}
EACH = FaceConfig(crop="frame", upsample=(0,))


def plan(sequence="s", *, fingerprint="f", folder="a", n_frames=3) -> PlannedSequence:
    return PlannedSequence(
        sequence=sequence,
        subject="s",
        emotion=None,
        n_frames=n_frames,
        folder=folder,
        fingerprint=fingerprint,
        start=0,
        frame_start=0,
    )


# -- Detections -------------------------------------------------------------------------------------------------------
def test_detections_come_back_as_they_were(tmp_path):
    found = [None, FaceBox(1, 2, 3, 4), None]
    for _ in range(2):
        with Cache(tmp_path / "deep", tmp_path, EACH, VERSIONS) as cache:
            cache.keep_boxes([(plan(), packed_boxes(found))])
            assert cache.boxes(plan()) == found
            assert cache.boxes(plan(fingerprint="other")) is None


def test_detections_that_are_too_few_or_too_many_for_the_crop_policy(tmp_path):
    found = [None, FaceBox(1, 2, 3, 4), FaceBox(1, 2, 3, 5)]
    each, one = EACH, FaceConfig(crop="sequence", upsample=(0,))
    with Cache(tmp_path, tmp_path, each, VERSIONS) as frames, Cache(tmp_path, tmp_path, one, VERSIONS) as sequences:
        frames.keep_boxes([(plan(), packed_boxes(found))])
        assert sequences.boxes(plan()) == found[:2]
        sequences.keep_boxes([(plan(), packed_boxes(found[:2]))])
        assert frames.boxes(plan()) is None


def test_no_cache_keeps_nothing(tmp_path):
    with Cache(None, tmp_path, EACH, VERSIONS, keep_crops=True) as cache:
        cache.keep_boxes([(plan(), packed_boxes([None] * 3))])
        assert cache.boxes(plan()) is None
        assert cache.crops(plan()) is None


def test_a_damaged_cache_is_reported_and_left_alone(tmp_path, caplog):
    (tmp_path / "boxes.sqlite").write_bytes(b"this is no database" * 100)
    with Cache(tmp_path, tmp_path, EACH, VERSIONS) as cache:
        assert cache.boxes(plan()) is None
        cache.keep_boxes([(plan(), packed_boxes([None] * 3))])
    assert len(caplog.records) == 1
    assert "not kept between runs" in caplog.text


def test_a_cache_that_breaks_midway_is_told_once_and_left_alone(tmp_path, caplog):
    for call in (
        lambda cache: cache.boxes(plan()),
        lambda cache: cache.keep_boxes([(plan(), packed_boxes([None] * 3))]),
    ):
        caplog.clear()
        with Cache(tmp_path, tmp_path, EACH, VERSIONS) as cache:
            with sqlite3.connect(tmp_path / "boxes.sqlite") as base:
                base.execute("DROP TABLE found")
            base.close()
            assert call(cache) is None
            assert cache.boxes(plan()) is None
            cache.keep_boxes([(plan(), packed_boxes([None]))])
        assert caplog.text.count("detections are not kept between runs") == 1


OTHERS = [
    ({"planned": plan(fingerprint="g")}, "both"),
    ({"planned": plan(folder="b")}, "both"),
    ({"faces": FaceConfig(crop="frame", upsample=(1,))}, "both"),
    ({"faces": FaceConfig(crop="frame", upsample=(0,), search="full")}, "both"),
    ({"versions": {**VERSIONS, "fastck": "9"}}, "both"),
    ({"versions": {**VERSIONS, "dlib": "9"}}, "both"),
    ({"versions": {**VERSIONS, "opencv": "9"}}, "both"),
    ({"faces": FaceConfig(crop="smooth", upsample=(0,))}, "crops"),
    ({"faces": FaceConfig(crop="frame", upsample=(0,), side=100)}, "crops"),
    ({"planned": plan("another id of the same files")}, "none"),
]


@pytest.mark.parametrize(("change", "differs"), OTHERS)
def test_what_may_change_a_box_or_a_crop_is_kept_apart(tmp_path, change, differs):
    settings = {"planned": plan(), "faces": EACH, "versions": VERSIONS, **change}
    with Cache(tmp_path, tmp_path, EACH, VERSIONS, keep_crops=True) as cache:
        cache.keep_boxes([(plan(), packed_boxes([None, None, FaceBox(1, 2, 3, 4)]))])
        file = cache.crops(plan())
    with Cache(tmp_path, tmp_path, settings["faces"], settings["versions"], keep_crops=True) as cache:
        assert (cache.boxes(settings["planned"]) is None) == (differs == "both")
        assert (cache.crops(settings["planned"]).path != file.path) == (differs != "none")


def test_aligned_crops_are_of_one_landmark_model(tmp_path, monkeypatch):
    paths = {}
    for name in ("bundled", "other", "bundled"):
        if name == "other":
            (tmp_path / name).write_bytes(b"another model")
            monkeypatch.setattr(landmarks, "BUNDLED", tmp_path / name)
        for crop in ("aligned", "frame"):
            with Cache(tmp_path, tmp_path, FaceConfig(crop=crop), VERSIONS, keep_crops=True) as cache:
                paths.setdefault((crop, name), set()).add(cache.crops(plan()).path)
        monkeypatch.undo()
        landmarks.landmark_model_digest.cache_clear()
    assert all(len(found) == 1 for found in paths.values())
    assert paths["aligned", "bundled"] != paths["aligned", "other"]
    assert paths["frame", "bundled"] == paths["frame", "other"]


def test_crops_of_own_boxes_belong_to_the_sequence_s_id(tmp_path):
    """The same files under another id, as another layout or root gives it, have other boxes in the same CSV."""
    own = BoxFile.of({"one": {1: FaceBox(0, 0, 9, 9)}, "two": {1: FaceBox(1, 1, 9, 9)}}, "digest")
    faces = FaceConfig(boxes="digest")
    with Cache(tmp_path, tmp_path, faces, VERSIONS, user_boxes=own, keep_crops=True) as cache:
        assert cache.boxes(plan("one")) == [FaceBox(0, 0, 9, 9)]
        assert cache.crops(plan("one")).path != cache.crops(plan("two")).path
        assert cache.crops(plan("one")).path == cache.crops(plan("one")).path


def test_the_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("FASTCK_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "fastck"


def test_a_user_without_a_home_runs_without_a_cache(rendered, tmp_path, monkeypatch, caplog):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("FASTCK_CACHE_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("pathlib.Path.home", no_home)
    store = fastck.preprocess(rendered, tmp_path / "store", keep_crops=True)
    assert len(store.table) == 6
    assert caplog.text.count("no home folder") == 1


def test_files_that_change_during_the_run_leave_nothing_behind(rendered, tmp_path, own_cache, monkeypatch):
    """Another person's box under this one's key would spoil every later run."""
    root = shutil.copytree(rendered, tmp_path / "set")
    first = fastck.scan(root).records[0]
    real = fastck.pipeline.frames.read_gray

    def swapping(path):
        gray = real(path)
        if path == first.frames[-1]:
            os.utime(first.frames[0], ns=(1, 1))
        return gray

    monkeypatch.setattr("fastck.pipeline.frames.read_gray", swapping)
    store = fastck.preprocess(root, tmp_path / "store", keep_crops=True)
    assert dict(zip(store.quarantine["sequence"], store.quarantine["reason"], strict=True)) == {
        first.sequence: "its files have changed since they were listed"
    }
    assert len(list((own_cache / "crops").iterdir())) == len(store.table) == 5
    with sqlite3.connect(own_cache / "boxes.sqlite") as base:
        assert base.execute("SELECT count(*) FROM found").fetchone() == (5,)
    base.close()


# -- Crops ------------------------------------------------------------------------------------------------------------
def write(path, n_frames=3, size=(40, 60)):
    crops = np.random.default_rng(n_frames).integers(0, 256, (n_frames, SIDE, SIDE), np.uint8)
    file = CropFile(path, n_frames, SIDE)
    passed = [crop.copy() for crop in file.keep(iter(crops), size)]
    np.testing.assert_array_equal(passed, crops)
    return file, crops


def test_crops_come_back_as_they_were(tmp_path):
    file, crops = write(tmp_path / "deep" / "one.npy")
    records = np.load(tmp_path / "deep" / "one.npy")  # readable by NumPy alone
    np.testing.assert_array_equal(records["crop"], crops)
    size = np.array([40, 60], "<u4").tobytes()
    assert records["crc32"].tolist() == [zlib.crc32(crop, zlib.crc32(size)) for crop in crops]
    np.testing.assert_array_equal(file.load()["crop"], crops)
    assert set(records["height"]) == {40}
    assert set(records["width"]) == {60}


def test_nothing_is_kept_of_a_sequence_that_failed(tmp_path):
    def failing():
        yield np.zeros((SIDE, SIDE), np.uint8)
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        list(CropFile(tmp_path / "one.npy", 3, SIDE).keep(failing(), (1, 2)))
    stopped = CropFile(tmp_path / "two.npy", 3, SIDE).keep(iter(np.zeros((3, SIDE, SIDE), np.uint8)), (1, 2))
    next(stopped)
    stopped.close()
    assert not list(tmp_path.iterdir())


def test_another_shape_and_a_cut_off_file_are_noticed(tmp_path):
    path = tmp_path / "one.npy"
    file, _ = write(path)
    assert CropFile(path, 4, SIDE).load() is None
    assert CropFile(path, 3, SIDE + 1).load() is None
    path.write_bytes(path.read_bytes()[:-20])
    assert file.load() is None


def test_any_changed_byte_is_a_miss_or_changes_nothing(tmp_path):
    """Every byte of header, sizes, checksums and crops, each with several values: never an error, never other crops."""
    file, crops = write(tmp_path / "one.npy")
    whole = (tmp_path / "one.npy").read_bytes()
    header = len(whole) - file.load().nbytes
    rng = np.random.default_rng(0)
    missed = 0
    for at in range(len(whole)):
        for value in {whole[at] ^ 1, whole[at] ^ 128, 0, 255, *rng.integers(0, 256, 2).tolist()} - {whole[at]}:
            (tmp_path / "one.npy").write_bytes(whole[:at] + bytes([value]) + whole[at + 1 :])
            records = file.load()
            missed += records is None
            if records is not None:
                assert at < header, "outside of the header every byte counts"
                np.testing.assert_array_equal(records["crop"], crops)
                assert (set(records["height"]), set(records["width"])) == ({40}, {60})
    assert missed > 1000


def test_a_folder_that_cannot_be_written_is_told_once(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(cropfile, "_warned", set())
    (tmp_path / "file").write_text("in the way")
    for name in ("one", "two"):
        file, _ = write(tmp_path / "file" / name)
        assert file.load() is None
    assert len(caplog.records) == 1
    assert "not kept between runs" in caplog.text


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTCK_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "crops"


@pytest.mark.parametrize("preset", ["stable", "paper"])
def test_kept_crops_take_the_place_of_decoding(rendered, tmp_path, cache, monkeypatch, preset):
    level = MotionConfig(level=100)
    plain = fastck.preprocess(rendered, tmp_path / "plain", preset=preset, motion=level)
    fastck.preprocess(rendered, tmp_path / "first", preset=preset, keep_crops=True)
    assert len(list(cache.glob("*.npy"))) == len(plain.table)
    monkeypatch.setattr("fastck.pipeline.frames.read_gray", lambda path: pytest.fail("decoded again"))
    again = fastck.preprocess(rendered, tmp_path / "again", preset=preset, motion=level, keep_crops=True)
    assert_same_store(plain.path, again.path)


def test_kept_crops_of_own_boxes(rendered, tmp_path, cache):
    rows = [(record.sequence, 1, 100, 180, 380, 460) for record in fastck.scan(rendered).records]
    boxes = tmp_path / "boxes.csv"
    pd.DataFrame(rows, columns=["sequence", "frame", "top", "left", "bottom", "right"]).to_csv(boxes, index=False)
    first = fastck.preprocess(rendered, tmp_path / "one", boxes=boxes, keep_crops=True)
    again = fastck.preprocess(rendered, tmp_path / "two", boxes=boxes, keep_crops=True)
    assert len(list(cache.glob("*.npy"))) == len(first.table)
    assert_same_store(first.path, again.path)


def test_damaged_crops_are_cut_again(rendered, tmp_path, cache):
    plain = fastck.preprocess(rendered, tmp_path / "plain", features=("mask",), keep_crops=True)
    damaged, gone, header, *_ = sorted(cache.iterdir())
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-1] + bytes([whole[-1] ^ 255]))
    gone.unlink()
    header.write_bytes(header.read_bytes().replace(b"{", b"(", 1))
    again = fastck.preprocess(rendered, tmp_path / "again", features=("mask",), keep_crops=True)
    assert_same_store(plain.path, again.path)
    assert damaged.read_bytes() == whole
    assert gone.exists()


def test_a_full_disk_is_told_before_anything_starts(rendered, tmp_path, cache, monkeypatch):
    usage = shutil.disk_usage(tmp_path)

    def full(path: Path):
        return usage._replace(free=2**16) if "cache" in str(path) else usage

    monkeypatch.setattr("shutil.disk_usage", full)
    with pytest.raises(OSError, match=r"crops needs .* MiB for kept crops, 0 MiB are free: make room"):
        fastck.preprocess(rendered, tmp_path / "store", keep_crops=True)


def test_crops_without_boxes_are_refused(rendered, tmp_path):
    with pytest.raises(ValueError, match="keep_crops needs box_cache"):
        fastck.preprocess(rendered, tmp_path / "store", keep_crops=True, box_cache=False)
