"""One fold of a run: fitted in whatever process it is given to, its files left in its folder."""

import gc
import logging
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock
from joblib import parallel_config
from threadpoolctl import threadpool_limits

from fastck.training import files
from fastck.training.data.folds import Split
from fastck.training.data.samples import Samples
from fastck.training.files import write_file, write_json, write_run_table, write_text
from fastck.training.models.fit import Fit
from fastck.training.models.linear import sequence_vectors
from fastck.training.models.memory import GIB, MemoryPlan
from fastck.training.models.startup import start_keras
from fastck.training.report.evaluation import BASELINES, baseline_predictions
from fastck.training.settings.config import PHASES

logger = logging.getLogger(__name__)

LOCK = ".lock"
# Keras keeps its state for the whole process: a worker with several threads fits one fold at a time.
_one_at_a_time = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class FoldTask:
    """What a worker needs to fit one fold.

    Attributes
    ----------
    samples : Samples
        Of absolute paths; a pickled one opens its stores anew.
    split : Split
    folder : Path
        Takes the fold's files; absolute.
    threads : int or None
        Of the network's backend, where this process has not started it yet.
    temperature : float or None
        What the logits are divided by, where the fold has no sequences to fit it on.
    verbose : int
        Keras' own progress.
    """

    samples: Samples
    split: Split
    folder: Path
    threads: int | None = None
    temperature: float | None = None
    verbose: int = 0

    @property
    def done(self) -> bool:
        """Whether all its files are there."""
        return (self.folder / files.FIT).exists()

    def share_done(self) -> float:
        """Return how much of it is done, by its own last word: 0 to 1."""
        if self.done:
            return 1.0
        try:
            return int((self.folder / files.EPOCH).read_text()) / self.samples.config.epochs
        except (OSError, ValueError):
            return 0.0


@dataclass(frozen=True, kw_only=True)
class FoldOutcome:
    """What came of a fold beside its files.

    Attributes
    ----------
    plan : MemoryPlan or None
        What fitted.
    messages : tuple of str
        Lines for people.
    """

    plan: MemoryPlan | None
    messages: tuple[str, ...] = ()


def fit_fold(task: FoldTask, plan: MemoryPlan | None) -> FoldOutcome:
    """Fit one fold from its last checkpoint, or from the start, and write its files; nothing where they are there."""
    if multiprocessing.parent_process() is not None:
        # Ctrl-C reaches all processes of a terminal; the first one ends the others.
        with suppress(ValueError):
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        # Several processes may share a GPU.
        os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    task.folder.mkdir(parents=True, exist_ok=True)
    # Within Dask's worker scikit-learn's own loops would be tasks of the cluster, which wait for this one.
    with _one_at_a_time, FileLock(task.folder / LOCK), parallel_config(backend="sequential"):
        # A cluster may give a fold away twice.
        outcome = FoldOutcome(plan=plan) if task.done else _fit(task, plan)
    # Whoever waits for it finds the fold done.
    (task.folder / LOCK).unlink(missing_ok=True)
    return outcome


def _fit(task: FoldTask, plan: MemoryPlan | None) -> FoldOutcome:
    split, config = task.split, task.samples.config
    logger.info("%s: %d train, %d test", split.name, len(split.train), len(split.test))
    messages: tuple[str, ...] = ()
    if plan is None:
        from fastck.training.models.linear_fitting import fit_linear_split

        # More threads would only wait for each other, and might add up in another order.
        with threadpool_limits(1):
            fit = fit_linear_split(task.samples, split)
    else:
        fit, plan, messages = _fit_within_memory(task, plan)
    if task.temperature is not None:
        fit = fit.calibrated(task.temperature)
    if config.baselines and split.test:
        with threadpool_limits(1):
            write_run_table(task.folder / files.BASELINES, _baselines(task.samples, split))
    _write_fit(fit, task)
    return FoldOutcome(plan=plan, messages=messages)


def _fit_within_memory(task: FoldTask, plan: MemoryPlan) -> tuple[Fit, MemoryPlan, tuple[str, ...]]:
    """Fit a network; where the device has no memory left, anew with half the micro-batch, once. Return what fitted."""
    start_keras(task.threads)
    from fastck.training.fitting import fit_split
    from fastck.training.models.backends import current_backend

    messages: tuple[str, ...] = ()
    while True:
        try:
            return fit_split(task.samples, task.split, plan, task.folder, task.verbose), plan, messages
        except Exception as error:
            if not current_backend().is_out_of_memory(error):
                raise
            if plan.halved or plan.micro_batch == 1:
                raise ValueError(
                    f"the device has no memory left with micro-batches of {plan.micro_batch}: free some, "
                    "lower memory or micro_batch, or take fewer filters or dense units"
                ) from error
        # Behind the handler the error is gone, and with it the tensors that its frames held.
        gc.collect()
        smaller = plan.half()
        messages = (
            f"the device had no memory left ({plan.total / GIB:.1f} GiB were planned): {task.split.name} started "
            f"again with micro-batches of {smaller.micro_batch} in place of {plan.micro_batch}",
        )
        # Adam's state is kept otherwise where gradients are accumulated, and dropout is drawn otherwise.
        shutil.rmtree(task.folder / files.CHECKPOINTS, ignore_errors=True)
        plan = smaller


def _write_fit(fit: Fit, task: FoldTask) -> None:
    """Leave a fold's files in its folder; fold.json comes last and says that it is done."""
    folder, split, config = task.folder, task.split, task.samples.config
    write_run_table(folder / files.HISTORY, fit.history)
    if split.test:
        write_run_table(folder / files.PREDICTIONS, fit.predictions)
    if fit.training_predictions is not None:
        write_run_table(folder / files.TRAINING_PREDICTIONS, fit.training_predictions)
    write_text(folder / files.SUMMARY, fit.summary())
    if config.keep_models or not split.test:
        write_file(folder / (files.LINEAR_MODEL if config.model == "linear" else files.MODEL), fit.save)
    write_json(
        folder / files.FIT,
        {
            "repeat": split.repeat,
            "fold": split.fold,
            "epochs": len(fit.history),
            "optimizer_steps": fit.optimizer_steps,
            "temperature": fit.temperature if split.calibrates or task.temperature is not None else None,
            "seconds": round(fit.seconds, 3),
            "input_seconds": round(fit.input_seconds, 3),
        },
    )
    shutil.rmtree(folder / files.CHECKPOINTS, ignore_errors=True)
    (folder / files.EPOCH).unlink(missing_ok=True)


def _baselines(samples: Samples, split: Split) -> pd.DataFrame:
    """Predictions of every baseline on a split: baseline, repeat, fold, sequence, subject, true, predicted."""
    config = samples.config
    table = samples.table.set_index("sequence")
    values = {part: _flat(samples, getattr(split, part)) for part in ("train", "test")}
    labels = {part: table.loc[list(getattr(split, part)), "label"].to_numpy(dtype=object) for part in values}
    parts = []
    for baseline in BASELINES:
        predicted = baseline_predictions(
            baseline,
            values["train"],
            labels["train"],
            values["test"],
            standardise=PHASES[config.phase].standardised,
            seed=config.seed + split.repeat,
        )
        parts.append(
            pd.DataFrame(
                {
                    "baseline": baseline,
                    "repeat": split.repeat,
                    "fold": split.fold,
                    "sequence": split.test,
                    "subject": table.loc[list(split.test), "subject"].to_numpy(),
                    "true": labels["test"],
                    "predicted": predicted,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def _flat(samples: Samples, names: Sequence[str]) -> np.ndarray:
    """What the baselines see, one row a sequence: projections where the store has them, but flow where flow is read."""
    config = samples.config
    paper = "projection" in samples.features and config.padding != "before"
    return sequence_vectors(
        samples, names, replace(config, base=None), feature="projection" if paper else config.feature
    )
