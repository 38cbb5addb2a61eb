"""All faces of a frame: dlib's frontal face detector and the compiled one, which returns the same boxes."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks.test_stages import describe
from fastck.faces.box import FaceBox
from fastck.faces.detector import Detector, FaceDetector
from fastck.images import read_gray

Search = Callable[[np.ndarray], list[FaceBox]]

SIZES = [(320, 240), (640, 480), (1280, 720), (1920, 1080)]
SEARCHES: dict[str, Callable[[int], Search]] = {"dlib": Detector, "fastck": FaceDetector}
ROUNDS = 5


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("upsample", [0, 1])
@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
def test_all_faces(
    benchmark: Any, real_root: Path, size: tuple[int, int], upsample: int, name: str, threads: int
) -> None:
    if benchmark.disabled and size != SIZES[0]:
        pytest.skip("the smallest size runs the same code")
    frame = read_gray(min((real_root / "cohn-kanade-images").glob("L*/*/*.png")))
    gray = cv2.resize(frame, size, interpolation=cv2.INTER_AREA if size < frame.shape[::-1] else cv2.INTER_CUBIC)
    searches = [SEARCHES[name](upsample) for _ in range(threads)]
    expected = Detector(upsample)(gray)
    assert expected
    # Buffers and compiled code are made by the first call.
    assert all(search(gray) == expected for search in searches)
    describe(
        benchmark,
        f"all faces of {size[0]}x{size[1]} pixels, upsample {upsample}",
        f"{name}, {threads} thread(s)",
        "frame",
        threads,
        "the same boxes",
    )
    with ThreadPoolExecutor(threads) as pool:

        def run() -> list[list[FaceBox]]:
            return list(pool.map(lambda search: search(gray), searches))

        found = benchmark.pedantic(run, rounds=1 if benchmark.disabled else ROUNDS)
    assert found == [expected] * threads
