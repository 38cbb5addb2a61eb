"""The faces of images, folders and videos as rows of a table: what `fastck detect` writes."""

from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial
from os import PathLike
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from fastck.config import FaceConfig
from fastck.dataset.records import SequenceRecord
from fastck.faces.box import FaceBox, Gray
from fastck.faces.detector import check_upsample, find_landmarks
from fastck.faces.finder import borrowed, find_faces
from fastck.faces.people import People
from fastck.messages import Progress
from fastck.outputs import replacing
from fastck.pipeline.frames import BadSequence, record_frames

if TYPE_CHECKING:
    import pandas as pd

    from fastck.faces.appearance import Look
    from fastck.faces.landmarks import Landmarks
    from fastck.faces.pose import HeadPose

COLUMNS = ("sequence", "frame", "top", "left", "bottom", "right", "score")
POINT_COLUMNS = tuple(f"{axis}_{point}" for point in range(68) for axis in "xy")
LANDMARK_COLUMNS = ("landmark_confidence", "pose_yaw", "pose_pitch", "pose_roll", *POINT_COLUMNS)
LOOK_EVERY = 0.2  # seconds: how often it is told how far the search is
FRAME = (0, 255, 0)  # gray levels of a drawn box's edge, from the outside: seen on any ground


class FaceRow(NamedTuple):
    """One face: the sequence's id, the frame counted from 1, the box, dlib's score, and the person counted from 1.

    Person 1 is whose face is the largest, added up over the sequence. The points, and what action units are read from,
    are there where they are asked for.
    """

    sequence: str
    frame: int
    box: FaceBox
    score: float
    person: int = 1
    landmarks: "Landmarks | None" = None
    pose: "HeadPose | None" = None
    seen: "Look | None" = None

    def cells(self) -> tuple[object, ...]:
        """Return the values of COLUMNS, and those of LANDMARK_COLUMNS where the points are known."""
        cells = self.sequence, self.frame, *self.box, f"{self.score:.5f}"
        if self.landmarks is None or self.pose is None:
            return cells
        angles = (f"{angle:.2f}" for angle in self.pose[:3])
        points = (f"{value:.2f}" for value in self.landmarks.points.ravel().tolist())
        return *cells, f"{self.landmarks.confidence:.4f}", *angles, *points


class SequenceFaces(NamedTuple):
    """A sequence's faces, frame by frame and the surest first; `reason` says why it was cut short, else "".

    `seconds` has the time of each frame, NaN where its container has none.
    """

    sequence: str
    n_frames: int
    faces: list[FaceRow]
    reason: str
    source: str
    seconds: NDArray[np.float64]

    def by_person(self) -> list[FaceRow]:
        """Return the faces frame by frame, those of a frame by person."""
        return sorted(self.faces, key=lambda face: (face.frame, face.person))

    def frames(self, *, fps: float | None = None) -> "pd.DataFrame":
        """Return a row per frame and face: input, frame, seconds, person, top, left, bottom, right and score.

        LANDMARK_COLUMNS follow where the points were asked for.
        """
        import pandas as pd

        faces = self.by_person()
        boxes = np.array([face.box for face in faces], np.int32).reshape(-1, 4)
        numbers = np.array([face.frame for face in faces], np.int32)
        table = pd.DataFrame(
            {
                "input": pd.Series([self.source] * len(faces), dtype=object),
                "frame": numbers,
                "seconds": self.seconds[numbers - 1] if fps is None else (numbers - 1) / fps,
                "person": np.array([face.person for face in faces], np.int16),
                **{name: boxes[:, column] for column, name in enumerate(FaceBox._fields)},
                "score": np.array([face.score for face in faces], np.float32),
            }
        )
        found = [(face.landmarks, face.pose) for face in faces if face.landmarks is not None and face.pose is not None]
        return pd.concat([table, pd.DataFrame(landmark_columns(found))], axis=1) if found else table


def find_all_faces(
    records: Sequence[SequenceRecord],
    *,
    upsample: int = 1,
    largest_only: bool = False,
    landmarks: bool = False,
    units: bool = False,
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
    landmarks : bool
        Also the 68 points of each face, and how the head is held.
    units : bool
        Also what action units are read from.
    draw : path-like, optional
        An existing folder that receives every frame with its boxes, as ``SEQUENCE_00000001.png``.
    n_jobs : int
        Threads over sequences; -1 for one per core. Never changes the result.
    on_progress : callable, optional
        Called in this thread with a `Progress` in frames, several times a second.

    Yields
    ------
    faces : SequenceFaces
        In the order of `records`. A file that cannot be decoded ends its sequence, with the reason.

    Raises
    ------
    ValueError, OSError
        If `upsample` is out of range, or a picture cannot be written.
    """
    # Reading faces for answers needs no joblib, which takes a while to load.
    from joblib import effective_n_jobs

    check_upsample(upsample)
    total = sum(record.n_frames for record in records)
    counts = [0] * len(records)
    stop = Event()
    folder = None if draw is None else Path(draw)
    search = _Search(upsample, largest_only, landmarks, units)
    with ThreadPoolExecutor(effective_n_jobs(n_jobs)) as pool:
        tasks = [
            pool.submit(_find, record, search, folder, partial(_count, counts, index, stop))
            for index, record in enumerate(records)
        ]
        try:
            for task in tasks:
                while not wait([task], timeout=LOOK_EVERY).done:
                    if on_progress is not None:
                        on_progress(Progress(done=sum(counts), total=total))
                yield task.result()
        finally:
            # Ctrl-C, or a receiver that has enough.
            stop.set()
            pool.shutdown(cancel_futures=True)
        if on_progress is not None:
            on_progress(Progress(done=total, total=total))


def _count(counts: list[int], index: int, stop: Event, n_frames: int) -> bool:
    """Take in how many frames of a sequence were searched; return whether to go on."""
    counts[index] = n_frames
    return not stop.is_set()


def count_people(record: SequenceRecord) -> int:
    """Return how many people a sequence shows, as a store's n_people has it; 0 where no face is found.

    That is in its first frame with a face: those whose faces are at least half as wide as the largest.
    """
    people: list[int] = []
    if not record.masks:
        # What cannot be read has findings of its own.
        with suppress(BadSequence):
            find_faces(record_frames(record), FaceConfig(crop="sequence"), people)
    return sum(people)


class _Search(NamedTuple):
    upsample: int
    largest_only: bool
    landmarks: bool
    units: bool


def _find(record: SequenceRecord, wanted: _Search, draw: Path | None, count: Callable[[int], bool]) -> SequenceFaces:
    rows: list[FaceRow] = []
    people, times = People(), array("d")
    n_frames, reason = 0, ""
    look = _look_for(wanted)
    with borrowed(wanted.upsample, "tracked" if wanted.largest_only else "compiled") as search:
        try:
            for n_frames, gray in enumerate(record_frames(record, times), start=1):
                found = search.with_scores(gray)
                who = {box: number for number, (box, _) in people.push(found).items()}
                faces = [FaceRow(record.sequence, n_frames, box, score, who[box]) for box, score in found]
                if look is not None:
                    faces = [look(gray, face) for face in faces]
                rows += faces
                if draw is not None:
                    draw_faces(gray, faces, draw / f"{record.sequence}_{n_frames:08d}.png")
                if not count(n_frames):
                    break
        except BadSequence as error:
            reason = str(error)
    seconds = np.array(times, np.float64)
    return SequenceFaces(record.sequence, n_frames, _largest_first(rows), reason, source_of(record), seconds)


def _look_for(wanted: _Search) -> Callable[[Gray, FaceRow], FaceRow] | None:
    """Return what looks at a face for its points and action units; None where neither is wanted."""
    if not (wanted.landmarks or wanted.units):
        return None
    from fastck.faces.pose import head_pose
    from fastck.faces.units import UnitReader

    reader = UnitReader() if wanted.units else None

    def look(gray: Gray, face: FaceRow) -> FaceRow:
        (found,) = find_landmarks(gray, [face.box])
        if wanted.landmarks:
            face = face._replace(landmarks=found, pose=head_pose(found.points, gray.shape))
        return face if reader is None else face._replace(seen=reader.see(gray, found))

    return look


def _largest_first(rows: Sequence[FaceRow]) -> list[FaceRow]:
    """Return faces whose people are counted anew: 1 for the one whose face is the largest, added up over the frames."""
    sizes: Counter[int] = Counter()
    for row in rows:
        sizes[row.person] += row.box.area
    rank = {person: number for number, (person, _) in enumerate(sizes.most_common(), start=1)}
    return [row._replace(person=rank[row.person]) for row in rows]


def source_of(record: SequenceRecord) -> str:
    """Return the path of a sequence: of its video, its folder, or its only picture."""
    return str(record.frames[0]) if record.video is None and len(record.frames) == 1 else record.path


def landmark_columns(
    found: "Sequence[tuple[Landmarks, HeadPose] | None]",
) -> dict[str, NDArray[np.generic]]:
    """Return LANDMARK_COLUMNS of faces: confidence, degrees and pixels, NaN for None."""
    values = np.full((len(found), len(LANDMARK_COLUMNS)), np.nan)
    for row, face in zip(values, found, strict=True):
        if face is not None:
            landmarks, pose = face
            row[:] = landmarks.confidence, *pose[:3], *landmarks.points.ravel()
    return dict(zip(LANDMARK_COLUMNS, values.round(4).T, strict=True))


def draw_faces(gray: Gray, faces: Sequence[FaceRow], path: Path) -> None:
    """Write a frame with its boxes framed and the points where they are known, as PNG.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    picture = gray.copy()
    for face in faces:
        box = face.box
        for inset, level in enumerate(FRAME):
            corners = (box.left + inset, box.top + inset), (box.right - 1 - inset, box.bottom - 1 - inset)
            cv2.rectangle(picture, *corners, level)
        if face.landmarks is not None:
            for column, row in np.rint(face.landmarks.points).astype(int).tolist():
                for radius, level in ((2, 0), (1, 255)):
                    cv2.circle(picture, (column, row), radius, level, -1)
    _, content = cv2.imencode(".png", picture)
    with replacing(path) as temporary:
        temporary.write_bytes(content.tobytes())
