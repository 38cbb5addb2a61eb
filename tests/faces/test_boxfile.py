"""Boxes that a user brings along, and detections kept between runs."""

import sqlite3

import pytest

from fastck.config import FaceConfig
from fastck.dataset.records import SequenceRecord
from fastck.faces.box import FaceBox
from fastck.faces.boxfile import read_boxes
from fastck.pipeline.boxcache import BoxCache, cache_folder, cache_key

HEADER = "sequence,frame,top,left,bottom,right\n"


def test_boxes_by_sequence_and_frame(tmp_path):
    path = tmp_path / "boxes.csv"
    path.write_text("note," + HEADER + "x,NA,2,1,2,30,40\nx,0012,1,0,0,5,5\n")
    file = read_boxes(path)
    record = SequenceRecord(sequence="NA", subject="NA", frames=(tmp_path / "1.png", tmp_path / "2.png"))
    assert file.found(record) == [None, FaceBox(1, 2, 30, 40)]
    assert set(file.boxes) == {"NA", "0012"}


def test_of_several_faces_in_a_frame_the_largest_counts(tmp_path):
    path = tmp_path / "boxes.csv"
    rows = ("s,1,0,0,5,5,2.5", "s,1,1,2,9,10,0.3", "s,1,3,2,11,10,0.1", "s,2,0,0,4,4,1.0")
    path.write_text(HEADER.replace("\n", ",score\n") + "\n".join(rows) + "\n")
    assert read_boxes(path).boxes == {"s": {1: FaceBox(1, 2, 9, 10), 2: FaceBox(0, 0, 4, 4)}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a CSV file"),
        ("a,b\n1,2\n", "it lacks sequence, frame, top, left, bottom, right"),
        (HEADER + "s,1,0,0,5,x\n", "line 2: whole numbers expected"),
        (HEADER + "s,1,0,0,5,5\ns,0,0,0,5,5\n", "line 3: frame >= 1"),
        (HEADER + "s,1,-1,0,5,5\n", "line 2: frame >= 1"),
        (HEADER + "s,1,5,0,5,5\n", "line 2: frame >= 1"),
    ],
)
def test_wrong_files_name_the_line(tmp_path, text, message):
    path = tmp_path / "boxes.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_boxes(path)


def test_the_digest_follows_the_content(tmp_path):
    for name, text in (("a", "s,1,0,0,5,5\n"), ("b", "s,1,0,0,5,6\n")):
        (tmp_path / name).write_text(HEADER + text)
    assert read_boxes(tmp_path / "a").digest != read_boxes(tmp_path / "b").digest


def test_detections_come_back_as_they_were(tmp_path):
    found = [None, FaceBox(1, 2, 3, 4), None]
    with BoxCache(tmp_path / "deep" / "boxes.sqlite") as cache:
        assert cache.get("key") is None
        cache.put("key", found)
    with BoxCache(tmp_path / "deep" / "boxes.sqlite") as cache:
        assert cache.get("key") == found
        cache.put("key", found[:1])
        assert cache.get("key") == found[:1]


def test_no_cache_keeps_nothing():
    with BoxCache(None) as cache:
        cache.put("key", [None])
        assert cache.get("key") is None


def test_a_damaged_cache_is_reported_and_left_alone(tmp_path, caplog):
    path = tmp_path / "boxes.sqlite"
    path.write_bytes(b"this is no database" * 100)
    with BoxCache(path) as cache:
        assert cache.get("key") is None
        cache.put("key", [None])
    assert len(caplog.records) == 1
    assert "not kept between runs" in caplog.text


def test_keys_differ_with_all_that_may_change_a_box(tmp_path):
    one = FaceConfig()
    keys = {
        cache_key("f", tmp_path, one, "1"),
        cache_key("g", tmp_path, one, "1"),
        cache_key("f", tmp_path / "x", one, "1"),
        cache_key("f", tmp_path, FaceConfig(upsample=(0,)), "1"),
        cache_key("f", tmp_path, FaceConfig(search="tracked"), "1"),
        cache_key("f", tmp_path, one, "2"),
    }
    assert len(keys) == 6
    assert cache_key("f", tmp_path, FaceConfig(crop="smooth"), "1") in keys  # the policy comes after detection


def test_the_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("FASTCK_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "fastck"


def test_a_cache_that_breaks_midway_is_told_once_and_left_alone(tmp_path, caplog):
    path = tmp_path / "boxes.sqlite"
    for call in (lambda cache: cache.get("key"), lambda cache: cache.put("key", [None])):
        caplog.clear()
        with BoxCache(path) as cache:
            with sqlite3.connect(path) as base:
                base.execute("DROP TABLE found")
            base.close()
            assert call(cache) is None
            assert cache.get("key") is None
            cache.put("key", [None])
        assert caplog.text.count("detections are not kept between runs") == 1
