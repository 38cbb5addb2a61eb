"""Landmarks and the head's turn as they are drawn and said: in videos and live."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from typer.testing import CliRunner

import fastck
from fastck.cli import app
from fastck.dataset.clip import clip_record
from fastck.faces.detector import find_landmarks
from fastck.faces.pose import HeadPose, turn_matrix
from fastck.images.image import read_gray
from fastck.pages.palette import bgr
from fastck.recognition.clip import recognise
from fastck.recognition.frame_columns import FrameColumns
from fastck.recognition.live.picture import draw
from fastck.recognition.live.sources import Frame
from fastck.recognition.live.stages import Extras, LiveResult, Totals, watch
from fastck.recognition.live.text import lines
from fastck.recognition.marks import AXES, POINT, draw_marks, find_marks, said_turn
from fastck.views.prediction_video import iter_pictures
from fastck.views.preview import preview_clip, with_landmarks
from fastck.views.sheet import draw_sheet

CLIP = fastck.sample() / "cohn-kanade-images/L032/001"
FRAMES = sorted(CLIP.glob("*.png"))


class Given:
    """Frames one after the other, none of them dropped."""

    dropped = 0

    def __init__(self, grays: list[np.ndarray]) -> None:
        self._frames: Iterator[Frame] = (
            Frame(gray=gray, number=number, turn=0, captured=time.perf_counter()) for number, gray in enumerate(grays)
        )

    def take(self) -> Frame | None:
        return next(self._frames, None)


@pytest.fixture(scope="module")
def grays() -> list[np.ndarray]:
    return [read_gray(path) for path in FRAMES]


@pytest.fixture(scope="module")
def results(grays: list[np.ndarray]) -> list[LiveResult]:
    return list(watch(Given([np.zeros_like(grays[0]), *grays]), extras=Extras(landmarks=True, units=True)))


def shows_points(picture: np.ndarray, points: np.ndarray) -> int:
    """Return how many points have the points' colour where they are: the axes lie over some."""
    places = np.rint(points).astype(int)
    return int((picture[places[:, 1], places[:, 0]] == bgr(POINT)).all(axis=1).sum())


def test_the_rotation_of_a_pose_is_roll_after_pitch_after_yaw():
    for yaw, pitch, roll in ([30, 0, 0], [0, 20, 0], [0, 0, 25], [-35, 12, -8]):
        expected = Rotation.from_euler("ZXY", [roll, pitch, yaw], degrees=True).as_matrix()
        np.testing.assert_allclose(turn_matrix(HeadPose(yaw, pitch, roll, (0, 0, 9))), expected, atol=1e-12)


def test_the_axis_out_of_the_face_follows_the_nose(grays: list[np.ndarray]):
    (box,) = fastck.detect_faces(grays[0])
    marks = find_marks(grays[0], box)
    column = marks.landmarks.points[30, 0]
    for yaw, side in ((30.0, 1), (-30.0, -1)):
        picture = np.zeros((*grays[0].shape, 3), np.uint8)
        draw_marks(picture, type(marks)(marks.landmarks, HeadPose(yaw, 0.0, 0.0, (0, 0, 9))))
        columns = np.nonzero((picture == bgr(AXES[2])).all(axis=2))[1]
        assert side * (np.median(columns) - column) > 5


def test_a_video_shows_the_points_of_each_frame(grays: list[np.ndarray]):
    record = clip_record(CLIP)
    prediction = recognise(record, keep_flow=True)
    plain = list(iter_pictures(prediction, record))
    marked = list(iter_pictures(recognise(record, keep_flow=True, columns=FrameColumns(landmarks=True)), record))
    assert len(marked) == len(plain) == 5
    for gray, reading, before, after in zip(grays, prediction.readings, plain, marked, strict=True):
        (found,) = find_landmarks(gray, [reading.face])
        assert shows_points(after, found.points) > 55
        assert shows_points(before, found.points) == 0
        assert (before.shape, before.dtype) == (after.shape, after.dtype)


def test_predict_draws_them_where_it_is_asked_to(tmp_path: Path):
    for name, options in (("plain", []), ("marked", ["--landmarks"])):
        command = ["predict", str(CLIP), "--video", str(tmp_path / f"{name}.mp4"), *options]
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.output
    first, second = (
        cv2.VideoCapture(str(tmp_path / f"{name}.mp4")).read()[1].astype(int) for name in ("plain", "marked")
    )
    assert np.count_nonzero(np.abs(first - second).max(axis=2) > 60) > 300


def test_live_finds_them_in_every_frame_with_a_face(results: list[LiveResult], grays: list[np.ndarray]):
    assert results[0].marks is None
    for result, gray in zip(results[1:], grays, strict=True):
        (found,) = find_landmarks(gray, [result.reading.face])
        np.testing.assert_array_equal(result.marks.landmarks.points, found.points)
        assert shows_points(draw(result), found.points) > 50


def test_live_says_the_turn(results: list[LiveResult]):
    totals = Totals()
    happy = next(result for result in results[1:] if result.reading.emotion == "happy")
    *_, last = lines(iter(results), totals)
    assert said_turn(happy.marks) in last
    strongest = max((name for name in happy.units if "_" not in name), key=happy.units.__getitem__)
    assert f"{strongest} {happy.units[strongest]:.1f}" in last


def test_the_page_has_the_turn(results: list[LiveResult]):
    pytest.importorskip("aiohttp", reason="needs the extra live")
    from fastck.recognition.live.server import show, shown_units

    values = json.loads(show(results[-1], drawn=False).text)
    marks = results[-1].marks
    assert dict(zip(shown_units(), values["units"], strict=True))["AU12"] == round(results[-1].units["AU12"], 2)
    assert values["head"] == [*map(round, marks.pose[:3]), round(marks.landmarks.confidence, 2)]
    assert json.loads(show(results[0], drawn=False).text)["head"] is None
    assert json.loads(show(results[0], drawn=False).text)["units"] is None


def test_live_reads_the_units_of_the_clip(results: list[LiveResult]):
    units = fastck.action_units(CLIP)
    # The rest is known from the first frame on; what is found later changes it little.
    for result, expected in zip(results[1:], units.intensities, strict=True):
        np.testing.assert_allclose(list(result.units.values()), expected, atol=0.7)
        assert result.milliseconds["units"] > 0
    assert results[-1].units["AU12"] > 2 > results[1].units["AU12"]


def test_live_takes_the_option(tmp_path: Path):
    result = CliRunner().invoke(app, ["live", str(CLIP), "--headless", "--landmarks", "--units"])
    assert result.exit_code == 0, result.output
    assert "yaw " in result.stdout
    plain = CliRunner().invoke(app, ["live", str(CLIP), "--headless"])
    assert "yaw " not in plain.stdout
    assert "landmarks" not in plain.output
    assert "AU" not in plain.output


def test_a_sheet_shows_the_points_of_the_frames(tmp_path: Path):
    preview = with_landmarks(preview_clip(CLIP, columns=2))
    figure = draw_sheet(preview)
    for column, path in enumerate((FRAMES[0], FRAMES[-1])):
        box = preview.views[0].boxes[preview.shown[column]]
        (found,) = find_landmarks(read_gray(path), [fastck.FaceBox(*map(int, box))])
        np.testing.assert_array_equal(figure.axes[column].lines[0].get_xydata(), found.points)
    result = CliRunner().invoke(app, ["preview", str(CLIP), "--mp4", str(tmp_path / "m.mp4"), "--landmarks"])
    assert result.exit_code == 2
    assert "-o FILE.png" in result.output


def test_who_does_not_ask_loads_nothing():
    lines = ["import sys, fastck.views.prediction_video, fastck.recognition.live.run, fastck.recognition.live.picture"]
    lines += ["sys.exit(bool({'fastck.faces.landmarks', 'fastck.faces.units'} & set(sys.modules)))"]
    assert subprocess.run([sys.executable, "-c", "\n".join(lines)], check=False).returncode == 0
