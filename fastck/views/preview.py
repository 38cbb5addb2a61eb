"""What each stage makes of one sequence: the pictures of `fastck preview`, computed by `ops`, not drawn yet."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fastck.config import PRESETS, FaceConfig, FlowConfig, MotionConfig, PreprocessConfig, Preset, preset_faces
from fastck.dataset.clip import clip_record
from fastck.dataset.records import SequenceRecord, part_of
from fastck.faces.aligned import cut_aligned, find_alignments
from fastck.faces.box import FaceBox, Gray, crop, crop_boxes
from fastck.faces.finder import find_faces
from fastck.ops.flow import FlowPass
from fastck.ops.motion import erode, frame_difference, mean_pool_2x2, project, threshold
from fastck.pipeline.frames import record_frames
from fastck.store.reader import MANIFEST, SEQUENCES, Store, folder_below

if TYPE_CHECKING:
    from fastck.recognition.marks import Marks

# In the order of the paper's figures 2 to 4 and 13; then what the paper does not have.
STAGES = ("crop", "difference", "threshold", "mask", "pool34", "flow")
POOLS = ("pool34", "pool67", "pool134")
COLUMNS = 10  # frames on a sheet: a cell is then wide enough to see a mouth move


@dataclass(frozen=True, kw_only=True)
class View:
    """How one configuration sees a sequence of T frames, C of which are shown.

    Attributes
    ----------
    name : str
        "paper", "stable", or the crop policy where the settings are no preset's.
    boxes : ndarray of shape (T, 4), int
        The box each frame is cropped with, as `FaceBox` orders its edges.
    missed : ndarray of shape (T,), bool
        Frames that were searched and have no face.
    projections : ndarray of shape (T-1, 2, N), float32, or None
        Of all steps; None where a store without frames has neither projections nor masks.
    stages : dict of str to list of (ndarray or None)
        For each stage C pictures: what becomes of a frame, and of the step that leads to it (None for the first frame).
    """

    name: str
    boxes: NDArray[np.int32]
    missed: NDArray[np.bool_]
    projections: NDArray[np.float32] | None
    stages: dict[str, list[NDArray[Any] | None]]

    @property
    def moved(self) -> NDArray[np.bool_]:
        """For each frame whether its box differs from the one before: (T,) bool."""
        return np.concatenate(([False], np.any(self.boxes[1:] != self.boxes[:-1], axis=1)))

    @property
    def density(self) -> NDArray[np.float64] | None:
        """For each step the share of mask pixels that are on, 0 to 1: (T-1,)."""
        return None if self.projections is None else self.projections[:, 0].mean(axis=1, dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class Preview:
    """One sequence as one or two configurations see it.

    Attributes
    ----------
    title : str
    n_frames : int
    shown : tuple of int
        Positions of the frames on the sheet, counted from 0.
    shape : tuple of int
        Height and width of a frame in pixels.
    frames : list of ndarray of shape (H, W), uint8
        The frames shown; empty where they cannot be read.
    views : list of View
    configs : list of PreprocessConfig
        One for each view.
    record : SequenceRecord or None
        Where the frames are, for an animation.
    note : str
        What is left out and how to get it, in one line; "" for nothing.
    marks : list of (Marks or None)
        Of the frames shown: landmarks and turn, None where no face was found; empty without `with_landmarks`.
    units : list of (ndarray of shape (44,) or None)
        Of the frames shown: intensities of action units; empty without `with_units`.
    """

    title: str
    n_frames: int
    shown: tuple[int, ...]
    shape: tuple[int, int]
    frames: list[Gray]
    views: list[View]
    configs: list[PreprocessConfig] = field(default_factory=list)
    record: SequenceRecord | None = None
    note: str = ""
    marks: "list[Marks | None]" = field(default_factory=list)
    units: list[NDArray[np.float32] | None] = field(default_factory=list)


def preview_clip(
    path: str | PathLike[str],
    *,
    preset: Preset = "stable",
    faces: FaceConfig | None = None,
    motion: MotionConfig | None = None,
    compare: bool = False,
    columns: int = COLUMNS,
) -> Preview:
    """Take one clip through all stages, without a store.

    Parameters
    ----------
    path : path-like
        A folder of frames, or a video.
    preset : {"paper", "stable", "aligned"}
        How faces are cropped.
    faces : FaceConfig, optional
        Settings in place of the preset's.
    motion : MotionConfig, optional
        Difference mode, level and footprint; the paper's by default.
    compare : bool
        The presets paper and stable side by side, and `preset` if it is another, so that a crop that jumps shows;
        `faces` is not used.
    columns : int
        Frames shown at most; of longer clips they are sampled evenly, the first and the last always among them.

    Returns
    -------
    preview : Preview

    Raises
    ------
    ValueError
        If an option is wrong, the clip does not decode, has fewer than two frames, or no face is found.
    OSError
        If the path does not exist or cannot be read.
    """
    if (Path(path) / MANIFEST).is_file():
        raise ValueError(f"{path} is a store: name one of its sequences too, as {path}/{SEQUENCES} lists them")
    record = clip_record(path)
    names = dict.fromkeys(("paper", "stable", preset)) if compare else (preset,)
    chosen = [preset_faces(name) if faces is None or compare else faces for name in names]
    configs = [PreprocessConfig(faces=choice, motion=motion or MotionConfig()) for choice in chosen]
    return _preview_record(record, configs, [_detect(record, config) for config in configs], columns)


def preview_store(
    store: Store,
    sequence: str,
    *,
    root: str | PathLike[str] | None = None,
    compare: bool = False,
    columns: int = COLUMNS,
) -> Preview:
    """Show what a store holds of a sequence and, given the data set's root, how it came about.

    Parameters
    ----------
    store : Store
    sequence : str
        "S005_001".
    root : path-like, optional
        The data set's folder that was given to `preprocess`. A store may be moved, so it does not keep it; without it
        only boxes and what the features hold is shown.
    compare : bool
        The store's settings beside the other preset; needs `root`.
    columns : int
        Frames shown at most.

    Returns
    -------
    preview : Preview

    Raises
    ------
    ValueError
        If the store has no such sequence, `compare` is set without `root`, or the frames are no longer those that the
        store was made from.
    OSError
        If the root or the sequence's folder does not exist or cannot be read.
    """
    row = store.row(sequence)
    boxes = np.array(store.boxes[row.frame_start : row.frame_start + row.n_frames])
    if root is not None:
        record = stored_record(row, root)
        missed = np.zeros(row.n_frames, bool)
        if row.n_missed and not store.config.faces.boxes:  # the store counts them; which they are, only a search tells
            missed = _detect(record, store.config)[1]
        configs, found = [store.config], [(boxes, missed)]
        if compare:
            other = next(faces for faces in PRESETS.values() if faces.crop != store.config.faces.crop)
            at = 0 if other.crop == "frame" else 1  # the paper's above, whichever the store's is
            configs.insert(at, replace(store.config, faces=replace(other, side=store.config.faces.side)))
            found.insert(at, _detect(record, configs[at]))
        return replace(_preview_record(record, configs, found, columns), title=sequence)
    if compare:
        raise ValueError("a comparison of presets crops the frames anew: give the data set's folder as root")
    return _preview_features(store, row, boxes, columns)


def with_landmarks(preview: Preview) -> Preview:
    """Return a preview with the landmarks of the frames shown, in the boxes of its first view.

    Raises
    ------
    ValueError
        If the preview was made from a store without its root.
    """
    from fastck.recognition.marks import find_marks

    marks = [None if box is None else find_marks(gray, box) for gray, box in _shown_faces(preview)]
    return replace(preview, marks=marks)


def with_units(preview: Preview) -> Preview:
    """Return a preview with the action units of the frames shown, beside the face's rest among them.

    Raises
    ------
    ValueError
        If the preview was made from a store without its root.
    """
    from fastck.faces.units import UnitReader
    from fastck.recognition.reading import read_units

    reader = UnitReader()
    seen = [None if box is None else reader(gray, box) for gray, box in _shown_faces(preview)]
    found = read_units(reader.model, seen).intensities
    return replace(preview, units=[None if one is None else row for one, row in zip(seen, found, strict=True)])


def _shown_faces(preview: Preview) -> list[tuple[Gray, FaceBox | None]]:
    """Return the frames shown, each with its face in the first view, None where none was found."""
    if not preview.frames:
        raise ValueError("landmarks and units are found in the frames: give the data set's folder as root")
    view = preview.views[0]
    boxes = [None if view.missed[frame] else FaceBox(*map(int, view.boxes[frame])) for frame in preview.shown]
    return list(zip(preview.frames, boxes, strict=True))


def stored_record(row: Any, root: str | PathLike[str]) -> SequenceRecord:
    """Return the frames that a row of a store's table was made from, below the data set's root.

    Raises
    ------
    ValueError, FileNotFoundError
        If the root does not hold them.
    """
    folder = folder_below(root, row.folder)
    if not folder.exists():
        raise FileNotFoundError(f"root {root} does not hold {row.folder}: give the root that the store was made from")
    record = clip_record(folder)
    if pd.notna(row.onset) and record.n_frames >= row.onset - 1 + row.n_frames:
        record = part_of(record, row.onset, row.onset - 1 + row.n_frames)
    if record.n_frames != row.n_frames:
        raise ValueError(
            f"{row.sequence} had {row.n_frames} frames when the store was made, {folder} has {record.n_frames}: give "
            "the root that the store was made from"
        )
    return record


def record_stages(
    record: SequenceRecord, boxes: NDArray[np.int32], missed: NDArray[np.bool_], config: PreprocessConfig
) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield every stage of every frame of a record as `iter_stages` does, whatever its crops follow."""
    path = None
    if config.faces.crop == "aligned":
        found = [None if lost else FaceBox(*box) for box, lost in zip(boxes.tolist(), missed, strict=True)]
        path = find_alignments(record_frames(record), found)
    return iter_stages(record_frames(record), boxes, config, path)


def iter_stages(
    frames: Iterable[Gray],
    boxes: Sequence[Sequence[int]] | NDArray[np.int32],
    config: PreprocessConfig,
    path: NDArray[np.float64] | None = None,
) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield every stage of every frame, each computed by the public operation of its name.

    Parameters
    ----------
    frames : iterable of ndarray of shape (H, W), uint8
    boxes : sequence of four int
        One per frame.
    config : PreprocessConfig
    path : ndarray of shape (T, 4), float64, optional
        Of aligned crops, which take the place of the boxes'.

    Yields
    ------
    stages : dict of str to ndarray
        "frame" and "crop" and, from the second frame on, of the step that leads to it: "difference" and "threshold"
        (gray levels), "mask" (0 and 1), "pool34" and "projection" (0 to 1), "flow" as `fastck.optical_flow` has it.
    """
    motion, side = config.motion, config.faces.side
    pair = np.empty((2, side, side), np.uint8)
    flow = FlowPass(config.flow or FlowConfig())
    for number, (gray, box) in enumerate(zip(frames, boxes, strict=True)):
        pair[0] = pair[1]
        if path is None:
            crop(gray, FaceBox(*map(int, box)), side=side, out=pair[1])
        else:
            pair[1] = next(cut_aligned([gray], path[number : number + 1], side))
        stages: dict[str, NDArray[Any]] = {"frame": gray, "crop": pair[1].copy()}
        if number:
            difference = frame_difference(pair, mode=motion.mode)
            above = threshold(difference, level=motion.level, value=1)
            mask = erode(above, size=motion.size)
            pool = mean_pool_2x2(mean_pool_2x2(mean_pool_2x2(mask)))
            steps = {"difference": difference, "threshold": above * np.uint8(255), "mask": mask, "pool34": pool}
            steps |= {"projection": project(mask), **flow.rows(pair, ["flow"])}
            stages |= {name: values[0] for name, values in steps.items()}
        yield stages


def sample_frames(n_frames: int, columns: int) -> tuple[int, ...]:
    """Return up to `columns` positions spread evenly over the frames, the first and the last among them."""
    if columns < 2:
        raise ValueError(f"columns must be at least 2, for onset and apex, got {columns}")
    return tuple(int(frame) for frame in np.unique(np.linspace(0, n_frames - 1, min(columns, n_frames)).round()))


def view_name(faces: FaceConfig) -> str:
    """Return the preset's name for a preset's settings, otherwise what the crop follows."""
    return next((name for name, preset in PRESETS.items() if preset == faces), f"box per {faces.crop}")


def _detect(record: SequenceRecord, config: PreprocessConfig) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Return a record's boxes (T, 4) and its frames without a face (T,)."""
    if record.n_frames < 2:
        raise ValueError(f"{record.sequence}: a difference takes two frames, got {record.n_frames}")
    found = find_faces(record_frames(record), config.faces)
    missed = np.zeros(record.n_frames, bool)
    missed[: len(found)] = [box is None for box in found]
    boxes = crop_boxes(found + [None] * (record.n_frames - len(found)), config.faces.crop)
    if not boxes:
        raise ValueError(f"{record.sequence}: no face found in any of its {record.n_frames} frames")
    return np.asarray(boxes, np.int32), missed


def _preview_record(
    record: SequenceRecord,
    configs: list[PreprocessConfig],
    found: Sequence[tuple[NDArray[np.int32], NDArray[np.bool_]]],
    columns: int,
) -> Preview:
    """Run the stages over a record's frames and keep the pictures of those shown."""
    shown = sample_frames(record.n_frames, columns)
    frames: list[Gray] = []
    views: list[View] = []
    for config, (boxes, missed) in zip(configs, found, strict=True):
        frames = []
        pictures: dict[str, list[NDArray[Any] | None]] = {name: [] for name in STAGES}
        projections = []
        for frame, stages in enumerate(record_stages(record, boxes, missed, config)):
            if frame:
                projections.append(stages["projection"])
            if frame in shown:
                frames.append(stages["frame"])
                for name in STAGES:
                    pictures[name].append(stages.get(name))
        name = view_name(config.faces)
        steps = np.asarray(projections)
        views.append(View(name=name, boxes=boxes, missed=missed, projections=steps, stages=pictures))
    return Preview(
        title=record.sequence,
        n_frames=record.n_frames,
        shown=shown,
        shape=(frames[0].shape[0], frames[0].shape[1]),
        frames=frames,
        views=views,
        configs=configs,
        record=record,
    )


def _preview_features(store: Store, row: Any, boxes: NDArray[np.int32], columns: int) -> Preview:
    """Show what the store itself holds of a sequence."""
    shown = sample_frames(row.n_frames, columns)
    steps = np.asarray(shown[1:]) - 1  # step t leads to frame t + 1
    pictures: dict[str, list[NDArray[Any] | None]] = {}
    projections = store.sequence(row.sequence, "projection") if "projection" in store.features else None
    if "mask" in store.features:
        masks = store.sequence(row.sequence, "mask")
        pictures["mask"] = [None, *masks[steps]]
        pictures["pool34"] = [None, *mean_pool_2x2(mean_pool_2x2(mean_pool_2x2(masks[steps])))]
        projections = project(masks) if projections is None else projections
    else:
        for name in [name for name in POOLS if name in store.features][:1]:
            pictures[name] = [None, *store.sequence(row.sequence, name)[steps]]
    if "flow" in store.features:
        pictures["flow"] = [None, *store.sequence(row.sequence, "flow")[steps]]
    view = View(
        name=view_name(store.config.faces),
        boxes=boxes,
        missed=np.zeros(row.n_frames, bool),
        projections=projections,
        stages=pictures,
    )
    missed = f" {row.n_missed} frames have no face of their own." if row.n_missed else ""
    return Preview(
        title=row.sequence,
        n_frames=row.n_frames,
        shown=shown,
        shape=(row.height, row.width),
        frames=[],
        views=[view],
        configs=[store.config],
        note=f"From the store alone: frames, crops and differences need the data set's folder (--root).{missed}",
    )
