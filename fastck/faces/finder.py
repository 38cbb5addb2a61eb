"""The faces of a sequence, with detectors that are kept from one sequence to the next."""

from collections.abc import Callable, Iterable, Iterator, MutableSequence, Sequence
from contextlib import ExitStack, contextmanager

from fastck.config import WHOLE_FRAME, FaceConfig
from fastck.faces.box import FaceBox, Gray, largest
from fastck.faces.detector import Detector, FaceDetector, FaceSearch
from fastck.faces.people import Scored
from fastck.faces.tracking import TrackedDetector

Found = list[FaceBox | None]

_idle: dict[tuple[int, str], list[FaceSearch]] = {}  # by upsampling and engine


@contextmanager
def borrowed(upsample: int, search: str) -> Iterator[FaceSearch]:
    """Lend a detector that nobody else uses meanwhile: a quarter of a second to make, and unsafe to share."""
    idle = _idle.setdefault((upsample, search), [])
    try:
        engine = idle.pop()  # one step under the GIL, so two threads never get the same one
    except IndexError:
        engine = _make_search(upsample, search)
    engine.reset()
    try:
        yield engine
    finally:
        idle.append(engine)


def _make_search(upsample: int, search: str) -> FaceSearch:
    if search == "tracked":
        return TrackedDetector(upsample=upsample)
    if search == "compiled":
        return FaceDetector(upsample=upsample)
    return Detector(upsample=upsample)


def _whole_frame(gray: Gray) -> list[Scored]:
    return [(FaceBox(0, 0, *gray.shape), 1.0)]


class LargestFace:
    """The search for the largest face of each frame of one sequence.

    Parameters
    ----------
    config : FaceConfig
    stack : ExitStack
        Gives the detectors back.
    """

    def __init__(self, config: FaceConfig, stack: ExitStack) -> None:
        self._config, self._stack = config, stack
        self._engines: list[FaceSearch] = []
        self._finder: FaceSearch | None = None

    def __call__(self, gray: Gray) -> list[Scored]:
        """Return the largest face of the next frame with its score, alone in a list."""
        for position, upsample in enumerate(self._config.upsample):
            if position == len(self._engines):  # later ones are often never needed
                self._engines.append(self._stack.enter_context(borrowed(upsample, self._config.search)))
            self._finder = self._engines[position]
            if faces := self._finder.with_scores(gray):
                return [max(faces, key=lambda face: face[0].area)]
        return []

    def n_people(self) -> int:
        """Return how many faces of the last frame are at least half as wide as its largest one."""
        return 0 if self._finder is None else self._finder.n_people()


@contextmanager
def searching_scored(config: FaceConfig) -> Iterator[Callable[[Gray], list[Scored]]]:
    """Lend a search for the largest face of each frame of one sequence, alone in a list with its score."""
    if config.boxes == WHOLE_FRAME:
        yield _whole_frame
        return
    with ExitStack() as stack:
        yield LargestFace(config, stack)


@contextmanager
def searching(config: FaceConfig) -> Iterator[Callable[[Gray], FaceBox | None]]:
    """Lend a search for the largest face of each frame of one sequence, None for none."""
    with searching_scored(config) as search:
        yield lambda gray: largest([box for box, _ in search(gray)])


def all_faces(gray: Gray, config: FaceConfig) -> list[Scored]:
    """Return all faces of a frame with their scores; a doubled frame is searched only where there was none before."""
    if config.boxes == WHOLE_FRAME:
        return _whole_frame(gray)
    for upsample in config.upsample:
        with borrowed(upsample, "compiled") as engine:
            if faces := engine.with_scores(gray):
                return faces
    return []


def find_faces(frames: Iterable[Gray], config: FaceConfig, people: MutableSequence[int] | None = None) -> Found:
    """Return the largest face of each frame, None for none; only up to the first face where one box serves all.

    `people` receives how many faces the first frame with a face has that are at least half as wide as the largest.
    """
    found: Found = []
    with searching_scored(config) as search:
        for gray in frames:
            found.append(largest([box for box, _ in search(gray)]))
            if people is not None and not people and found[-1] is not None and isinstance(search, LargestFace):
                people.append(search.n_people())
            if config.crop == "sequence" and found[-1] is not None:
                break
    return found


def reuse(found: Sequence[FaceBox | None], n_frames: int, config: FaceConfig) -> Found | None:
    """Return what a search would have given, out of detections that are known already; None where some are missing.

    One box per sequence takes the first face; the detections after it must not count as missed.
    """
    if config.crop == "sequence":
        for number, box in enumerate(found):
            if box is not None:
                return list(found[: number + 1])
    return list(found) if len(found) == n_frames else None
