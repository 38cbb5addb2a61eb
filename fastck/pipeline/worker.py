"""What runs in a worker: one sequence through all stages, its rows written, and home in time when the run is over."""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Condition
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fastck.config import PreprocessConfig
from fastck.dataset.records import SequenceRecord
from fastck.faces.box import FaceBox
from fastck.faces.finder import Found
from fastck.pipeline.cropcache import CropFile
from fastck.pipeline.sequence import BadSequence, record_frames, run_sequence
from fastck.store.files import write_rows
from fastck.store.plan import PlannedSequence
from fastck.store.reader import BOXES, checksum

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Task:
    """All that a worker needs for one sequence; the store's arrays are opened by path, wherever the worker runs.

    `crops` is the file of the kept crops. `steps` and `frames` are the rows that the feature arrays and the boxes have
    in all, `run` and `process` say for which run and from which process the task comes.
    """

    record: SequenceRecord
    planned: PlannedSequence
    config: PreprocessConfig
    store: Path
    found: Sequence[FaceBox | None] | None
    crops: Path | None
    steps: int
    frames: int
    run: str
    process: int


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a worker hands back: the journal's entry, new detections, and where the time went."""

    entry: dict[str, Any]
    found: Found | None = None
    seconds: dict[str, float] = field(default_factory=dict)


class Stopped(Exception):
    """The run is over: this sequence's work is not wanted any more."""


class Watch:
    """Knows which threads of this process work for a run, and can send them home.

    A thread that is inside dlib while the interpreter shuts down aborts the process, so a run that is interrupted waits
    for its threads; they look up from their work at every frame.
    """

    def __init__(self) -> None:
        self._stopping = False
        self._working = 0
        self._idle = Condition()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Count this thread as working while the context is open."""
        with self._idle:
            self._working += 1
        try:
            yield
        finally:
            with self._idle:
                self._working -= 1
                self._idle.notify_all()

    def frames(self, frames: Iterator[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
        """Pass frames on until the run is over."""
        for gray in frames:
            if self._stopping:
                raise Stopped
            yield gray

    def stop(self) -> None:
        """End the work at the next frame, and wait for every thread."""
        self._stopping = True
        with self._idle:
            self._idle.wait_for(lambda: self._working == 0)


_watches: dict[str, Watch] = {}  # by run


def work(task: Task) -> tuple[str, Outcome]:
    """Take one sequence through all stages and write its rows; runs in a worker."""
    if cv2.getNumThreads() != 1:
        cv2.setNumThreads(1)  # a worker in another process has not been told; one core per worker
    sums: dict[str, str] = {}
    planned, config = task.planned, task.config

    def write(row: int, rows: dict[str, NDArray[Any]]) -> None:
        for name, values in rows.items():
            write_rows(task.store / f"{name}.npy", planned.start + row, values, task.steps)
            sums[name] = checksum(values, sums.get(name, "00000000"))

    def frames() -> Iterator[NDArray[np.uint8]]:
        return watch.frames(record_frames(task.record))

    name, watch = planned.sequence, _watch(task)
    try:
        with watch.working():
            crops = CropFile(task.crops, planned.n_frames, config.faces.side) if task.crops else None
            result = run_sequence(frames, planned.n_frames, config, write, found=task.found, crops=crops)
    except BadSequence as error:
        return name, Outcome(entry={"reason": str(error)})
    except (OSError, MemoryError, Stopped):
        raise  # the store cannot be written, the machine or the run is at its end: no fault of this sequence
    except Exception as error:  # one strange sequence must not end a night's run
        # With --verbose only: where a thousand sequences share it, the quarantine's summary says so in one line.
        log.info("%s", name, exc_info=True)
        text = " ".join(str(error).split())
        return name, Outcome(entry={"reason": f"unexpected {type(error).__name__}: {text}"})
    boxes = np.asarray(result.boxes, np.int32)
    write_rows(task.store / f"{BOXES}.npy", planned.frame_start, boxes, task.frames)
    sums[BOXES] = checksum(boxes)
    row = {
        "height": result.height,
        "width": result.width,
        "n_missed": result.n_missed,
        "n_box_changes": int(result.box_changed.sum()),
        "motion": result.motion,
        "motion_at_box_changes": result.motion_at_box_changes,
    }
    found = result.found if task.found is None else None
    return name, Outcome(entry={"row": row, "crc32": sums}, found=found, seconds=result.seconds)


def _watch(task: Task) -> Watch:
    """Return the watch over the run a task belongs to."""
    if task.process == os.getpid():
        if task.run not in _watches:
            raise Stopped
        return _watches[task.run]
    return Watch()  # a worker in another process: nobody here waits for it


@contextmanager
def watched(run: str) -> Iterator[None]:
    """Let no thread of a run outlive it."""
    watch = _watches[run] = Watch()
    try:
        yield
    finally:
        watch.stop()
        del _watches[run]
