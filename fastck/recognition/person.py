"""One person's face in every frame, however many people are in the picture."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from fastck.config import FaceConfig
from fastck.faces.box import FaceBox, Gray, overlap
from fastck.faces.finder import borrowed, searching
from fastck.faces.people import LOST, SAME_PERSON


@contextmanager
def following(config: FaceConfig) -> Iterator[Callable[[Gray], FaceBox | None]]:
    """Lend a search for one person's face in the frames of a sequence: the person whose face is the largest at first.

    The search gives None where the person's face is not found, though another's may be. After `LOST` such frames the
    largest face is followed.
    """
    with ExitStack() as stack:
        largest = stack.enter_context(searching(config))

        def everyone(gray: Gray) -> list[FaceBox]:
            return [
                box for upsample in config.upsample for box in stack.enter_context(borrowed(upsample, "compiled"))(gray)
            ]

        yield Person(largest, everyone).find


class Person:
    """Remembers where the person was, and where others were.

    Parameters
    ----------
    largest : callable
        Returns the largest face of a frame, None for none.
    everyone : callable
        Returns all faces of a frame; takes longer, and is asked only where the largest face may be somebody else's.
    """

    def __init__(self, largest: Callable[[Gray], FaceBox | None], everyone: Callable[[Gray], list[FaceBox]]) -> None:
        self._largest, self._everyone = largest, everyone
        self._box: FaceBox | None = None
        self._others: list[FaceBox] = []
        self._missed = 0

    def find(self, gray: Gray) -> FaceBox | None:
        """Return the person's face in the next frame, None where it is not found."""
        box = self._largest(gray)
        if box is not None:
            box = self._choose(gray, box)
        if box is None:
            self._missed += 1
            return None
        self._box, self._missed = box, 0
        return box

    def _choose(self, gray: Gray, largest: FaceBox) -> FaceBox | None:
        if self._box is None or self._missed >= LOST:
            self._others = [face for face in self._everyone(gray) if overlap(face, largest) < SAME_PERSON]
            return largest
        last = self._box
        if overlap(largest, last) >= SAME_PERSON:
            return largest
        faces = self._everyone(gray)
        best = max([largest, *faces], key=lambda face: overlap(face, last))
        if overlap(best, last) >= SAME_PERSON:
            self._others = [face for face in faces if overlap(face, best) < SAME_PERSON]
            return best
        # Somebody else, who is there with others or was seen there before. A face alone at a new place has moved.
        known = any(overlap(largest, other) >= SAME_PERSON for other in self._others)
        alone = all(overlap(face, largest) >= SAME_PERSON for face in faces)
        self._others = [largest, *faces] if known or not alone else []
        return None if known or not alone else largest
