"""What an input is: a sequence of frames, a video, or photos; and that no file is lost without a line."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from fastck.cli import app
from fastck.dataset.inputs import numbers_frames, read_inputs

PHOTOS = ["anna.jpg", "L001_smile.jpg", "L001_rest.jpg", "L002_smile.jpg", "DSC 1.jpg", "DSC_1.jpg"]


def touch(folder: Path, names: list[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    ("names", "frames"),
    [
        ([f"S005_001_{number:08d}.png" for number in range(3)], True),
        (["t0.765.jpg", "t1.1.jpg", "t1.2.jpg"], True),
        (["RGB-11-26-57-765.png", "RGB-11-26-58-1.png"], True),
        (["1.png", "1.jpg", "2.png", "2.jpg"], True),
        ([f"f{number}.png" for number in range(20)] + ["cover.png"], True),
        (["f1.png", "f2.png", "cover.png"], False),
        (PHOTOS, False),
        (["a.png", "b.png"], False),
        (["1.png"], False),
    ],
)
def test_names_that_number_frames(names: list[str], frames: bool):
    assert numbers_frames(names) is frames


def test_photos_are_rows_of_their_own_by_file_name(tmp_path: Path):
    touch(tmp_path / "x", PHOTOS)
    records, notes = read_inputs([tmp_path / "x"])
    assert sorted(record.frames[0].name for record in records) == sorted(PHOTOS)
    assert {record.sequence for record in records} >= {"anna.jpg", "L001_smile.jpg", "L001_rest.jpg"}
    assert len({record.sequence for record in records}) == len(PHOTOS)
    assert notes == [
        f"{tmp_path}/x: 6 photos (file names that do not number frames are photos; --as sequence takes a folder's for "
        "one sequence)"
    ]


def test_a_photo_keeps_its_name_where_that_is_a_line_of_text(tmp_path: Path):
    names = ["my photo 2.png", "-x é=1.png", "a\nb.png", "x" * 200 + ".png"]
    touch(tmp_path / "x", names)
    records, _ = read_inputs([tmp_path / "x"])
    said = {record.frames[0].name: record.sequence for record in records}
    assert [said[name] == name for name in names] == [True, True, False, False]
    assert "\n" not in said["a\nb.png"]


def test_every_file_of_a_sequence_that_is_left_out_is_named(tmp_path: Path):
    names = [f"f{number}.png" for number in range(20)]
    touch(tmp_path / "x", [*names, "cover.png", "f3.jpg", "notes.txt", "a.heic"])
    (record,), notes = read_inputs([tmp_path / "x"])
    assert [path.name for path in record.frames] == names
    assert "1 sequence of frames (the file names number frames; --as photos takes each file by itself)" in notes[0]
    for name in ("cover.png", "f3.jpg", "notes.txt", "a.heic"):
        assert any(name in line for line in notes[1:])


def test_what_a_folder_is_can_be_said(tmp_path: Path):
    touch(tmp_path / "x", ["1.png", "2.png"])
    touch(tmp_path / "y", ["anna.png", "bob.png"])
    assert [record.n_frames for record in read_inputs([tmp_path / "x", tmp_path / "y"], kind="sequence").records] == [
        2,
        2,
    ]
    records, notes = read_inputs([tmp_path / "x"], kind="photos")
    assert ([record.sequence for record in records], notes) == (["1.png", "2.png"], [])
    with pytest.raises(ValueError, match="kind must be one of photos, sequence, got 'clips'"):
        read_inputs([tmp_path / "x"], kind="clips")  # type: ignore[arg-type]


def test_a_table_is_an_input_where_the_layout_says_so(tmp_path: Path):
    touch(tmp_path / "x", ["1.png", "2.png", "3.png"])
    (tmp_path / "t.csv").write_text("path,subject,onset,sequence\nx,Ann,2,clip\n")
    (record,) = read_inputs([tmp_path / "t.csv"], layout="table").records
    assert (record.sequence, record.n_frames) == ("clip", 2)
    with pytest.raises(ValueError, match="an image, a folder or a video is needed"):
        read_inputs([tmp_path / "t.csv"])


def test_detect_gives_a_row_for_each_photo(sample: Path, tmp_path: Path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for name, source in zip(PHOTOS, sorted(sample.rglob("*.png")), strict=False):
        shutil.copy(source, photos / name.replace(".jpg", ".png"))
    result = CliRunner().invoke(app, ["detect", str(photos), "-o", str(tmp_path / "b.csv"), "--largest"])
    assert result.exit_code == 0, result.output
    assert "6 photos" in result.stderr
    table = pd.read_csv(tmp_path / "b.csv")
    assert len(table) == table["sequence"].nunique() == 6
    assert "L002_smile.png" in set(table["sequence"])
