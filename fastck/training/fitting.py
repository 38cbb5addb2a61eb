"""One split: fit the network with Keras, calibrate its probabilities, predict the test part."""

import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from fastck.batches.gather import Gather, accumulation_pieces, pass_orders
from fastck.training.data.folds import Split
from fastck.training.data.samples import Samples
from fastck.training.files import CHECKPOINTS, EPOCH, TENSORBOARD, write_text
from fastck.training.models.backends import current_backend
from fastck.training.models.calibration import fit_temperature
from fastck.training.models.checkpoint import HISTORY, Checkpoint
from fastck.training.models.feed import Feed, in_order, training_feed
from fastck.training.models.fit import Fit
from fastck.training.models.memory import MemoryPlan
from fastck.training.models.network import build_network, calibrate_network, compile_network
from fastck.training.settings.config import PHASES, TrainConfig, probability_columns
from fastck.training.settings.shape import NetworkShape

# Keeps what does not move at all, or an emotion that nobody shows, from dividing by zero.
TINY = 1e-12


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The input of one split."""

    train: Gather
    validation: Gather
    test: Gather

    @property
    def seconds(self) -> float:
        """Time in which training's input was gathered so far."""
        return self.train.seconds + self.validation.seconds


def fit_split(samples: Samples, split: Split, plan: MemoryPlan, folder: Path, verbose: int = 0) -> Fit:
    """Fit one split from its last checkpoint, or from the start, and predict its test part once.

    Parameters
    ----------
    samples : Samples
        What a run trains on, and its settings.
    split : Split
        Sequences to train on, to validate on after each epoch, and to test at the end.
    plan : MemoryPlan
        Micro-batches and gradient checkpointing.
    folder : Path
        Holds the checkpoints, which the caller removes once the result is safe, and TensorBoard's logs.
    verbose : int
        Keras' own progress: 0 none, 1 bars, 2 a line per epoch.

    Returns
    -------
    fit : Fit
    """
    keras.backend.clear_session()
    config = samples.config
    seed = fold_seed(config.seed, split)
    parts = Parts(**{part: _gather(samples, getattr(split, part)) for part in ("train", "validation", "test")})
    shape = config.network_shape(samples.feature(config.feature).shape[1:])
    scale = _scale(parts.train) if PHASES[config.phase].standardised else None
    if config.early_stopping is not None and not len(parts.validation):
        raise ValueError("early_stopping needs validation sequences, and this split has none")
    network = _new_network(shape, scale, config, plan, seed)
    callbacks = _callbacks(config, plan.micro_batches, seed, folder)
    keeper = next(callback for callback in callbacks if isinstance(callback, Checkpoint))
    start = keeper.restore(network, config.epochs)
    began = time.perf_counter()
    if start < config.epochs and not keeper.stopped:
        dataset, steps = _training_dataset(parts.train, config, plan, seed=seed, start=start)
        network.fit(
            dataset,
            epochs=config.epochs,
            initial_epoch=start,
            # A feed has its own steps.
            steps_per_epoch=None if isinstance(dataset, Feed) else steps,
            validation_data=in_order(parts.validation, plan.micro_batch) if len(parts.validation) else None,
            callbacks=[*callbacks, *_pass_starts(dataset, start)],
            # The dataset brings its own order.
            shuffle=False,
            verbose=verbose,
        )
        del dataset
    weights, optimizer_steps = network.get_weights(), int(network.optimizer.iterations)
    history = pd.DataFrame(keeper.history, columns=list(HISTORY))
    seconds, input_seconds = time.perf_counter() - began, parts.seconds
    # Adam's state and the compiled graphs go before the weights are held twice; they refer to each other in circles.
    del network, callbacks, keeper
    keras.backend.clear_session()
    gc.collect()
    model = build_network(shape, dropout=config.dropout, scale=scale, seed=seed)
    model.set_weights(weights)
    temperature = _calibrate(model, parts.validation, plan.micro_batch) if split.calibrates else 1.0
    full = config.max_steps is None
    return Fit(
        model=model,
        history=history,
        predictions=_predict(model, parts.test, plan.micro_batch, config.class_names),
        training_predictions=_predict(model, parts.train, plan.micro_batch, config.class_names) if full else None,
        temperature=temperature,
        seconds=seconds,
        input_seconds=input_seconds,
        optimizer_steps=optimizer_steps,
    )


def fold_seed(seed: int, split: Split) -> int:
    """Seed of one split's weights, dropout and shuffling: another one for each, whatever ran before."""
    return int(np.random.SeedSequence((seed, split.repeat, split.fold)).generate_state(1)[0] % 2**31)


def _gather(samples: Samples, sequences: Sequence[str]) -> Gather:
    config = samples.config
    return Gather(
        samples,
        sequences,
        feature=config.feature,
        classes=config.class_names,
        timesteps=config.timesteps,
        too_long=config.too_long,
        padding=config.padding,
    )


def _scale(training: Gather) -> list[float]:
    """Return 1 / standard deviation of each channel, over the steps of the training part that are not padding."""
    count, total, squares = 0, np.zeros(training.channels), np.zeros(training.channels)
    for position in range(len(training)):
        steps = training(np.array([position]))[0]
        steps = steps[steps.any(axis=(1, 2, 3))].astype(np.float64)
        count += steps[..., 0].size
        total += steps.sum(axis=(0, 1, 2))
        squares += np.square(steps).sum(axis=(0, 1, 2))
    variance = squares / max(count, 1) - np.square(total / max(count, 1))
    return [float(factor) for factor in 1 / np.sqrt(np.maximum(variance, TINY))]


def _new_network(
    shape: NetworkShape, scale: list[float] | None, config: TrainConfig, plan: MemoryPlan, seed: int
) -> keras.Model:
    """Return a compiled network with an optimizer that a checkpoint can be loaded into."""
    # The settings that hold for a process. Mixed precision is untested on a GPU: there was none.
    keras.mixed_precision.set_global_policy(config.precision)
    with current_backend().set_up(deterministic=config.deterministic):
        network = build_network(
            shape, dropout=config.dropout, scale=scale, seed=seed, fused=config.fused, remat=plan.remat
        )
        compile_network(network, learning_rate=config.learning_rate, micro_batches=plan.micro_batches)
    network.optimizer.build(network.trainable_variables)
    return network


def _callbacks(config: TrainConfig, micro_batches: int, seed: int, folder: Path) -> list[keras.callbacks.Callback]:
    """Return the callbacks in the order in which they must be called: the checkpoint sees what the others did."""
    callbacks: list[keras.callbacks.Callback] = [_DropoutSeeds(seed)]
    stopper = None
    if config.early_stopping is not None:
        stopper = keras.callbacks.EarlyStopping(patience=config.early_stopping, restore_best_weights=True)
        callbacks.append(stopper)
    if config.max_steps is not None:
        callbacks.append(_StepLimit(config.max_steps, micro_batches))
    if config.tensorboard:
        callbacks.append(keras.callbacks.TensorBoard(str(folder / TENSORBOARD)))
    callbacks.append(_EpochFile(folder / EPOCH))
    return [*callbacks, Checkpoint(folder / CHECKPOINTS, every=config.checkpoint_every, stopper=stopper)]


def _pass_starts(dataset: Any, start: int) -> list[keras.callbacks.Callback]:
    """Return what tells a feed which pass begins; tf.data goes on by itself."""
    if not isinstance(dataset, Feed):
        return []
    return [keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: dataset.start_pass(epoch - start))]


def _training_dataset(
    gather: Gather, config: TrainConfig, plan: MemoryPlan, *, seed: int, start: int
) -> tuple[Any, int]:
    """All passes from epoch `start` on, and the Keras steps of one pass."""
    orders = pass_orders(len(gather), shuffle=True, seed=seed, epoch=start, epochs=config.epochs - start)
    pieces, weights = accumulation_pieces(orders, batch_size=config.batch_size, micro_batches=plan.micro_batches)
    weighted = PHASES[config.phase].weighted
    if weighted:
        # Each emotion weighs the same in all, and a sequence 1 on average.
        shares = gather.targets.mean(axis=0)
        rarity = (gather.targets @ (1 / np.maximum(shares, TINY))) / np.count_nonzero(shares)
        weights = [weight * rarity[piece].astype(np.float32) for weight, piece in zip(weights, pieces, strict=True)]
    seeds = None
    if config.augment:
        first = start * (len(pieces) // len(orders))
        seeds = [
            int(np.random.SeedSequence((seed, first + number)).generate_state(1)[0]) for number in range(len(pieces))
        ]
    steps = len(pieces) // len(orders)
    return training_feed(gather, pieces, weights if weighted or plan.micro_batches > 1 else None, seeds, steps), steps


def _calibrate(network: keras.Model, validation: Gather, batch_size: int) -> float:
    """Fit the temperature on the validating sequences, apply it to the network, and return it."""
    if not len(validation):
        return 1.0
    temperature = fit_temperature(predict_batches(network, validation, batch_size), validation.targets.argmax(axis=1))
    calibrate_network(network, temperature)
    return temperature


def predict_batches(network: keras.Model, gather: Gather, batch_size: int) -> np.ndarray:
    """Probabilities of all sequences of a gather, in its order: (N, C) float32."""
    if not len(gather):
        return np.zeros((0, network.output_shape[-1]), dtype=np.float32)
    return np.asarray(network.predict(in_order(gather, batch_size), verbose=0))


def _predict(network: keras.Model, gather: Gather, batch_size: int, classes: Sequence[str]) -> pd.DataFrame:
    """Predictions of all sequences of a gather, as a table."""
    probabilities = predict_batches(network, gather, batch_size)
    names = np.asarray(classes, dtype=object)
    table = pd.DataFrame(
        {
            "sequence": list(gather.sequences),
            "true": names[gather.targets.argmax(axis=1)],
            "predicted": names[probabilities.argmax(axis=1)],
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
            # Keras gives a layer that drops nothing no seeds.
            if isinstance(layer, keras.layers.Dropout) and layer.rate > 0:
                layer.seed_generator.state.assign([self.seed + epoch, 0])


class _EpochFile(keras.callbacks.Callback):
    """Leaves the number of epochs that are done in a file, about once a second, for whoever watches all folds."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.next = 0.0

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        now = time.monotonic()
        if now >= self.next:
            write_text(self.path, str(epoch + 1))
            self.next = now + 1


class _StepLimit(keras.callbacks.Callback):
    """End training after a number of optimizer steps."""

    def __init__(self, steps: int, micro_batches: int) -> None:
        super().__init__()
        self.left = self.limit = steps * micro_batches
        self.micro_batches = micro_batches

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        # JAX keeps the optimizer's own count up to date between epochs only.
        self.left = self.limit - int(self.model.optimizer.iterations) * self.micro_batches

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.left -= 1
        if self.left <= 0:
            self.model.stop_training = True
