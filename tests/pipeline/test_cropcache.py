import shutil
import zlib

import numpy as np
import pytest

import fastck
from fastck import MotionConfig
from fastck.config import FaceConfig
from fastck.pipeline import cropcache
from fastck.pipeline.cropcache import CropFile, CropWriter, crop_key
from tests.helpers.stores import assert_same_store

SIDE = 9


def write(path, n_frames=3, size=(40, 60)):
    crops = np.random.default_rng(n_frames).integers(0, 256, (n_frames, SIDE, SIDE), np.uint8)
    file = CropFile(path, n_frames, SIDE)
    with CropWriter(file) as writer:
        for crop in crops:
            writer.add(size, crop)
    return file, crops


def test_crops_come_back_as_they_were(tmp_path):
    file, crops = write(tmp_path / "deep" / "one.npy")
    records = np.load(tmp_path / "deep" / "one.npy")  # readable by NumPy alone
    np.testing.assert_array_equal(records["crop"], crops)
    assert records["crc32"].tolist() == [zlib.crc32(crop) for crop in crops]
    np.testing.assert_array_equal(file.load()["crop"], crops)
    assert set(records["height"]) == {40}
    assert set(records["width"]) == {60}


def test_nothing_is_kept_of_a_sequence_that_failed(tmp_path):
    with pytest.raises(ValueError, match="too many values"):
        write(tmp_path / "one.npy", size=(1, 2, 3))
    assert not list(tmp_path.iterdir())


def test_a_changed_byte_or_another_shape_is_noticed(tmp_path):
    path = tmp_path / "one.npy"
    file, _ = write(path)
    assert CropFile(path, 4, SIDE).load() is None
    assert CropFile(path, 3, SIDE + 1).load() is None
    data = bytearray(path.read_bytes())
    data[-7] ^= 1
    path.write_bytes(data)
    assert file.load() is None
    path.write_bytes(data[:-20])
    assert file.load() is None


def test_a_folder_that_cannot_be_written_is_told_once(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(cropcache, "_told", set())
    (tmp_path / "file").write_text("in the way")
    for name in ("one", "two"):
        file, _ = write(tmp_path / "file" / name)
        assert file.load() is None
    assert len(caplog.records) == 1
    assert "not kept between runs" in caplog.text


def test_keys_differ_with_all_that_may_change_a_crop(tmp_path):
    others = [FaceConfig(crop="smooth"), FaceConfig(side=100), FaceConfig(upsample=(0,)), FaceConfig(boxes="a")]
    keys = {crop_key("f", tmp_path, config, "1") for config in [FaceConfig(), *others]}
    keys |= {crop_key("g", tmp_path, FaceConfig(), "1"), crop_key("f", tmp_path, FaceConfig(), "2")}
    assert len(keys) == 7


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
    monkeypatch.setattr("fastck.pipeline.sequence.read_gray", lambda path: pytest.fail("decoded again"))
    again = fastck.preprocess(rendered, tmp_path / "again", preset=preset, motion=level, keep_crops=True)
    assert_same_store(plain.path, again.path)


def test_damaged_crops_are_cut_again(rendered, tmp_path, cache):
    plain = fastck.preprocess(rendered, tmp_path / "plain", preset="stable", features=("mask",), keep_crops=True)
    damaged, gone, *_ = sorted(cache.iterdir())
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-1] + bytes([whole[-1] ^ 255]))
    gone.unlink()
    again = fastck.preprocess(rendered, tmp_path / "again", preset="stable", features=("mask",), keep_crops=True)
    assert_same_store(plain.path, again.path)
    assert damaged.read_bytes() == whole
    assert gone.exists()


def test_a_full_disk_is_told_before_anything_starts(rendered, tmp_path, cache, monkeypatch):
    usage = shutil.disk_usage(tmp_path)

    def full(path):
        return usage._replace(free=2**16) if "cache" in str(path) else usage

    monkeypatch.setattr("shutil.disk_usage", full)
    with pytest.raises(OSError, match=r"crops needs .* MiB for kept crops, 0 MiB are free: make room"):
        fastck.preprocess(rendered, tmp_path / "store", preset="stable", keep_crops=True)


def test_crops_without_boxes_are_refused(rendered, tmp_path):
    with pytest.raises(ValueError, match="keep_crops needs box_cache"):
        fastck.preprocess(rendered, tmp_path / "store", keep_crops=True, box_cache=False)
