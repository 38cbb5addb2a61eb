"""Whole rendered clips through all that `fastck predict` does: what the probabilities are calibrated and checked on."""

from dataclasses import dataclass, fields
from pathlib import Path

import cv2
import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from benchmarks.recogniser.people import ACTS, gray_of
from fastck.recognition.clip import near_apex, read_frames, strongest_window
from fastck.recognition.model import Recogniser, logits, softmax
from fastck.render.dataset import Person, Take, act
from fastck.render.motion import draw_length
from fastck.render.recipes import EMOTION_CODES
from fastck.render.variation import Variation

Weights = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Clips:
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

    def save(self, path: Path) -> None:
        """Write an .npz file."""
        np.savez(path, **{entry.name: getattr(self, entry.name) for entry in fields(self)})


def load_clips(path: Path) -> Clips:
    """Read what `Clips.save` wrote."""
    with np.load(path, allow_pickle=False) as file:
        return Clips(**{entry.name: file[entry.name] for entry in fields(Clips)})


def person_clips(seed: int, number: int, variation: Variation) -> list[tuple[NDArray[np.float16], int, str]]:
    """Render a person's clips, every emotion and every neutral act once, and return each apex's flow, code and act."""
    cv2.setNumThreads(1)
    person = Person(seed, number, variation)
    scene, manner = person.get()
    buffers = scene.buffers()
    recogniser = Recogniser()
    lengths = np.random.default_rng([seed, number, 4])
    found = []
    for position, shows in enumerate([*EMOTION_CODES, *ACTS], start=1):
        take = Take(subject=number, position=position, shows=shows, n_frames=draw_length(lengths))
        acting, film = np.random.default_rng([seed, number, position, 5]).spawn(2)
        frames = (
            gray_of(scene.render(pose, key=int(film.integers(2**63)), buffers=buffers))
            for pose in act(take, manner, acting, variation)
        )
        readings, _, _ = read_frames(frames, recogniser)
        if len(readings) > 1:
            near = near_apex(strongest_window(readings))
            flow = np.stack([reading.moment.flow for reading in near]).astype(np.float16)
            found.append((flow, take.code, shows))
    return found


def render_clips(seed: int, people: int, variation: Variation, *, n_jobs: int = -1) -> Clips:
    """Render people's clips, the same for any number of jobs; only the flow at the apex is kept."""
    one = delayed(person_clips)
    parts = Parallel(n_jobs=n_jobs)(one(seed, number, variation) for number in range(1, people + 1))
    found = [clip for part in parts for clip in part]
    return Clips(
        flow=np.concatenate([flow for flow, _, _ in found]),
        clip=np.repeat(np.arange(len(found), dtype=np.int32), [len(flow) for flow, _, _ in found]),
        code=np.array([code for _, code, _ in found], np.int16),
        act=np.array([act for _, _, act in found]),
    )
