"""Rendered people who act before a camera."""

import cv2
import numpy as np

from fastck.render.dataset import Person, Take, act
from fastck.render.variation import EASY

SIZE = 240  # pixels: a rendered head's picture is cut and shrunk to it


def acted(number: int, shows: str, n_frames: int) -> list[np.ndarray]:
    """Render one person who goes from rest to an expression, gray levels around the face."""
    scene, manner = Person(7, number, EASY).get()
    take = Take(subject=number, position=1, shows=shows, n_frames=n_frames)
    poses = act(take, manner, np.random.default_rng([7, number]), EASY)
    film, buffers = np.random.default_rng(number), scene.buffers()
    frames = []
    for pose in poses:
        picture = scene.render(pose, key=int(film.integers(2**63)), buffers=buffers)
        gray = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        side = gray.shape[0]
        left = (gray.shape[1] - side) // 2
        frames.append(cv2.resize(gray[:, left : left + side], (SIZE, SIZE), interpolation=cv2.INTER_AREA))
    return frames
