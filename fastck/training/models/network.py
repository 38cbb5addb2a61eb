"""The networks, built with Keras, by name: the paper's (fig. 6, 7), and others of the field."""

import json
import math
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import keras

from fastck.training.models.backends import current_backend
from fastck.training.models.fused import FusedConv1D, FusedConvLSTM2D
from fastck.training.settings.shape import STREAM_KERNEL, STREAM_MEAN, STREAMS, TEMPORAL_KERNEL, NetworkShape

# Of a .keras file, and more bytes than any of these networks' layers take to describe.
CONFIG, WEIGHTS = "config.json", "model.weights.h5"
MOST_CONFIG = 2**20


def build_network(
    shape: NetworkShape,
    *,
    dropout: float = 0.5,
    scale: Sequence[float] | None = None,
    seed: int = 0,
    fused: bool = False,
    remat: bool = False,
) -> keras.Model:
    """Return an untrained, uncompiled network.

    Parameters
    ----------
    shape : NetworkShape
        Dimensions; its `model` names one of ARCHITECTURES.
    dropout : float
        Share of the recurrent layer's output, or of another network's features, that is dropped in training.
    scale : sequence of float, optional
        What each channel of the input is multiplied with, by the network's first layer. Zero steps stay zero.
    seed : int
        Seed of initial weights and dropout.
    fused : bool
        Use FusedConvLSTM2D or FusedConv1D: same weights in the same order, same results, faster; not for saving.
    remat : bool
        Gradient checkpointing: recompute the recurrent layer's activations in the backward pass; needs `fused`.

    Returns
    -------
    network : keras.Model
        Input (B, timesteps, rows, columns, channels) float32, output (B, n_classes) float32 probabilities; the last
        layer is a dense one with softmax.

    Raises
    ------
    ValueError
        If the name is unknown, or `remat` is asked of Keras' own layer.
    """
    if shape.model not in ARCHITECTURES:
        raise ValueError(f"model must be one of {', '.join(ARCHITECTURES)}, got {shape.model!r}")
    if remat and not fused:
        # keras.RematScope fails around ConvLSTM2D in a TensorFlow graph (Keras 3.15, keyword arguments).
        raise ValueError("remat needs fused: Keras' own ConvLSTM2D cannot be rematerialised with TensorFlow")
    keras.utils.set_random_seed(seed)
    scaling = [] if scale is None else [keras.layers.Rescaling([float(factor) for factor in scale])]
    layers = ARCHITECTURES[shape.model](shape, dropout=dropout, seed=seed, fused=fused, remat=remat)
    classes = keras.layers.Dense(shape.n_classes, activation="softmax", dtype="float32")
    return keras.Sequential([keras.layers.Input(shape.input_shape), *scaling, *layers, classes])


def _convlstm(shape: NetworkShape, *, dropout: float, seed: int, fused: bool, remat: bool) -> list[keras.layers.Layer]:
    """The paper's network: ConvLSTM2D, dropout, flatten, a dense layer (fig. 6, 7)."""
    options = {"activation": "relu", "seed": seed}
    if fused:
        recurrent = FusedConvLSTM2D(shape.filters, shape.kernel_size, remat=remat, **options)
    else:
        recurrent = keras.layers.ConvLSTM2D(shape.filters, shape.kernel_size, **options)
    return [
        recurrent,
        keras.layers.Dropout(dropout, seed=seed),
        keras.layers.Flatten(),
        keras.layers.Dense(shape.dense, activation="relu"),
    ]


def _temporal(shape: NetworkShape, *, dropout: float, seed: int, fused: bool, remat: bool) -> list[keras.layers.Layer]:
    """One convolution over time on whole frames, and its maximum over all steps: when a thing happens does not matter.

    A value of the input is dropped in all steps of a sequence at once: each step alone would tell nearly the same as
    its neighbours, and drawing so many random numbers took a third of the time. `remat` is the recurrent layer's.
    """
    convolution = FusedConv1D if fused else keras.layers.Conv1D
    return [
        keras.layers.Reshape((shape.timesteps, shape.frame_size)),
        keras.layers.SpatialDropout1D(dropout, seed=seed),
        convolution(shape.filters, TEMPORAL_KERNEL, padding="same", activation="relu"),
        keras.layers.GlobalMaxPooling1D(),
        keras.layers.Dropout(dropout, seed=seed + 1),
    ]


def _ststnet(shape: NetworkShape, *, dropout: float, seed: int, fused: bool, remat: bool) -> list[keras.layers.Layer]:
    """STSTNet (Liong et al. 2019): three streams see the flow from the onset to the last frame, then 400 values.

    The streams differ in their number of filters only and are laid side by side: that is one convolution with the
    filters of all. There is no recurrent layer for `fused` and `remat`.
    """
    return [
        keras.layers.Cropping3D(((shape.timesteps - 1, 0), (0, 0), (0, 0))),
        keras.layers.Reshape((shape.rows, shape.columns, shape.channels)),
        keras.layers.Conv2D(sum(STREAMS), STREAM_KERNEL, padding="same", activation="relu"),
        keras.layers.MaxPooling2D(STREAM_KERNEL, padding="same"),
        keras.layers.Dropout(dropout, seed=seed),
        keras.layers.AveragePooling2D(STREAM_MEAN),
        keras.layers.Flatten(),
    ]


# One list of layers for each network that TrainConfig's `model` may name; the last layer is everybody's.
ARCHITECTURES: dict[str, Callable[..., list[keras.layers.Layer]]] = {
    "convlstm": _convlstm,
    "temporal": _temporal,
    "ststnet": _ststnet,
}


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
        jit_compile=current_backend().COMPILED,
    )
    return network


def calibrate_network(network: keras.Model, temperature: float) -> keras.Model:
    """Divide the logits by a temperature, within the last layer's weights; return the same network.

    Its probabilities become softmax(logits / temperature); which emotion is the most probable does not change.
    """
    last = network.layers[-1]
    last.set_weights([weights / temperature for weights in last.get_weights()])
    return network


def load_network(path: Path, *, shape: NetworkShape | None = None) -> keras.Model:
    """Load a saved network without running any code that the file might hold.

    Parameters
    ----------
    path : Path
    shape : NetworkShape, optional
        What the network must be; its weights are looked at before memory is taken, and of what else the file says only
        the input's scale is used.

    Raises
    ------
    ValueError
        If the file is not a network that Keras can load so, or one of another shape.
    OSError
        If it cannot be read.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    try:
        if shape is None:
            return keras.models.load_model(path, compile=False, safe_mode=True)
        scale = _saved_scale(path, shape)
        network = build_network(shape, scale=scale)
        network.load_weights(path)
        return network
    except Exception as error:  # whatever Keras, zipfile, h5py or json raise on a damaged file
        lines = str(error).splitlines()
        raise ValueError(
            f"{path} cannot be loaded as a network: {lines[0] if lines else type(error).__name__}"
        ) from error


def _saved_scale(path: Path, shape: NetworkShape) -> list[float] | None:
    """Return the scale of a saved network's input, None for none, once it is known to hold the weights of a shape."""
    with zipfile.ZipFile(path) as archive:
        # Keras compresses nothing: what is said to be larger than the file is not there.
        sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
        if (
            not {CONFIG, WEIGHTS} <= set(sizes)
            or sum(sizes.values()) > path.stat().st_size
            or sizes[CONFIG] > MOST_CONFIG
        ):
            raise ValueError(f"expected {CONFIG} and {WEIGHTS}, stored as Keras stores them")
        with archive.open(WEIGHTS) as stored, h5py.File(stored, "r") as weights:
            held: list[int] = []
            weights.visititems(lambda _, entry: held.append(_values(entry)))
        if sum(held) != shape.parameters:
            raise ValueError(f"expected the {shape.parameters:,} weights of the run's network, got {sum(held):,}")
        layers = json.loads(archive.read(CONFIG))["config"]["layers"]
    scales = [layer["config"]["scale"] for layer in layers if layer["class_name"] == "Rescaling"]
    if not scales:
        return None
    scale = [float(factor) for factor in scales[0]]
    if len(scale) != shape.channels or not all(map(math.isfinite, scale)):
        raise ValueError(f"expected a finite scale for each of {shape.channels} channels, got {scale}")
    return scale


def _values(entry: Any) -> int:
    """Return how many weights a part of a weights file holds, where all of them are in the file."""
    # Whole numbers are the states of dropout's seeds.
    if not isinstance(entry, h5py.Dataset) or entry.dtype.kind != "f":
        return 0
    if entry.id.get_storage_size() != entry.size * entry.dtype.itemsize or entry.external or entry.is_virtual:
        raise ValueError(f"the weights {entry.name} are not in the file")
    return int(entry.size)
