"""One picture: it has no motion, but may be compared with the same person's face at rest."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from fastck.config import FaceConfig
from fastck.dataset.clip import clip_record
from fastck.dataset.inputs import is_photo, read_inputs
from fastck.dataset.records import SequenceRecord
from fastck.faces.box import FaceBox, Gray, overlap
from fastck.faces.finder import all_faces
from fastck.faces.people import Scored
from fastck.images.image import read_gray
from fastck.messages import one_line
from fastck.pipeline.frames import BadSequence
from fastck.recogniser import BUNDLED, TRAINED_ON, Recogniser, bundled
from fastck.recognition.follow import Follower, Reading
from fastck.recognition.footage import Footage
from fastck.recognition.frame_columns import NO_COLUMNS, FrameColumns, Rows, columns_of_boxes
from fastck.recognition.prediction import Prediction
from fastck.recognition.segments import SAME_FACE
from fastck.recognition.windows import Window, answered_windows, motion_windows
from fastck.training.settings.config import probability_columns

if TYPE_CHECKING:
    from fastck.faces.appearance import Look

NO_MOTION = "one picture has no motion, so no emotion is told: name a clip, or the same face at rest with --neutral"
BESIDE_AVERAGE = "units of one picture are beside the average of rendered people; --neutral names the same face at rest"
MOST_POINTS = 400  # that are followed from the face at rest to the other one
FEWEST_POINTS = 12  # fewer that agree say nothing about how the head is turned
AGREE = 0.02  # shares of the face's height


def path_record(path: Path) -> SequenceRecord:
    """Return the sequence that a path stands for: a folder of frames, a video, or a photo as its only frame."""
    records = read_inputs([path]).records
    photos = sum(map(is_photo, records))
    if photos == len(records) == 1:
        return records[0]
    if photos == len(records):
        raise ValueError(f"{one_line(path)} holds {photos} photos, no sequence of frames: name them in a list")
    return clip_record(path)


def read_photo(path: Path) -> tuple[Gray, list[Scored]]:
    """Return a picture and its faces, the largest first.

    Raises
    ------
    BadSequence
        If it has no face; a ValueError.
    ValueError, OSError
        If it cannot be read.
    """
    gray = read_gray(path)
    return gray, sorted_faces(gray, one_line(path.name))


class AtRest(NamedTuple):
    """A picture of somebody at rest: its file's name, its gray levels, the largest face, and what is seen of that."""

    name: str
    gray: Gray
    face: FaceBox
    look: "Look"


def photo_at_rest(path: Path) -> AtRest:
    """Return a picture of somebody at rest; raises as `read_photo` does."""
    from fastck.faces.units import UnitReader

    gray, faces = read_photo(path)
    face = faces[0][0]
    return AtRest(one_line(path.name), gray, face, UnitReader()(gray, face))


def sorted_faces(gray: Gray, name: str) -> list[Scored]:
    """Return the faces of a picture, the largest first; at least one."""
    faces = all_faces(gray, FaceConfig())
    if not faces:
        raise BadSequence(f"no face found in {name}")
    return sorted(faces, key=lambda face: -face[0].area)


def look_at_photo(
    footage: Footage,
    *,
    neutral: AtRest | None = None,
    recogniser: Recogniser | None = None,
    columns: FrameColumns = NO_COLUMNS,
) -> Prediction:
    """Say where the faces of a picture are, and what the largest one shows against the same face at rest.

    Parameters
    ----------
    footage : Footage
        One frame.
    neutral : AtRest, optional
        The same person at rest. Without it no emotion is told.
    recogniser : Recogniser, optional
        In place of the bundled one.
    columns : FrameColumns
        What `Prediction.frames` has besides.

    Raises
    ------
    BadSequence
        If it has no face; a ValueError.
    ValueError, OSError
        If it cannot be read.
    """
    judged = recogniser is None
    recogniser = recogniser or bundled()
    gray = next(footage.open())
    faces = sorted_faces(gray, footage.name)
    windows: tuple[Window, ...] = ()
    rows = _rows(faces, recogniser.classes)
    notes = [NO_MOTION, *([BESIDE_AVERAGE] if columns.units else [])]
    if neutral is not None:
        laid = aligned(gray, faces[0][0], neutral.gray, neutral.face)
        pair = ((neutral.gray, neutral.face), (laid, faces[0][0] if laid is gray else neutral.face))
        readings = _readings(pair, recogniser, judged=judged)
        # The one behind the picture at rest answers.
        windows, _ = answered_windows(motion_windows(readings), recogniser)
        windows = tuple(window._replace(first_frame=1, last_frame=1) for window in windows)
        rows["motion"][0] = readings[-1].moment.displacement
        for name, share in zip(recogniser.classes, readings[-1].probabilities, strict=True):
            rows[f"p_{name}"][0] = share
        notes = [f"compared with {neutral.name}"]
        if len(faces) > 1:
            notes.append(f"{len(faces) - 1} smaller faces have no face at rest to be compared with")
    rest = None if neutral is None else neutral.look
    rows |= columns_of_boxes([box for box, _ in faces], repeat(gray), rows["person"], columns, rest)
    answered = [
        Prediction(
            clip=footage.name,
            source=footage.source,
            windows=windows,
            n_frames=1,
            n_missed=0,
            model=BUNDLED,
            rows=rows,
            person=number,
            notes=tuple(notes) if number == 1 else (),
            strongest=0 if windows else None,
            unsure_below=recogniser.unsure_below,
            trained_on=TRAINED_ON,
        )
        for number in range(1, 2 if neutral else len(faces) + 1)
    ]
    return replace(answered[0], others=tuple(answered[1:]))


def _readings(pair: Sequence[tuple[Gray, FaceBox]], recogniser: Recogniser, *, judged: bool) -> list[Reading]:
    """Return the readings of two pictures and their faces, as those of a clip that begins with the face at rest."""
    from fastck.faces.units import UnitReader
    from fastck.recognition.judge import judge_readings

    look = UnitReader() if judged else None
    follower = Follower(recogniser, look)
    readings = [reading for gray, box in pair if (reading := follower.push(gray, box)) is not None]
    if look is None:
        return readings
    return judge_readings(readings, recogniser, look.model, neutral=readings[0].seen).readings


def _rows(faces: Sequence[Scored], classes: Sequence[str]) -> Rows:
    """Return the columns of `Prediction.frames` for the faces of one picture."""
    n_faces = len(faces)
    boxes = np.array([box for box, _ in faces], np.int32)
    return {
        "frame": np.ones(n_faces, np.int32),
        "seconds": np.full(n_faces, np.nan),
        "person": np.arange(1, n_faces + 1, dtype=np.int16),
        **{name: boxes[:, column] for column, name in enumerate(FaceBox._fields)},
        "score": np.array([score for _, score in faces], np.float32),
        **{name: np.full(n_faces, np.nan, np.float32) for name in ("motion", *probability_columns(classes))},
    }


def aligned(gray: Gray, face: FaceBox, rest: Gray, at_rest: FaceBox) -> Gray:
    """Return a picture turned, scaled and moved so that its face lies over the face at rest; in that picture's size.

    Two pictures from one tripod stay as they are: a clip's frames are not moved either.
    """
    if gray.shape == rest.shape and overlap(face, at_rest) >= SAME_FACE:
        return gray
    scale = float(np.sqrt(at_rest.area / face.area))
    if scale < 1:
        # Fine detail of a larger picture would turn into noise.
        gray = cv2.GaussianBlur(gray, (0, 0), 0.5 / scale - 0.4) if scale < 0.7 else gray
    centres = [((box.left + box.right) / 2, (box.top + box.bottom) / 2) for box in (face, at_rest)]
    (x, y), (to_x, to_y) = centres
    first = np.array([[scale, 0, to_x - scale * x], [0, scale, to_y - scale * y]])
    near = _warped(gray, first, rest)
    finer = _similarity(near, rest, at_rest)
    if finer is None:
        return near
    return _warped(gray, finer @ np.vstack([first, (0, 0, 1)]), rest)


def _warped(gray: Gray, matrix: NDArray[np.float64], like: Gray) -> Gray:
    size = (like.shape[1], like.shape[0])
    return np.asarray(cv2.warpAffine(gray, matrix, size, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def _similarity(near: Gray, rest: Gray, box: FaceBox) -> NDArray[np.float64] | None:
    """Return the turn, scale and shift that takes most of a face's points back to those at rest; None for too few.

    Points that an expression moves are outliers.
    """
    mask = np.zeros(rest.shape, np.uint8)
    mask[box.top : box.bottom, box.left : box.right] = 255
    height = box.bottom - box.top
    points = cv2.goodFeaturesToTrack(rest, MOST_POINTS, 0.01, max(2, height / 60), mask=mask)
    if points is None:
        return None
    window = (max(15, height // 8),) * 2
    moved, good, _ = cv2.calcOpticalFlowPyrLK(rest, near, points, None, winSize=window, maxLevel=3)
    found = good.ravel() == 1
    if found.sum() < FEWEST_POINTS:
        return None
    matrix, agree = cv2.estimateAffinePartial2D(
        moved[found], points[found], method=cv2.RANSAC, ransacReprojThreshold=AGREE * height
    )
    return matrix if matrix is not None and agree.sum() >= FEWEST_POINTS else None
