"""Folds side by side, in processes, on a cluster or in an array's tasks: the bytes are those of one after the other."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import fastck
from fastck.cli import app
from fastck.messages import Progress
from fastck.training import parallel
from fastck.training.data.folds import final_split, make_splits
from fastck.training.data.samples import make_samples
from fastck.training.models.linear import LinearModel
from fastck.training.models.memory import Room, plan_memory
from fastck.training.report.wording import interval_text
from fastck.training.settings.config import TrainConfig
from fastck.training.settings.shape import NetworkShape
from fastck.training.train import _chosen_epochs, train
from tests.helpers.tinystore import make_store, make_table

CONFIG = TrainConfig(
    phase=4,
    model="linear",
    classes="happy,surprise",
    protocol="stratified-group",
    folds=4,
    timesteps=9,
    augment=False,
)
OPTIONS = ["--phase=4", "--model=linear", "--classes=happy,surprise", "--protocol=stratified-group"]
OPTIONS += ["--folds=4", "--timesteps=9", "--no-augment"]
# What takes another time in each run.
TIMED = {"run.json", "fold.json"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("parallel") / "store", make_table(subjects=8), flow=True).path


@pytest.fixture(scope="module")
def run(store: Path, tmp_path_factory: pytest.TempPathFactory) -> fastck.Run:
    return train(store, tmp_path_factory.mktemp("run") / "run", CONFIG)


def written(run: Path) -> dict[str, bytes]:
    """All that a run says, without the times it took."""
    files = [path for path in sorted(run.rglob("*")) if path.is_file() and path.name not in TIMED]
    return {str(path.relative_to(run)): path.read_bytes() for path in files}


def assert_same_run(path: Path, run: fastck.Run) -> None:
    got, wanted = written(path), written(run.path)
    assert list(got) == list(wanted)
    assert [name for name in got if got[name] != wanted[name]] == []


def test_two_processes_give_the_same_bytes(store: Path, run: fastck.Run, tmp_path: Path):
    told: list[Progress] = []
    train(store, tmp_path / "run", CONFIG, n_jobs=2, on_progress=told.append)
    assert_same_run(tmp_path / "run", run)
    assert (told[0].done, told[-1].done, told[-1].total) == (0, 5, 5)
    assert [step.done for step in told] == sorted(step.done for step in told)


def loky_process() -> int:
    """Return the id of one of this process's workers."""
    for path in Path("/proc").glob("[0-9]*"):
        parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
        if parent == os.getpid() and b"popen_loky_posix" in (path / "cmdline").read_bytes():
            return int(path.name)
    raise LookupError("no worker is there")


def test_a_killed_process_costs_no_more_than_its_fold(
    store: Path, run: fastck.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(parallel, "LOOK", 0.02)
    killed: list[int] = []

    def kill(progress: Progress) -> None:
        if not killed and list((tmp_path / "run").glob("folds/*/.lock")):
            killed.append(loky_process())
            os.kill(killed[0], signal.SIGKILL)

    train(store, tmp_path / "run", CONFIG, n_jobs=2, on_progress=kill)
    assert killed
    assert_same_run(tmp_path / "run", run)


def test_workers_that_die_again_and_again_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from concurrent.futures import BrokenExecutor

    class Task:
        done = False

    def die(*_: object) -> None:
        raise BrokenExecutor

    monkeypatch.setattr(parallel, "fit_fold", die)
    with pytest.raises(OSError, match=r"workers died 3 times before a fold was done.*--resume"):
        list(parallel.fit_folds([Task()], None, 1))  # type: ignore[list-item]


@pytest.fixture
def cluster() -> Iterator[Any]:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        yield cluster


@pytest.mark.slow
def test_a_cluster_gives_the_same_bytes_though_a_worker_is_killed(
    store: Path, run: fastck.Run, cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from fastck.cluster import dask_cluster

    monkeypatch.setattr(parallel, "LOOK", 0.02)
    killed: list[int] = []

    def kill(progress: Progress) -> None:
        if not killed and list((tmp_path / "run").glob("folds/*/.lock")):
            killed.append(next(iter(cluster.workers.values())).pid)
            os.kill(killed[0], signal.SIGKILL)

    with dask_cluster(cluster.scheduler_address):
        train(store, tmp_path / "run", CONFIG, on_progress=kill)
    assert killed
    assert_same_run(tmp_path / "run", run)


def test_an_arrays_tasks_make_one_run(store: Path, run: fastck.Run, tmp_path: Path):
    command = ["train", str(store), "-o", str(tmp_path / "run"), *OPTIONS]
    own = [sys.executable, "-m", "fastck.cli", *command]
    # Two at the same time, in processes of their own, and the others beside them in this one.
    tasks = [
        subprocess.Popen([*own, "--fold", number], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for number in "12"
    ]
    for number in "34":
        result = CliRunner().invoke(app, [*command, "--fold", number], env={"COLUMNS": "200"})
        assert result.exit_code == 0, result.output
        assert "--resume in place of --fold puts them together" in result.stdout
    for task in tasks:
        printed, errors = task.communicate()
        assert task.returncode == 0, errors
        assert "--resume in place of --fold puts them together" in printed
    with pytest.raises(ValueError, match="was not finished"):
        fastck.open_run(tmp_path / "run")
    result = CliRunner().invoke(app, [*command, "--resume"])
    assert result.exit_code == 0, result.output
    assert_same_run(tmp_path / "run", run)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--fold", "5"], "fold must be 1 to 4 of this run, got 5"),
        (
            ["--fold", "1", "--jobs", "2"],
            "--fold fits one fold in this process: leave --jobs, --scheduler and --sweep out",
        ),
    ],
)
def test_a_fold_that_is_not_there_is_refused(store: Path, tmp_path: Path, options: list[str], message: str):
    result = CliRunner().invoke(app, ["train", str(store), "-o", str(tmp_path / "run"), *OPTIONS, *options])
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (tmp_path / "run").exists()


def test_a_fold_of_other_settings_is_refused(store: Path, run: fastck.Run):
    command = ["train", str(store), "-o", str(run.path), *OPTIONS, "--seed", "2", "--fold", "1"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2
    assert "was started with other arguments: resume with the same settings" in result.stderr


def test_no_more_folds_at_once_than_the_memory_holds():
    shape = NetworkShape(rows=2, columns=64, n_classes=7)
    one = plan_memory(shape, Room(budget=2**40))
    plan = replace(one, budget=3 * one.total)
    assert [parallel.jobs_that_fit(jobs, 10, plan) for jobs in (1, 2, 8)] == [1, 2, 3]
    assert parallel.jobs_that_fit(8, 2, plan) == 2
    assert parallel.jobs_that_fit(8, 10, replace(one, budget=one.total)) == 1


def test_ctrl_c_says_how_to_go_on(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    command = ["train", str(store), "-o", str(tmp_path / "run"), *OPTIONS]
    with monkeypatch.context() as patch:
        patch.setattr("fastck.training.models.linear_fitting.fit_linear_split", stop)
        stopped = CliRunner().invoke(app, command)
    assert (stopped.exit_code, stopped.stderr) == (130, "stopped; the same command with --resume goes on\n")
    with monkeypatch.context() as patch:
        patch.setattr("fastck.training.train.make_splits", stop)
        early = CliRunner().invoke(app, [*command[:2], "-o", str(tmp_path / "other"), *OPTIONS])
    assert (early.exit_code, early.stderr) == (130, "stopped before anything was fitted\n")


def test_a_run_ends_with_a_model_of_all_sequences(store: Path, run: fastck.Run, tmp_path: Path):
    assert run.model_path == run.path / "final" / "model.npz"
    fits = run.record["fits"]
    alone = train(store, tmp_path / "apart", replace(CONFIG, final=False))
    assert not (alone.path / "final").exists()
    with pytest.raises(ValueError, match="holds 4 models, one per fold: name one"):
        _ = alone.model_path
    # Fitted on everyone: another fit of the same sequences gives the same weights.
    samples = make_samples(fastck.open_store(store), CONFIG)
    split = final_split(samples.table, samples.config, make_splits(samples.store.table, samples.config))
    assert (len(split.train), split.test, split.name) == (16, (), "final")
    from fastck.training.models.linear_fitting import fit_linear_split

    again = fit_linear_split(samples, split).model
    assert isinstance(again, LinearModel)
    assert isinstance(run.model, LinearModel)
    np.testing.assert_allclose(
        run.model.coefficients,
        again.coefficients / np.median([fit["temperature"] for fit in fits]),
        rtol=1e-5,
        atol=1e-7,
    )
    card = (run.path / "final" / "card.md").read_text()
    assert "all 16 sequences of 8 people: logistic regression" in card
    assert "Its accuracy is the folds'" in card
    assert interval_text(run.report["evaluation"]["accuracy"]) in card
    # The final model is a fold's folder, too.
    assert fastck.open_run(run.path / "final").model_path == run.model_path


def test_the_final_split_is_balanced_as_a_fold_is():
    table = make_table(subjects=6).assign(label=lambda rows: rows["emotion"].map({1: "a", 3: "b", 5: "c", 7: "d"}))
    config = TrainConfig(classes="a,b,c,d", per_emotion=4, protocol="loso")
    split = final_split(table, config, make_splits(table, config))
    assert table.set_index("sequence").loc[list(split.train), "label"].value_counts().to_dict() == dict.fromkeys(
        "abcd", 4
    )
    # Balanced before the split, and one of them lost since.
    config = replace(config, protocol="random", per_emotion=6)
    (drawn,) = make_splits(table, config)
    left = table[table["sequence"] != drawn.train[0]]
    split = final_split(left, config, [drawn])
    assert left.set_index("sequence").loc[list(split.train), "label"].value_counts().to_dict() == dict.fromkeys(
        "abcd", 5
    )


def test_the_final_epochs_are_the_median_of_the_best():
    losses = {0: [3.0, 1.0, 2.0], 1: [3.0, 2.0, 1.0, 4.0], 2: [1.0, 2.0]}
    history = pd.DataFrame(
        [(0, fold, epoch, loss) for fold, values in losses.items() for epoch, loss in enumerate(values, start=1)],
        columns=["repeat", "fold", "epoch", "val_loss"],
    )
    assert _chosen_epochs(history) == 2


def test_a_network_of_all_sequences_is_trained_as_long_as_validation_chose(store: Path, tmp_path: Path):
    pytest.importorskip("keras")
    config = TrainConfig(
        phase=5,
        model="temporal",
        protocol="stratified-group",
        classes="anger,disgust,happy,surprise",
        folds=2,
        timesteps=9,
        filters=2,
        epochs=4,
        early_stopping=1,
        learning_rate=0.5,
        baselines=False,
        keep_models=False,
    )
    run = train(store, tmp_path / "run", config)
    chosen = _chosen_epochs(run.history)
    assert len(pd.read_csv(run.path / "final" / "history.csv")) == chosen
    assert (
        f"{chosen} epochs (the median of what the folds' validation chose)" in (run.path / "final/card.md").read_text()
    )
    assert run.model.count_params() == run.shape.parameters


def test_phase_5_takes_the_flow_that_the_store_has(store: Path, tmp_path: Path):
    whole = fastck.open_store(store)
    config = TrainConfig(phase=5, model="linear", classes="anger,disgust,happy,surprise")
    assert make_samples(whole, config).config.feature == "flow"
    copy = shutil.copytree(store, tmp_path / "store")
    settings = {**whole.manifest["config"], "features": ["flow_projection"]}
    (copy / "manifest.json").write_text(json.dumps({**whole.manifest, "config": settings}))
    other = fastck.open_store(copy)
    samples = make_samples(other, config)
    assert (samples.config.feature, samples.config.size) == ("flow_projection", 64)
    with pytest.raises(ValueError, match=r"phase 5 reads the feature 'flow'"):
        make_samples(other, replace(config, size=28))
