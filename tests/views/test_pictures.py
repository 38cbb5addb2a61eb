"""A store's pictures as files: read as the paper's script reads them, and against OpenCV."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import fastck
from fastck.cli import app
from fastck.images.image import read_gray
from fastck.store.reader import Store, open_store
from fastck.views.pictures import export_pictures
from tests.helpers.tinystore import make_store, make_table


@pytest.fixture(scope="module")
def smiles(tmp_path_factory: pytest.TempPathFactory) -> Store:
    path = tmp_path_factory.mktemp("smiles") / "store"
    return fastck.preprocess(fastck.sample(), path, features=("mask", "flow"), n_jobs=1)


def as_the_paper_reads(folder: Path) -> np.ndarray:
    """What the script of fig. 11 makes of a folder of images: 1 where a pixel is at least a fifth of white."""
    return np.stack([cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) / 255 >= 0.2 for path in sorted(folder.iterdir())])


def test_masks_are_read_as_the_paper_s_script_reads_them(smiles: Store, tmp_path: Path):
    line = ["export", str(smiles.path), "--to", "png", "--by", "emotion", "-o", str(tmp_path / "dataset")]
    result = CliRunner().invoke(app, line)
    assert result.exit_code == 0, result.stderr
    assert {path.name for path in (tmp_path / "dataset").iterdir()} == {"5"}
    for row in smiles.table.itertuples():
        folder = tmp_path / "dataset/5" / row.sequence
        assert np.array_equal(as_the_paper_reads(folder), smiles.sequence(row.sequence, "mask"))
        assert set(np.unique(cv2.imread(str(next(folder.iterdir())), cv2.IMREAD_UNCHANGED))) == {0, 255}
    again = CliRunner().invoke(app, line)
    assert again.exit_code == 2
    assert "exists already: name a new folder" in again.stderr


def test_pictures_come_back_as_the_same_masks_of_the_same_people(smiles: Store, tmp_path: Path):
    export_pictures(smiles, tmp_path / "binary", by="emotion")
    again = fastck.preprocess(tmp_path / "binary", tmp_path / "again", layout="masks", features=("mask",), n_jobs=1)
    for column in ("sequence", "subject", "label", "length"):
        assert again.table[column].tolist() == smiles.table[column].tolist(), column
    np.testing.assert_array_equal(again.feature("mask"), smiles.feature("mask"))


def test_folders_of_labels_and_of_people(tmp_path: Path):
    table = make_table(subjects=2, emotions=(1, 5), frames=(2, 3))
    store = make_store(tmp_path / "store", table)
    added = {"label": ["very bored", "happy", "", "anger"], "fold": "", "onset": pd.array([pd.NA] * 4, "Int64")}
    names = {"sequence": ["a_1", "smile", "b_2", "x"], "subject": ["a", "a", "b", "x"]}
    codes = pd.array([pd.NA, 5, pd.NA, 1], "Int64")
    table.assign(emotion=codes, **names, **added).to_csv(store.path / "sequences.csv", index=False)
    store = open_store(store.path)
    assert export_pictures(store, tmp_path / "by", by="emotion") == 1
    found = {str(path.parent.relative_to(tmp_path / "by")) for path in (tmp_path / "by").glob("*/*/*.png")}
    assert found == {"very_bored/a_1", "5/a_smile", "1/x"}
    assert export_pictures(store, tmp_path / "all") == 0
    assert {path.name for path in (tmp_path / "all").iterdir()} == {"a_1", "a_smile", "b_2", "x"}
    assert sorted(path.name for path in (tmp_path / "all/a_1").iterdir())[0] == "a_1_00000001.png"


def test_flow_and_crops(smiles: Store, tmp_path: Path):
    export_pictures(smiles, tmp_path / "flow", feature="flow")
    row = smiles.table.iloc[0]
    flows = smiles.sequence(row["sequence"], "flow")
    longest = max(np.hypot(*smiles.feature("flow")[:, :2].transpose(1, 0, 2, 3)).max(), 1e-3)
    for flow, path in zip(flows, sorted((tmp_path / "flow" / row["sequence"]).iterdir()), strict=True):
        length, angle = cv2.cartToPolar(flow[0], flow[1], angleInDegrees=True)
        hsv = cv2.merge([angle, length / np.float32(longest), np.ones_like(angle)])
        # OpenCV's angles are good to 0.3 degrees.
        expected = 255 * cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
        np.testing.assert_allclose(cv2.imread(str(path)), expected, atol=3)
    export_pictures(smiles, tmp_path / "crop", feature="crop", root=fastck.sample())
    frames = sorted((fastck.sample() / row["folder"]).iterdir())
    boxes = smiles.boxes[row["frame_start"] : row["frame_start"] + row["n_frames"]]
    pictures = sorted((tmp_path / "crop" / row["sequence"]).iterdir())
    for frame, (top, left, bottom, right), path in zip(frames, boxes, pictures, strict=True):
        expected = cv2.resize(read_gray(frame)[top:bottom, left:right], (267, 267))
        assert np.array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), expected)


def test_what_cannot_be_written_says_so_and_leaves_nothing(smiles: Store, tmp_path: Path):
    with pytest.raises(ValueError, match="as root for its crops"):
        export_pictures(smiles, tmp_path / "x", feature="crop")
    with pytest.raises(FileNotFoundError, match="does not hold"):
        export_pictures(smiles, tmp_path / "x", feature="crop", root=tmp_path)
    with pytest.raises(ValueError, match="feature must be one of"):
        export_pictures(smiles, tmp_path / "x", feature="pool34")
    table = make_table(subjects=2, emotions=(1,))
    bare = make_store(tmp_path / "store", table)
    with pytest.raises(ValueError, match="feature must be one of"):
        export_pictures(bare, tmp_path / "x", feature="flow")
    table.assign(sequence=["a_B", "b"], subject=["x", "x_a"]).to_csv(bare.path / "sequences.csv", index=False)
    with pytest.raises(ValueError, match="would both be written to x_a_b"):
        export_pictures(open_store(bare.path), tmp_path / "x")
    assert {path.name for path in tmp_path.iterdir()} == {"store"}
