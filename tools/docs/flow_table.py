"""Prints the table of explanation/flow.md: `python -m tools.docs.flow_table`, some minutes on one core.

Rendered faces are warped by motions that are known, head and expression together: so the flow's error is known, too.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from benchmarks.naive import cell_shares
from fastck import Detector
from fastck.images.image import read_gray
from fastck.ops.patches import PatchSearch
from fastck.render import render_dataset

SIDE, CELLS, PEOPLE = 267, 28, 20
SIZES = (64, 96, 128, 160, 192, 267)
BUMPS, BUMP_WIDTH, BUMP_HEIGHT = 6, (0.05, 0.14), (0.01, 0.035)  # shares of the side
TURN, ZOOM, SHIFT = 3.0, 0.03, 0.025  # degrees; shares
NOISE, GAIN = 2.5, 0.05  # gray levels; share of brightness
Y, X = np.mgrid[:SIDE, :SIDE].astype(np.float32)
Flow = Callable[[np.ndarray], Callable[[np.ndarray], np.ndarray]]  # given the reference, then a crop


def motion(rng: np.random.Generator) -> np.ndarray:
    """Draw displacements (2, SIDE, SIDE) in pixels: some bumps of an expression on the head's rigid motion."""
    flow = np.zeros((2, SIDE, SIDE), np.float32)
    for _ in range(BUMPS):
        x, y = rng.uniform(0.2, 0.8, 2) * SIDE
        width, height, angle = (
            SIDE * rng.uniform(*BUMP_WIDTH),
            SIDE * rng.uniform(*BUMP_HEIGHT),
            rng.uniform(0, 2 * np.pi),
        )
        bump = height * np.exp(-((X - x) ** 2 + (Y - y) ** 2) / (2 * width**2))
        flow += np.array([np.cos(angle), np.sin(angle)], np.float32)[:, None, None] * bump
    angle, zoom = np.deg2rad(rng.uniform(-TURN, TURN)), 1 + rng.uniform(-ZOOM, ZOOM)
    turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) - np.eye(2)
    shift = SIDE * rng.uniform(-SHIFT, SHIFT, 2)
    middle = np.stack([X, Y]) - (SIDE - 1) / 2
    return (flow + np.einsum("ij,jrc->irc", turn, middle) + shift[:, None, None]).astype(np.float32)


def pairs() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield reference crop, crop and the mean displacement of each cell in shares of the side, two for each person."""
    rng = np.random.default_rng(0)
    shares, detector = cell_shares(SIDE, CELLS), Detector(upsample=0)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "faces"
        render_dataset(root, subjects=PEOPLE, sequences=1, seed=5)
        firsts = [read_gray(min(path.glob("*.png"))) for path in sorted(root.glob("cohn-kanade-images/*/*"))]
    for gray in firsts * 2:
        top, left, bottom, right = max(detector(gray), key=lambda box: box.area)
        flow = motion(rng)

        def look(x: np.ndarray, y: np.ndarray, gain: float, gray: np.ndarray = gray) -> np.ndarray:
            seen = cv2.remap(gray.astype(np.float32), x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
            return np.clip(gain * seen + rng.normal(0, NOISE, seen.shape), 0, 255).round().astype(np.uint8)

        across, along = np.float32((right - left) / SIDE), np.float32((bottom - top) / SIDE)
        reference = look((X + flow[0]) * across + left, (Y + flow[1]) * along + top, 1.0)
        crop = look(X * across + left, Y * along + top, rng.uniform(1 - GAIN, 1 + GAIN))
        yield reference, crop, shares @ flow @ shares.T / SIDE


def dense(engine: cv2.DISOpticalFlow) -> Flow:
    """Let the engine begin each pair anew."""
    return lambda reference: lambda crop: engine.calc(reference, crop, None)


def methods(size: int) -> Iterator[tuple[str, Flow]]:
    """Yield each method for a size: DIS keeps a scale that it lowered for a smaller image."""
    for preset in ("ULTRAFAST", "FAST", "MEDIUM"):
        engine = cv2.DISOpticalFlow.create(getattr(cv2, f"DISOPTICAL_FLOW_PRESET_{preset}"))
        yield f"DIS {preset.lower()}", dense(engine)
    yield "Farneback", lambda a: lambda b: cv2.calcOpticalFlowFarneback(a, b, None, 0.5, 3, 15, 3, 5, 1.2, 0)
    search = PatchSearch(size)

    def patches(reference: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        search.set_reference(reference)
        return search.find

    yield "patches", patches


def main() -> None:
    """Print error and time of every method at every working size."""
    cv2.setNumThreads(1)
    tested = list(pairs())
    print("| method | size | mean error, % of the side | 95th percentile | ms |\n|---|---:|---:|---:|---:|")
    for size in SIZES:
        shares = cell_shares(size, CELLS)
        for name, flow in methods(size):
            errors, seconds = [], []
            for reference, crop, truth in tested:
                small = [cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA) for image in (reference, crop)]
                find = flow(small[0])
                for _ in range(5):
                    started = time.perf_counter()
                    found = find(small[1])
                    seconds.append(time.perf_counter() - started)
                cells = shares @ found.transpose(2, 0, 1) @ shares.T / size
                errors.append(100 * np.hypot(*(cells - truth)))
            tail = np.mean([np.percentile(error, 95) for error in errors])
            print(f"| {name} | {size} | {np.mean(errors):.2f} | {tail:.2f} | {1e3 * min(seconds):.2f} |", flush=True)


if __name__ == "__main__":
    main()
