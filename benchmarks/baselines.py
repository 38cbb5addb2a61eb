"""More operations and baselines for the registry of `fastck.bench`: the parity tests and the benchmarks read it.

Whatever can be made before the timed call (buffers, footprints, tensors, graphs) is made before it, for all methods
alike. All run in one thread.
"""

from collections.abc import Callable

import cv2
import numpy as np

from benchmarks import naive
from fastck import bench
from fastck.bench import LOOPS, OPENCV, OWN, QUICK, Call, Operation, again, method
from fastck.config import FlowConfig
from fastck.ops import motion as ops
from fastck.ops.flow import FLOW_SHAPES, flow_features, optical_flow, working_crop

# Part of the work of `optical_flow`: no method can be much faster.
FLOW_FLOOR = "OpenCV's DIS alone"
FOOTPRINT = np.ones((5, 5), np.uint8)

# Float tolerances: means of at most 512 float32 terms added in another order.
OPERATIONS = [
    Operation("frame_difference", "frames"),
    Operation("frame_difference absolute", "frames"),
    Operation("threshold", "differences"),
    Operation("erode", "binary"),
    Operation("mean_pool_2x2", "masks", 1e-6),
    Operation("project", "masks", 1e-6),
    Operation("motion_masks", "frames"),
    *QUICK,
    Operation("motion_projections absolute", "frames", 1e-6),
    # Strain is about 1 where frames are noise: a few roundings of float32.
    Operation("optical_flow", "frames", 2e-6),
    Operation("optical_flow after DIS", "flows", 2e-6),
]


def inputs(stage: str, frames: np.ndarray) -> np.ndarray:
    """Return what an operation's methods are given."""
    if stage == "frames":
        return frames
    if stage == "flows":
        return flow_floor(frames)()
    differences = frames[:-1] - frames[1:]
    if stage == "differences":
        return differences
    binary = np.where(differences > 127, np.uint8(255), np.uint8(0))
    return binary if stage == "binary" else numpy_erode(binary)() // np.uint8(255)


def flow_floor(frames: np.ndarray) -> Call:
    """OpenCV's DIS from the first frame to all others, which are at the working size already."""
    config = FlowConfig()
    cv2.setNumThreads(1)
    engine = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    crops = [working_crop(frame, config.size) for frame in frames]
    return lambda: np.stack([engine.calc(crops[0], crop, None) for crop in crops[1:]])


# The paper's loops. Where the paper itself calls NumPy and OpenCV (difference, threshold, erosion), so does its chain.
method("frame_difference", LOOPS)(lambda x: lambda: naive.frame_difference(x))
method("frame_difference absolute", LOOPS)(lambda x: lambda: naive.frame_difference(x, mode="absolute"))
method("threshold", LOOPS)(lambda x: lambda: naive.threshold(x))
method("erode", LOOPS)(lambda x: lambda: naive.erode(x))
method("mean_pool_2x2", LOOPS)(lambda x: lambda: naive.mean_pool_2x2(x))
method("project", LOOPS)(lambda x: lambda: naive.project(x))


# NumPy, vectorised over all frames.
method("frame_difference", "NumPy")(lambda x: lambda: x[:-1] - x[1:])


@method("frame_difference absolute", "NumPy")
def numpy_absolute(frames: np.ndarray) -> Call:
    return lambda: np.maximum(frames[:-1], frames[1:]) - np.minimum(frames[:-1], frames[1:])


@method("threshold", "NumPy")
def numpy_threshold(frames: np.ndarray) -> Call:
    return lambda: (frames > 127) * np.uint8(255)


@method("erode", "NumPy")
def numpy_erode(frames: np.ndarray) -> Call:
    height, width = frames.shape[1:]

    def run() -> np.ndarray:
        padded = np.pad(frames, ((0, 0), (2, 2), (2, 2)), constant_values=255)
        rows = np.minimum.reduce([padded[:, r : r + height] for r in range(5)])
        return np.asarray(np.minimum.reduce([rows[:, :, c : c + width] for c in range(5)]))

    return run


def numpy_pool(frames: np.ndarray) -> np.ndarray:
    """Mean of four strided views, odd sizes made even by repeating the edge."""
    padded = np.pad(frames, ((0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2)), mode="edge")
    rows = padded[:, ::2].astype(np.float32) + padded[:, 1::2]
    return np.asarray((rows[:, :, ::2] + rows[:, :, 1::2]) * np.float32(0.25))


method("mean_pool_2x2", "NumPy")(lambda x: lambda: numpy_pool(x))


@method("project", "NumPy")
def numpy_project(frames: np.ndarray) -> Call:
    def run() -> np.ndarray:
        return np.stack([frames.mean(axis=1, dtype=np.float32), frames.mean(axis=2, dtype=np.float32)], axis=1)

    return run


def numpy_masks(frames: np.ndarray) -> np.ndarray:
    """The paper's chain, one array operation after the other."""
    return numpy_erode(((frames[:-1] - frames[1:]) > 127).view(np.uint8))()


method("motion_masks", "NumPy")(lambda x: lambda: numpy_masks(x))
method("motion_masks packed", "NumPy")(lambda x: lambda: np.packbits(numpy_masks(x), axis=-1))
method("motion_projections", "NumPy")(lambda x: lambda: numpy_project(numpy_masks(x))())
method("motion_pools x3", "NumPy")(lambda x: lambda: numpy_pool(numpy_pool(numpy_pool(numpy_masks(x)))))


# OpenCV, frame by frame into buffers made beforehand: that keeps them in the cache.
def opencv(frames: np.ndarray, count: int, step: Callable[[int, np.ndarray], object]) -> Call:
    """Call `step` for each frame with its part of the result."""
    cv2.setNumThreads(1)
    out = np.empty((count, *frames.shape[1:]), np.uint8)

    def run() -> np.ndarray:
        for t in range(count):
            step(t, out[t])
        return out

    return run


@method("frame_difference absolute", OPENCV)
def opencv_absolute(frames: np.ndarray) -> Call:
    return opencv(frames, len(frames) - 1, lambda t, out: cv2.absdiff(frames[t], frames[t + 1], dst=out))


@method("threshold", OPENCV)
def opencv_threshold(frames: np.ndarray) -> Call:
    return opencv(frames, len(frames), lambda t, out: cv2.threshold(frames[t], 127, 255, cv2.THRESH_BINARY, dst=out))


@method("erode", OPENCV)
def opencv_erode(frames: np.ndarray) -> Call:
    return opencv(frames, len(frames), lambda t, out: cv2.erode(frames[t], FOOTPRINT, dst=out))


@method("mean_pool_2x2", OPENCV)
def opencv_pool(frames: np.ndarray) -> Call:
    cv2.setNumThreads(1)
    height, width = ops.pooled_shape(frames.shape[1:])
    out = np.empty((len(frames), height, width), np.float32)
    bottom, right = frames.shape[1] % 2, frames.shape[2] % 2

    def run() -> np.ndarray:
        for t, frame in enumerate(frames):
            even = cv2.copyMakeBorder(frame.astype(np.float32), 0, bottom, 0, right, cv2.BORDER_REPLICATE)
            cv2.resize(even, (width, height), dst=out[t], interpolation=cv2.INTER_AREA)
        return out

    return run


@method("project", OPENCV)
def opencv_project(frames: np.ndarray) -> Call:
    cv2.setNumThreads(1)
    out = np.empty((len(frames), 2, frames.shape[2]), np.float32)

    def run() -> np.ndarray:
        for t, frame in enumerate(frames):
            cv2.reduce(frame, 0, cv2.REDUCE_AVG, dst=out[t, :1], dtype=cv2.CV_32F)
            cv2.reduce(frame, 1, cv2.REDUCE_AVG, dst=out[t, 1].reshape(-1, 1), dtype=cv2.CV_32F)
        return out

    return run


method("motion_masks", OPENCV)(bench.opencv_masks)


@method("motion_projections absolute", OPENCV)
def opencv_absolute_projections(frames: np.ndarray) -> Call:
    absolute, count = opencv_absolute(frames), len(frames) - 1
    binary = opencv(frames, count, lambda t, out: None)()
    masks = np.empty_like(binary)
    project = opencv_project(masks)

    def run() -> np.ndarray:
        for t, difference in enumerate(absolute()):
            cv2.threshold(difference, 15, 1, cv2.THRESH_BINARY, dst=binary[t])
            cv2.erode(binary[t], FOOTPRINT, dst=masks[t])
        return project()

    return run


# fastck, with `out` made beforehand as the others have it.
method("frame_difference", OWN)(lambda x: again(ops.frame_difference, x))
method("frame_difference absolute", OWN)(lambda x: again(ops.frame_difference, x, mode="absolute"))
method("threshold", OWN)(lambda x: again(ops.threshold, x))
method("erode", OWN)(lambda x: again(ops.erode, x))
method("mean_pool_2x2", OWN)(lambda x: again(ops.mean_pool_2x2, x))
method("project", OWN)(lambda x: again(ops.project, x))
method("motion_masks", OWN)(lambda x: again(ops.motion_masks, x))
method("motion_projections absolute", OWN)(lambda x: again(ops.motion_projections, x, mode="absolute", level=15))


# Optical flow: the search on patches, and what comes after OpenCV's.
method("optical_flow after DIS", "NumPy")(lambda x: lambda: np.stack([naive.flow_cells(flow) for flow in x]))


@method("optical_flow", LOOPS)
def loops_flow(frames: np.ndarray) -> Call:
    config = FlowConfig()

    def run() -> np.ndarray:
        crops = [working_crop(frame, config.size) for frame in frames]
        return np.stack([naive.flow_cells(naive.patch_flow(crops[0], crop)) for crop in crops[1:]])

    return run


@method("optical_flow", OWN)
def fastck_flow(frames: np.ndarray) -> Call:
    cv2.setNumThreads(1)
    return again(optical_flow, frames)


@method("optical_flow after DIS", OWN)
def fastck_after_dis(flows: np.ndarray) -> Call:
    planes = np.empty((3, *flows.shape[1:3]), np.float32)
    out = np.empty((len(flows), *FLOW_SHAPES["flow"]), np.float32)

    def run() -> np.ndarray:
        for flow, cells in zip(flows, out, strict=True):
            flow_features(flow, compensate=True, planes=planes, cells=cells, projection=None)
        return out

    return run
