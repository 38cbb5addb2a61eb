"""Reading folder layouts: CK+ with its quirks, plain and labelled folders, videos."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from fastck.cli import app
from fastck.dataset import layouts, sequences
from fastck.dataset.findings import KINDS, summarise
from fastck.dataset.labels import EMOTIONS
from fastck.dataset.layouts import guess_layout, scan
from fastck.dataset.records import Scan
from fastck.dataset.sequences import subject_of
from fastck.dataset.walk import safe_name
from fastck.images.header import ImageError


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def add_sequence(root: Path, subject: str, number: str, frames: range = range(1, 5), label: str | None = None) -> Path:
    folder = root / "cohn-kanade-images" / subject / number
    touch(*(folder / f"{subject}_{number}_{frame:08d}.png" for frame in frames))
    (root / "Emotion").mkdir(exist_ok=True)
    if label is not None:
        name = f"{subject}_{number}_{frames[-1]:08d}_emotion.txt"
        touch(root / "Emotion" / subject / number / name)
        (root / "Emotion" / subject / number / name).write_text(label)
    return folder


def kinds(found: Scan) -> list[str]:
    assert all(finding.kind in KINDS for finding in found.findings)
    assert all("\n" not in finding.text for finding in found.findings)
    return [finding.kind for finding in found.findings]


def write_video(path: Path, n_frames: int = 5) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, (32, 24))
    for level in range(n_frames):
        writer.write(np.full((24, 32, 3), 40 * level, np.uint8))
    writer.release()


def test_ckplus_sequence(tmp_path: Path):
    folder = add_sequence(tmp_path, "S005", "001", range(1, 12), "   3.0000000e+00\n")
    found = scan(tmp_path)
    (record,) = found.records
    assert (record.sequence, record.subject, record.emotion, record.n_frames) == ("S005_001", "S005", 3, 11)
    assert record.frames == tuple(folder / f"S005_001_{n:08d}.png" for n in range(1, 12))
    assert record.video is None
    assert found.findings == []


def test_records_are_sorted_by_id_and_the_same_every_time(tmp_path: Path):
    for subject, number in (("S010", "002"), ("S005", "001"), ("S010", "001")):
        add_sequence(tmp_path, subject, number)
    found = scan(str(tmp_path))
    assert [record.sequence for record in found.records] == ["S005_001", "S010_001", "S010_002"]
    assert scan(tmp_path) == found


def test_missing_label_means_not_labelled(tmp_path: Path):
    add_sequence(tmp_path, "S005", "001")
    (tmp_path / "Emotion" / "S010" / "001").mkdir(parents=True)
    add_sequence(tmp_path, "S010", "001")
    found = scan(tmp_path)
    assert [record.emotion for record in found.records] == [None, None]
    assert kinds(found) == ["empty-label-folder"]
    assert found.findings[0].sequence == "S010_001"


@pytest.mark.parametrize(
    ("content", "emotion", "kind"),
    [
        ("0", 0, "neutral-label"),
        ("9.0", None, "bad-label"),
        ("-1", None, "bad-label"),
        ("2.5", None, "bad-label"),
        ("nan", None, "bad-label"),
        ("inf", None, "bad-label"),
        ("1e400", None, "bad-label"),
        ("", None, "bad-label"),
        (" \n", None, "bad-label"),
        ("happy", None, "bad-label"),
        ("3 5", None, "bad-label"),
        ("\x00\x01\n\x7f", None, "bad-label"),
    ],
)
def test_odd_labels(tmp_path: Path, content: str, emotion: int | None, kind: str):
    add_sequence(tmp_path, "S005", "001", label=content)
    found = scan(tmp_path)
    assert found.records[0].emotion == emotion
    assert kinds(found) == [kind]
    assert found.findings[0].sequence == "S005_001"


@pytest.mark.parametrize(("second", "emotion"), [("3", 3), ("5", None), ("junk", None)])
def test_two_label_files(tmp_path: Path, second: str, emotion: int | None):
    add_sequence(tmp_path, "S005", "001", label="3.0")
    (tmp_path / "Emotion/S005/001/second_emotion.txt").write_text(second)
    found = scan(tmp_path)
    assert found.records[0].emotion == emotion
    assert "several-label-files" in kinds(found)
    outcome = "they agree" if emotion else "they differ, so the sequence counts as not labelled"
    assert found.findings[-1].text.endswith(outcome)


def test_label_named_after_another_sequence_is_not_used(tmp_path: Path):
    add_sequence(tmp_path, "S005", "001")
    touch(tmp_path / "Emotion/S005/001/S006_001_00000004_emotion.txt")
    (tmp_path / "Emotion/S005/001/S006_001_00000004_emotion.txt").write_text("3")
    found = scan(tmp_path)
    assert found.records[0].emotion is None
    assert kinds(found) == ["foreign-label"]


def test_labels_without_sequence_and_stray_files(tmp_path: Path):
    add_sequence(tmp_path, "S005", "001", label="1")
    for name in ("S999/001/S999_001_00000004_emotion.txt", "notes.txt", "S005/001/readme.md", "S005/001/.DS_Store"):
        touch(tmp_path / "Emotion" / name)
    found = scan(tmp_path)
    assert found.records[0].emotion == 1
    assert sorted(kinds(found)) == ["junk-file", "label-without-sequence", "label-without-sequence", "other-file"]


def test_unreadable_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    add_sequence(tmp_path, "S005", "001", label="1")
    opened = Path.open

    def refuse(path: Path, *args: str) -> object:
        if path.suffix == ".txt":
            raise PermissionError(13, "Permission denied")
        return opened(path, *args)

    monkeypatch.setattr(Path, "open", refuse)
    found = scan(tmp_path)
    assert found.records[0].emotion is None
    assert kinds(found) == ["unreadable-label"]
    assert "permission denied" in found.findings[0].text


def test_labels_folder_can_be_given(tmp_path: Path):
    add_sequence(tmp_path, "S005", "001", label="1")
    own = tmp_path / "own labels"
    touch(own / "S005/001/mine.txt")
    (own / "S005/001/mine.txt").write_text("7")
    assert scan(tmp_path).records[0].emotion == 1
    assert scan(tmp_path, labels=own).records[0].emotion == 7
    with pytest.raises(ValueError, match=r"labels must be a folder of label files, got .*nowhere"):
        scan(tmp_path, labels=tmp_path / "nowhere")


def test_without_label_folder_nothing_is_labelled(tmp_path: Path):
    add_sequence(tmp_path, "S005", "001")
    (tmp_path / "Emotion").rmdir()
    found = scan(tmp_path)
    assert found.records[0].emotion is None
    assert kinds(found) == ["no-labels"]


def test_root_that_is_not_ckplus(tmp_path: Path):
    touch(tmp_path / "happy/a.png")
    with pytest.raises(
        ValueError, match=r'root must hold a folder cohn-kanade-images, got .*layout "folders".*has happy'
    ):
        scan(tmp_path, layout="ckplus")
    add_sequence(tmp_path, "S005", "001")
    with pytest.raises(ValueError, match="give the folder above it as root"):
        scan(tmp_path / "cohn-kanade-images")
    with pytest.raises(FileNotFoundError, match=r"root must be an existing folder, got .*nowhere"):
        scan(tmp_path / "nowhere")
    with pytest.raises(NotADirectoryError, match="root must be a folder, got the file"):
        scan(tmp_path / "happy/a.png", layout="ckplus")
    with pytest.raises(
        ValueError, match="layout must be one of ckplus, folders, labelled-folders, table, masks, got 'mmi'"
    ):
        scan(tmp_path, layout="mmi")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="takes labels from folder names"):
        scan(tmp_path, layout="labelled-folders", labels=tmp_path)


def test_root_without_rights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(path: object) -> object:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "listdir", refuse)
    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError, match=r"cannot be read .permission denied.: check its rights"):
        scan(tmp_path, layout="folders")


def test_junk_is_left_out_and_said(tmp_path: Path):
    folder = add_sequence(tmp_path, "S005", "001")
    images = tmp_path / "cohn-kanade-images"
    touch(folder / ".DS_Store", folder / "Thumbs.db", folder / "._S005_001_00000001.png", folder / "notes.txt")
    touch(images / ".DS_Store", images / "__MACOSX/S005/001/x.png", images / ".hidden/001/y.png")
    found = scan(tmp_path)
    assert [record.n_frames for record in found.records] == [4]
    assert sorted(kinds(found)) == ["junk-file"] * 4 + ["junk-folder"] * 2 + ["other-file"]


def test_images_where_ckplus_has_none(tmp_path: Path):
    folder = add_sequence(tmp_path, "S005", "001")
    images = tmp_path / "cohn-kanade-images"
    touch(images / "stray.png", images / "S005/stray.png", folder / "deeper/stray.png")
    (images / "S006/001").mkdir(parents=True)
    found = scan(tmp_path)
    assert [record.sequence for record in found.records] == ["S005_001"]
    assert sorted(kinds(found)) == ["empty-sequence"] + ["misplaced-images"] * 3


def test_frame_oddities(tmp_path: Path):
    folder = add_sequence(tmp_path, "S005", "001", range(8, 12))
    touch(folder / "S005_001_00000020.png", folder / "S005_001_9.png", folder / "S005_001_00000010.jpg")
    touch(folder / "apex.png", folder / "S006_001_00000012.png")
    found = scan(tmp_path)
    names = [path.name for path in found.records[0].frames]
    assert [int(name.split("_")[2].split(".")[0]) for name in names] == [8, 9, 10, 11, 12, 20]
    assert "S005_001_00000009.png" in names
    assert "S005_001_00000010.png" in names
    assert sorted(kinds(found)) == ["duplicate-frame"] * 2 + ["foreign-frames", "frame-gap", "unnumbered-frame"]
    texts = " ".join(finding.text for finding in found.findings)
    assert "has frame 9 2 times" in texts
    assert "left out S005_001_9.png" in texts
    assert "left out S005_001_00000010.jpg" in texts
    assert "12 to 20" in texts


def test_single_frame(tmp_path: Path):
    add_sequence(tmp_path, "S005", "001", range(1, 2))
    found = scan(tmp_path)
    assert found.records[0].n_frames == 1
    assert kinds(found) == ["single-frame"]


def test_videos_in_ckplus_layout(tmp_path: Path):
    add_sequence(tmp_path, "S005", "001", label="1")
    images = tmp_path / "cohn-kanade-images"
    write_video(images / "S005/002.avi", 7)
    write_video(images / "S005/001/clip.avi")
    write_video(images / "clip.avi")
    (images / "S005/003.mp4").write_bytes(b"not a video")
    touch(images / "S005/004.mov")
    found = scan(tmp_path)
    first, second, *unreadable = found.records
    assert first.sequence == "S005_001"
    assert (second.sequence, second.subject, second.n_frames, second.frames) == ("S005_002", "S005", 7, ())
    assert second.video == images / "S005/002.avi"
    assert [(record.sequence, record.n_frames) for record in unreadable] == [("S005_003", 0), ("S005_004", 0)]
    assert sorted(kinds(found)) == ["misplaced-video"] * 2 + ["unreadable-video"] * 2


def test_odd_videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("empty", "forbidden", "noise", "still"):
        touch(tmp_path / f"{name}.avi")

    def count(path: Path) -> int:
        if path.stem == "forbidden":
            raise PermissionError(13, "Permission denied")
        if path.stem == "noise":
            raise ImageError(f"{path}: not a video that can be decoded")
        return {"empty": 0, "still": 1}[path.stem]

    monkeypatch.setattr(sequences, "count_video_frames", count)
    found = scan(tmp_path, layout="folders")
    assert [(record.sequence, record.n_frames) for record in found.records] == [
        ("empty", 0),
        ("forbidden", 0),
        ("noise", 0),
        ("still", 1),
    ]
    assert [finding.text.removeprefix(str(tmp_path)) for finding in found.findings] == [
        "/empty.avi holds no frame that decodes",
        "/forbidden.avi cannot be read (permission denied)",
        "/noise.avi: not a video that can be decoded",
        "/still.avi has one frame only: no motion to see",
    ]
    assert kinds(found) == ["unreadable-video"] * 3 + ["single-frame"]


def test_frames_without_numbers(tmp_path: Path):
    touch(tmp_path / "a/onset.png", tmp_path / "a/apex.png")
    found = scan(tmp_path, layout="folders")
    assert [path.name for path in found.records[0].frames] == ["apex.png", "onset.png"]
    assert kinds(found) == ["unnumbered-frames"]


def test_plain_folders(tmp_path: Path):
    touch(*(tmp_path / f"P001/Anger/{n}.jpg" for n in range(3)))
    touch(*(tmp_path / f"S010_002/{n}.tif" for n in range(3)))
    write_video(tmp_path / "P002/take 1.avi", 4)
    found = scan(tmp_path, layout="folders")
    assert [(record.sequence, record.subject, record.n_frames) for record in found.records] == [
        ("P001_Anger", "P001", 3),
        ("P002_take_1", "P002", 4),
        ("S010_002", "S010", 3),
    ]
    assert found.findings == []
    labels = tmp_path.with_name("labels of " + tmp_path.name)
    touch(labels / "P001/Anger/label.txt")
    (labels / "P001/Anger/label.txt").write_text("1")
    assert [record.emotion for record in scan(tmp_path, layout="folders", labels=labels).records] == [1, None, None]


def test_root_itself_may_be_a_sequence(tmp_path: Path):
    touch(tmp_path / "my clip/1.png", tmp_path / "my clip/2.png")
    (record,) = scan(tmp_path / "my clip", layout="folders").records
    assert (record.sequence, record.subject, record.n_frames) == ("my_clip", "my_clip", 2)


def test_labelled_folders(tmp_path: Path):
    for name in ("happy/S005_001", "Anger/S005_002", "3/S010_001", "07/S011", "9/S012", "bored/S013", "sad/x"):
        touch(tmp_path / name / "1.png", tmp_path / name / "2.png")
    touch(tmp_path / "1.png", tmp_path / "2.png")
    found = scan(tmp_path, layout="labelled-folders")
    by_id = {record.sequence: record for record in found.records}
    assert {name: record.emotion for name, record in by_id.items() if record.emotion is not None} == {
        "happy_S005_001": 5,
        "Anger_S005_002": 1,
        "3_S010_001": 3,
        "07_S011": 7,
        "sad_x": 6,
    }
    # As in a table, other labels are classes of their own.
    assert {record.label for record in found.records if record.emotion is None} == {"9", "bored", ""}
    assert by_id["happy_S005_001"].subject == by_id["Anger_S005_002"].subject == "S005"
    assert sorted(kinds(found)) == ["code-label"] * 2 + ["own-label"] * 2 + ["unknown-emotion"]
    assert any(
        finding.text.startswith("the folder name '3' is taken for CK+'s code of disgust") for finding in found.findings
    )


def test_pictures_in_emotion_folders_are_no_sequences(tmp_path: Path):
    touch(*(tmp_path / f"happy/Training_{number}.jpg" for number in range(101, 104)), tmp_path / "3/7.png")
    touch(tmp_path / "sad/S005/1.png", tmp_path / "sad/S005/2.png")
    found = scan(tmp_path)
    assert [(record.sequence, record.label) for record in found.records] == [("sad_S005", "sadness")]
    assert [(finding.kind, finding.path.name) for finding in found.findings] == [("stills", "3"), ("stills", "happy")]


@pytest.mark.parametrize(
    ("names", "layout"),
    [
        (["cohn-kanade-images/S005/001/1.png"], "ckplus"),
        (["happy/a/1.png", "Boredom/a/1.png", "anger/b/1.png"], "labelled-folders"),
        (["1/a/1.png", "3/b/1.png"], "folders"),
        (["S005/1.png", "happy/1.png"], "folders"),
        (["a.mp4"], "folders"),
        ([], "folders"),
    ],
)
def test_the_layout_is_guessed_from_what_is_there(tmp_path: Path, names: list[str], layout: str):
    touch(*(tmp_path / name for name in names))
    assert guess_layout(tmp_path)[0] == layout
    (tmp_path / "t.csv").touch()
    assert guess_layout(tmp_path / "t.csv")[0] == "table"


def test_a_guessed_layout_is_said_and_a_named_one_is_not(tmp_path: Path):
    touch(tmp_path / "boredom/a/1.png", tmp_path / "happy/a/1.png", tmp_path / "sad/a/1.png")
    guessed = CliRunner().invoke(app, ["check", str(tmp_path)])
    assert "layout labelled-folders: folders are named after emotions (happy, sad); --layout names" in guessed.stderr
    assert "boredom" in guessed.stdout
    assert "layout" not in CliRunner().invoke(app, ["check", str(tmp_path), "--layout", "folders"]).stderr


def test_videos_in_labelled_folders(tmp_path: Path):
    write_video(tmp_path / "happy/clip.avi")
    write_video(tmp_path / "clip.avi")
    found = scan(tmp_path, layout="labelled-folders")
    assert {record.sequence: record.emotion for record in found.records} == {"clip": None, "happy_clip": 5}
    assert [finding.text for finding in found.findings] == [
        "no folder above it names an emotion: 1 sequences count as not labelled"
    ]


def test_empty_folders_are_told_in_plain_layouts(tmp_path: Path):
    touch(tmp_path / "a/b/1.png", tmp_path / "a/b/2.png")
    (tmp_path / "a/c").mkdir()
    found = scan(tmp_path, layout="folders")
    assert [record.sequence for record in found.records] == ["a_b"]
    assert [(finding.kind, finding.path) for finding in found.findings] == [("empty-sequence", tmp_path / "a/c")]


def test_a_link_to_a_folder_of_the_set_counts_once_by_its_own_name(tmp_path: Path):
    touch(tmp_path / "b/1.png", tmp_path / "b/2.png")
    (tmp_path / "a").symlink_to(tmp_path / "b")
    found = scan(tmp_path, layout="folders")
    assert [record.sequence for record in found.records] == ["b"]
    assert kinds(found) == ["repeated-folder"]
    assert found.findings[0].text == f"{tmp_path / 'a'} is the folder {tmp_path / 'b'} again: left out"


@pytest.mark.parametrize("link", ["S004", "S006"])
def test_a_linked_subject_is_no_second_subject(tmp_path: Path, link: str):
    add_sequence(tmp_path, "S005", "001", label="3")
    images = tmp_path / "cohn-kanade-images"
    (images / link).symlink_to("S005")
    (tmp_path / "Emotion" / link).symlink_to("S005")
    found = scan(tmp_path)
    assert [(record.subject, record.sequence, record.emotion) for record in found.records] == [("S005", "S005_001", 3)]
    assert kinds(found) == ["repeated-folder", "repeated-folder"]


def test_a_folder_behind_two_ways_of_links_counts_once(tmp_path: Path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    touch(outside / "S005/1.png", outside / "S005/2.png", root / "z/1.png", root / "z/2.png")
    (root / "a").symlink_to(outside / "S005")
    (root / "b").symlink_to(outside)
    (outside / "home").symlink_to(root / "z")
    found = scan(root, layout="folders")
    assert [record.sequence for record in found.records] == ["a", "z"]
    assert kinds(found) == ["repeated-folder", "repeated-folder"]


def test_a_link_into_a_hidden_folder_is_followed(tmp_path: Path):
    """Tools that version data keep the files in hidden folders, and links in their places."""
    touch(tmp_path / ".kept/S005/1.png", tmp_path / ".kept/S005/2.png")
    (tmp_path / "S005").symlink_to(".kept/S005")
    found = scan(tmp_path, layout="folders")
    assert [record.sequence for record in found.records] == ["S005"]


@pytest.mark.parametrize("how", ["symbolic", "hard"])
def test_files_that_two_subjects_share_are_told(tmp_path: Path, how: str):
    folder = add_sequence(tmp_path, "S005", "001")
    other = tmp_path / "cohn-kanade-images/S006/001"
    other.mkdir(parents=True)
    for path in folder.iterdir():
        new = other / path.name.replace("S005", "S006")
        if how == "hard":
            new.hardlink_to(path)
        else:
            new.symlink_to(path)
    found = scan(tmp_path)
    assert [record.sequence for record in found.records] == ["S005_001", "S006_001"]
    assert kinds(found) == ["shared-file"]
    assert found.findings[0].sequence == "S006_001"
    assert found.findings[0].text.endswith("is also a file of S005_001, another subject: kept, as two people")
    (tmp_path / "cohn-kanade-images/S006").rename(tmp_path / "cohn-kanade-images/S005/002")
    folders = scan(tmp_path / "cohn-kanade-images", layout="folders")
    assert "shared-file" not in kinds(folders)


@pytest.mark.parametrize("layout", ["folders", "labelled-folders", "ckplus"])
@pytest.mark.parametrize("suffix", ["avif", "AVIF", "heic", "pgm", "jxl"])
def test_formats_that_are_not_read_are_named(tmp_path: Path, layout: layouts.Layout, suffix: str):
    place = tmp_path / "cohn-kanade-images/S005/001" if layout == "ckplus" else tmp_path / "happy/S005"
    touch(place / f"clip.{suffix}", place / "a.mat")
    found = scan(tmp_path, layout=layout)
    told = [finding for finding in found.findings if finding.kind == "unread-format"]
    assert [finding.path.name for finding in told] == [f"clip.{suffix}"]
    assert "is a format that is not read; convert it to " in told[0].text
    assert "other-file" in kinds(found)
    assert any("formats that are not read" in line for line in summarise(found.findings))


@pytest.mark.parametrize(
    "name",
    ["with space", "ünïcödé", "line\nbreak", "-rf", "..hidden", "a\\b", "tab\there", "'quoted\"", "$(x)", "a" * 200],
)
def test_ids_are_harmless_file_names(tmp_path: Path, name: str):
    touch(*(tmp_path / f"x{name}" / name.lstrip(".") / f"{name.strip('.')}{n}.png" for n in range(2)))
    (record,) = scan(tmp_path, layout="folders").records
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / record.sequence).touch()
    assert [path.name for path in (tmp_path / "store").iterdir()] == [record.sequence]
    assert record.sequence.isprintable()
    assert not record.sequence.startswith(("-", "."))
    assert record.n_frames == 2


@given(st.lists(st.text(min_size=1, max_size=150), min_size=1, max_size=4).map(tuple))
def test_any_path_gives_a_harmless_id(parts: tuple[str, ...]):
    name = safe_name(parts)
    assert Path(name).name == name
    assert name not in ("", ".", "..")
    assert not name.startswith(("-", "."))
    assert name.isprintable()
    assert 0 < len(name.encode()) <= 120
    assert safe_name((name,)) == name


def test_undecodable_file_names(tmp_path: Path):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    touch(*(folder / os.fsdecode(name) for name in (b"\xff1.png", b"\xff2.png", b"\xff.txt")))
    found = scan(tmp_path, layout="folders")
    assert found.records[0].sequence == "caf_"
    assert all(path.exists() for path in found.records[0].frames)
    assert found.findings[0].text.encode()


def test_ids_are_unique(tmp_path: Path):
    for name in ("a/b_c", "a_b/c", "A_B/C", "a b/c", "d"):
        touch(tmp_path / name / "1.png", tmp_path / name / "2.png")
    write_video(tmp_path / "d.avi")
    write_video(tmp_path / "d.mkv.avi")
    ids = [record.sequence for record in scan(tmp_path, layout="folders").records]
    assert len({name.casefold() for name in ids}) == 7
    assert "d.mkv" in ids
    # An id does not depend on what else is there beyond the collision itself.
    touch(tmp_path / "z/1.png")
    assert set(ids) < {record.sequence for record in scan(tmp_path, layout="folders").records}


def test_links(tmp_path: Path):
    root = tmp_path / "root"
    touch(root / "a/1.png", root / "a/2.png", tmp_path / "elsewhere/1.png", tmp_path / "elsewhere/2.png")
    (root / "a/up").symlink_to(root)
    (root / "b").symlink_to(tmp_path / "elsewhere")
    (root / "c").symlink_to(tmp_path / "elsewhere")
    (root / "self").symlink_to(root / "self")
    (root / "a/3.png").symlink_to(root / "gone.png")
    os.mkfifo(root / "a/4.png")
    found = scan(root, layout="folders")
    assert [record.sequence for record in found.records] == ["a", "b"]
    assert [record.n_frames for record in found.records] == [2, 2]
    assert sorted(kinds(found)) == ["broken-link", "broken-link", "not-a-file", "repeated-folder", "symlink-loop"]


def test_unreadable_and_vanishing_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("001", "002", "003"):
        add_sequence(tmp_path, "S005", name)
    real = os.scandir

    def trouble(path: object) -> object:
        if str(path).endswith("001"):
            raise PermissionError(13, "Permission denied", str(path))
        if str(path).endswith("002"):
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return real(path)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "scandir", trouble)
    found = scan(tmp_path)
    assert [record.sequence for record in found.records] == ["S005_003"]
    assert kinds(found) == ["unreadable-folder", "vanished-folder"]
    assert "permission denied" in found.findings[0].text


def test_scan_opens_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for number in range(20):
        add_sequence(tmp_path, f"S{number:03d}", "001", range(1, 101))
    monkeypatch.setattr(Path, "open", lambda *args: pytest.fail("a file was opened"))
    monkeypatch.setattr("builtins.open", lambda *args: pytest.fail("a file was opened"))
    assert sum(record.n_frames for record in scan(tmp_path).records) == 2000


def test_real_faces(real_faces: Path):
    found = scan(real_faces)
    assert len(found.records) == 19
    assert sum(record.n_frames for record in found.records) == 316
    assert {record.emotion for record in found.records} == {5, None}


def test_subjects():
    assert subject_of(("S005", "001")) == subject_of(("S005_001",)) == subject_of(("S005-001", "x")) == "S005"
    assert subject_of(("Mary Ann", "smile")) == "Mary_Ann"


def test_emotion_codes():
    assert list(EMOTIONS) == list(range(8))
    assert EMOTIONS[5] == "happy"


def test_a_folder_named_as_another_ones_hashed_id_gets_its_own(tmp_path: Path):
    touch(*(tmp_path / folder / "1.png" for folder in ("a/b", "a_b")))
    first = {record.sequence for record in scan(tmp_path, layout="folders").records}
    for _ in range(3):
        for name in sorted(first):
            touch(tmp_path / name / "1.png")
        found = [record.sequence for record in scan(tmp_path, layout="folders").records]
        assert len(set(found)) == len(found)
        assert len(found) == len(list(tmp_path.rglob("1.png")))
        first = set(found)


def test_many_gaps_are_counted(tmp_path: Path):
    add_sequence(tmp_path, "S005", "001", frames=[1, 2, 3, 4, 5, 6, 7, 9, 11, 13, 15, 17])
    assert "7 to 9, 9 to 11, 11 to 13, 13 to 15, 15 to 17: kept" in scan(tmp_path).findings[-1].text
    add_sequence(tmp_path, "S005", "002", frames=[*range(9), 9, 11, 13, 15, 17, 19, 21, 23])
    assert "17 to 19 and 2 more: kept" in scan(tmp_path).findings[-1].text


def test_in_plain_folders_any_frame_name_will_do(tmp_path: Path):
    touch(tmp_path / "clip" / "S005_001_00000001.png", tmp_path / "clip" / "S005_001_00000002.png")
    assert scan(tmp_path, layout="folders").findings == []


def test_what_a_root_holds_instead_is_named(tmp_path: Path):
    for name in "abcde":
        touch(tmp_path / name)
    with pytest.raises(ValueError, match=r"\(it has a, b, c, d, e\)"):
        scan(tmp_path, layout="ckplus")
    touch(tmp_path / "f")
    with pytest.raises(ValueError, match=r"\(it has a, b, c, d, e, \.\.\.\)"):
        scan(tmp_path, layout="ckplus")


@pytest.mark.parametrize(
    "words",
    [["predict"], ["train", "other", "-o", "run"], ["check"], ["check", "--layout", "table"], ["detect", "-o", "x"]],
)
def test_a_link_to_itself_ends_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]):
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    result = CliRunner().invoke(app, [words[0], "loop", *words[1:]])
    assert result.exit_code == 2
    assert "\n" not in result.stderr.strip()
    assert "loop" in result.stderr
