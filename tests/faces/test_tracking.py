"""The largest face of every frame is the one of dlib's full search: moving, scaled, alone, in company, gone."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import cv2
import dlib
import numpy as np
import pytest
from skimage import data

from fastck.faces.box import FaceBox, largest
from fastck.faces.detector import SIZES, Detector, FaceDetector, detect_faces
from fastck.faces.search import FrameSearch
from fastck.faces.tracking import TrackedDetector, find_largest
from fastck.pipeline.compare import compare_boxes, edge_distance
from fastck.render import render_dataset

FRAME = (180, 240)  # small frames: dlib's own search is most of these tests' time


@pytest.fixture(scope="module")
def full() -> Detector:
    return Detector(upsample=1)


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    """A face with hair and collar, (190, 150)."""
    gray = data.astronaut().mean(axis=2).astype(np.uint8)
    return np.ascontiguousarray(gray[10:200, 150:300])


def scene(face: np.ndarray, places: list[tuple[float, float, float]], seed: int = 0) -> np.ndarray:
    """Put faces (centre x, y, scale) on a noisy ground, later ones in front."""
    rng = np.random.default_rng(seed)
    ground = cv2.resize(rng.uniform(60, 180, (6, 8)).astype(np.float32), FRAME[::-1])
    canvas = np.clip(ground + rng.normal(0, 2, FRAME), 0, 255).astype(np.uint8)
    for x, y, scale in places:
        move = np.array([[scale, 0, x - scale * 75], [0, scale, y - scale * 95]])
        cv2.warpAffine(face, move, FRAME[::-1], dst=canvas, borderMode=cv2.BORDER_TRANSPARENT)
    return canvas


def moving(face: np.ndarray) -> Iterator[np.ndarray]:
    for t in range(8):
        yield scene(face, [(70 + 14 * t, 80 + 3 * t, 0.6)], t)


def growing(face: np.ndarray) -> Iterator[np.ndarray]:
    for t in range(8):
        yield scene(face, [(120, 90, 0.45 * 1.12**t)], t)


def overtaken(face: np.ndarray) -> Iterator[np.ndarray]:
    """A small face stays; a larger one enters at the right, shrinks and so loses its rank."""
    for t in range(8):
        yield scene(face, [(50, 70, 0.5), (250 - 14 * t, 95, 0.9 - 0.07 * t)], t)


def leaving(face: np.ndarray) -> Iterator[np.ndarray]:
    for t in range(8):
        yield scene(face, [(190 + 12 * t if t < 5 else 60, 90, 0.6)], t)


@pytest.mark.parametrize("story", [moving, growing, overtaken, leaving])
def test_the_largest_face_is_dlibs(full, face, story):
    tracked = TrackedDetector(upsample=1)
    found = []
    for gray in story(face):
        expected = largest(full(gray))
        assert tracked(gray) == ([] if expected is None else [expected])
        found.append(expected)
    assert len({box for box in found if box is not None}) > 2  # the stories are about something
    if story is leaving:
        assert None in found


@pytest.mark.parametrize("upsample", [0, 1, 2])
def test_all_faces_are_dlibs(face, upsample):
    compiled = FaceDetector(upsample)
    full = Detector(upsample)
    for places in ([], [(120, 90, 0.9)], [(60, 90, 0.55), (170, 80, 0.7)]):
        gray = scene(face, places)
        assert compiled(gray) == full(gray)


@pytest.mark.parametrize("upsample", [0, 1])
def test_the_samples_faces_are_dlibs(sample, upsample):
    """dlib's own boxes, by dlib itself: of every frame, searched alone and in sequence."""
    detector = dlib.get_frontal_face_detector()
    compiled, tracked = FaceDetector(upsample), TrackedDetector(upsample)
    for folder in sorted((sample / "cohn-kanade-images").glob("*/*")):
        tracked.reset()
        for path in sorted(folder.glob("*.png")):
            gray = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
            (face,) = detector(gray, upsample)
            box = (face.top(), face.left(), face.bottom(), face.right())
            assert compiled(gray) == tracked(gray) == [box]


@pytest.mark.parametrize("upsample", [0, 1])
def test_scores_are_dlibs_too(face, upsample):
    gray = scene(face, [(60, 90, 0.7), (170, 80, 0.75)])
    ours, dlibs = FaceDetector(upsample).with_scores(gray), Detector(upsample).with_scores(gray)
    assert [box for box, _ in ours] == [box for box, _ in dlibs]
    np.testing.assert_allclose([score for _, score in ours], [score for _, score in dlibs], atol=1e-5)
    assert TrackedDetector(upsample).with_scores(gray) == [max(ours, key=lambda face: face[0].area)]


def test_detect_faces_in_threads(face):
    grays = [scene(face, [(80 + 20 * i, 90, 0.6 + 0.1 * i)]) for i in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(detect_faces, grays)) == [FaceDetector(1)(gray) for gray in grays]


@pytest.fixture(scope="module")
def rendered_frames(tmp_path_factory) -> list[np.ndarray]:
    """The first frame of two people at half the size: faces of about 90 pixels that score above 2."""
    root = tmp_path_factory.mktemp("faces") / "set"
    render_dataset(root, subjects=2, sequences=1, seed=4)
    firsts = [min(folder.glob("*.png")) for folder in sorted((root / "cohn-kanade-images").glob("*/*"))]
    frames = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in firsts]
    return [cv2.resize(frame, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for frame in frames]


@pytest.mark.parametrize("side", [60, 72, 84])
def test_a_small_surer_face_inside_the_face_counts_in_every_frame(full, rendered_frames, side):
    """By dlib's rules it suppresses the face around it: that has to be seen in the frame in which it appears."""
    tracked = TrackedDetector(1)
    changed = 0
    for frame in rendered_frames:
        face = largest(full(frame))
        for other in rendered_frames:
            top, left, bottom, right = largest(full(other))
            small = cv2.resize(
                other[top - 20 : bottom + 20, left - 20 : right + 20], (side, side), interpolation=cv2.INTER_AREA
            )
            for down, across in ((0.2, 0.2), (0.8, 0.8), (0.7, 0.5)):
                composite = frame.copy()
                y = round(face.top + down * (face.bottom - face.top) - side / 2)
                x = round(face.left + across * (face.right - face.left) - side / 2)
                composite[y : y + side, x : x + side] = small
                tracked.reset()
                assert tracked(frame) == tracked(frame) == [face]
                expected = largest(full(composite))
                assert tracked(composite) == ([] if expected is None else [expected])
                changed += expected is not None and expected.area < face.area
    assert changed


def test_real_faces(full, real_faces):
    tracked = TrackedDetector(upsample=1)
    for folder in ("L001", "P001", "I001"):
        sequence = next(iter(sorted((real_faces / "cohn-kanade-images").glob(f"{folder[0]}*/*"))))
        tracked.reset()
        for path in sorted(sequence.glob("*.png"))[::6]:
            gray = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
            expected = largest(full(gray))
            assert tracked(gray) == ([] if expected is None else [expected])


def test_frames_of_any_size_and_layout(full, face):
    tracked = TrackedDetector(upsample=1)
    gray = scene(face, [(120, 90, 0.9)])
    wide = np.repeat(gray, 2, axis=1)[:, ::2]  # a view with strides of its own
    assert not wide.flags.c_contiguous
    assert tracked(wide) == tracked(gray) == [largest(full(gray))]
    tiny = gray[40:150, 60:180]
    assert tracked(np.ascontiguousarray(tiny)) == [largest(full(np.ascontiguousarray(tiny)))]
    for shape in ((1, 1), (2, 300), (7, 9)):
        assert tracked(np.zeros(shape, np.uint8)) == []
    assert len(tracked._searches) == SIZES  # buffers of earlier sizes are dropped


def test_where_the_search_begins_never_matters(face):
    compiled = FaceDetector(1)
    gray = scene(face, [(60, 90, 0.55), (170, 80, 0.7)])
    compiled(gray)
    (search,) = compiled._searches.values()
    results = []
    for start in range(search.levels):
        search.load(gray)
        results.append(find_largest(search, start=start))
    for result in results:
        np.testing.assert_allclose(result, results[0], atol=1e-5)


def test_a_tracked_frame_is_searched_in_part_only(face, monkeypatch):
    counted = []
    score = FrameSearch.search

    def counting(self, windows, **options):
        counted.append(sum((w[2] - w[0]) * (w[3] - w[1]) for w in windows.values()))
        score(self, windows, **options)

    monkeypatch.setattr(FrameSearch, "search", counting)
    tracked = TrackedDetector(upsample=1)
    spent = []
    for _ in range(12):
        counted.clear()
        tracked(scene(face, [(120, 90, 1.0)]))
        spent.append(sum(counted))
    (search,) = tracked._searches.values()
    everything = sum(rows * columns for rows, columns in search.pyramid.windows)
    assert max(spent[1:]) < 0.35 * everything
    assert spent[1] == spent[2] == spent[-1] <= spent[0]


def test_a_surer_face_inside_the_largest_ones_box_is_found(face):
    """It suppresses the larger face where it scores higher, and does nothing where it scores less."""
    tracked, full = TrackedDetector(upsample=0), Detector(upsample=0)
    found = set()
    for y in (60, 110, 160):
        for weight in (0.25, 0.5, 1.0):
            ground = cv2.resize(face, (300, 380))
            inner = cv2.resize(face, (110, 139))[20:119, 10:100]
            part = ground[y : y + 99, 90:180]
            part[:] = cv2.addWeighted(inner, weight, part, 1 - weight, 0)
            expected = largest(full(ground))
            assert tracked(ground) == ([] if expected is None else [expected])
            found.add(expected.area > 20_000 if expected else None)
    assert found >= {True, False}


def test_scores_too_close_to_call_go_to_dlib(full, face, monkeypatch):
    monkeypatch.setattr("fastck.faces.search.TIE", 10.0)
    asked = []
    dlibs = Detector.with_scores
    monkeypatch.setattr(Detector, "with_scores", lambda self, gray: asked.append(1) or dlibs(self, gray))
    gray = scene(face, [(60, 90, 0.55), (170, 80, 0.7)])
    assert TrackedDetector(upsample=1)(gray) == [largest(full(gray))]
    assert len(asked) == 2


def test_equal_scores_are_a_tie(full, face):
    """The same face twice, a whole number of cells apart on every layer but for rounding: dlib decides."""
    half = scene(face, [(60, 90, 0.6)])[:, :120]
    gray = np.ascontiguousarray(np.concatenate([half, half], axis=1))
    assert FaceDetector(1)(gray) == full(gray)
    assert TrackedDetector(1)(gray) == [largest(full(gray))]


def test_reset_begins_another_sequence(face):
    tracked = TrackedDetector(upsample=1)
    tracked(scene(face, [(120, 90, 0.9)]))
    assert tracked._level is not None
    tracked.reset()
    assert tracked._level is None


def test_detectors_in_threads_do_not_meet(face):
    grays = [scene(face, [(80 + 20 * i, 90, 0.6 + 0.1 * i)]) for i in range(2)]
    expected = [TrackedDetector(1)(gray) for gray in grays]
    results: list[list[list[FaceBox]]] = [[], []]

    def work(i: int) -> None:
        tracked = TrackedDetector(1)
        results[i] = [tracked(grays[i]) for _ in range(10)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[box] * 10 for box in expected]


@pytest.mark.parametrize(
    ("bad", "error"), [(np.zeros((4, 4)), TypeError), (np.zeros((4, 4, 3), np.uint8), ValueError), (None, TypeError)]
)
def test_bad_frames(bad, error):
    with pytest.raises(error):
        TrackedDetector(1)(bad)


def test_bad_settings():
    with pytest.raises(ValueError, match="upsample"):
        TrackedDetector(3)
    with pytest.raises(ValueError, match="upsample"):
        detect_faces(np.zeros((9, 9), np.uint8), upsample=-1)


@pytest.fixture
def faces_on_disk(tmp_path, face):
    for name, story in (("S001", moving), ("S002", leaving)):
        folder = tmp_path / "cohn-kanade-images" / name / "001"
        folder.mkdir(parents=True)
        for t, gray in enumerate(list(story(face))[::3], start=1):
            cv2.imwrite(str(folder / f"{name}_001_{t:08d}.png"), gray)
    return tmp_path


def test_compare_boxes_on_the_users_data(faces_on_disk):
    steps = []
    comparison = compare_boxes(faces_on_disk, n_jobs=1, on_progress=lambda step: steps.append((step.done, step.total)))
    assert comparison.table["sequence"].tolist() == ["S001_001", "S002_001"]
    assert (comparison.n_frames, comparison.n_different) == (6, 0)
    assert 0 < comparison.n_faces <= 6
    assert comparison.differences.empty
    assert comparison.speedup > 0
    assert steps == [(1, 2), (2, 2)]
    assert compare_boxes(faces_on_disk, limit=1).table["sequence"].tolist() == ["S001_001"]


def test_compare_boxes_shows_differences(faces_on_disk, monkeypatch):
    found = TrackedDetector.__call__

    def shifted(self, gray):
        return [FaceBox(box.top + 2, box.left, box.bottom, box.right - 3) for box in found(self, gray)]

    monkeypatch.setattr(TrackedDetector, "__call__", shifted)
    comparison = compare_boxes(faces_on_disk, n_jobs=1, limit=1)
    assert comparison.n_different == comparison.n_faces == len(comparison.differences) > 0
    assert set(comparison.differences["pixels"]) == {3.0}
    assert comparison.differences["frame"].min() >= 1


def test_compare_boxes_goes_on_after_a_broken_file(faces_on_disk):
    broken = faces_on_disk / "cohn-kanade-images" / "S001" / "001" / "S001_001_00000002.png"
    broken.write_bytes(b"not an image")
    table = compare_boxes(faces_on_disk, n_jobs=1).table.set_index("sequence")
    assert "00000002.png" in table.loc["S001_001", "reason"]
    assert table.loc["S001_001", "n_frames"] == 1
    assert table.loc["S002_001", "n_frames"] == 3


def test_compare_boxes_refuses_nonsense(tmp_path, faces_on_disk):
    with pytest.raises(ValueError, match="limit"):
        compare_boxes(faces_on_disk, limit=0)
    with pytest.raises(ValueError, match="upsample"):
        compare_boxes(faces_on_disk, upsample=5)
    with pytest.raises(OSError, match="nowhere"):
        compare_boxes(tmp_path / "nowhere")


def test_edge_distance():
    assert edge_distance(FaceBox(0, 0, 10, 10), FaceBox(1, 0, 10, 14)) == 4
    assert np.isnan(edge_distance(None, FaceBox(0, 0, 1, 1)))
