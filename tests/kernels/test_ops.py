"""The single operations against OpenCV, TensorFlow, the plain loops and laws."""

from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import naive
from fastck.batches.padding import pad_sequence
from fastck.ops import motion as ops

SHAPES = [(2, 1, 1), (3, 1, 7), (2, 7, 1), (2, 3, 4), (2, 8, 8), (3, 31, 33), (2, 267, 267)]
MODES = ("wrap", "absolute", "saturate")


def random_frames(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


small_frames = st.tuples(st.integers(2, 4), st.integers(1, 8), st.integers(1, 8), st.integers(0, 2**32 - 1)).map(
    lambda drawn: np.random.default_rng(drawn[3]).choice(np.array([0, 1, 127, 128, 255], np.uint8), size=drawn[:3])
)


@pytest.mark.parametrize("shape", SHAPES)
def test_differences_equal_opencv(shape: tuple[int, ...]):
    frames = random_frames(shape)
    pairs = list(pairwise(frames))
    np.testing.assert_array_equal(ops.frame_difference(frames), np.stack([a - b for a, b in pairs]))
    for mode, oracle in (("absolute", cv2.absdiff), ("saturate", cv2.subtract)):
        expected = np.stack([oracle(a, b).reshape(a.shape) for a, b in pairs])
        np.testing.assert_array_equal(ops.frame_difference(frames, mode=mode), expected)


@pytest.mark.parametrize("level", [0, 1, 127, 128, 254, 255])
def test_threshold_equals_opencv(level: int):
    for value in (255, 1, 0):
        frames = random_frames((2, 31, 33))
        expected = np.stack([cv2.threshold(frame, level, value, cv2.THRESH_BINARY)[1] for frame in frames])
        np.testing.assert_array_equal(ops.threshold(frames, level=level, value=value), expected)


@pytest.mark.parametrize("size", range(1, 12))
@pytest.mark.parametrize("shape", SHAPES)
def test_erosion_equals_opencv(shape: tuple[int, ...], size: int):
    gray = random_frames(shape)
    for frames in (gray, np.where(gray > 9, np.uint8(255), np.uint8(0))):
        expected = np.stack(
            [cv2.erode(frame, np.ones((size, size), np.uint8)).reshape(frame.shape) for frame in frames]
        )
        np.testing.assert_array_equal(ops.erode(frames, size=size), expected)


def test_an_enormous_footprint_needs_no_enormous_memory():
    frames = random_frames((1, 5, 6)) | np.uint8(4)
    np.testing.assert_array_equal(ops.erode(frames, size=10**12), np.full_like(frames, frames.min()))
    pair = np.stack([np.full((5, 6), 9, np.uint8), np.zeros((5, 6), np.uint8)])
    assert ops.motion_masks(pair, level=3, size=10**12).all()


@given(frames=small_frames, mode=st.sampled_from(MODES), size=st.integers(1, 6), level=st.sampled_from([0, 127, 255]))
@settings(max_examples=60, deadline=None)
def test_single_operations_equal_the_plain_loops(frames: np.ndarray, mode: str, size: int, level: int):
    for view in (frames, frames[:, ::-1, ::-1], frames.transpose(0, 2, 1)):
        np.testing.assert_array_equal(ops.frame_difference(view, mode=mode), naive.frame_difference(view, mode=mode))
        np.testing.assert_array_equal(ops.threshold(view, level=level), naive.threshold(view, level=level))
        np.testing.assert_array_equal(ops.erode(view, size=size), naive.erode(view, size=size))
        np.testing.assert_array_equal(ops.mean_pool_2x2(view), naive.mean_pool_2x2(view))


@given(side=st.integers(1, 12), count=st.integers(1, 3), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_projection_equals_the_plain_loops(side: int, count: int, seed: int):
    frames = random_frames((count, side, side), seed)
    np.testing.assert_array_equal(ops.project(frames), naive.project(frames))
    for dtype in (np.float32, np.float64):
        floats = (frames / 7).astype(dtype)
        # the plain loop adds in float64 as the kernel does; only the order within a sum could differ
        np.testing.assert_allclose(ops.project(floats), naive.project(floats), rtol=1e-6)


def test_pooling_equals_tensorflow():
    tf = pytest.importorskip("tensorflow")
    for shape in ((2, 267, 267), (1, 134, 67), (3, 1, 1), (1, 1, 5), (1, 6, 1), (2, 34, 33)):
        for frames in (random_frames(shape), np.random.default_rng(1).random(shape, dtype=np.float32)):
            pooled = tf.nn.avg_pool2d(frames[..., None].astype(np.float32), 2, 2, "SAME")[..., 0].numpy()
            # uint8 sums are exact; float32 sums of four may differ in the order of their additions
            np.testing.assert_allclose(ops.mean_pool_2x2(frames), pooled, rtol=0 if frames.dtype == np.uint8 else 3e-7)


def test_pooling_accepts_float64():
    frames = np.random.default_rng(2).random((2, 5, 4))
    np.testing.assert_allclose(ops.mean_pool_2x2(frames), naive.mean_pool_2x2(frames), rtol=3e-7)
    np.testing.assert_array_equal(ops.mean_pool_2x2(frames.astype(">f8")), ops.mean_pool_2x2(frames))


def test_what_is_smaller_than_the_footprint_leaves_an_empty_mask():
    frames = np.zeros((2, 20, 70), np.uint8)
    frames[0, 8:12, 6:66] = 200  # four rows high
    assert ops.motion_masks(frames, mode="saturate", size=4).sum() == 57
    features = ops.motion_features(frames[:, :, :20], features=ops.FEATURES, mode="saturate", size=5)
    assert all(not array.any() for array in features.values())


@given(frames=small_frames, size=st.integers(1, 9))
@settings(max_examples=40, deadline=None)
def test_erosion_never_adds_and_composes(frames: np.ndarray, size: int):
    eroded = ops.erode(frames, size=size)
    assert (eroded <= frames).all()
    # an odd footprint is symmetric: eroding by 3 and then by 5 is eroding by 7
    np.testing.assert_array_equal(ops.erode(ops.erode(frames, size=3), size=5), ops.erode(frames, size=7))


@given(frames=small_frames)
@settings(max_examples=40, deadline=None)
def test_differences_obey_their_laws(frames: np.ndarray):
    there, back = frames[:2], frames[1::-1]
    np.testing.assert_array_equal(ops.frame_difference(there) + ops.frame_difference(back), 0)  # modulo 256
    absolute = ops.frame_difference(there, mode="absolute")
    np.testing.assert_array_equal(absolute, ops.frame_difference(back, mode="absolute"))
    both = ops.frame_difference(there, mode="saturate") + ops.frame_difference(back, mode="saturate")
    np.testing.assert_array_equal(absolute, both)


def test_rows_and_columns_have_the_same_mean():
    frames = random_frames((3, 61, 61))
    projections = ops.project(frames)
    # each mean is exact to half a float32 step (3e-8 relative), and so is their mean
    np.testing.assert_allclose(projections[:, 0].mean(axis=1), projections[:, 1].mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(projections[:, 0].mean(axis=1), frames.mean(axis=(1, 2)), rtol=1e-6)


def test_pooling_keeps_constant_frames_and_the_corner():
    np.testing.assert_array_equal(ops.mean_pool_2x2(np.full((2, 7, 5), 9, np.uint8)), np.full((2, 4, 3), 9, np.float32))
    frames = random_frames((1, 5, 7))
    assert ops.mean_pool_2x2(frames)[0, -1, -1] == frames[0, -1, -1]


def test_results_go_to_out_and_inputs_stay(tmp_path):
    frames = random_frames((4, 32, 32))
    before = frames.copy()
    frames.flags.writeable = False
    cases = [
        (ops.frame_difference, (3, 32, 32), np.uint8),
        (ops.threshold, (4, 32, 32), np.uint8),
        (ops.erode, (4, 32, 32), np.uint8),
        (ops.mean_pool_2x2, (4, 16, 16), np.float32),
        (ops.project, (4, 2, 32), np.float32),
    ]
    for operation, shape, dtype in cases:
        rows = np.lib.format.open_memmap(tmp_path / "rows.npy", "w+", dtype, (shape[0] + 2, *shape[1:]))
        rows[:] = 7
        result = operation(frames, out=rows[1:-1])
        assert np.shares_memory(result, rows)
        np.testing.assert_array_equal(rows[1:-1], operation(frames))
        assert (rows[0] == 7).all()
        assert (rows[-1] == 7).all()
    np.testing.assert_array_equal(frames, before)


def test_sequences_are_padded_on_both_sides():
    features = np.arange(1, 13, dtype=np.float32).reshape(6, 2)
    padded = pad_sequence(features, timesteps=11)
    np.testing.assert_array_equal(padded[3:9], features)  # ceil(5 / 2) rows of zeros first
    assert not padded[:3].any()
    assert not padded[9:].any()
    assert pad_sequence(features).shape == (39, 2)
    np.testing.assert_array_equal(pad_sequence(features, timesteps=6), features)
    assert pad_sequence(features[:0], timesteps=2).shape == (2, 2)
    with pytest.raises(ValueError, match="at most 5 rows, got 6: cut"):
        pad_sequence(features, timesteps=5)
    with pytest.raises(TypeError, match="features must be a NumPy array, got list"):
        pad_sequence([[1.0]])
    with pytest.raises(ValueError, match="got a scalar"):
        pad_sequence(np.array(1.0))


def test_packed_masks_come_back():
    masks = random_frames((3, 4, 21)) & np.uint8(1)
    packed = np.packbits(masks, axis=-1)
    np.testing.assert_array_equal(ops.unpack_masks(packed, width=21), masks)
    out = np.empty_like(masks)
    assert ops.unpack_masks(packed, width=21, out=out) is not None
    np.testing.assert_array_equal(out, masks)
    np.testing.assert_array_equal(ops.unpack_masks(packed[0, 0], width=21), masks[0, 0])
    with pytest.raises(ValueError, match=r"3 bytes a row for width 20, got shape \(3, 4, 34\)"):
        ops.unpack_masks(np.zeros((3, 4, 34), np.uint8), width=20)
    with pytest.raises(ValueError, match=r"2 bytes a row for width 16, got shape \(4, 3\)"):
        ops.unpack_masks(np.zeros((4, 3), np.uint8), width=16)
    with pytest.raises(TypeError, match="uint8, got float32"):
        ops.unpack_masks(np.zeros((3, 4, 34), np.float32))


@pytest.mark.parametrize("operation", [ops.frame_difference, ops.threshold, ops.erode, ops.mean_pool_2x2, ops.project])
def test_frames_of_the_wrong_kind_or_shape_are_refused(operation):
    with pytest.raises(TypeError, match="frames must be a NumPy array, got list"):
        operation([[[1]]])
    with pytest.raises(TypeError, match=r"frames must have dtype uint8.*, got int64: convert"):
        operation(np.zeros((2, 3, 3), np.int64))
    for shape in ((3, 3), (2, 0, 3), (2, 3, 0), (0, 3, 3)):
        with pytest.raises(ValueError, match=r"frames must have shape \(T, H, W\)"):
            operation(np.zeros(shape, np.uint8))


def test_out_of_the_wrong_kind_or_shape_is_refused():
    frames = random_frames((2, 4, 6))
    with pytest.raises(TypeError, match="out must be a NumPy array, got list"):
        ops.erode(frames, out=[])
    with pytest.raises(TypeError, match="out must have dtype float32, got float64"):
        ops.mean_pool_2x2(frames, out=np.empty((2, 2, 3)))
    with pytest.raises(ValueError, match=r"out must have shape \(2, 4, 6\), got \(2, 4, 5\)"):
        ops.erode(frames, out=np.empty((2, 4, 5), np.uint8))
    with pytest.raises(ValueError, match="out must be C-contiguous"):
        ops.erode(frames, out=np.empty((2, 4, 12), np.uint8)[:, :, ::2])
    frozen = np.empty((2, 4, 6), np.uint8)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="writeable"):
        ops.erode(frames, out=frozen)


def test_numbers_out_of_range_are_refused():
    frames = random_frames((2, 4, 6))
    with pytest.raises(ValueError, match="level must be 0 to 255 gray levels, got -1"):
        ops.threshold(frames, level=-1)
    with pytest.raises(TypeError, match="value must be an integer, got True"):
        ops.threshold(frames, value=True)
    with pytest.raises(TypeError, match=r"size must be an integer, got 2\.0"):
        ops.erode(frames, size=2.0)
    with pytest.raises(ValueError, match="mode must be one of wrap, absolute, saturate, got 'x'"):
        ops.frame_difference(frames, mode="x")
    with pytest.raises(ValueError, match="square, got 4 x 6 pixels: crop or resize"):
        ops.project(frames)
    with pytest.raises(ValueError, match=r"feature must be one of .* got 'masks'"):
        ops.feature_dtype("masks")


def test_feature_shapes_are_those_of_the_paper():
    shapes = {name: ops.feature_shape(name) for name in ops.FEATURES}
    assert shapes == {
        "projection": (2, 267),
        "mask": (267, 34),
        "pool134": (134, 134),
        "pool67": (67, 67),
        "pool34": (34, 34),
    }
    assert ops.feature_shape("flow") == (3, 28, 28)
    assert ops.feature_shape("flow_projection", side=32) == (4, 64)
