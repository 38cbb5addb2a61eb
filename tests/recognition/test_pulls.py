"""Pulls of training people's own: which units move along, and that the truth does not."""

from dataclasses import replace

import numpy as np
import pytest

from fastck.render.action_units import action_units
from fastck.render.model import load_model
from fastck.render.motion import Pose
from tools.units.frames import WORLDS, draw_sitter
from tools.units.pulls import NEIGHBOURS, draw_pulls, pulled, pulled_units

SMILE = Pose(weights={"unit/mouthSmileLeft": 0.8, "unit/jawOpen": 0.2}, yaw=0.1, pitch=0.0, roll=0.0, shift=(0.0, 0.0))


def test_neighbours_are_units_of_the_head_model_with_two_sides():
    names = {name for unit, others in NEIGHBOURS.items() for name in (unit, *others)}
    assert {f"unit/{name}{side}" for name in names for side in ("Left", "Right")} <= load_model().shapes.keys()
    assert all(unit not in others for unit, others in NEIGHBOURS.items())


def test_a_unit_takes_its_neighbours_along_on_its_side():
    seen = pulled(SMILE, {"mouthSmile": {"mouthUpperUp": 0.25, "mouthDimple": 0.0}})
    assert seen == replace(SMILE, weights={**SMILE.weights, "unit/mouthUpperUpLeft": 0.2, "unit/mouthDimpleLeft": 0.0})
    assert pulled(SMILE, {}) == SMILE


def test_shares_add_up_and_keep_to_what_the_model_can_show():
    pose = replace(SMILE, weights={"unit/mouthSmileLeft": 1.0, "unit/mouthUpperUpLeft": 1.2, "unit/eyeBlinkLeft": 0.75})
    seen = pulled(pose, {"mouthSmile": {"mouthUpperUp": 0.4, "eyeSquint": 0.4}, "mouthUpperUp": {"eyeSquint": 0.5}})
    assert seen.weights["unit/mouthUpperUpLeft"] == 1.25
    # Of both, and a quarter of the eye is open.
    assert seen.weights["unit/eyeSquintLeft"] == pytest.approx((0.4 + 0.6) / 4)


def test_the_truth_is_the_poses_own_but_for_the_lips_that_part():
    seen = pulled(SMILE, {"mouthSmile": {"mouthUpperUp": 0.5, "mouthDimple": 0.5}})
    truth, own, shown = pulled_units(SMILE, seen), action_units(SMILE.weights), action_units(seen.weights)
    assert {name for name in truth if truth[name] != own[name]} == {"AU25"}
    assert truth["AU25"] == shown["AU25"] > own["AU25"]
    assert shown["AU10"] > truth["AU10"] == 0


def test_a_persons_shares_are_drawn_within_their_bounds():
    drawn = [draw_pulls(np.random.default_rng(seed)) for seed in range(50)]
    for unit, others in NEIGHBOURS.items():
        for other, most in others.items():
            shares = np.array([pulls[unit][other] for pulls in drawn])
            assert shares.min() >= 0
            assert most / 2 < shares.max() <= most


def test_only_some_training_people_have_them_and_the_same_again():
    people = [draw_sitter(WORLDS["train"], 101, number).pulls for number in range(1, 9)]
    assert people == [draw_sitter(WORLDS["train"], 101, number).pulls for number in range(1, 9)]
    assert 0 < sum(bool(pulls) for pulls in people) < len(people)
    for world in ("easy", "hard", "turned", "compressed"):
        assert not any(draw_sitter(WORLDS[world], 601, number).pulls for number in range(1, 4))
