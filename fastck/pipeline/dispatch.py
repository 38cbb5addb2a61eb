"""Bulk preprocessing: the sequences of a data set, spread over workers with joblib, become a store."""

import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
from joblib import Parallel, delayed

from fastck import __version__
from fastck.config import FaceConfig, Layout, MotionConfig, PreprocessConfig, Preset, Until, preset_faces
from fastck.dataset.findings import summarise
from fastck.dataset.layouts import scan
from fastck.dataset.records import SequenceRecord
from fastck.faces.boxfile import read_boxes
from fastck.faces.detector import detector_version
from fastck.messages import Progress
from fastck.ops import STORE_FEATURES
from fastck.pipeline.cache import Cache, cache_folder
from fastck.pipeline.cancellation import Cancellation
from fastck.pipeline.warmup import compile_kernels
from fastck.pipeline.worker import Outcome, Task, work_batch
from fastck.store.builder import StoreBuilder
from fastck.store.plan import PlannedSequence, make_plan
from fastck.store.reader import Store, open_store

log = logging.getLogger(__name__)

FEW_SEQUENCES = 1000  # up to twice as many go to the workers one by one
BATCH_SEQUENCES = 32
BATCH_FRAMES = 96  # a third of a second of work


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
    missed, quarantined : int
        Frames without a face; sequences left out.
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
    quarantined: int = 0
    reasons: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, plan: Sequence[PlannedSequence], done: dict[str, dict[str, Any]]) -> "PreprocessProgress":
        """Return how far a run is that finds some sequences done."""
        progress = cls(total=len(plan), frames=sum(planned.n_frames for planned in plan))
        for planned in plan:
            if planned.sequence in done:
                progress.add(planned, done[planned.sequence])
        progress.resumed, progress.frames_resumed = progress.done, progress.frames_done
        return progress

    def add(self, planned: PlannedSequence, entry: dict[str, Any], seconds: dict[str, float] | None = None) -> None:
        """Count a sequence that is done."""
        self.done += 1
        self.frames_done += planned.n_frames
        if "reason" in entry:
            self.quarantined += 1
            self.reasons[planned.sequence] = entry["reason"]
        else:
            self.missed += entry["row"]["n_missed"]
        for stage, time in (seconds or {}).items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time


def preprocess(
    root: str | Path,
    store: str | Path,
    *,
    preset: Preset = "stable",
    features: Sequence[str] = ("projection",),
    labels: str | Path | None = None,
    layout: Layout = "ckplus",
    until: Until = "apex",
    faces: FaceConfig | None = None,
    motion: MotionConfig | None = None,
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
        Any of "projection", "mask", "pool134", "pool67", "pool34", "flow", "flow_projection".
    labels : path-like, optional
        The folder of label files, where it is not ``ROOT/Emotion``.
    layout : {"ckplus", "folders", "labelled-folders", "table"}
        How `root` is organised; see `fastck.scan`. For "table" it is a CSV file.
    until : {"apex", "offset", "end"}
        The last frame that is used of a table's clips.
    faces : FaceConfig, optional
        How faces are found and cut out, in place of the preset.
    motion : MotionConfig, optional
        Difference mode, level and footprint; the paper's by default.
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
    own = read_boxes(boxes) if boxes is not None else None
    if keep_crops and not box_cache and own is None:
        raise ValueError("keep_crops needs box_cache: crops without their boxes are of no use")
    # Absolute: workers elsewhere have another working folder.
    root = Path(root).absolute()
    found = scan(root, labels=labels, layout=layout, until=until)
    for line in summarise(found.findings):
        log.warning("%s", line)
    if not found.records:
        raise ValueError(
            f"{root} holds no image sequences in the layout {layout!r}: `fastck check` says what was found"
        )
    # A table's sequences lie below the folder of the table.
    root = found.root
    faces = replace(faces, boxes=own.digest if own else "")
    config = PreprocessConfig(faces=faces, motion=motion or MotionConfig(), features=features)
    plan = make_plan(found.records, root)
    versions = library_versions()
    folder = cache_folder() if box_cache or keep_crops else None
    cache = Cache(folder, root, faces, versions, own=own, keep_boxes=box_cache, keep_crops=keep_crops)
    builder = StoreBuilder(store, config, plan, versions=versions, overwrite=overwrite, retry=retry)
    with builder, cache:
        if not builder.finished:
            progress = PreprocessProgress.of(plan, builder.done)
            report = on_progress or (lambda _: None)
            report(progress)
            todo = [pair for pair in zip(plan, found.records, strict=True) if pair[0].sequence not in builder.done]
            cache.check_room(planned for planned, _ in todo)
            batches = iter_batches(iter_tasks(todo, root, builder, cache), most=batch_size(len(todo)))
            if todo:
                compile_kernels(config)
            with closing(run_batches(batches, n_jobs)) as results:
                for outcomes in results:
                    builder.record({outcome.planned.sequence: outcome.entry for outcome in outcomes})
                    cache.keep_boxes(
                        (outcome.planned, outcome.found) for outcome in outcomes if outcome.found is not None
                    )
                    for outcome in outcomes:
                        progress.add(outcome.planned, outcome.entry, outcome.seconds)
                        report(progress)
            builder.finish()
    return open_store(store)


def iter_tasks(
    todo: Iterable[tuple[PlannedSequence, SequenceRecord]], root: Path, builder: StoreBuilder, cache: Cache
) -> Iterator[Task]:
    """Yield the task of each sequence that is to do."""
    for planned, record in todo:
        yield Task(
            record=record,
            planned=planned,
            root=root,
            config=builder.config,
            known=cache.boxes(planned),
            kept=cache.crops(planned),
            writer=builder.writer(planned),
        )


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


def run_batches(batches: Iterable[list[Task]], n_jobs: int) -> Generator[list[Outcome], None, None]:
    """Yield each batch's outcomes as they come; when the iterator is closed, no thread is at work any more."""
    with _single_threaded_cv2(), Cancellation() as cancellation:
        # Threads, unless the caller's parallel_config differs: decoding, dlib, OpenCV and the kernels release the GIL.
        workers = Parallel(n_jobs=n_jobs, prefer="threads", return_as="generator_unordered", batch_size=1)
        yield from workers(delayed(work_batch)(batch, cancellation) for batch in batches)


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
