"""Bulk preprocessing: sequences spread over workers with joblib, the only place that knows about parallelism."""

import logging
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from joblib import Parallel, delayed

from fastck import __version__
from fastck.config import FaceConfig, MotionConfig, PreprocessConfig, preset_faces
from fastck.dataset.findings import summarise
from fastck.dataset.layouts import Layout, scan
from fastck.dataset.records import SequenceRecord
from fastck.dataset.table import Until
from fastck.faces.box import FaceBox
from fastck.faces.boxfile import BoxFile, read_boxes
from fastck.faces.detector import detector_version
from fastck.faces.finder import serves
from fastck.ops import STORE_FEATURES
from fastck.pipeline.boxcache import BoxCache, cache_folder, cache_key
from fastck.pipeline.cropcache import crop_key, record_type
from fastck.pipeline.sequence import iter_features
from fastck.pipeline.worker import Task, watched, work
from fastck.store.builder import StoreBuilder
from fastck.store.files import check_room
from fastck.store.plan import PlannedSequence, make_plan
from fastck.store.reader import Store, open_store

log = logging.getLogger(__name__)


@dataclass
class Progress:
    """How far a run is; the same object is updated and handed to the callback after every sequence.

    Attributes
    ----------
    sequences, frames : int
        What there is to do in all.
    done, frames_done : int
        What is done, earlier runs included.
    resumed, frames_resumed : int
        The part of it that an earlier run had done.
    missed, quarantined : int
        Frames without a face; sequences left out.
    reasons : dict of str to str
        Why each quarantined sequence was left out.
    seconds : dict of str to float
        Time spent in each stage, summed over the workers.
    """

    sequences: int = 0
    frames: int = 0
    done: int = 0
    frames_done: int = 0
    resumed: int = 0
    frames_resumed: int = 0
    missed: int = 0
    quarantined: int = 0
    reasons: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, planned: PlannedSequence, entry: dict[str, Any]) -> None:
        """Count a sequence that is done."""
        self.done += 1
        self.frames_done += planned.n_frames
        if "reason" in entry:
            self.quarantined += 1
            self.reasons[planned.sequence] = entry["reason"]
        else:
            self.missed += entry["row"]["n_missed"]


def preprocess(
    root: str | Path,
    store: str | Path,
    *,
    preset: str = "paper",
    features: Sequence[str] = ("projection",),
    labels: str | Path | None = None,
    layout: Layout = "ckplus",
    until: Until = "apex",
    motion: MotionConfig | None = None,
    crop: str | None = None,
    upsample: Sequence[int] | None = None,
    search: str | None = None,
    boxes: str | Path | None = None,
    n_jobs: int = -1,
    overwrite: bool = False,
    box_cache: bool = True,
    keep_crops: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> Store:
    """Turn a folder of face sequences into a store of motion features.

    Parameters
    ----------
    root : path-like
        The data set, for example the folder that holds CK+'s ``cohn-kanade-images`` and ``Emotion``.
    store : path-like
        The store's folder, made where missing. An unfinished store of the same input and configuration is continued.
    preset : {"paper", "stable"}
        "paper": every frame searched by itself, upsampled once, bit for bit what the paper's scripts give.
        "stable": one box per sequence, the better feature: no motion that is only crop jitter.
    features : sequence of str
        Any of "projection", "mask", "pool134", "pool67", "pool34", "flow", "flow_projection".
    labels : path-like, optional
        The folder of label files, where it is not ``ROOT/Emotion``.
    layout : {"ckplus", "folders", "labelled-folders", "table"}
        How `root` is organised; see `fastck.scan`. For "table" it is a CSV file.
    until : {"apex", "offset", "end"}
        The last frame that is used of a table's clips.
    motion : MotionConfig, optional
        Difference mode, level and footprint; the paper's by default.
    crop, upsample, search : optional
        Changes to the preset's face settings; see `FaceConfig`.
    boxes : path-like, optional
        A CSV of boxes to use in place of detection; see `fastck.faces.boxfile.read_boxes`.
    n_jobs : int
        Workers; -1 for one per core. Any number gives the same bytes. ``joblib.parallel_config`` decides what a worker
        is: threads by default; processes, Dask or Ray where the caller sets it.
    overwrite : bool
        Replace a store of another configuration or input.
    box_cache : bool
        Keep detections in the user's cache folder (FASTCK_CACHE_DIR), and use those kept.
    keep_crops : bool
        Keep the cut-out faces too (71 kB a frame at the usual 267 pixels), and use those kept: a later run with another
        mode, level, footprint or feature then decodes nothing.
    on_progress : callable, optional
        Is given a `Progress` at the start and after every sequence.

    Returns
    -------
    store : Store
        Sequences that could not be used are in its quarantine, with the reason.

    Raises
    ------
    ValueError
        If an option is wrong, `root` holds no sequences, or `store` was made from something else.
    OSError
        If the store cannot be written, or another run is writing it.
    """
    found = scan(root, labels=labels, layout=layout, until=until)
    records = found.records
    for line in summarise(found.findings):
        log.warning("%s", line)
    if not records:
        raise ValueError(
            f"{root} holds no image sequences in the layout {layout!r}: `fastck check` says what was found"
        )
    own_boxes = read_boxes(boxes) if boxes is not None else None
    if keep_crops and not box_cache and own_boxes is None:
        raise ValueError("keep_crops needs box_cache: crops without their boxes are of no use")
    faces = preset_faces(
        preset,
        crop=crop,
        upsample=tuple(upsample) if upsample is not None else None,
        search=search,
        boxes=own_boxes.digest if own_boxes else None,
    )
    config = PreprocessConfig(faces=faces, motion=motion or MotionConfig(), features=check_features(features))
    plan = make_plan(records, found.root)
    progress = Progress(sequences=len(plan), frames=sum(entry.n_frames for entry in plan))
    cache = BoxCache(cache_folder() / "boxes.sqlite" if box_cache and own_boxes is None else None)
    crops = cache_folder() / "crops" if keep_crops else None
    with StoreBuilder(store, config, plan, layout=layout, overwrite=overwrite) as builder, cache:
        if not builder.finished:
            _run(builder, records, found.root, own_boxes, cache, crops, n_jobs, progress, on_progress)
            builder.finish(library_versions())
    return open_store(store)


def _run(
    builder: StoreBuilder,
    records: Sequence[SequenceRecord],
    root: Path,
    own_boxes: BoxFile | None,
    cache: BoxCache,
    crops: Path | None,
    n_jobs: int,
    progress: Progress,
    on_progress: Callable[[Progress], None] | None,
) -> None:
    """Work off what the journal does not hold yet."""
    config = builder.config
    by_name = {entry.sequence: entry for entry in builder.plan}
    for name, entry in builder.done.items():
        progress.add(by_name[name], entry)
    progress.resumed, progress.frames_resumed = progress.done, progress.frames_done
    report = on_progress or (lambda _: None)
    report(progress)
    todo = [record for record in records if record.sequence not in builder.done]
    engine, store = detector_version(), builder.path.resolve()
    run, process = uuid.uuid4().hex, os.getpid()
    steps = sum(entry.length for entry in builder.plan)

    def key(planned: PlannedSequence) -> str:
        return cache_key(planned.fingerprint, root / planned.folder, config.faces, engine)

    crop_files = {} if crops is None else _crop_files(crops, todo, by_name, root, config.faces, engine)

    def tasks() -> Iterator[Task]:
        for record in todo:
            planned = by_name[record.sequence]
            found: Sequence[FaceBox | None] | None = None
            if own_boxes is not None:
                found = own_boxes.found(record)
            elif serves(known := cache.get(key(planned)), planned.n_frames, config.faces):
                found = known
            yield Task(
                record=record,
                planned=planned,
                config=config,
                store=store,
                found=found,
                crops=crop_files.get(record.sequence),
                steps=steps,
                frames=progress.frames,
                run=run,
                process=process,
            )

    if todo:
        _compile(config)
    with _single_threaded_cv2(), watched(run):
        # Threads, unless the caller's parallel_config differs: decoding, dlib, OpenCV and the kernels release the GIL.
        # A batch is one sequence, so that a kill costs no more than the sequences that are being worked on.
        workers = Parallel(n_jobs=n_jobs, prefer="threads", return_as="generator_unordered", batch_size=1)
        for name, outcome in workers(delayed(work)(task) for task in tasks()):
            if "reason" in outcome.entry:
                _check_root(root)
            builder.record(name, outcome.entry)
            progress.add(by_name[name], outcome.entry)
            for stage, seconds in outcome.seconds.items():
                progress.seconds[stage] = progress.seconds.get(stage, 0.0) + seconds
            if outcome.found is not None:
                cache.put(key(by_name[name]), outcome.found)
            report(progress)


def _crop_files(
    folder: Path,
    records: Sequence[SequenceRecord],
    by_name: dict[str, PlannedSequence],
    root: Path,
    faces: FaceConfig,
    engine: str,
) -> dict[str, Path]:
    """Return where each sequence's crops are kept, once there is room for those that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    planned = [by_name[record.sequence] for record in records]
    files = {
        entry.sequence: folder / f"{crop_key(entry.fingerprint, root / entry.folder, faces, engine)}.npy"
        for entry in planned
    }
    missing = sum(entry.n_frames for entry in planned if not files[entry.sequence].exists())
    check_room(
        folder,
        missing * record_type(faces.side).itemsize,
        what=" for kept crops",
        advice="make room, name another folder with FASTCK_CACHE_DIR, or keep none",
    )
    return files


def _check_root(root: Path) -> None:
    """Raise OSError where the whole data set is gone: that is no fault of the sequences that could not be read."""
    if not root.is_dir() or next(root.iterdir(), None) is None:  # an unmounted disk leaves an empty folder
        raise OSError(f"{root} is gone: bring it back, and run the same command again to go on")


def _compile(config: PreprocessConfig) -> None:
    """Compile the kernels before workers start: processes that fill Numba's cache at the same time may crash."""
    for _ in iter_features(np.zeros((2, config.faces.side, config.faces.side), np.uint8), config):
        pass


@contextmanager
def _single_threaded_cv2() -> Iterator[None]:
    """Keep OpenCV to one thread per worker, and give the caller's setting back."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def check_features(features: Sequence[str]) -> tuple[str, ...]:
    """Return the features without repetitions, in the order of STORE_FEATURES.

    Raises
    ------
    ValueError
        If one is unknown, or there are none.
    """
    unknown = [name for name in features if name not in STORE_FEATURES]
    if unknown or not features or isinstance(features, str):
        raise ValueError(f"features must be some of {', '.join(STORE_FEATURES)}, got {features!r}")
    return tuple(name for name in STORE_FEATURES if name in features)


# -- Versions ---------------------------------------------------------------------------------------------------------
def library_versions() -> dict[str, str]:
    """Return the versions of what decides a store's bytes."""
    named = {name: version(name) for name in ("numpy", "numba", "joblib", "pandas")}
    return {"fastck": __version__, **named, "opencv": cv2.__version__, "dlib": detector_version()}
