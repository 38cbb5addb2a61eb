"""Frames to measure on: real faces where they are beside the checkout, drifting noise otherwise."""

import os
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from pathlib import Path

import cv2
import numpy as np
import pytest

from fastck.bench import STEPS, sample_frames

REAL_FACES = Path(__file__).resolve().parents[2] / "shared" / "real-faces"


def real_crops(count: int, side: int) -> np.ndarray | None:
    """The middle of successive real frames, `side` pixels square; None where there are none."""
    paths = sorted((REAL_FACES / "cohn-kanade-images").glob("P*/*/*.png"))[:count]
    if len(paths) < count:
        return None
    frames = []
    for path in paths:
        gray = np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
        top, left = (gray.shape[0] - 300) // 2, (gray.shape[1] - 300) // 2
        frames.append(cv2.resize(gray[top : top + 300, left : left + 300], (side, side)))
    return np.stack(frames)


@pytest.fixture(scope="session")
def frames_of() -> Callable[[int], np.ndarray]:
    """Give frames by side, made once."""
    made: dict[int, np.ndarray] = {}

    def get(side: int) -> np.ndarray:
        if side not in made:
            real = real_crops(STEPS + 1, side)
            made[side] = sample_frames(side=side) if real is None else real
        return made[side]

    return get


@pytest.fixture(scope="session")
def real_root() -> Path:
    """Root of the real faces, or skip."""
    if not REAL_FACES.is_dir():
        pytest.skip("real-faces is not beside this checkout")
    return REAL_FACES
