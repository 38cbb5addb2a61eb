"""Opening stores, and what is said of damaged, foreign and unfinished ones."""

import errno
import inspect
import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest

import fastck
from fastck.config import FaceConfig, MotionConfig, PreprocessConfig, preset_faces
from fastck.store.files import allocate, write_rows
from fastck.store.reader import checksum, folder_below
from fastck.views.preview import preview_clip


@pytest.fixture(scope="module")
def made(rendered, tmp_path_factory):
    return fastck.preprocess(
        rendered, tmp_path_factory.mktemp("store") / "s", preset="stable", features=("projection", "mask")
    )


@pytest.fixture
def store(made, tmp_path):
    """A copy to damage."""
    return fastck.open_store(shutil.copytree(made.path, tmp_path / "store"))


def test_rows_lie_one_after_another(made):
    table = made.table
    np.testing.assert_array_equal(table["start"], np.r_[0, table["length"].cumsum()[:-1]])
    np.testing.assert_array_equal(table["frame_start"], np.r_[0, table["n_frames"].cumsum()[:-1]])
    assert (table["length"] == table["n_frames"] - 1).all()
    assert table["sequence"].is_monotonic_increasing
    assert len(made.boxes) == table["n_frames"].sum()


def test_masks_come_unpacked(made):
    sequence = made.table["sequence"][1]
    row = made.row(sequence)
    mask = made.sequence(sequence, "mask")
    assert mask.shape == (row.length, 267, 267)
    packed = made.feature("mask")[row.start : row.start + row.length]
    np.testing.assert_array_equal(np.packbits(mask, axis=-1), packed)


def test_unknown_names(made):
    with pytest.raises(ValueError, match="feature must be one of projection, mask in this store, got 'pool34'"):
        made.feature("pool34")
    with pytest.raises(ValueError, match="holds no sequence 'S999_001'"):
        made.sequence("S999_001", "mask")


def test_a_quarantined_sequence_says_why_it_is_not_there(rendered, tmp_path):
    root = shutil.copytree(rendered, tmp_path / "set")
    victim = fastck.scan(root).records[0]
    for path in victim.frames[1:]:
        path.unlink()
    store = fastck.preprocess(root, tmp_path / "store", preset="stable")
    with pytest.raises(ValueError, match="quarantined, a difference takes two frames"):
        store.sequence(victim.sequence, "projection")


def test_a_sound_store_verifies(made):
    assert list(made.verify()) == []


def test_verify_names_the_sequence_whose_rows_changed(store):
    row = store.table.iloc[2]
    with (store.path / "mask.npy").open("r+b") as file:
        file.seek(-(store.table["length"].sum() - row["start"]) * 267 * 34 + 5, 2)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))
    assert list(store.verify()) == [f"mask.npy: the rows of {row['sequence']} are not what was written"]


def test_a_cut_off_array_is_named(store):
    path = store.path / "projection.npy"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"projection.npy is damaged .*--overwrite"):
        store.feature("projection")
    assert any("projection.npy is damaged" in problem for problem in store.verify())


def test_an_array_of_another_shape_is_named(store):
    np.save(store.path / "projection.npy", np.zeros((3, 2, 267), np.float32))
    with pytest.raises(ValueError, match=r"projection.npy must hold \(\d+, 2, 267\) float32, got \(3, 2, 267\)"):
        store.feature("projection")


def test_nothing_is_unpickled(store, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    np.save(store.path / "projection.npy", np.array([Bomb()], object), allow_pickle=True)
    with pytest.raises(ValueError, match="damaged"):
        store.feature("projection")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: {**m, "format": 99}, "has format 99, this fastck reads up to 1: update fastck"),
        (lambda m: {**m, "colour": 1}, r"unknown keys \['colour'\]"),
        (lambda m: {k: v for k, v in m.items() if k != "arrays"}, r"lacks \['arrays'\]"),
        (lambda m: [1, 2], "is not a store's manifest"),
    ],
)
def test_strange_manifests(store, change, message):
    path = store.path / "manifest.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(ValueError, match=message):
        fastck.open_store(store.path)


def test_what_is_not_a_store(store, tmp_path):
    (store.path / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match="is not a store's manifest"):
        fastck.open_store(store.path)
    with pytest.raises(ValueError, match=r"has no manifest.json: not a store"):
        fastck.open_store(tmp_path / "nowhere")


def test_strange_names_survive_the_tables(store):
    table = pd.read_csv(store.path / "sequences.csv", dtype="str", keep_default_na=False)
    names = ["NA", "nan", "0012", 'a "quoted", name', "two\nlines", "-leading"]
    table["sequence"] = table["folder"] = names
    table.to_csv(store.path / "sequences.csv", index=False)
    read = fastck.open_store(store.path)
    assert list(read.table["sequence"]) == names
    assert read.table["n_frames"].dtype == "int64"


def test_a_config_survives_its_manifest():
    config = PreprocessConfig(
        faces=FaceConfig(crop="smooth", upsample=(0, 1)), motion=MotionConfig(level=9), features=("mask",)
    )
    assert PreprocessConfig.from_dict(json.loads(json.dumps(config.as_dict()))) == config
    assert config.hash() != PreprocessConfig().hash()
    with pytest.raises(ValueError, match="unknown configuration keys"):
        PreprocessConfig.from_dict({**config.as_dict(), "new": 1})
    with pytest.raises(ValueError, match="incomplete"):
        PreprocessConfig.from_dict({"faces": {}})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MotionConfig(level=256), "level must be 0 to 255"),
        (lambda: MotionConfig(size=0), "size must be at least 1"),
        (lambda: MotionConfig(mode="xor"), "mode must be one of"),
        (lambda: FaceConfig(side=4), "side must be 8 to 4096"),
        (lambda: FaceConfig(upsample=(3,)), "upsample must hold numbers from 0 to 2"),
    ],
)
def test_configs_refuse_what_makes_no_sense(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_rows_are_written_where_they_belong(tmp_path):
    path = tmp_path / "a.npy"
    allocate(path, (5, 3), np.dtype(np.float32))
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)
    write_rows(path, 2, rows, 5)
    expected = np.zeros((5, 3), np.float32)
    expected[2:4] = rows
    np.testing.assert_array_equal(np.load(path), expected)
    write_rows(path, 5, rows[:0], 5)
    assert path.stat().st_size == 128 + expected.nbytes


def test_checksums_continue(tmp_path):
    rows = np.random.default_rng(0).integers(0, 255, (10, 7), np.uint8)
    assert checksum(rows[4:], checksum(rows[:4])) == checksum(rows)


def test_a_file_system_that_reserves_no_space_is_told_and_a_full_one_is_an_error(tmp_path, monkeypatch, caplog):
    def refuse(number):
        def fallocate(descriptor, start, size):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "posix_fallocate", fallocate)

    refuse(errno.EOPNOTSUPP)
    with caplog.at_level("WARNING"):
        allocate(tmp_path / "a.npy", (3, 2), np.dtype(np.float32))
    assert "a.npy: this file system reserves no space beforehand" in caplog.text
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), np.zeros((3, 2), np.float32))
    refuse(errno.ENOSPC)
    with pytest.raises(OSError, match="No space left"):
        allocate(tmp_path / "b.npy", (3, 2), np.dtype(np.float32))


@pytest.mark.parametrize("folder", ["../secret", "/etc", "a/../../secret", "", "a\0b"])
def test_a_table_s_folder_stays_below_the_root(tmp_path, folder):
    with pytest.raises(ValueError, match="must lie below the data set's root"):
        folder_below(tmp_path, folder)


def test_the_defaults_are_those_of_the_stable_preset():
    assert FaceConfig() == preset_faces("stable") == FaceConfig(upsample=[0, 1])
    assert PreprocessConfig().faces == FaceConfig()
    for function in (fastck.preprocess, preview_clip, fastck.MotionFeatures):
        assert inspect.signature(function).parameters["preset"].default == "stable"


def test_a_folder_below_the_root_is_joined(tmp_path):
    assert folder_below(tmp_path, "a/..b/ c") == tmp_path / "a" / "..b" / " c"
    assert folder_below(tmp_path, ".") == tmp_path
