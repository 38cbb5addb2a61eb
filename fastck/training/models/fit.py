"""What fitting one split gives, whatever the model is."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from fastck.training.models.linear import LinearModel

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A fitted model, and how it did.

    Attributes
    ----------
    model : keras.Model or LinearModel
        Fitted and calibrated; a network is made of Keras' own layers, uncompiled.
    history : DataFrame
        One row per epoch: epoch, accuracy, loss, val_accuracy, val_loss. A linear model has one, before the
        temperature.
    predictions : DataFrame
        One row per test sequence: sequence, true, predicted and a calibrated probability per class.
    training_predictions : DataFrame or None
        The same for what it was trained on, to see how far apart the two are; None for a trial run (`max_steps`).
    temperature : float
        What the logits were divided by; 1 where no sequences were there to fit it on.
    seconds, input_seconds : float
        Time spent fitting, and the part of it in which input was gathered (for a network beside its work, not before
        it).
    optimizer_steps : int
        Steps Adam took, earlier sessions included; for a linear model, iterations of scikit-learn's solver.
    """

    model: "keras.Model | LinearModel"
    history: pd.DataFrame
    predictions: pd.DataFrame
    training_predictions: pd.DataFrame | None
    temperature: float
    seconds: float
    input_seconds: float
    optimizer_steps: int

    def calibrated(self, temperature: float) -> "Fit":
        """Return the fit with its model's logits divided by a temperature, without what that predicted before."""
        if isinstance(self.model, LinearModel):
            model: keras.Model | LinearModel = self.model.with_temperature(temperature)
        else:
            from fastck.training.models.network import calibrate_network

            model = calibrate_network(self.model, temperature)
        return replace(self, model=model, temperature=temperature, training_predictions=None)

    def save(self, path: Path) -> None:
        """Write the model to a file, .keras or .npz."""
        self.model.save(path)

    def summary(self) -> str:
        """Return the model's layers, or one paragraph for a linear one."""
        if isinstance(self.model, LinearModel):
            return self.model.summary()
        lines: list[str] = []
        self.model.summary(print_fn=lines.append)
        return "\n".join(lines) + "\n"
