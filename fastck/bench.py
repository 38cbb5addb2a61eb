"""The essential speed ratios, measured on the user's own machine in less than a minute.

`benchmarks/` in the source tree has the full comparison, with more contenders, sizes and stages.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fastck.ops import motion_masks, motion_pools, motion_projections, pooled_shape

Run = Callable[[], object]
PAIRS = 20  # differences in a measured sequence: CK+ has 18 frames on average


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Time of one contender on one operation.

    Attributes
    ----------
    operation, contender : str
        What was computed, and by whom; the contender "fastck" is this library.
    microseconds : float
        Per difference of two frames; the best of several runs.
    ratio : float
        How many times as long as fastck's on the same operation.
    """

    operation: str
    contender: str
    microseconds: float
    ratio: float


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


def opencv_masks(frames: np.ndarray, *, size: int = 5) -> Callable[[], np.ndarray]:
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


def opencv_projections(frames: np.ndarray) -> Callable[[], np.ndarray]:
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


def opencv_pools(frames: np.ndarray, *, times: int = 3) -> Callable[[], np.ndarray]:
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


def sample_frames(count: int = PAIRS + 1, *, side: int = 267, seed: int = 0) -> np.ndarray:
    """Draw soft noise that drifts over the frame: (count, side, side) uint8, moving everywhere."""
    import cv2

    rng = np.random.default_rng(seed)
    soft = cv2.GaussianBlur(rng.normal(size=(side + count, side + count)), (0, 0), 4)
    grey = np.clip(128 + 50 * soft / soft.std(), 0, 255).astype(np.uint8)
    return np.stack([grey[t : t + side, t : t + side] for t in range(count)])


def best_seconds(runs: dict[str, Run], *, budget: float) -> dict[str, float]:
    """Shortest time of each contender; they take turns, so that a busy moment of the machine meets all of them."""
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


def _contenders(frames: np.ndarray) -> dict[str, tuple[float, dict[str, Callable[[], np.ndarray]]]]:
    """By operation: how far results may differ, and the contenders; the paper's loops come last and see one mask."""
    few = frames[:2]
    masks = opencv_masks(few)

    def loops_34() -> np.ndarray:
        pooled = masks()[0]
        for _ in range(3):
            pooled = pool_by_loops(pooled)
        return pooled[None]

    shape = frames.shape[1:]
    projections = np.empty((len(frames) - 1, 2, shape[1]), np.float32)
    packed = np.empty((len(frames) - 1, shape[0], -(-shape[1] // 8)), np.uint8)
    pools = np.empty((len(frames) - 1, *pooled_shape(shape, times=3)), np.float32)
    packed_by_opencv = opencv_masks(frames)
    return {
        "masks (packed)": (
            0.0,
            {
                "fastck": lambda: motion_masks(frames, packed=True, out=packed),
                "OpenCV": lambda: packed_by_opencv(),
            },
        ),
        "projections": (
            1e-6,  # float32 means of 267 values, summed in another order
            {
                "fastck": lambda: motion_projections(frames, out=projections),
                "OpenCV": opencv_projections(frames),
                "paper's loops": lambda: project_by_loops(masks()[0])[None],
            },
        ),
        "pooled to 34": (
            1e-6,
            {
                "fastck": lambda: motion_pools(frames, times=3, out=pools),
                "OpenCV": opencv_pools(frames),
                "paper's loops": loops_34,
            },
        ),
    }


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
        If a contender's result is not fastck's: a ratio of different things would mean nothing.
    """
    frames = sample_frames(side=side)
    copied = np.empty_like(frames[1:])
    measurements = []
    for operation, (tolerance, contenders) in _contenders(frames).items():
        expected = contenders["fastck"]()
        for name, contender in contenders.items():
            result = contender()
            if result.shape[1:] != expected.shape[1:]:
                result = np.packbits(result, axis=-1)  # OpenCV has no packed masks: not counted against it
            if not np.allclose(result, expected[: len(result)], rtol=0, atol=tolerance):
                raise RuntimeError(f"{name} and fastck disagree on {operation}: please report this")
        runs: dict[str, Run] = {"copy of the frames": lambda: np.copyto(copied, frames[1:]), **contenders}
        slow = {name: runs.pop(name) for name in list(runs) if name == "paper's loops"}
        seconds = best_seconds(runs, budget=budget * 0.7)
        if slow:
            seconds |= best_seconds(slow, budget=budget * 0.3)
        each = {name: seconds[name] / (1 if name in slow else PAIRS) for name in seconds}
        order = sorted(each, key=lambda name: (name != "fastck", each[name]))
        measurements += [
            Measurement(
                operation=operation, contender=name, microseconds=each[name] * 1e6, ratio=each[name] / each["fastck"]
            )
            for name in order
        ]
    return measurements
