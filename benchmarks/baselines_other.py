"""scikit-image and TensorFlow as baselines; importing this module imports both."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf
from skimage.measure import block_reduce
from skimage.morphology import erosion

from benchmarks.baselines import FOOTPRINT, numpy_project
from fastck.bench import Call, method


# scikit-image, where it has the operation; odd sizes made even as its documentation advises (np.pad).
@method("erode", "scikit-image")
def skimage_erode(frames: np.ndarray) -> Call:
    return lambda: np.stack([erosion(frame, FOOTPRINT, mode="max") for frame in frames])


def skimage_pool(frames: np.ndarray) -> np.ndarray:
    """Mean of blocks."""
    padded = np.pad(frames, ((0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2)), mode="edge")
    return np.asarray(block_reduce(padded, (1, 2, 2), np.mean, func_kwargs={"dtype": np.float32}))


method("mean_pool_2x2", "scikit-image")(lambda x: lambda: skimage_pool(x))


def skimage_masks(frames: np.ndarray) -> np.ndarray:
    """The paper's chain with scikit-image's erosion."""
    return skimage_erode(((frames[:-1] - frames[1:]) > 127).view(np.uint8))()


method("motion_masks", "scikit-image")(lambda x: lambda: skimage_masks(x))
method("motion_masks packed", "scikit-image")(lambda x: lambda: np.packbits(skimage_masks(x), axis=-1))
method("motion_projections", "scikit-image")(lambda x: lambda: numpy_project(skimage_masks(x))())


# TensorFlow: a compiled graph on a tensor that is there already.
def graph(function: Callable[[tf.Tensor], tf.Tensor]) -> Callable[[np.ndarray], Call]:
    """Trace a function once, before it is timed."""

    def make(frames: np.ndarray) -> Call:
        traced = tf.function(function)
        tensor = tf.constant(frames)
        traced(tensor)
        return lambda: np.asarray(traced(tensor))

    return make


def tf_erode(masks: tf.Tensor) -> tf.Tensor:
    """Minimum as the negative maximum of the negative: TensorFlow pools floats only."""
    floats = -tf.cast(masks, tf.float32)[..., None]
    return tf.cast(-tf.nn.max_pool2d(floats, 5, 1, "SAME")[..., 0], tf.uint8)


def tf_pool(frames: tf.Tensor) -> tf.Tensor:
    """Average pooling that does not count padding."""
    return tf.nn.avg_pool2d(tf.cast(frames, tf.float32)[..., None], 2, 2, "SAME")[..., 0]


def tf_project(masks: tf.Tensor) -> tf.Tensor:
    """Column and row means."""
    floats = tf.cast(masks, tf.float32)
    return tf.stack([tf.reduce_mean(floats, axis=1), tf.reduce_mean(floats, axis=2)], axis=1)


def tf_masks(frames: tf.Tensor) -> tf.Tensor:
    """The paper's chain."""
    return tf_erode(tf.cast(frames[:-1] - frames[1:] > 127, tf.uint8))


method("frame_difference", "TensorFlow")(graph(lambda x: x[:-1] - x[1:]))
method("threshold", "TensorFlow")(graph(lambda x: tf.cast(x > 127, tf.uint8) * tf.constant(255, tf.uint8)))
method("erode", "TensorFlow")(graph(tf_erode))
method("mean_pool_2x2", "TensorFlow")(graph(tf_pool))
method("project", "TensorFlow")(graph(tf_project))
method("motion_masks", "TensorFlow")(graph(tf_masks))
method("motion_projections", "TensorFlow")(graph(lambda x: tf_project(tf_masks(x))))
method("motion_pools x3", "TensorFlow")(graph(lambda x: tf_pool(tf_pool(tf_pool(tf_masks(x))))))
