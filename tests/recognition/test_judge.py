"""The judge: what it takes of a stretch of frames, its file, and what it says about rendered people."""

import json

import numpy as np
import pytest

import fastck
from fastck.faces.units import UNITS, bundled_units
from fastck.recogniser import Recogniser
from fastck.recognition.judge import BUNDLED, N_INPUTS, Course, Judge, bundled_judge, judged_inputs, pooled, swings
from tools.units import frames as rendered
from tools.units import judging
from tools.units.fit import DenseConfig, fit_dense, gradients, squared
from tools.units.frames import Frames, person_frames
from tools.units.judging import (
    Stretches,
    cross_entropy,
    judging_data,
    stretches,
    told,
    wanted_of,
    without_flow,
)
from tools.units.make import Data, Plan


def stretch(n=6, chances=None):
    rng = np.random.default_rng(3)
    units = rng.uniform(0, 3, (n, len(UNITS))).astype(np.float32)
    chances = np.full((n, 8), 1 / 8, np.float32) if chances is None else chances
    return Course(units, None, np.zeros((n, 3), np.float32), chances, np.linspace(0, 0.01, n).astype(np.float32))


def test_a_stretch_of_any_length_gives_the_same_number_of_inputs():
    for n in (2, 6, 40):
        assert judged_inputs(stretch(n)).shape == (N_INPUTS,)


def test_swings_count_speech_and_not_noise():
    time = np.arange(30)
    rise, speech = time / 29 * 4, 2 - 2 * np.cos(time)
    noise = 0.15 * np.sin(37.0 * time)
    found = swings(np.stack([rise, speech, noise], axis=1).astype(np.float32))
    assert found[0] == pytest.approx(1.0, abs=0.1)
    assert found[1] > 6
    assert found[2] == 0


def test_the_flow_has_a_say_and_probabilities_sum_to_one():
    judged = np.full((1, 8), 1 / 8, np.float32)
    flow = np.eye(8, dtype=np.float32)[[3]]
    rested = np.array([True])
    both = pooled(judged, flow, rested)
    assert both.sum() == pytest.approx(1.0, abs=1e-6)
    assert both.argmax() == 3
    assert pooled(judged, judged, rested) == pytest.approx(judged)


def test_the_flow_has_no_say_where_the_face_never_rests():
    judged = np.random.default_rng(0).dirichlet(np.ones(8), 2).astype(np.float32)
    flow = np.eye(8, dtype=np.float32)[[0, 0]]
    found = pooled(judged, flow, np.array([False, True]))
    np.testing.assert_array_equal(found[0], judged[0])
    assert found[1, 0] > judged[1, 0]


def test_a_damaged_file_is_refused(tmp_path):
    with np.load(BUNDLED, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    path = tmp_path / "judge.npz"
    for change, text in (
        ({"about": np.array(json.dumps({"format": 99}))}, "format 99"),
        ({"judge0/bias1": np.full(8, np.nan, np.float32)}, "not finite"),
        ({"judge1/kernel0": np.zeros((4, 64), np.int8)}, "must take"),
    ):
        np.savez(path, **{**arrays, **change})
        with pytest.raises(ValueError, match=text):
            Judge(path)


def test_the_models_together_are_small():
    from fastck.faces.units import BUNDLED as units
    from fastck.recogniser import BUNDLED as flow

    assert sum(path.stat().st_size for path in (BUNDLED, units, flow)) < 3_000_000


def test_fitting_is_repeatable_and_learns():
    """A linear truth with two outputs."""
    rng = np.random.default_rng(5)
    values = rng.standard_normal((600, 10)).astype(np.float32)
    wanted = np.stack([2 + values[:, 0], 2 - values[:, 1]], axis=1).astype(np.float32)

    def batches(chosen, rng):
        return values[chosen], wanted[chosen]

    config = DenseConfig(hidden=(16,), epochs=30, batch=50, drop=0.0, rate=0.01)
    first, second = (fit_dense(batches, len(values), squared, config, seed=(1,)) for _ in range(2))
    assert all((first[name] == second[name]).all() for name in first)
    said = np.maximum(values @ first["kernel0"] + first["bias0"], 0) @ first["kernel1"] + first["bias1"]
    assert np.corrcoef(said[:, 0], wanted[:, 0])[0, 1] > 0.95


def test_the_gradient_is_that_of_the_cross_entropy():
    rng = np.random.default_rng(2)
    values, wanted = rng.standard_normal((5, 4)).astype(np.float32), wanted_of(np.array([0, 3, 7, 1, 2], np.int16))
    weights = {
        "kernel0": rng.standard_normal((4, 6)).astype(np.float32), "bias0": np.zeros(6, np.float32),
        "kernel1": rng.standard_normal((6, 8)).astype(np.float32), "bias1": np.zeros(8, np.float32),
    }  # fmt: skip

    def loss(bias):
        outputs = np.maximum(values @ weights["kernel0"], 0) @ weights["kernel1"] + bias
        outputs = outputs - outputs.max(axis=1, keepdims=True)
        return -(wanted * (outputs - np.log(np.exp(outputs).sum(axis=1, keepdims=True)))).sum() / len(values)

    found = gradients(values, wanted, weights, cross_entropy, 0.0, rng)["bias1"]
    step = 1e-3 * np.eye(8)
    expected = [(loss(one) - loss(-one)) / 2e-3 for one in step]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_an_expression_that_was_taken_for_rest_is_not_learnt_from():
    acts = ("anger begun", "anger begun", "anger held", "fear begun and released", "talk")
    references, n = ("onset", "average", "onset", "onset", "onset"), len(acts)
    data = Stretches(
        values=np.zeros((n, 3), np.float32), flow=np.zeros((n, 8), np.float32), code=np.arange(n, dtype=np.int16),
        person=np.arange(n), act=np.array(acts), whole=np.ones(n, np.bool_), reference=np.array(references),
        rested=np.ones(n, np.bool_), begins=np.zeros(n, np.float32),
    )  # fmt: skip
    assert told(data).code.tolist() == [1, 2, 4]


def test_judging_data_is_the_same_in_parts_and_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(rendered, "KEPT", 1)
    monkeypatch.setattr(judging, "SYNTHETIC", 6)
    frames = Frames.join(person_frames("easy", 3, number) for number in (1, 2))
    data = Data(learnt=frames, judged=frames, calibrating=frames, checked={"easy": frames})
    one, two = (judging_data(Plan(folder=tmp_path, n_jobs=jobs), bundled_units(), data) for jobs in (1, 2))
    whole = stretches(frames, bundled_units(), Recogniser())
    for name, expected in whole.arrays().items():
        np.testing.assert_array_equal(one["easy"].arrays()[name], expected)
        for part in ("easy", "train"):
            np.testing.assert_array_equal(one[part].arrays()[name], two[part].arrays()[name])
    assert set(whole.person) == {1, 2}


def test_without_flow_nothing_of_it_is_left():
    other = np.eye(8, dtype=np.float32)[[2] * 6]
    rows = np.stack([judged_inputs(stretch(chances=one)) for one in (None, other)])
    without_flow(rows, np.ones(2, np.bool_))
    np.testing.assert_array_equal(rows[0], rows[1])


def test_a_prediction_says_what_the_face_was_compared_with(smile):
    prediction = fastck.predict(smile)
    assert prediction.reference in ("onset", "median", "average")
    assert prediction.emotion == "happy"
    assert len(prediction.readings) == prediction.n_frames
    assert prediction.frames["p_happy"].iloc[-1] > 0.5


def test_the_files_figures_are_better_than_those_of_flow_alone():
    for world, found in bundled_judge().about["figures"].items():
        assert found["judge"]["all_right"] > found["flow"]["all_right"], world
        assert found["judge"]["talking_calm"] > 0.9
