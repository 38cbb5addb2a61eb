from pathlib import Path

import cv2
import numpy as np
import pytest

import fastck


@pytest.fixture(scope="session")
def smile() -> Path:
    """One person's smile in the sample: five frames, neutral first."""
    return sorted((fastck.sample() / "cohn-kanade-images").glob("*/*"))[0]


@pytest.fixture(scope="session")
def smile_frames(smile: Path) -> list[np.ndarray]:
    return [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in sorted(smile.glob("*.png"))]


@pytest.fixture(scope="session")
def smile_video(smile_frames: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smile as a video of 20 frames a second, each frame four times."""
    path = tmp_path_factory.mktemp("live") / "smile.mp4"
    height, width = (side - side % 2 for side in smile_frames[0].shape)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 20, (width, height))
    for gray in smile_frames:
        for _ in range(4):
            writer.write(cv2.cvtColor(gray[:height, :width], cv2.COLOR_GRAY2BGR))
    writer.release()
    return path
