"""The kernels run as plain Python, at small sizes: the same oracles, every index checked, and lines that coverage sees.

They also pass with NUMBA_DISABLE_JIT=1, where no kernel is compiled at all.
"""

from contextlib import nullcontext

import cv2
import dlib
import numpy as np
import pytest
from skimage import data

from benchmarks import naive
from fastck.faces import pyramid, weights
from fastck.faces import search as search_module
from fastck.images import png as decoding
from fastck.images.image import decode_gray
from fastck.kernels import hog, masks, motion, png, raster, resize, suppression
from fastck.ops import motion as ops
from tests.helpers.motion import MODES, check_all_forms, opencv_masks, smooth
from tests.helpers.plain_kernels import in_plain_python
from tests.helpers.pngfiles import write_png
from tests.helpers.rasterising import check_film_noise, check_rasteriser, check_tone_curve
from tests.helpers.searching import check_features, check_levels


@pytest.mark.parametrize(
    ("shape", "mode", "level", "size"),
    [
        ((2, 1, 1), "wrap", 127, 5),
        ((3, 3, 5), "absolute", 4, 2),
        ((3, 9, 9), "saturate", 0, 3),
        ((2, 35, 63), "wrap", 127, 5),
        ((4, 67, 67), "wrap", 127, 5),
        ((3, 67, 65), "absolute", 4, 7),
        ((3, 5, 130), "saturate", 4, 1),
        ((3, 4, 77), "wrap", 200, 4),
        ((2, 20, 20), "wrap", 2, 58),
    ],
)
def test_motion_in_every_form(shape, mode, level, size):
    frames = smooth(*shape)
    with in_plain_python(masks, motion):
        check_all_forms(
            frames, opencv_masks(frames, mode=mode, level=level, size=size), mode=mode, level=level, size=size
        )


@pytest.mark.parametrize("mode", MODES)
def test_single_operations(mode):
    frames = smooth(3, 9, 9)
    with in_plain_python(motion):
        difference = np.empty((2, 9, 9), np.uint8)
        getattr(motion, f"frame_difference_{mode}")(frames, 1, difference)
        np.testing.assert_array_equal(difference, naive.frame_difference(frames, mode=mode))
        np.testing.assert_array_equal(ops.threshold(frames, level=99), naive.threshold(frames, level=99))
        np.testing.assert_array_equal(ops.erode(frames, size=4), naive.erode(frames, size=4))
        np.testing.assert_array_equal(ops.project(frames), naive.project(frames))
        halves = frames.astype(np.float32) / 2
        np.testing.assert_allclose(ops.project(halves), naive.project(halves), rtol=1e-6)  # float32 holds 24 bits
        np.testing.assert_array_equal(ops.mean_pool_2x2(halves), naive.mean_pool_2x2(halves))


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (6, 4, 3)])
def test_png_filters(shape):
    pixels = np.random.default_rng(0).choice(np.array([0, 1, 2, 128, 255], np.uint8), shape)
    content = [write_png(pixels, [kind] * shape[0]) for kind in range(5)]
    expected = cv2.imdecode(np.frombuffer(content[0], np.uint8), cv2.IMREAD_GRAYSCALE)
    with in_plain_python(png, decoding):
        for file in content:
            np.testing.assert_array_equal(decode_gray(file), expected)


@pytest.mark.parametrize(("shape", "upsample"), [((3, 2), 1), ((33, 40), 1), ((70, 90), 0)])
def test_resized_pixels_are_dlibs(shape, upsample):
    with in_plain_python(resize, pyramid):
        check_levels(shape, upsample)


def test_features_of_one_image():
    with in_plain_python(hog):
        check_features()


def test_search_and_suppression(monkeypatch):
    gray = np.ascontiguousarray(data.astronaut().mean(axis=2).astype(np.uint8)[70:180, 165:275])
    monkeypatch.setattr(search_module, "TIE", 0.5)  # also keeps what is up to 0.5 below the threshold
    # Any directions give the same detections; the usual ones come from compiled loops.
    monkeypatch.setattr(weights, "usual_moments", lambda: np.eye(31))
    search = search_module.FrameSearch(gray.shape, 0, weights.frontal_bank.__wrapped__())
    with in_plain_python(hog, suppression, resize, pyramid):
        search.load(gray)
        search.search({level: search.whole(level) for level in range(search.levels)})
        result = search.detections()
    rectangles, scores, _ = dlib.get_frontal_face_detector().run(gray, 0, -0.5)
    assert len(result.found) > len(result.kept) == len(scores) > 0
    np.testing.assert_allclose(result.found[result.kept, search_module.SCORE], scores, atol=1e-5)
    for row, box in zip(result.found[result.kept], rectangles, strict=True):
        assert row[search_module.BOX].tolist() == [box.left(), box.top(), box.right(), box.bottom()]


def test_rasteriser_and_film():
    with in_plain_python(raster):
        check_rasteriser(seed=0, height=20, width=25)
        check_tone_curve()
        check_film_noise(7)


@pytest.mark.parametrize("how", ["compiled", "plain"])
def test_light_on_a_triangle_that_faces_it(how: str):
    """One pixel of each material, in front of the surroundings and behind them; one that nothing covers."""
    shape = (2, 6)
    triangle = np.array([[0, 1, 2, 3, 4, -1]] * 2, np.int32)
    blurred = np.array([[[0] * 6, [0.104] * 6]], np.float32)  # the second row lies a tenth deeper, and the bias
    texture = np.zeros((4, 4, 3), np.uint8)
    texture[..., :2] = 51, 102  # 0.04 of the light, 0.16 of the highlight
    texture[2, 2, 2] = 1  # inside the mouth
    texel = np.ones((5, 3, 2), np.float32)
    texel[4] = 2.5
    out = np.full((*shape, 1), 9, np.float32)
    facing = np.array([0, 0, 1], np.float32)
    with in_plain_python(raster) if how == "plain" else nullcontext():
        material = np.array([raster.SKIN, raster.EYE, raster.TEETH, raster.TONGUE, raster.SKIN])
        neutral, eye_centre = np.array([[0.3, 7, 2]] * 3, np.float32), np.array([0.3, 7, 1], np.float32)
        eyes, flat = np.array([[0], [0.5], [0.1]], np.float32), np.array([[0.2], [0.3]], np.float32)
        depth, occlusion = np.zeros(shape, np.float32), np.array([5], np.float32)
        raster.shade(
            (triangle, np.full((*shape, 2), 0.25, np.float32), depth, blurred, occlusion),
            np.array([facing] * 3),
            (np.array([[0, 1, 2]] * 5, np.int32), material, texel, neutral, eye_centre),
            (texture, eyes, flat),
            (facing, facing, *map(np.float32, (0.5, 0.25, 0.05))),
            out,
        )
    # All of the light is 0.5 + 0.25 + 0.05; the highlight is 1. What lies 0.1 deeper loses 5 x 0.1 of both, more in the
    # mouth.
    bright = [0.04 * 0.8 + 0.16, 0.1 * 0.8 + 0.5 + 0.9, 0.2 * 0.8 + 0.12, 0.3 * 0.8 + 0.12, 0.04 * 0.8 + 0.16]
    dark = np.multiply(bright, [0.5, 0.5, *[0.5**1.8] * 3])
    bright[1] = 1  # white
    np.testing.assert_allclose(out[..., 0], [[*bright, 9], [*dark, 9]], rtol=1e-5)


@pytest.mark.parametrize("how", ["compiled", "plain"])
def test_shapes_and_normals_of_a_corner(how: str):
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0], [5, 5, 5]], float)
    normals = np.empty((5, 3), np.float32)
    with in_plain_python(raster) if how == "plain" else nullcontext():
        raster.add_shape(np.array([3], np.int32), np.array([[0, 0, 2]], np.float32), 0.5, vertices)
        raster.vertex_normals(vertices, np.array([[0, 1, 2], [0, 2, 3]], np.int32), normals)
    assert vertices[3].tolist() == [0, 0, 1]
    # (0, 0, 1) and (1, 0, 0) meet at the edge from 0 to 2; nothing uses the last vertex
    root = np.sqrt(0.5)
    np.testing.assert_allclose(normals, [[root, 0, root], [0, 0, 1], [root, 0, root], [1, 0, 0], [0, 0, 0]], atol=1e-6)
