from pathlib import Path

import cv2
import numpy as np
import pytest

import fastck


@pytest.fixture(scope="session")
def smile() -> Path:
    """One person's smile in the sample: five frames, neutral first."""
    return sorted((fastck.sample() / "cohn-kanade-images").glob("*/*"))[0]


@pytest.fixture
def gray_frames(smile: Path) -> list[np.ndarray]:
    return [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in sorted(smile.glob("*.png"))]
