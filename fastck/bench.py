"""Baselines to measure fastck against, and the essential ratios on the user's own machine in less than a minute.

`METHODS` is the one registry of who computes what. Here are the methods that `fastck bench` needs; `benchmarks/` in the
source tree adds more operations, libraries, sizes and stages.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fastck.ops.motion import motion_masks, motion_pools, motion_projections, pooled_shape

Call = Callable[[], np.ndarray]
# Given frames, make a call without arguments. Buffers and footprints are made before the call.
Make = Callable[[np.ndarray], Call]
METHODS: dict[str, dict[str, Make]] = {}
OWN, OPENCV, LOOPS = "fastck", "OpenCV", "paper's loops"
# Copying the frames once: nothing that reads all of them can be much faster.
FLOOR = "memory copy"
STEPS = 20  # of a measured sequence: CK+ has 18 frames on average


@dataclass(frozen=True)
class Operation:
    """One thing to compute.

    Attributes
    ----------
    name : str
        Its key in `METHODS`.
    stage : str
        What it is computed of: "frames" here; the benchmarks have more.
    tolerance : float
        How far float results may differ.
    """

    name: str
    stage: str = "frames"
    tolerance: float = 0.0


# Float32 means, summed in another order.
QUICK = (
    Operation("motion_masks packed"),
    Operation("motion_projections", tolerance=1e-6),
    Operation("motion_pools x3", tolerance=1e-6),
)


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Time of one method on one operation.

    Attributes
    ----------
    operation, method : str
        What was computed, and by whom: "fastck" or a baseline.
    microseconds : float
        Per step, the difference of two frames; the best of several runs.
    ratio : float
        How many times as long as fastck's on the same operation.
    """

    operation: str
    method: str
    microseconds: float
    ratio: float


def method(operation: str, name: str) -> Callable[[Make], Make]:
    """Register a function that makes the call."""

    def register(make: Make) -> Make:
        METHODS.setdefault(operation, {})[name] = make
        return make

    return register


def memory_copy(frames: np.ndarray) -> Call:
    """Copy the frames into a buffer made beforehand."""
    out = np.empty_like(frames)

    def run() -> np.ndarray:
        np.copyto(out, frames)
        return out

    return run


def again(operation: Callable[..., np.ndarray], frames: np.ndarray, **options: object) -> Call:
    """Call one of fastck's operations that fills one array again and again."""
    out = operation(frames, **options)
    return lambda: operation(frames, out=out, **options)


def project_by_loops(mask: np.ndarray) -> np.ndarray:
    """Column and row means of one frame as the paper's loops have them (fig. 14): (N, N) -> (2, N) float32."""
    size = mask.shape[0]
    out = np.zeros((2, size), np.float32)
    for i in range(size):
        column, row = 0.0, 0.0
        for j in range(size):
            column += float(mask[j, i])
            row += float(mask[i, j])
        out[0, i] = column / size
        out[1, i] = row / size
    return out


def pool_by_loops(frame: np.ndarray) -> np.ndarray:
    """Means of the 2x2 windows of one frame as loops (paper, fig. 13): (H, W) -> (ceil(H/2), ceil(W/2)) float32."""
    height, width = frame.shape
    out = np.zeros(((height + 1) // 2, (width + 1) // 2), np.float32)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            total, pixels = 0.0, 0
            for r in range(2 * i, min(2 * i + 2, height)):
                for c in range(2 * j, min(2 * j + 2, width)):
                    total += float(frame[r, c])
                    pixels += 1
            out[i, j] = total / pixels
    return out


def opencv_masks(frames: np.ndarray, *, size: int = 5) -> Call:
    """OpenCV's best: one thread, every buffer and the footprint made beforehand; masks of 0 and 1 (T-1, H, W)."""
    import cv2

    cv2.setNumThreads(1)
    footprint = np.ones((size, size), np.uint8)
    difference, binary = np.empty((2, *frames.shape[1:]), np.uint8)
    masks = np.empty((frames.shape[0] - 1, *frames.shape[1:]), np.uint8)

    def run() -> np.ndarray:
        for t in range(len(masks)):
            np.subtract(frames[t], frames[t + 1], out=difference)  # modulo 256, which cv2.subtract is not
            cv2.threshold(difference, 127, 1, cv2.THRESH_BINARY, dst=binary)
            cv2.erode(binary, footprint, dst=masks[t])
        return masks

    return run


@method("motion_projections", OPENCV)
def opencv_projections(frames: np.ndarray) -> Call:
    """OpenCV's masks and two reductions, all in buffers made beforehand: (T-1, 2, N) float32."""
    import cv2

    cv2.setNumThreads(1)
    footprint = np.ones((5, 5), np.uint8)
    difference, binary, mask = np.empty((3, *frames.shape[1:]), np.uint8)
    out = np.empty((frames.shape[0] - 1, 2, frames.shape[2]), np.float32)

    def run() -> np.ndarray:
        for t in range(len(out)):
            np.subtract(frames[t], frames[t + 1], out=difference)
            cv2.threshold(difference, 127, 1, cv2.THRESH_BINARY, dst=binary)
            cv2.erode(binary, footprint, dst=mask)
            cv2.reduce(mask, 0, cv2.REDUCE_AVG, dst=out[t, :1], dtype=cv2.CV_32F)
            cv2.reduce(mask, 1, cv2.REDUCE_AVG, dst=out[t, 1].reshape(-1, 1), dtype=cv2.CV_32F)
        return out

    return run


@method("motion_pools x3", OPENCV)
def opencv_pools(frames: np.ndarray, *, times: int = 3) -> Call:
    """OpenCV's masks, and area interpolation of frames made even by repeating the last row and column."""
    import cv2

    cv2.setNumThreads(1)
    masks = opencv_masks(frames)
    out = np.empty(pooled_shape((frames.shape[0] - 1, *frames.shape[1:]), times=times), np.float32)

    def run() -> np.ndarray:
        for t, mask in enumerate(masks()):
            pooled = mask.astype(np.float32)
            done = 0
            while done < times:
                odd = (pooled.shape[0] % 2, pooled.shape[1] % 2)
                if any(odd):
                    pooled = cv2.copyMakeBorder(pooled, 0, odd[0], 0, odd[1], cv2.BORDER_REPLICATE)
                step = 1
                while done + step < times and not (pooled.shape[0] >> step) % 2 and not (pooled.shape[1] >> step) % 2:
                    step += 1  # several halvings at once
                shape = (pooled.shape[1] >> step, pooled.shape[0] >> step)
                pooled = np.reshape(cv2.resize(pooled, shape, interpolation=cv2.INTER_AREA), shape[::-1])
                done += step
            out[t] = pooled
        return out

    return run


@method("motion_masks packed", OPENCV)
def opencv_packed(frames: np.ndarray) -> Call:
    """OpenCV's masks, packed by NumPy."""
    masks = opencv_masks(frames)
    return lambda: np.packbits(masks(), axis=-1)


@method("motion_projections", LOOPS)
def loops_projections(frames: np.ndarray) -> Call:
    """The paper's loops on masks by OpenCV, as the paper has them."""
    masks = opencv_masks(frames)
    return lambda: np.stack([project_by_loops(mask) for mask in masks()])


@method("motion_pools x3", LOOPS)
def loops_pools(frames: np.ndarray) -> Call:
    """The paper's loops on masks by OpenCV, pooled three times."""
    masks = opencv_masks(frames)
    return lambda: np.stack([pool_by_loops(pool_by_loops(pool_by_loops(mask))) for mask in masks()])


method("motion_masks packed", OWN)(lambda frames: again(motion_masks, frames, packed=True))
method("motion_projections", OWN)(lambda frames: again(motion_projections, frames))
method("motion_pools x3", OWN)(lambda frames: again(motion_pools, frames, times=3))


def sample_frames(count: int = STEPS + 1, *, side: int = 267, seed: int = 0) -> np.ndarray:
    """Draw soft noise that drifts over the frame: (count, side, side) uint8, moving everywhere."""
    import cv2

    rng = np.random.default_rng(seed)
    soft = cv2.GaussianBlur(rng.normal(size=(side + count, side + count)), (0, 0), 4)
    gray = np.clip(128 + 50 * soft / soft.std(), 0, 255).astype(np.uint8)
    return np.stack([gray[t : t + side, t : t + side] for t in range(count)])


def best_seconds(runs: dict[str, Call], *, budget: float) -> dict[str, float]:
    """Shortest time of each method; they take turns, so that a busy moment of the machine meets all of them."""
    best = dict.fromkeys(runs, float("inf"))
    for run in runs.values():
        run()  # compiles, and fills the caches
    end = time.perf_counter() + budget
    while True:
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - start)
        if time.perf_counter() > end:
            return best


def quick(*, side: int = 267, budget: float = 10.0) -> list[Measurement]:
    """Measure fastck against OpenCV, the paper's loops and a plain copy of the frames, in one thread.

    Parameters
    ----------
    side : int
        Height and width of the frames in pixels.
    budget : float
        Seconds to spend on each operation, of which there are three.

    Returns
    -------
    measurements : list of Measurement
        Grouped by operation, fastck first.

    Raises
    ------
    RuntimeError
        If a baseline's result is not fastck's: a ratio of different things would mean nothing.
    """
    frames = sample_frames(side=side)
    measurements = []
    for operation in QUICK:
        methods = METHODS[operation.name]
        # The loops take a thousand times as long: one step tells.
        runs = {
            name: methods[name](frames[:2] if name == LOOPS else frames)
            for name in (OWN, OPENCV, LOOPS)
            if name in methods
        }
        results = {name: run() for name, run in runs.items()}
        for name, result in results.items():
            expected = results[OWN][: len(result)]
            if result.shape != expected.shape or not np.allclose(result, expected, rtol=0, atol=operation.tolerance):
                raise RuntimeError(f"{name} and fastck disagree on {operation.name}: please report this")
        slow = {name: runs.pop(name) for name in (LOOPS,) if name in runs}
        seconds = best_seconds({FLOOR: memory_copy(frames[1:]), **runs}, budget=budget * 0.7)
        seconds |= best_seconds(slow, budget=budget * 0.3) if slow else {}
        each = {name: seconds[name] / len(results.get(name, frames[1:])) for name in seconds}
        for name in sorted(each, key=lambda name: (name != OWN, each[name])):
            measurements.append(
                Measurement(
                    operation=operation.name,
                    method=name,
                    microseconds=each[name] * 1e6,
                    ratio=each[name] / each[OWN],
                )
            )
    return measurements
