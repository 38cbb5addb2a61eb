import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastck.training.models.calibration import (
    COLDEST,
    HOTTEST,
    calibration_error,
    fit_temperature,
    with_temperature,
)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def plain_error(probabilities: np.ndarray, true: np.ndarray, bins: int) -> float:
    """Bin by bin, as Guo et al. (2017) write it."""
    surest, predicted = probabilities.max(axis=1), probabilities.argmax(axis=1)
    error = 0.0
    for number in range(bins):
        inside = (surest > number / bins) & (surest <= (number + 1) / bins)
        if inside.any():
            gap = (predicted[inside] == true[inside]).mean() - surest[inside].mean()
            error += inside.mean() * abs(gap)
    return error


@given(seed=st.integers(0, 999), n=st.integers(1, 80), classes=st.integers(2, 7), bins=st.sampled_from([1, 10, 15]))
def test_error_is_the_papers_sum(seed: int, n: int, classes: int, bins: int):
    rng = np.random.default_rng(seed)
    probabilities, true = softmax(3 * rng.normal(size=(n, classes))), rng.integers(classes, size=n)
    assert calibration_error(probabilities, true, bins=bins) == pytest.approx(plain_error(probabilities, true, bins))


def test_error_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [1.0, 0.0]])
    # Bins: 0.9 twice, once right: |0.5 - 0.9|; 0.6 right: 0.4; 1.0 wrong: 1.0.
    assert calibration_error(probabilities, np.array([0, 1, 1, 1])) == pytest.approx((2 * 0.4 + 0.4 + 1.0) / 4)


@pytest.mark.parametrize("overconfident", [0.8, 1.0, 3.0])
def test_temperature_undoes_what_was_done_to_the_logits(overconfident: float):
    """But it makes no probabilities surer than they are."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20_000, 5))
    drawn = softmax(logits).cumsum(axis=1)
    true = np.minimum((rng.random((20_000, 1)) > drawn).sum(axis=1), 4)
    probabilities = softmax(overconfident * logits)
    temperature = fit_temperature(probabilities, true)
    assert temperature == pytest.approx(max(overconfident, COLDEST), rel=0.05)
    calibrated = with_temperature(probabilities, temperature)
    np.testing.assert_array_equal(calibrated.argmax(axis=1), probabilities.argmax(axis=1))
    if overconfident >= 1:
        assert calibration_error(calibrated, true) < 0.02


def test_temperature_is_the_best_of_a_fine_grid():
    rng = np.random.default_rng(1)
    probabilities, true = softmax(4 * rng.normal(size=(40, 4))), rng.integers(4, size=40)
    grid = np.geomspace(COLDEST, HOTTEST, 2000)
    losses = [-np.log(with_temperature(probabilities, t)[np.arange(40), true]).mean() for t in grid]
    assert fit_temperature(probabilities, true) == pytest.approx(grid[np.argmin(losses)], rel=0.01)


def test_probabilities_become_surer_where_that_is_asked_for():
    rng = np.random.default_rng(2)
    logits = rng.normal(size=(20_000, 5))
    drawn = softmax(2 * logits).cumsum(axis=1)
    true = np.minimum((rng.random((20_000, 1)) > drawn).sum(axis=1), 4)
    assert fit_temperature(softmax(logits), true, coldest=0.25) == pytest.approx(0.5, rel=0.05)
    assert fit_temperature(softmax(logits), true) == pytest.approx(COLDEST, rel=0.01)


def test_temperature_stays_within_bounds_and_survives_certainty():
    sure = np.eye(3, dtype=np.float32)[[0, 1, 2, 0]]
    assert fit_temperature(sure, np.array([0, 1, 2, 0])) >= COLDEST
    assert fit_temperature(sure, np.array([1, 2, 0, 1])) == pytest.approx(HOTTEST, rel=0.01)
    np.testing.assert_allclose(with_temperature(sure, 1.0), sure, atol=1e-9)


def test_a_temperature_and_its_inverse_cancel():
    probabilities = softmax(np.random.default_rng(2).normal(size=(9, 4)))
    there = with_temperature(probabilities, np.full((9, 1), 2.5))
    np.testing.assert_allclose(with_temperature(there, 1 / 2.5), probabilities, atol=1e-12)
