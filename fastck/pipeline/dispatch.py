"""Bulk preprocessing: the sequences of a data set, spread over workers with joblib, become a store."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from joblib import Parallel, delayed
from joblib.parallel import get_active_backend
from numpy.typing import NDArray

from fastck.config import (
    WHOLE_FRAME,
    FaceConfig,
    FlowConfig,
    Layout,
    MotionConfig,
    PreprocessConfig,
    Preset,
    Until,
    preset_faces,
)
from fastck.dataset.findings import summarise
from fastck.dataset.layouts import guess_layout, scan
from fastck.dataset.patterns import Patterns
from fastck.dataset.records import Scan, SequenceRecord
from fastck.faces.boxfile import BoxFile, read_boxes
from fastck.faces.detector import detector_version
from fastck.images.image import read_image_header
from fastck.messages import Progress
from fastck.ops.motion import FEATURES, STORE_FEATURES
from fastck.outputs import cache_folder
from fastck.pipeline.cache import Cache
from fastck.pipeline.cancellation import Cancellation
from fastck.pipeline.compiling import compile_kernels, is_first_call, searches
from fastck.pipeline.stopwatch import add_times
from fastck.pipeline.worker import Batch, BatchOutcome, Task, WorkerContext, work_batch
from fastck.store.builder import StoreBuilder
from fastck.store.finished import Finished
from fastck.store.plan import Plan
from fastck.store.reader import Store, open_store
from fastck.version import __version__

log = logging.getLogger(__name__)

FEW_SEQUENCES = 1000  # up to twice as many go to the workers one by one
# A batch costs Dask's client three milliseconds and more, however little is in it.
BATCH_SEQUENCES = 192
BATCH_FRAMES = 576  # a second or two of work, far less where frames are tiny


@dataclass(kw_only=True)
class PreprocessProgress(Progress):
    """How far a run is; the same object is updated and handed to the callback after every sequence.

    Attributes
    ----------
    total, frames : int
        Sequences and frames there are to do in all.
    done, frames_done : int
        What is done, earlier runs included.
    resumed, frames_resumed : int
        The part of it that an earlier run had done.
    missed, several_people, quarantined : int
        Frames without a face; sequences that show more than one person; sequences left out.
    reasons : dict of str to str
        Why each quarantined sequence was left out.
    seconds : dict of str to float
        Time spent in each stage, summed over the workers.
    """

    frames: int = 0
    frames_done: int = 0
    resumed: int = 0
    frames_resumed: int = 0
    missed: int = 0
    several_people: int = 0
    quarantined: int = 0
    reasons: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, plan: Plan, done: Finished) -> "PreprocessProgress":
        """Return how far a run is that finds some sequences done."""
        frames_done = int(plan.n_frames[done.rows["state"] > 0].sum())
        return cls(
            total=len(plan),
            done=len(done),
            resumed=len(done),
            frames=int(plan.n_frames.sum()),
            frames_done=frames_done,
            frames_resumed=frames_done,
            missed=int(done.rows["n_missed"][done.good].sum()),
            several_people=int((done.rows["n_people"][done.good] > 1).sum()),
            quarantined=len(done.reasons),
            reasons={plan.records[index].sequence: reason for index, reason in done.reasons.items()},
        )

    def steps(self, outcome: BatchOutcome, plan: Plan) -> Iterator["PreprocessProgress"]:
        """Count the sequences of a batch, and yield after each of them."""
        add_times(self.seconds, outcome.seconds)
        rows, reasons = outcome.entries.rows, outcome.entries.reasons
        frames = plan.n_frames[rows["index"]].tolist()
        self.several_people += int((rows["n_people"] > 1).sum())
        for index, n_frames, missed in zip(rows["index"].tolist(), frames, rows["n_missed"].tolist(), strict=True):
            self.done += 1
            self.frames_done += n_frames
            self.missed += missed
            if index in reasons:
                self.quarantined += 1
                self.reasons[plan.records[index].sequence] = reasons[index]
            yield self


def preprocess(
    root: str | Path,
    store: str | Path,
    *,
    preset: Preset = "stable",
    features: Sequence[str] = ("projection",),
    labels: str | Path | None = None,
    layout: Layout | None = None,
    until: Until = "apex",
    patterns: Patterns | None = None,
    faces: FaceConfig | None = None,
    motion: MotionConfig | None = None,
    flow: FlowConfig | None = None,
    boxes: str | Path | None = None,
    n_jobs: int = -1,
    overwrite: bool = False,
    retry: bool = False,
    box_cache: bool = True,
    keep_crops: bool = False,
    on_progress: Callable[[PreprocessProgress], None] | None = None,
) -> Store:
    """Turn a folder of face sequences into a store of motion features.

    Parameters
    ----------
    root : path-like
        The data set, for example the folder that holds CK+'s ``cohn-kanade-images`` and ``Emotion``.
    store : path-like
        The store's folder, made where missing. An unfinished store of the same input and configuration is continued.
    preset : {"stable", "paper"}
        "stable": one box per sequence, the better feature: no motion that is only crop jitter. "paper": every frame
        searched by itself, upsampled once, as the paper's scripts do.
    features : sequence of str
        Any of "projection", "mask", "pool134", "pool67", "pool34", "flow", "flow_projection", "units".
    labels : path-like, optional
        The folder of label files, where it is not ``ROOT/Emotion``.
    layout : {"ckplus", "folders", "labelled-folders", "table", "masks"}, optional
        How `root` is organised; guessed by default, see `fastck.scan`. For "table" it is a CSV file.
    until : {"apex", "offset", "end"}
        The last frame that is used of a table's clips.
    patterns : Patterns, optional
        How file names tell subjects and labels; see `fastck.scan`.
    faces : FaceConfig, optional
        How faces are found and cut out, in place of the preset.
    motion : MotionConfig, optional
        Difference mode, level and footprint; the paper's by default.
    flow : FlowConfig, optional
        How "flow" and "flow_projection" are computed; fastck's own search from the onset by default.
    boxes : path-like, optional
        A CSV of boxes to use in place of detection; see `fastck.faces.boxfile.read_boxes`.
    n_jobs : int
        Workers; -1 for one per core. Any number gives the same bytes. ``joblib.parallel_config`` decides what a worker
        is: threads by default; processes, Dask or Ray where the caller sets it.
    overwrite : bool
        Replace a store of another configuration or input.
    retry : bool
        Look at the sequences in quarantine again: their files were mended, or the machine was at fault. Sound ones are
        left as they are.
    box_cache : bool
        Keep detections in the user's cache folder (FASTCK_CACHE_DIR), and use those kept.
    keep_crops : bool
        Keep the cut-out faces too (71 kB a frame at the usual 267 pixels), and use those kept: a later run with another
        mode, level, footprint or feature then decodes nothing.
    on_progress : callable, optional
        Is given a `PreprocessProgress` at the start and after every sequence.

    Returns
    -------
    store : Store
        Sequences that could not be used are in its quarantine, with the reason.

    Raises
    ------
    ValueError
        If an option is wrong, `root` holds no sequences, or `store` was made from something else: other settings, other
        files, or, where it is unfinished, other versions of the libraries.
    OSError
        If the store cannot be written, another run is writing it, or the machine is at fault: a disk that is gone, too
        many open files. The same call goes on from there.
    """
    faces = faces or preset_faces(preset)
    features = check_features(features)
    user_boxes = read_boxes(boxes) if boxes is not None else None
    if keep_crops and not box_cache and user_boxes is None:
        raise ValueError("keep_crops needs box_cache: crops without their boxes are of no use")
    # Absolute: workers elsewhere have another working folder.
    listing = _list_sequences(Path(root).absolute(), labels, layout, until, patterns)
    if listing.records[0].masks:
        faces, motion = _mask_settings(listing.records, features, motion, user_boxes)
    if user_boxes:
        for line in user_boxes.strangers({record.sequence: record.n_frames for record in listing.records}):
            log.warning("%s has %s", boxes, line)
    if user_boxes or faces.boxes != WHOLE_FRAME:
        faces = replace(faces, boxes=user_boxes.digest if user_boxes else "")
    config = PreprocessConfig(faces=faces, motion=motion or MotionConfig(), features=features, flow=flow)
    plan = Plan(listing.records, listing.root, listing.fingerprints)
    versions = library_versions()
    folder = cache_folder() if box_cache or keep_crops else None
    if folder is None and (box_cache or keep_crops):
        log.warning("detections are not kept between runs: this user has no home folder; name one: FASTCK_CACHE_DIR")
    cache = Cache(folder, listing.root, faces, versions, user_boxes=user_boxes, keep_crops=keep_crops)
    builder = StoreBuilder(store, config, plan, versions=versions, overwrite=overwrite, retry=retry)
    with builder, cache:
        if not builder.finished:
            progress = PreprocessProgress.of(plan, builder.done)
            report = on_progress or (lambda _: None)
            report(progress)
            to_do = builder.done.to_do
            cache.check_room(plan.some(to_do))
            batches = iter_batches(iter_tasks(plan, to_do, cache), most=batch_size(len(to_do)))
            if len(to_do) and (not _workers_are_threads() or (searches(config.faces) and is_first_call())):
                compile_kernels(config)
            context = WorkerContext(listing.root, config, builder.target)
            with _single_threaded(config.features), Cancellation() as cancellation:
                work = (delayed(work_batch)(Batch(batch), context, cancellation) for batch in batches)
                # Threads, unless the caller's parallel_config differs: decoding, dlib, OpenCV and the kernels release
                # the GIL.
                workers = Parallel(n_jobs=n_jobs, prefer="threads", return_as="generator_unordered", batch_size=1)
                with closing(workers(work)) as outcomes:
                    for outcome in outcomes:
                        builder.record(outcome.entries)
                        cache.keep_boxes((plan[index], boxes) for index, boxes in outcome.found)
                        for step in progress.steps(outcome, plan):
                            report(step)
            builder.finish()
    return open_store(store)


def _list_sequences(
    root: Path, labels: str | Path | None, layout: Layout | None, until: Until, patterns: Patterns | None
) -> Scan:
    """Return the sequences of a data set, with a warning for each kind of finding."""
    listing = scan(root, labels=labels, layout=layout, until=until, patterns=patterns)
    for line in summarise(listing.findings):
        log.warning("%s", line)
    if not listing.records:
        named = layout or guess_layout(root)[0]
        raise ValueError(f"{root} holds no image sequences in the layout {named!r}: `fastck check` says what was found")
    return listing


def _mask_settings(
    records: Sequence[SequenceRecord], features: Sequence[str], motion: MotionConfig | None, boxes: BoxFile | None
) -> tuple[FaceConfig, MotionConfig]:
    """Return the settings under which frames made of masks give those masks: all of them, nothing eroded."""
    asked = [name for name in features if name not in FEATURES]
    if asked:
        raise ValueError(f"masks hold no gray levels: features must be some of {', '.join(FEATURES)}, got {asked[0]}")
    uneroded = MotionConfig(size=1)
    if boxes is not None or motion not in (None, MotionConfig(), uneroded):
        raise ValueError("masks are there already: leave out boxes, mode, level and footprint")
    header = read_image_header(records[0].frames[0])
    if header.width != header.height:
        raise ValueError(f"masks must be square, got {header.width}x{header.height} in {records[0].path}")
    return FaceConfig(boxes=WHOLE_FRAME, side=header.height), uneroded


def iter_tasks(plan: Plan, indices: NDArray[np.int64], cache: Cache) -> Iterator[Task]:
    """Yield the task of each sequence that is to do."""
    for index, planned in zip(indices.tolist(), plan.some(indices), strict=True):
        known, n_people = cache.boxes(planned), cache.n_people(planned)
        yield Task(index, planned, plan.records[index], known, cache.crops(planned), n_people)


def batch_size(n_sequences: int) -> int:
    """Return how many sequences a worker is given at once, at the most: one, unless there are thousands of them.

    A kill costs the sequences that are being worked on, and a batch is said to be done when all of it is.
    """
    return min(max(n_sequences // FEW_SEQUENCES, 1), BATCH_SEQUENCES)


def iter_batches(tasks: Iterable[Task], *, most: int) -> Iterator[list[Task]]:
    """Yield up to `most` tasks together, fewer where they have more than BATCH_FRAMES frames."""
    batch: list[Task] = []
    n_frames = 0
    for task in tasks:
        n_frames += task.planned.n_frames
        if batch and (len(batch) == most or n_frames > BATCH_FRAMES):
            yield batch
            batch, n_frames = [], task.planned.n_frames
        batch.append(task)
    if batch:
        yield batch


def _workers_are_threads() -> bool:
    """Return whether the workers share this process: then each kernel is compiled, or read, when it is first called."""
    backend, _ = get_active_backend(prefer="threads")
    return bool(getattr(backend, "uses_threads", False))


@contextmanager
def _single_threaded(features: Sequence[str]) -> Iterator[None]:
    """Keep OpenCV, and BLAS where it is used, to one thread per worker, and give the caller's settings back.

    Of the threads of a process threadpoolctl lets one limit OpenBLAS at a time: with limits of their own, workers would
    compute with one thread or with several, as it happens, and a unit's last digit with them.
    """
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    limited: AbstractContextManager[Any] = nullcontext()
    if "units" in features:
        from fastck.faces.dense import blas

        limited = blas().limit(limits=1, user_api="blas")
    try:
        with limited:
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
    named = {name: version(name) for name in ("numpy", "numba", "joblib", "pandas", "av", "simplejpeg", "pillow")}
    return {"fastck": __version__, **named, "opencv": cv2.__version__, "dlib": detector_version()}
