"""Whole rendered clips through all that `fastck predict` does: what the probabilities are calibrated and checked on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from fastck.dataset.labels import EMOTIONS
from fastck.recogniser import Recogniser, logits, softmax
from fastck.recognition.clip import read_frames
from fastck.recognition.windows import near_apex, strongest_window
from fastck.render.dataset import Person, Take, act
from fastck.render.motion import Pose, draw_length, ease, unit_time
from fastck.render.recipes import EMOTION_CODES
from fastck.render.scene import Scene
from fastck.render.variation import Variation
from tools.recogniser.people import ACTS, gray_of
from tools.rows import Rows

Weights = dict[str, NDArray[np.float32]]
BACK, ON = "back to rest", "on to another expression"


@dataclass(frozen=True, kw_only=True)
class Clips(Rows):
    """The flow at the apex of each clip, several rows for a clip.

    Attributes
    ----------
    flow : ndarray of shape (N, 3, 28, 28), float16
    clip : ndarray of shape (N,), int32
        Which clip a row belongs to, 0 to M - 1.
    code : ndarray of shape (M,), int16
        CK+'s code of what the clip shows, 0 for neutral.
    act : ndarray of shape (M,), str
        The emotion, or which neutral act.
    """

    flow: NDArray[np.float16]
    clip: NDArray[np.int32]
    code: NDArray[np.int16]
    act: NDArray[np.str_]

    def probabilities(self, weights: Weights, temperature: float) -> NDArray[np.float64]:
        """Return the probabilities (M, 8): the mean over the rows of each clip, as `fastck predict` takes it."""
        rows = softmax(logits(self.flow.astype(np.float32), weights) / np.float32(temperature))
        total = np.zeros((len(self.code), rows.shape[1]))
        np.add.at(total, self.clip, rows)
        return np.asarray(total / np.bincount(self.clip, minlength=len(self.code))[:, None])


Clip = tuple[NDArray[np.float16], int, str]  # an apex's flow, code and act


class Unasked(Recogniser):
    """Takes a recogniser's place where only the flow is wanted: a new one can be made before there is any."""

    def __init__(self) -> None:
        pass

    def probabilities(self, flow: NDArray[Any]) -> NDArray[np.float32]:
        """Return the same for every class."""
        return np.full((len(flow), len(EMOTIONS)), 1 / len(EMOTIONS), np.float32)

    def decide(self, probabilities: NDArray[np.float32]) -> None:
        """Say nothing."""


def apex_flow(scene: Scene, poses: Sequence[Pose], film: np.random.Generator) -> NDArray[np.float16] | None:
    """Return the flow near the apex of a clip that is rendered; None where no face was found in two frames."""
    buffers = scene.buffers()
    frames = (gray_of(scene.render(pose, key=int(film.integers(2**63)), buffers=buffers)) for pose in poses)
    readings, _, _ = read_frames(frames, Unasked(), keep_flow=True)
    if len(readings) < 2:
        return None
    return np.stack([reading.moment.flow for reading in near_apex(strongest_window(readings))]).astype(np.float16)


def person_clips(seed: int, number: int, variation: Variation) -> list[Clip]:
    """Render a person's clips, every emotion and every neutral act once."""
    cv2.setNumThreads(1)
    scene, manner = Person(seed, number, variation).get()
    lengths = np.random.default_rng([seed, number, 4])
    found = []
    for position, shows in enumerate([*EMOTION_CODES, *ACTS], start=1):
        take = Take(subject=number, position=position, shows=shows, n_frames=draw_length(lengths))
        acting, film = np.random.default_rng([seed, number, position, 5]).spawn(2)
        flow = apex_flow(scene, act(take, manner, acting, variation), film)
        if flow is not None:
            found.append((flow, take.code, shows))
    return found


def person_begun_clips(seed: int, number: int, variation: Variation) -> list[Clip]:
    """Render a person's clips that begin with an expression: each goes back to rest, and on to another one.

    The code is that of the expression at the clip's beginning and at its end.
    """
    cv2.setNumThreads(1)
    scene, manner = Person(seed, number, variation).get()
    lengths = np.random.default_rng([seed, number, 6])
    takes = [
        Take(subject=number, position=position, shows=shows, n_frames=draw_length(lengths))
        for position, shows in enumerate(EMOTION_CODES, start=1)
    ]
    generators = [np.random.default_rng([seed, number, take.position, 7]).spawn(2) for take in takes]
    acted = [act(take, manner, acting, variation) for take, (acting, _) in zip(takes, generators, strict=True)]
    found = []
    for place, (take, poses, (_, film)) in enumerate(zip(takes, acted, generators, strict=True)):
        # A step of three: no expression is followed by the one beside it in the list.
        after = (place + 3) % len(takes)
        clips = (
            (poses[::-1], take.code, BACK),
            (between(poses[-1], acted[after][-1], take.n_frames), takes[after].code, ON),
        )
        for shown, code, kind in clips:
            flow = apex_flow(scene, shown, film)
            if flow is not None:
                found.append((flow, code, kind))
    return found


def between(first: Pose, last: Pose, n_frames: int) -> list[Pose]:
    """Return poses that glide from one to another; the head and the light stay as they are in the first."""
    poses = []
    for part in ease(unit_time(n_frames)):
        names = {**first.weights, **last.weights}
        weights = {
            name: float((1 - part) * first.weights.get(name, 0.0) + part * last.weights.get(name, 0.0))
            for name in names
        }
        poses.append(replace(first, weights=weights))
    return poses


def render_clips(
    seed: int, people: int, variation: Variation, *, one: Callable[..., list[Clip]] = person_clips, n_jobs: int = -1
) -> Clips:
    """Render people's clips, the same for any number of jobs; only the flow at the apex is kept.

    Parameters
    ----------
    seed, people : int
    variation : Variation
    one : callable
        Renders one person's: `person_clips` or `person_begun_clips`.
    n_jobs : int
    """
    parts = Parallel(n_jobs=n_jobs)(delayed(one)(seed, number, variation) for number in range(1, people + 1))
    found = [clip for part in parts for clip in part]
    return Clips(
        flow=np.concatenate([flow for flow, _, _ in found]),
        clip=np.repeat(np.arange(len(found), dtype=np.int32), [len(flow) for flow, _, _ in found]),
        code=np.array([code for _, code, _ in found], np.int16),
        act=np.array([act for _, _, act in found]),
    )
