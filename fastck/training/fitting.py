"""One split: fit the network with Keras, checkpoint it so that it can be resumed, predict the test part."""

import gc
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from fastck.dataset.labels import EMOTIONS
from fastck.tfdata import Gather, SequenceStore, accumulation_pieces, gathered, pass_orders
from fastck.training.config import TrainConfig
from fastck.training.folds import Split
from fastck.training.memory import MemoryPlan
from fastck.training.network import build_network, compile_network
from fastck.training.run import write_file, write_json

logger = logging.getLogger(__name__)

HISTORY = ("epoch", "accuracy", "loss", "val_accuracy", "val_loss")


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What fitting one split gave.

    Attributes
    ----------
    network : keras.Model
        Trained, made of Keras' own layers, uncompiled.
    history : DataFrame
        One row per epoch: HISTORY.
    predictions : DataFrame
        One row per test sequence: sequence, true, predicted and a probability per class.
    training_predictions : DataFrame or None
        The same for what it was trained on, to see how far apart the two are; None for a trial run (`max_steps`).
    seconds, input_seconds : float
        Time spent fitting, and the part of it in which input was gathered (beside the network's work, not before it).
    optimizer_steps : int
        Steps Adam took, earlier sessions included.
    """

    network: keras.Model
    history: pd.DataFrame
    predictions: pd.DataFrame
    training_predictions: pd.DataFrame | None
    seconds: float
    input_seconds: float
    optimizer_steps: int


def set_up_keras(config: TrainConfig) -> tf.distribute.Strategy:
    """Apply the process-wide settings (dtype policy, determinism) and return how to spread work over GPUs.

    Mixed precision and several GPUs use Keras' own means and are untested: there was no GPU.
    """
    keras.mixed_precision.set_global_policy(config.precision)
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    if len(tf.config.list_physical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def fit_split(
    store: SequenceStore,
    split: Split,
    config: TrainConfig,
    plan: MemoryPlan,
    *,
    checkpoints: Path,
    tensorboard: Path | None = None,
    verbose: int | str = "auto",
) -> Fitted:
    """Fit one split from its last checkpoint, or from the start, and predict its test part once.

    Parameters
    ----------
    store : Store
        Holds `config.feature`.
    split : Split
        Sequences to train on, to validate on after each epoch, and to test at the end.
    config : TrainConfig
        Settings.
    plan : MemoryPlan
        Micro-batches and rematerialisation.
    checkpoints : Path
        Folder of the checkpoints; removed by the caller once the result is safe.
    tensorboard : Path, optional
        Folder for TensorBoard logs.
    verbose : int or "auto"
        Keras' own progress: 0 none, 1 bars, 2 a line per epoch.

    Returns
    -------
    fitted : Fitted
    """
    keras.backend.clear_session()
    seed = fold_seed(config.seed, split)
    gathers = {part: _gather(store, getattr(split, part), config) for part in ("train", "validation", "test")}
    training = gathers["train"]
    _, rows, columns = training.shape
    shape: dict[str, Any] = {
        "rows": rows,
        "columns": columns,
        "n_classes": len(config.classes),
        "timesteps": config.timesteps,
        "filters": config.filters,
        "kernel_size": config.kernel_size,
        "dense": config.dense,
        "dropout": config.dropout,
        "seed": seed,
    }
    with set_up_keras(config).scope():
        network = build_network(**shape, fused=config.fused, remat=plan.remat)
        compile_network(network, learning_rate=config.learning_rate, micro_batches=plan.micro_batches)
    network.optimizer.build(network.trainable_variables)  # so that a checkpoint's moments find their place

    stopper = None
    if config.early_stopping is not None:
        if not len(gathers["validation"]):
            raise ValueError("early_stopping needs validation sequences, and this split has none")
        stopper = keras.callbacks.EarlyStopping(patience=config.early_stopping, restore_best_weights=True)
    keeper = Checkpoint(checkpoints, every=config.checkpoint_every, stopper=stopper)
    start = keeper.restore(network, config.epochs)
    callbacks: list[keras.callbacks.Callback] = [_DropoutSeeds(seed), *([stopper] if stopper else [])]
    if config.max_steps is not None:
        callbacks.append(_StepLimit(config.max_steps))
    if tensorboard is not None:
        callbacks.append(keras.callbacks.TensorBoard(str(tensorboard)))
    callbacks.append(keeper)

    began = time.perf_counter()
    if start < config.epochs and not keeper.stopped:
        dataset, steps = _training_dataset(training, config, plan, seed=seed, start=start)
        validation = _in_order(gathers["validation"], plan.micro_batch) if len(gathers["validation"]) else None
        network.fit(
            dataset,
            epochs=config.epochs,
            initial_epoch=start,
            steps_per_epoch=steps,
            validation_data=validation,
            callbacks=callbacks,
            shuffle=False,  # the dataset brings its own order
            verbose=verbose,
        )
    seconds = time.perf_counter() - began
    input_seconds = training.seconds + gathers["validation"].seconds
    steps_taken = int(network.optimizer.iterations)
    trained = network.get_weights()
    full = config.max_steps is None
    history = pd.DataFrame(keeper.history, columns=list(HISTORY))
    # Adam's state and the compiled graphs go before the weights are held twice; they refer to each other in circles.
    del network, callbacks, stopper, keeper
    keras.backend.clear_session()
    gc.collect()
    final = build_network(**shape)
    final.set_weights(trained)
    return Fitted(
        network=final,
        history=history,
        predictions=_predict(final, gathers["test"], plan.micro_batch, config.classes),
        training_predictions=_predict(final, training, plan.micro_batch, config.classes) if full else None,
        seconds=seconds,
        input_seconds=input_seconds,
        optimizer_steps=steps_taken,
    )


def fold_seed(seed: int, split: Split) -> int:
    """Seed of one split's weights, dropout and shuffling: another one for each, whatever ran before."""
    return int(np.random.SeedSequence((seed, split.repeat, split.fold)).generate_state(1)[0] % 2**31)


def _gather(store: SequenceStore, sequences: Sequence[str], config: TrainConfig) -> Gather:
    return Gather(
        store,
        sequences,
        feature=config.feature,
        classes=config.classes,
        timesteps=config.timesteps,
        too_long=config.too_long,
    )


def _training_dataset(
    gather: Gather, config: TrainConfig, plan: MemoryPlan, *, seed: int, start: int
) -> tuple[tf.data.Dataset, int]:
    """All passes from epoch `start` on as one dataset, and the Keras steps of one pass."""
    orders = pass_orders(len(gather), shuffle=True, seed=seed, epoch=start, epochs=config.epochs - start)
    pieces, weights = accumulation_pieces(orders, batch_size=config.batch_size, micro_batches=plan.micro_batches)
    dataset = gathered(gather, pieces, weights if plan.micro_batches > 1 else None)
    return dataset, len(pieces) // len(orders)


def _in_order(gather: Gather, batch_size: int) -> tf.data.Dataset:
    positions = np.arange(len(gather))
    return gathered(gather, [positions[i : i + batch_size] for i in range(0, len(positions), batch_size)])


def predict_batches(network: keras.Model, gather: Gather, batch_size: int) -> np.ndarray:
    """Probabilities of all sequences of a gather, in its order: (N, C) float32."""
    if not len(gather):
        return np.zeros((0, network.output_shape[-1]), dtype=np.float32)
    return np.asarray(network.predict(_in_order(gather, batch_size), verbose=0))


def probability_columns(classes: Sequence[int]) -> list[str]:
    """Column names of class probabilities: "p_anger", ..."""
    return [f"p_{EMOTIONS[code]}" for code in classes]


def _predict(network: keras.Model, gather: Gather, batch_size: int, classes: Sequence[int]) -> pd.DataFrame:
    """Predictions of all sequences of a gather, as a table."""
    probabilities = predict_batches(network, gather, batch_size)
    codes = np.asarray(classes)
    table = pd.DataFrame(
        {
            "sequence": list(gather.sequences),
            "true": codes[gather.targets.argmax(axis=1)],
            "predicted": codes[probabilities.argmax(axis=1)],
        }
    )
    return pd.concat([table, pd.DataFrame(probabilities, columns=probability_columns(classes))], axis=1)


class _DropoutSeeds(keras.callbacks.Callback):
    """Seed dropout from the epoch's number: Keras saves weights and Adam's state, but not where dropout's seeds are."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        for layer in self.model.layers:
            if isinstance(layer, keras.layers.Dropout):
                layer.seed_generator.state.assign([self.seed + epoch, 0])


class _StepLimit(keras.callbacks.Callback):
    """End training after a number of optimiser steps."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if int(self.model.optimizer.iterations) >= self.steps:
            self.model.stop_training = True


class Checkpoint(keras.callbacks.Callback):
    """Keeps what a killed training needs to go on as if nothing had happened.

    The weights file holds the network and Adam's state; the state file holds the history and what early stopping
    remembers. The state file is replaced atomically, last. Shuffling and dropout need no state: both are drawn from
    the epoch's number.
    """

    def __init__(self, folder: Path, *, every: int, stopper: keras.callbacks.EarlyStopping | None = None) -> None:
        super().__init__()
        self.folder = folder
        self.every = every
        self.stopper = stopper
        self.history: list[dict[str, float]] = []
        self.stopped = False
        self._memory: dict[str, Any] | None = None

    def restore(self, network: keras.Model, epochs: int) -> int:
        """Load the last checkpoint into `network`, and return the epoch to go on with (0 without a checkpoint)."""
        try:
            state = json.loads((self.folder / "state.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return 0
        network.load_weights(self.folder / state["weights"])
        self.history = state["history"]
        self.stopped = state["stopped"]
        self._memory = state["early_stopping"]
        if self._memory and (self.stopped or len(self.history) >= epochs):
            network.set_weights(self._best_weights())
        logger.info("going on after epoch %d of %s", len(self.history), self.folder)
        return len(self.history)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Give early stopping its memory back (it has just cleared it: it comes first in the list of callbacks)."""
        if self.stopper is not None and self._memory:
            self.stopper.wait, self.stopper.best = self._memory["wait"], self._memory["best"]
            self.stopper.best_epoch = self._memory["best_epoch"]
            self.stopper.best_weights = self._best_weights()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Add to the history; write a checkpoint where one is due."""
        values = {name: float(value) for name, value in (logs or {}).items() if name in HISTORY}
        self.history.append({"epoch": epoch + 1, **values})
        if self.every and ((epoch + 1) % self.every == 0 or self.model.stop_training):
            self._write(epoch + 1)

    def _write(self, epoch: int) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        weights = self.folder / f"epoch-{epoch:05d}.weights.h5"
        write_file(weights, self.model.save_weights)
        state: dict[str, Any] = {
            "weights": weights.name,
            "history": self.history,
            "stopped": bool(self.model.stop_training),
            "early_stopping": None,
        }
        if self.stopper is not None and self.stopper.best_weights is not None:
            best = self.folder / f"best-{self.stopper.best_epoch + 1:05d}.npz"
            if not best.exists():
                weights_to_keep = self.stopper.best_weights
                write_file(best, lambda temporary: np.savez(temporary, *weights_to_keep))
            state["early_stopping"] = {
                "wait": int(self.stopper.wait),
                "best": float(self.stopper.best),
                "best_epoch": int(self.stopper.best_epoch),
                "file": best.name,
            }
        write_json(self.folder / "state.json", state)
        kept = {"state.json", weights.name, (state["early_stopping"] or {}).get("file")}
        for path in self.folder.iterdir():
            if path.name not in kept:
                path.unlink()

    def _best_weights(self) -> list[np.ndarray]:
        if self._memory is None:
            raise RuntimeError("there are no best weights before a checkpoint was restored")
        with np.load(self.folder / self._memory["file"], allow_pickle=False) as file:
            return [file[f"arr_{position}"] for position in range(len(file.files))]
