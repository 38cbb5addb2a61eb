"""Varied people and neutral sequences: each variation does what it says, and only that."""

import hashlib
import json
from dataclasses import asdict, fields, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from fastck.dataset.layouts import scan
from fastck.faces.detector import Detector
from fastck.render import ASPECTS, EASY, HARD, Variation, render_dataset, with_aspect
from fastck.render.dataset import draw_person, plan_subject, subject_rng
from fastck.render.expression import NEUTRAL_ACTS, Manner, draw_manner, perform, perform_neutral
from fastck.render.model import load_model
from fastck.render.motion import FRAME_RATE, Pose, light_course, speech, time_course
from fastck.render.recipes import EMOTION_CODES, PEAKS, VARIANTS, mixed_recipe
from fastck.render.scene import Scene, turned_light
from fastck.render.variation import differences
from fastck.render.worn import Fringe, Glasses, Worn, build_worn, draw_worn

MOUTH = ("jawOpen", "mouthFunnel", "mouthPucker", "mouthPress")


def digests(root: Path) -> dict[str, str]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def manner() -> Manner:
    return draw_manner(np.random.default_rng(1))


def acted(seed: int, variation: Variation, emotion: str = "happy") -> list[Pose]:
    return perform(load_model(), manner(), emotion, np.random.default_rng(seed), n_frames=20, variation=variation)


def course(poses: list[Pose], unit: str) -> np.ndarray:
    return np.array([pose.weights.get(f"unit/{unit}", 0.0) for pose in poses])


@pytest.fixture(scope="module")
def hard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Root of a small hard set with neutral sequences: four subjects, one emotion and one neutral sequence each."""
    root = tmp_path_factory.mktemp("hard") / "set"
    render_dataset(root, subjects=4, sequences=1, neutral=1, seed=7, variation=HARD, n_jobs=2)
    return root


def test_a_hard_set_has_the_same_bytes_for_any_number_of_jobs(hard: Path, tmp_path: Path):
    render_dataset(tmp_path / "serial", subjects=4, sequences=1, neutral=1, seed=7, variation=HARD, n_jobs=1)
    assert digests(tmp_path / "serial") == digests(hard)


def test_memory_left_over_from_elsewhere_reaches_no_frame(monkeypatch: pytest.MonkeyPatch):
    from fastck.render import paint

    def dirty(value: int) -> np.ndarray:
        def empty(shape: tuple[int, ...], dtype: type = float) -> np.ndarray:
            return np.full(shape, value, dtype)

        monkeypatch.setattr(paint.np, "empty", empty)
        try:
            return paint.paint_subject(draw_person(subject_rng(0, 2))[0]).texture
        finally:
            monkeypatch.undo()

    np.testing.assert_array_equal(dirty(0), dirty(200))


def test_rendered_json_records_the_variation_and_the_neutral_acts(hard: Path):
    note = json.loads((hard / "rendered.json").read_text())
    assert Variation(**note["variation"]) == HARD
    acts = {
        take.name: take.shows for n in range(1, 5) for take in plan_subject(7, n, 1, 1) if take.shows in NEUTRAL_ACTS
    }
    assert note["neutral"] == acts
    assert sorted(acts.values()) == sorted(NEUTRAL_ACTS)


def test_an_easy_note_says_nothing_of_variation(rendered: Path):
    assert not {"variation", "neutral"} & set(json.loads((rendered / "rendered.json").read_text()))


def test_neutral_sequences_are_labelled_0_and_follow_the_others(hard: Path):
    result = scan(hard)
    assert {found.kind for found in result.findings} == {"neutral-label"}
    assert [record.emotion == 0 for record in result.records] == [False, True] * 4
    label = next((hard / "Emotion/S001/002").iterdir())
    assert label.read_text() == "   0.0000000e+00\n"


def test_neutral_sequences_change_no_other_file(hard: Path, tmp_path: Path):
    render_dataset(tmp_path / "set", subjects=1, sequences=1, seed=7, variation=HARD)
    without, having = digests(tmp_path / "set"), digests(hard)
    del without["rendered.json"]
    assert without.items() < having.items()


def test_dlib_finds_the_face_in_every_first_frame(hard: Path):
    detector = Detector(upsample=1)
    for record in scan(hard).records:
        assert len(detector(cv2.imread(str(record.frames[0]), cv2.IMREAD_GRAYSCALE))) == 1


def test_a_variation_that_is_off_leaves_the_poses_as_they_were():
    for emotion in EMOTION_CODES:
        assert acted(5, EASY, emotion) == acted(5, replace(EASY, noise=9.0, glasses=1.0, fringe=1.0), emotion)


@pytest.mark.parametrize("aspect", ASPECTS)
def test_every_aspect_changes_poses_or_what_the_scene_gets(aspect: str):
    variation = with_aspect(aspect)
    changed = set(differences(variation))
    assert changed == set(ASPECTS[aspect])
    if aspect in ("camera noise", "occlusion"):
        return
    same = sum(acted(seed, variation) == acted(seed, EASY) for seed in range(40))
    assert same < 40
    off = with_aspect(aspect, source=EASY, target=HARD)
    assert any(acted(seed, off) != acted(seed, HARD) for seed in range(40))


def test_the_aspects_cover_every_field_once():
    named = [name for names in ASPECTS.values() for name in names]
    assert sorted(named) == sorted(field.name for field in fields(Variation))
    assert all(getattr(HARD, name) != getattr(EASY, name) for name in named)


def test_weakest_spreads_the_strength_evenly_down_to_it():
    full = np.array([course(acted(seed, EASY), "cheekSquintLeft")[-1] for seed in range(400)])
    weak = np.array([course(acted(seed, Variation(weakest=0.4)), "cheekSquintLeft")[-1] for seed in range(400)])
    ratio = weak / full
    assert ratio.min() == pytest.approx(0.4, abs=0.02)
    assert ratio.max() == pytest.approx(1.0, abs=0.02)
    assert ratio.mean() == pytest.approx(0.7, abs=0.03)


def test_asymmetry_has_the_spread_asked_for():
    tilts = []
    for seed in range(400):
        poses = acted(seed, Variation(asymmetry=0.2))
        left, right = course(poses, "mouthSmileLeft")[-1], course(poses, "mouthSmileRight")[-1]
        tilts.append((left - right) / (left + right))
    # The whole face's 0.2, and half of it for each unit on its own.
    assert np.std(tilts) == pytest.approx(0.2 * np.sqrt(1.25), rel=0.15)


def test_mixed_draws_recipes_other_than_the_prototype_as_often_as_asked():
    rng = np.random.default_rng(0)
    drawn = [mixed_recipe("fear", PEAKS["fear"], rng, mixed=0.4, blend=0.0) for _ in range(1000)]
    others = [recipe for recipe in drawn if recipe != PEAKS["fear"]]
    assert len(others) == pytest.approx(400, abs=50)
    assert all(recipe in VARIANTS["fear"] for recipe in others)
    assert {json.dumps(recipe) for recipe in others} == {json.dumps(recipe) for recipe in VARIANTS["fear"]}


def test_blend_adds_weaker_units_of_one_other_emotion():
    rng = np.random.default_rng(0)
    for _ in range(100):
        recipe = mixed_recipe("happy", PEAKS["happy"], rng, mixed=0.0, blend=0.3)
        added = {unit: weight for unit, weight in recipe.items() if unit not in PEAKS["happy"]}
        assert max(added.values()) <= 0.3
        assert any(set(added) <= set(peak) for name, peak in PEAKS.items() if name != "happy")
        assert all(recipe[unit] >= weight for unit, weight in PEAKS["happy"].items())


def test_every_recipe_uses_units_the_model_has():
    shapes = load_model().shapes
    for recipes in VARIANTS.values():
        for unit in {unit for recipe in recipes for unit in recipe}:
            stem = unit.removesuffix("One")
            assert f"unit/{stem}" in shapes or {f"unit/{stem}Left", f"unit/{stem}Right"} <= set(shapes)


def test_time_courses_are_quick_stepped_or_fading_and_keep_to_0_and_1():
    drawn = [time_course(np.random.default_rng(seed), 30, share=1.0) for seed in range(300)]
    assert all(time[0] == 0 and time.min() >= 0 and time.max() <= 1 for time in drawn)
    fading = [time for time in drawn if time[-1] < 1]
    stepped = [time for time in drawn if time[-1] == 1 and (np.diff(time[3:-3]) == 0).any() and time[-2] < 1]
    quick = [time for time in drawn if time[-2] == 1]
    assert min(len(fading), len(stepped), len(quick)) > 60
    # A fading one still holds more than half of the expression at the end.
    assert min(time[-1] for time in fading) > 0.5
    np.testing.assert_array_equal(time_course(np.random.default_rng(0), 30, share=0.0), np.arange(30) / 29)


def test_speech_moves_the_mouth_at_the_rate_of_syllables_and_starts_at_rest():
    peaks = []
    for seed in range(40):
        curves = speech(np.random.default_rng(seed), 300, from_rest=True)
        opening = curves["jawOpen"]
        assert all(curve[0] == 0 for curve in curves.values())
        spectrum = np.abs(np.fft.rfft(opening - opening.mean()))
        share = (spectrum**2)[: 1 + 300 * 6 // FRAME_RATE].sum() / (spectrum**2).sum()
        peaks.append(share)
        assert opening.std() > 0.03
    # Little of the motion is faster than six a second.
    assert np.mean(peaks) > 0.9


def test_talking_moves_the_mouth_over_the_expression():
    quiet, loud = acted(3, EASY, "sadness"), acted(3, Variation(talking=1.0), "sadness")
    assert course(quiet, "mouthPucker").max() == 0
    assert max(np.ptp(course(loud, unit)) for unit in MOUTH) > 0.2
    np.testing.assert_array_equal(course(quiet, "browInnerUp"), course(loud, "browInnerUp"))


def test_head_motion_has_the_spread_asked_for_and_starts_at_0():
    turns = []
    for seed in range(400):
        still, moving = acted(seed, EASY), acted(seed, Variation(head_motion=4.0))
        turns.append([np.rad2deg(b.yaw - a.yaw) for a, b in zip(still, moving, strict=True)])
    assert np.abs(np.array(turns)[:, 0]).max() < 1e-9
    assert 3.5 < np.std(np.array(turns)[:, -1]) < 5


def test_light_changes_by_the_stops_asked_for_and_starts_unchanged():
    gains = np.array([light_course(np.random.default_rng(seed), 20, stops=0.5)[0] for seed in range(500)])
    assert (gains[:, 0] == 1).all()
    # The course ends before 1 for a few slow changes.
    assert 0.4 < np.std(np.log2(gains[:, -1])) < 0.5
    poses = acted(0, EASY)
    assert {(pose.light_gain, pose.light_turn) for pose in poses} == {(1.0, 0.0)}


def test_a_turned_light_goes_round_the_upright_axis():
    np.testing.assert_allclose(turned_light(np.array([0, 0, 1], np.float32), np.pi / 2), [1, 0, 0], atol=1e-6)
    key = np.array([0.6, 0.48, 0.64], np.float32)
    np.testing.assert_array_equal(turned_light(key, 0.0), key)
    turned = turned_light(key, 0.7)
    assert turned[1] == key[1]
    assert np.linalg.norm(turned) == pytest.approx(1, abs=1e-6)


def test_light_and_its_direction_change_the_picture():
    subject, _, _ = draw_person(subject_rng(0, 4))
    scene = Scene(subject, noise=0.0)
    (pose,) = perform(load_model(), manner(), "happy", np.random.default_rng(0), n_frames=1)
    plain = scene.render(pose, key=1).astype(int)
    assert scene.render(replace(pose, light_gain=1.4), key=1).mean() > plain.mean() + 3
    columns = plain.shape[1] // 2

    def lean(turn: float) -> float:
        face = scene.render(replace(pose, light_turn=turn), key=1).astype(float)[150:350]
        return float(face[:, columns - 80 : columns].mean() - face[:, columns : columns + 80].mean())

    assert lean(-0.6) > lean(0.0) > lean(0.6)


@pytest.mark.parametrize("worn", ["glasses", "fringe"])
def test_what_is_worn_covers_its_part_of_the_face_and_turns_with_the_head(worn: str):
    subject, _, _ = draw_person(subject_rng(0, 4))
    dressed = draw_worn(np.random.default_rng(3), glasses=worn == "glasses", fringe=worn == "fringe")
    assert (dressed.glasses is None, dressed.fringe is None) == (worn != "glasses", worn != "fringe")
    (pose,) = perform(load_model(), manner(), "happy", np.random.default_rng(0), n_frames=1)
    bare, clad = Scene(subject, noise=0.0), Scene(subject, noise=0.0, worn=dressed)
    rows, _ = np.nonzero(cv2.absdiff(bare.render(pose, key=1), clad.render(pose, key=1)) > 10)
    assert len(rows) > 500
    (eye_box,) = Detector(upsample=1)(bare.render(pose, key=1))
    place = (rows.mean() - eye_box.top) / (eye_box.bottom - eye_box.top)
    assert (0.05 < place < 0.4) if worn == "glasses" else place < 0.15
    mesh = build_worn(dressed, subject, subject.vertices)
    moved = clad.pose(replace(pose, yaw=pose.yaw + 0.2))[-len(mesh.vertices) :]
    still = clad.pose(pose)[-len(mesh.vertices) :]
    # A rigid motion keeps distances.
    np.testing.assert_allclose(
        np.linalg.norm(moved[1:] - moved[:-1], axis=1), np.linalg.norm(still[1:] - still[:-1], axis=1), atol=1e-9
    )
    assert np.abs(moved - still).max() > 0.05


def test_frames_face_outwards():
    subject, _, _ = draw_person(subject_rng(0, 4))
    worn = draw_worn(np.random.default_rng(3), glasses=1.0, fringe=0.0)
    mesh = build_worn(worn, subject, subject.vertices)
    corners = mesh.vertices[mesh.triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    # A closed tube has the volume that its triangles span with the origin: positive when they face outwards.
    rims = mesh.triangles.max(axis=1) < 8 * 40
    assert np.einsum("nd,nd->n", corners[rims, 0], normals[rims]).sum() > 0


def test_glasses_stand_off_the_skin_and_hair_hangs_in_front_of_it():
    for number in range(1, 8):
        subject, _, worn = draw_person(subject_rng(0, number), Variation(glasses=1.0, fringe=1.0))
        assert isinstance(worn.glasses, Glasses)
        assert isinstance(worn.fringe, Fringe)
        mesh = build_worn(Worn(glasses=worn.glasses), subject, subject.vertices)
        outline = mesh.vertices[mesh.lenses[0]]
        for point in outline[outline[:, 1] > subject.eye_height]:
            near = np.hypot(subject.vertices[:, 0] - point[0], subject.vertices[:, 1] - point[1]) < 0.06
            assert point[2] > subject.vertices[near, 2].max()


def test_shares_of_people_wear_glasses_and_a_fringe():
    drawn = [draw_worn(np.random.default_rng(seed), glasses=0.3, fringe=0.2) for seed in range(1000)]
    assert sum(worn.glasses is not None for worn in drawn) == pytest.approx(300, abs=45)
    assert sum(worn.fringe is not None for worn in drawn) == pytest.approx(200, abs=40)


@pytest.mark.parametrize("act", NEUTRAL_ACTS)
def test_neutral_acts_show_what_they_are_called_and_no_emotion(act: str):
    shut, turned, opened, brows = [], [], [], []
    for seed in range(60):
        poses = perform_neutral(load_model(), manner(), act, np.random.default_rng(seed), n_frames=18)
        assert len(poses) == 18
        shut.append(course(poses, "eyeBlinkLeft").max())
        turned.append(np.rad2deg(np.ptp([pose.yaw for pose in poses])))
        opened.append(np.ptp(course(poses, "jawOpen")))
        brows.append(np.ptp(course(poses, "browInnerUp")))
    assert (np.mean(shut) > 0.8) == (act == "blink")
    assert (np.mean(turned) > 4) == (act == "turn")
    assert (np.mean(opened) > 0.15) == (act == "talk")
    assert max(brows) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weakest": 0.0}, "weakest must be 0.05 to 1 .share of the full expression., got 0.0"),
        ({"mixed": 1.5}, "mixed must be 0 to 1"),
        ({"light": float("nan")}, "light must be 0 to 2 .stops., got nan"),
        ({"head_motion": -1}, "head_motion must be 0 to 20 .degrees., got -1"),
    ],
)
def test_variation_refuses_what_is_out_of_range(options: dict[str, float], message: str):
    with pytest.raises(ValueError, match=message):
        Variation(**options)


def test_unknown_aspects_and_too_many_neutral_sequences_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="aspect must be one of mixed action units, intensity"):
        with_aspect("beard")
    with pytest.raises(ValueError, match="neutral must be 0 to 99 sequences per subject, got -1"):
        render_dataset(tmp_path / "set", neutral=-1)
    assert asdict(EASY) == asdict(Variation())
