"""Render, fit and check: all that makes the bundled landmark model."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from fastck.faces.box import FaceBox, Gray, largest
from fastck.faces.detector import FaceDetector
from fastck.faces.landmarks import LandmarkFinder, LandmarkModel
from fastck.faces.pose import head_pose
from fastck.render.dataset import Person, act, plan_subject
from fastck.render.variation import HARD
from tools.landmarks.fit import FitConfig, errors_of, fit
from tools.landmarks.pictures import render_pictures
from tools.landmarks.points import Carriers
from tools.npzfile import npz_bytes

SEED, PEOPLE, PICTURES = 101, 1250, 8
# Added to the seed: other people.
CHECKING, CHECKING_PEOPLE, CHECKING_PICTURES = 800, 50, 4
PARTS = {
    "outline": slice(0, 17), "brows": slice(17, 27), "nose": slice(27, 36), "eyes": slice(36, 48),
    "mouth": slice(48, 68),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is rendered, and where it is kept.

    Attributes
    ----------
    folder : Path
        Receives the pictures; files that are there are used again.
    seed, people, pictures : int
        Pictures are per person.
    checking_people : int
        Others, to check on.
    config : FitConfig
    n_jobs : int
    """

    folder: Path
    seed: int = SEED
    people: int = PEOPLE
    pictures: int = PICTURES
    checking_people: int = CHECKING_PEOPLE
    config: FitConfig = field(default_factory=FitConfig)
    n_jobs: int = -1


class HardFrame(NamedTuple):
    """A frame of the hard set: gray levels, the points (68, 2), and yaw, pitch and roll in degrees."""

    gray: Gray
    points: NDArray[np.float64]
    turn: NDArray[np.float64]


def hard_frames(seed: int, people: int) -> Iterator[HardFrame]:
    """Yield the first and the last frame of two sequences of each person of the hard set."""
    for number in range(1, people + 1):
        scene, manner = Person(seed, number, HARD).get()
        carriers = Carriers(scene.subject)
        for take in plan_subject(seed, number, None)[:2]:
            rng = np.random.default_rng([seed, number, take.position])
            poses = act(take, manner, rng, HARD)
            for pose in (poses[0], poses[-1]):
                frame = scene.render(pose, key=int(rng.integers(2**63)))
                gray = frame if frame.ndim == 2 else cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
                points = carriers.seen(scene.project(scene.pose(pose)), pose.roll)
                yield HardFrame(np.asarray(gray), points, np.rad2deg([pose.yaw, pose.pitch, pose.roll]))


def nearest_face(found: list[FaceBox], points: NDArray[np.float64]) -> FaceBox | None:
    """Return the largest box with the face's middle in it."""
    column, row = points[17:].mean(axis=0)
    return largest([box for box in found if box.left < column < box.right and box.top < row < box.bottom])


def check_hard(model: LandmarkModel, seed: int, people: int) -> dict[str, Any]:
    """Return what is published about people of the hard set, in the boxes that the search finds."""
    search, finder = FaceDetector(0), LandmarkFinder(model)
    points, truth, turns, sure = [], [], [], []
    missed = 0
    for frame in hard_frames(seed, people):
        if (box := nearest_face(search(frame.gray), frame.points)) is None:
            missed += 1
            continue
        found = finder(frame.gray, box)
        points.append(found.points)
        truth.append(frame.points)
        sure.append(found.confidence)
        pose = head_pose(found.points, frame.gray.shape, head=model.head)
        turns.append(np.abs(np.array(pose[:3]) - frame.turn))
    return figures(np.stack(points), np.stack(truth), np.array(sure)) | {
        "missed": missed,
        "pose": np.round(np.median(turns, axis=0), 2).tolist(),
    }


def check_wide(model: LandmarkModel, plan: Plan) -> dict[str, Any]:
    """Return what is published about people as they were fitted to, of an unseen seed, where a face was found."""
    pictures = render_pictures(
        plan.folder, plan.seed + CHECKING, plan.checking_people, CHECKING_PICTURES, n_jobs=plan.n_jobs
    )
    finder = LandmarkFinder(model)
    found = ~np.isnan(pictures.box[:, 0])
    points, expected = [], []
    for picture, box in zip(pictures.picture[found], pictures.box[found], strict=True):
        place, said = finder.in_picture(picture, box)
        points.append(place)
        expected.append(finder.expected(said))
    return figures(np.stack(points), pictures.points[found], 1 - 10 * np.array(expected))


def figures(points: NDArray[Any], truth: NDArray[Any], confidence: NDArray[Any]) -> dict[str, Any]:
    """Return errors in shares of the outer eye corners' distance: of all points, of parts, and what was expected."""
    eyes = np.linalg.norm(truth[:, 36] - truth[:, 45], axis=1)
    off = np.linalg.norm(points - truth, axis=2) / eyes[:, None]
    error = errors_of(points, truth)
    return {
        "faces": len(points),
        "error": round(float(error.mean()), 4),
        "median": round(float(np.median(error)), 4),
        "expected": round(float((1 - confidence).mean() / 10), 4),
        "parts": {name: round(float(off[:, part].mean()), 4) for name, part in PARTS.items()},
    }


def make(plan: Plan, *, say: Callable[[str], None]) -> LandmarkModel:
    """Render, fit and check; `say` is told what is being done."""
    plan.folder.mkdir(parents=True, exist_ok=True)
    say(f"render {plan.people} people, {plan.pictures} pictures each")
    pictures = render_pictures(plan.folder, plan.seed, plan.people, plan.pictures, n_jobs=plan.n_jobs)
    say(f"fit to {len(pictures)} pictures")
    model = fit(pictures, plan.config, seed=plan.seed, say=say)
    say(f"check on {plan.checking_people} other people")
    model.about.update(
        seed=plan.seed, people=plan.people, pictures=len(pictures), check_seed=plan.seed + CHECKING,
        hard=check_hard(model, plan.seed + CHECKING, plan.checking_people // 2), wide=check_wide(model, plan),
    )  # fmt: skip
    return model


def model_bytes(model: LandmarkModel) -> bytes:
    """Return the model as an .npz file, the same bytes for the same values: weights as bytes and their scales."""
    arrays: dict[str, NDArray[Any]] = {
        "about": np.array(json.dumps(model.about, sort_keys=True)), "mean": model.mean, "head": model.head
    }  # fmt: skip
    for step, weights in enumerate(model.weights):
        arrays[f"weights_{step}"], arrays[f"scale_{step}"] = np.ascontiguousarray(weights.T), model.scales[step]
        arrays[f"bias_{step}"] = model.biases[step]
    return npz_bytes(arrays)
