"""`--frames` with `--landmarks`: the points that `find_landmarks` gives for the row's own frame and box."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import fastck
from fastck.cli import app
from fastck.faces.detector import find_landmarks
from fastck.images.image import read_gray
from fastck.pipeline.detect import LANDMARK_COLUMNS, POINT_COLUMNS

CLIP = fastck.sample() / "cohn-kanade-images/L032/001"


@pytest.mark.parametrize("command", ["predict", "detect"])
def test_the_columns_hold_each_face_s_own_points(command: str, tmp_path: Path):
    out = tmp_path / "frames.csv"
    result = CliRunner().invoke(app, [command, str(CLIP), "--frames", str(out), "--landmarks"])
    assert result.exit_code == 0, result.output
    table = pd.read_csv(out)
    assert table["frame"].tolist() == [1, 2, 3, 4, 5]
    assert tuple(table.columns[-len(LANDMARK_COLUMNS) :]) == LANDMARK_COLUMNS
    for path, (_, row) in zip(sorted(CLIP.glob("*.png")), table.iterrows(), strict=True):
        box = fastck.FaceBox(*row[["top", "left", "bottom", "right"]].astype(int))
        (found,) = find_landmarks(read_gray(path), [box])
        np.testing.assert_allclose(row[list(POINT_COLUMNS)].to_numpy(float).reshape(68, 2), found.points, atol=1e-3)
        assert row["landmark_confidence"] == pytest.approx(found.confidence, abs=1e-3)
        # The mouth lies in the lower half of the box, and these people face the camera.
        assert row[[f"y_{point}" for point in range(48, 68)]].min() > (box.top + box.bottom) / 2
        assert abs(row["pose_yaw"]) < 10


def test_landmarks_without_a_table_of_frames_are_refused():
    result = CliRunner().invoke(app, ["predict", str(CLIP), "--landmarks"])
    assert result.exit_code == 2
    assert "--frames" in result.output
