"""Rendered people as small pictures with their 68 points: what the landmark model learns from, kept as arrays."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from fastck.faces.detector import FaceDetector
from fastck.render.dataset import draw_person, subject_rng
from fastck.render.expression import LARGEST_WEIGHT, Manner, sides
from fastck.render.model import load_model
from fastck.render.motion import VISEMES, Pose, gaze_weights
from fastck.render.recipes import EMOTION_CODES
from fastck.render.scene import Scene
from fastck.render.subject import WIDTH, Subject, direction
from fastck.render.variation import HARD
from fastck.render.worn import Worn
from tools.landmarks.points import Carriers
from tools.recogniser.recipes import loose_recipe
from tools.rows import Rows

KEPT = 50  # people in a file of kept pictures
SIDE = 160  # pixels of a kept picture
SPAN = 2.6  # decimetres of the head that it shows; dlib's box is about 1.45 wide
WIDE = replace(HARD, glasses=0.2, fringe=0.25)
YAW, PITCH, ROLL = 40.0, 25.0, 30.0  # degrees at most
NEAR = 0.6  # share of the pictures with a head that is turned as in a portrait
NEAR_SPREAD = 0.3  # of the turns then: standard deviation as a share of the most
CALM, SPEAKING, BLINKING, GAPING = 0.35, 0.25, 0.15, 0.12  # shares of the pictures
GAZE = 0.35  # standard deviation, 1 is as far as the eyes turn
BEARDED, LONG_HAIRED, PAINTED_BACKDROP, HELD_BEFORE = 0.2, 0.3, 0.8, 0.06  # shares of people or pictures
UNIT_PAIRS = ("jawOpen", "tongueOut", "mouthFunnel", "mouthPucker", "mouthLeft", "mouthRight", "cheekPuff", "jawLeft")


@dataclass(frozen=True, kw_only=True)
class Pictures(Rows):
    """Pictures of faces, a row for each.

    Attributes
    ----------
    picture : ndarray of shape (N, 160, 160), uint8
    points : ndarray of shape (N, 68, 2), float32
        Column and row of each point in the picture.
    box : ndarray of shape (N, 4), float32
        dlib's box around the face in the picture's pixels: top, left, bottom, right; NaN where it found none.
    pose : ndarray of shape (N, 3), float32
        Yaw, pitch and roll, degrees.
    person : ndarray of shape (N,), int32
    """

    picture: NDArray[np.uint8]
    points: NDArray[np.float32]
    box: NDArray[np.float32]
    pose: NDArray[np.float32]
    person: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.person)


def varied(subject: Subject, rng: np.random.Generator) -> Subject:
    """Return a subject in gray with other skin, brows, beard, light and film; always the same number of draws."""
    bearded = rng.random() < BEARDED
    side, height = rng.uniform(-2.5, 2.5), rng.uniform(-0.3, 1.6)
    exposure = float(subject.key_power + subject.fill_power + subject.ambient) * rng.uniform(0.7, 1.3)
    shares = rng.dirichlet([2.5, 0.8, 1.2])
    return replace(
        subject,
        colour=False,
        beard=float(rng.uniform(0.3, 1.0)) if bearded else subject.beard * float(rng.random()),
        grain=float(np.exp(rng.uniform(*np.log((0.015, 0.15))))),
        lip_strength=subject.lip_strength * float(rng.uniform(0.1, 1.3)),
        lid_shadow=float(rng.uniform(0.2, 0.8)),
        brow_opacity=float(rng.uniform(0.25, 1.0)),
        brow_thickness=subject.brow_thickness * float(rng.uniform(0.6, 1.6)),
        brow_arch=float(rng.uniform(-0.2, 2.2)),
        brow_height=float(rng.normal(0, 0.03)),
        hairline=float(rng.normal(0.0, 0.12)),
        key=direction(side, height, 1.0),
        fill=direction(-np.sign(side) * rng.uniform(0.2, 1.0), rng.uniform(-0.5, 0.5), 0.6),
        key_power=exposure * float(shares[0]),
        fill_power=exposure * float(shares[1]),
        ambient=exposure * float(shares[2]),
        noise=float(rng.uniform(0.3, 1.5)),
        gamma=float(rng.uniform(0.9, 1.7)),
        shift=(0.0, 0.0),
    )


def blotches(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return a picture (H, W) float32 around 0: smooth noise of two sizes, perhaps with straight edges in it."""
    picture = np.zeros(shape, np.float32)
    for cells in (rng.integers(2, 6), rng.integers(6, 60)):
        coarse = rng.standard_normal((cells, cells)).astype(np.float32) * np.float32(rng.uniform(0, 0.3))
        picture += cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)
    for _ in range(rng.integers(0, 6)):
        corners = (rng.uniform(-0.2, 1.2, (4, 2)) * shape[::-1]).astype(np.int32)
        shade = np.zeros(shape, np.float32)
        cv2.fillConvexPoly(shade, cv2.convexHull(corners), 1.0)
        picture += shade * np.float32(rng.normal(0, 0.2))
    return picture


def draw_backdrop(rng: np.random.Generator, usual: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what is behind the head (H, W, 1): the usual gradient, white, black, or blotches and edges."""
    if rng.random() > PAINTED_BACKDROP:
        return usual
    level = float(rng.choice([0.0, 1.0, rng.random(), rng.random(), rng.random()]))
    picture = level + blotches(rng, usual.shape[:2]) * float(rng.random() < 0.75)
    return np.ascontiguousarray(np.clip(picture, 0, 1)[..., None], dtype=np.float32)


def draw_weights(manner: Manner, rng: np.random.Generator) -> dict[str, float]:
    """Return unit weights: calm, an emotion by a loose recipe, a speaking mouth, shut eyes, single units."""
    model = load_model()
    units: dict[str, float] = {unit: weight * rng.uniform(0, 2) for unit, weight in manner.resting.items()}
    if rng.random() > CALM:
        strength = rng.uniform(0.2, 1.1)
        recipe = loose_recipe(str(rng.choice(list(EMOTION_CODES))), rng)
        units |= {unit: weight * strength for unit, weight in recipe.items()}
    if rng.random() < SPEAKING:
        loudness = rng.uniform(0.3, 1.2)
        for unit, weight in VISEMES[rng.integers(len(VISEMES))].items():
            units[unit] = max(units.get(unit, 0.0), loudness * weight)
    if rng.random() < GAPING:
        units["jawOpen"] = rng.uniform(0.3, 1.0)
    if rng.random() < GAPING:
        units[str(rng.choice(UNIT_PAIRS))] = rng.uniform(0.1, 0.7)
    tilt = rng.normal(0, 0.2)
    weights: dict[str, float] = {}
    for unit, weight in units.items():
        for name, factor in sides(model, unit, manner, tilt):
            weights[name] = min(weights.get(name, 0.0) + weight * factor, LARGEST_WEIGHT)
    shut = np.clip(rng.uniform(0, 1.3), 0, 1) if rng.random() < BLINKING else 0.0
    for side in ("Left", "Right"):
        wink = 1.0 if rng.random() < 0.9 else rng.random()
        weights[f"unit/eyeBlink{side}"] = float(shut) * wink
    gaze = gaze_weights(*np.clip(rng.normal(0, GAZE, 2), -1, 1))
    for name in [*weights, *gaze]:
        if name.startswith(("unit/eyeWide", "unit/eyeSquint", "unit/eyeLook")):
            weights[name] = (weights.get(name, 0.0) + gaze.get(name, 0.0)) * (1 - float(shut))
    return weights


def draw_turn(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return yaw, pitch and roll in degrees: near the front, or anywhere in the range."""
    most = np.array([YAW, PITCH, ROLL])
    if rng.random() < NEAR:
        return np.clip(rng.normal(0, NEAR_SPREAD * most), -most, most)
    return rng.uniform(-most, most)


def lay_hair(frame: NDArray[np.uint8], points: NDArray[np.float64], rng: np.random.Generator) -> None:
    """Hang long hair down both sides of the face, over ears and part of the cheeks, in place."""
    left, right, chin = points[0], points[16], points[8]
    up = (left + right) / 2 - chin
    outwards = (right - left) / 2
    shape = frame.shape
    shade = np.zeros(shape, np.uint8)
    length = rng.uniform(0.2, 1.3)
    for side in (-1.0, 1.0):
        middle = (left + right) / 2
        inner = rng.uniform(0.8, 1.1)
        outer = inner + rng.uniform(0.2, 0.6)
        top = middle + 0.9 * up
        path = [
            top + side * 0.1 * outwards,
            middle + side * inner * outwards + rng.uniform(0.3, 0.7) * up,
            middle + side * inner * outwards,
            middle + side * (inner - rng.uniform(0.0, 0.15)) * outwards - length * up,
            middle + side * outer * outwards - (length + 0.1) * up,
            middle + side * outer * outwards,
            top + side * 0.5 * outwards + 0.2 * up,
        ]
        cv2.fillPoly(shade, [np.rint(np.array(path)).astype(np.int32)], 255)
    soft = cv2.GaussianBlur(shade, (0, 0), float(rng.uniform(1.0, 5.0))).astype(np.float32) / 255
    streaks = cv2.resize(rng.standard_normal((4, 200)).astype(np.float32), shape[::-1], interpolation=cv2.INTER_CUBIC)
    gray = np.clip(rng.uniform(10, 170) * (1 + 0.2 * streaks), 0, 255)
    frame[:] = (frame + soft * (gray - frame)).astype(np.uint8)


def hold_before(frame: NDArray[np.uint8], points: NDArray[np.float64], rng: np.random.Generator) -> None:
    """Hold something before part of the face, in place: a blob with a blotched surface."""
    size = np.linalg.norm(points[36] - points[45])
    centre = points[rng.integers(17)] * 0.7 + 0.3 * points[30] + rng.normal(0, 0.2 * size, 2)
    shade = np.zeros(frame.shape, np.uint8)
    axes = np.rint(size * rng.uniform(0.15, 0.45, 2)).astype(int)
    cv2.ellipse(shade, np.rint(centre).astype(int).tolist(), axes.tolist(), float(rng.uniform(0, 180)), 0, 360, 255, -1)
    soft = cv2.GaussianBlur(shade, (0, 0), 1.5).astype(np.float32) / 255
    gray = np.clip(255 * (rng.random() + blotches(rng, frame.shape)), 0, 255)
    frame[:] = (frame + soft * (gray - frame)).astype(np.uint8)


def cut(
    frame: NDArray[np.uint8], points: NDArray[np.float64], scale: float
) -> tuple[NDArray[np.uint8], float, NDArray]:
    """Return the picture around the points, its pixels to a pixel of the frame, and its corner in the frame."""
    zoom = SIDE / (SPAN * scale)
    corner = points[17:].mean(axis=0) - SIDE / zoom / 2
    # Pixel centres lie at whole numbers in both.
    move = np.array([[1 / zoom, 0, corner[0]], [0, 1 / zoom, corner[1]]])
    soft = cv2.GaussianBlur(frame, (0, 0), 0.5 / zoom) if zoom < 1 else frame
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(soft, move, (SIDE, SIDE), flags=flags, borderMode=cv2.BORDER_REPLICATE), zoom, corner


class Sitter(NamedTuple):
    """Who is in the pictures: all that is the same in one person's."""

    subject: Subject
    manner: Manner
    worn: Worn
    long_haired: bool


def draw_sitter(seed: int, number: int) -> tuple[Sitter, np.random.Generator]:
    """Return a person, and the generator that their pictures are drawn with."""
    rng = np.random.default_rng([seed, number, 68])
    drawn, manner, worn = draw_person(subject_rng(seed, number), WIDE)
    subject = varied(drawn, rng)
    return Sitter(subject, manner, worn, rng.random() < LONG_HAIRED), rng


def person_pictures(seed: int, number: int, count: int) -> Pictures:
    """Return pictures of one person; they depend on the seed and the person's number only."""
    (subject, manner, worn, long_haired), rng = draw_sitter(seed, number)
    scene = Scene(subject, noise=WIDE.noise, worn=worn)
    usual, buffers, carriers = scene.backdrop, scene.buffers(), Carriers(subject)
    search = FaceDetector(0)
    rows = []
    for _ in range(count):
        turn = draw_turn(rng)
        yaw, pitch, roll = np.deg2rad(turn)
        pose = Pose(
            weights=draw_weights(manner, rng), yaw=yaw, pitch=pitch, roll=roll, shift=(0.0, 0.0),
            light_gain=float(2.0 ** rng.normal(0, 0.4)), light_turn=float(rng.normal(0, 0.4)),
        )  # fmt: skip
        scene.backdrop = draw_backdrop(rng, usual)
        frame = scene.render(pose, key=int(rng.integers(2**63)), buffers=buffers)
        points = carriers.seen(scene.project(scene.pose(pose)), roll)
        if long_haired:
            lay_hair(frame, points, rng)
        if rng.random() < HELD_BEFORE:
            hold_before(frame, points, rng)
        picture, zoom, corner = cut(frame, points, subject.scale)
        box = np.full(4, np.nan)
        if found := search(frame):
            best = min(found, key=lambda one: abs((one.left + one.right) / 2 - WIDTH / 2))
            box = (np.array(best) - corner[[1, 0, 1, 0]]) * zoom
        rows.append((picture, (points - corner) * zoom, box, turn))
    pictures, points_of, boxes, turns = zip(*rows, strict=True)
    return Pictures(
        picture=np.stack(pictures),
        points=np.stack(points_of).astype(np.float32),
        box=np.stack(boxes).astype(np.float32),
        pose=np.stack(turns).astype(np.float32),
        person=np.full(count, number, np.int32),
    )


def render_pictures(folder: Path, seed: int, people: int, count: int, *, n_jobs: int) -> Pictures:
    """Return people 1 to `people`, `count` pictures each: rendered, or what the folder keeps of them.

    The same for any number of processes.
    """
    parts = []
    for first in range(1, people + 1, KEPT):
        path = folder / f"pictures-{seed}-{first}-{count}.npz"
        if not path.exists():
            jobs = Parallel(n_jobs=n_jobs)
            Pictures.join(list(jobs(delayed(_alone)(seed, first + one, count) for one in range(KEPT)))).save(path)
        parts.append(Pictures.load(path))
    whole = Pictures.join(parts)
    rows = whole.person <= people
    return Pictures(**{entry.name: getattr(whole, entry.name)[rows] for entry in fields(Pictures)})


def _alone(seed: int, number: int, count: int) -> Pictures:
    # One parallel layer: joblib's, over people.
    cv2.setNumThreads(1)
    return person_pictures(seed, number, count)
