"""Rendered people as what `fastck` sees of them, frame by frame, with the renderer's weights: kept as arrays."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from fastck.faces.appearance import GRID, N_PATCHES, N_SHAPE, Looker
from fastck.faces.box import FaceBox, Gray, largest
from fastck.faces.detector import FaceDetector
from fastck.faces.landmarks import LandmarkFinder, in_view
from fastck.kernels.landmarks import DIRECTIONS
from fastck.ops.flow import FLOW_SHAPES
from fastck.recognition.follow import Follower
from fastck.render.action_units import action_units
from fastck.render.dataset import draw_person, subject_rng
from fastck.render.expression import Manner
from fastck.render.recipes import EMOTION_CODES
from fastck.render.scene import Scene
from fastck.render.variation import EASY, HARD, Variation
from tools.landmarks.pictures import draw_backdrop, varied
from tools.recogniser.clips import Unasked
from tools.recogniser.people import WIDE, gray_of
from tools.rows import Rows
from tools.units.acts import (
    EVERYDAY,
    Shown,
    changing_clip,
    emotion_clip,
    everyday_clip,
    random_frames,
    resting_frames,
)
from tools.units.pulls import Pulls, draw_pulls, pulled, pulled_units

UNITS = tuple(sorted(action_units({})))
KEPT = 10  # people in a file
OTHER_SKIN = 0.6  # share of the training people, who have pulls of their own as well
SOFT = 0.2  # share of the training clips
SIZES = (0.5, 0.8)  # of the training people's pictures


@dataclass(frozen=True, kw_only=True)
class Frames(Rows):
    """Frames in which the face was found, a row for each.

    Attributes
    ----------
    shape, pose, patches, cells : ndarray
        As `fastck.faces.appearance.Look` has them.
    flow : ndarray of shape (N, 3, 28, 28), float16
        From the onset.
    truth : ndarray of shape (N, U), float32
        Intensities by the renderer's weights, in the order of UNITS.
    moved : ndarray of shape (N,), float32
        Displacement from the onset.
    onset, time : ndarray of shape (N,), int16
        Number of the onset's frame and of this one in its clip.
    person, clip : ndarray of shape (N,), int32
        A clip's number is the person's times 100, and more.
    code : ndarray of shape (N,), int16
        The clip's class, 0 for neutral, -1 for none.
    act : ndarray of shape (N,), str
    """

    shape: NDArray[np.float32]
    pose: NDArray[np.float32]
    patches: NDArray[np.uint8]
    cells: NDArray[np.uint8]
    flow: NDArray[np.float16]
    truth: NDArray[np.float32]
    moved: NDArray[np.float32]
    onset: NDArray[np.int16]
    time: NDArray[np.int16]
    person: NDArray[np.int32]
    clip: NDArray[np.int32]
    code: NDArray[np.int16]
    act: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.person)


@dataclass(frozen=True, kw_only=True)
class World:
    """A kind of people and pictures: their variation, and what happens to the picture."""

    variation: Variation
    other_skin: float = 0.0
    soft: float = 0.0
    compressed: bool = False
    clips: tuple[int, int] = (9, 9)  # of emotions and of everyday acts, per person


TURNED = replace(HARD, yaw=9.0, head_motion=3.0)
WORLDS = {
    "train": World(variation=HARD, other_skin=OTHER_SKIN, soft=SOFT, clips=(9, 8)),
    "easy": World(variation=EASY, clips=(7, 7)),
    "hard": World(variation=HARD, clips=(7, 9)),
    # What training never sees: heads that are turned further, and small pictures that were compressed.
    "turned": World(variation=TURNED, clips=(7, 9)),
    "compressed": World(variation=WIDE, compressed=True, clips=(7, 9)),
    "wide": World(variation=WIDE, clips=(7, 9)),
}


class Sitter(NamedTuple):
    """Who is rendered, and the generator that what they do is drawn with."""

    scene: Scene
    manner: Manner
    pulls: Pulls
    variation: Variation
    rng: np.random.Generator


def draw_sitter(world: World, seed: int, number: int) -> Sitter:
    """Return a person."""
    rng = np.random.default_rng([seed, number, 28])
    # In training two in five people are of the wide set.
    variation = WIDE if world.other_skin and number % 5 < 2 else world.variation
    subject, manner, worn = draw_person(subject_rng(seed, number), variation)
    subject = replace(subject, colour=False)
    if world.other_skin:
        # Smaller pictures are rendered faster, and faces of many sizes are what there is.
        size = float(rng.uniform(*SIZES))
        subject = replace(subject, scale=size * subject.scale, height=round(size * subject.height))
    painted = rng.random() < world.other_skin
    if painted:
        subject = varied(subject, rng)
    scene = Scene(subject, noise=variation.noise, worn=worn)
    if painted:
        scene.backdrop = draw_backdrop(rng, scene.backdrop)
    pulls = draw_pulls(np.random.default_rng([seed, number, 29])) if painted else {}
    return Sitter(scene, manner, pulls, variation, rng)


def person_shows(
    world: World, manner: Manner, rng: np.random.Generator, variation: Variation, number: int
) -> list[Shown]:
    """Return all that a person is seen doing."""
    emotions, acts = world.clips
    names = list(EMOTION_CODES)
    shows = [resting_frames(4, manner, rng, variation)]
    shows += [emotion_clip(names[(turn + number) % len(names)], manner, rng, variation) for turn in range(emotions)]
    chosen = [EVERYDAY[(number * acts + turn) % len(EVERYDAY)] for turn in range(acts)]
    shows += [everyday_clip(act, manner, rng, variation) for act in chosen]
    shows.append(random_frames(20 if world.other_skin else 12, manner, rng, variation))
    if world.other_skin:
        first, second = rng.choice(names, 2, replace=False)
        shows.append(changing_clip(str(first), str(second), manner, rng, variation))
    return shows


def spoiled(gray: Gray, soft: float, quality: int | None) -> Gray:
    """Return a picture as of a smaller one that was compressed and enlarged again."""
    if soft > 1:
        height, width = gray.shape
        small = cv2.resize(gray, (round(width / soft), round(height / soft)), interpolation=cv2.INTER_AREA)
        if quality is not None:
            small = cv2.imdecode(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 0)
        gray = cv2.resize(small, (width, height))
    return np.asarray(gray)


def person_frames(name: str, seed: int, number: int) -> Frames:
    """Render one person and return what is seen of them; depends on the world, the seed and the number only."""
    cv2.setNumThreads(1)
    world = WORLDS[name]
    scene, manner, pulls, variation, rng = draw_sitter(world, seed, number)
    buffers, finder, look, unasked = scene.buffers(), LandmarkFinder(), Looker(), Unasked()
    search = FaceDetector(0)
    rows: list[tuple[object, ...]] = []
    known: FaceBox | None = None
    for place, shown in enumerate(person_shows(world, manner, rng, variation, number)):
        soft, quality = 1.0, None
        if world.compressed:
            soft, quality = float(rng.uniform(2.0, 3.2)), int(rng.integers(25, 60))
        elif rng.random() < world.soft:
            soft = float(rng.uniform(1.1, 1.6))
        follower, keeper = Follower(unasked), Keeper(search, rng, known)
        for time, pose in enumerate(shown.poses):
            own = pulled(pose, pulls)
            gray = gray_of(scene.render(own, key=int(rng.integers(2**63)), buffers=buffers))
            gray = spoiled(gray, soft, quality)
            box = keeper.box(gray)
            if box is None:
                break
            known = keeper.first
            reading = follower.push(gray, keeper.first)
            assert reading is not None
            points = finder(gray, box).points
            keeper.follow(points)
            seen = look(gray, points)
            truth = pulled_units(pose, own)
            rows.append((
                *seen,
                reading.moment.flow.astype(np.float16), [truth[unit] for unit in UNITS],
                reading.moment.displacement, reading.moment.onset, time, number, number * 100 + place,
                shown.code, shown.act,
            ))  # fmt: skip
    if not rows:
        return nobody()
    columns = list(zip(*rows, strict=True))
    kinds = (np.float32, np.float32, np.uint8, np.uint8, np.float16, np.float32, np.float32, np.int16, np.int16,
             np.int32, np.int32, np.int16, np.str_)  # fmt: skip
    arrays = [np.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
    return Frames(**{entry.name: values for entry, values in zip(fields(Frames), arrays, strict=True)})


class Keeper:
    """Where a rendered face is: searched in the first frame, then taken along with its points while these are in view.

    A search in every frame takes as long as to render it. Its boxes jump between sizes; so do these. Where it finds
    nothing the face is where the person's was before.
    """

    def __init__(self, search: FaceDetector, rng: np.random.Generator, known: FaceBox | None) -> None:
        self._search, self._rng, self._known = search, rng, known
        self.first: FaceBox | None = None
        self._shift = np.zeros(2)
        self._start: NDArray[np.float64] | None = None

    def box(self, gray: Gray) -> NDArray[np.float64] | None:
        """Return the box in the next frame; None where the first one has no face, or where it has left the picture."""
        if self.first is None:
            self.first = largest(self._search(gray)) or self._known
            if self.first is None:
                return None
        top, left, bottom, right = self.first
        side = bottom - top
        half = 0.5 * side * float(np.exp(self._rng.normal(0, 0.05)))
        middle = np.array([(left + right) / 2, (top + bottom) / 2]) + self._shift + self._rng.normal(0, 0.025, 2) * side
        box = np.array([middle[1] - half, middle[0] - half, middle[1] + half, middle[0] + half])
        return box if in_view(box, gray) else None

    def follow(self, points: NDArray[np.float32]) -> None:
        """Take in the points of the frame."""
        middle = points[27:48].mean(axis=0).astype(np.float64)
        if self._start is None:
            self._start = middle
        self._shift = middle - self._start


def nobody() -> Frames:
    """Return no frames: of a person whose face is never found."""
    none = 0
    return Frames(
        shape=np.empty((none, N_SHAPE), np.float32),
        pose=np.empty((none, 3), np.float32),
        patches=np.empty((none, N_PATCHES), np.uint8),
        cells=np.empty((none, GRID, GRID, DIRECTIONS), np.uint8),
        flow=np.empty((none, *FLOW_SHAPES["flow"]), np.float16),
        truth=np.empty((none, len(UNITS)), np.float32),
        moved=np.empty(none, np.float32),
        onset=np.empty(none, np.int16),
        time=np.empty(none, np.int16),
        person=np.empty(none, np.int32),
        clip=np.empty(none, np.int32),
        code=np.empty(none, np.int16),
        act=np.empty(none, np.str_),
    )


def render_frames(folder: Path, name: str, seed: int, people: int, *, n_jobs: int) -> Frames:
    """Return people 1 to `people` of a world: rendered, or what the folder keeps of them.

    The same for any number of processes.
    """
    parts = []
    for first in range(1, people + 1, KEPT):
        path = folder / f"units-{name}-{seed}-{first}.npz"
        if not path.exists():
            jobs = (delayed(person_frames)(name, seed, first + one) for one in range(KEPT))
            Frames.join(Parallel(n_jobs=n_jobs)(jobs)).save(path)
        parts.append(Frames.load(path))
    whole = Frames.join(parts)
    return whole.pick(whole.person <= people)


def in_parts(frames: Frames) -> list[Frames]:
    """Return frames in parts of `KEPT` people, in their order."""
    people = np.unique(frames.person)
    return [frames.pick(np.isin(frames.person, people[first : first + KEPT])) for first in range(0, len(people), KEPT)]
