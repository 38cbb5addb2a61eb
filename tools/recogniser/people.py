"""Rendered people as windows of optical flow: what the bundled recogniser learns from, kept as arrays."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from fastck.config import FaceConfig
from fastck.faces.box import FaceBox, crop
from fastck.faces.finder import find_faces
from fastck.ops.flow import FLOW_SHAPES, optical_flow
from fastck.render.dataset import Person, Take, act
from fastck.render.expression import FURTHER_ACTS, NEUTRAL_ACTS, Manner
from fastck.render.motion import draw_length
from fastck.render.recipes import EMOTION_CODES
from fastck.render.scene import Scene
from fastck.render.variation import HARD, Variation
from tools.recogniser.slight import loose_act, slight_act, slight_person
from tools.rows import Rows

ACTS = (*NEUTRAL_ACTS, *FURTHER_ACTS)
# Wider than the hard set: a face that moves more than this is not what the recogniser is for.
WIDE = replace(HARD, mixed=0.5, blend=0.15, weakest=0.35, asymmetry=0.3, head_motion=3.0, light=0.3, noise=4.0)
WIDE_SHARE = 0.4  # of the people
ENDINGS = (0.65, 0.85, 1.0)  # where a window ends, as shares of the sequence
SHIFT, STRETCH = 0.05, 0.10  # of a jittered box: standard deviations in shares of its side, and of its log
SOFTEST = 3.0  # a crop is brought down by up to this factor and up again: small and blurred faces
MOST_SOFT = 0.5  # share of the crops that are
NO_CLASS = -1  # a window that is none of the classes: from an expression back to rest, or to another one
FINDING = FaceConfig()


@dataclass(frozen=True, kw_only=True)
class Windows(Rows):
    """Windows of flow, a row for each.

    Attributes
    ----------
    flow : ndarray of shape (N, 3, 28, 28), float16
        From the first frame of the window to its last.
    code : ndarray of shape (N,), int16
        CK+'s code of the emotion, 0 for neutral, `NO_CLASS` for none of them.
    person : ndarray of shape (N,), int32
    ending : ndarray of shape (N,), float32
        Where in the sequence the window ends, 0 to 1.
    version : ndarray of shape (N,), int16
        0 for the box that the face search gave; jittered boxes count from 1.
    """

    flow: NDArray[np.float16]
    code: NDArray[np.int16]
    person: NDArray[np.int32]
    ending: NDArray[np.float32]
    version: NDArray[np.int16]

    def __len__(self) -> int:
        return len(self.code)


def takes_of(seed: int, number: int, rounds: int) -> list[Take]:
    """Return a person's sequences: every emotion `rounds` times, every neutral act once."""
    rng = np.random.default_rng([seed, number, 1])
    shows = [*EMOTION_CODES] * rounds + [*ACTS]
    return [
        Take(subject=number, position=position, shows=name, n_frames=draw_length(rng))
        for position, name in enumerate(shows, start=1)
    ]


def jittered(box: FaceBox, shape: tuple[int, ...], rng: np.random.Generator) -> FaceBox:
    """Return a box near the one found, inside the frame: real faces are found elsewhere than rendered ones."""
    side = box.bottom - box.top
    down, right = rng.normal(0, SHIFT * side, 2)
    half = 0.5 * side * float(np.exp(rng.normal(0, STRETCH)))
    row, column = (box.top + box.bottom) / 2 + down, (box.left + box.right) / 2 + right
    top, left = max(0, round(row - half)), max(0, round(column - half))
    return FaceBox(top, left, min(shape[0], round(row + half)), min(shape[1], round(column + half)))


def softened(crops: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return crops as of a smaller face, at random."""
    small, amount = rng.random() < MOST_SOFT, rng.uniform(1, SOFTEST)
    if not small:
        return crops
    side = crops.shape[1]
    low = round(side / amount)
    return np.stack(
        [cv2.resize(cv2.resize(one, (low, low), interpolation=cv2.INTER_AREA), (side, side)) for one in crops]
    )


def plain_person(seed: int, number: int, variation: Variation) -> tuple[Scene, Manner]:
    """Return a person's scene and manner as the renderer draws them."""
    return Person(seed, number, variation).get()


# Whom a kind shows, and how they act.
KINDS = {
    "plain": (plain_person, act),
    "loose": (plain_person, loose_act),
    "slight": (slight_person, slight_act),
}


def person_windows(
    seed: int, number: int, variation: Variation, *, rounds: int, versions: int, kind: str = "plain"
) -> Windows:
    """Render one person and return their windows.

    Parameters
    ----------
    seed, number : int
        Who.
    variation : Variation
    rounds : int
        How often each emotion is shown.
    versions : int
        Boxes per window: the one found, and jittered ones.
    kind : str
        "plain", by the renderer's recipes; "loose", by loose ones; "slight", by loose ones and weakly, every second
        person with another skin.
    """
    cv2.setNumThreads(1)
    draw, perform = KINDS[kind]
    scene, manner = draw(seed, number, variation)
    buffers = scene.buffers()
    flows: list[NDArray[np.float16]] = []
    rows: list[tuple[int, float, int]] = []

    def add(crops: NDArray[np.uint8], codes: Iterable[int], endings: Iterable[float], version: int) -> None:
        flows.append(optical_flow(crops).astype(np.float16))
        rows.extend((code, ending, version) for code, ending in zip(codes, endings, strict=True))

    before: NDArray[np.uint8] | None = None
    for take in takes_of(seed, number, rounds):
        rng = np.random.default_rng([seed, take.subject, take.position, 2])
        acting, film, boxes = rng.spawn(3)
        poses = perform(take, manner, acting, variation)
        places = [0, *(round(ending * (len(poses) - 1)) for ending in ENDINGS)]
        frames = [
            gray_of(scene.render(poses[place], key=int(film.integers(2**63)), buffers=buffers)) for place in places
        ]
        box = find_faces(frames[:1], FINDING)[0]
        if box is None:
            continue
        for version in range(versions):
            cut = jittered(box, frames[0].shape, boxes) if version else box
            crops = np.stack([crop(frame, cut, side=FINDING.side) for frame in frames])
            if version:
                crops = softened(crops, boxes)
            add(crops, [take.code] * len(ENDINGS), ENDINGS, version)
        if take.code:
            # None of the classes: back to rest, and from another expression to this one.
            cut = jittered(box, frames[0].shape, boxes)
            add(np.stack([crop(frames[place], cut) for place in (3, 0)]), [NO_CLASS], [1.0], 1)
            if before is not None and before.shape == frames[3].shape:
                add(np.stack([crop(frame, cut) for frame in (before, frames[3])]), [NO_CLASS], [1.0], 1)
            before = frames[3]
    if not rows:
        return nobody()
    code, ending, version_of = zip(*rows, strict=True)
    return Windows(
        flow=np.concatenate(flows),
        code=np.array(code, np.int16),
        person=np.full(len(rows), number, np.int32),
        ending=np.array(ending, np.float32),
        version=np.array(version_of, np.int16),
    )


def nobody() -> Windows:
    """Return no windows: of a person whose face is never found."""
    return Windows(
        flow=np.empty((0, *FLOW_SHAPES["flow"]), np.float16),
        code=np.empty(0, np.int16),
        person=np.empty(0, np.int32),
        ending=np.empty(0, np.float32),
        version=np.empty(0, np.int16),
    )


def gray_of(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the gray levels of a rendered frame, (H, W) or (H, W, 3) RGB."""
    return frame if frame.ndim == 2 else np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY))


def render_people(
    seed: int,
    people: int,
    variation: Callable[[int], Variation],
    *,
    rounds: int = 2,
    versions: int = 3,
    kind: str = "plain",
    n_jobs: int = -1,
) -> Windows:
    """Render people and return all their windows, the same for any number of jobs.

    Parameters
    ----------
    seed : int
        Another seed, other people.
    people : int
        How many.
    variation : callable
        Returns a person's variation by their number.
    rounds, versions, kind
        As for `person_windows`.
    n_jobs : int
        Processes, as joblib counts them.
    """
    one = delayed(person_windows)
    numbers = range(1, people + 1)
    jobs = (one(seed, number, variation(number), rounds=rounds, versions=versions, kind=kind) for number in numbers)
    return Windows.join(Parallel(n_jobs=n_jobs)(jobs))


def mixed_variation(number: int) -> Variation:
    """Return a training person's variation: the hard set's, and for some the wide one."""
    return WIDE if (number * WIDE_SHARE) % 1 < WIDE_SHARE else HARD
