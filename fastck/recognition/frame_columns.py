"""Landmarks and action units as columns of a table of frames, from what was seen when the frames were read."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fastck.faces.box import FaceBox, Gray
from fastck.pipeline.detect import landmark_columns

if TYPE_CHECKING:
    from fastck.faces.appearance import Look
    from fastck.recognition.marks import Marks

Rows = dict[str, NDArray[np.generic]]


@dataclass(frozen=True, kw_only=True)
class FrameColumns:
    """What a table of frames has besides: the faces' landmarks and turns, and their action units."""

    landmarks: bool = False
    units: bool = False


NO_COLUMNS = FrameColumns()


def face_columns(
    people: NDArray[np.generic],
    marks: "Sequence[Marks | None]",
    seen: "Sequence[Look | None]",
    wanted: FrameColumns,
    neutral: "Look | None" = None,
) -> Rows:
    """Return the wanted columns of rows of frames and faces, NaN where the face was not found in that very frame.

    Parameters
    ----------
    people : ndarray of shape (N,)
        Whose face each row is; the rows of a person are in the order of the frames.
    marks : sequence of (Marks or None)
        Of each row.
    seen : sequence of (Look or None)
        Of each row, what action units are read from.
    wanted : FrameColumns
    neutral : Look, optional
        Person 1 in a picture at rest.
    """
    rows: Rows = {}
    if wanted.landmarks:
        rows |= landmark_columns([None if one is None else (one.landmarks, one.pose) for one in marks])
    if wanted.units:
        rows |= unit_columns(people, seen, neutral)
    return rows


def unit_columns(people: NDArray[np.generic], seen: "Sequence[Look | None]", neutral: "Look | None" = None) -> Rows:
    """Return a column for each of UNITS, 0 to 5: each person's are judged beside that person's own rest.

    That is `neutral` for person 1, where there is such a picture, and else what `read_units` takes for it.
    """
    from fastck.faces.units import UNITS, bundled_units
    from fastck.recognition.reading import read_units

    values = np.full((len(seen), len(UNITS)), np.nan, np.float32)
    for person in np.unique(people):
        own = np.flatnonzero(people == person).tolist()
        rest = neutral if person == 1 else None
        values[own] = read_units(bundled_units(), [seen[row] for row in own], neutral=rest).intensities
    return dict(zip(UNITS, values.round(3).T, strict=True))


def columns_of_boxes(
    boxes: Iterable[FaceBox],
    frames: Iterable[Gray],
    people: NDArray[np.generic],
    wanted: FrameColumns,
    neutral: "Look | None" = None,
) -> Rows:
    """Return the wanted columns of faces whose boxes are known, each with its frame; see `face_columns`."""
    if wanted == NO_COLUMNS:
        return {}
    from fastck.faces.units import UnitReader
    from fastck.recognition.marks import with_pose

    reader = UnitReader()
    marks: list[Marks | None] = []
    seen: list[Look | None] = []
    for box, gray in zip(boxes, frames, strict=False):
        landmarks = reader.find(gray, box)
        marks.append(with_pose(landmarks, gray.shape))
        seen.append(reader.see(gray, landmarks) if wanted.units else None)
    return face_columns(people, marks, seen, wanted, neutral)
