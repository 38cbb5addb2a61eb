"""Check on a user's own frames that the tracked search finds the boxes of dlib's full search."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from typing import Any

import pandas as pd
from joblib import Parallel, delayed

from fastck.config import Layout, Until
from fastck.dataset.layouts import scan
from fastck.dataset.patterns import Patterns
from fastck.dataset.records import SequenceRecord
from fastck.faces.box import FaceBox, largest
from fastck.faces.detector import check_upsample
from fastck.faces.finder import borrowed
from fastck.messages import Progress
from fastck.pipeline.frames import BadSequence, record_frames

DIFFERENCE_COLUMNS = ("sequence", "frame", "full", "tracked", "pixels")


@dataclass(frozen=True, kw_only=True)
class BoxComparison:
    """What both searches found.

    Attributes
    ----------
    table : DataFrame
        One row per sequence: sequence, n_frames, n_faces, n_different (frames whose box differs), seconds_full,
        seconds_tracked, reason (why a sequence was cut short, else "").
    differences : DataFrame
        One row per frame that differs: sequence, frame (from 1), full and tracked (FaceBox, or None for no face),
        pixels (largest distance between their edges; missing where only one found a face).
    """

    table: pd.DataFrame
    differences: pd.DataFrame

    @property
    def n_frames(self) -> int:
        """Frames that both searched."""
        return int(self.table["n_frames"].sum())

    @property
    def n_faces(self) -> int:
        """Frames in which dlib finds a face."""
        return int(self.table["n_faces"].sum())

    @property
    def n_different(self) -> int:
        """Frames whose largest face differs."""
        return int(self.table["n_different"].sum())

    @property
    def speedup(self) -> float:
        """How many times longer dlib's search takes; NaN where nothing was searched."""
        tracked = float(self.table["seconds_tracked"].sum())
        return float(self.table["seconds_full"].sum()) / tracked if tracked else float("nan")


def compare_boxes(
    root: str | PathLike[str],
    *,
    labels: str | PathLike[str] | None = None,
    layout: Layout | None = None,
    until: Until = "apex",
    patterns: Patterns | None = None,
    n_jobs: int = -1,
    upsample: int = 1,
    limit: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> BoxComparison:
    """Search every frame with dlib and with `fastck.faces.tracking.TrackedDetector`, and compare the largest faces.

    Parameters
    ----------
    root, labels, layout, until, patterns
        As in `fastck.dataset.layouts.scan`.
    n_jobs : int
        Threads over sequences; -1 for one per core. Timings are cleanest with 1.
    upsample : int
        How often the image is doubled before the search (paper: 1).
    limit : int, optional
        Compare only so many sequences, spread evenly over all.
    on_progress : callable, optional
        Called in this thread with a `Progress` in sequences after every sequence.

    Returns
    -------
    comparison : BoxComparison

    Raises
    ------
    ValueError, OSError
        If `root` holds no sequences or cannot be read, or `limit` or `upsample` is out of range.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1 sequence, got {limit}")
    check_upsample(upsample)
    records = scan(root, labels=labels, layout=layout, until=until, patterns=patterns).records
    if not records:
        raise ValueError(f"{root} holds no sequences: `fastck check` says what was found")
    if limit is not None and limit < len(records):
        records = [records[i * len(records) // limit] for i in range(limit)]
    rows: list[dict[str, Any]] = []
    differences: list[dict[str, Any]] = []
    workers = Parallel(n_jobs=n_jobs, prefer="threads", return_as="generator", batch_size=1)
    for row, different in workers(delayed(compare_sequence)(record, upsample) for record in records):
        rows.append(row)
        differences += different
        if on_progress is not None:
            on_progress(Progress(done=len(rows), total=len(records)))
    return BoxComparison(
        table=pd.DataFrame(rows), differences=pd.DataFrame(differences, columns=list(DIFFERENCE_COLUMNS))
    )


def compare_sequence(record: SequenceRecord, upsample: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return a sequence's row of the table and its rows of the differences."""
    row: dict[str, Any] = {
        "sequence": record.sequence,
        "n_frames": 0,
        "n_faces": 0,
        "n_different": 0,
        "seconds_full": 0.0,
        "seconds_tracked": 0.0,
        "reason": "",
    }
    differences = []
    with borrowed(upsample, "full") as full, borrowed(upsample, "tracked") as tracked:
        try:
            for number, gray in enumerate(record_frames(record), start=1):
                started = time.perf_counter()
                expected = largest(full(gray))
                between = time.perf_counter()
                found = largest(tracked(gray))
                row["seconds_full"] += between - started
                row["seconds_tracked"] += time.perf_counter() - between
                row["n_frames"] += 1
                row["n_faces"] += expected is not None
                if found != expected:
                    row["n_different"] += 1
                    differences.append(
                        {
                            "sequence": record.sequence,
                            "frame": number,
                            "full": expected,
                            "tracked": found,
                            "pixels": edge_distance(expected, found),
                        }
                    )
        except BadSequence as error:
            row["reason"] = str(error)
    return row, differences


def edge_distance(one: FaceBox | None, two: FaceBox | None) -> float:
    """Return the largest distance between the edges of two boxes in pixels; NaN where one is missing."""
    if one is None or two is None:
        return float("nan")
    return float(max(abs(a - b) for a, b in zip(one, two, strict=True)))
