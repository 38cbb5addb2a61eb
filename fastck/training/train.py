"""A training run from a store to a folder: splits, fits, baselines, files, report, and a model of all sequences."""

import importlib.util
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fastck.batches.padding import padding_before
from fastck.messages import Progress, one_line, some_names
from fastck.outputs import is_temporary
from fastck.training import files
from fastck.training.data.foldfile import file_digest, read_folds
from fastck.training.data.folds import Split, final_split, make_splits
from fastck.training.data.samples import Samples, open_samples
from fastck.training.files import read_json, read_run_table, write_json, write_run_table, write_text
from fastck.training.fold import FoldTask, fit_fold
from fastck.training.models.backends import current_backend
from fastck.training.models.memory import SHARE, MemoryPlan, Room, device_memory, plan_memory
from fastck.training.models.startup import chosen_backend, start_keras
from fastck.training.parallel import fit_folds, jobs_that_fit, watched
from fastck.training.record import describe_run, leakage_notes
from fastck.training.report.wording import interval_text, leakage_line
from fastck.training.report.write import write_report
from fastck.training.run import Run, open_run, read_record
from fastck.training.settings.config import TrainConfig

logger = logging.getLogger(__name__)


def train(
    store_path: str | Path | Sequence[str | Path],
    run_path: str | Path,
    config: TrainConfig,
    *,
    folds_file: str | Path | None = None,
    resume: bool = False,
    n_jobs: int = 1,
    verbose: int = 0,
    on_message: Callable[[str], None] = logger.info,
    on_progress: Callable[[Progress], None] | None = None,
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
    n_jobs : int
        Folds that are fitted at once; -1 for one per core. Any number gives the same bytes. Above 1 each is fitted in a
        process of its own, as many at once as the memory holds; ``joblib.parallel_config`` may send them to Dask. A
        worker that dies costs its fold what came after the last checkpoint. In a process that has started TensorFlow or
        JAX already, a fold that is fitted there has as many threads as that one got.
    verbose : int
        Keras' own progress: 0 none, 1 bars, 2 a line per epoch.
    on_message : callable
        Is given lines for people: the memory plan, notes about the data.
    on_progress : callable, optional
        Is given a `Progress` in folds, about once a second and from a thread of its own; a fold counts in shares.

    Returns
    -------
    run : Run

    Raises
    ------
    ValueError
        If the store does not fit the settings, the run's folder is in use, or the memory does not suffice.
    OSError
        If a file cannot be read or written, or workers die again and again.
    """
    job = _begin(store_path, Path(run_path), config, folds_file, resume=resume)
    tasks = job.tasks(verbose)
    at_once, wanted = (jobs_that_fit(n_jobs, len(tasks), plan) for plan in (job.plan, None))
    job.claim(resume=resume)
    job.tell(on_message)
    if at_once < wanted:
        on_message(f"memory for {at_once} of {wanted} folds at once: allow more, or take a smaller micro_batch")
    with watched([*tasks, *job.final_tasks(verbose)], on_progress or (lambda _: None)):
        job.fit(tasks, at_once, on_message)
        _pool(job.run_path, tasks, job.samples.table)
        job.record |= {"status": "finished", "fits": [read_json(task.folder / files.FIT) for task in tasks]}
        write_json(job.run_path / files.RECORD, job.record)
        write_report(job.run_path)
        final = job.final_tasks(verbose)
        job.fit(final, 1, on_message)
    run = open_run(job.run_path)
    for task in final:
        write_text(task.folder / files.CARD, _card(run, task))
    return run


def train_fold(
    store_path: str | Path | Sequence[str | Path],
    run_path: str | Path,
    config: TrainConfig,
    fold: int,
    *,
    folds_file: str | Path | None = None,
    verbose: int = 0,
    on_message: Callable[[str], None] = logger.info,
    on_progress: Callable[[Progress], None] | None = None,
) -> Path:
    """Fit one fold into a run, which is begun where it is new; `train` with `resume` puts the folds together.

    Any number of processes may do so at once, each with its own fold, on any machines that share the folders.

    Parameters
    ----------
    store_path, run_path, config, folds_file, verbose, on_message, on_progress
        As for `train`; the same for all folds.
    fold : int
        Which one, from 1; with repeats, the second one's folds follow those of the first.

    Returns
    -------
    folder : Path
        The fold's.

    Raises
    ------
    ValueError
        If there is no such fold, or the run was begun with something else.
    OSError
        If a file cannot be read or written.
    """
    job = _begin(store_path, Path(run_path), config, folds_file, resume=_is_begun(Path(run_path)))
    if not 1 <= fold <= len(job.splits):
        raise ValueError(f"fold must be 1 to {len(job.splits)} of this run, got {fold}")
    # Another fold's process may have begun the run meanwhile.
    job.claim(resume=_is_begun(job.run_path))
    job.plan = _started_plan(job.run_path)
    job.tell(on_message)
    task = job.tasks(verbose)[fold - 1]
    with watched([task], on_progress or (lambda _: None)):
        for message in fit_fold(task, job.plan).messages:
            on_message(message)
    return task.folder


@dataclass(kw_only=True)
class _Job:
    """A run that is at work: what it trains on, and what its run.json says so far."""

    run_path: Path
    samples: Samples
    splits: list[Split]
    plan: MemoryPlan | None
    record: dict[str, Any]

    @property
    def config(self) -> TrainConfig:
        return self.samples.config

    @property
    def threads(self) -> int | None:
        return _threads(self.config, self.splits)

    def claim(self, *, resume: bool) -> None:
        """Start the run's folder, or check that the one to resume is the same run."""
        if resume:
            _check_same(self.run_path, self.record)
            return
        found = [path.name for path in self.run_path.iterdir()] if self.run_path.is_dir() else []
        if not all(map(is_temporary, found)) or (self.run_path.exists() and not self.run_path.is_dir()):
            raise ValueError(f"{self.run_path} is not empty: choose another folder, or --resume a run that was stopped")
        self.run_path.mkdir(parents=True, exist_ok=True)
        write_json(self.run_path / files.RECORD, self.record)

    def tell(self, on_message: Callable[[str], None]) -> None:
        """Say how memory is used, and what a reader should know about the data."""
        for line in [*([self.plan.text()] if self.plan else []), *self.record["notes"]]:
            on_message(line)

    def tasks(self, verbose: int) -> list[FoldTask]:
        """Return the folds' tasks; a single one's files lie in the run's own folder."""
        alone = len(self.splits) == 1
        return [
            FoldTask(
                samples=self.samples,
                split=split,
                folder=self.run_path if alone else self.run_path / files.FOLDS / split.name,
                threads=self.threads,
                verbose=verbose,
            )
            for split in self.splits
        ]

    def final_tasks(self, verbose: int) -> list[FoldTask]:
        """Return the task of the model that all sequences train, as the folds chose as far as they are done; or none.

        Its epochs are the median of what the folds' validation chose, its temperature that of theirs.
        """
        if not self.config.final:
            return []
        fits = self.record.get("fits", [])
        config = self.config
        if fits and config.early_stopping is not None and config.model != "linear":
            config = replace(config, epochs=_chosen_epochs(read_run_table(self.run_path / files.HISTORY)))
        temperatures = [fit["temperature"] for fit in fits if fit["temperature"] is not None]
        return [
            FoldTask(
                samples=replace(self.samples, config=replace(config, early_stopping=None)),
                split=final_split(self.samples.table, config, self.splits),
                folder=self.run_path / files.FINAL,
                threads=self.threads,
                temperature=float(np.median(temperatures)) if temperatures else None,
                verbose=verbose,
            )
        ]

    def fit(self, tasks: Sequence[FoldTask], n_jobs: int, on_message: Callable[[str], None]) -> None:
        """Fit folds; a resumed run goes on with what fitted."""
        for outcome in fit_folds(tasks, self.plan, n_jobs):
            for message in outcome.messages:
                on_message(message)
            if outcome.plan is not None and outcome.plan.halved and outcome.plan != self.plan:
                self.plan = outcome.plan
                self.record["memory_plan"] = outcome.plan.as_dict()
                write_json(self.run_path / files.RECORD, self.record)


def _begin(
    store_path: str | Path | Sequence[str | Path],
    run_path: Path,
    config: TrainConfig,
    folds_file: str | Path | None,
    *,
    resume: bool,
) -> _Job:
    """Check and plan everything, before anything is written."""
    _check(config)
    several = [store_path] if isinstance(store_path, str | Path) else store_path
    # Workers elsewhere have another working folder.
    samples = open_samples([Path(path).absolute() for path in several], config)
    config, run_path = samples.config, run_path.absolute()
    folds = None if folds_file is None else read_folds(folds_file)
    splits = make_splits(samples.store.table, config, listing=samples.store.listing, folds=folds)
    backend = None if config.model == "linear" else start_keras(_threads(config, splits))
    # Micro-batches draw dropout differently: a run keeps its cut, wherever it goes on.
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
    return _Job(run_path=run_path, samples=samples, splits=splits, plan=plan, record=record)


def _is_begun(run_path: Path) -> bool:
    return (run_path / files.RECORD).exists()


def _threads(config: TrainConfig, splits: Sequence[Split]) -> int | None:
    """Return how many threads each fold's network has: whatever the number of jobs, so that it gives the same bytes."""
    return config.threads or (1 if len(splits) > 1 else None)


def _check(config: TrainConfig) -> None:
    """Refuse what would fail only after a while."""
    if config.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise ValueError("tensorboard logs need the package tensorboard: pip install tensorboard")
    if config.tensorboard and chosen_backend() != "tensorflow":
        raise ValueError("tensorboard logs are written by TensorFlow only: train with KERAS_BACKEND=tensorflow")


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


def _check_same(run_path: Path, record: dict[str, Any]) -> None:
    """Check that the run that was begun in a folder is the one to go on with."""
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


def _pool(run_path: Path, tasks: Sequence[FoldTask], table: pd.DataFrame) -> None:
    """Join the folds' histories, predictions and baselines into the run's."""
    subjects = dict(zip(table["sequence"], table["subject"], strict=True))
    for name in (files.HISTORY, files.PREDICTIONS):
        parts = []
        for task in tasks:
            # The file of a single fold is the run's own: it may have been pooled before the run was stopped.
            part = read_run_table(task.folder / name)
            part = part.drop(columns=["repeat", "fold", "subject"], errors="ignore")
            part.insert(0, "repeat", task.split.repeat)
            part.insert(1, "fold", task.split.fold)
            if name == files.PREDICTIONS:
                part.insert(3, "subject", part["sequence"].map(subjects))
            parts.append(part)
        write_run_table(run_path / name, pd.concat(parts, ignore_index=True))
    if tasks[0].samples.config.baselines:
        parts = [read_run_table(task.folder / files.BASELINES) for task in tasks]
        write_run_table(run_path / files.BASELINES, pd.concat(parts, ignore_index=True))


def _chosen_epochs(history: pd.DataFrame) -> int:
    """Return the median of the epochs with the lowest validation loss, which early stopping went back to."""
    best = history.loc[history.groupby(["repeat", "fold"])["val_loss"].idxmin(), "epoch"]
    return max(1, round(float(best.median())))


def _card(run: Run, task: FoldTask) -> str:
    """Return what the final model is, and what its accuracy is known from."""
    fit, table = read_json(task.folder / files.FIT), task.samples.table
    people = table.loc[table["sequence"].isin(task.split.train), "subject"].nunique()
    folds = len(run.record["fits"])
    how = "logistic regression"
    if task.samples.config.model != "linear":
        chosen = "the median of what the folds' validation chose" if run.settings.early_stopping else "as the folds"
        how = f"{task.samples.config.model}, {fit['epochs']} epochs ({chosen})"
    lines = [
        f"# {run.report['title']}",
        f"Fitted on all {len(task.split.train)} sequences of {people} people: {how}.",
        "Nobody was left to test it. Its accuracy is the folds': that of models which were fitted the same way, each "
        "without the sequences that tested it:",
        f"accuracy {interval_text(run.report['evaluation']['accuracy'])} by {run.report['protocol']}, {folds} "
        f"fit{'s' if folds > 1 else ''}; {leakage_line(run.report)}.",
    ]
    if fit["temperature"] is not None:
        lines.append(f"Its logits are divided by the median of the folds' temperatures, {fit['temperature']:.2f}.")
    lines.append(f"Classes: {', '.join(map(one_line, run.classes))}.")
    return "\n\n".join(lines) + "\n"
