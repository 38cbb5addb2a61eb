"""What a set of test predictions is worth: metrics, their intervals, and simple models beside them."""

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

CONFIDENCE = 0.95
RESAMPLES = 2000  # bootstrap draws; the ends of a 95 % interval then wander by about a tenth of its width


def confusion(true: Sequence[str], predicted: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """Count test sequences by true (row) and predicted (column) class: (C, C) int64.

    Raises
    ------
    ValueError
        If a label is not among `classes`.
    """
    index = {name: position for position, name in enumerate(classes)}
    try:
        rows = [index[name] for name in true]
        columns = [index[name] for name in predicted]
    except KeyError as error:
        raise ValueError(f"{error.args[0]} is not one of {', '.join(classes)}") from None
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(counts, (rows, columns), 1)
    return counts


def metrics(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Compute metrics of confusion matrices.

    Parameters
    ----------
    counts : ndarray of shape (..., C, C)
        True class by row; may be fractions.

    Returns
    -------
    values : dict
        "accuracy", "balanced_accuracy" (mean recall over classes that occur) and "macro_f1" (over classes that occur or
        are predicted), shape (...); "precision", "recall" and "f1", shape (..., C), 0 where there was nothing to
        divide by.
    """
    counts = np.asarray(counts, dtype=np.float64)
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    support, called = counts.sum(axis=-1), counts.sum(axis=-2)
    recall, precision = _ratio(hits, support), _ratio(hits, called)
    f1 = _ratio(2 * hits, support + called)
    return {
        "accuracy": _ratio(hits.sum(axis=-1), counts.sum(axis=(-2, -1))),
        "balanced_accuracy": _ratio(recall.sum(axis=-1), (support > 0).sum(axis=-1)),
        "macro_f1": _ratio(f1.sum(axis=-1), (support + called > 0).sum(axis=-1)),
        "precision": precision,
        "recall": recall,
        "f1": f1,
    }


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros(np.broadcast(part, whole).shape), where=np.asarray(whole) > 0)


def wilson_interval(successes: float, n: float, *, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Wilson's score interval of a share.

    Parameters
    ----------
    successes, n : float
        Successes out of n trials; fractions are allowed (means over repeats).
    confidence : float
        0 to 1.

    Returns
    -------
    low, high : float
        (0, 1) for n = 0.

    References
    ----------
    Wilson, E. B. (1927), J. Am. Stat. Assoc. 22, 209-212.
    """
    from statistics import NormalDist

    # A mean over repeats may come out a rounding error beyond n.
    if not 0 <= successes <= n * (1 + 1e-9):
        raise ValueError(f"successes must be between 0 and n={n}, got {successes}")
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = min(1.0, successes / n)
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    # Rounding must not push the ends past what the share itself allows.
    return max(0.0, min(middle - half, share)), min(1.0, max(middle + half, share))


def bootstrap_intervals(
    counts: np.ndarray, *, confidence: float = CONFIDENCE, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, np.ndarray]:
    """Percentile intervals of all metrics, resampling subjects: one subject's sequences are not independent.

    Parameters
    ----------
    counts : ndarray of shape (S, C, C)
        Confusion matrix of each subject.
    confidence : float
        0 to 1.
    resamples : int
        Number of draws.
    seed : int
        Seed of the draws.

    Returns
    -------
    intervals : dict
        As `metrics`, each with a leading axis of (low, high). A resample without a sequence of an emotion says nothing
        about that emotion and is left out of its precision, recall and F1; they are (0, 1) where no subject has one.
    """
    counts = np.asarray(counts, dtype=np.float64)
    subjects, classes = counts.shape[0], counts.shape[-1]
    draws = np.random.default_rng(seed).multinomial(subjects, np.full(subjects, 1 / subjects), size=resamples)
    resampled = (draws @ counts.reshape(subjects, -1)).reshape(resamples, classes, classes)
    ends = [(1 - confidence) / 2, (1 + confidence) / 2]
    drawn = resampled.sum(axis=-1) > 0
    return {name: _quantiles(values, drawn, ends) for name, values in metrics(resampled).items()}


def exact_interval(share: float, weights: np.ndarray, *, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Clopper and Pearson's interval of a share, with people in place of trials.

    A bootstrap says nothing where all resamples agree: where everything is right or wrong, or there is one subject. The
    exact binomial interval with an effective number of trials still does, as Korn and Graubard take it for clustered
    samples. How alike one subject's sequences are cannot be seen there; the number is Kish's for sequences that are all
    alike, which is the number of subjects where each weighs the same.

    Parameters
    ----------
    share : float
        0 to 1.
    weights : ndarray of shape (S,)
        What each subject contributes to the share.
    confidence : float
        0 to 1.

    Returns
    -------
    low, high : float
        (0, 1) where nobody contributes.

    References
    ----------
    Clopper, C. J. and Pearson, E. S. (1934), Biometrika 26, 404-413.
    Korn, E. L. and Graubard, B. I. (1998), Survey Methodology 24, 193-201.
    Kish, L. (1965), Survey Sampling, Wiley.
    """
    from scipy.stats import beta

    total = float(weights.sum())
    if total == 0:
        return 0.0, 1.0
    n = total**2 / float(np.square(weights).sum())
    # Sums of fractions may end a rounding error beyond what they stand for.
    right = n * min(1.0, max(0.0, share))
    tail, rounding = (1 - confidence) / 2, 1e-9 * n
    low = 0.0 if right <= rounding else float(beta.ppf(tail, right, n - right + 1))
    high = 1.0 if right >= n - rounding else float(beta.ppf(1 - tail, right + 1, n - right))
    return low, high


def subject_intervals(counts: np.ndarray, *, seed: int = 0) -> dict[str, np.ndarray]:
    """Intervals of all metrics: `bootstrap_intervals`, and `exact_interval` where those have no width.

    Parameters
    ----------
    counts : ndarray of shape (S, C, C)
        Confusion matrix of each subject; all zeros for one that is not tested.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    intervals : dict
        As `bootstrap_intervals`.
    """
    counts = counts[counts.any(axis=(1, 2))]
    intervals, values = bootstrap_intervals(counts, seed=seed), metrics(counts.sum(axis=0))
    support, called = counts.sum(axis=-1), counts.sum(axis=-2)
    # The mean over classes weighs a sequence by how rare its class is.
    balanced = _ratio(support, support.sum(axis=0)).sum(axis=-1)
    weights = {
        "accuracy": support.sum(axis=-1),
        "balanced_accuracy": balanced,
        "macro_f1": balanced,
        "precision": called,
        "recall": support,
        "f1": support + called,
    }
    for name, ends in intervals.items():
        for index in np.argwhere(np.ptp(ends, axis=0) < 1e-9):
            at = tuple(index)
            ends[:, *at] = exact_interval(float(values[name][at]), weights[name][:, *at])
    return intervals


def _quantiles(values: np.ndarray, drawn: np.ndarray, ends: Sequence[float]) -> np.ndarray:
    """Quantiles over the resamples; of a metric of each class, over the resamples in which the class was drawn."""
    if values.ndim == 1:
        return np.quantile(values, ends)
    columns = [
        np.quantile(column[kept], ends) if kept.any() else np.array([0.0, 1.0])
        for column, kept in zip(values.T, drawn.T, strict=True)
    ]
    return np.stack(columns, axis=-1)


def evaluate(predictions: pd.DataFrame, *, classes: Sequence[str], seed: int = 0) -> dict[str, Any]:
    """Summarise test predictions pooled over folds; several repeats count as one set of their mean size.

    Parameters
    ----------
    predictions : DataFrame
        Columns subject, true, predicted and, if there are several, repeat.
    classes : sequence of str
        Names in class order.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    summary : dict
        Plain JSON values: "n" and "subjects"; "accuracy", "balanced_accuracy" and "macro_f1" with the intervals of
        `subject_intervals`, each {"value", "low", "high"}; "per_class" by name with the same and "support";
        "confusion" summed over repeats; "repeats" with count, and mean and standard deviation of the three metrics.

    Raises
    ------
    ValueError
        If there are no predictions, or one lacks its subject: it would vanish from the figures.
    """
    if predictions.empty:
        raise ValueError("there are no test predictions to evaluate")
    nobody = predictions["subject"].isna()
    if nobody.any():
        raise ValueError(f"{int(nobody.sum())} of {len(predictions)} test predictions name no subject")
    repeats = predictions["repeat"] if "repeat" in predictions else pd.Series(0, index=predictions.index)
    n_repeats = int(repeats.nunique())
    subjects = sorted(predictions["subject"].unique())
    # Repeat, subject, true, predicted.
    counts = np.zeros((n_repeats, len(subjects), len(classes), len(classes)), dtype=np.int64)
    for number, (_, repeat) in enumerate(predictions.groupby(repeats)):
        for subject, rows in repeat.groupby("subject"):
            count = confusion(rows["true"].tolist(), rows["predicted"].tolist(), classes)
            counts[number, subjects.index(subject)] = count
    by_repeat = counts.sum(axis=1)
    mean_counts = by_repeat.sum(axis=0) / n_repeats
    values, each = metrics(mean_counts), metrics(by_repeat)
    # Ends are averaged over the repeats: these do not make the people more.
    ends = [subject_intervals(repeat, seed=seed) for repeat in counts]
    intervals = {name: np.mean([interval[name] for interval in ends], axis=0) for name in values}
    summary: dict[str, Any] = {
        "n": len(predictions) / n_repeats,
        "subjects": len(subjects),
    }
    for name in ("accuracy", "balanced_accuracy", "macro_f1"):
        summary[name] = _entry(values[name], intervals[name])
    summary["per_class"] = {
        name: {
            **{
                metric: _entry(values[metric][position], intervals[metric][:, position])
                for metric in ("precision", "recall", "f1")
            },
            "support": float(mean_counts[position].sum()),
        }
        for position, name in enumerate(classes)
    }
    summary["confusion"] = by_repeat.sum(axis=0).tolist()
    summary["repeats"] = {"count": n_repeats} | {
        name: {"mean": float(each[name].mean()), "sd": float(each[name].std(ddof=1)) if n_repeats > 1 else None}
        for name in ("accuracy", "balanced_accuracy", "macro_f1")
    }
    return summary


def _entry(value: np.ndarray, interval: np.ndarray) -> dict[str, float]:
    return {"value": float(value), "low": float(interval[0]), "high": float(interval[1])}


BASELINES = ("majority class", "nearest centroid", "logistic regression")


def baseline_predictions(
    name: str,
    train: np.ndarray,
    train_labels: np.ndarray,
    test: np.ndarray,
    *,
    standardise: bool = False,
    seed: int = 0,
) -> np.ndarray:
    """Train one of BASELINES with scikit-learn and return its test predictions.

    Parameters
    ----------
    name : str
        One of BASELINES.
    train, test : ndarray of shape (N, D), float32
        Flattened padded features.
    train_labels : ndarray of shape (N,), object
        Names of classes.
    standardise : bool
        Whether logistic regression sees every column with mean 0 and standard deviation 1 (of the training part). Right
        for flow; a mask's column that hardly ever moves must not be blown up to the size of the others.
    seed : int
        Seed of the solver.

    Returns
    -------
    predicted : ndarray of shape (N,), object
        Names of classes.
    """
    from sklearn.dummy import DummyClassifier
    from sklearn.neighbors import NearestCentroid
    from threadpoolctl import threadpool_limits

    if name not in BASELINES:
        raise ValueError(f"baseline must be one of {', '.join(BASELINES)}, got {name!r}")
    if len(np.unique(train_labels)) == 1 or name == "majority class":
        model: Any = DummyClassifier(strategy="most_frequent")
    elif name == "nearest centroid":
        model = NearestCentroid()
    else:
        spread = train.std(axis=0)
        # One factor for all columns, or one for each that moves at all.
        factor: Any = np.where(spread > 0, spread, 1) if standardise else float(spread.max()) or 1.0
        middle = train.mean(axis=0) if standardise else 0.0
        train, test = (train - middle) / factor, (test - middle) / factor
        model = _regression(train_labels, seed)
    # BLAS splits these small products among threads that mostly wait for each other.
    with warnings.catch_warnings(), np.errstate(invalid="ignore"), threadpool_limits(1):
        # Padding leaves columns that are zero everywhere; NearestCentroid says so though it does not matter to it.
        warnings.filterwarnings("ignore", message=".*zero standard deviation")
        return np.asarray(model.fit(train, train_labels).predict(test))


def _regression(train_labels: np.ndarray, seed: int) -> Any:
    """Logistic regression whose penalty is chosen by cross-validation within the training part."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from sklearn.pipeline import make_pipeline

    # All principal components of N sequences span the N points exactly: the same regression, with N columns instead of
    # twenty thousand.
    reduce = PCA(random_state=seed)
    rarest = int(np.unique(train_labels, return_counts=True)[1].min())
    regression = LogisticRegression(max_iter=2000)
    if rarest < 2:
        return make_pipeline(reduce, regression)
    folds = StratifiedKFold(min(5, rarest), shuffle=True, random_state=seed)
    return make_pipeline(reduce, GridSearchCV(regression, {"C": np.logspace(-4, 2, 7)}, cv=folds))
