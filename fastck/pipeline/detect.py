"""The faces of images, folders and videos as rows of a table: what `fastck detect` writes."""

from collections.abc import Callable, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import cv2
from joblib import Parallel, delayed

from fastck.dataset.records import SequenceRecord
from fastck.faces.box import FaceBox, Gray
from fastck.faces.detector import check_upsample
from fastck.faces.finder import borrowed
from fastck.messages import Progress
from fastck.outputs import replacing
from fastck.pipeline.frames import BadSequence, record_frames

COLUMNS = ("sequence", "frame", "top", "left", "bottom", "right", "score")
FRAME = (0, 255, 0)  # gray levels of a drawn box's edge, from the outside: seen on any ground


class FaceRow(NamedTuple):
    """One face: the sequence's id, the frame counted from 1, the box and dlib's score."""

    sequence: str
    frame: int
    box: FaceBox
    score: float

    def cells(self) -> tuple[object, ...]:
        """Return the values of COLUMNS."""
        return self.sequence, self.frame, *self.box, f"{self.score:.5f}"


class SequenceFaces(NamedTuple):
    """A sequence's faces, frame by frame and the surest first; `reason` says why it was cut short, else ""."""

    sequence: str
    n_frames: int
    faces: list[FaceRow]
    reason: str


def find_all_faces(
    records: Sequence[SequenceRecord],
    *,
    upsample: int = 1,
    largest_only: bool = False,
    draw: str | PathLike[str] | None = None,
    n_jobs: int = -1,
    on_progress: Callable[[Progress], None] | None = None,
) -> Iterator[SequenceFaces]:
    """Search every frame for faces; what dlib's frontal face detector finds, in its order.

    Parameters
    ----------
    records : sequence of SequenceRecord
    upsample : {0, 1, 2}
        How often a frame is doubled before the search. Smallest face found: about 80 pixels / 2**upsample.
    largest_only : bool
        Only the largest face of each frame, which takes a fraction of the time.
    draw : path-like, optional
        An existing folder that receives every frame with its boxes, as ``SEQUENCE_00000001.png``.
    n_jobs : int
        Threads over sequences; -1 for one per core. Never changes the result.
    on_progress : callable, optional
        Called in this thread with a `Progress` in frames after every sequence.

    Yields
    ------
    faces : SequenceFaces
        In the order of `records`. A file that cannot be decoded ends its sequence, with the reason.

    Raises
    ------
    ValueError, OSError
        If `upsample` is out of range, or a picture cannot be written.
    """
    check_upsample(upsample)
    total = sum(record.n_frames for record in records)
    done = 0
    workers = Parallel(n_jobs=n_jobs, prefer="threads", return_as="generator", batch_size=1)
    folder = None if draw is None else Path(draw)
    results = workers(delayed(_find)(record, upsample, largest_only, folder) for record in records)
    for record, result in zip(records, results, strict=True):
        yield result
        done += record.n_frames
        if on_progress is not None:
            on_progress(Progress(done=done, total=total))


def _find(record: SequenceRecord, upsample: int, largest_only: bool, draw: Path | None) -> SequenceFaces:
    rows: list[FaceRow] = []
    n_frames = 0
    with borrowed(upsample, "tracked" if largest_only else "compiled") as search:
        try:
            for n_frames, gray in enumerate(record_frames(record), start=1):
                found = search.with_scores(gray)
                rows += [FaceRow(record.sequence, n_frames, box, score) for box, score in found]
                if draw is not None:
                    draw_boxes(gray, [box for box, _ in found], draw / f"{record.sequence}_{n_frames:08d}.png")
        except BadSequence as error:
            return SequenceFaces(record.sequence, n_frames, rows, str(error))
    return SequenceFaces(record.sequence, n_frames, rows, "")


def draw_boxes(gray: Gray, boxes: Sequence[FaceBox], path: Path) -> None:
    """Write a frame with its boxes framed, as PNG.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    picture = gray.copy()
    for box in boxes:
        for inset, level in enumerate(FRAME):
            corners = (box.left + inset, box.top + inset), (box.right - 1 - inset, box.bottom - 1 - inset)
            cv2.rectangle(picture, *corners, level)
    _, content = cv2.imencode(".png", picture)
    with replacing(path) as temporary:
        temporary.write_bytes(content.tobytes())
