"""The rendering loops against plain versions, and what a frame must show."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastck.kernels.raster import expose, rasterise, vertex_normals
from fastck.render.dataset import draw_person, subject_rng
from fastck.render.expression import RESTING, draw_manner, perform, sides
from fastck.render.model import load_model
from fastck.render.recipes import EMOTION_CODES, EXTRAS, PEAKS
from fastck.render.scene import Scene
from fastck.render.subject import draw_shape, sliders
from fastck.render.variation import Variation

FAR = -9.0
REFERENCE = Path(__file__).resolve().parents[3] / "shared" / "face-model" / "reference_render.py"


def plain_rasterise(screen: np.ndarray, triangles: np.ndarray, two_sided: np.ndarray, height: int, width: int):
    """The same picture without a clever step: every triangle tests every pixel."""
    hit, depth = np.full((height, width), -1), np.full((height, width), FAR)
    rows, columns = np.mgrid[:height, :width]
    for f, corners in enumerate(screen[triangles]):
        (x0, y0, z0), (x1, y1, z1), (x2, y2, z2) = corners
        doubled = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if abs(doubled) <= 1e-6 or (doubled > 0 and not two_sided[f]):
            continue
        w0 = ((x1 - columns) * (y2 - rows) - (x2 - columns) * (y1 - rows)) / doubled
        w1 = ((x2 - columns) * (y0 - rows) - (x0 - columns) * (y2 - rows)) / doubled
        w2 = 1 - w0 - w1
        z = w0 * z0 + w1 * z1 + w2 * z2
        nearer = (np.minimum(np.minimum(w0, w1), w2) >= -1e-6) & ((hit < 0) | (z > depth))
        hit[nearer], depth[nearer] = f, z[nearer]
    return hit, depth


def compiled_rasterise(screen: np.ndarray, triangles: np.ndarray, two_sided: np.ndarray, height: int, width: int):
    hit, depth = np.empty((height, width), np.int32), np.full((height, width), FAR, np.float32)
    weights = np.zeros((height, width, 2), np.float32)
    rasterise(screen, triangles, two_sided, hit, weights, depth)
    return hit, weights, depth


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), height=st.integers(1, 40), width=st.integers(1, 40))
def test_rasteriser_equals_the_plain_one(seed: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    screen = rng.uniform(-10, 50, (30, 3))
    triangles = rng.integers(0, 30, (25, 3)).astype(np.int32)  # some are degenerate
    two_sided = rng.random(25) < 0.3
    hit, depth = plain_rasterise(screen, triangles, two_sided, height, width)
    fast_hit, weights, fast_depth = compiled_rasterise(screen, triangles, two_sided, height, width)
    # A pixel exactly between two triangles may go to either: rounding differs. The depth may not.
    np.testing.assert_allclose(fast_depth, depth, rtol=0, atol=1e-4)
    assert ((fast_hit >= 0) == (hit >= 0)).all()
    covered = fast_hit >= 0
    first, second = weights[covered].T
    corners = screen[triangles[fast_hit[covered]]][..., :2]
    place = first[:, None] * corners[:, 0] + second[:, None] * corners[:, 1]
    place += (1 - first - second)[:, None] * corners[:, 2]
    np.testing.assert_allclose(place, np.argwhere(covered)[:, ::-1], atol=1e-3)


def load_reference() -> ModuleType:
    if not REFERENCE.is_file():
        pytest.skip("the reference renderer is not beside this checkout")
    spec = importlib.util.spec_from_file_location("reference_render", REFERENCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["reference_render"] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


def test_a_head_is_rasterised_as_the_reference_does() -> None:
    reference = load_reference()
    model = reference.load_model()
    screen = reference.project(model, model.vertices, reference.head_rotation(0.1, -0.05))
    hit, weights, depth = reference.rasterise(model, screen)
    two_sided = (model.material == reference.TEETH) | (model.material == reference.TONGUE)
    fast = compiled_rasterise(screen, model.triangles.astype(np.int32), two_sided, *hit.shape)
    same = fast[0] == hit
    assert same.mean() > 0.9999  # pixels on an edge between two triangles may go to either
    np.testing.assert_allclose(fast[1][same], np.where(hit[..., None] < 0, 0, weights[..., :2])[same], atol=1e-5)
    covered = hit >= 0
    np.testing.assert_allclose(fast[2][covered], depth[covered], atol=1e-5)


def test_vertex_normals_equal_the_plain_ones() -> None:
    model = load_model()
    out = np.empty(model.vertices.shape, np.float32)
    vertex_normals(model.vertices, model.triangles, out)
    corner, second, third = (model.vertices[model.triangles[:, k]] for k in range(3))
    normals = np.zeros_like(model.vertices)
    for k in range(3):
        np.add.at(normals, model.triangles[:, k], np.cross(second - corner, third - corner))
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    np.testing.assert_allclose(out, normals, atol=2e-3)  # sums of float32; a few vertices have nearly cancelling sides


@pytest.mark.parametrize("size", [1, 2, 7, 40_000])
def test_film_noise_has_the_spread_asked_for_and_depends_on_its_key_only(size: int) -> None:
    image = np.full(size, 0.5, np.float32)
    curve = np.linspace(0, 255, 4096, dtype=np.float32)
    frames = np.empty((3, size), np.uint8)
    for frame, key in zip(frames, (7, 7, 8), strict=True):
        expose(image, curve, np.float32(4), np.uint64(key), frame)
    assert (frames[0] == frames[1]).all()
    if size > 1000:
        assert abs(frames[0].mean() - 127.5) < 0.15
        assert abs(frames[0].std() - 4) < 0.1
        assert abs(np.corrcoef(frames[0], frames[2])[0, 1]) < 0.02
        assert abs(np.corrcoef(frames[0][:-1], frames[0][1:])[0, 1]) < 0.02


def test_without_noise_the_film_is_the_tone_curve() -> None:
    image = np.array([-1, 0, 0.25, 0.5, 1, 2], np.float32)
    out = np.empty(6, np.uint8)
    expose(image, np.linspace(0, 255, 4096, dtype=np.float32), np.float32(0), np.uint64(0), out)
    assert out.tolist() == [0, 0, 64, 128, 255, 255]


def test_every_unit_of_the_recipes_exists() -> None:
    model = load_model()
    manner = draw_manner(np.random.default_rng(0))
    units = {unit for table in (PEAKS, EXTRAS) for peak in table.values() for unit in peak} | set(RESTING)
    for unit in units:
        for name, _ in sides(model, unit, manner):
            assert name in model.shapes


def test_a_shape_never_gets_a_slider_and_its_opposite() -> None:
    model = load_model()
    choices = sliders(model.identity_names)
    assert sum(len(choice) * (2 if choice[0].startswith("*") else 1) for choice in choices) == len(model.identity_names)
    for seed in range(20):
        weights, ancestry, maleness = draw_shape(model, np.random.default_rng(seed))
        assert all(name in model.shapes for name in weights)
        assert abs(sum(value for name, value in weights.items() if name.startswith("shape/")) - 1) < 1e-9
        assert 0 <= maleness <= 1
        assert abs(ancestry.sum() - 1) < 1e-9
        for choice in choices:
            drawn = [name for name in choice if f"identity/{name.replace('*', 'l')}" in weights]
            assert len(drawn) <= 1


@pytest.mark.parametrize("emotion", EMOTION_CODES)
def test_a_performance_starts_neutral_and_ends_at_the_peak(emotion: str) -> None:
    model = load_model()
    manner = draw_manner(np.random.default_rng(1))
    poses = perform(model, manner, emotion, np.random.default_rng(2), n_frames=18)
    peak = [name for unit in PEAKS[emotion] for name, _ in sides(model, unit, manner) if "eyeLook" not in unit]
    course = np.array([[pose.weights.get(name, 0.0) for name in peak] for pose in poses])
    assert course[0].max() < 0.35  # the resting face
    assert course[-1].sum() > 3 * course[0].sum()
    assert (course[-1] >= course.max(axis=0) - 0.02).all()  # less what the resting face loses


def test_a_blink_shuts_the_eyes_and_no_blink_does_not() -> None:
    model = load_model()
    manner = draw_manner(np.random.default_rng(1))
    for blink, shut in ((0.0, False), (1.0, True)):
        poses = perform(model, manner, "happy", np.random.default_rng(3), n_frames=20, variation=Variation(blink=blink))
        assert (max(pose.weights.get("unit/eyeBlinkLeft", 0.0) for pose in poses) > 0.9) == shut


def test_yaw_turns_the_head() -> None:
    model = load_model()
    manner = draw_manner(np.random.default_rng(1))

    def turn(yaw: float) -> float:
        starts = [
            perform(model, manner, "fear", np.random.default_rng(seed), n_frames=1, variation=Variation(yaw=yaw))[0].yaw
            for seed in range(800)
        ]
        return float(np.rad2deg(np.std(starts)))

    assert turn(0.0) < 1e-9
    assert abs(turn(10.0) - 10) < 1


def test_a_frame_shows_one_lit_head_before_its_backdrop() -> None:
    subject, manner, _ = draw_person(subject_rng(0, 4))
    scene = Scene(subject, noise=0.0)
    poses = perform(load_model(), manner, "surprise", np.random.default_rng(0), n_frames=12, variation=Variation(yaw=0))
    buffers = scene.buffers()
    first, last = (scene.render(pose, key=1, buffers=buffers) for pose in (poses[0], poses[-1]))
    assert first.shape == scene.shape[:2] == (subject.height, 640)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, scene.render(poses[0], key=1))  # nothing is left over in the buffers
    moved = cv2.absdiff(first, last) > 20
    rows, columns = np.nonzero(moved)
    assert 1000 < moved.sum() < 40_000  # the mouth opens, the brows rise, the backdrop stays
    assert abs(columns.mean() - 320) < 40
    assert 180 < rows.mean() < 380


def test_gray_frames_have_the_levels_of_the_colour_ones() -> None:
    from dataclasses import replace

    subject, manner, _ = draw_person(subject_rng(0, 4))
    (pose,) = perform(load_model(), manner, "happy", np.random.default_rng(0), n_frames=1, variation=Variation(yaw=0))
    gray = Scene(replace(subject, colour=False), noise=0.0).render(pose, key=1)
    colour = Scene(replace(subject, colour=True), noise=0.0).render(pose, key=1)
    assert colour.shape == (*gray.shape, 3)
    difference = cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY).astype(float) - gray
    assert np.abs(difference).mean() < 3
