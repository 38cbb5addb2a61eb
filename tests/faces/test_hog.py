"""The compiled search against dlib's own: pixels, scores, boxes, and parts of a frame against the whole."""

import dlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data

import fastck.faces.search as search_module
from fastck.faces.features import all_cells, dead_leaves
from fastck.faces.pyramid import Pyramid, copy_runs, count_levels
from fastck.faces.search import AREA, BOX, SCORE, FrameSearch, orientation_table, tile_buffers
from fastck.faces.tracking import NOTHING
from fastck.faces.weights import FilterBank, frontal_bank, parse_detector, separable
from fastck.kernels import hog, suppression
from fastck.kernels.vectors import PLACES
from tests.helpers.searching import check_features, check_levels

SHAPES = [(1, 1), (3, 2), (33, 40), (65, 300), (101, 77), (180, 321), (480, 640), (490, 640)]


@pytest.fixture(scope="module")
def bank() -> FilterBank:
    return frontal_bank()


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    """A woman's face of about 100 pixels, (320, 384)."""
    gray = data.astronaut().mean(axis=2).astype(np.uint8)
    return np.ascontiguousarray(gray[:320, 60:444])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("upsample", [0, 1, 2])
def test_levels_are_dlibs_pixel_for_pixel(shape, upsample):
    if shape[0] > 200 and upsample == 2:
        pytest.skip("large; the smaller shapes cover the second doubling")
    check_levels(shape, upsample)


def test_levels_follow_the_image_and_not_the_last_one():
    pyramid = Pyramid((90, 120), 1)
    first, second = np.random.default_rng(1).integers(0, 256, (2, 90, 120), np.uint8)
    pyramid.build(first)
    before = pyramid.pixels.copy()
    pyramid.build(second)
    assert (pyramid.pixels != before).any()
    pyramid.build(first)
    np.testing.assert_array_equal(pyramid.pixels, before)


@given(st.integers(1, 400), st.booleans(), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_copy_runs_read_what_the_table_says(n, double, seed):
    steps = np.random.default_rng(seed).choice([0, 1] if double else [1, 1, 1, 1, 2], n)
    left = np.cumsum(steps)
    source = np.repeat(left, 2) if double else left
    source = np.arange(left[-1] + 40)
    line = np.repeat(source, 2) if double else source
    out = np.full(n + 32, -1)
    skipping = np.arange(16) if double else np.minimum(np.arange(16) + np.arange(16) // 5, 15)
    for to, of in copy_runs(left, double=double).astype(int):
        out[to : to + 16] = line[of + skipping]
    np.testing.assert_array_equal(out[:n], left)


def test_number_of_levels_counts_down_to_64_pixels():
    assert count_levels((64, 64)) == 1
    assert count_levels((10, 10)) == 1
    assert [count_levels((side, 1000)) for side in (76, 77, 78, 92, 93, 94)] == sorted(
        count_levels((side, 1000)) for side in (76, 77, 78, 92, 93, 94)
    )


def test_orientations_are_those_of_the_closest_direction():
    table = orientation_table().reshape(511, 512)[:, :511] // 4
    dy, dx = np.mgrid[-255:256, -255:256]
    angle = np.degrees(np.arctan2(dy, dx)) % 360
    off = np.abs((angle - 20.0 * table + 180) % 360 - 180)
    # dlib's directions are rounded to four digits, so borders may be off by a hundredth of a degree.
    assert off[(dx != 0) | (dy != 0)].max() < 10.02
    assert table[255, 255] == 0


def test_separable_filters_add_up_to_the_weights():
    weights = np.random.default_rng(0).normal(size=(3, 10, 10))
    weights[1] = np.outer(np.arange(10), np.ones(10)) + 1e-5 * weights[0]
    kept = separable(weights)
    assert np.abs(kept - weights).max() < 0.002 * np.linalg.norm(weights)
    assert np.linalg.matrix_rank(kept[1]) == 1  # what dlib leaves out


def test_bank_is_the_installed_detectors(bank):
    detector = dlib.get_frontal_face_detector()
    assert bank.thresholds.size == detector.num_detectors == len(bank.weights) == 5
    assert not bank.weights.reshape(5, 10, 10, 32)[..., 31].any()
    assert np.abs(bank.weights).max(axis=(1, 2)).min() > 0.01
    assert 0 < bank.iou < bank.percent_covered < 1


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "detector.svm"
    dlib.get_frontal_face_detector().save(str(path))
    good = path.read_bytes()
    assert parse_detector(good).thresholds.size == 5
    for bad in (good[:50], b"\x01\x09" + good[2:], b"", good[:-3]):
        with pytest.raises(ValueError, match=r"dlib's detector"):
            parse_detector(bad)


def test_filters_are_kept_by_version_and_checksum(bank, own_cache, monkeypatch):
    make = frontal_bank.__wrapped__
    make()
    (path,) = own_cache.glob("filters-*.npz")
    with monkeypatch.context() as patch:
        patch.setattr(dlib, "get_frontal_face_detector", lambda: pytest.fail("constructed"))
        kept = make()
    for name, value in vars(bank).items():
        np.testing.assert_array_equal(getattr(kept, name), value)
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    np.testing.assert_array_equal(make().spectra, bank.spectra)
    assert path.read_bytes() != damaged
    monkeypatch.setattr(dlib, "__version__", "0.0")
    make()
    assert len(list(own_cache.glob("filters-*.npz"))) == 2


def test_filters_are_there_without_a_cache(bank, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FASTCK_CACHE_DIR", str(tmp_path / "file"))
    np.testing.assert_array_equal(frontal_bank.__wrapped__().weights, bank.weights)


@pytest.mark.parametrize("upsample", [0, 1])
def test_scores_and_order_are_dlibs(bank, astronaut, upsample, monkeypatch):
    monkeypatch.setattr(search_module, "TIE", 1.5)  # also keeps what is up to 1.5 below the threshold
    search = FrameSearch(astronaut.shape, upsample, bank)
    search.load(astronaut)
    search.search({level: search.whole(level) for level in range(search.levels)})
    result = search.detections()
    rectangles, scores, detectors = dlib.get_frontal_face_detector().run(astronaut, upsample, -1.5)
    ours = result.found[result.kept]
    assert len(ours) == len(scores) > 3
    # The sums run in another order: about 1e-6 for terms of up to 1.
    np.testing.assert_allclose(ours[:, SCORE], scores, atol=1e-5)
    assert ours[:, 1].astype(int).tolist() == list(detectors)
    down = 2**upsample
    for row, box in zip(ours, rectangles, strict=True):
        assert abs(row[BOX][0] / down - 1.25 * (down - 1) - box.left()) <= 1
        assert row[9:13].tolist() == [
            max(box.left(), 0),
            max(box.top(), 0),
            min(box.right(), astronaut.shape[1]),
            min(box.bottom(), astronaut.shape[0]),
        ]


_WINDOWS = np.lib.stride_tricks.sliding_window_view


def test_transforms_score_as_plain_sums_do(bank):
    """Far more precise than ROUGH asks for, on values as large as cells can have them and with rows left out."""
    rng = np.random.default_rng(5)
    spectra = bank.spectra.reshape(32, 32, 5, 2, 8).astype(float)
    pairs = np.fft.ifft2((spectra[..., 0, :] - 1j * spectra[..., 1, :]) * 2 * 32**2, axes=(0, 1))[:10, :10]
    filters = np.concatenate([pairs.real, pairs.imag], axis=-1)
    for begin, end, n in ((0, 32, 23), (4, 27, 23), (-23, 9, 22), (31, 55, 23), (0, 32, 1), (2, 32, 7)):
        planes = rng.uniform(-0.5, 1, (40, 50, 16)).astype(np.float32)
        tile = planes[5:37, 7:39]
        rows = np.arange(32)
        tile[(rows < begin) | (rows >= end)] = 0
        buffers = tile_buffers()
        hog.correlate_tile(planes.ravel(), 5 * 50 + 7, 50, begin, end, n, bank.spectra, buffers)
        rough = buffers[3].reshape(32, 32, 8)[:23, :23, PLACES]
        windows = _WINDOWS(tile.astype(float), (10, 10), axis=(0, 1))
        expected = np.einsum("rcpij,ijdp->rcd", windows, filters, optimize=True)
        assert np.abs(rough[:n] - expected[:n]).max() < 0.02 * hog.ROUGH


def test_no_window_scores_above_its_bound(bank):
    """On cells as they are, as large as they can be, single ones, and those that the bound is worst for."""
    rng = np.random.default_rng(6)
    weights = bank.weights.reshape(5, 10, 10, 32)
    kinds = [
        np.resize(all_cells(np.pad(dead_leaves(9), ((0, 0), (0, 32))), 256), (1600, 31)),
        rng.uniform(0, 0.4, (1600, 31)),
        rng.choice([0, 0.4], (1600, 31), p=[0.99, 0.01]),
        np.tile(weights[1].reshape(100, 32)[:, :31].clip(0), (16, 1)),
    ]
    for kind in kinds:
        cells = np.zeros((40, 40, 32), np.float32)
        cells[..., :31] = kind.reshape(40, 40, 31)
        planes = np.zeros((40, 40, 16), np.float32)
        hog._reduce(cells.ravel(), 0, 1600, bank.basis, planes.ravel())
        windows = _WINDOWS(cells[:32, :32].astype(float), (10, 10), axis=(0, 1))
        exact = np.einsum("rcpij,dijp->rcd", windows, weights.astype(float), optimize=True)
        buffers = tile_buffers()
        hog.correlate_tile(planes.ravel(), 0, 40, 0, 32, 23, bank.spectra, buffers)
        bounds = buffers[3].reshape(32, 32, 8)[:23, :23, PLACES]
        assert (bounds > exact - 0.1 * hog.ROUGH).all()
        one = hog.score(cells.ravel(), 3 * 40 + 20, 40, bank.weights, 2)
        np.testing.assert_allclose(one, exact[3, 20, 2], atol=1e-5)
    # Of usual cells, few windows are left to be scored plainly.
    cells[..., :31] = kinds[0].reshape(40, 40, 31)
    hog._reduce(cells.ravel(), 0, 1600, bank.basis, planes.ravel())
    hog.correlate_tile(planes.ravel(), 0, 40, 0, 32, 23, bank.spectra, buffers)
    assert (buffers[3].reshape(32, 32, 8)[:23, :23, PLACES] > bank.thresholds).mean() < 0.2


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_a_part_scores_as_in_the_whole(bank, astronaut, data):
    """Both few windows, which are scored plainly, and many."""
    search = _loaded(bank, astronaut)
    level = data.draw(st.integers(0, search.levels - 1))
    rows, columns = search.pyramid.windows[level]
    top = data.draw(st.integers(5, rows + 4))
    left = data.draw(st.integers(5, columns + 4))
    bottom = data.draw(st.integers(top + 1, min(rows + 5, top + 24)))
    right = data.draw(st.integers(left + 1, min(columns + 5, left + 24)))
    part = _scores(search, level, (top, left, bottom, right))
    whole = _scores(search, level, search.whole(level))
    inside = {place: value for place, value in whole.items() if top <= place[1] < bottom and left <= place[2] < right}
    assert set(part) == set(inside)
    # Not bit for bit: vectors that begin elsewhere round the gradients' lengths and sums otherwise.
    np.testing.assert_allclose([part[place] for place in inside], list(inside.values()), atol=2e-6)


_cache: dict[int, FrameSearch] = {}


def _loaded(bank: FilterBank, gray: np.ndarray) -> FrameSearch:
    if id(gray) not in _cache:
        _cache[id(gray)] = FrameSearch(gray.shape, 1, bank)
        _cache[id(gray)].load(gray)
    return _cache[id(gray)]


def _scores(search: FrameSearch, level: int, window: tuple[int, int, int, int]) -> dict[tuple[float, ...], float]:
    """Scores of a level's windows that are not too far below their threshold, by detector, row and column."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search_module, "TIE", 2.5)
        search.search({level: window})
    found = search._found[: search._n_found]
    search._n_found = 0
    return {(row[1], row[3], row[4]): row[SCORE] for row in found}


def test_plain_hog_agrees_on_a_small_image():
    check_features()


boxes = st.tuples(st.integers(-50, 50), st.integers(-50, 50), st.integers(8, 90))


@given(boxes, boxes)
@settings(max_examples=300, deadline=None)  # the first call compiles
def test_boxes_that_suppress_each_other_are_within_reach(bank, one, other):
    a = np.array([one[0], one[1], one[0] + one[2] - 1, one[1] + one[2] - 1], float)
    b = np.array([other[0], other[1], other[0] + other[2] - 1, other[1] + other[2] - 1], float)
    both = suppression.overlap(a, b, bank.iou, bank.percent_covered)
    assert both == suppression.overlap(b, a, bank.iou, bank.percent_covered)
    if both:
        out = one[2] * suppression.reach(other[2] / one[2], bank.iou, bank.percent_covered) + 1e-9
        assert (b[:2] >= a[:2] - out).all()
        assert (b[2:] <= a[2:] + out).all()


def test_no_window_around_a_box_is_forgotten(bank, astronaut):
    search = _loaded(bank, astronaut)
    for level in (6, 4):
        rows, columns = search._edges[level]
        box = np.array([columns[9, 0], rows[7, 0], columns[9, 1], rows[7, 1]], float)
        windows = np.tile(NOTHING, (level, 1))
        search.widen(windows, box[None])
        for finer, (top, left, bottom, right) in enumerate(windows):
            for r, (y0, y1, *_) in enumerate(search._edges[finer][0], 5):
                for c, (x0, x1, *_) in enumerate(search._edges[finer][1], 5):
                    if not (top <= r < bottom and left <= c < right):
                        other = np.array([x0, y0, x1, y1], float)
                        assert not suppression.overlap(box, other, bank.iou, bank.percent_covered)


def test_no_level_holds_a_larger_box_than_its_bound(bank, astronaut):
    search = _loaded(bank, astronaut)
    assert search.largest_area == sorted(search.largest_area) or min(search.largest_area[-3:]) > 0
    for level, (rows, columns) in enumerate(search._edges):
        heights, widths = rows[:, 3] - rows[:, 2], columns[:, 3] - columns[:, 2]
        assert heights.max(initial=0) * widths.max(initial=0) <= search.largest_area[level]
    search.search({level: search.whole(level) for level in range(search.levels)})
    found = search.detections().found
    assert len(found)
    assert (found[:, AREA] <= np.array(search.largest_area)[found[:, 2].astype(int)]).all()
