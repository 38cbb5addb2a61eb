"""A grid of settings, a run for each, and in each fold the setting that its validating people are best served by."""

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from fastck.training.files import PREDICTIONS, RECORD, write_json, write_run_table, write_text
from fastck.training.report.evaluation import evaluate
from fastck.training.report.wording import METRICS, interval_text
from fastck.training.run import Run
from fastck.training.settings.config import TrainConfig, read_settings

CHOICES, SWEEP, SWEEP_TEXT = "choices.csv", "sweep.json", "sweep.txt"
# They decide who is trained, validates and is tested: runs that differ in them cannot be chosen among.
FIXED = (
    "classes",
    "merge",
    "neutral",
    "neutral_steps",
    "protocol",
    "folds",
    "repeats",
    "seed",
    "test_size",
    "validation_size",
)


def read_grid(path: Path, settings: Mapping[str, Any]) -> dict[str, TrainConfig]:
    """Return the settings of each run of a grid, by the run's name.

    Parameters
    ----------
    path : Path
        TOML file of settings, of which those to be tried have a list of values: ``filters = [8, 16]``.
    settings : mapping
        Settings of all runs; the file's win over them.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If nothing is to be tried, or something that decides who is tested.
    """
    values = read_settings(path)
    grid = {name: entry for name, entry in values.items() if isinstance(entry, list) and name not in FIXED}
    if not grid or not all(grid.values()):
        raise ValueError(f"{path} tries nothing: give a setting a list of values, such as filters = [8, 16]")
    same = {name: entry for name, entry in values.items() if name not in grid}
    configs = {}
    for tried in itertools.product(*grid.values()):
        chosen = dict(zip(grid, tried, strict=True))
        name = ",".join(f"{setting}-{value}" for setting, value in chosen.items())
        configs[name] = TrainConfig.from_dict({**settings, **same, **chosen})
    first = next(iter(configs.values()))
    if first.protocol == "random":
        raise ValueError("under the protocol random the tested people validate, too: choose another one for a sweep")
    if any(config.classes != first.classes or config.class_names != first.class_names for config in configs.values()):
        raise ValueError(f"{path} tries phases of other classes: give classes")
    return configs


def sweep(
    configs: Mapping[str, TrainConfig], folder: Path, train_one: Callable[[Path, TrainConfig, bool], Run]
) -> dict[str, Any]:
    """Train a run for each setting into a folder of its own, and choose among them in each fold.

    The choice goes by the accuracy of the fold's validating sequences, then by their loss: the tested people have no
    part in it, so that the scores of what was chosen are not too good. A store's rows are memory-mapped: whichever
    run is first reads them from the disk.

    Parameters
    ----------
    configs : mapping of str to TrainConfig
        Settings of each run, by name.
    folder : Path
        Gets the runs' folders, choices.csv, predictions.csv of what was chosen, sweep.json and sweep.txt.
    train_one : callable
        Trains a run: given its folder, its settings and whether it was begun before.

    Returns
    -------
    summary : dict
        What sweep.json holds.

    Raises
    ------
    ValueError
        If a fold has no validating sequences, or the runs tested different ones.
    """
    runs = {}
    for name, config in configs.items():
        path = folder / name
        runs[name] = train_one(path, config, (path / RECORD).exists())
    choices = choose(runs)
    parts = [
        runs[name].predictions.query("repeat == @repeat and fold == @fold")
        for repeat, fold, name, *_ in choices.to_numpy().tolist()
    ]
    predictions = pd.concat(parts, ignore_index=True)
    summary = {
        "runs": {name: run.report["evaluation"] for name, run in runs.items()},
        "chosen": choices["run"].value_counts().to_dict(),
        "evaluation": evaluate(predictions, classes=next(iter(runs.values())).classes),
    }
    write_run_table(folder / CHOICES, choices)
    write_run_table(folder / PREDICTIONS, predictions)
    write_json(folder / SWEEP, summary)
    write_text(folder / SWEEP_TEXT, sweep_text(summary, choices))
    return summary


def choose(runs: Mapping[str, Run]) -> pd.DataFrame:
    """Return which run each fold's validating people choose: repeat, fold, run, val_accuracy, val_loss.

    Raises
    ------
    ValueError
        If a fold has no validating sequences, or the runs tested different ones.
    """
    tested = {name: set(map(tuple, _tested(run))) for name, run in runs.items()}
    first, *others = tested
    for name in others:
        if tested[name] != tested[first]:
            raise ValueError(f"{name} tested other sequences than {first}: a sweep must leave the folds as they are")
    scores = pd.concat([_validation(run).assign(run=name) for name, run in runs.items()], ignore_index=True)
    without = scores[scores["val_loss"].isna()]
    if len(without):
        raise ValueError(f"fold {without.iloc[0]['fold'] + 1} has no validating sequences to choose by")
    # The order of the grid decides where both are alike.
    best = scores.sort_values(["val_accuracy", "val_loss"], ascending=[False, True], kind="stable")
    chosen = best.drop_duplicates(["repeat", "fold"]).sort_values(["repeat", "fold"])
    return chosen[["repeat", "fold", "run", "val_accuracy", "val_loss"]].reset_index(drop=True)


def _tested(run: Run) -> Any:
    return run.predictions[["repeat", "fold", "sequence"]].to_numpy()


def _validation(run: Run) -> pd.DataFrame:
    """Each fold's validation scores of the weights that were kept: the best epoch's, or the last one's."""
    history = run.history
    if run.settings.early_stopping is not None and run.settings.model != "linear":
        history = history.sort_values(["val_loss", "epoch"], ascending=[False, False], kind="stable")
    return history.drop_duplicates(["repeat", "fold"], keep="last")


def sweep_text(summary: Mapping[str, Any], choices: pd.DataFrame) -> str:
    """Return a sweep as text for a terminal."""
    width = max(len("chosen in each fold"), *map(len, summary["runs"])) + 2
    lines = [f"{'setting':<{width}}" + "".join(f"{text:<26}" for text in METRICS.values()) + "chosen"]
    for name, evaluation in summary["runs"].items():
        lines.append(_line(name, evaluation, width) + f"{summary['chosen'].get(name, 0)} of {len(choices)} folds")
    lines += [_line("chosen in each fold", summary["evaluation"], width), ""]
    lines += ["Only the last line is a fair score: the best of several settings is partly luck.", ""]
    for repeat, fold, name, accuracy, _ in choices.to_numpy().tolist():
        lines.append(f"repeat {repeat + 1}, fold {fold + 1}: {name} (validating: {accuracy:.3f} right)")
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _line(name: str, evaluation: Mapping[str, Any], width: int) -> str:
    return f"{name:<{width}}" + "".join(f"{interval_text(evaluation[key]):<26}" for key in METRICS)
