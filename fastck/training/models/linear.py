"""The linear model: a vector for each sequence, one matrix, softmax; kept as plain arrays in an .npz file.

Loads neither TensorFlow nor scikit-learn.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from fastck.arrayfile import read_arrays
from fastck.batches.gather import Gather, SequenceStore
from fastck.batches.padding import mirrored, pad_sequence
from fastck.messages import some_names
from fastck.training.settings.config import TrainConfig
from fastck.training.settings.shape import NetworkShape

# What a linear model sees of a padded sequence: its last step, all steps in a row, their mean, or what the bundled
# recogniser's inner layer makes of the last step.
View = Literal["apex", "steps", "mean", "bundled"]

# Shares of a sequence at which augmented ones end.
ENDINGS = (1.0, 0.7)


def view_of(config: TrainConfig, feature: str) -> View:
    """Return what a linear model sees of a feature: flow at the apex, all steps of projections, else their mean."""
    if config.base is not None and feature == config.feature:
        return config.base
    if config.padding == "before":
        return "apex"
    return "steps" if feature == "projection" else "mean"


def as_vectors(values: np.ndarray, view: View) -> np.ndarray:
    """Return one vector for each padded sequence: (N, steps, rows, columns, channels) -> (N, D)."""
    if view == "bundled":
        from fastck.recogniser import bundled

        return bundled().inner(np.moveaxis(values[:, -1], -1, 1))
    if view == "apex":
        values = values[:, -1]
    elif view == "mean":
        values = values.mean(axis=1)
    return values.reshape(len(values), -1)


def sequence_vectors(
    store: SequenceStore,
    names: Sequence[str],
    config: TrainConfig,
    *,
    feature: str | None = None,
    augment: bool = False,
) -> np.ndarray:
    """Return what a linear model sees of a store's sequences.

    Parameters
    ----------
    store : SequenceStore
        Holds the feature: a store, or a run's samples.
    names : sequence of str
        Sequences.
    config : TrainConfig
        Says how sequences are padded and cut.
    feature : str, optional
        By default `config.feature`.
    augment : bool
        Also return each sequence mirrored, and both ended at the shares ENDINGS.

    Returns
    -------
    vectors : ndarray of shape (N, D), float32
        With `augment` (4 N, D): four rows for each sequence.
    """
    feature = config.feature if feature is None else feature
    view = view_of(config, feature)
    gather = Gather(
        store,
        names,
        feature=feature,
        classes=config.class_names,
        timesteps=config.timesteps,
        too_long=config.too_long,
        padding=config.padding,
    )
    vectors = []
    for frames in map(gather.steps, range(len(gather))):
        ends = [max(1, int(np.ceil(share * len(frames)))) for share in ENDINGS] if augment else [len(frames)]
        both = (frames, mirrored(frames, feature)) if augment else (frames,)
        windows = np.stack(
            [
                pad_sequence(one[:end], timesteps=config.timesteps, padding=config.padding)
                for end in ends
                for one in both
            ]
        )
        vectors.append(as_vectors(windows.astype(np.float32, copy=False), view))
    return np.concatenate(vectors)


@dataclass(frozen=True, kw_only=True)
class LinearModel:
    """Logistic regression as plain arrays.

    Attributes
    ----------
    mean, scale : ndarray of shape (D,), float32
        A vector x becomes (x - mean) / scale.
    coefficients : ndarray of shape (C, D), float32
    intercept : ndarray of shape (C,), float32
        Logits are coefficients @ x + intercept; -inf for an emotion that nobody showed in training.
    classes : ndarray of shape (C,)
        What the classes are called in the run, in class order.
    view : {"apex", "steps", "mean", "bundled"}
        What it sees of a padded sequence.
    input_shape : tuple of int
        Of a padded sequence: steps, rows, columns, channels.
    """

    mean: np.ndarray
    scale: np.ndarray
    coefficients: np.ndarray
    intercept: np.ndarray
    classes: np.ndarray
    view: View
    input_shape: tuple[int, ...]

    def probabilities(self, vectors: np.ndarray) -> np.ndarray:
        """Return the classes' probabilities for vectors: (N, D) -> (N, C) float32."""
        scaled = (np.asarray(vectors, np.float64) - self.mean) / self.scale
        logits = scaled @ self.coefficients.T.astype(np.float64) + self.intercept
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)

    def predict(self, values: np.ndarray) -> np.ndarray:
        """Return the classes' probabilities for padded sequences.

        Parameters
        ----------
        values : ndarray of shape (N, steps, rows, columns, channels)

        Returns
        -------
        probabilities : ndarray of shape (N, C), float32

        Raises
        ------
        ValueError
            If the sequences are of another shape.
        """
        if values.shape[1:] != self.input_shape:
            raise ValueError(f"values must have shape (N, {str(self.input_shape)[1:]}, got {values.shape}")
        return self.probabilities(as_vectors(values, self.view))

    def with_temperature(self, temperature: float) -> "LinearModel":
        """Return the model whose logits are divided by a temperature."""
        return replace(
            self,
            coefficients=(self.coefficients / temperature).astype(np.float32),
            intercept=(self.intercept / temperature).astype(np.float32),
        )

    def in_order(self, classes: Sequence[str]) -> "LinearModel":
        """Return the model whose rows are in the order of these names, by its own.

        Raises
        ------
        ValueError
            If its classes are others.
        """
        known = [str(name) for name in self.classes]
        if sorted(known) != sorted(classes):
            raise ValueError(
                f"the model tells {some_names(known)} apart, the run {some_names(list(classes))}: it is of another run"
            )
        rows = [known.index(name) for name in classes]
        return replace(
            self, coefficients=self.coefficients[rows], intercept=self.intercept[rows], classes=self.classes[rows]
        )

    def summary(self) -> str:
        """Return one paragraph for people."""
        classes, size = self.coefficients.shape
        return (
            f"logistic regression on {size:,} standardised values of a sequence ({self.view} of "
            f"{' x '.join(map(str, self.input_shape))}), {classes} classes, {classes * (size + 1):,} parameters\n"
        )

    def save(self, path: Path) -> None:
        """Write an .npz file that holds the attributes under their names."""
        with path.open("wb") as file:
            np.savez(file, allow_pickle=False, **{entry.name: getattr(self, entry.name) for entry in fields(self)})


def load_linear(path: Path, *, shape: NetworkShape | None = None) -> LinearModel:
    """Load a linear model without running any code that the file might hold.

    Parameters
    ----------
    path : Path
    shape : NetworkShape, optional
        What the model must take and give; looked at before memory is taken.

    Raises
    ------
    ValueError
        If the file is not a linear model, or one of another shape.
    OSError
        If it cannot be read.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    what = "cannot be loaded as a linear model"
    arrays = read_arrays(path, what, check=lambda shapes: _check_shapes(shapes, shape))
    values: dict[str, Any] = {entry.name: arrays[entry.name] for entry in fields(LinearModel)}
    numbers = [name for name in arrays if name not in ("classes", "view")]
    if any(arrays[name].dtype.kind == "U" for name in numbers):
        raise ValueError(f"{path} {what}: one of {', '.join(numbers)} is text")
    values["view"] = str(values["view"])
    values["input_shape"] = tuple(int(size) for size in values["input_shape"])
    model = LinearModel(**values)
    steps, *frame = model.input_shape
    size = math.prod(frame) * (steps if model.view == "steps" else 1)
    if model.view == "bundled":
        from fastck.recogniser import bundled

        size = bundled().inner_size
    if (
        model.view not in get_args(View)
        or model.mean.size != size
        or (shape and model.input_shape != shape.input_shape)
    ):
        raise ValueError(f"{path} {what}: its arrays do not fit together, or the run's input")
    # The intercept of a class that nobody showed is -inf.
    if not (np.isfinite(model.coefficients).all() and np.isfinite(model.mean).all() and (model.scale > 0).all()):
        raise ValueError(f"{path} {what}: its weights must be finite, and its scale above 0")
    return model


def _check_shapes(shapes: Mapping[str, tuple[int, ...]], shape: NetworkShape | None) -> None:
    """Refuse arrays that are missing, or do not fit together or a run."""
    missing = [entry.name for entry in fields(LinearModel) if entry.name not in shapes]
    if missing:
        raise ValueError(f"it lacks {', '.join(missing)}")
    both = shapes["coefficients"]
    classes, size = both if len(both) == 2 else (0, 0)
    wanted: dict[str, tuple[int, ...]] = {
        "mean": (size,),
        "scale": (size,),
        "intercept": (classes,),
        "classes": (classes,),
    }
    wanted |= {"view": (), "input_shape": (4,)}
    if classes == 0 or any(shapes[name] != one for name, one in wanted.items()):
        raise ValueError("its arrays do not fit together")
    if shape is not None and classes != shape.n_classes:
        raise ValueError(f"it tells {classes} classes apart, the run {shape.n_classes}")
