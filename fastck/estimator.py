"""A scikit-learn transformer from face sequences to motion features."""

from collections.abc import Iterable
from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Literal

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags

from fastck.batches.padding import pad_sequence
from fastck.config import (
    TIMESTEPS,
    FaceConfig,
    Mode,
    MotionConfig,
    PreprocessConfig,
    Preset,
    check_choice,
    preset_faces,
)
from fastck.dataset.clip import clip_record
from fastck.dataset.records import SequenceRecord
from fastck.ops.checks import check_frames
from fastck.ops.motion import feature_shape, unpack_masks
from fastck.pipeline.sequence import iter_features, process_frames, process_record
from fastck.store.reader import Store, open_store

OverTime = Literal["pad", "mean", "max"]
TooLong = Literal["error", "first", "last"]
Sequences = Iterable[str | PathLike[str] | SequenceRecord | NDArray[np.uint8]]


class MotionFeatures(TransformerMixin, BaseEstimator):
    """Turn face sequences into rows of motion features, for a scikit-learn `Pipeline`.

    Parameters
    ----------
    feature : {"projection", "pool34", "pool67", "pool134", "mask", "flow", "flow_projection", "units"}
        What becomes of each step from one frame to the next (paper, fig. 4, 13 and 14), or of each frame since the
        first: optical flow.
    over_time : {"pad", "mean", "max"}
        "pad" brings every sequence to `timesteps` steps with zeros on both sides (paper, fig. 11). "mean" and "max"
        reduce each value over a sequence's own steps: shorter rows, any length, the order in time is lost.
    timesteps : int
        For "pad" (paper, fig. 11: 39).
    too_long : {"error", "first", "last"}
        For "pad" and a sequence of more steps: raise, or keep the first or last steps.
    preset : {"stable", "paper"} or None
        How faces are found and cropped; None for arrays whose frames are crops of `side` x `side` pixels already.
    mode, level, size
        As in `fastck.motion_masks`.
    side : int
        Height and width of a crop in pixels.
    store : path-like, optional
        A store to read from: sequences are then its names ("S005_001"), nothing is detected or computed anew, and
        `preset`, `mode`, `level`, `size` and `side` are the store's.
    n_jobs : int
        Threads over sequences; -1 for one per core. The result does not depend on it.

    Notes
    -----
    There is nothing to fit: the rows of a sequence depend on nothing but that sequence, so nothing leaks between the
    folds of a cross-validation. Subjects still do where they stand on both sides: split with `GroupKFold`.
    """

    def __init__(
        self,
        feature: str = "projection",
        *,
        over_time: OverTime = "pad",
        timesteps: int = TIMESTEPS,
        too_long: TooLong = "error",
        preset: Preset | None = "stable",
        mode: Mode = "wrap",
        level: int = 127,
        size: int = 5,
        side: int = 267,
        store: str | Path | None = None,
        n_jobs: int = 1,
    ) -> None:
        self.feature = feature
        self.over_time = over_time
        self.timesteps = timesteps
        self.too_long = too_long
        self.preset = preset
        self.mode = mode
        self.level = level
        self.size = size
        self.side = side
        self.store = store
        self.n_jobs = n_jobs

    def fit(self, X: Sequences, y: object = None) -> "MotionFeatures":
        """Check the parameters; there is nothing to learn.

        Parameters
        ----------
        X : iterable
            As in `transform`; not looked at.
        y : ignored

        Returns
        -------
        self : MotionFeatures

        Raises
        ------
        ValueError
            If a parameter is out of range.
        """
        self._plan()
        return self

    def transform(self, X: Sequences) -> NDArray[np.float32]:
        """Compute the rows.

        Parameters
        ----------
        X : iterable of n sequences
            Each a folder of frames or a video (path-like), a `SequenceRecord`, an array of gray frames (T, H, W) uint8,
            or with `store` a name; or one array (n, T, H, W).

        Returns
        -------
        rows : ndarray of shape (n, n_features), float32
            Each feature's values in C order, step after step for "pad".

        Raises
        ------
        TypeError
            If a sequence is none of these.
        ValueError
            If a parameter is out of range, or a sequence cannot be used or is too long; the text says which.
        """
        config, store, shape = self._plan()
        if isinstance(X, str | PathLike):
            raise TypeError(f"X must hold sequences, got the single path {fspath(X)!r}: put it in a list")
        jobs = Parallel(n_jobs=self.n_jobs, prefer="threads")
        rows = jobs(delayed(self._row)(number, one, config, store, shape) for number, one in enumerate(X))
        return np.stack(rows) if rows else np.empty((0, self._n_features(shape)), np.float32)

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:
        """Return a name for every column, such as "projection_t3_0_120": step, then the place in the feature."""
        _, _, shape = self._plan()
        places = ["_".join(map(str, place)) for place in np.ndindex(shape)]
        steps = [f"t{step}_" for step in range(self.timesteps)] if self.over_time == "pad" else [f"{self.over_time}_"]
        return np.asarray([f"{self.feature}_{step}{place}" for step in steps for place in places], dtype=object)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags = replace(
            tags.input_tags, one_d_array=True, two_d_array=False, three_d_array=False, string=True
        )
        tags.transformer_tags.preserves_dtype = []
        return tags

    def _plan(self) -> tuple[PreprocessConfig | None, Store | None, tuple[int, ...]]:
        """Check the parameters; return the configuration (None for crops), the store, and the shape of one step."""
        check_choice("over_time", self.over_time, OverTime)
        check_choice("too_long", self.too_long, TooLong)
        if self.timesteps < 1:
            raise ValueError(f"timesteps must be at least 1, got {self.timesteps}")
        store = None if self.store is None else open_store(self.store)
        side = self.side if store is None else store.config.faces.side
        shape = (side, side) if self.feature == "mask" else feature_shape(self.feature, side)
        if store is not None:
            store.feature(self.feature)
            return None, store, shape
        motion = MotionConfig(mode=self.mode, level=self.level, size=self.size)
        if self.preset is None:
            return None, None, shape
        faces = preset_faces(self.preset, side=self.side)
        return PreprocessConfig(faces=faces, motion=motion, features=(self.feature,)), None, shape

    def _n_features(self, shape: tuple[int, ...]) -> int:
        return int(np.prod(shape)) * (self.timesteps if self.over_time == "pad" else 1)

    def _row(
        self, number: int, one: object, config: PreprocessConfig | None, store: Store | None, shape: tuple[int, ...]
    ) -> NDArray[np.float32]:
        """Return one sequence's row; errors say which sequence it was."""
        try:
            steps = self._steps(one, config, store).reshape(-1, *shape)
            return np.ascontiguousarray(self._over_time(steps), np.float32).reshape(-1)
        except (TypeError, ValueError) as error:
            name = one.sequence if isinstance(one, SequenceRecord) else one
            called = "" if isinstance(name, np.ndarray) else f" ({name})"
            raise type(error)(f"sequence {number}{called}: {error}") from error

    def _steps(self, one: Any, config: PreprocessConfig | None, store: Store | None) -> NDArray[Any]:
        """Return a sequence's feature, (T-1, ...)."""
        if store is not None:
            return store.sequence(str(one), self.feature)
        if isinstance(one, str | PathLike):
            one = clip_record(one)
        if not isinstance(one, SequenceRecord | np.ndarray):
            raise TypeError(f"a path, a SequenceRecord or an array (T, H, W) uint8 expected, got {type(one).__name__}")
        if config is not None:
            result = process_record(one, config) if isinstance(one, SequenceRecord) else process_frames(one, config)
            values = result.features[self.feature]
        elif isinstance(one, SequenceRecord):
            raise TypeError("preset=None is for arrays of crops: choose a preset to find the faces of files")
        else:
            if one.shape[1:] != (self.side, self.side):
                raise ValueError(
                    f"crops must have shape (T, {self.side}, {self.side}), got {one.shape}: see side, preset"
                )
            motion = MotionConfig(mode=self.mode, level=self.level, size=self.size)
            config = PreprocessConfig(faces=FaceConfig(side=self.side), motion=motion, features=(self.feature,))
            crops = check_frames(one, min_frames=2)
            values = np.concatenate([rows[self.feature] for rows in iter_features(crops, config)])
        return unpack_masks(values, width=self.side) if self.feature == "mask" else values

    def _over_time(self, steps: NDArray[Any]) -> NDArray[Any]:
        if self.over_time == "mean":
            return steps.mean(axis=0, dtype=np.float32)
        if self.over_time == "max":
            return steps.max(axis=0)
        if len(steps) > self.timesteps and self.too_long != "error":
            steps = steps[: self.timesteps] if self.too_long == "first" else steps[-self.timesteps :]
        return pad_sequence(steps, timesteps=self.timesteps)
