"""Boxes that a user brings along."""

import random

import pytest

from fastck.faces import boxfile
from fastck.faces.box import FaceBox
from fastck.faces.boxfile import read_boxes

HEADER = "sequence,frame,top,left,bottom,right\n"


def test_boxes_by_sequence_and_frame(tmp_path):
    path = tmp_path / "boxes.csv"
    path.write_text("note," + HEADER + "x,NA,2,1,2,30,40\nx,0012,1,0,0,5,5\n")
    file = read_boxes(path)
    assert file.found("NA", 2) == [None, FaceBox(1, 2, 30, 40)]
    assert file.sequences == ["0012", "NA"]


def test_of_several_faces_in_a_frame_the_largest_counts(tmp_path):
    path = tmp_path / "boxes.csv"
    rows = ("s,1,0,0,5,5,2.5", "s,1,1,2,9,10,0.3", "s,1,3,2,11,10,0.1", "s,2,0,0,4,4,1.0")
    path.write_text(HEADER.replace("\n", ",score\n") + "\n".join(rows) + "\n")
    assert read_boxes(path).found("s", 3) == [FaceBox(1, 2, 9, 10), FaceBox(0, 0, 4, 4), None]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a CSV file"),
        ("a,b\n1,2\n", "it lacks sequence, frame, top, left, bottom, right"),
        (HEADER + "s,1,0,0,5,x\n", "line 2: whole numbers expected"),
        (HEADER + "s,1,0,0,5,5\ns,0,0,0,5,5\n", "line 3: frame >= 1"),
        (HEADER + "s,1,-1,0,5,5\n", "line 2: frame >= 1"),
        (HEADER + "s,1,5,0,5,5\n", "line 2: frame >= 1"),
        (HEADER + 's,1,0,0,5,5\n"s,2,0,0,5,5\ns,3,0,0,5,5\n', "line 3 is not CSV: unexpected end of data"),
        (HEADER + 's,1,0,0,5,5\n"s,2,0,0,5,5\n",1,0,0,5,5\n', "line 3, column sequence: a quoted cell must not hold"),
        (HEADER + "s,1,0,0,5,5,7\n", "line 2, column right: 6 cells a line are expected, got 7"),
        (HEADER + "s,1,0,0\n", "line 2: whole numbers expected"),
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


@pytest.mark.parametrize("lines", [2, 7, 100_000])
def test_a_file_read_in_parts_is_what_a_dictionary_says(tmp_path, monkeypatch, lines):
    monkeypatch.setattr(boxfile, "_READ_LINES", lines)
    rng = random.Random(lines)
    rows, best = [], {}
    for _ in range(60):
        name, frame = rng.choice(["b", "a", "é", "S1", "S10"]), rng.randint(1, 4)
        top, left = rng.randint(0, 3), rng.randint(0, 3)
        box = FaceBox(top, left, top + rng.randint(1, 3), left + rng.randint(1, 3))
        rows.append(",".join(map(str, (name, frame, *box))))
        if (name, frame) not in best or box.area > best[name, frame].area:
            best[name, frame] = box
    path = tmp_path / "boxes.csv"
    path.write_text(HEADER + "\n".join(rows) + "\n")
    file = read_boxes(path)
    for name in ("b", "a", "é", "S1", "S10", "", "S", "z"):
        assert file.found(name, 3) == [best.get((name, frame)) for frame in (1, 2, 3)]
    path.write_text(HEADER + "\n".join([*rows, "a,1,0,0,x,1"]) + "\n")
    with pytest.raises(ValueError, match="line 62: whole numbers expected"):
        read_boxes(path)


def test_a_file_without_rows_has_no_boxes(tmp_path):
    path = tmp_path / "boxes.csv"
    path.write_text(HEADER)
    assert read_boxes(path).found("a", 2) == [None, None]
    path.write_text("sequence,frame\n")
    with pytest.raises(ValueError, match="it lacks top, left, bottom, right"):
        read_boxes(path)


def test_boxes_of_sequences_and_frames_that_are_not_there_are_told(tmp_path):
    path = tmp_path / "boxes.csv"
    path.write_text(HEADER + "a,1,0,0,5,5\nA/1,1,0,0,5,5\nb,46,0,0,5,5\nb,2,0,0,5,5\n")
    unknown, beyond = read_boxes(path).strangers({"a": 1, "b": 5, "c": 2})
    assert unknown == "boxes of 1 sequences that are not there, A/1: left out; those that are there are called a, b, c"
    assert beyond == "boxes of frames that 1 sequences do not have, frame 46 of b, which has 5: left out"
    path.write_text(HEADER + "a,1,0,0,5,5\n")
    assert read_boxes(path).strangers({"a": 1}) == []
