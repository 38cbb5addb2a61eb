"""One split: fit logistic regression with scikit-learn, calibrate it, predict the test part."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from fastck.batches.gather import SequenceStore
from fastck.training.data.folds import Split
from fastck.training.data.samples import Samples
from fastck.training.models.calibration import fit_temperature
from fastck.training.models.fit import Fit
from fastck.training.models.linear import ENDINGS, LinearModel, sequence_vectors, view_of
from fastck.training.settings.config import PHASES, Phase, TrainConfig, probability_columns

# Inverse strengths of the penalty, of which people that were not trained on choose one.
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
INNER_FOLDS = 3
ITERATIONS = 1000
PARTS = ("train", "validation", "test")
TINY = 1e-12
# Directions with a smaller share of the largest variance are rounding errors.
SMALLEST = 1e-12


def fit_linear_split(samples: Samples, split: Split) -> Fit:
    """Fit one split and predict its test part once.

    Parameters
    ----------
    samples : Samples
        Of its settings `phase`, `augment` and `seed` count; what only networks have does not.
    split : Split
        Sequences to train on, to calibrate on, and to test.

    Returns
    -------
    fit : Fit
    """
    began = time.perf_counter()
    config = samples.config
    table = samples.table.set_index("sequence")
    classes = config.class_names
    labels = {name: table.loc[list(getattr(split, name)), "label"].to_numpy(dtype=str) for name in PARTS}
    vectors = {name: sequence_vectors(samples, getattr(split, name), config) for name in PARTS if len(labels[name])}
    copies = 2 * len(ENDINGS) if config.augment else 1
    seen = sequence_vectors(samples, split.train, config, augment=True) if config.augment else vectors["train"]
    input_seconds = time.perf_counter() - began
    model, iterations = fit_linear_model(
        samples,
        seen,
        np.repeat(labels["train"], copies),
        np.repeat(table.loc[list(split.train), "subject"].to_numpy(dtype=str), copies),
        config,
        seed=config.seed + split.repeat,
    )
    index = {name: np.array([classes.index(label) for label in labels[name]], np.int64) for name in PARTS}
    values = {name: model.probabilities(part) for name, part in vectors.items()}
    history = {"epoch": 1} | _quality(values["train"], index["train"], "")
    history |= _quality(values["validation"], index["validation"], "val_") if "validation" in values else {}
    temperature = fit_temperature(values["validation"], index["validation"]) if split.calibrates else 1.0
    model = model.with_temperature(temperature)
    seconds = time.perf_counter() - began
    tables = {
        name: _table(getattr(split, name), labels[name], model.probabilities(vectors[name]), classes)
        for name in ("train", "test")
        if name in vectors
    }
    return Fit(
        model=model,
        history=pd.DataFrame([history], columns=["epoch", "accuracy", "loss", "val_accuracy", "val_loss"]),
        predictions=tables.get("test", tables["train"].iloc[:0]),
        training_predictions=tables["train"],
        temperature=temperature,
        seconds=seconds,
        input_seconds=input_seconds,
        optimizer_steps=iterations,
    )


def fit_linear_model(
    samples: SequenceStore,
    vectors: np.ndarray,
    labels: np.ndarray,
    subjects: np.ndarray,
    config: TrainConfig,
    *,
    seed: int = 0,
) -> tuple[LinearModel, int]:
    """Fit a model to `sequence_vectors` of the samples; returns it and the solver's iterations. As `fit_regression`."""
    arrays, iterations = fit_regression(
        vectors, labels, subjects, config.class_names, phase=PHASES[config.phase], seed=seed
    )
    shape = config.network_shape(samples.feature(config.feature).shape[1:])
    return LinearModel(**arrays, view=view_of(config, config.feature), input_shape=shape.input_shape), iterations


def fit_regression(
    vectors: np.ndarray,
    labels: np.ndarray,
    subjects: np.ndarray,
    classes: Sequence[Any],
    *,
    phase: Phase = PHASES[5],
    seed: int = 0,
) -> tuple[dict[str, np.ndarray], int]:
    """Fit multinomial logistic regression, its penalty chosen on people that were not trained on.

    Parameters
    ----------
    vectors : ndarray of shape (N, D)
        One row a sequence.
    labels : ndarray of shape (N,)
        Class of each, one of `classes`.
    subjects : ndarray of shape (N,)
        Who it is; nobody is on both sides when the penalty is chosen.
    classes : sequence
        All classes, in order.
    phase : Phase
        Whether every column is brought to mean 0 and standard deviation 1, or all are divided by one number; whether
        rare classes weigh more.
    seed : int
        Of the inner folds.

    Returns
    -------
    arrays : dict
        "mean", "scale", "coefficients", "intercept" and "classes" of a LinearModel.
    iterations : int
        Of the solver in the last fit.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
    from threadpoolctl import threadpool_limits

    # Sums of thousands of values: float32 would lose digits.
    spread = vectors.std(axis=0, dtype=np.float64)
    mean = vectors.mean(axis=0, dtype=np.float64) if phase.standardised else np.zeros_like(spread)
    scale = (
        np.where(spread > 0, spread, 1.0) if phase.standardised else np.full_like(spread, float(spread.max()) or 1.0)
    )
    coefficients = np.zeros((len(classes), vectors.shape[1]))
    # No probability for a class that nobody showed.
    intercept = np.full(len(classes), -np.inf)
    present = [position for position, label in enumerate(classes) if label in set(labels.tolist())]
    iterations = 0
    if len(present) == 1:
        intercept[present] = 0.0
    else:
        # BLAS splits these small products among threads that mostly wait for each other: six times the processor time.
        with threadpool_limits(1):
            points, basis, middle = _rotated((vectors - mean) / scale)
            regression: Any = LogisticRegression(
                max_iter=ITERATIONS, class_weight="balanced" if phase.weighted else None
            )
            folds = min(INNER_FOLDS, _fewest_subjects(labels, subjects))
            if folds > 1:
                splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
                search = GridSearchCV(regression, {"C": STRENGTHS}, cv=splitter, scoring=_likelihood)
                regression = search.fit(points, labels, groups=subjects).best_estimator_
            else:
                regression.fit(points, labels)
        iterations = int(np.max(regression.n_iter_))
        order = [list(regression.classes_).index(classes[position]) for position in present]
        # With two classes scikit-learn has one row of weights, the second class's logit.
        weights = (
            np.vstack([np.zeros_like(regression.coef_), regression.coef_]) if len(order) == 2 else regression.coef_
        )
        offsets = np.append(0.0, regression.intercept_) if len(order) == 2 else regression.intercept_
        coefficients[present] = (weights @ basis)[order]
        intercept[present] = (offsets - weights @ basis @ middle)[order]
    arrays = {"mean": mean, "scale": scale, "coefficients": coefficients, "intercept": intercept}
    return {name: array.astype(np.float32) for name, array in arrays.items()} | {
        "classes": np.asarray(classes)
    }, iterations


def _rotated(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the points in their own principal axes, the axes, and the points' mean.

    N points span N directions at most: with more columns than that, the same regression needs only N of them.
    """
    middle = values.mean(axis=0)
    if values.shape[1] <= len(values):
        return values, np.eye(values.shape[1]), np.zeros_like(middle)
    centred = values - middle
    # The eigenvectors of N x N products take a fraction of the time of a decomposition of the N x D values.
    squares, axes = np.linalg.eigh(centred @ centred.T)
    kept = squares > squares[-1] * SMALLEST
    axes = axes[:, kept].T @ centred / np.sqrt(squares[kept])[:, None]
    return centred @ axes.T, axes, middle


def _likelihood(model: Any, vectors: np.ndarray, labels: np.ndarray) -> float:
    """Mean log likelihood of the labels; scikit-learn's own refuses labels of which a class is missing."""
    probabilities = model.predict_proba(vectors)
    hits = labels[:, None] == model.classes_[None, :]
    return float(np.log(np.maximum((probabilities * hits).sum(axis=1), TINY)).mean())


def _fewest_subjects(labels: np.ndarray, subjects: np.ndarray) -> int:
    """Return how many people show the class that the fewest show."""
    return min(len(set(subjects[labels == label])) for label in np.unique(labels))


def _quality(probabilities: np.ndarray, true: np.ndarray, prefix: str) -> dict[str, float]:
    likelihood = np.maximum(probabilities[np.arange(len(true)), true], TINY)
    accuracy = float((probabilities.argmax(axis=1) == true).mean())
    return {f"{prefix}accuracy": accuracy, f"{prefix}loss": float(-np.log(likelihood).mean())}


def _table(names: Sequence[str], labels: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]) -> pd.DataFrame:
    predicted = np.asarray(classes, dtype=object)[probabilities.argmax(axis=1)]
    table = pd.DataFrame({"sequence": list(names), "true": labels.astype(object), "predicted": predicted})
    return pd.concat([table, pd.DataFrame(probabilities, columns=probability_columns(classes))], axis=1)
