"""The whole way from files to a store, against a straight script of dlib and OpenCV."""

import shutil
from itertools import pairwise
from pathlib import Path

import av
import cv2
import joblib
import numpy as np
import pandas as pd
import pytest

import fastck
from fastck.config import FaceConfig, MotionConfig
from fastck.pipeline import dispatch
from tests.helpers.paper_script import paper_boxes, paper_masks, paper_pool, paper_projections
from tests.helpers.stores import assert_same_store

ALL = ("projection", "mask", "pool134", "pool67", "pool34")


def frames_of(root: Path, sequence: str) -> tuple[Path, ...]:
    subject, number = sequence.split("_")
    return tuple(sorted((root / "cohn-kanade-images" / subject / number).glob("*.png")))


def part_of(root: Path, sequences: list[str], out: Path) -> Path:
    """A data set of some of the sequences, by symbolic links."""
    for sequence in sequences:
        subject, number = sequence.split("_")
        for top in ("cohn-kanade-images", "Emotion"):
            source, target = root / top / subject / number, out / top / subject / number
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.exists():
                target.symlink_to(source)
    (out / "Emotion").mkdir(exist_ok=True)
    return out


@pytest.fixture(scope="module")
def odd_real(real_faces, tmp_path_factory):
    """Real sequences with missed frames (I001), jumping boxes (P001, colour) and none of that (L041)."""
    return part_of(real_faces, ["I001_001", "P001_001", "L041_001"], tmp_path_factory.mktemp("odd"))


@pytest.fixture(scope="module")
def paper_store(odd_real, tmp_path_factory):
    return fastck.preprocess(
        odd_real, tmp_path_factory.mktemp("paper") / "store", preset="paper", features=ALL, box_cache=False
    )


def assert_is_the_papers_script(store: fastck.Store, root: Path, sequence: str) -> None:
    masks, missed = paper_masks(frames_of(root, sequence))
    np.testing.assert_array_equal(store.sequence(sequence, "mask"), masks)
    # 1e-6: float32 means against float64 ones.
    np.testing.assert_allclose(store.sequence(sequence, "projection"), paper_projections(masks), atol=1e-6, rtol=0)
    pooled = masks
    for name in ("pool134", "pool67", "pool34"):
        pooled = paper_pool(pooled)
        np.testing.assert_allclose(store.sequence(sequence, name), pooled, atol=1e-6, rtol=0)
    row = store.row(sequence)
    assert row.n_missed == missed
    edges = [(r.top(), r.left(), r.bottom(), r.right()) for r in paper_boxes(frames_of(root, sequence))[0]]
    np.testing.assert_array_equal(store.boxes[row.frame_start : row.frame_start + row.n_frames], edges)
    assert row.n_box_changes == sum(one != other for one, other in pairwise(edges))
    assert row.motion == pytest.approx(masks.mean(), abs=1e-6)


@pytest.mark.parametrize("sequence", ["I001_001", "P001_001", "L041_001"])
def test_paper_preset_is_the_papers_script_bit_for_bit(odd_real, paper_store, sequence):
    assert_is_the_papers_script(paper_store, odd_real, sequence)


def test_paper_preset_is_the_papers_script_bit_for_bit_on_the_sample(sample, tmp_path):
    store = fastck.preprocess(sample, tmp_path / "store", preset="paper", features=ALL)
    assert list(store.table["sequence"]) == ["L008_001", "L032_001", "L063_001"]
    for row in store.table.itertuples():
        assert_is_the_papers_script(store, sample, row.sequence)
        assert row.emotion == 5
        assert row.motion > 0


def test_the_odd_sequences_are_odd(paper_store):
    table = paper_store.table.set_index("sequence")
    assert table.loc["I001_001", "n_missed"] > 0
    assert table.loc["P001_001", "n_box_changes"] > 0
    assert table.loc["P001_001", "motion_at_box_changes"] > table.loc["P001_001", "motion"]
    assert table.loc["L041_001", "emotion"] == 5
    assert table.loc["I001_001", "emotion"] is pd.NA


def test_stable_preset_takes_one_box_found_without_upsampling_where_that_suffices(odd_real, tmp_path):
    store = fastck.preprocess(odd_real, tmp_path / "store", preset="stable", features=("mask",))
    detector = fastck.Detector(upsample=0)
    for row in store.table.itertuples():
        boxes = store.boxes[row.frame_start : row.frame_start + row.n_frames]
        assert (boxes == boxes[0]).all()
        first = cv2.imread(str(frames_of(odd_real, row.sequence)[0]), 0)
        if found := detector(first):
            assert max(found, key=lambda box: box.area) == tuple(boxes[0])
    assert (store.table["n_box_changes"] == 0).all()


@pytest.fixture(scope="module")
def rendered_store(rendered, tmp_path_factory):
    return fastck.preprocess(rendered, tmp_path_factory.mktemp("r") / "store", preset="stable", features=ALL, n_jobs=1)


@pytest.mark.parametrize("n_jobs", [2, 5])
def test_any_number_of_jobs_gives_the_same_bytes(rendered, rendered_store, tmp_path, n_jobs):
    store = fastck.preprocess(rendered, tmp_path / "s", preset="stable", features=ALL, n_jobs=n_jobs, box_cache=False)
    assert_same_store(store.path, rendered_store.path)


def test_worker_processes_give_the_same_bytes(rendered, rendered_store, tmp_path):
    with joblib.parallel_config(backend="loky", n_jobs=2):
        store = fastck.preprocess(rendered, tmp_path / "s", preset="stable", features=ALL, n_jobs=2, box_cache=False)
    assert_same_store(store.path, rendered_store.path)


def test_order_and_repetition_of_features_do_not_matter(rendered, rendered_store, tmp_path):
    store = fastck.preprocess(rendered, tmp_path / "s", preset="stable", features=(*ALL[::-1], "mask"))
    assert_same_store(store.path, rendered_store.path)


def test_plain_arrays_without_fastck(rendered_store):
    projections = np.load(rendered_store.path / "projection.npy", mmap_mode="r")
    assert projections.shape == (rendered_store.table["length"].sum(), 2, 267)
    assert isinstance(rendered_store.feature("projection"), np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        rendered_store.feature("projection")[0] = 1


def test_clip_in_memory_gives_what_the_store_holds(rendered, rendered_store):
    for row in rendered_store.table.itertuples():
        frames = [cv2.imread(str(path), 0) for path in frames_of(rendered, row.sequence)]
        result = fastck.process_frames(frames, rendered_store.config)
        for name in ALL:
            held = rendered_store.feature(name)[row.start : row.start + row.length]
            np.testing.assert_array_equal(result.features[name], held)


def test_long_sequences_are_worked_off_in_stretches(rendered, monkeypatch):
    faces = fastck.FaceConfig(crop="frame", upsample=(0,))
    config = fastck.PreprocessConfig(faces=faces, features=("mask", "projection"))
    frames = [cv2.imread(str(path), 0) for path in sorted((rendered / "cohn-kanade-images").rglob("*.png"))[:9]]
    frames = [frame[:480] for frame in frames]
    whole = fastck.process_frames(frames, config)
    for chunk in (1, 2, 3, 8):
        monkeypatch.setattr("fastck.pipeline.sequence.CHUNK", chunk)
        part = fastck.process_frames(frames, config)
        for name, rows in whole.features.items():
            np.testing.assert_array_equal(part.features[name], rows)
        assert part.motion == pytest.approx(whole.motion)


def test_a_bad_sequence_goes_to_the_quarantine_and_the_others_stay_as_they_are(rendered, rendered_store, tmp_path):
    root = shutil.copytree(rendered, tmp_path / "set")
    good, cut, black, sizes, single = rendered_store.table["sequence"][:5]
    frames_of(root, cut)[3].write_bytes(b"\x89PNG\r\n")
    for path in frames_of(root, black):
        cv2.imwrite(str(path), np.zeros((480, 640), np.uint8))
    cv2.imwrite(str(frames_of(root, sizes)[2]), np.zeros((100, 100), np.uint8))
    for path in frames_of(root, single)[1:]:
        path.unlink()
    store = fastck.preprocess(root, tmp_path / "store", preset="stable", features=ALL)
    reasons = store.quarantine.set_index("sequence")["reason"]
    assert set(reasons.index) == {cut, black, sizes, single}
    assert frames_of(root, cut)[3].name in reasons[cut]
    assert "no face found in any of its" in reasons[black]
    assert "frame 3 is 100x100 pixels, those before 640x4" in reasons[sizes]
    assert reasons[single] == "a difference takes two frames, got 1"
    assert good in set(store.table["sequence"])
    for sequence in store.table["sequence"]:
        for name in ALL:
            np.testing.assert_array_equal(store.sequence(sequence, name), rendered_store.sequence(sequence, name))
    assert list(store.verify()) == []


def test_nothing_usable_leaves_an_empty_store(tmp_path):
    folder = tmp_path / "set" / "a"
    folder.mkdir(parents=True)
    for number in (1, 2):
        cv2.imwrite(str(folder / f"{number}.png"), np.zeros((90, 90), np.uint8))
    store = fastck.preprocess(tmp_path / "set", tmp_path / "store", layout="folders", features=ALL)
    assert store.table.empty
    assert store.feature("mask").shape == (0, 267, 34)
    assert list(store.verify()) == []


def test_progress_counts_what_there_is(rendered, tmp_path):
    seen = []
    fastck.preprocess(
        rendered, tmp_path / "s", preset="stable", on_progress=lambda p: seen.append((p.done, p.frames_done))
    )
    assert [done for done, _ in seen] == list(range(7))
    assert seen[-1][1] == len(list((rendered / "cohn-kanade-images").rglob("*.png")))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "quick"}, "preset must be one of paper, stable, aligned, got 'quick'"),
        ({"features": ("masks",)}, "features must be some of projection, mask"),
        ({"features": "mask"}, "features must be some of"),
        ({"features": ()}, "features must be some of"),
        ({"layout": "ck"}, "layout must be one of ckplus, folders, labelled-folders, table, masks, got 'ck'"),
    ],
)
def test_wrong_options_say_what_is_expected(rendered, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        fastck.preprocess(rendered, tmp_path / "store", **options)
    assert not (tmp_path / "store").exists()


def test_no_sequences_at_all(tmp_path):
    with pytest.raises(ValueError, match=r"holds no .*sequences"):
        fastck.preprocess(tmp_path, tmp_path / "store", layout="folders")


def test_detections_are_kept_between_runs(rendered, tmp_path, monkeypatch):
    first = fastck.preprocess(rendered, tmp_path / "one", preset="stable", features=("mask",))
    monkeypatch.setattr("fastck.pipeline.sequence.find_faces", lambda *_: pytest.fail("searched again"))
    again = fastck.preprocess(rendered, tmp_path / "two", preset="stable", features=("mask",))
    assert_same_store(first.path, again.path)
    other = fastck.preprocess(rendered, tmp_path / "three", preset="stable", motion=MotionConfig(level=200))
    np.testing.assert_array_equal(other.boxes, first.boxes)


def test_kept_detections_of_one_frame_do_not_serve_a_box_per_frame(rendered, rendered_store, tmp_path):
    rendered = part_of(rendered, [rendered_store.table["sequence"][0]], tmp_path / "set")
    each_frame = FaceConfig(crop="frame", upsample=(0,))
    fastck.preprocess(rendered, tmp_path / "one", faces=FaceConfig(crop="sequence", upsample=(0,)))
    each = fastck.preprocess(rendered, tmp_path / "two", faces=each_frame)
    fresh = fastck.preprocess(rendered, tmp_path / "three", faces=each_frame, box_cache=False)
    assert_same_store(each.path, fresh.path)


def test_kept_detections_of_all_frames_count_as_a_search_for_one_would(odd_real, tmp_path):
    part = part_of(odd_real, ["I001_001"], tmp_path / "set")
    one_box = FaceConfig(crop="sequence", upsample=(0,))
    each = fastck.preprocess(part, tmp_path / "one", faces=FaceConfig(crop="frame", upsample=(0,)))
    assert each.table["n_missed"][0] > 0
    kept = fastck.preprocess(part, tmp_path / "two", faces=one_box)
    fresh = fastck.preprocess(part, tmp_path / "three", faces=one_box, box_cache=False)
    assert_same_store(kept.path, fresh.path)


def test_changed_files_are_searched_again(rendered, tmp_path):
    root = shutil.copytree(rendered, tmp_path / "set")
    before = fastck.preprocess(root, tmp_path / "one", faces=FaceConfig(upsample=(0,)))
    sequence = before.table["sequence"][0]
    for path in frames_of(root, sequence):
        cv2.imwrite(str(path), np.roll(cv2.imread(str(path), 0), 40, axis=1))
    after = fastck.preprocess(root, tmp_path / "two", faces=FaceConfig(upsample=(0,)))
    assert (after.boxes[0] != before.boxes[0]).any()


def test_a_cache_that_cannot_be_used_costs_only_time(rendered, rendered_store, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FASTCK_CACHE_DIR", str(tmp_path / "file"))
    store = fastck.preprocess(rendered, tmp_path / "s", preset="stable", features=ALL)
    assert_same_store(store.path, rendered_store.path)


def test_own_boxes_take_the_place_of_detection(rendered, rendered_store, tmp_path, monkeypatch):
    rows = [
        (row.sequence, number + 1, *map(int, rendered_store.boxes[row.frame_start + number]))
        for row in rendered_store.table.itertuples()
        for number in range(row.n_frames)
    ]
    path = tmp_path / "boxes.csv"
    pd.DataFrame(rows, columns=["sequence", "frame", "top", "left", "bottom", "right"]).to_csv(path, index=False)
    monkeypatch.setattr("fastck.pipeline.sequence.find_faces", lambda *_: pytest.fail("searched"))
    store = fastck.preprocess(rendered, tmp_path / "s", preset="paper", boxes=path, features=ALL)
    for name in ALL:
        np.testing.assert_array_equal(store.feature(name), rendered_store.feature(name))


def test_own_boxes_outside_of_the_image_or_missing_go_to_the_quarantine(rendered, tmp_path):
    path = tmp_path / "boxes.csv"
    names = [record.sequence for record in fastck.scan(rendered).records]
    lines = ["sequence,frame,top,left,bottom,right", f"{names[0]},1,0,0,9999,9999"]
    lines += [f"{name},2,10,10,300,300" for name in names[2:]]
    path.write_text("\n".join(lines))
    store = fastck.preprocess(rendered, tmp_path / "s", preset="paper", boxes=path)
    reasons = store.quarantine.set_index("sequence")["reason"]
    assert "reaches outside of frame 1, 640x4" in reasons[names[0]]
    assert "the file of boxes has no box for any of its" in reasons[names[1]]
    good = store.table.set_index("sequence")
    assert list(good.index) == names[2:]
    assert (good["n_missed"] == good["n_frames"] - 1).all()


def test_opencv_threads_are_given_back(rendered, tmp_path):
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    fastck.preprocess(rendered, tmp_path / "s", preset="stable")
    assert cv2.getNumThreads() == 2
    cv2.setNumThreads(before)


def test_versions_name_what_decides_the_bytes(rendered_store):
    assert rendered_store.manifest["versions"] == dispatch.library_versions()
    assert rendered_store.manifest["versions"]["opencv"] == cv2.__version__
    assert rendered_store.manifest["versions"]["av"] == av.__version__
