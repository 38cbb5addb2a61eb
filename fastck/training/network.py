"""The paper's network (fig. 6, 7), built with Keras."""

from collections.abc import Sequence
from pathlib import Path

import keras

from fastck.training.convlstm import FusedConvLSTM2D


def build_network(
    *,
    rows: int,
    columns: int,
    n_classes: int,
    timesteps: int = 39,
    filters: int = 64,
    kernel_size: Sequence[int] = (1, 3),
    dense: int = 100,
    dropout: float = 0.5,
    seed: int = 0,
    fused: bool = False,
    remat: bool = False,
) -> keras.Model:
    """Return the uncompiled network: ConvLSTM2D, dropout, flatten, two dense layers (paper, fig. 6, 7).

    Parameters
    ----------
    rows, columns : int
        Size of a frame; (2, 267) for projections.
    n_classes : int
        Emotions told apart.
    timesteps : int
        Frames per sequence.
    filters : int
        Channels of the recurrent layer.
    kernel_size : (int, int)
        Of the recurrent layer's convolutions; (1, 3) for projections, (3, 3) for square frames.
    dense : int
        Units of the hidden dense layer.
    dropout : float
        Share of the recurrent layer's output that is dropped in training.
    seed : int
        Seed of initial weights and dropout.
    fused : bool
        Use FusedConvLSTM2D: same weights in the same order, same results, faster; not for saving.
    remat : bool
        Recompute time steps on the way back instead of keeping their inner values; needs `fused`.

    Returns
    -------
    network : keras.Model
        Input (B, timesteps, rows, columns, 1) float32, output (B, n_classes) float32 probabilities.

    Raises
    ------
    ValueError
        If a frame is smaller than the kernel, or `remat` is asked of Keras' own layer.
    """
    kernel_rows, kernel_columns = kernel_size
    if rows < kernel_rows or columns < kernel_columns:
        raise ValueError(f"frames of {rows}x{columns} are smaller than the kernel {kernel_rows}x{kernel_columns}")
    if remat and not fused:
        # keras.RematScope fails around ConvLSTM2D in a TensorFlow graph (Keras 3.15, keyword arguments).
        raise ValueError("remat needs fused: Keras' own ConvLSTM2D cannot be rematerialised with TensorFlow")
    keras.utils.set_random_seed(seed)
    options = {"activation": "relu", "seed": seed}
    if fused:
        recurrent = FusedConvLSTM2D(filters, (kernel_rows, kernel_columns), remat=remat, **options)
    else:
        recurrent = keras.layers.ConvLSTM2D(filters, (kernel_rows, kernel_columns), **options)
    return keras.Sequential(
        [
            keras.layers.Input((timesteps, rows, columns, 1)),
            recurrent,
            keras.layers.Dropout(dropout, seed=seed),
            keras.layers.Flatten(),
            keras.layers.Dense(dense, activation="relu"),
            keras.layers.Dense(n_classes, activation="softmax", dtype="float32"),
        ]
    )


def compile_network(network: keras.Model, *, learning_rate: float = 0.001, micro_batches: int = 1) -> keras.Model:
    """Compile with categorical cross-entropy, Adam and accuracy (paper, fig. 7); return the same network.

    With `micro_batches` above 1 Keras adds the gradients of so many steps up before Adam moves once.
    """
    accumulate = micro_batches if micro_batches > 1 else None
    accuracy = [keras.metrics.CategoricalAccuracy(name="accuracy")]
    network.compile(
        optimizer=keras.optimizers.Adam(learning_rate, gradient_accumulation_steps=accumulate),
        loss="categorical_crossentropy",
        # Weighted, because sequences that only fill up a micro-batch have weight 0.
        weighted_metrics=accuracy,
        jit_compile=False,  # on CPU, XLA made epochs several times slower
    )
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
