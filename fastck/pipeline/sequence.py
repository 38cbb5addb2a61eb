"""One sequence from gray frames to motion features: find the boxes, cut the crops, run the compiled kernels.

Frames are decoded twice, once to find boxes and once to cut them out, so that a clip of any length takes the memory of
a few frames. Where the boxes are known, or one box serves the whole sequence, the first pass stops at once.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastck.config import PreprocessConfig
from fastck.dataset.records import SequenceRecord
from fastck.faces.box import FaceBox, Gray, clip_box, crop, crop_boxes
from fastck.faces.finder import Found, find_faces, needed, serves
from fastck.flow import FlowPass
from fastck.images.image import read_gray
from fastck.images.video import read_video
from fastck.messages import one_line
from fastck.ops import FEATURES, motion_features
from fastck.pipeline.cropcache import CropFile, CropWriter

log = logging.getLogger(__name__)

CHUNK = 32  # frames held at a time: 2.3 MB of crops, and long enough that the kernels' call costs nothing


class BadSequence(ValueError):
    """A sequence that gives no features; the text says why, for the quarantine."""


@dataclass(kw_only=True)
class SequenceResult:
    """What one sequence gave.

    Attributes
    ----------
    found : list of FaceBox or None
        Largest face of each searched frame; shorter than the sequence where one box serves all.
    boxes : list of FaceBox
        The box each frame was cropped with.
    height, width : int
        Size of a frame in pixels.
    motion, motion_at_box_changes : float
        Mean share of mask pixels that are on, over all steps and over those at which the box changed (NaN for none).
    features : dict of str to ndarray
        Rows of each feature, where they were collected (see `process_frames`).
    seconds : dict of str to float
        Wall time of each stage.
    """

    found: Found = field(default_factory=list)
    boxes: list[FaceBox] = field(default_factory=list)
    height: int = 0
    width: int = 0
    motion: float = float("nan")
    motion_at_box_changes: float = float("nan")
    features: dict[str, NDArray[Any]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def n_missed(self) -> int:
        """Searched frames without a face."""
        return sum(box is None for box in self.found)

    @property
    def box_changed(self) -> NDArray[np.bool_]:
        """For each step whether its two frames were cropped with different boxes: (n_frames - 1,) bool."""
        edges = np.asarray(self.boxes).reshape(-1, 4)
        return np.any(edges[1:] != edges[:-1], axis=1)


# -- Frames -----------------------------------------------------------------------------------------------------------
def record_frames(record: SequenceRecord) -> Iterator[Gray]:
    """Decode a record's frames in order.

    Raises
    ------
    BadSequence
        If a file cannot be read or decoded; the text names it.
    """
    if record.video is not None:
        video = read_video(record.video, skip=(record.onset or 1) - 1)
        yield from _named(video if record.onset is None else islice(video, record.video_frames), record.video)
    for path in record.frames:
        try:
            gray = read_gray(path)
        except (ValueError, OSError) as error:
            raise BadSequence(_plain(error, path)) from error
        yield gray


def _named(frames: Iterator[Gray], path: Path) -> Iterator[Gray]:
    try:
        yield from frames
    except (ValueError, OSError) as error:
        raise BadSequence(_plain(error, path)) from error


def _plain(error: Exception, path: Path) -> str:
    """Return an error's text on one line after the file's name; where the data set lies does not matter."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{path.name}: {' '.join(text.replace(f'{one_line(str(path))}: ', '').split())}"


def _same_size(frames: Iterable[Gray], shape: tuple[int, ...] = ()) -> Iterator[Gray]:
    """Pass frames on as long as they have one size."""
    for number, gray in enumerate(frames, start=1):
        shape = shape or gray.shape
        if gray.shape != shape:
            raise BadSequence(
                f"frame {number} is {gray.shape[1]}x{gray.shape[0]} pixels, those before {shape[1]}x{shape[0]}"
            )
        yield gray


def _timed(frames: Iterator[Gray], seconds: dict[str, float]) -> Iterator[Gray]:
    """Pass frames on, adding the time they take to come to seconds["decode"]."""
    while True:
        started = time.perf_counter()
        gray = next(frames, None)
        seconds["decode"] = seconds.get("decode", 0.0) + time.perf_counter() - started
        if gray is None:
            return
        yield gray


# -- Features ---------------------------------------------------------------------------------------------------------
def iter_features(crops: Iterable[Gray], config: PreprocessConfig) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield the features of successive stretches of frames, "projection" always among them.

    Parameters
    ----------
    crops : iterable of ndarray of shape (side, side), uint8
    config : PreprocessConfig

    Yields
    ------
    rows : dict of str to ndarray
        Up to CHUNK rows of each feature; the array is the receiver's.
    """
    side, motion = config.faces.side, config.motion
    names = [name for name in FEATURES if name == "projection" or name in config.features]
    flow = FlowPass(config.flow) if config.flow else None
    held = np.empty((CHUNK + 1, side, side), np.uint8)
    filled = 0

    def features() -> dict[str, NDArray[Any]]:
        crops = held[:filled]
        rows = motion_features(crops, features=names, mode=motion.mode, level=motion.level, size=motion.size)
        return rows if flow is None else {**rows, **flow.rows(crops, config.features)}

    for cropped in crops:
        held[filled] = cropped
        filled += 1
        if filled == len(held):
            yield features()
            held[0] = held[-1]
            filled = 1
    if filled > 1:
        yield features()


def run_sequence(
    open_frames: Callable[[], Iterable[Gray]],
    n_frames: int,
    config: PreprocessConfig,
    receive: Callable[[int, dict[str, NDArray[Any]]], None],
    *,
    found: Sequence[FaceBox | None] | None = None,
    crops: CropFile | None = None,
) -> SequenceResult:
    """Take one sequence through all stages.

    Parameters
    ----------
    open_frames : callable
        Returns the frames from the start, (H, W) uint8 each; called once or twice.
    n_frames : int
        How many frames there are.
    config : PreprocessConfig
    receive : callable
        Is given the first row's number and a dict of feature rows, stretch after stretch.
    found : sequence of FaceBox or None, optional
        Detections that are known already.
    crops : CropFile, optional
        Where the crops are kept. Those that are there take the place of decoding, if the detections are known too.

    Returns
    -------
    result : SequenceResult
        Without `features`.

    Raises
    ------
    BadSequence
        If the sequence has fewer than two frames, no face, frames of different sizes, or cannot be decoded.
    """
    if n_frames < 2:
        raise BadSequence(f"a difference takes two frames, got {n_frames}")
    seconds: dict[str, float] = {}
    result = SequenceResult(seconds=seconds)
    kept = None
    if found is not None and serves(found, n_frames, config.faces):
        result.found = needed(found, config.faces)
        kept = crops.load() if crops else None
    else:
        started = time.perf_counter()
        result.found = find_faces(_timed(_same_size(open_frames()), seconds), config.faces)
        seconds["detect"] = time.perf_counter() - started - seconds.get("decode", 0.0)
    searched = result.found + [None] * (n_frames - len(result.found))
    result.boxes = crop_boxes(searched, config.faces.crop)
    if not result.boxes:
        raise BadSequence(f"no face found in any of its {n_frames} frames")
    if kept is not None:
        result.height, result.width = int(kept["height"][-1]), int(kept["width"][-1])
        _measure(iter(kept["crop"]), config, receive, result)
        return result
    cropped = _cut(_timed(_whole(open_frames(), n_frames), seconds), config.faces.side, result)
    if crops is None:
        _measure(cropped, config, receive, result)
        return result
    with CropWriter(crops) as writer:
        _measure(_keep(cropped, writer, result), config, receive, result)
    return result


def _whole(frames: Iterable[Gray], n_frames: int) -> Iterator[Gray]:
    """Pass on exactly `n_frames` frames of one size."""
    count = 0
    for gray in _same_size(frames):
        count += 1
        if count > n_frames:
            raise BadSequence(f"it has more than the {n_frames} frames it had when it was listed")
        yield gray
    if count < n_frames:
        raise BadSequence(f"only {count} of its {n_frames} frames can be read")


def _cut(frames: Iterator[Gray], side: int, result: SequenceResult) -> Iterator[Gray]:
    """Cut each frame's box out; the array is used again for the next one."""
    cropped = np.empty((side, side), np.uint8)
    for number, (gray, box) in enumerate(zip(frames, result.boxes, strict=True), start=1):
        result.height, result.width = gray.shape
        if clip_box(*box, shape=gray.shape) != box:
            raise BadSequence(f"box {tuple(box)} reaches outside of frame {number}, {gray.shape[1]}x{gray.shape[0]}")
        yield crop(gray, box, side=side, out=cropped)


def _keep(crops: Iterator[Gray], writer: CropWriter, result: SequenceResult) -> Iterator[Gray]:
    """Pass crops on and write them down."""
    for cropped in crops:
        writer.add((result.height, result.width), cropped)
        yield cropped


def _measure(
    crops: Iterator[Gray],
    config: PreprocessConfig,
    receive: Callable[[int, dict[str, NDArray[Any]]], None],
    result: SequenceResult,
) -> None:
    """Run the second pass: crops, features, and what they say of the sequence."""
    seconds = result.seconds
    density = np.empty(len(result.boxes) - 1)
    row = 0
    before = seconds.get("decode", 0.0)
    started = time.perf_counter()
    for rows in iter_features(crops, config):
        length = len(rows["projection"])
        density[row : row + length] = rows["projection"][:, 0].mean(axis=1)
        wrote = time.perf_counter()
        receive(row, {name: rows[name] for name in config.features})
        seconds["write"] = seconds.get("write", 0.0) + time.perf_counter() - wrote
        row += length
    rest = seconds.get("write", 0.0) + seconds.get("decode", 0.0) - before
    seconds["features"] = time.perf_counter() - started - rest
    changed = result.box_changed
    result.motion = float(density.mean())
    if changed.any():
        result.motion_at_box_changes = float(density[changed].mean())


def process_frames(frames: Iterable[Gray], config: PreprocessConfig) -> SequenceResult:
    """Take one clip in memory through all stages, as `preprocess` does with a sequence on disk.

    Parameters
    ----------
    frames : iterable of ndarray of shape (H, W), uint8
        At least two.
    config : PreprocessConfig

    Returns
    -------
    result : SequenceResult
        `features` holds (T-1, ...) rows of each feature of the configuration.

    Raises
    ------
    ValueError
        If no face is found, or the frames are too few or of different sizes.
    """
    kept = frames if isinstance(frames, Sequence) else list(frames)
    return _collect(lambda: iter(kept), len(kept), config)


def process_record(record: SequenceRecord, config: PreprocessConfig) -> SequenceResult:
    """Take one sequence on disk through all stages, its features kept in memory; otherwise as `process_frames`."""
    return _collect(lambda: record_frames(record), record.n_frames, config)


def _collect(open_frames: Callable[[], Iterable[Gray]], n_frames: int, config: PreprocessConfig) -> SequenceResult:
    stretches: list[dict[str, NDArray[Any]]] = []
    result = run_sequence(open_frames, n_frames, config, lambda _, rows: stretches.append(rows))
    result.features = {name: np.concatenate([rows[name] for rows in stretches]) for name in config.features}
    return result
