"""The people of a clip: each one's readings, found in one pass over the frames."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fastck.config import FaceConfig
from fastck.faces.box import FaceBox, Gray, overlap
from fastck.faces.finder import all_faces, searching_scored
from fastck.faces.people import SAME_PERSON, People, Scored
from fastck.recogniser import Recogniser
from fastck.recognition.follow import Follower, Reading
from fastck.recognition.frame_columns import NO_COLUMNS, FrameColumns, Rows, face_columns
from fastck.training.settings.config import probability_columns

if TYPE_CHECKING:
    from fastck.faces.appearance import Look
    from fastck.faces.units import UnitReader

ROUND = 5  # frames: in each of so many one person's is searched for others, too
# Root mean square displacement, in shares of the crop's side: noise of 4 gray levels makes up to 0.0018 of it, and
# rendered people who sit still make 0.0034 and more.
STILL = 0.002
FEWEST = 3  # frames with a face, below which it is left out: what looks like one for a moment


@dataclass(kw_only=True)
class Followed:
    """One person of a clip: where the face is cut out and what it shows, frame by frame."""

    follower: Follower
    readings: list[Reading] = field(default_factory=list)
    gone: bool = False

    def leave(self) -> None:
        """Forget the frames after the last one with the face: they show what is behind it."""
        while self.readings and not self.readings[-1].found:
            self.readings.pop()
        self.gone = True


def read_people(
    frames: Iterable[Gray],
    recogniser: Recogniser,
    *,
    keep_flow: bool = False,
    look: "UnitReader | None" = None,
    keep_marks: bool = False,
) -> tuple[list[list[Reading]], int, int]:
    """Return each person's readings, the largest first, how many frames a clip has, and how many of them had no face.

    Largest is whose face covers most, added up over the clip. With `look` what action units are read from is kept, with
    `keep_marks` the landmarks, too.
    """
    linked = People()
    people: list[Followed] = []
    n_frames = n_missed = 0
    with _searching(linked) as search:
        for gray in frames:
            found = linked.push(search(gray))
            n_missed += not found
            present = {person.number for person in linked.present}
            for number in sorted(found.keys() - set(range(len(people)))):
                people.append(Followed(follower=Follower(recogniser, look, keep_marks=keep_marks)))
                people[number].follower.skip(n_frames)
            for number, person in enumerate(people):
                if number in present:
                    _read(person, gray, found, number, keep_flow=keep_flow)
                elif not person.gone:
                    person.leave()
            n_frames += 1
    return sorted([person.readings for person in people], key=_size, reverse=True), n_frames, n_missed


@contextmanager
def _searching(people: People) -> Iterator[Callable[[Gray], list[Scored]]]:
    """Lend a search for everyone's face, which looks for the largest only where that will be the one person's."""
    config = FaceConfig()
    count = 0
    with searching_scored(config) as search_largest:

        def search(gray: Gray) -> list[Scored]:
            nonlocal count
            count += 1
            if len(people.present) == 1 and count % ROUND:
                face = search_largest(gray)
                if not face or overlap(face[0][0], people.present[0].box) >= SAME_PERSON:
                    return face
            return all_faces(gray, config)

        yield search


def _read(person: Followed, gray: Gray, found: dict[int, Scored], number: int, *, keep_flow: bool) -> None:
    """Take in a frame for one person."""
    face, score = found.get(number, (None, np.nan))
    last = person.readings[-1].box if person.readings else None
    if face is None and last is not None and any(overlap(other, last) > 0 for other, _ in found.values()):
        # Somebody else is in front.
        person.follower.skip()
        return
    reading = person.follower.push(gray, face)
    if reading is not None:
        person.readings.append(replace(reading if keep_flow else reading.without_flow(), score=score))


def _size(readings: Sequence[Reading]) -> int:
    """Return the sum of the face's areas over the frames with it."""
    return sum(reading.face.area for reading in readings if reading.face is not None)


def n_found(readings: Sequence[Reading]) -> int:
    """Return in how many frames the search found the face."""
    return sum(reading.found for reading in readings)


def people_notes(people: Sequence[Sequence[Reading]], n_left_out: int) -> list[tuple[str, ...]]:
    """Return what has to be known about each person's answer; what concerns the clip is with the first."""
    notes = []
    for number, readings in enumerate(people, start=1):
        first = readings[0].moment.frame
        gone = [other for other, before in enumerate(people, start=1) if before[-1].moment.frame < first]
        own = []
        if gone:
            own.append(
                f"person {number} comes in frame {first + 1}, after {listed_people(gone)} had gone: identity is not "
                "computed, it may be the same"
            )
        if len(people) > 1 and all(reading.moment.displacement < STILL for reading in readings):
            own.append(f"person {number} never moves: it may be a picture")
        notes.append(own)
    if n_left_out:
        notes[0].append(f"{n_left_out} more in fewer than {FEWEST} frames, or in one: only --frames has them")
    return [tuple(own) for own in notes]


def listed_people(numbers: Sequence[int]) -> str:
    """Return people by their numbers: "person 1", "persons 1 and 3"."""
    *most, last = map(str, numbers)
    return f"persons {', '.join(most)} and {last}" if most else f"person {last}"


def frame_rows(
    people: Sequence[Sequence[Reading]],
    seconds: NDArray[np.float64],
    classes: Sequence[str],
    columns: FrameColumns = NO_COLUMNS,
    neutral: "Look | None" = None,
) -> Rows:
    """Return what is known of each frame and face as columns, by frame and person; see `Prediction.frames`.

    `neutral` is person 1 in a picture at rest.
    """
    readings = [reading for person in people for reading in person]
    numbers = [number for number, person in enumerate(people, start=1) for _ in person]
    frames = np.array([reading.moment.frame for reading in readings], np.int32)
    boxes = np.array([reading.face or reading.box for reading in readings], np.int32).reshape(-1, 4)
    shares = np.array([reading.probabilities for reading in readings], np.float32).reshape(-1, len(classes))
    person = np.array(numbers, np.int16)
    rows: Rows = {
        "frame": frames + 1,
        "seconds": seconds[frames],
        "person": person,
        **{name: boxes[:, column] for column, name in enumerate(FaceBox._fields)},
        "score": np.array([reading.score for reading in readings], np.float32),
        "motion": np.array([reading.moment.displacement for reading in readings], np.float32),
        **{name: shares[:, column] for column, name in enumerate(probability_columns(classes))},
    }
    rows |= face_columns(person, [one.marks for one in readings], [one.seen for one in readings], columns, neutral)
    order = np.lexsort((person, frames))
    return {name: column[order] for name, column in rows.items()}
