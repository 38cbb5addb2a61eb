"""Landmarks, head pose and aligned crops, against rendered people whom the model was not fitted to."""

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import fastck
from fastck.cli import app
from fastck.faces.aligned import cut_aligned, find_alignments, steady
from fastck.faces.box import FaceBox
from fastck.faces.detector import FaceDetector, find_landmarks
from fastck.faces.landmarks import BUNDLED, LandmarkFinder, Landmarks, in_view, load_landmark_model
from fastck.faces.pose import head_pose
from fastck.kernels.landmarks import gradient_sums, patch_features, weigh
from fastck.pipeline.sequence import process_record
from fastck.render import render_dataset
from fastck.render.dataset import draw_person, subject_rng
from fastck.render.motion import Pose
from fastck.render.scene import Scene
from tools.landmarks.fit import errors_of
from tools.landmarks.make import HardFrame, hard_frames, model_bytes, nearest_face
from tools.landmarks.points import Carriers
from tools.units.frames import Keeper

UNSEEN = 4711
MOST_ERROR = 0.025  # shares of the outer eye corners' distance


class Found:
    """Frames of the hard set and what is found in them."""

    def __init__(self) -> None:
        search = FaceDetector(0)
        pairs = [(frame, nearest_face(search(frame.gray), frame.points)) for frame in hard_frames(UNSEEN, 8)]
        self.frames: list[HardFrame] = [frame for frame, box in pairs if box is not None]
        self.boxes: list[FaceBox] = [box for _, box in pairs if box is not None]
        self.found: list[Landmarks] = [
            find_landmarks(frame.gray, [box])[0] for frame, box in zip(self.frames, self.boxes, strict=True)
        ]


@pytest.fixture(scope="module")
def unseen() -> Found:
    return Found()


def test_points_lie_where_the_renderer_put_them(unseen: Found):
    points = np.stack([found.points for found in unseen.found])
    truth = np.stack([frame.points for frame in unseen.frames])
    assert points.dtype == np.float32
    assert len(points) >= 28
    assert errors_of(points, truth).mean() <= MOST_ERROR


def test_the_expected_error_is_the_error_on_average(unseen: Found):
    points = np.stack([found.points for found in unseen.found])
    truth = np.stack([frame.points for frame in unseen.frames])
    expected = np.array([(1 - found.confidence) / 10 for found in unseen.found])
    assert expected.mean() == pytest.approx(errors_of(points, truth).mean(), abs=0.012)


def test_a_box_without_a_face_has_little_confidence(unseen: Found):
    noise = np.random.default_rng(1).integers(0, 256, (200, 200), np.uint8)
    _, (nothing,) = fastck.detect_landmarks(noise, [FaceBox(20, 20, 180, 180)], confidence=True)
    assert nothing < np.median([found.confidence for found in unseen.found]) - 0.1


def test_all_searches_of_points_agree(unseen: Found):
    gray = unseen.frames[0].gray
    detector = FaceDetector(0, landmarks=True)
    boxes = detector(gray)
    assert detector.landmarks is not None
    points, confidence = fastck.detect_landmarks(gray, boxes, confidence=True)
    assert points.shape == (len(boxes), 68, 2)
    assert points.dtype == confidence.dtype == np.float32
    for number, found in enumerate(detector.landmarks):
        np.testing.assert_array_equal(found.points, points[number])
        assert np.float32(found.confidence) == confidence[number]
    of_boxes = fastck.detect_landmarks(gray, fastck.detect_faces(gray))
    np.testing.assert_array_equal(fastck.detect_landmarks(gray), of_boxes)
    assert fastck.detect_landmarks(gray, []).shape == (0, 68, 2)
    assert FaceDetector(0).landmarks is None


def test_points_follow_the_face_when_all_is_moved_or_larger(unseen: Found):
    gray, box = unseen.frames[0].gray, unseen.boxes[0]
    points = unseen.found[0].points
    moved = np.zeros((gray.shape[0] + 60, gray.shape[1] + 90), np.uint8)
    moved[60:, 90:] = gray
    (there,) = fastck.detect_landmarks(moved, [FaceBox(box[0] + 60, box[1] + 90, box[2] + 60, box[3] + 90)])
    np.testing.assert_allclose(there - points, np.tile([90.0, 60.0], (68, 1)), atol=0.01)
    twice = cv2.resize(gray, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    (larger,) = fastck.detect_landmarks(twice, [FaceBox(*(2 * edge for edge in box))])
    # Pixel centres: column c of the smaller one lies at 2c + 0.5 of the larger one.
    assert np.abs((larger - 0.5) / 2 - points).mean() < 1.0


@pytest.mark.parametrize(
    ("gray", "boxes", "error"),
    [
        (np.zeros((50, 50)), None, TypeError),
        (np.zeros((50, 50, 3), np.uint8), None, ValueError),
        (np.zeros((50, 50), np.uint8), [FaceBox(10, 10, 10, 30)], ValueError),
        (np.zeros((50, 50), np.uint8), [FaceBox(60, 60, 90, 90)], ValueError),
        (np.zeros((50, 50), np.uint8), [(0.0, float("nan"), 5.0, 5.0)], ValueError),
    ],
)
def test_bad_input_is_refused_with_what_was_given(gray: Any, boxes: Any, error: type[Exception]):
    with pytest.raises(error, match="must"):
        fastck.detect_landmarks(gray, boxes)


def test_a_box_may_reach_outside_and_be_tiny():
    gray = np.random.default_rng(0).integers(0, 256, (40, 30), np.uint8)
    for box in (FaceBox(-20, -10, 30, 40), FaceBox(39, 29, 40, 30), FaceBox(-500, -500, 900, 900)):
        (points,), (confidence,) = fastck.detect_landmarks(gray, [box], confidence=True)
        assert np.isfinite(points).all()
        assert 0 <= confidence <= 1


def test_a_box_whose_surroundings_are_in_view_is_one_that_points_are_found_in():
    gray, finder = np.random.default_rng(0).integers(0, 256, (40, 30), np.uint8), LandmarkFinder()
    for top in range(-70, 80, 10):
        for left in range(-70, 70, 10):
            box = FaceBox(top, left, top + 20, left + 20)
            if in_view(box, gray):
                assert np.isfinite(finder(gray, box).points).all()
            touches = -20 < top < 40 and -20 < left < 30
            far = not (-40 < top < 60 and -40 < left < 50)
            assert in_view(box, gray) if touches else not (far and in_view(box, gray)), box


def test_a_rendered_face_that_leaves_the_picture_is_lost():
    """What is taken for a face's points may run off."""
    gray = np.zeros((100, 100), np.uint8)
    keeper = Keeper(lambda _: [FaceBox(30, 30, 70, 70)], np.random.default_rng(0), None)
    points = np.full((68, 2), 50, np.float32)
    for shift in (0, 0, 60, 300):
        assert keeper.box(gray) is not None
        keeper.follow(points + np.float32(shift))
    assert keeper.box(gray) is None


def test_a_face_takes_little_time(unseen: Found):
    finder, gray, box = LandmarkFinder(), unseen.frames[0].gray, unseen.boxes[0]
    times = []
    for _ in range(60):
        start = time.perf_counter()
        finder(gray, box)
        times.append(time.perf_counter() - start)
    # A wide allowance for other machines and other work on this one: a millisecond or less where there is none.
    assert min(times) < 10e-3


def test_the_model_is_small_and_holds_plain_arrays():
    assert BUNDLED.stat().st_size < 6_000_000
    model = load_landmark_model()
    assert model.about["seed"] != UNSEEN
    assert model_bytes(model) == BUNDLED.read_bytes()


def test_nothing_of_it_is_loaded_unasked():
    code = "import fastck, sys, numpy; fastck.FaceDetector(0)(numpy.zeros((90, 90), 'u1')); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "fastck.faces.detector" in loaded
    assert not {"fastck.faces.landmarks", "fastck.kernels.landmarks", "fastck.faces.pose"} & set(loaded)


# -- Kernels ----------------------------------------------------------------------------------------------------------
def test_gradient_sums_are_sums_of_oriented_gradients():
    frame = np.random.default_rng(3).integers(0, 256, (12, 12), np.uint8)
    sums = np.empty((13, 13, 8), np.float32)
    gradient_sums(frame, np.empty((8, 12), np.float32), sums)
    levels = np.pad(frame.astype(np.float64), 1, mode="edge")
    dx, dy = levels[1:-1, 2:] - levels[1:-1, :-2], levels[2:, 1:-1] - levels[:-2, 1:-1]
    dx[:, [0, -1]] = dy[:, [0, -1]] = 0
    for k in range(8):
        along = np.cos(k * np.pi / 4) * dx + np.sin(k * np.pi / 4) * dy
        plane = np.maximum(along, 0) ** 2 / (np.hypot(dx, dy) + 1)
        np.testing.assert_allclose(sums[1:, 1:, k], cv2.integral(plane)[1:, 1:], rtol=1e-4, atol=1e-2)


def test_patches_have_length_one_and_a_linear_layer_is_a_product():
    rng = np.random.default_rng(4)
    frame = rng.integers(0, 256, (30, 30), np.uint8)
    sums = np.empty((31, 31, 8), np.float32)
    gradient_sums(frame, np.empty((8, 30), np.float32), sums)
    out = np.empty((5, 32), np.float32)
    points = rng.uniform(-5, 35, (5, 2)).astype(np.float32)
    patch_features(sums, points, np.float32(4.5), 2, np.empty((3, 3, 8), np.float32), out)
    np.testing.assert_allclose(np.linalg.norm(out[(out != 0).any(axis=1)], axis=1), 1, atol=0.02)
    weights = rng.integers(-127, 128, (160, 7), np.int8)
    scale, biases = rng.random(7).astype(np.float32), rng.normal(size=7).astype(np.float32)
    given = np.empty(7, np.float32)
    weigh(out.ravel(), np.ascontiguousarray(weights.T), scale, biases, np.empty(160, np.int16), given)
    # A feature is off by at most half a part of 4096, and the errors add up as random ones do.
    np.testing.assert_allclose(given, out.ravel() @ (weights * scale) + biases, atol=4 * 127 * 160**0.5 / 8192)


def test_a_linear_layer_adds_up_whole_numbers_exactly():
    rng = np.random.default_rng(3)
    whole = rng.integers(-9000, 9000, 2312).astype(np.int16)
    whole[:3] = 32767, -32767, 32767
    weights = rng.integers(-127, 128, (5, 2312), np.int8)
    given = np.empty(5, np.float32)
    ones, zeros = np.ones(5, np.float32), np.zeros(5, np.float32)
    weigh((whole / 4096).astype(np.float32), weights, ones, zeros, np.empty(2312, np.int16), given)
    np.testing.assert_allclose(given * 4096, weights.astype(np.int64) @ whole, rtol=1e-6)


# -- Pose -------------------------------------------------------------------------------------------------------------
def test_the_pose_is_the_renderers(unseen: Found):
    off = [
        np.array(head_pose(found.points, frame.gray.shape)[:3]) - frame.turn
        for frame, found in zip(unseen.frames, unseen.found, strict=True)
    ]
    assert (np.median(np.abs(off), axis=0) <= 3.0).all()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_signs_and_axes_of_the_pose(axis: int):
    subject, _, worn = draw_person(subject_rng(UNSEEN, 1))
    scene = Scene(replace(subject, colour=False), noise=0.0, worn=worn)

    def points_at(degrees: float) -> np.ndarray:
        turn = np.zeros(3)
        turn[axis] = np.deg2rad(degrees)
        pose = Pose(weights={}, yaw=turn[0], pitch=turn[1], roll=turn[2], shift=(0.0, 0.0))
        return Carriers(scene.subject).seen(scene.project(scene.pose(pose)), turn[2])

    straight = np.array(head_pose(points_at(0.0), scene.shape)[:3])
    for degrees in (-30.0, -15.0, 15.0, 30.0):
        # The outline slides on the far cheek: single people come out with up to a third less at 30 degrees.
        points = points_at(degrees)
        moved = np.array(head_pose(points, scene.shape)[:3]) - straight
        expected = np.zeros(3)
        expected[axis] = degrees
        np.testing.assert_allclose(moved, expected, atol=3.0 + abs(degrees) / 3.5)
    nose, eyes = points[30], points[[36, 45]].mean(axis=0)
    first = points_at(0.0)
    if axis == 0:
        # To the subject's own left: the nose is further right in the picture, as seen from the eyes.
        assert (nose - eyes)[0] > (first[30] - first[[36, 45]].mean(axis=0))[0] + 10
    elif axis == 1:
        # Downwards: the chin comes nearer to the eyes.
        assert (points[8] - eyes)[1] < (first[8] - first[[36, 45]].mean(axis=0))[1] - 10
    else:
        # Towards the subject's own right shoulder: the left eye, right in the picture, rises.
        assert points[45, 1] < points[36, 1] - 10


def test_a_pose_needs_68_finite_points():
    for points in (np.zeros((5, 2)), np.full((68, 2), np.nan)):
        with pytest.raises(ValueError, match="68"):
            head_pose(points.astype(np.float32), (480, 640))


# -- Table ------------------------------------------------------------------------------------------------------------
def test_detect_writes_points_and_pose(unseen: Found, tmp_path: Path):
    gray = unseen.frames[0].gray
    cv2.imwrite(str(tmp_path / "face.png"), gray)
    command = ["detect", str(tmp_path / "face.png"), "-o", str(tmp_path / "faces.csv"), "--landmarks"]
    result = CliRunner().invoke(app, [*command, "--draw", str(tmp_path / "drawn")])
    assert result.exit_code == 0, result.output
    row = pd.read_csv(tmp_path / "faces.csv").iloc[0]
    (found,) = find_landmarks(gray, [FaceBox(*(int(row[edge]) for edge in FaceBox._fields))])
    points = np.array([[row[f"x_{point}"], row[f"y_{point}"]] for point in range(68)])
    np.testing.assert_allclose(points, found.points, atol=0.006)
    assert row["landmark_confidence"] == pytest.approx(found.confidence, abs=1e-4)
    pose = head_pose(found.points, gray.shape)
    assert list(row[["pose_yaw", "pose_pitch", "pose_roll"]]) == pytest.approx(pose[:3], abs=0.006)
    (path,) = (tmp_path / "drawn").iterdir()
    drawn = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    column, line = np.rint(found.points[30]).astype(int)
    assert drawn[line, column] == 255


# -- Aligned crops ----------------------------------------------------------------------------------------------------
def still_face(noise: float) -> list[np.ndarray]:
    subject, _, worn = draw_person(subject_rng(UNSEEN, 2))
    scene = Scene(replace(subject, colour=False), noise=noise, worn=worn)
    pose = Pose(weights={}, yaw=0.05, pitch=0.0, roll=0.1, shift=(0.0, 0.0))
    return [scene.render(pose, key=number) for number in range(16)]


@pytest.mark.parametrize("noise", [1.0, 3.0])
@pytest.mark.parametrize("mode", ["wrap", "absolute"])
def test_a_still_face_with_noise_moves_no_more_than_under_stable(noise: float, mode: str):
    frames = still_face(noise)
    motion = fastck.MotionConfig(mode=mode, level=127 if mode == "wrap" else 8)  # type: ignore[arg-type]
    result = {
        crop: fastck.process_frames(
            frames,
            fastck.PreprocessConfig(faces=fastck.FaceConfig(crop=crop), motion=motion),  # type: ignore[arg-type]
        ).motion
        for crop in ("sequence", "aligned")
    }
    assert result["aligned"] <= 1.05 * result["sequence"] + 1e-4


def test_boxes_that_jump_round_a_still_face_move_no_crop(unseen: Found):
    gray, box = unseen.frames[0].gray, unseen.boxes[0]
    side = box.bottom - box.top
    tenth, sixth = side // 10, side // 6
    jumped = FaceBox(box.top - tenth, box.left + tenth, box.bottom - tenth, box.right + tenth)
    grown = FaceBox(box.top, box.left, box.bottom + sixth, box.right + sixth)
    path = find_alignments(
        [gray] * 12, [box, box, jumped, jumped, jumped, jumped, grown, grown, grown, grown, box, box]
    )
    assert np.ptp(path, axis=0).max() == 0


def test_a_crop_stays_within_its_slack_and_follows_beyond():
    rng = np.random.default_rng(5)
    places = np.tile([100.0, 80.0, np.log(200.0), 0.1], (40, 1)) + rng.normal(0, [0.3, 0.3, 0.002, 0.002], (40, 4))
    assert np.ptp(steady(places), axis=0).max() == 0
    places[:, 0] += np.linspace(0, 60, 40)
    path = steady(places)
    assert np.abs(path[:, 0] - places[:, 0]).max() < 6
    assert np.diff(path[:, 0]).max() < 4


def test_eyes_stay_in_their_place_while_the_head_leans_and_comes_nearer(unseen: Found):
    gray = unseen.frames[0].gray
    frames = [
        cv2.warpAffine(gray, cv2.getRotationMatrix2D((320, 240), 1.5 * t, 1 + 0.015 * t), gray.shape[::-1])
        for t in range(10)
    ]
    found = [nearest_face(FaceDetector(0)(frame), unseen.frames[0].points) for frame in frames]
    path = find_alignments(frames, found)
    crops = [crop.copy() for crop in cut_aligned(frames, path, 267)]
    eyes = np.stack([fastck.detect_landmarks(crop, [FaceBox(10, 10, 257, 257)])[0][[36, 45]] for crop in crops])
    assert np.ptp(eyes, axis=0).max() < 0.06 * 267


def test_aligned_crops_go_through_a_store_its_cache_and_kept_crops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FASTCK_CACHE_DIR", str(tmp_path / "cache"))
    render_dataset(tmp_path / "set", subjects=1, seed=UNSEEN, sequences=2, n_jobs=1)
    record = fastck.scan(tmp_path / "set").records[0]
    alone = process_record(record, fastck.PreprocessConfig(faces=fastck.FaceConfig(crop="aligned")))
    # Searched anew; from kept detections, the crops kept; from kept crops.
    for name, jobs, keep in (("new", 1, False), ("boxes", 2, True), ("crops", 1, True)):
        store = fastck.preprocess(tmp_path / "set", tmp_path / name, preset="aligned", n_jobs=jobs, keep_crops=keep)
        assert np.array_equal(store.sequence(record.sequence, "projection"), alone.features["projection"]), name
