"""The faces of successive frames, linked into people by where they are and how they move; no identity is computed."""

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import combinations

from fastck.faces.box import FaceBox, overlap

SAME_PERSON = 0.3  # overlap of a face with the one before it, from which on it is the same person's
LOST = 12  # frames without the face, after which the next one is a new beginning
MEMORY = 10  # frames with the face, over which its speed is measured: boxes jump by some pixels

Scored = tuple[FaceBox, float]


class Person:
    """Where a person was, and where the face is expected.

    Attributes
    ----------
    number : int
        Counted from 0 in the order of appearance.
    box : FaceBox
        The last one found.
    """

    def __init__(self, number: int, frame: int, box: FaceBox) -> None:
        self.number, self.frame, self.box = number, frame, box
        self._centres: deque[tuple[int, float, float]] = deque(maxlen=MEMORY)
        self.see(frame, box, alone=True)

    def see(self, frame: int, box: FaceBox, *, alone: bool) -> None:
        """Take in the face of a frame; near another one its place says little about its speed."""
        self.frame, self.box = frame, box
        if alone:
            self._centres.append((frame, (box.top + box.bottom) / 2, (box.left + box.right) / 2))

    def missed(self, frame: int) -> int:
        """Return how many frames before this one had no face of the person."""
        return frame - self.frame - 1

    def expected(self, frame: int) -> FaceBox:
        """Return where the face is in a frame if it goes on as it went."""
        (first, *begin), (last, *end) = self._centres[0], self._centres[-1]
        passed = (frame - self.frame) / max(last - first, 1)
        down, right = (round((b - a) * passed) for a, b in zip(begin, end, strict=True))
        top, left, bottom, far = self.box
        return FaceBox(top + down, left + right, bottom + down, far + right)


class People:
    """Links the faces of a clip, frame by frame.

    A face is the person's whose expected place it overlaps most, or else whose last place. Who was not found in `LOST`
    frames is gone: a face at that place later is another person's. A face alone at a new place is that of the one
    person who was there before.

    Attributes
    ----------
    present : list of Person
        Those who are not gone, found in the newest frame or not.
    """

    def __init__(self) -> None:
        self.present: list[Person] = []
        self._frame = self._n_people = 0

    def push(self, faces: Sequence[Scored]) -> dict[int, Scored]:
        """Take in the faces of the next frame; return each found person's by the person's number."""
        frame, self._frame = self._frame, self._frame + 1
        self.present = [person for person in self.present if person.missed(frame) < LOST]
        expected = [person.expected(frame) for person in self.present]
        crowded = {
            index
            for pair in combinations(range(len(expected)), 2)
            if overlap(*(expected[index] for index in pair)) > 0
            for index in pair
        }
        found: dict[int, int] = {}
        for boxes in (expected, [person.box for person in self.present]):
            for index, face in self._nearest(boxes, faces):
                if index not in found and face not in found.values():
                    found[index] = face
        if len(self.present) == len(faces) == 1:
            found[0] = 0
        for index, face in found.items():
            self.present[index].see(frame, faces[face][0], alone=index not in crowded)
        seen = {self.present[index].number: faces[face] for index, face in found.items()}
        # The largest of those who come in one frame is the first.
        for face in sorted(set(range(len(faces))) - set(found.values()), key=lambda face: -faces[face][0].area):
            self.present.append(Person(self._n_people, frame, faces[face][0]))
            seen[self._n_people] = faces[face]
            self._n_people += 1
        return seen

    @staticmethod
    def _nearest(boxes: Sequence[FaceBox], faces: Sequence[Scored]) -> Iterator[tuple[int, int]]:
        """Yield the indices of a box and of a face that may be one person's, the surest pair first."""
        shared = {
            (index, number): overlap(box, face)
            for index, box in enumerate(boxes)
            for number, (face, _) in enumerate(faces)
        }
        for pair in sorted(shared, key=lambda pair: -shared[pair]):
            if shared[pair] >= SAME_PERSON:
                yield pair
