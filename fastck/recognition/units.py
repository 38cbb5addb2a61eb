"""Action units of the people in clips and photos: what ``fastck.action_units`` gives."""

import logging
from dataclasses import dataclass, replace
from os import PathLike, fspath
from pathlib import Path
from typing import cast, overload

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fastck.faces.appearance import Look
from fastck.faces.units import UNITS, UnitReader, bundled_units
from fastck.messages import error_text, one_line
from fastck.pipeline.compiling import compile_on_first_call
from fastck.pipeline.frames import BadSequence, decode
from fastck.pipeline.stopwatch import Stopwatch
from fastck.recogniser import bundled
from fastck.recognition.clip import Paths, check_fps
from fastck.recognition.follow import compile_reading
from fastck.recognition.footage import Footage, Frames, footage_of, frames_in_memory
from fastck.recognition.people import FEWEST, n_found, read_people
from fastck.recognition.photo import path_record, photo_at_rest, sorted_faces
from fastck.recognition.reading import Reference, read_units

log = logging.getLogger(__name__)
REFERENCES: dict[Reference, str] = {
    "onset": "the onset", "median": "the median at rest", "average": "the average of rendered people",
    "neutral": "the picture at rest",
}  # fmt: skip


Looks = list[tuple[int, Look | None]]  # of a person: the numbers of frames, and what was seen of the face in each


@dataclass(frozen=True, kw_only=True, repr=False)
class ActionUnits:
    """The action units of a person in a clip, frame by frame.

    Attributes
    ----------
    source : str
        What was asked for: a path, or "frames".
    intensities : ndarray of shape (T, 44), float32
        0 to 5 of each unit in each frame of the clip; NaN in frames without this person's face.
    reference : {"onset", "median", "average", "neutral"}
        What the frames were compared with: the face in the clip's first frames, the median of the frames in which it
        rests, where it never rests, and in a photo alone, the average of the rendered people; or the picture at rest
        that was named.
    seconds : ndarray of shape (T,), float64
        Times of the frames; NaN where they are not known.
    person : int
        1 for the person whose face is the largest, added up over the clip's frames.
    others : tuple of ActionUnits
        Of the other people, the larger faces first; empty for them.
    error : str
        Why there is no answer, where one of several clips has none; else empty.
    """

    source: str
    intensities: NDArray[np.float32]
    reference: Reference
    seconds: NDArray[np.float64]
    person: int = 1
    others: tuple["ActionUnits", ...] = ()
    error: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The units' names in the order of the columns: AU01, AU02, AU02_left, AU02_right and so on."""
        return UNITS

    @property
    def people(self) -> tuple["ActionUnits", ...]:
        """Everyone's, this person's first."""
        return (self, *self.others)

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which units are there, (T, 44): those whose intensity reaches the unit's threshold."""
        return bundled_units().present(self.intensities, known=self.reference != "average")

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each frame and person: input, frame (from 1), seconds, person, reference, and each unit."""
        parts = []
        for one in self.people:
            part = pd.DataFrame(one.intensities, columns=list(UNITS))
            part.insert(0, "input", pd.Series([one.source] * len(part), dtype=object))
            part.insert(1, "frame", np.arange(1, len(part) + 1))
            part.insert(2, "seconds", one.seconds)
            part.insert(3, "person", one.person)
            part.insert(4, "reference", pd.Series([one.reference] * len(part), dtype=object))
            parts.append(part)
        return pd.concat(parts, ignore_index=True)

    def summary(self) -> pd.DataFrame:
        """Return a row for each unit over the whole clip: mean and largest intensity, share of the frames with it."""
        there = np.isfinite(self.intensities).all(axis=1)
        seen, present = self.intensities[there], self.present[there]
        empty = not len(seen)
        return pd.DataFrame(
            {
                "mean": np.full(len(UNITS), np.nan) if empty else seen.mean(axis=0),
                "largest": np.full(len(UNITS), np.nan) if empty else seen.max(axis=0),
                "present": np.full(len(UNITS), np.nan) if empty else present.mean(axis=0),
            },
            index=pd.Index(UNITS, name="unit"),
        )

    def __repr__(self) -> str:
        what = self.error
        if not what:
            table = self.summary()["largest"]
            best = table[[name for name in UNITS if "_" not in name]].nlargest(3)
            what = ", ".join(f"{name} {value:.1f}" for name, value in best.items())
            n_frames = len(self.intensities)
            what += f"; {n_frames} frame{'s' * (n_frames != 1)} beside {REFERENCES[self.reference]}"
        people = f", and {len(self.others)} others" if self.others else ""
        return f"<ActionUnits {one_line(self.source)}: {what}{people}>"


@overload
def action_units(
    clip: Paths, *, fps: float | None = None, neutral: str | PathLike[str] | None = None
) -> list[ActionUnits]: ...
@overload
def action_units(
    clip: str | PathLike[str] | Frames, *, fps: float | None = None, neutral: str | PathLike[str] | None = None
) -> ActionUnits: ...
def action_units(
    clip: str | PathLike[str] | Frames | Paths,
    *,
    fps: float | None = None,
    neutral: str | PathLike[str] | None = None,
) -> ActionUnits | list[ActionUnits]:
    """Say how strong each action unit of the Facial Action Coding System is in the faces of a clip or photo.

    Parameters
    ----------
    clip : path-like, list of path-like, ndarray, or iterable of ndarray
        As for `fastck.predict`: a folder of frames, a video file or a photo; several of them; or frames: an array of
        shape (T, H, W) or (T, H, W, 3), uint8, colour with red first, or an iterator of such frames.
    fps : float, optional
        Frames a second, for the times; by default a video's own times, and none for the rest.
    neutral : path-like, optional
        A photo of the same person at rest, which all frames are compared with. In a clip that is the person whose face
        is the largest.

    Returns
    -------
    units : ActionUnits or list of ActionUnits
        Of one clip: those of the person whose face is the largest, the other people's in `others`. Of a list of paths a
        list, in its order: one that cannot be answered is logged, and its `error` says why.

    Raises
    ------
    TypeError, ValueError
        If the only clip holds no face, or the frames have another shape or dtype.
    OSError
        If a file cannot be read.

    Notes
    -----
    Learnt from rendered people alone; the documentation has what was measured.

    Examples
    --------
    >>> import fastck
    >>> units = fastck.action_units(fastck.sample() / "cohn-kanade-images/L032/001")
    >>> bool(units.present[-1, units.names.index("AU12")])
    True
    """
    check_fps(fps)
    rest = None if neutral is None else photo_at_rest(Path(neutral)).look
    if isinstance(clip, str | PathLike):
        return units_of(footage_of(path_record(Path(clip)), source=fspath(clip), fps=fps), rest)
    if isinstance(clip, list | tuple) and clip and all(isinstance(path, str | PathLike) for path in clip):
        return [_units_or_error(Path(path), fps, rest) for path in clip]
    return units_of(frames_in_memory(cast("Frames", clip), fps=fps), rest)


def _units_or_error(path: Path, fps: float | None, neutral: Look | None) -> ActionUnits:
    """Return the units of one of several clips, or why there are none."""
    try:
        return units_of(footage_of(path_record(path), source=str(path), fps=fps), neutral)
    except (ValueError, OSError) as error:
        text = one_line(error_text(error))
        log.warning("%s: %s", one_line(path), text)
        nothing = np.empty((0, len(UNITS)), np.float32)
        return ActionUnits(source=str(path), intensities=nothing, reference="average", seconds=np.empty(0), error=text)


def units_of(footage: Footage, neutral: Look | None = None) -> ActionUnits:
    """Return the units of the people of a clip or photo, the first one's beside a face at rest; see `action_units`.

    Raises
    ------
    BadSequence
        If it holds no face; a ValueError.
    """
    compile_on_first_call(footage.decode_some, compile_reading)
    reader = UnitReader()
    people, n_frames = _photo_looks(footage, reader) if footage.photo else _clip_looks(footage, reader)
    found = [
        _person_units(footage, looks, reader, n_frames, number, neutral if number == 1 else None)
        for number, looks in enumerate(people, start=1)
    ]
    return replace(found[0], others=tuple(found[1:]))


def _photo_looks(footage: Footage, reader: UnitReader) -> tuple[list[Looks], int]:
    """Return what is seen of each face in a photo, and 1; the boxes are those of `fastck.predict`."""
    gray = next(footage.open())
    return [[(0, reader(gray, box))] for box, _ in sorted_faces(gray, footage.name)], 1


def _clip_looks(footage: Footage, reader: UnitReader) -> tuple[list[Looks], int]:
    """Return what is seen of each person in a clip, and how many frames it has."""
    everyone, n_frames, _ = read_people(decode(footage.open(), Stopwatch()), bundled(), look=reader)
    if not any(everyone):
        raise BadSequence(f"no face found in any of its {n_frames} frames")
    there = [readings for readings in everyone if n_found(readings) >= min(FEWEST, n_frames)] or everyone[:1]
    return [[(reading.moment.frame, reading.seen) for reading in readings] for readings in there], n_frames


def _person_units(
    footage: Footage, looks: Looks, reader: UnitReader, n_frames: int, person: int, neutral: Look | None
) -> ActionUnits:
    """Return one person's units in every frame of a clip."""
    own, reference, _ = read_units(reader.model, [look for _, look in looks], neutral=neutral)
    intensities = np.full((n_frames, len(UNITS)), np.nan, np.float32)
    intensities[[frame for frame, _ in looks]] = own
    return ActionUnits(
        source=footage.source, intensities=intensities, reference=reference, seconds=footage.seconds(n_frames),
        person=person,
    )  # fmt: skip
