"""What runs in a worker: one sequence through all stages, its rows written, or the reason why it gives none."""

import ctypes
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from fastck.config import PreprocessConfig
from fastck.dataset.files import fingerprint
from fastck.dataset.records import SequenceRecord, packed_record, unpacked_record
from fastck.faces.box import FaceBox, Gray
from fastck.faces.finder import Found
from fastck.pipeline.cache import packed_boxes
from fastck.pipeline.cancellation import Cancellation, Cancelled
from fastck.pipeline.cropfile import CropFile
from fastck.pipeline.frames import BadSequence, record_frames
from fastck.pipeline.sequence import run_sequence
from fastck.pipeline.stopwatch import add_times
from fastck.store.finished import Entries
from fastck.store.plan import PlannedSequence
from fastck.store.reader import BOXES
from fastck.store.writer import RowTarget

log = logging.getLogger(__name__)

# glibc's malloc.h
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST_BLOCK = 32 * 2**20  # bytes; the most glibc allows
_MOST_KEPT = 64 * 2**20


@dataclass(frozen=True)
class WorkerContext:
    """What all sequences of a run have in common, wherever they are worked on; paths are absolute.

    Attributes
    ----------
    root : Path
        The data set's.
    config : PreprocessConfig
    target : RowTarget
    """

    root: Path
    config: PreprocessConfig
    target: RowTarget


class Task(NamedTuple):
    """What a worker needs for one sequence; paths are absolute.

    Attributes
    ----------
    plan_index : int
        Which one of the plan it is.
    planned : PlannedSequence
    record : SequenceRecord
    known : list of FaceBox or None, or None
        Detections that take the place of a search.
    kept : CropFile or None
        Where the crops are kept.
    n_people : int
        Of the known detections, as in the store's table; 0 where that is not known.
    """

    plan_index: int
    planned: PlannedSequence
    record: SequenceRecord
    known: Found | None
    kept: CropFile | None
    n_people: int = 0


class Batch:
    """Several tasks that go to a worker together, and to another process as plain values.

    Dask looks into lists and tuples for results of other tasks; it leaves this alone.

    Parameters
    ----------
    tasks : sequence of Task
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.tasks = tasks

    def __reduce__(self) -> tuple[Callable[[list[Any]], "Batch"], tuple[list[Any]]]:
        # Pickle takes a fifth of the time for plain tuples and numbers.
        plain = [
            (
                task.plan_index,
                tuple(task.planned),
                packed_record(task.record),
                None if task.known is None else [box and tuple(box) for box in task.known],
                task.kept,
                task.n_people,
            )
            for task in self.tasks
        ]
        return _unpacked_batch, (plain,)


def _unpacked_batch(plain: list[Any]) -> Batch:
    tasks = []
    for index, planned, record, known, kept, n_people in plain:
        found = None if known is None else [box and FaceBox(*box) for box in known]
        tasks.append(Task(index, PlannedSequence(*planned), unpacked_record(*record), found, kept, n_people))
    return Batch(tasks)


class Outcome(NamedTuple):
    """What came of one sequence: the journal's entry, new detections, and where the time went."""

    entry: dict[str, Any]
    found: Found | None = None
    seconds: dict[str, float] = {}  # noqa: RUF012 - never changed


@dataclass(frozen=True)
class BatchOutcome:
    """What came of several sequences.

    Attributes
    ----------
    entries : Entries
        The journal's, in the order of the work.
    found : list of (int, bytes)
        New detections by index in the plan, as the cache keeps them.
    seconds : dict of str to float
        Wall time of each stage.
    """

    entries: Entries
    found: list[tuple[int, bytes]]
    seconds: dict[str, float]


def work_batch(batch: Batch, context: WorkerContext, cancellation: Cancellation) -> BatchOutcome:
    """Do several sequences, one after the other; as `work`."""
    entries, found = [], []
    seconds: dict[str, float] = {}
    for task in batch.tasks:
        outcome = work(task, context, cancellation)
        entries.append((task.plan_index, task.planned.sequence, outcome.entry))
        if outcome.found is not None:
            found.append((task.plan_index, packed_boxes(outcome.found, outcome.entry["row"]["n_people"])))
        add_times(seconds, outcome.seconds)
    return BatchOutcome(Entries.of(entries, context.target.arrays), found, seconds)


def work(task: Task, context: WorkerContext, cancellation: Cancellation) -> Outcome:
    """Take one sequence through all stages and write its rows.

    Raises
    ------
    OSError, MemoryError
        If the store cannot be written, or the machine is at fault: the run ends, and no sequence pays for it.
    """
    if cv2.getNumThreads() != 1:
        cv2.setNumThreads(1)  # a worker in another process has not been told; one core per worker
    keep_freed_memory()
    planned = task.planned
    try:
        writer = context.target.writer(planned)
        with cancellation.working():
            result = run_sequence(
                lambda: _unchanged_frames(task, cancellation),
                planned.n_frames,
                context.config,
                writer.write,
                known=task.known,
                kept=task.kept,
            )
            writer.write({BOXES: np.asarray(result.boxes, np.int32)})
        row = {
            "height": result.height,
            "width": result.width,
            "n_missed": result.n_missed,
            "n_box_changes": int(result.box_changed.sum()),
            "n_people": result.n_people if task.known is None else task.n_people,
            "motion": result.motion,
            "motion_at_box_changes": result.motion_at_box_changes,
        }
        return Outcome(writer.entry(row), result.found if task.known is None else None, result.seconds)
    except BadSequence as error:
        check_in_place(task.record, context.root)
        return Outcome({"reason": str(error)})
    except (OSError, MemoryError, Cancelled):
        raise
    except Exception as error:  # one strange sequence must not end a night's run
        # With --verbose only: where a thousand sequences share it, the quarantine's summary says so in one line.
        log.info("%s", planned.sequence, exc_info=True)
        text = " ".join(str(error).split())
        return Outcome({"reason": f"unexpected {type(error).__name__}: {text}"})


def _unchanged_frames(task: Task, cancellation: Cancellation) -> Iterator[Gray]:
    """Yield a sequence's frames, until the run is over or its files are not those that were listed."""
    yield from cancellation.watch(record_frames(task.record))
    # Before anything is kept of them: rows, boxes and crops must be of the files that were listed.
    if fingerprint(task.record) != task.planned.fingerprint:
        raise BadSequence("its files have changed since they were listed")


def check_in_place(record: SequenceRecord, root: Path) -> None:
    """Raise OSError where more is gone than files of one sequence: a disk, a mount, or the whole data set.

    A mount that is gone leaves an empty folder, a link to it leads nowhere. A sequence's own folder that was removed
    while its neighbours are there is the sequence's matter.
    """
    folder = (record.video or record.frames[0]).parent
    above = [path for path in (folder, *folder.parents) if path == root or root in path.parents]
    for path in reversed(above or [folder]):
        try:
            with os.scandir(path) as entries:
                gone = next(entries, None) is None
        except PermissionError:
            continue
        except FileNotFoundError:
            gone = path != folder or path == root or path.is_symlink()
            if not gone:
                return
        except OSError:
            gone = True
        if gone:
            raise OSError(f"{path} is gone: bring it back, and run the same command again to go on")


@cache
def keep_freed_memory() -> None:
    """Let glibc use the blocks of one frame for the next one, also where MALLOC_TRIM_THRESHOLD_ is set.

    Dask sets that variable in its workers. glibc then no longer adapts to large blocks: each file, each decompressed
    image and each frame is fresh memory from the system, page by page, and decoding takes a quarter more time. Without
    the variable, and under another C library, nothing is changed.
    """
    if "MALLOC_TRIM_THRESHOLD_" not in os.environ or sys.platform != "linux":
        return
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, _LARGEST_BLOCK)
        mallopt(_TRIM_THRESHOLD, _MOST_KEPT)
