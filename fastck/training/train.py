"""A training run from a store to a folder: splits, fits, baselines, files, report."""

import gc
import importlib.metadata
import importlib.util
import json
import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fastck.batches.padding import padding_before
from fastck.messages import some_names
from fastck.training import run as files
from fastck.training.data.foldfile import file_digest, read_folds
from fastck.training.data.folds import Split, make_splits
from fastck.training.data.samples import Samples, open_samples
from fastck.training.models.backends import current_backend
from fastck.training.models.fit import Fit
from fastck.training.models.linear import sequence_vectors
from fastck.training.models.memory import GIB, SHARE, MemoryPlan, Room, device_memory, plan_memory
from fastck.training.models.startup import chosen_backend, start_keras
from fastck.training.record import describe_run, leakage_notes
from fastck.training.report.evaluation import BASELINES, baseline_predictions
from fastck.training.report.write import write_report
from fastck.training.run import (
    Run,
    open_run,
    read_json,
    read_record,
    read_table,
    write_file,
    write_json,
    write_table,
    write_text,
)
from fastck.training.settings.config import PHASES, TrainConfig

logger = logging.getLogger(__name__)


def train(
    store_path: str | Path | Sequence[str | Path],
    run_path: str | Path,
    config: TrainConfig,
    *,
    folds_file: str | Path | None = None,
    resume: bool = False,
    verbose: int | str = "auto",
    on_message: Callable[[str], None] = logger.info,
) -> Run:
    """Train and test a model on a store, and write everything about it into a folder.

    Parameters
    ----------
    store_path : path-like or sequence of path-like
        A finished store that holds `config.feature`, or several that are trained together.
    run_path : path-like
        Folder to write; must be new or empty unless `resume`.
    config : TrainConfig
        What to train, how to split, how long.
    folds_file : path-like, optional
        CSV of sequence and fold (from 1): which fold tests a sequence, in place of `config.protocol`.
    resume : bool
        Go on with a killed run of the same settings and store. The result equals that of a run that was never killed.
    verbose : int or "auto"
        Keras' own progress: 0 none, 1 bars, 2 a line per epoch.
    on_message : callable
        Is given lines for people: the memory plan, notes about the data.

    Returns
    -------
    run : Run

    Raises
    ------
    ValueError
        If the store does not fit the settings, the run's folder is in use, or the memory does not suffice.
    OSError
        If a file cannot be read or written.
    """
    run_path = Path(run_path)
    _check(config)
    samples = open_samples(store_path, config)
    config = samples.config
    backend = None if config.model == "linear" else start_keras()
    folds = None if folds_file is None else read_folds(folds_file)
    splits = make_splits(samples.store.table, config, listing=samples.store.listing, folds=folds)
    # Micro-batches draw dropout differently: a run keeps its cut, wherever it is resumed.
    plan = _started_plan(run_path) if resume else _plan(samples, config, splits, backend)
    record = describe_run(samples, config, splits, plan, backend)
    if folds is not None and folds_file is not None:
        gone = folds.loc[~folds["sequence"].isin(samples.listing["sequence"]), "sequence"]
        if len(gone):
            record["notes"].append(
                f"{len(gone)} sequences of {Path(folds_file).name} are not in the data set: "
                + some_names(gone.tolist(), most=1)
            )
        record["folds_file"] = {"name": Path(folds_file).name, "sha256": file_digest(folds_file)}
    if folds is not None or config.protocol == "table":
        record["notes"] += leakage_notes(record["splits"])
    _claim(run_path, record, resume=resume)
    if plan is not None:
        on_message(plan.text())
    for note in record["notes"]:
        on_message(note)
    for split in splits:
        folder = _folder(run_path, splits, split)
        if (folder / files.FIT).exists():
            continue
        if len(splits) > 1:
            on_message(_sizes(split))
        folder.mkdir(parents=True, exist_ok=True)
        fitted_plan = plan
        if plan is None:
            from fastck.training.models.linear_fitting import fit_linear_split

            fit = fit_linear_split(samples, split)
        else:
            fit, fitted_plan = _fit_within_memory(samples, split, plan, folder, verbose, on_message)
        _write_fit(fit, split, config, folder)
        # The next split needs the memory.
        del fit
        if fitted_plan is not None and fitted_plan != plan:
            # A resumed run goes on with what fitted.
            plan = fitted_plan
            record["memory_plan"] = plan.as_dict()
            write_json(run_path / files.RECORD, record)
    _pool(run_path, splits, samples.table)
    if config.baselines:
        write_table(run_path / files.BASELINES, _baselines(samples, splits, config))
    record |= {
        "status": "finished",
        "fits": [read_json(_folder(run_path, splits, split) / files.FIT) for split in splits],
    }
    write_json(run_path / files.RECORD, record)
    write_report(run_path)
    return open_run(run_path)


def _check(config: TrainConfig) -> None:
    """Refuse what would fail only after a while."""
    if config.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise ValueError("tensorboard logs need the package tensorboard: pip install tensorboard")
    if config.tensorboard and chosen_backend() != "tensorflow":
        raise ValueError("tensorboard logs are written by TensorFlow only: train with KERAS_BACKEND=tensorflow")


def _sizes(split: Split) -> str:
    """Return a split's name and how many sequences each part has."""
    return f"{split.name}: {len(split.train)} train, {len(split.validation)} validate, {len(split.test)} test"


def _plan(samples: Samples, config: TrainConfig, splits: Sequence[Split], backend: str | None) -> MemoryPlan | None:
    """Plan the memory for the store's frame size and the training sequences' lengths; a linear model needs no plan."""
    if backend is None:
        return None
    active = None
    if config.fused and config.model == "convlstm":
        lengths = samples.table.set_index("sequence")["length"].clip(upper=config.timesteps)
        used = sorted({name for split in splits for name in split.train})
        # The zero steps in front cost nothing.
        before = padding_before(lengths[used].to_numpy(dtype=np.int64), config.timesteps, config.padding)
        active = [int(steps) for steps in config.timesteps - before]
    room = Room(
        budget=config.memory or int(SHARE * (current_backend().device_bytes() or device_memory())),
        backend=backend,
        device=current_backend().device_name() or "CPU",
        fits=len(splits),
    )
    return plan_memory(
        config.network_shape(samples.feature(config.feature).shape[1:]),
        room,
        batch_size=config.batch_size,
        micro_batch=config.micro_batch,
        remat=config.remat if config.fused else False,
        active_steps=active,
    )


def _claim(run_path: Path, record: dict[str, Any], *, resume: bool) -> None:
    """Start a run's folder, or check that the one to resume is the same run."""
    if not resume:
        if run_path.exists() and (not run_path.is_dir() or any(run_path.iterdir())):
            raise ValueError(f"{run_path} is not empty: choose another folder, or --resume a run that was stopped")
        run_path.mkdir(parents=True, exist_ok=True)
        write_json(run_path / files.RECORD, record)
        return
    before, now = read_record(run_path), json.loads(json.dumps(record))
    for part in ("arguments", "splits"):
        if before.get(part) != now[part]:
            raise ValueError(f"{run_path} was started with other {part}: resume with the same settings")
    # Dropout is drawn otherwise by each backend. Runs from before backends could be chosen are TensorFlow's.
    backend = before.get("backend", "tensorflow")
    if backend != now["backend"]:
        raise ValueError(
            f"{run_path} was started with Keras' backend {backend}, this is {now['backend']}: "
            f"resume with KERAS_BACKEND={backend}"
        )
    started, given = (
        [[store.get(key) for key in ("config_hash", "input_hash")] for store in entry["stores"]]
        for entry in (before, now)
    )
    if started != given:
        where = ", ".join(store["path"] for store in before["stores"])
        raise ValueError(f"{run_path} was started on another store ({where})")


def _started_plan(run_path: Path) -> MemoryPlan | None:
    """The memory plan of the run that is to be resumed; None for a linear model."""
    if not (run_path / files.RECORD).exists():
        raise ValueError(f"{run_path} holds no run to resume: it has no {files.RECORD}")
    record = read_record(run_path)
    if record.get("memory_plan", {}) is None:
        return None
    try:
        known = {entry.name for entry in fields(MemoryPlan)}
        return MemoryPlan(**{name: value for name, value in record["memory_plan"].items() if name in known})
    except (KeyError, TypeError) as error:
        raise ValueError(f"{run_path / files.RECORD} is from another fastck version: it lacks {error}") from error


def _fit_within_memory(
    samples: Samples,
    split: Split,
    plan: MemoryPlan,
    folder: Path,
    verbose: int | str,
    on_message: Callable[[str], None],
) -> tuple[Fit, MemoryPlan]:
    """Fit one split; where the device has no memory left, anew with half the micro-batch, once. Return what fitted."""
    from fastck.training.fitting import fit_split

    while True:
        try:
            return fit_split(samples, split, plan, folder, verbose), plan
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
        on_message(
            f"the device has no memory left ({plan.total / GIB:.1f} GiB were planned): "
            f"{split.name} starts again with micro-batches of {smaller.micro_batch} in place of {plan.micro_batch}"
        )
        # Adam's state is kept otherwise where gradients are accumulated, and dropout is drawn otherwise.
        shutil.rmtree(folder / files.CHECKPOINTS, ignore_errors=True)
        plan = smaller


def _write_fit(fit: Fit, split: Split, config: TrainConfig, folder: Path) -> None:
    """Leave a split's files in its folder; fold.json comes last and says that it is done."""
    write_table(folder / files.HISTORY, fit.history)
    write_table(folder / files.PREDICTIONS, fit.predictions)
    if fit.training_predictions is not None:
        write_table(folder / files.TRAINING_PREDICTIONS, fit.training_predictions)
    write_text(folder / files.SUMMARY, fit.summary())
    if config.keep_models:
        write_file(folder / (files.LINEAR_MODEL if config.model == "linear" else files.MODEL), fit.save)
    write_json(
        folder / files.FIT,
        {
            "repeat": split.repeat,
            "fold": split.fold,
            "epochs": len(fit.history),
            "optimizer_steps": fit.optimizer_steps,
            "temperature": fit.temperature if split.calibrates else None,
            "seconds": round(fit.seconds, 3),
            "input_seconds": round(fit.input_seconds, 3),
        },
    )
    shutil.rmtree(folder / files.CHECKPOINTS, ignore_errors=True)


def _folder(run_path: Path, splits: Sequence[Split], split: Split) -> Path:
    """Return where a split's files lie: in the run's own folder if it is the only one."""
    return run_path if len(splits) == 1 else run_path / files.FOLDS / split.name


def _pool(run_path: Path, splits: Sequence[Split], table: pd.DataFrame) -> None:
    """Join the folds' histories and predictions into the run's."""
    subjects = dict(zip(table["sequence"], table["subject"], strict=True))
    for name in (files.HISTORY, files.PREDICTIONS):
        parts = []
        for split in splits:
            # The file of a single fold is the run's own: it may have been pooled before the run was stopped.
            part = read_table(_folder(run_path, splits, split) / name)
            part = part.drop(columns=["repeat", "fold", "subject"], errors="ignore")
            part.insert(0, "repeat", split.repeat)
            part.insert(1, "fold", split.fold)
            if name == files.PREDICTIONS:
                part.insert(3, "subject", part["sequence"].map(subjects))
            parts.append(part)
        write_table(run_path / name, pd.concat(parts, ignore_index=True))


def _baselines(samples: Samples, splits: Sequence[Split], config: TrainConfig) -> pd.DataFrame:
    """Predictions of every baseline on every split: baseline, repeat, fold, sequence, subject, true, predicted."""
    table = samples.table.set_index("sequence")
    names = sorted({name for split in splits for name in (*split.train, *split.test)})
    position = {name: index for index, name in enumerate(names)}
    values = _flat(samples, names, config)
    labels = table.loc[names, "label"].to_numpy(dtype=object)
    parts = []
    for split in splits:
        train, test = ([position[name] for name in part] for part in (split.train, split.test))
        for baseline in BASELINES:
            predicted = baseline_predictions(
                baseline,
                values[train],
                labels[train],
                values[test],
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
                        "true": labels[test],
                        "predicted": predicted,
                    }
                )
            )
    return pd.concat(parts, ignore_index=True)


def _flat(samples: Samples, names: Sequence[str], config: TrainConfig) -> np.ndarray:
    """What the baselines see, one row a sequence: projections where the store has them, but flow where flow is read."""
    paper = "projection" in samples.features and config.padding != "before"
    return sequence_vectors(samples, names, config, feature="projection" if paper else config.feature)
