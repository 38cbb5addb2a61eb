"""A trained network on a new clip: the run's own preprocessing, windows, probabilities."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fastck.batches.padding import as_frames, pad_sequence
from fastck.config import PreprocessConfig
from fastck.dataset.records import SequenceRecord
from fastck.messages import one_line
from fastck.pipeline.sequence import process_record
from fastck.training.models.linear import LinearModel
from fastck.training.run import Run
from fastck.training.settings.config import PHASES, probability_columns


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a network says about a clip.

    Attributes
    ----------
    clip : str
        The clip's name.
    source : str
        What it was asked for by: a path, and below a data set's folder the sequence's name.
    table : DataFrame
        One row per window: window, first_frame and last_frame (counted from 0, both inside), predicted (the most likely
        class's name), emotion (the same, None for unsure), and a probability per class ("p_anger", ...).
    n_frames, n_missed : int
        Frames of the clip, and searched frames without a face.
    model : Path
        The file that was used.
    notes : tuple of str
        What differs from the run's preprocessing; usually empty.
    strongest : int or None
        The window that answers for the clip; None for the mean over all of them.
    unsure_below : float
        A highest probability below it is no answer.
    trained_on : str
        What has to be said under every answer; empty for a run of one's own.
    """

    clip: str
    source: str
    table: pd.DataFrame
    n_frames: int
    n_missed: int
    model: Path
    notes: tuple[str, ...] = ()
    strongest: int | None = None
    unsure_below: float = 0.0
    trained_on: str = ""

    @property
    def probabilities(self) -> dict[str, float]:
        """Probability of each class: of the window that answers for the clip, or the mean over the windows."""
        columns = [name for name in self.table.columns if name.startswith("p_")]
        rows = self.table if self.strongest is None else self.table.iloc[[self.strongest]]
        return {name.removeprefix("p_"): float(rows[name].mean()) for name in columns}

    @property
    def emotion(self) -> str | None:
        """The most likely emotion, None for unsure."""
        values = self.probabilities
        best = max(values, key=values.__getitem__)
        return best if values[best] >= self.unsure_below else None

    @property
    def frames(self) -> tuple[int, int]:
        """First and last frame of the window that answers for the clip, or of all windows; counted from 0."""
        rows = self.table if self.strongest is None else self.table.iloc[[self.strongest]]
        return int(rows["first_frame"].min()), int(rows["last_frame"].max())

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "input": self.source,
            "emotion": self.emotion,
            "clip": self.clip,
            "model": "bundled" if self.trained_on else str(self.model),
            "n_frames": self.n_frames,
            "n_missed": self.n_missed,
            "notes": [*self.notes, *([self.trained_on] if self.trained_on else [])],
            "probabilities": self.probabilities,
            "windows": json.loads(self.table.to_json(orient="records", double_precision=15)),
        }


def predict_record(opened: Run, record: SequenceRecord, *, source: str = "", stride: int | None = None) -> Prediction:
    """Predict the emotion of a sequence that is listed already, with a run that is open.

    The sequence goes through the same preprocessing as the run's store.

    Parameters
    ----------
    opened : Run
    record : SequenceRecord
    source : str
        What the user named the clip by; the sequence's name by default.
    stride : int, optional
        As for `fastck.predict`.

    Raises
    ------
    ValueError
        If the run has no network or more than one, the clip holds no face or too few frames, or the network's answer is
        no number.
    """
    model, settings = opened.model_path, opened.record
    config, notes = _preprocessing(settings)
    result = process_record(record, config)
    feature, timesteps = settings["feature"], settings["arguments"]["timesteps"]
    frames, padding = as_frames(result.features[feature], feature), PHASES[settings["arguments"]["phase"]].padding
    starts = window_starts(
        len(frames), timesteps, stride=stride, from_start=settings["arguments"]["too_long"] == "first"
    )
    windows = [frames[start : start + timesteps] for start in starts]
    values = np.stack([pad_sequence(window, timesteps=timesteps, padding=padding) for window in windows])
    values = values.astype(np.float32, copy=False)
    network = opened.model
    # One window at a time: memory as in the smallest training batch, whatever the clip's length.
    options = {} if isinstance(network, LinearModel) else {"batch_size": 1, "verbose": 0}
    probabilities = np.asarray(network.predict(values, **options))
    if not np.isfinite(probabilities).all():
        raise ValueError(f"{one_line(model)} gives no finite probabilities: its weights are damaged, train it again")
    table = _table(probabilities, starts, np.minimum(len(frames), starts + timesteps), settings["classes"])
    return Prediction(
        clip=record.sequence,
        source=source or record.sequence,
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


def _table(probabilities: np.ndarray, starts: np.ndarray, ends: np.ndarray, classes: list[str]) -> pd.DataFrame:
    names = [classes[index] for index in probabilities.argmax(axis=1)]
    table = pd.DataFrame(
        {
            "window": np.arange(len(starts)),
            "first_frame": starts,
            "last_frame": ends,  # row t is the difference of frames t and t + 1
            "predicted": names,
            "emotion": names,
        }
    )
    return pd.concat([table, pd.DataFrame(probabilities, columns=probability_columns(classes))], axis=1)
