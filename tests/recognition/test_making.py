import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from joblib import parallel_config

from fastck.faces.convolution import patches
from fastck.recogniser import STRIDES, Recogniser, logits, mirrored_flow, one_network, softmax
from fastck.render.dataset import Person, Take, act, draw_person, subject_rng
from fastck.render.recipes import PEAKS, VARIANTS
from fastck.render.variation import EASY
from tools.recogniser.choosing import balanced
from tools.recogniser.clips import Clips, between
from tools.recogniser.fit import (
    FitConfig,
    backward,
    first_weights,
    fit,
    placements,
    predict,
    sample_weights,
    targets,
)
from tools.recogniser.make import Made, Plan, answers, make
from tools.recogniser.modelfile import model_bytes, write_model
from tools.recogniser.people import NO_CLASS, Windows, plain_person
from tools.recogniser.recipes import COMPANIONS, LARGEST, SMILES, loose_recipe
from tools.recogniser.slight import (
    GRAIN,
    OTHER_SKIN,
    STRENGTH,
    loose_act,
    slight_act,
    slight_person,
    with_other_skin,
)

ROOT = Path(__file__).resolve().parents[2]
CONFIG = FitConfig(members=2, filters=(3, 4, 5), hidden=8, epochs=2, batch=32)


def plan(folder: Path, n_jobs: int = 1) -> Plan:
    people = {"people": 1, "calibrating_people": 1, "checking_people": 1, "loose_people": 1, "slight_people": 1}
    return Plan(folder=folder, seed=3, **people, rounds=1, versions=2, config=CONFIG, n_jobs=n_jobs)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recogniser")


@pytest.fixture(scope="module")
def made(folder: Path) -> Iterator[Made]:
    with pytest.MonkeyPatch.context() as patch:
        # Of CK+'s length, 18 frames on average, the clips would take three times the time.
        patch.setattr("tools.recogniser.clips.draw_length", lambda rng: int(rng.integers(5, 8)))
        yield make(plan(folder / "first"), say=lambda text: None)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_file(made: Made, folder: Path):
    # In threads, which see the clips' length.
    with parallel_config(backend="threading"):
        again = make(plan(folder / "second", n_jobs=2), say=lambda text: None)
    assert model_bytes(again.weights, again.about) == model_bytes(made.weights, made.about)
    kept = make(plan(folder / "first"), say=lambda text: None)
    assert model_bytes(kept.weights, kept.about) == model_bytes(made.weights, made.about)


def test_the_file_says_what_the_fitted_network_says(made: Made, folder: Path):
    write_model(folder / "model.npz", made.weights, made.about)
    model = Recogniser(folder / "model.npz")
    windows = Windows.load(folder / "first" / "windows-mixed-3-1-1-2.npz")
    assert {NO_CLASS, *range(8)} == set(windows.code.tolist())
    expected = predict(windows, made.weights, made.about["temperature"])
    np.testing.assert_allclose(model.probabilities(windows.flow), expected, atol=1e-6)
    assert model.about["people"] == 3
    assert model.about["clips"] == 14
    assert model.about["begun_clips"] == 14
    assert set(model.about["chosen"]) == {"wide", "loose", "slight"}
    for shares in model.about["begun"].values():
        assert sum(shares.values()) == pytest.approx(1, abs=1e-3)


def test_a_network_learns_what_can_be_learned():
    rng = np.random.default_rng(0)
    code = np.tile(np.arange(8, dtype=np.int16), 40)
    flow = rng.normal(0, 0.01, (320, 3, 28, 28))
    for row, value in enumerate(code):
        # Rows of cells, so that a mirrored window shows the same.
        flow[row, 1, 3 * value : 3 * value + 3] += 0.05
    windows = Windows(
        flow=flow.astype(np.float16),
        code=code,
        person=np.zeros(320, np.int32),
        ending=np.ones(320, np.float32),
        version=np.zeros(320, np.int16),
    )
    weights = fit(
        windows, FitConfig(members=2, filters=(8, 8, 16), hidden=16, epochs=20, batch=32, shift=0, stretch=0), seed=1
    )
    assert (predict(windows, weights).argmax(axis=1) == code).mean() > 0.95


def test_windows_are_mirrored_moved_and_stretched():
    rng = np.random.default_rng(0)
    flow = rng.normal(0, 1, (2, 3, 28, 28)).astype(np.float32)
    still = placements(2, rng, shift=0, stretch=0)
    np.testing.assert_allclose(still[:, None] @ flow @ still.transpose(0, 2, 1)[:, None], flow, atol=1e-6)
    turned = mirrored_flow(flow)
    np.testing.assert_array_equal(turned[:, 0], -flow[:, 0, :, ::-1])
    np.testing.assert_array_equal(turned[:, 1:], flow[:, 1:, :, ::-1])
    np.testing.assert_array_equal(mirrored_flow(turned), flow)


def test_a_placement_equals_opencvs():
    rows = placements(1, np.random.default_rng(1), shift=1.0, stretch=0.1)[0]
    line = np.random.default_rng(2).normal(0, 1, 28).astype(np.float32)
    # What it drew.
    draw = np.random.default_rng(1)
    size, shift = np.exp(draw.normal(0, 0.1)), draw.normal(0, 1.0)
    at = 13.5 + (np.arange(28) - 13.5) * size + shift
    x = at.astype(np.float32)[None]
    expected = cv2.remap(line[None], x, np.zeros_like(x), cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)[0]
    # OpenCV's weights are multiples of 1/32.
    np.testing.assert_allclose(rows @ line, expected, atol=0.06)


def test_the_answer_is_the_mean_of_the_networks_logits():
    rng = np.random.default_rng(0)
    fitted = [first_weights(CONFIG, rng) for _ in range(3)]
    scale = {"scale": np.full(6, 2, np.float32)}
    flow = rng.normal(0, 1, (4, 3, 28, 28)).astype(np.float32)
    alone = [logits(flow, scale | {name: values[None] for name, values in one.items()}) for one in fitted]
    together = logits(flow, scale | {name: np.stack([one[name] for one in fitted]) for name in fitted[0]})
    np.testing.assert_allclose(together, np.mean(alone, axis=0), atol=1e-5)


def test_the_gradient_is_that_of_the_loss():
    rng = np.random.default_rng(0)
    config = replace(CONFIG, drop=0)
    weights = first_weights(config, rng)
    values = rng.normal(0, 1, (6, 28, 28, 6)).astype(np.float32)
    wanted, weight = targets(np.arange(6, dtype=np.int16), 0.1), rng.uniform(0.5, 2, 6).astype(np.float32)

    def loss(changed: dict[str, np.ndarray]) -> float:
        chances = softmax(one_network(patches(values, STRIDES[0]), changed, 6)).astype(np.float64)
        return float(-(wanted * np.log(chances)).sum(axis=1) @ weight / 6)

    gradients = backward(values, wanted, weight, weights, config, rng)
    for name, gradient in gradients.items():
        step = rng.choice([-1e-4, 1e-4], gradient.shape).astype(np.float32)
        ahead, behind = (loss(weights | {name: weights[name] + sign * step}) for sign in (1, -1))
        assert ahead - behind == pytest.approx(2 * float((gradient * step).sum()), rel=0.02, abs=1e-5), name


def test_an_expression_glides_to_another_one():
    _, manner = Person(3, 1, EASY).get()
    happy, sad = (
        act(Take(subject=1, position=1, shows=shows, n_frames=10), manner, np.random.default_rng(5), EASY)[-1]
        for shows in ("happy", "sadness")
    )
    poses = between(happy, sad, 9)
    assert poses[0].weights["unit/mouthSmileLeft"] == pytest.approx(happy.weights["unit/mouthSmileLeft"])
    assert poses[-1].weights["unit/mouthSmileLeft"] == sad.weights.get("unit/mouthSmileLeft", 0.0)
    assert poses[-1].weights["unit/mouthFrownLeft"] == pytest.approx(sad.weights["unit/mouthFrownLeft"])
    smiles = [pose.weights["unit/mouthSmileLeft"] for pose in poses]
    assert smiles == sorted(smiles, reverse=True)
    assert {pose.yaw for pose in poses} == {happy.yaw}


def test_answers_are_shares_of_each_kind_of_clip():
    clips = Clips(
        flow=np.zeros((4, 3, 28, 28), np.float16),
        clip=np.arange(4, dtype=np.int32),
        code=np.array([1, 1, 1, 5], np.int16),
        act=np.array(["a", "a", "a", "b"]),
    )
    chances = np.full((4, 8), 0.05)
    chances[0, 0] = chances[1, 1] = chances[3, 4] = 0.65
    shares = answers(chances, clips)
    third = pytest.approx(1 / 3, abs=1e-3)
    assert shares["a"] == {"unsure": third, "neutral": third, "the expression named": third, "another emotion": 0}
    assert shares["b"]["another emotion"] == 1


def test_each_class_counts_the_same_where_settings_are_chosen():
    chances = np.full((4, 8), 0.1, np.float32)
    chances[[0, 1, 3], 0] = chances[2, 3] = 0.3
    figures = balanced(chances, np.array([0, 0, 0, 3], np.int16))
    assert figures["right"] == pytest.approx(2 / 3 / 2, abs=1e-3)
    assert figures["log_loss"] == pytest.approx((-(2 * np.log(0.3) + np.log(0.1)) / 3 - np.log(0.1)) / 2, abs=1e-3)


def test_loose_recipes_are_near_the_emotions_and_always_other_ones():
    rng = np.random.default_rng(0)
    for emotion, peak in PEAKS.items():
        drawn = [loose_recipe(emotion, rng) for _ in range(40)]
        assert len({tuple(sorted(units.items())) for units in drawn}) == 40
        assert all(0 < weight <= LARGEST for units in drawn for weight in units.values())
        known = {unit for recipe in (peak, *VARIANTS[emotion], *SMILES) for unit in recipe} | set(COMPANIONS)
        assert {unit for units in drawn for unit in units} <= known
    assert all(loose_recipe("happy", rng).get("mouthSmile", 0) > 0.1 for _ in range(200))


def test_an_emotion_alone_is_acted_by_a_loose_recipe():
    _, manner = Person(3, 1, EASY).get()
    for shows, same in (("happy", False), ("turn", True)):
        take = Take(subject=1, position=1, shows=shows, n_frames=10)
        loose = loose_act(take, manner, np.random.default_rng(5), EASY)
        plain = act(take, manner, np.random.default_rng(5), EASY)
        assert (loose[-1].weights == plain[-1].weights) == same


def test_a_slight_expression_has_the_units_of_a_loose_one_each_weaker_by_the_same_factor():
    _, manner = Person(3, 1, EASY).get()
    take = Take(subject=1, position=1, shows="happy", n_frames=10)
    loose, slight = (perform(take, manner, np.random.default_rng(5), EASY) for perform in (loose_act, slight_act))
    # What the face does at rest as well, and the gaze, are no part of the recipe alone.
    shares = {
        name: slight[-1].weights[name] / weight
        for name, weight in loose[-1].weights.items()
        if weight > 0 and loose[0].weights.get(name, 0) == 0 and "eyeLook" not in name
    }
    assert len(shares) >= 2
    assert min(shares.values()) == pytest.approx(max(shares.values()))
    assert STRENGTH[0] <= min(shares.values()) <= STRENGTH[1]
    turn = Take(subject=1, position=1, shows="turn", n_frames=10)
    same = [perform(turn, manner, np.random.default_rng(5), EASY)[-1] for perform in (act, slight_act)]
    assert same[0] == same[1]


def test_every_second_person_of_the_slight_ones_has_another_skin():
    subject, _, _ = draw_person(subject_rng(3, 2))
    skins = [with_other_skin(subject, np.random.default_rng(seed)) for seed in range(40)]
    assert 10 <= sum(skin.beard > subject.beard for skin in skins) <= 35
    assert all(GRAIN[0] <= skin.grain <= GRAIN[1] for skin in skins)
    assert all(skin.lip_strength <= subject.lip_strength for skin in skins)
    still = Take(subject=1, position=1, shows="still", n_frames=1)
    pose = act(still, Person(3, 1, EASY).get()[1], np.random.default_rng(0), EASY)[0]
    for number in (1, 2):
        frames = [draw(3, number, EASY)[0].render(pose, key=1) for draw in (plain_person, slight_person)]
        assert np.array_equal(*frames) == bool(number % OTHER_SKIN)


def test_targets_and_weights():
    code = np.array([0, 0, 5, 5, 5, 5, NO_CLASS], np.int16)
    wanted = targets(code, 0.08)
    np.testing.assert_allclose(wanted.sum(axis=1), 1, rtol=1e-6)
    assert wanted[2, 5] == pytest.approx(0.93)
    np.testing.assert_allclose(wanted[-1], 1 / 8)
    weights = sample_weights(code, none=0.5, neutral=2.0)
    assert weights[:2].sum() == pytest.approx(2 * weights[2:6].sum())
    assert weights[-1] == pytest.approx(0.5 * weights[2:6].sum())


def test_the_command_says_what_it_does():
    done = subprocess.run(
        [sys.executable, "-m", "tools.recogniser", "--help"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "120"},
    )
    assert done.returncode == 0
    assert "--ablation" in done.stdout
