"""The paper's network (fig. 6, 7), built with Keras."""

from collections.abc import Sequence

import keras


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

    Returns
    -------
    network : keras.Model
        Input (B, timesteps, rows, columns, 1) float32, output (B, n_classes) float32 probabilities.

    Raises
    ------
    ValueError
        If a frame is smaller than the kernel.
    """
    kernel_rows, kernel_columns = kernel_size
    if rows < kernel_rows or columns < kernel_columns:
        raise ValueError(f"frames of {rows}x{columns} are smaller than the kernel {kernel_rows}x{kernel_columns}")
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.layers.Input((timesteps, rows, columns, 1)),
            keras.layers.ConvLSTM2D(filters, (kernel_rows, kernel_columns), activation="relu", seed=seed),
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
