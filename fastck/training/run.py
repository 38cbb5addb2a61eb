"""A training run on disk, and how a finished one is read."""

from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastck.config import PreprocessConfig
from fastck.messages import one_line
from fastck.ops.motion import feature_shape
from fastck.pages import notebook_html
from fastck.training.files import (
    BASELINES,
    CONFUSION_PICTURE,
    FINAL,
    FIT,
    FOLDS,
    FORMAT,
    HISTORY,
    LINEAR_MODEL,
    MODEL,
    PREDICTIONS,
    RECORD,
    REPORT,
    read_json,
    read_run_table,
)
from fastck.training.models.linear import LinearModel, load_linear
from fastck.training.models.startup import start_keras
from fastck.training.settings.config import TrainConfig
from fastck.training.settings.shape import NetworkShape

if TYPE_CHECKING:
    import keras
    import pandas as pd

# What every run.json holds: a kind, a list of one kind, or an object with these parts at least.
_STORE = {"name": str, "path": str, "config": dict}
_PARTS: dict[str, Any] = {
    "arguments": dict,
    "status": str,
    "classes": [str],
    "store": _STORE,
    "splits": [{"repeat": int, "fold": int, "train": [str], "validation": [str], "test": [str]}],
}
# What a finished one holds as well.
_FINISHED: dict[str, Any] = {
    "feature": str,
    "stores": [_STORE],
    "notes": [str],
    "leakage": float,
    "versions": dict,
    "fits": [{"repeat": int, "fold": int, "epochs": int, "optimizer_steps": int, "temperature": float | None}],
}
_JSON: dict[Any, str] = {dict: "an object", str: "text", list: "a list", int: "a whole number", float: "a number"}
_JSON[float | None] = "a number or null"


@dataclass(frozen=True, repr=False)
class Run:
    """A finished training run, as `fastck train` leaves it.

    Attributes
    ----------
    path : Path
        The run's folder.
    record : dict
        What run.json holds: settings, splits, store, versions, memory plan, and each fit's epochs and time.
    fold : Path or None
        The fold whose model `model` is; None for the model that was fitted on all sequences, or, where there is none,
        that of a single fold.
    """

    path: Path
    record: dict[str, Any]
    fold: Path | None = None

    def __repr__(self) -> str:
        return f"<Run {one_line(self.path)}: {', '.join(map(str, self._facts().values()))}>"

    def _facts(self) -> dict[str, object]:
        """Return what the run is in a few words."""
        settings = self.record["arguments"]
        facts = {name: settings[name] for name in ("model", "feature", "protocol") if name in settings}
        return {**facts, "classes": f"{len(self.classes)} classes", "status": self.record["status"]}

    def _repr_html_(self) -> str:
        rows = {"path": self.path, **self._facts(), "classes": ", ".join(self.classes)}
        picture = self.path / CONFUSION_PICTURE
        content = picture.read_bytes() if picture.exists() else b""
        return notebook_html(
            f"Run {self.path.name}", rows, picture=content, caption="confusion matrix of the test part"
        )

    @cached_property
    def settings(self) -> TrainConfig:
        """The settings it was trained with."""
        return TrainConfig.from_dict(self.record["arguments"])

    @property
    def shape(self) -> NetworkShape:
        """The dimensions of its model, by its settings and the store's."""
        side = PreprocessConfig.from_dict(self.record["store"]["config"]).faces.side
        return self.settings.network_shape(feature_shape(self.settings.feature, side))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in class order."""
        return tuple(self.record["classes"])

    @cached_property
    def predictions(self) -> "pd.DataFrame":
        """One row per test sequence of each fold and repeat: repeat, fold, sequence, subject, true, predicted, p_..."""
        return read_run_table(self.path / PREDICTIONS)

    @cached_property
    def history(self) -> "pd.DataFrame":
        """One row per epoch: repeat, fold, epoch, accuracy, loss, val_accuracy, val_loss."""
        return read_run_table(self.path / HISTORY)

    @cached_property
    def baselines(self) -> "pd.DataFrame | None":
        """What baselines predict: baseline, repeat, fold, sequence, subject, true, predicted; None without any."""
        path = self.path / BASELINES
        return read_run_table(path) if path.exists() else None

    @cached_property
    def report(self) -> dict[str, Any]:
        """What report.json holds: accuracy and its interval, per-class table, baselines, leakage, ..."""
        return read_json(self.path / REPORT)

    @property
    def model_path(self) -> Path:
        """The file of the run's model.

        Raises
        ------
        ValueError
            If the run has no model, or one per fold and none was named.
        """
        name = LINEAR_MODEL if self.record["arguments"].get("model") == "linear" else MODEL
        for folder in [self.fold] if self.fold else [self.path / FINAL, self.path]:
            if (folder / name).exists():
                return folder / name
        folds = sorted(path.parent for path in (self.path / FOLDS).glob(f"*/{name}"))
        if folds and self.fold is None:
            raise ValueError(f"{self.path} holds {len(folds)} models, one per fold: name one, such as {folds[0]}")
        raise ValueError(f"{self.fold or self.path} holds no model: it was trained with keep_models off")

    @cached_property
    def model(self) -> "keras.Model | LinearModel":
        """The trained model, loaded without running any code that its file might hold."""
        path = self.model_path
        if path.name == LINEAR_MODEL:
            try:
                return load_linear(path, shape=self.shape).in_order(self.classes)
            except ValueError as error:
                raise ValueError(f"{self.path}: {error}") from error
        start_keras()
        from fastck.training.models.network import load_network

        return load_network(path, shape=self.shape)


def open_run(path: str | PathLike[str]) -> Run:
    """Open a finished training run.

    Parameters
    ----------
    path : path-like
        A folder that `fastck train` wrote: `model` is the one that was fitted on all sequences. Or the folder of one of
        its folds: then it is that fold's.

    Returns
    -------
    run : Run

    Raises
    ------
    ValueError
        If the folder is not a run, or the run was not finished.
    """
    path = Path(path)
    fold = path if (path / FIT).exists() and not (path / RECORD).exists() else None
    root = path
    if fold:
        # A fold's folder lies two levels below its run's, that of the final model one.
        root = path.resolve().parent if path.resolve().name == FINAL else path.parent.parent
    record = read_record(root)
    if record["status"] != "finished":
        raise ValueError(f"{root} was not finished: go on with fastck train ... --resume")
    return Run(root, record, fold)


def read_record(path: Path) -> dict[str, Any]:
    """Return the values of a run's run.json, be the run finished or not.

    Raises
    ------
    ValueError
        If there is none, it was not written by fastck, or by another version whose format differs.
    """
    file = path / RECORD
    try:
        record = read_json(file)
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(f"{path} is not a training run: it has no {RECORD}") from None
    if not set(_PARTS) <= set(record):
        raise ValueError(f"{file} was not written by fastck")
    version = record.get("format")
    if version != FORMAT:
        older = isinstance(version, int) and version < FORMAT
        what = "train again into another folder: its classes were codes, not names" if older else "update fastck"
        raise ValueError(f"{file} has format {version}, this fastck reads format {FORMAT}: {what}")
    try:
        finished = record["status"] == "finished"
        _check_part(record, _PARTS | (_FINISHED if finished else {}), "it")
        if finished and len(record["fits"]) != len(record["splits"]):
            raise ValueError(
                f"fits must be one for each of the {len(record['splits'])} splits, got {len(record['fits'])}"
            )
    except ValueError as error:
        raise ValueError(f"{file} is damaged: {error}") from None
    return record


def _check_part(value: object, kind: Any, name: str) -> None:
    """Raise ValueError where a part of a record is of another kind."""
    outer = type(kind) if isinstance(kind, dict | list) else kind
    # A whole number is a number, too; a truth value is neither.
    if isinstance(value, bool) or not isinstance(value, (int | outer) if outer in (float, float | None) else outer):
        raise ValueError(f"{name} must be {_JSON[outer]}, got {one_line(value)[:60]}")
    if isinstance(kind, dict) and isinstance(value, dict):
        for key, part in kind.items():
            if key not in value:
                raise ValueError(f"{name} lacks {key}")
            _check_part(value[key], part, key if name == "it" else f"{name}.{key}")
    elif isinstance(kind, list) and isinstance(value, list):
        for number, entry in enumerate(value):
            _check_part(entry, kind[0], f"{name}[{number}]")
