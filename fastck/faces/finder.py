"""The faces of a sequence, with detectors that are kept from one sequence to the next."""

from collections.abc import Callable, Iterable, Iterator, Sequence
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


@contextmanager
def searching_scored(config: FaceConfig) -> Iterator[Callable[[Gray], list[Scored]]]:
    """Lend a search for the largest face of each frame of one sequence, alone in a list with its score."""
    if config.boxes == WHOLE_FRAME:
        yield _whole_frame
        return
    with ExitStack() as stack:
        engines: list[FaceSearch] = []

        def search(gray: Gray) -> list[Scored]:
            for position, upsample in enumerate(config.upsample):
                if position == len(engines):  # later ones are often never needed
                    engines.append(stack.enter_context(borrowed(upsample, config.search)))
                if faces := engines[position].with_scores(gray):
                    return [max(faces, key=lambda face: face[0].area)]
            return []

        yield search


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


def find_faces(frames: Iterable[Gray], config: FaceConfig) -> Found:
    """Return the largest face of each frame, None for none; only up to the first face where one box serves all."""
    found: Found = []
    with searching(config) as search:
        for gray in frames:
            found.append(search(gray))
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
