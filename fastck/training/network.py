"""The networks, built with Keras: the paper's (fig. 6, 7), by name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from fastck.config import check_choice
from fastck.training.config import Model
from fastck.training.convlstm import FusedConvLSTM2D
from fastck.training.shape import NetworkShape


def build_network(
    shape: NetworkShape,
    *,
    model: Model = "convlstm",
    dropout: float = 0.5,
    seed: int = 0,
    fused: bool = False,
    remat: bool = False,
) -> keras.Model:
    """Return an untrained, uncompiled network.

    Parameters
    ----------
    shape : NetworkShape
        Dimensions.
    model : str
        Name of one of ARCHITECTURES.
    dropout : float
        Share of the recurrent layer's output that is dropped in training.
    seed : int
        Seed of initial weights and dropout.
    fused : bool
        Use FusedConvLSTM2D: same weights in the same order, same results, faster; not for saving.
    remat : bool
        Gradient checkpointing: recompute the recurrent layer's activations in the backward pass; needs `fused`.

    Returns
    -------
    network : keras.Model
        Input (B, timesteps, rows, columns, 1) float32, output (B, n_classes) float32 probabilities; the last layer is a
        dense one with softmax.

    Raises
    ------
    ValueError
        If the name is unknown, or `remat` is asked of Keras' own layer.
    """
    check_choice("model", model, Model)
    if remat and not fused:
        # keras.RematScope fails around ConvLSTM2D in a TensorFlow graph (Keras 3.15, keyword arguments).
        raise ValueError("remat needs fused: Keras' own ConvLSTM2D cannot be rematerialised with TensorFlow")
    keras.utils.set_random_seed(seed)
    return ARCHITECTURES[model](shape, dropout=dropout, seed=seed, fused=fused, remat=remat)


def _convlstm(shape: NetworkShape, *, dropout: float, seed: int, fused: bool, remat: bool) -> keras.Model:
    """The paper's network: ConvLSTM2D, dropout, flatten, two dense layers (fig. 6, 7)."""
    options = {"activation": "relu", "seed": seed}
    if fused:
        recurrent = FusedConvLSTM2D(shape.filters, shape.kernel_size, remat=remat, **options)
    else:
        recurrent = keras.layers.ConvLSTM2D(shape.filters, shape.kernel_size, **options)
    return keras.Sequential(
        [
            keras.layers.Input(shape.input_shape),
            recurrent,
            keras.layers.Dropout(dropout, seed=seed),
            keras.layers.Flatten(),
            keras.layers.Dense(shape.dense, activation="relu"),
            keras.layers.Dense(shape.n_classes, activation="softmax", dtype="float32"),
        ]
    )


# One builder for each name that TrainConfig's `model` may have.
ARCHITECTURES: dict[str, Callable[..., keras.Model]] = {"convlstm": _convlstm}


class SequenceAccuracy(keras.metrics.CategoricalAccuracy):
    """Accuracy in which each sequence counts once, and those that only fill up a micro-batch (weight 0) not at all."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Take in a micro-batch."""
        return super().update_state(y_true, y_pred, _counted(sample_weight))


class SequenceLoss(keras.metrics.CategoricalCrossentropy):
    """Categorical cross-entropy in which each sequence counts once, as in SequenceAccuracy.

    Keras' own "loss" averages what the optimizer was given, in which a sequence's weight depends on how its batch was
    cut into micro-batches.
    """

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Take in a micro-batch."""
        return super().update_state(y_true, y_pred, _counted(sample_weight))


def _counted(sample_weight: Any) -> Any:
    return None if sample_weight is None else keras.ops.cast(sample_weight > 0, "float32")


def compile_network(network: keras.Model, *, learning_rate: float = 0.001, micro_batches: int = 1) -> keras.Model:
    """Compile with categorical cross-entropy, Adam and accuracy (paper, fig. 7); return the same network.

    With `micro_batches` above 1 Keras adds up the gradients of so many steps before each optimizer step.
    """
    accumulate = micro_batches if micro_batches > 1 else None
    network.compile(
        optimizer=keras.optimizers.Adam(learning_rate, gradient_accumulation_steps=accumulate),
        loss="categorical_crossentropy",
        # A metric called "loss" stands in the logs in place of Keras' own.
        weighted_metrics=[SequenceAccuracy(name="accuracy"), SequenceLoss(name="loss")],
        jit_compile=False,  # on CPU, XLA made epochs several times slower
    )
    return network


def calibrate_network(network: keras.Model, temperature: float) -> keras.Model:
    """Divide the logits by a temperature, within the last layer's weights; return the same network.

    Its probabilities become softmax(logits / temperature); which emotion is the most probable does not change.
    """
    last = network.layers[-1]
    last.set_weights([weights / temperature for weights in last.get_weights()])
    return network


def load_network(path: Path) -> keras.Model:
    """Load a saved network without running any code that the file might hold.

    Raises
    ------
    ValueError
        If the file is not a network that Keras can load so.
    OSError
        If it cannot be read.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # whatever Keras, zipfile, h5py or json raise on a damaged file
        lines = str(error).splitlines()
        raise ValueError(
            f"{path} cannot be loaded as a network: {lines[0] if lines else type(error).__name__}"
        ) from error
