"""The fused operations against OpenCV, the plain loops and the single operations."""

import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import naive
from fastck.ops import motion as ops
from tests.helpers.motion import DIFFERENCE, MODES, check_all_forms, opencv_masks, smooth


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("height", "width"),
    [(267, 267), (1, 1), (3, 5), (8, 8), (63, 64), (64, 63), (65, 65), (5, 130), (134, 134), (57, 112), (112, 57)],
)
def test_masks_equal_opencv_in_every_form(height: int, width: int, mode: str):
    frames = smooth(4, height, width)
    for level in (127, 4):
        expected = opencv_masks(frames, mode=mode, level=level)
        check_all_forms(frames, expected, mode=mode, level=level)
    if height > 60 and width > 60:
        assert 0.01 < expected.mean() < 0.99, "the case shows nothing"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("height", "width", "size"), [(267, 267, 5), (1, 1, 1), (3, 5, 2), (64, 63, 3), (65, 65, 57), (70, 70, 58)]
)
def test_masks_from_the_onset_equal_opencv_in_every_form(height: int, width: int, size: int, mode: str):
    frames = smooth(5, height, width)
    frames[0] += 9
    for level in (127, 4):
        options = {"mode": mode, "level": level, "size": size, "reference": "onset"}
        check_all_forms(frames, opencv_masks(frames, **options), **options)
    expected = np.stack([DIFFERENCE[mode](frames[0], frame).reshape(height, width) for frame in frames[1:]])
    np.testing.assert_array_equal(ops.frame_difference(frames, mode=mode, reference="onset"), expected)
    pairs = [ops.motion_features(frames[[0, t]], features=("mask",), level=4, size=size) for t in range(1, 5)]
    whole = ops.motion_features(frames, features=("mask",), level=4, size=size, reference="onset")
    np.testing.assert_array_equal(whole["mask"], np.concatenate([pair["mask"] for pair in pairs]))
    assert height < 60 or size > 5 or whole["mask"].any(), "the case shows nothing"


@pytest.mark.parametrize("size", [1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 16, 17, 25, 57, 58, 75])
def test_masks_equal_opencv_for_every_footprint(size: int):
    for shape in ((3, 91, 91), (2, 4, 130), (2, 70, 3)):
        frames = np.cumsum(np.full(shape, 3, np.uint8), axis=0, dtype=np.uint8)[::-1].copy()  # brighter everywhere,
        frames[0, :: max(shape[1] - 9, 1), :: max(shape[2] - 7, 1)] = 0  # but for a few pixels
        expected = opencv_masks(frames, level=2, size=size)
        check_all_forms(frames, expected, level=2, size=size)
        assert expected.any()


@pytest.mark.parametrize("level", [0, 1, 126, 127, 128, 254, 255])
@pytest.mark.parametrize("mode", MODES)
def test_levels_count_from_the_next_gray_level(level: int, mode: str):
    values = np.arange(256, dtype=np.uint8)
    frames = np.stack([np.repeat(values[:, None], 256, axis=1), np.repeat(values[None, :], 256, axis=0)])
    check_all_forms(frames, opencv_masks(frames, mode=mode, level=level, size=1), mode=mode, level=level, size=1)


def test_tall_frames_overflow_no_counter():
    side = 1100  # more rows than a byte-wide counter can add up
    frames = np.zeros((2, side, side), np.uint8)
    frames[0] = 1
    np.testing.assert_array_equal(ops.motion_projections(frames, level=0), np.ones((1, 2, side), np.float32))


@given(
    frames=st.tuples(st.integers(2, 4), st.integers(1, 9), st.integers(1, 75), st.integers(0, 2**32 - 1)).map(
        lambda drawn: np.random.default_rng(drawn[3]).choice(
            np.array([0, 1, 128, 129, 255], np.uint8), size=drawn[:3], p=[0.1, 0.2, 0.2, 0.2, 0.3]
        )
    ),
    mode=st.sampled_from(MODES),
    level=st.sampled_from([0, 1, 100, 127, 128, 254]),
    size=st.integers(1, 4),
)
@settings(max_examples=60, deadline=None)
def test_masks_equal_the_plain_loops(frames: np.ndarray, mode: str, level: int, size: int):
    expected = naive.motion_masks(frames, mode=mode, level=level, size=size)
    np.testing.assert_array_equal(ops.motion_masks(frames, mode=mode, level=level, size=size), expected)
    packed = ops.motion_masks(frames, mode=mode, level=level, size=size, packed=True)
    np.testing.assert_array_equal(packed, naive.pack(expected))
    np.testing.assert_array_equal(
        ops.motion_pools(frames, times=2, mode=mode, level=level, size=size),
        naive.mean_pool_2x2(naive.mean_pool_2x2(expected)),
    )


def test_projections_equal_the_plain_loops():
    frames = smooth(3, 70, 70)
    np.testing.assert_array_equal(ops.motion_projections(frames, level=6), naive.motion_projections(frames, level=6))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("level", "size"), [(127, 5), (3, 2), (0, 60)])
def test_one_pass_gives_what_the_single_operations_give(mode: str, level: int, size: int):
    frames = smooth(5, 267, 267)
    masks = ops.erode(ops.threshold(ops.frame_difference(frames, mode=mode), level=level, value=1), size=size)
    features = ops.motion_features(frames, features=ops.FEATURES, mode=mode, level=level, size=size)
    assert list(features) == list(ops.FEATURES)
    np.testing.assert_array_equal(features["projection"], ops.project(masks))
    np.testing.assert_array_equal(features["mask"], np.packbits(masks, axis=-1))
    np.testing.assert_array_equal(ops.unpack_masks(features["mask"]), masks)
    pools = masks
    for name in ("pool134", "pool67", "pool34"):
        pools = ops.mean_pool_2x2(pools)
        np.testing.assert_array_equal(features[name], pools)
    for name, array in features.items():
        assert array.shape[1:] == ops.feature_shape(name)
        assert array.dtype == ops.feature_dtype(name)


@pytest.mark.parametrize("side", [267, 64, 70, 9])
def test_out_receives_memmap_slices_and_nothing_beside_them(tmp_path, side: int):
    frames = smooth(5, side, side)
    expected = ops.motion_features(frames, features=ops.FEATURES, level=8)
    maps = {
        name: np.lib.format.open_memmap(
            tmp_path / f"{name}.npy", "w+", ops.feature_dtype(name), (12, *ops.feature_shape(name, side))
        )
        for name in ops.FEATURES
    }
    for array in maps.values():
        array[:] = 77
    slices = {name: array[4:8] for name, array in maps.items()}
    returned = ops.motion_features(frames, features=ops.FEATURES, level=8, out=slices)
    for name, array in maps.items():
        np.testing.assert_array_equal(array[4:8], expected[name])
        assert (array[:4] == 77).all(), name
        assert (array[8:] == 77).all(), name
        assert np.shares_memory(returned[name], array)


@pytest.mark.parametrize(("height", "width"), [(70, 70), (3, 66), (1, 65), (4, 2)])
def test_masks_write_only_their_own_bytes(height: int, width: int):
    frames = smooth(3, height, width)
    for packed, columns in ((False, width), (True, -(-width // 8))):
        guarded = np.full((4, height, columns), 77, np.uint8)
        ops.motion_masks(frames, packed=packed, out=guarded[1:3])
        assert (guarded[0] == 77).all()
        assert (guarded[3] == 77).all()
        np.testing.assert_array_equal(guarded[1:3], ops.motion_masks(frames, packed=packed))
    for times in (1, 2, 3):
        shape = ops.pooled_shape((height, width), times=times)
        guarded_pools = np.full((4, *shape), 77, np.float32)
        ops.motion_pools(frames, times=times, out=guarded_pools[1:3])
        assert (guarded_pools[0] == 77).all()
        assert (guarded_pools[3] == 77).all()


def test_views_and_read_only_frames_give_the_same_and_stay_as_they_are():
    whole = smooth(7, 140, 150)
    for view in (whole[::2, ::2, 1:150:2], whole[::-1], whole[:, :, ::-1], whole.transpose(0, 2, 1)):
        before = view.copy()
        np.testing.assert_array_equal(ops.motion_masks(view), opencv_masks(before))
        np.testing.assert_array_equal(view, before)
    whole.flags.writeable = False
    np.testing.assert_array_equal(ops.motion_masks(whole), opencv_masks(whole))


def test_a_still_sequence_has_no_motion():
    frames = np.repeat(smooth(1, 90, 90), 4, axis=0)
    for mode in MODES:
        features = ops.motion_features(frames, features=ops.FEATURES, mode=mode, level=0)
        assert all(not array.any() for array in features.values())


def test_projections_of_rows_and_columns_have_the_mask_s_mean():
    frames = smooth(6, 267, 267)
    masks = ops.motion_masks(frames)
    projections = ops.motion_projections(frames)
    # 267 float32 terms, each exact to 6e-8
    np.testing.assert_allclose(projections.mean(axis=2), np.repeat(masks.mean(axis=(1, 2))[:, None], 2, 1), atol=1e-6)


def test_mistakes_are_told_with_the_value():
    frames = smooth(3, 8, 9)
    with pytest.raises(ValueError, match=r"T >= 2 .* got \(1, 8, 9\)"):
        ops.motion_masks(frames[:1])
    with pytest.raises(ValueError, match="square, got 8 x 9"):
        ops.motion_projections(frames)
    with pytest.raises(ValueError, match="square, got 8 x 9"):
        ops.motion_features(frames)
    with pytest.raises(ValueError, match="mode must be one of wrap, absolute, saturate, got 'wrapped'"):
        ops.motion_masks(frames, mode="wrapped")
    for operation in OPERATIONS:
        with pytest.raises(ValueError, match="reference must be one of onset, previous, got 'apex'"):
            operation(frames[:, :, :8], reference="apex")
    with pytest.raises(ValueError, match="level must be 0 to 255 gray levels, got 256"):
        ops.motion_pools(frames, level=256)
    with pytest.raises(TypeError, match=r"level must be an integer, got 1\.5"):
        ops.motion_pools(frames, level=1.5)
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        ops.motion_masks(frames, size=0)
    with pytest.raises(ValueError, match="times must be at least 1, got 0"):
        ops.motion_pools(frames, times=0)
    with pytest.raises(
        ValueError, match="feature must be one of projection, mask, pool134, pool67, pool34, got 'pool'"
    ):
        ops.motion_features(frames, features=("mask", "pool"))
    with pytest.raises(ValueError, match="not asked for: pool34"):
        ops.motion_features(frames, features=("mask",), out={"pool34": np.empty((2, 1, 2), np.float32)})
    with pytest.raises(TypeError, match=r"out\['mask'\] must have dtype uint8, got float32"):
        ops.motion_features(frames, features=("mask",), out={"mask": np.empty((2, 8, 2), np.float32)})
    with pytest.raises(ValueError, match=r"out must have shape \(2, 8, 2\), got \(2, 8, 9\)"):
        ops.motion_masks(frames, packed=True, out=np.empty((2, 8, 9), np.uint8))


OPERATIONS = [
    ops.frame_difference,
    ops.motion_masks,
    ops.motion_projections,
    ops.motion_pools,
    ops.motion_features,
]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_one_frame_has_no_difference(operation):
    with pytest.raises(ValueError, match=r"T >= 2 .* got \(1, 8, 8\)"):
        operation(np.zeros((1, 8, 8), np.uint8))


@pytest.mark.parametrize("operation", [*OPERATIONS, ops.threshold, ops.erode])
def test_defaults_are_the_papers(operation):
    defaults = {"mode": "wrap", "level": 127, "size": 5}  # the report's scripts, as printed
    for name, parameter in inspect.signature(operation).parameters.items():
        if name in defaults:
            assert parameter.kind is parameter.KEYWORD_ONLY
            assert parameter.default == defaults[name]
