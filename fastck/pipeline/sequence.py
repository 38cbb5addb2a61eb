"""One sequence from gray frames to motion features: find boxes, cut crops, compute features, write rows.

Boxes are found first and cut out after that. What was decoded for the search is kept for the crops while it fits
(`fastck.pipeline.frames.ReadOnce`), so that a clip of any length takes limited memory and most are decoded once.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastck.config import CropPolicy, FaceConfig, PreprocessConfig
from fastck.dataset.records import SequenceRecord
from fastck.faces.aligned import cut_aligned, find_alignments
from fastck.faces.box import FaceBox, Gray, clip_box, crop, crop_boxes
from fastck.faces.finder import Found, find_faces
from fastck.ops.flow import FlowPass
from fastck.ops.motion import FEATURES, motion_features
from fastck.pipeline.cropfile import CropFile
from fastck.pipeline.frames import BadSequence, ReadOnce, decode, record_frames, whole
from fastck.pipeline.stopwatch import Stopwatch

CHUNK = 32  # frames held at a time: 2.3 MB of crops, and long enough that the kernels' call costs nothing


@dataclass(frozen=True, kw_only=True)
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
    n_people : int
        Faces of the first frame with a face that are at least half as wide as its largest; 0 where none was searched.
    features : dict of str to ndarray
        Rows of each feature, where they were collected (see `process_frames`).
    seconds : dict of str to float
        Wall time of each stage.
    """

    found: Found
    boxes: list[FaceBox]
    height: int
    width: int
    motion: float
    motion_at_box_changes: float
    n_people: int = 0
    features: dict[str, NDArray[Any]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def n_missed(self) -> int:
        """Searched frames without a face."""
        return sum(box is None for box in self.found)

    @property
    def box_changed(self) -> NDArray[np.bool_]:
        """For each step whether its two frames were cropped with different boxes: (n_frames - 1,) bool."""
        return changed_boxes(self.boxes)


class Crops(NamedTuple):
    """The cut-out faces of a sequence as they come, and the size in pixels of the frames that they are from."""

    height: int
    width: int
    faces: Iterator[Gray]


def changed_boxes(boxes: Sequence[FaceBox]) -> NDArray[np.bool_]:
    """Return for each step whether its two frames have different boxes: (n_frames - 1,) bool."""
    edges = np.asarray(boxes).reshape(-1, 4)
    return np.any(edges[1:] != edges[:-1], axis=1)


# -- Stages -----------------------------------------------------------------------------------------------------------
def run_sequence(
    open_frames: Callable[[], Iterable[Gray]],
    n_frames: int,
    config: PreprocessConfig,
    write: Callable[[Mapping[str, NDArray[Any]]], None],
    *,
    known: Found | None = None,
    kept: CropFile | None = None,
) -> SequenceResult:
    """Take one sequence through all stages.

    Parameters
    ----------
    open_frames : callable
        Returns the frames from the start, (H, W) uint8 each; called a second time where the search has seen more
        frames than are kept.
    n_frames : int
        How many frames there are.
    config : PreprocessConfig
    write : callable
        Is given the next rows of every feature, chunk after chunk.
    known : list of FaceBox or None, optional
        Detections that take the place of a search; see `fastck.faces.finder.reuse`.
    kept : CropFile, optional
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
    if n_frames == 0:
        # A video that could not be read when it was listed: its decoder says why.
        next(iter(open_frames()), None)
    if n_frames < 2:
        raise BadSequence(f"a difference takes two frames, got {n_frames or 'none that could be read'}")
    watch = Stopwatch()
    source = ReadOnce(lambda: decode(open_frames(), watch))
    found = known
    people: list[int] = []
    if found is None:
        with watch.stage("detect"):
            found = find_faces(source.first(), config.faces, people)
    if config.faces.boxes and not any(found):
        raise BadSequence(f"the file of boxes has no box for any of its {n_frames} frames")
    boxes = find_boxes(found, n_frames, config.faces.crop)
    crops = open_crops(source, found, boxes, config.faces, kept=kept, load=known is not None)
    density = write_features(crops.faces, config, write, watch)
    changed = changed_boxes(boxes)
    return SequenceResult(
        found=found,
        boxes=boxes,
        n_people=sum(people),
        height=crops.height,
        width=crops.width,
        motion=float(density.mean()),
        motion_at_box_changes=float(density[changed].mean()) if changed.any() else float("nan"),
        seconds=watch.seconds,
    )


def find_boxes(found: Found, n_frames: int, policy: CropPolicy) -> list[FaceBox]:
    """Return the box that each frame is cropped with, out of the detections of the frames that were searched."""
    if not found:
        raise BadSequence(f"none of its {n_frames} frames can be read")
    boxes = crop_boxes(found + [None] * (n_frames - len(found)), policy)
    if not boxes:
        raise BadSequence(f"no face found in any of its {n_frames} frames")
    return boxes


def open_crops(
    source: ReadOnce,
    found: Found,
    boxes: Sequence[FaceBox],
    config: FaceConfig,
    *,
    kept: CropFile | None,
    load: bool,
) -> Crops:
    """Return the crops of a sequence: those kept where `load` says so and they are there, else cut out, and kept."""
    records = kept.load() if kept is not None and load else None
    if records is not None:
        return Crops(int(records["height"][0]), int(records["width"][0]), iter(records["crop"]))
    frames_of = find_alignments(source.first(), found) if config.crop == "aligned" else None
    frames = whole(source.again(), len(boxes))
    first = next(frames)
    height, width = first.shape
    frames = chain([first], frames)
    side = config.side
    crops = cut_crops(frames, boxes, side) if frames_of is None else cut_aligned(frames, frames_of, side)
    return Crops(height, width, crops if kept is None else kept.keep(crops, (height, width)))


def write_features(
    crops: Iterable[Gray],
    config: PreprocessConfig,
    write: Callable[[Mapping[str, NDArray[Any]]], None],
    watch: Stopwatch,
) -> NDArray[np.float64]:
    """Compute and write the features, chunk after chunk; return each step's share of mask pixels that are on."""
    density: list[NDArray[np.float32]] = []
    chunks = iter_features(crops, config)
    while True:
        with watch.stage("features"):
            rows = next(chunks, None)
        if rows is None:
            return np.concatenate(density).astype(np.float64)
        density.append(rows["projection"][:, 0].mean(axis=1))
        with watch.stage("write"):
            write({name: rows[name] for name in config.features})


def cut_crops(frames: Iterable[Gray], boxes: Sequence[FaceBox], side: int) -> Iterator[Gray]:
    """Cut each frame's box out; the array is used again for the next one."""
    cropped = np.empty((side, side), np.uint8)
    for number, (gray, box) in enumerate(zip(frames, boxes, strict=True), start=1):
        if clip_box(*box, shape=gray.shape) != box:
            raise BadSequence(f"box {tuple(box)} reaches outside of frame {number}, {gray.shape[1]}x{gray.shape[0]}")
        yield crop(gray, box, side=side, out=cropped)


def iter_features(crops: Iterable[Gray], config: PreprocessConfig) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield the features of successive chunks of frames, "projection" always among them.

    Parameters
    ----------
    crops : iterable of ndarray of shape (side, side), uint8
    config : PreprocessConfig

    Yields
    ------
    rows : dict of str to ndarray
        Up to CHUNK rows of each feature; the array is the receiver's.
    """
    motion = config.motion
    names = [name for name in FEATURES if name == "projection" or name in config.features]
    flow = FlowPass(config.flow) if config.flow else None
    units = None
    if "units" in config.features:
        # Only for those who ask for it.
        from fastck.faces.unit_pass import UnitPass

        units = UnitPass()
    for chunk in iter_chunks(crops, config.faces.side):
        rows = motion_features(chunk, features=names, mode=motion.mode, level=motion.level, size=motion.size)
        if flow is not None:
            rows = {**rows, **flow.rows(chunk, config.features)}
        yield rows if units is None else {**rows, "units": units.rows(chunk)}


def iter_chunks(crops: Iterable[Gray], side: int) -> Iterator[NDArray[np.uint8]]:
    """Yield up to CHUNK + 1 successive crops in an array that is used again; each begins with the last one's end."""
    held = np.empty((CHUNK + 1, side, side), np.uint8)
    filled = 0
    for cropped in crops:
        held[filled] = cropped
        filled += 1
        if filled == len(held):
            yield held
            held[0] = held[-1]
            filled = 1
    if filled > 1:
        yield held[:filled]


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
    held = frames if isinstance(frames, Sequence) else list(frames)
    return collect_features(lambda: iter(held), len(held), config)


def process_record(record: SequenceRecord, config: PreprocessConfig) -> SequenceResult:
    """Take one sequence on disk through all stages, its features kept in memory; otherwise as `process_frames`."""
    return collect_features(lambda: record_frames(record), record.n_frames, config)


def collect_features(
    open_frames: Callable[[], Iterable[Gray]], n_frames: int, config: PreprocessConfig
) -> SequenceResult:
    """Take frames through all stages as `run_sequence` does, the features kept in memory."""
    chunks: list[Mapping[str, NDArray[Any]]] = []
    result = run_sequence(open_frames, n_frames, config, chunks.append)
    return replace(result, features={name: np.concatenate([rows[name] for rows in chunks]) for name in config.features})
