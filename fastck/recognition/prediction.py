"""A trained network on a new clip: the run's own preprocessing, windows, probabilities."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fastck.batches.padding import as_frames, pad_sequence
from fastck.config import PreprocessConfig
from fastck.faces.box import FaceBox
from fastck.messages import one_line
from fastck.pages import notebook_html
from fastck.pipeline.sequence import collect_features
from fastck.recognition.footage import Footage
from fastck.recognition.frame_columns import NO_COLUMNS, FrameColumns, Rows, columns_of_boxes
from fastck.recognition.windows import Window
from fastck.training.models.linear import LinearModel
from fastck.training.run import Run
from fastck.training.settings.config import PHASES, probability_columns

if TYPE_CHECKING:
    import pandas as pd

UNSURE = "unsure"
CURVES = (360, 90)  # pixels: the picture in a notebook


@dataclass(frozen=True, kw_only=True, repr=False)
class Prediction:
    """What a network says about a person in a clip.

    Attributes
    ----------
    clip : str
        The clip's name.
    source : str
        What it was asked for by: a path, and below a data set's folder the sequence's name.
    windows : tuple of Window
        The clip's windows and what is said about each; empty for a photo by itself.
    n_frames, n_missed : int
        Frames of the clip, and searched frames without a face.
    model : Path
        The file that was used.
    rows : dict of str to ndarray
        The columns of `frames`, without the input.
    person : int
        1 for the person whose face is the largest, added up over the clip's frames.
    others : tuple of Prediction
        Of the other people, the larger faces first; empty for them.
    notes : tuple of str
        What has to be known about the answer; usually empty.
    strongest : int or None
        The window that answers for the clip; None for the mean over all of them.
    unsure_below : float
        A highest probability below it is no answer.
    trained_on : str
        What has to be said under every answer; empty for a run of one's own.
    error : str
        Why there is no answer, where one of several clips has none; else empty.
    """

    clip: str
    source: str
    windows: tuple[Window, ...]
    n_frames: int
    n_missed: int
    model: Path
    rows: Rows = field(default_factory=dict)
    person: int = 1
    others: tuple["Prediction", ...] = ()
    notes: tuple[str, ...] = ()
    strongest: int | None = None
    unsure_below: float = 0.0
    trained_on: str = ""
    error: str = ""

    @property
    def people(self) -> tuple["Prediction", ...]:
        """The answers for all people, this one first."""
        return (self, *self.others)

    @cached_property
    def table(self) -> "pd.DataFrame":
        """One row per window.

        The columns are window, first_frame and last_frame (counted from 1, both inside), predicted (the most likely
        class's name), emotion (the same, None for unsure), and a probability per class ("p_anger", ...).
        """
        import pandas as pd

        return pd.DataFrame(self._window_rows(), columns=self._window_columns())

    def _window_columns(self) -> list[str]:
        classes = [name for name in self.rows if name.startswith("p_")]
        return ["window", "first_frame", "last_frame", "predicted", "emotion", *classes]

    def _window_rows(self) -> list[dict[str, Any]]:
        """Return each window as a row of `table`."""
        return [
            {
                "window": number,
                "first_frame": window.first_frame,
                "last_frame": window.last_frame,
                "predicted": window.predicted,
                "emotion": window.emotion,
                **dict(
                    zip(probability_columns(list(window.probabilities)), window.probabilities.values(), strict=True)
                ),
            }
            for number, window in enumerate(self.windows)
        ]

    @property
    def _answering(self) -> tuple[Window, ...]:
        """The windows that answer for the clip."""
        return self.windows if self.strongest is None else (self.windows[self.strongest],)

    @property
    def probabilities(self) -> dict[str, float]:
        """Probability of each class: of the window that answers for the clip, or the mean over the windows.

        Empty where there is no window: of a photo, or where there is an error.
        """
        if not self.windows:
            return {}
        told = [window.probabilities for window in self._answering]
        return {name: float(np.mean([one[name] for one in told])) for name in told[0]}

    @property
    def emotion(self) -> str | None:
        """The most likely emotion, None for unsure or where there is no window."""
        values = self.probabilities
        if not values:
            return None
        best = max(values, key=values.__getitem__)
        return best if values[best] >= self.unsure_below else None

    @property
    def span(self) -> tuple[int, int]:
        """First and last frame of the window that answers for the clip, or of all windows; counted from 1.

        Where there is no window it is the whole clip.
        """
        if not self.windows:
            return 1, self.n_frames
        answering = self._answering
        return min(window.first_frame for window in answering), max(window.last_frame for window in answering)

    @property
    def box(self) -> FaceBox | None:
        """Where the face is in the last frame of `span`; None where that is not known."""
        if not self.rows:
            return None
        (rows,) = np.nonzero((self.rows["person"] == self.person) & (self.rows["frame"] == self.span[1]))
        return FaceBox(*(int(self.rows[name][rows[0]]) for name in FaceBox._fields)) if len(rows) else None

    @property
    def frames(self) -> "pd.DataFrame":
        """What is known of each frame and face of the clip, everybody's, one row each.

        The columns are input, frame (counted from 1), seconds, person, top, left, bottom, right, score, motion, and a
        probability per class ("p_anger", ...) of the window that ends in the frame; then landmark_confidence, pose_yaw,
        pose_pitch, pose_roll, x_0, y_0 to x_67, y_67, and AU01 to AU45 where they were asked for. The documentation
        says more.
        """
        import pandas as pd

        table = pd.DataFrame(self.rows)
        table.insert(0, "input", _source_column(self.source, len(table)))
        return table

    def to_frame(self) -> "pd.DataFrame":
        """Return the answers for all people as one table, a row per person and window.

        The columns are input, person, window, first_frame, last_frame, emotion ("unsure" where it is), a probability
        per class ("p_anger", ...), and note.
        """
        import pandas as pd

        parts = []
        for one in self.people:
            # Who has no window has a row all the same.
            part = one.table.fillna({"emotion": UNSURE}) if len(one.table) else one.table.reindex([0])
            part = part.drop(columns="predicted", errors="ignore")
            part.insert(0, "input", _source_column(self.source, len(part)))
            part.insert(1, "person", one.person)
            parts.append(
                part.assign(
                    note="; ".join(filter(None, [*one.notes, one.trained_on, one.error and f"error: {one.error}"]))
                )
            )
        return pd.concat(parts, ignore_index=True)

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values, without those of other people."""
        if self.error:
            return {"input": self.source, "emotion": None, "error": self.error}
        return {
            "input": self.source,
            "person": self.person,
            "emotion": self.emotion or (UNSURE if self.windows else None),
            "box": self.box and self.box._asdict(),
            "clip": self.clip,
            "model": "bundled" if self.trained_on else str(self.model),
            "n_frames": self.n_frames,
            "n_missed": self.n_missed,
            "notes": [*self.notes, *([self.trained_on] if self.trained_on else [])],
            "probabilities": self.probabilities,
            "windows": [{**row, "emotion": row["emotion"] or UNSURE} for row in self._window_rows()],
        }

    def __repr__(self) -> str:
        what = self.error or "no motion"
        if values := self.probabilities:
            first, last = self.span
            what = f"{self.emotion or UNSURE} {100 * max(values.values()):.0f} %, frames {first}-{last}/{self.n_frames}"
        people = f", and {len(self.others)} others" if self.others else ""
        return f"<Prediction {one_line(self.clip)}: {what}{people}>"

    def _repr_html_(self) -> str:
        rows = {}
        for one in self.people:
            values = one.probabilities
            best = sorted(values, key=values.__getitem__, reverse=True)[:3]
            shares = ", ".join(f"{name} {100 * values[name]:.0f} %" for name in best)
            answer = f"{one.emotion or UNSURE} ({shares}), frames {one.span[0]} to {one.span[1]}"
            rows[f"person {one.person}"] = answer if values else one.error or "one picture has no motion"
        if self.trained_on:
            rows["note"] = self.trained_on
        if not self.probabilities:
            return notebook_html(self.clip, rows)
        caption = "probability of the answer over the frames"
        return notebook_html(self.clip, rows, picture=_curves(self), caption=caption)


def _curves(prediction: Prediction) -> bytes:
    """Return the probability of each person's emotion over the frames as a PNG picture, the first person black."""
    picture = np.full((CURVES[1], CURVES[0], 3), 255, np.uint8)
    for one in prediction.people:
        own = one.rows["person"] == one.person
        values = one.probabilities
        shares = one.rows["p_" + max(values, key=values.__getitem__)][own].astype(np.float64)
        x = (one.rows["frame"][own].astype(np.float64) - 1) / max(one.n_frames - 1, 1)
        points = np.stack([x, 1 - shares], axis=1)[np.isfinite(shares)] * (np.array(CURVES) - 5) + 2
        shade = min(60 * (one.person - 1), 180)
        cv2.polylines(picture, [np.round(points).astype(np.int32)], False, (shade,) * 3, 2, cv2.LINE_AA)
    return cv2.imencode(".png", picture)[1].tobytes()


def unanswered(source: str, error: str) -> Prediction:
    """Return what stands in the place of an answer, with the reason why there is none."""
    return Prediction(clip=source, source=source, windows=(), n_frames=0, n_missed=0, model=Path(), error=error)


def _source_column(source: str, length: int) -> "pd.Series":
    import pandas as pd

    # Strings of Arrow refuse a path that is not UTF-8.
    return pd.Series([source] * length, dtype=object)


def predict_footage(
    opened: Run, footage: Footage, *, stride: int | None = None, columns: FrameColumns = NO_COLUMNS
) -> Prediction:
    """Predict the emotion of a clip with a run that is open.

    The clip goes through the same preprocessing as the run's store.

    Parameters
    ----------
    opened : Run
    footage : Footage
    stride : int, optional
        As for `fastck.predict`.
    columns : FrameColumns
        What `Prediction.frames` has besides; the frames are read once more for it, when their boxes are known.

    Raises
    ------
    ValueError
        If the run has no network or more than one, the clip holds no face or too few frames, or the network's answer is
        no number.
    """
    model, settings = opened.model_path, opened.record
    config, notes = _preprocessing(settings)
    result = collect_features(footage.open, footage.n_frames, config)
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
    ends = np.minimum(len(frames), starts + timesteps)
    rows = _rows(result.boxes, footage.seconds(len(frames) + 1), ends, probabilities, settings["classes"])
    rows |= columns_of_boxes(result.boxes, footage.open(), rows["person"], columns)
    return Prediction(
        clip=footage.name,
        source=footage.source,
        windows=_windows(probabilities, starts, ends, settings["classes"]),
        n_frames=len(frames) + 1,
        n_missed=result.n_missed,
        model=model,
        rows=rows,
        notes=notes,
    )


def _rows(
    boxes: Sequence[FaceBox],
    seconds: NDArray[np.float64],
    ends: NDArray[np.intp],
    probabilities: NDArray[np.float32],
    classes: Sequence[str],
) -> Rows:
    """Return the columns of `Prediction.frames`: the box of each frame's crop, probabilities where a window ends."""
    n_frames = len(boxes)
    edges = np.array(boxes, np.int32).reshape(-1, 4)
    shares = np.full((n_frames, len(classes)), np.nan, np.float32)
    shares[ends] = probabilities
    unknown = np.full(n_frames, np.nan, np.float32)
    return {
        "frame": np.arange(1, n_frames + 1, dtype=np.int32),
        "seconds": seconds,
        "person": np.ones(n_frames, np.int16),
        **{name: edges[:, column] for column, name in enumerate(FaceBox._fields)},
        "score": unknown,
        "motion": unknown,
        **{name: shares[:, column] for column, name in enumerate(probability_columns(classes))},
    }


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


def _windows(
    probabilities: NDArray[np.float32], starts: NDArray[np.intp], ends: NDArray[np.intp], classes: Sequence[str]
) -> tuple[Window, ...]:
    names = [classes[index] for index in probabilities.argmax(axis=1)]
    return tuple(
        Window(
            first_frame=int(start) + 1,
            # Row t is the difference of frames t and t + 1.
            last_frame=int(end) + 1,
            predicted=name,
            emotion=name,
            probabilities=dict(zip(classes, shares.tolist(), strict=True)),
        )
        for start, end, name, shares in zip(starts, ends, names, probabilities, strict=True)
    )
