"""What `fastck check` finds out and how it shows it."""

import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

import fastck
from fastck.cli import app
from fastck.dataset.check import CKPLUS_EMOTIONS, CKPLUS_TOTALS, CheckReport, check
from fastck.messages import Progress
from fastck.pipeline.detect import count_people
from fastck.pipeline.dispatch import preprocess
from fastck.views.terminal import render_check


def add_sequence(
    root: Path, sequence: str, n_frames: int, label: int | None = None, shape: tuple[int, ...] = (8, 9)
) -> Path:
    subject, number = sequence.split("_")
    folder = root / "cohn-kanade-images" / subject / number
    folder.mkdir(parents=True)
    content = cv2.imencode(".png", np.zeros(shape, np.uint8))[1].tobytes()
    for n in range(n_frames):
        (folder / f"{sequence}_{n + 1:08d}.png").write_bytes(content)
    labels = root / "Emotion" / subject / number
    labels.mkdir(parents=True)
    if label is not None:
        (labels / f"{sequence}_{n_frames:08d}_emotion.txt").write_text(f"   {label:.7e}\n")
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    add_sequence(tmp_path, "S005_001", 4, 3)
    add_sequence(tmp_path, "S005_002", 40, 5)
    add_sequence(tmp_path, "S010_001", 41)
    add_sequence(tmp_path, "S011_001", 1, 5)
    return tmp_path


def shown(report: CheckReport, width: int = 160) -> str:
    console = Console(width=width, record=True, quiet=False, file=None, force_terminal=False)
    with console.capture() as capture:
        console.print(render_check(report))
    return capture.get()


def test_counts(root: Path):
    report = check(root)
    assert (report.n_sequences, report.n_frames, report.n_labelled, report.n_videos) == (4, 86, 3, 0)
    assert report.subjects == {"S005": 2, "S010": 1, "S011": 1}
    assert report.emotions == {0: 0, 1: 0, 2: 0, 3: 1, 4: 0, 5: 2, 6: 0, 7: 0, None: 1}
    assert report.left_out == ("S011_001",)
    assert [group.kind for group in report.groups] == ["single-frame", "empty-label-folder"]
    assert report.sizes is None


def test_lengths_against_the_window(root: Path):
    lengths = check(root).lengths
    assert lengths is not None
    assert (lengths.shortest, lengths.longest, lengths.mean, lengths.median) == (1, 41, 21.5, 22)
    assert (lengths.padded, lengths.full, lengths.cut) == (2, 1, 1)
    shorter = check(root, timesteps=3).lengths
    assert shorter is not None
    assert (shorter.padded, shorter.full, shorter.cut) == (1, 1, 2)
    with pytest.raises(ValueError, match="timesteps must be at least 1, got 0"):
        check(root, timesteps=0)


def test_comparison_with_ckplus(root: Path):
    assert sum(CKPLUS_EMOTIONS.values()) == CKPLUS_TOTALS["labelled sequences"]
    rows = {what: (expected, here) for what, expected, here in check(root).comparison}
    assert rows["sequences"] == (593, 4)
    assert rows["labelled subjects"] == (118, 2)
    assert rows["happy"] == (69, 2)
    assert check(root / "cohn-kanade-images", layout="folders").comparison == ()


def test_deep_check_looks_inside(root: Path):
    folder = root / "cohn-kanade-images/S005/002"
    (folder / "S005_002_00000007.png").write_bytes(b"no image")
    (folder / "S005_002_00000008.png").write_bytes((folder / "S005_002_00000009.png").read_bytes()[:-4])
    (folder / "S005_002_00000009.png").unlink()
    (folder / "S005_002_00000009.png").mkdir()
    cv2.imwrite(str(root / "cohn-kanade-images/S005/001/S005_001_00000002.png"), np.zeros((8, 9, 3), np.uint8))
    cv2.imwrite(str(root / "cohn-kanade-images/S010/001/S010_001_00000002.png"), np.zeros((8, 10), np.uint8))
    seen: list[tuple[int, int]] = []
    report = check(root, deep=True, on_progress=lambda step: seen.append((step.done, step.total)))
    groups = {group.kind: [finding.sequence for finding in group.findings] for group in report.groups}
    assert groups["unreadable-image"] == ["S005_002"] * 2
    assert groups["mixed-colour"] == ["S005_001"]
    assert groups["mixed-sizes"] == ["S010_001"]
    assert report.left_out == ("S005_002", "S010_001", "S011_001")
    assert report.sizes == {(9, 8): 82, (10, 8): 1}
    assert seen[-1] == (85, 85)


def test_deep_check_names_the_sequences_that_show_several_people(tmp_path: Path):
    sample = fastck.sample() / "cohn-kanade-images"
    one, other = (sorted((sample / name).glob("*.png")) for name in ("L032/001", "L008/001"))
    for name, people in (("alone", [one]), ("both", [one, other])):
        folder = tmp_path / "faces" / "S001" / name
        folder.mkdir(parents=True)
        for number, paths in enumerate(zip(*people, strict=True), start=1):
            pictures = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in paths]
            cv2.imwrite(str(folder / f"{number:03d}.png"), np.hstack(pictures))
    both = [cv2.imread(str(path)) for path in sorted(folder.iterdir())]
    video = cv2.VideoWriter(str(folder.parent / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, both[0].shape[1::-1])
    for picture in both:
        video.write(picture)
    video.release()
    command = ["check", str(tmp_path / "faces"), "--layout", "folders"]
    assert "people" not in CliRunner().invoke(app, command).output
    result = CliRunner().invoke(app, [*command, "--deep"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert re.search(r" 2 │ sequences that show several people", result.output)
    assert "S001/both shows 2 people" in result.output
    assert "S001/clip.avi shows 2 people" in result.output
    assert "alone shows" not in result.output
    seen: list[Progress] = []
    check(tmp_path / "faces", layout="folders", deep=True, count_people=count_people, on_progress=seen.append)
    assert (seen[-1].done, seen[-1].total) == (15, 15)
    store = preprocess(tmp_path / "faces", tmp_path / "store", layout="folders", n_jobs=1, box_cache=False)
    assert store.table.set_index("sequence")["n_people"].to_dict() == {"S001_alone": 1, "S001_both": 2, "S001_clip": 2}


def test_deep_check_survives_a_file_that_vanishes(root: Path):
    path = root / "cohn-kanade-images/S010/001/S010_001_00000041.png"
    report = check(root, deep=True, on_progress=lambda _: path.unlink(missing_ok=True))
    (group,) = (group for group in report.groups if group.kind == "unreadable-image")
    assert group.findings[0].text == f"{path}: no such file or directory"


def test_view(root: Path):
    text = shown(check(root, deep=True))
    assert "3 of 4 sequences can be preprocessed" in text
    assert "would be quarantined: S011_001" in text
    assert "1 to 41 frames" in text
    assert "86 of 9 x 8" in text
    assert next(line for line in text.splitlines() if "593" in line).split()[1:4:2] == ["sequences", "4"]
    assert "This is not a complete CK+." in text


def test_view_says_in_what_ckplus_differs(root: Path):
    report = check(root)
    one_off = tuple((what, n, n - (what == "fear")) for what, n, _ in report.comparison)
    assert "Unlike a complete CK+ in: fear." in shown(replace(report, comparison=one_off), width=300)
    equal = tuple((what, n, n) for what, n, _ in report.comparison)
    assert "The counts are those of a complete CK+." in shown(replace(report, comparison=equal), width=300)


def test_many_findings_are_summarised(root: Path):
    for n in range(1000):
        (root / "cohn-kanade-images" / f".junk{n}").touch()
    text = shown(check(root))
    assert "and 997 more" in text
    assert len(text.splitlines()) < 60


def test_view_of_nothing(tmp_path: Path):
    (tmp_path / "cohn-kanade-images").mkdir()
    (tmp_path / "Emotion").mkdir()
    report = check(tmp_path)
    assert report.lengths is None
    assert "0 of 0 sequences" in shown(report)
    assert "This is not a complete CK+" in shown(report)


def test_view_shows_names_as_they_are(tmp_path: Path):
    """Square brackets are markup to rich, and a line break would break the table."""
    folder = tmp_path / "[red]a\nb"
    folder.mkdir()
    (folder / "1.png").touch()
    text = shown(check(tmp_path, layout="folders"), width=400)
    assert "[red]a\\nb has one frame only" in text


def test_labels_of_a_table_are_counted_by_name(sample: Path, tmp_path: Path):
    rows = [("L008", "awe"), ("L032", "[bold]joy"), ("L063", "Joy")]
    lines = [f"{sample}/cohn-kanade-images/{subject}/001,{subject},{label}" for subject, label in rows]
    table = tmp_path / "clips.csv"
    table.write_text("\n".join(["path,subject,label", *lines, ""]))
    report = check(table, layout="table")
    assert report.other_labels == {"[bold]joy": 1, "awe": 1}
    assert (report.emotions[5], report.emotions[None], report.n_labelled) == (1, 0, 3)
    text = shown(report)
    for name in ("awe", "[bold]joy", "happy"):
        assert re.search(rf"{re.escape(name)} +│ +1 ", text), text


def test_sample(sample: Path):
    report = check(sample, deep=True)
    assert report.groups == ()
    assert report.sizes == {(640, 490): 15}
    assert (report.n_sequences, report.n_labelled, len(report.subjects)) == (3, 3, 3)


def test_real_faces(real_faces: Path):
    report = check(real_faces, deep=True)
    assert report.groups == ()
    assert report.sizes == {(640, 490): 196, (640, 360): 72, (640, 480): 48}
