import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, precision_recall_fscore_support

from fastck.training.report.evaluation import (
    BASELINES,
    baseline_predictions,
    bootstrap_intervals,
    confusion,
    evaluate,
    exact_interval,
    metrics,
    subject_intervals,
    wilson_interval,
)

CLASSES = ("anger", "disgust", "happy", "surprise")


@given(n=st.integers(1, 500), share=st.floats(0, 1), confidence=st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_equals_scipy(n: int, share: float, confidence: float):
    successes = round(share * n)
    expected = binomtest(successes, n).proportion_ci(confidence_level=confidence, method="wilson")
    assert wilson_interval(successes, n, confidence=confidence) == pytest.approx(
        (expected.low, expected.high), abs=1e-12
    )


def test_wilson_refuses_more_successes_than_trials():
    with pytest.raises(ValueError, match="between 0 and n=3"):
        wilson_interval(4, 3)


def test_a_perfect_score_over_repeats_is_no_error():
    # In floating point 10/3 + 10/3 + 11/3 + 13/3 is 14.666666666666666 or 14.666666666666668, as it is added up.
    true = np.repeat(CLASSES, [10, 10, 11, 13])
    table = pd.DataFrame({"repeat": np.arange(44) % 3, "subject": "S1", "true": true, "predicted": true})
    perfect = evaluate(table, classes=CLASSES)
    assert perfect["n"] == pytest.approx(44 / 3)
    assert perfect["accuracy"]["value"] == pytest.approx(1)
    assert perfect["accuracy"]["high"] == 1
    assert wilson_interval(22.8, 22.799999999999997) == pytest.approx(wilson_interval(22.8, 22.8))


@settings(deadline=None)
@given(data=st.data(), n=st.integers(1, 60))
def test_metrics_equal_scikit_learn(data: st.DataObject, n: int):
    codes = st.lists(st.sampled_from(CLASSES), min_size=n, max_size=n)
    true, predicted = data.draw(codes), data.draw(codes)
    values = metrics(confusion(true, predicted, CLASSES))
    precision, recall, f1, _ = precision_recall_fscore_support(true, predicted, labels=CLASSES, zero_division=0)
    np.testing.assert_allclose(values["precision"], precision)
    np.testing.assert_allclose(values["recall"], recall)
    np.testing.assert_allclose(values["f1"], f1)
    assert values["accuracy"] == pytest.approx(accuracy_score(true, predicted))
    present = sorted({*true, *predicted})
    f1_present = precision_recall_fscore_support(true, predicted, labels=present, average="macro", zero_division=0)[2]
    assert values["macro_f1"] == pytest.approx(f1_present)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *_, **__: None)  # scikit-learn on predicted classes that never occur
        assert values["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(true, predicted))


def test_bootstrap_equals_drawing_whole_subjects():
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 4, size=(25, 4, 4))
    intervals = bootstrap_intervals(counts, resamples=4000, seed=1)
    drawn = [
        metrics(counts[np.random.default_rng(seed).integers(0, 25, 25)].sum(axis=0))["macro_f1"] for seed in range(4000)
    ]
    np.testing.assert_allclose(intervals["macro_f1"], np.quantile(drawn, [0.025, 0.975]), atol=0.01)
    assert intervals["f1"].shape == (2, 4)


def test_clustered_intervals_are_wider_when_a_subjects_sequences_agree():
    hit, miss = np.diag([1, 1, 1, 1]) * 5, np.roll(np.diag([1, 1, 1, 1]), 1, axis=1) * 5
    together = bootstrap_intervals(np.stack([hit, miss] * 10))["balanced_accuracy"]
    apart = bootstrap_intervals(np.stack([hit + miss] * 10).repeat(2, axis=0))["balanced_accuracy"]
    assert np.ptp(together) > 0.3
    assert np.ptp(apart) == pytest.approx(0)


def test_a_resample_without_an_emotion_says_nothing_about_it():
    # Only the first of 12 subjects shows the last emotion, and it is always recognised: about a third of the resamples
    # are without it, and count as nothing, not as a recall of 0.
    counts = np.tile(np.diag([1, 1, 1, 0]), (12, 1, 1))
    counts[0, 3, 3] = 1
    intervals = bootstrap_intervals(counts)
    for name in ("precision", "recall", "f1", "balanced_accuracy", "macro_f1"):
        np.testing.assert_array_equal(intervals[name], np.ones_like(intervals[name]))
    counts[0] = 0
    assert bootstrap_intervals(counts)["recall"][:, 3].tolist() == [0, 1]


@given(n=st.integers(1, 60), share=st.floats(0, 1), each=st.floats(0.1, 9))
def test_the_exact_interval_of_equal_people_equals_scipy(n: int, share: float, each: float):
    right = round(share * n)
    expected = binomtest(right, n).proportion_ci(method="exact")
    assert exact_interval(right / n, np.full(n, each)) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_a_person_who_weighs_most_counts_nearly_alone():
    assert exact_interval(1.0, np.array([1000.0, 1, 1]))[0] == pytest.approx(0.025, abs=0.01)
    assert exact_interval(1.0, np.zeros(3)) == (0, 1)


def test_no_interval_is_without_width():
    # All right, all wrong, each person three of four right, and one person alone.
    right = np.tile(np.diag([2, 2, 2]), (6, 1, 1))
    wrong = np.roll(right, 1, axis=2)
    same = 3 * right + wrong
    for counts in (right, wrong, same, same[:1]):
        intervals, values = subject_intervals(counts), metrics(counts.sum(axis=0))
        for name, (low, high) in intervals.items():
            assert np.all(high - low > 0.2), name
            assert np.all((low <= values[name]) & (values[name] <= high)), name
    six = binomtest(6, 6).proportion_ci(method="exact")
    for name in ("accuracy", "balanced_accuracy", "macro_f1"):
        assert subject_intervals(right)[name] == pytest.approx((six.low, six.high))


def test_accuracys_interval_covers_where_people_differ():
    rng = np.random.default_rng(0)
    hits, runs = 0, 150
    for _ in range(runs):
        # 30 people of 10 sequences; how often each is recognised differs, its mean is 0.7.
        right = rng.binomial(10, rng.beta(1.4, 0.6, 30))
        counts = np.zeros((30, 2, 2))
        counts[:, 0, 0], counts[:, 0, 1] = right, 10 - right
        low, high = subject_intervals(counts, seed=1)["accuracy"]
        hits += bool(low <= 0.7 <= high)
    # Wilson's interval over sequences covers two thirds.
    assert hits / runs >= 0.9


def test_a_prediction_without_a_subject_is_refused():
    table = predictions()
    table.loc[3, "subject"] = None
    with pytest.raises(ValueError, match="1 of 60 test predictions name no subject"):
        evaluate(table, classes=CLASSES)


def predictions(repeats: int = 1, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = [
        {
            "repeat": repeat,
            "subject": f"S{subject:02d}",
            "true": code,
            "predicted": code if rng.random() < 0.7 else "anger",
        }
        for repeat in range(repeats)
        for subject in range(15)
        for code in CLASSES
    ]
    return pd.DataFrame(rows)


def test_repeats_do_not_pretend_to_more_data():
    one, three = evaluate(predictions(), classes=CLASSES), evaluate(predictions(3), classes=CLASSES)
    assert one["n"] == three["n"] == 60
    assert one["repeats"]["accuracy"]["sd"] is None
    assert three["repeats"]["count"] == 3
    assert three["repeats"]["accuracy"]["sd"] > 0
    width = three["accuracy"]["high"] - three["accuracy"]["low"]
    assert width == pytest.approx(one["accuracy"]["high"] - one["accuracy"]["low"], rel=0.2)
    assert three["per_class"]["surprise"]["support"] == 15
    assert np.sum(three["confusion"]) == 180
    for name in ("accuracy", "balanced_accuracy", "macro_f1"):
        assert three[name]["low"] <= three[name]["value"] <= three[name]["high"]


def test_evaluation_is_refused_for_nothing_and_for_strange_emotions():
    with pytest.raises(ValueError, match="no test predictions"):
        evaluate(predictions().iloc[:0], classes=CLASSES)
    with pytest.raises(ValueError, match="surprise is not one of anger, disgust, happy"):
        evaluate(predictions(), classes=CLASSES[:3])


def test_baselines_learn_what_is_there():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.array(CLASSES, dtype=object), 12)
    values = rng.normal(size=(48, 300)).astype(np.float32) * 0.3
    values[np.arange(48), np.repeat(np.arange(4), 12)] += 3
    values[:, 200:] = 0  # as padding leaves it
    train, test = np.arange(48) % 3 > 0, np.arange(48) % 3 == 0
    shares = {
        name: np.mean(baseline_predictions(name, values[train], labels[train], values[test]) == labels[test])
        for name in BASELINES
    }
    assert shares["majority class"] == 0.25
    assert shares["nearest centroid"] > 0.9
    assert shares["logistic regression"] > 0.9
    with pytest.raises(ValueError, match="baseline must be one of"):
        baseline_predictions("oracle", values, labels, values)
