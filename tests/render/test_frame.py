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

from fastck.kernels.raster import vertex_normals
from fastck.render.dataset import draw_person, subject_rng
from fastck.render.expression import RESTING, draw_manner, perform, sides
from fastck.render.model import load_model
from fastck.render.recipes import EMOTION_CODES, EXTRAS, PEAKS
from fastck.render.scene import Scene
from fastck.render.subject import draw_shape, sliders
from fastck.render.variation import Variation
from tests.helpers.rasterising import check_film_noise, check_rasteriser, check_tone_curve, compiled_rasterise

REFERENCE = Path(__file__).resolve().parents[3] / "shared" / "face-model" / "reference_render.py"


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), height=st.integers(1, 40), width=st.integers(1, 40))
def test_rasteriser_equals_the_plain_one(seed: int, height: int, width: int):
    check_rasteriser(seed, height, width)


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


def test_a_head_is_rasterised_as_the_reference_does():
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


def test_vertex_normals_equal_the_plain_ones():
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
def test_film_noise_has_the_spread_asked_for_and_depends_on_its_key_only(size: int):
    check_film_noise(size)


def test_without_noise_the_film_is_the_tone_curve():
    check_tone_curve()


def test_every_unit_of_the_recipes_exists():
    model = load_model()
    manner = draw_manner(np.random.default_rng(0))
    units = {unit for table in (PEAKS, EXTRAS) for peak in table.values() for unit in peak} | set(RESTING)
    for unit in units:
        for name, _ in sides(model, unit, manner):
            assert name in model.shapes


def test_a_shape_never_gets_a_slider_and_its_opposite():
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
def test_a_performance_starts_neutral_and_ends_at_the_peak(emotion: str):
    model = load_model()
    manner = draw_manner(np.random.default_rng(1))
    poses = perform(model, manner, emotion, np.random.default_rng(2), n_frames=18)
    peak = [name for unit in PEAKS[emotion] for name, _ in sides(model, unit, manner) if "eyeLook" not in unit]
    course = np.array([[pose.weights.get(name, 0.0) for name in peak] for pose in poses])
    assert course[0].max() < 0.35  # the resting face
    assert course[-1].sum() > 3 * course[0].sum()
    assert (course[-1] >= course.max(axis=0) - 0.02).all()  # less what the resting face loses


def test_a_blink_shuts_the_eyes_and_no_blink_does_not():
    model = load_model()
    manner = draw_manner(np.random.default_rng(1))
    for blink, shut in ((0.0, False), (1.0, True)):
        poses = perform(model, manner, "happy", np.random.default_rng(3), n_frames=20, variation=Variation(blink=blink))
        assert (max(pose.weights.get("unit/eyeBlinkLeft", 0.0) for pose in poses) > 0.9) == shut


def test_yaw_turns_the_head():
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


def test_a_frame_shows_one_lit_head_before_its_backdrop():
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


def test_gray_frames_have_the_levels_of_the_colour_ones():
    from dataclasses import replace

    subject, manner, _ = draw_person(subject_rng(0, 4))
    (pose,) = perform(load_model(), manner, "happy", np.random.default_rng(0), n_frames=1, variation=Variation(yaw=0))
    gray = Scene(replace(subject, colour=False), noise=0.0).render(pose, key=1)
    colour = Scene(replace(subject, colour=True), noise=0.0).render(pose, key=1)
    assert colour.shape == (*gray.shape, 3)
    difference = cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY).astype(float) - gray
    assert np.abs(difference).mean() < 3
