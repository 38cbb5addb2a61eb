"""A trained network on a new clip: the run's own preprocessing, windows, probabilities."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fastck.config import PreprocessConfig
from fastck.dataset.clip import clip_record
from fastck.dataset.labels import EMOTIONS
from fastck.pipeline.sequence import process_record
from fastck.store.frames import as_frames, padded
from fastck.training.config import PHASES, probability_columns
from fastck.training.linear import LinearModel
from fastck.training.run import open_run, write_json


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a network says about a clip.

    Attributes
    ----------
    clip : str
        The clip's name.
    table : DataFrame
        One row per window: window, first_frame and last_frame (counted from 0, both inside), predicted (emotion code),
        emotion (its name), and a probability per class ("p_anger", ...).
    n_frames, n_missed : int
        Frames of the clip, and searched frames without a face.
    model : Path
        The file that was used.
    notes : tuple of str
        What differs from the run's preprocessing; usually empty.
    """

    clip: str
    table: pd.DataFrame
    n_frames: int
    n_missed: int
    model: Path
    notes: tuple[str, ...] = ()

    @property
    def probabilities(self) -> dict[str, float]:
        """Mean probability of each emotion over the windows."""
        columns = [name for name in self.table.columns if name.startswith("p_")]
        return {name.removeprefix("p_"): float(self.table[name].mean()) for name in columns}

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "clip": self.clip,
            "model": str(self.model),
            "n_frames": self.n_frames,
            "n_missed": self.n_missed,
            "notes": list(self.notes),
            "probabilities": self.probabilities,
            "windows": json.loads(self.table.to_json(orient="records", double_precision=15)),
        }


def predict(run: str | Path, clip: str | Path, *, stride: int | None = None) -> Prediction:
    """Predict the emotion of a clip with a run's network, after the same preprocessing as the run's store.

    Parameters
    ----------
    run : path-like
        A training run's folder, or the folder of one of its folds.
    clip : path-like
        A folder of frames or a video file.
    stride : int, optional
        Frames between the windows of a clip that is longer than the network's `timesteps`; by default windows do not
        overlap, apart from the earliest one. The last window ends with the clip (the first one starts with it in a
        run that kept the first frames of long sequences), as the network was trained.

    Returns
    -------
    prediction : Prediction

    Raises
    ------
    ValueError
        If the run has no network or more than one, or the clip holds no face or too few frames.
    OSError
        If a file cannot be read.
    """
    if stride is not None and stride < 1:
        raise ValueError(f"stride must be at least 1 frame, got {stride}")
    opened = open_run(run)
    model, settings = opened.model_path, opened.record
    record = clip_record(clip)
    config, notes = _preprocessing(settings)
    result = process_record(record, config)
    feature, timesteps = settings["feature"], settings["arguments"]["timesteps"]
    frames, padding = as_frames(result.features[feature], feature), PHASES[settings["arguments"]["phase"]].padding
    starts = window_starts(
        len(frames), timesteps, stride=stride, from_start=settings["arguments"]["too_long"] == "first"
    )
    values = np.stack([padded(frames[start : start + timesteps], timesteps, padding) for start in starts])
    network = opened.model
    # One window at a time: memory as in the smallest training batch, whatever the clip's length.
    options = {} if isinstance(network, LinearModel) else {"batch_size": 1, "verbose": 0}
    probabilities = np.asarray(network.predict(values, **options))
    table = _table(probabilities, starts, np.minimum(len(frames), starts + timesteps), settings["classes"])
    return Prediction(
        clip=record.sequence,
        table=table,
        n_frames=len(frames) + 1,
        n_missed=result.n_missed,
        model=model,
        notes=notes,
    )


def _preprocessing(settings: dict[str, Any]) -> tuple[PreprocessConfig, tuple[str, ...]]:
    """The store's preprocessing, only for the feature that is needed."""
    config = replace(PreprocessConfig.from_dict(settings["store"]["config"]), features=(settings["feature"],))
    if not config.faces.boxes:
        return config, ()
    note = "the run's store used a file of face boxes; here faces are detected"
    return replace(config, faces=replace(config.faces, boxes="")), (note,)


def window_starts(length: int, timesteps: int, *, stride: int | None = None, from_start: bool = False) -> np.ndarray:
    """First rows of the windows that cover `length` rows: full ones, apart from a sequence shorter than one.

    Parameters
    ----------
    length, timesteps : int
        Steps of the sequence, and of a window.
    stride : int, optional
        Rows between windows; `timesteps` by default.
    from_start : bool
        Lay the windows out from the first row; otherwise from the last one.

    Returns
    -------
    starts : ndarray of int, increasing
    """
    last = max(0, length - timesteps)
    offsets = np.unique(np.append(np.arange(0, last, stride or timesteps), last))
    return offsets if from_start else last - offsets[::-1]


def _table(probabilities: np.ndarray, starts: np.ndarray, ends: np.ndarray, classes: list[int]) -> pd.DataFrame:
    codes = np.asarray(classes)[probabilities.argmax(axis=1)]
    table = pd.DataFrame(
        {
            "window": np.arange(len(starts)),
            "first_frame": starts,
            "last_frame": ends,  # row t is the difference of frames t and t + 1
            "predicted": codes,
            "emotion": [EMOTIONS[code] for code in codes],
        }
    )
    return pd.concat([table, pd.DataFrame(probabilities, columns=probability_columns(classes))], axis=1)


def write_prediction(prediction: Prediction, path: str | Path) -> None:
    """Write a prediction as a JSON file."""
    write_json(Path(path), prediction.as_dict())


def plot_prediction(prediction: Prediction, path: str | Path) -> None:
    """Draw the probabilities as a PNG file: bars for one window, a line per emotion over several."""
    from fastck.training.plots import new_figure, save_figure

    figure, axes = new_figure(7, 4)
    table = prediction.table
    if len(table) == 1:
        axes.barh(list(prediction.probabilities), list(prediction.probabilities.values()))
        axes.set_xlim(0, 1)
        axes.invert_yaxis()
        axes.set_xlabel("probability")
    else:
        middle = (table["first_frame"] + table["last_frame"]) / 2
        for name in prediction.probabilities:
            axes.plot(middle, table[f"p_{name}"], marker="o", label=name)
        axes.set_ylim(0, 1)
        axes.set_xlabel("frame (middle of the window)")
        axes.set_ylabel("probability")
        axes.legend()
    axes.set_title(f"{prediction.clip}: {max(prediction.probabilities, key=prediction.probabilities.__getitem__)}")
    save_figure(figure, Path(path))
