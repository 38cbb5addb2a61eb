"""Motion masks by OpenCV, and frames that move: what every form of the motion kernels is compared with."""

from itertools import pairwise

import cv2
import numpy as np

from fastck.ops import motion as ops

MODES = ("wrap", "absolute", "saturate")
DIFFERENCE = {"wrap": lambda a, b: a - b, "absolute": cv2.absdiff, "saturate": cv2.subtract}


def smooth(count: int, height: int, width: int, *, seed: int = 0) -> np.ndarray:
    """Frames whose differences keep their sign over several pixels, so that erosion leaves something."""
    noise = np.random.default_rng(seed).integers(0, 256, (count, height, width), dtype=np.uint8)
    return np.stack([cv2.GaussianBlur(frame, (0, 0), 3) for frame in noise]) if min(height, width) > 5 else noise


def opencv_masks(
    frames: np.ndarray, *, mode: str = "wrap", level: int = 127, size: int = 5, reference: str = "previous"
) -> np.ndarray:
    masks = []
    for a, b in pairwise(frames):
        a = frames[0] if reference == "onset" else a
        difference = DIFFERENCE[mode](a, b).reshape(a.shape)
        _, mask = cv2.threshold(difference, level, 1, cv2.THRESH_BINARY)
        masks.append(cv2.erode(mask.reshape(a.shape), np.ones((size, size), np.uint8)).reshape(a.shape))
    return np.stack(masks)


def check_all_forms(frames: np.ndarray, expected: np.ndarray, **options: object) -> None:
    """Compare every form of the fused operations with masks of 0 and 1."""
    np.testing.assert_array_equal(ops.motion_masks(frames, **options), expected)
    np.testing.assert_array_equal(ops.motion_masks(frames, packed=True, **options), np.packbits(expected, axis=-1))
    pools = expected
    for times in (1, 2, 3, 4):
        pools = ops.mean_pool_2x2(pools)
        np.testing.assert_array_equal(ops.motion_pools(frames, times=times, **options), pools)
    if frames.shape[1] == frames.shape[2]:
        np.testing.assert_array_equal(ops.motion_projections(frames, **options), ops.project(expected))
