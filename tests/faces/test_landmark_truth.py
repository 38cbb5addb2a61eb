"""The 68 points that rendered people come with: where they lie, and that they are the same every time."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from fastck.faces.mirror import MIRRORED
from fastck.kernels.raster import EYE, rasterise
from fastck.render.dataset import draw_person, subject_rng
from fastck.render.model import load_model
from fastck.render.motion import Pose
from fastck.render.scene import Scene
from tools.landmarks.pictures import Pictures, person_pictures
from tools.landmarks.points import OUTLINE, Carriers, neutral_points

EYES = (slice(36, 42), slice(42, 48))


def pose(**angles: float) -> Pose:
    return Pose(weights={}, shift=(0.0, 0.0), **{"yaw": 0.0, "pitch": 0.0, "roll": 0.0, **angles})


@pytest.fixture(scope="module")
def scene() -> Scene:
    subject, _, worn = draw_person(subject_rng(3, 1))
    return Scene(replace(subject, colour=False), noise=0.0, worn=worn)


def filled(points: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    shade = np.zeros(shape, np.uint8)
    cv2.fillPoly(shade, [np.rint(points).astype(np.int32)], 1)
    return shade.astype(bool)


def test_the_points_of_the_models_own_face_mirror_each_other():
    points = neutral_points()
    np.testing.assert_allclose(points[MIRRORED] * [-1, 1, 1], points, atol=0.02)
    assert np.array_equal(MIRRORED[MIRRORED], np.arange(68))


@pytest.mark.parametrize("turn", [{}, {"yaw": 0.4}, {"roll": -0.5}])
def test_the_points_of_an_eye_lie_round_what_is_seen_of_it(scene: Scene, turn: dict[str, float]):
    screen = scene.project(scene.pose(pose(**turn)))
    points = Carriers(scene.subject).seen(screen, turn.get("roll", 0.0))
    model, kept = load_model(), scene.buffers()
    kept.depth.fill(-2.0)
    everything = np.zeros(len(model.triangles), np.bool_)
    rasterise(screen, model.triangles, everything, kept.hit, kept.weights, kept.depth)
    seen = (kept.hit >= 0) & (model.material[np.maximum(kept.hit, 0)] == EYE)
    inside = np.logical_or(*(filled(points[eye], seen.shape) for eye in EYES))
    assert (seen & inside).sum() >= 0.9 * seen.sum()
    assert seen.sum() >= 0.6 * inside.sum()


@pytest.mark.parametrize("yaw", [-0.5, 0.5])
def test_the_outline_lies_at_the_edge_of_the_head_on_the_far_side(scene: Scene, yaw: float):
    screen = scene.project(scene.pose(pose(yaw=yaw)))
    points = Carriers(scene.subject).seen(screen, 0.0)
    model, kept = load_model(), scene.buffers()
    kept.depth.fill(-2.0)
    rasterise(screen, model.triangles, np.zeros(len(model.triangles), np.bool_), kept.hit, kept.weights, kept.depth)
    # A positive yaw turns the head towards its own left, which is the picture's right: that edge is the far one.
    for column, row in points[slice(3, 6) if yaw < 0 else slice(11, 14)]:
        head = np.flatnonzero(kept.hit[round(row)] >= 0)
        assert column == pytest.approx(head.min() if yaw < 0 else head.max(), abs=4)


def test_the_outline_runs_from_ear_to_ear(scene: Scene):
    points = Carriers(scene.subject).seen(scene.project(scene.pose(pose())), 0.0)
    assert (np.diff(points[:OUTLINE, 0]) > 0).all()


def test_a_person_gives_the_same_pictures_every_time(tmp_path: Path):
    first = person_pictures(7, 1, 2)
    first.save(tmp_path / "kept.npz")
    again, kept = person_pictures(7, 1, 2), Pictures.load(tmp_path / "kept.npz")
    for one in (again, kept):
        assert np.array_equal(one.picture, first.picture)
        assert np.array_equal(one.points, first.points)
    assert first.picture.shape == (2, 160, 160)
    assert ((first.points > 0) & (first.points < 160)).all()
