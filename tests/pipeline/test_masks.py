"""A folder of masks, as the paper's script leaves them, becomes a store; and a store's masks come back."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

import fastck
from fastck.cli import app
from fastck.store.reader import open_store

FEATURES = ("projection", "mask", "pool134", "pool67", "pool34")


def write_masks(folder: Path, masks: np.ndarray, suffix: str = ".png") -> None:
    folder.mkdir(parents=True)
    for number, mask in enumerate(masks, start=1):
        assert cv2.imwrite(str(folder / f"{folder.name}_{number:08d}{suffix}"), mask)


@pytest.fixture
def masks(tmp_path: Path) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    found = {
        name: (random.random((steps, 267, 267)) < 0.3).astype(np.uint8) * 255
        for name, steps in (("S005_001", 3), ("S010_002", 1), ("S011_001", 40))
    }
    for name, code in (("S005_001", "3"), ("S010_002", "5"), ("S011_001", "5")):
        write_masks(tmp_path / "binary" / code / name, found[name])
    return found


def test_masks_made_by_hand_are_the_stores(masks: dict[str, np.ndarray], tmp_path: Path):
    command = ["preprocess", str(tmp_path / "binary"), str(tmp_path / "store"), "--layout", "masks"]
    result = CliRunner().invoke(app, [*command, "--features", ",".join(FEATURES)])
    assert result.exit_code == 0, result.output
    store = open_store(tmp_path / "store")
    rows = store.table[["sequence", "subject", "label", "length"]].itertuples(index=False, name=None)
    assert list(rows) == [
        ("S005_001", "S005", "disgust", 3),
        ("S010_002", "S010", "happy", 1),
        ("S011_001", "S011", "happy", 40),
    ]
    for name, expected in masks.items():
        np.testing.assert_array_equal(store.sequence(name, "mask"), expected // 255)
        averages = expected.astype(np.float64) / 255
        projection = np.stack([averages.mean(axis=1), averages.mean(axis=2)], axis=1)
        np.testing.assert_allclose(store.sequence(name, "projection"), projection, atol=1e-6)
        np.testing.assert_allclose(store.sequence(name, "pool134")[:, :133, :133], cells(averages), atol=1e-6)


def cells(masks: np.ndarray) -> np.ndarray:
    """Return the means of whole 2x2 windows."""
    return masks[:, :266, :266].reshape(len(masks), 133, 2, 133, 2).mean(axis=(2, 4))


def test_what_a_store_exports_as_pictures_is_that_store_again(rendered: Path, tmp_path: Path):
    store = fastck.preprocess(rendered, tmp_path / "store", features=FEATURES)
    exported = CliRunner().invoke(
        app, ["export", str(store.path), "--to", "png", "--by", "emotion", "-o", str(tmp_path / "binary")]
    )
    assert exported.exit_code == 0, exported.output
    again = fastck.preprocess(tmp_path / "binary", tmp_path / "again", layout="masks", features=FEATURES)
    kept = [name for name in store.table["sequence"] if name in set(again.table["sequence"])]
    assert len(kept) == len(again.table) == (store.table["label"] != "").sum()
    for name in kept:
        for feature in FEATURES:
            np.testing.assert_array_equal(again.sequence(name, feature), store.sequence(name, feature))
    columns = ["sequence", "subject", "emotion", "n_frames", "motion"]
    chosen = store.table[store.table["sequence"].isin(kept)].reset_index(drop=True)
    assert again.table[columns].equals(chosen[columns])


def test_what_is_no_mask_is_refused(masks: dict[str, np.ndarray], tmp_path: Path):
    root = tmp_path / "binary"
    write_masks(root / "5/S012_001", masks["S005_001"] // 2)
    write_masks(root / "5/S012_002", masks["S005_001"][:, :200, :200])
    store = fastck.preprocess(root, tmp_path / "store", layout="masks")
    reasons = dict(store.quarantine[["sequence", "reason"]].itertuples(index=False, name=None))
    assert (
        reasons["S012_001"] == "S012_001_00000001.png: a mask must hold 0 and 255 alone, got 127: was it saved as JPEG?"
    )
    with pytest.raises(ValueError, match=r"masks hold no gray levels: features must be some of .*, got flow"):
        fastck.preprocess(root, tmp_path / "other", layout="masks", features=["flow"])
    with pytest.raises(ValueError, match="masks are there already"):
        fastck.preprocess(root, tmp_path / "other", layout="masks", motion=fastck.MotionConfig(level=5))
