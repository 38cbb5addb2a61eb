"""Ten optimizer steps of phases 3, 4 and 5 on one backend, small, from weights that NumPy draws.

    KERAS_BACKEND=jax python -m tests.backends.steps FOLDER

writes the losses, the predictions and the trained networks, which another backend's are compared with.
"""

import sys
from pathlib import Path

import numpy as np

from fastck.batches.gather import accumulation_pieces
from fastck.training.models.startup import start_keras
from fastck.training.settings.config import PHASES, TrainConfig
from fastck.training.settings.shape import Model

STEPS, SAMPLES, BATCH, MICRO_BATCHES = 10, 24, 8, 2
ROWS = {"projection": (2, 24), "flow_projection": (4, 12), "flow": (3, 4, 4)}
# Phase and model.
TRIED: dict[str, tuple[int, Model]] = {
    "phase-3": (3, "convlstm"),
    "phase-4": (4, "convlstm"),
    "phase-5": (5, "convlstm"),
    "temporal": (5, "temporal"),
}


def sequences(phase: int, channels: int, rows: int, columns: int, timesteps: int) -> tuple[np.ndarray, np.ndarray]:
    """Padded sequences of every length, and one-hot emotions that their means depend on."""
    rng = np.random.default_rng(phase)
    classes = len(PHASES[phase].classes)
    values = np.zeros((SAMPLES, timesteps, rows, columns, channels), np.float32)
    for sample in range(SAMPLES):
        length = sample % (timesteps + 1)
        before = timesteps - length if PHASES[phase].padding == "before" else -((length - timesteps) // 2)
        values[sample, before : before + length] = rng.random((length, rows, columns, channels)) + sample % classes
    return values, np.eye(classes, dtype=np.float32)[np.arange(SAMPLES) % classes]


def run(name: str, folder: Path, *, remat: bool) -> tuple[np.ndarray, np.ndarray]:
    """Losses of STEPS steps, and probabilities of all sequences afterwards; saves the network."""
    import keras

    from fastck.training.models.network import build_network, compile_network

    phase, model = TRIED[name]
    config = TrainConfig(phase=phase, model=model, filters=3, dense=6, timesteps=7, dropout=0.0)
    shape = config.network_shape(ROWS[config.feature])
    scale = [0.5] * shape.channels if PHASES[phase].standardised else None
    values, targets = sequences(phase, shape.channels, shape.rows, shape.columns, shape.timesteps)
    network = build_network(shape, dropout=0.0, scale=scale, fused=True, remat=remat)
    rng = np.random.default_rng(7)
    network.set_weights([rng.normal(0, 0.2, weight.shape).astype(np.float32) for weight in network.get_weights()])
    compile_network(network, learning_rate=0.01, micro_batches=MICRO_BATCHES)
    losses = []
    orders = [np.random.default_rng(number).permutation(SAMPLES) for number in range(STEPS)]
    pieces, weights = accumulation_pieces(
        [order[:BATCH] for order in orders], batch_size=BATCH, micro_batches=MICRO_BATCHES
    )
    for piece, weight in zip(pieces, weights, strict=True):
        network.reset_metrics()
        logs = network.train_on_batch(values[piece], targets[piece], sample_weight=weight, return_dict=True)
        losses.append(float(logs["loss"]))
    plain = build_network(shape, dropout=0.0, scale=scale)
    plain.set_weights(network.get_weights())
    plain.save(folder / f"{name}.keras")
    return np.array(losses), keras.ops.convert_to_numpy(plain(values))


def main(folder: Path) -> None:
    """Run every network, phase 5 with gradient checkpointing."""
    start_keras()
    folder.mkdir(parents=True, exist_ok=True)
    results = {}
    for name in TRIED:
        losses, probabilities = run(name, folder, remat=name == "phase-5")
        results |= {f"losses-{name}": losses, f"predictions-{name}": probabilities}
    np.savez(folder / "results.npz", **results)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
