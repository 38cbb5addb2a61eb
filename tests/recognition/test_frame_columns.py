"""Landmarks and action units per frame: what `detect_landmarks` and `action_units` give, in tables and plots."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from typer.testing import CliRunner

import fastck
from fastck.cli import app
from fastck.dataset.clip import clip_record
from fastck.faces import FaceBox
from fastck.faces.landmarks import LandmarkFinder
from fastck.faces.pose import head_pose
from fastck.faces.units import UNITS
from fastck.pipeline import frames as pipeline_frames
from fastck.pipeline.detect import LANDMARK_COLUMNS, POINT_COLUMNS
from fastck.recognition.clip import recognise
from fastck.recognition.frame_columns import FrameColumns
from fastck.training.report import plots
from fastck.views.prediction_plot import plot_prediction
from fastck.views.preview import preview_clip, with_units
from fastck.views.sheet import draw_sheet

CLIP = fastck.sample() / "cohn-kanade-images/L032/001"


@pytest.fixture(scope="module")
def expected() -> fastck.ActionUnits:
    return fastck.action_units(CLIP)


def video(path: Path = CLIP) -> np.ndarray:
    return np.stack([cv2.imread(str(frame), cv2.IMREAD_GRAYSCALE) for frame in sorted(path.glob("*.png"))])


@pytest.mark.parametrize("person", ["all", "largest"])
def test_frames_have_what_the_other_functions_give(person: str):
    """Of an iterator, which can be read only once."""
    frames = video()
    rows = fastck.predict(iter(frames), person=person, landmarks=True, units=True).frames
    assert tuple(rows.columns[-len(UNITS) - len(LANDMARK_COLUMNS) :]) == (*LANDMARK_COLUMNS, *UNITS)
    boxes = [FaceBox(*row) for row in rows[list(FaceBox._fields)].to_numpy().tolist()]
    for (_, row), gray, box in zip(rows.iterrows(), frames, boxes, strict=True):
        (points,), (confidence,) = fastck.detect_landmarks(gray, [box], confidence=True)
        np.testing.assert_allclose(row[list(POINT_COLUMNS)].to_numpy(float).reshape(68, 2), points, atol=5.1e-5)
        assert row["landmark_confidence"] == pytest.approx(confidence, abs=5.1e-5)
        turn = row[["pose_yaw", "pose_pitch", "pose_roll"]].tolist()
        assert turn == pytest.approx(head_pose(points, gray.shape)[:3], abs=5.1e-5)
    np.testing.assert_allclose(rows[list(UNITS)], fastck.action_units(frames).intensities, atol=5.1e-4)
    plain = fastck.predict(frames, person=person).frames
    pd.testing.assert_frame_equal(rows[plain.columns], plain)
    assert not set(plain.columns) & {*UNITS, *LANDMARK_COLUMNS}


def test_a_frame_without_the_face_has_none():
    frames = video()
    frames[2] = 0
    rows = fastck.predict(frames, landmarks=True, units=True).frames.set_index("frame")
    assert rows.loc[2].notna().sum() > 180
    # The box before it is no face in this frame.
    assert np.isnan(rows.loc[3, "score"])
    assert rows.loc[3, [*LANDMARK_COLUMNS, *UNITS]].isna().all()


def test_a_photo_has_them_for_each_face(tmp_path: Path):
    path = tmp_path / "two.png"
    other = video(fastck.sample() / "cohn-kanade-images/L008/001")
    gray = np.hstack([video()[-1], other[-1]])
    cv2.imwrite(str(path), gray)
    rows = fastck.predict(path, landmarks=True, units=True).frames
    boxes = [FaceBox(*row) for row in rows[list(FaceBox._fields)].to_numpy().tolist()]
    points = fastck.detect_landmarks(gray, boxes)
    assert len(points) == 2
    np.testing.assert_allclose(rows[list(POINT_COLUMNS)].to_numpy().reshape(2, 68, 2), points, atol=5.1e-5)
    people = fastck.action_units(path).people
    np.testing.assert_allclose(rows[list(UNITS)], [one.intensities[0] for one in people], atol=5.1e-4)


def test_frames_are_decoded_and_landmarks_found_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    read: list[str] = []
    searched: list[object] = []
    read_gray, find = pipeline_frames.read_gray, LandmarkFinder.__call__
    monkeypatch.setattr(pipeline_frames, "read_gray", lambda path: (read.append(path), read_gray(path))[1])
    monkeypatch.setattr(
        LandmarkFinder, "__call__", lambda self, gray, box: (searched.append(box), find(self, gray, box))[1]
    )
    for command, places in (("predict", ["--json", str(tmp_path / "a.json")]), ("detect", [])):
        read.clear()
        searched.clear()
        out = tmp_path / f"{command}.csv"
        options = ["--frames", str(out), "--landmarks", "--units", *places]
        result = CliRunner().invoke(app, [command, str(CLIP), *options])
        assert result.exit_code == 0, result.output
        assert len(read) == len(searched) == 5


@pytest.mark.parametrize("command", ["predict", "detect"])
def test_the_columns_are_action_units_own(command: str, expected: fastck.ActionUnits, tmp_path: Path):
    out = tmp_path / "frames.csv"
    result = CliRunner().invoke(app, [command, str(CLIP), "--frames", str(out), "--landmarks", "--units"])
    assert result.exit_code == 0, result.output
    table = pd.read_csv(out)
    assert tuple(table.columns[-len(UNITS) :]) == UNITS
    assert tuple(table.columns[-len(UNITS) - len(LANDMARK_COLUMNS) : -len(UNITS)]) == LANDMARK_COLUMNS
    # Boxes of the same faces; `detect` doubles each frame, and its boxes may lie a pixel or two beside.
    tolerance = 2e-3 if command == "predict" else 0.7
    np.testing.assert_allclose(table[list(UNITS)], expected.intensities, atol=tolerance)
    assert table["AU12"].idxmax() == 4


def test_each_person_is_judged_beside_their_own_rest(tmp_path: Path):
    folder = tmp_path / "two"
    folder.mkdir()
    other = fastck.sample() / "cohn-kanade-images/L008/001"
    for number, paths in enumerate(zip(sorted(CLIP.glob("*.png")), sorted(other.glob("*.png")), strict=True), start=1):
        pair = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)[60:460, 120:520] for path in paths]
        cv2.imwrite(str(folder / f"{number:03d}.png"), np.hstack(pair))
    out = tmp_path / "frames.parquet"
    result = CliRunner().invoke(app, ["predict", str(folder), "--frames", str(out), "--units"])
    assert result.exit_code == 0, result.output
    table = pd.read_parquet(out)
    units = fastck.action_units(folder)
    assert len(units.people) == 2
    for one in units.people:
        own = table[table["person"] == one.person]
        np.testing.assert_allclose(own[list(UNITS)], one.intensities, atol=2e-3)
        # Both smile at the end, one of them slightly and with closed lips.
        assert own["AU12"].iloc[-1] > own["AU12"].iloc[0] + 0.5


def test_a_plot_shows_them_over_time(expected: fastck.ActionUnits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    record = clip_record(CLIP)
    drawn: list[Figure] = []
    monkeypatch.setattr(plots, "save_figure", lambda figure, path: drawn.append(figure))
    prediction = recognise(record, keep_flow=True, columns=FrameColumns(units=True))
    plot_prediction(prediction, tmp_path / "p.png", record=record)
    axes = drawn[0].subfigs[1].axes[0]
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert names == [name for name in UNITS if "_" not in name]
    shown = axes.collections[0].get_array().reshape(len(names), 5)
    wanted = expected.intensities[:, [UNITS.index(name) for name in names]]
    np.testing.assert_allclose(shown, wanted.T, atol=2e-3)
    assert axes.get_xlabel() == "frame"


def test_a_sheet_shows_the_strongest(expected: fastck.ActionUnits):
    preview = with_units(preview_clip(CLIP, columns=5))
    smile = UNITS.index("AU12")
    # The first view's box is one for all frames.
    assert np.abs(np.array(preview.units)[:, smile] - expected.intensities[:, smile]).max() < 1
    figure = draw_sheet(preview)
    texts = [text.get_text() for text in figure.axes[9].texts]
    assert len(texts) == 6
    strongest = max((name for name in UNITS if "_" not in name), key=lambda name: preview.units[4][UNITS.index(name)])
    assert texts[0] == f"{strongest} {preview.units[4][UNITS.index(strongest)]:.1f}"


@pytest.mark.parametrize(
    ("command", "said"), [(["predict"], "--frames FILE and --plot OUT"), (["detect", "-o", "b.csv"], "--frames FILE")]
)
def test_units_without_a_place_are_refused(command: list[str], said: str):
    result = CliRunner().invoke(app, [*command, str(CLIP), "--units"], env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert said in result.output
