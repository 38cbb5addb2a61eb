"""Subjects and labels out of file names: named patterns on replicas of the sets' names, and one's own expressions."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from fastck.cli import app
from fastck.dataset.layouts import scan
from fastck.dataset.patterns import Patterns
from fastck.store.reader import open_store


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def found(root: Path, patterns: Patterns, **options: str) -> list[tuple[str, str, str, int | None, int]]:
    records = scan(root, layout=options.get("layout", "folders"), patterns=patterns).records  # type: ignore[arg-type]
    return [(record.sequence, record.subject, record.label, record.emotion, record.n_frames) for record in records]


@pytest.mark.parametrize(
    ("pattern", "path", "subject", "label"),
    [
        ("ravdess", "Actor_01/01-01-03-01-02-01-01.mp4", "01", "happy"),
        ("ravdess", "02-01-02-01-02-01-24/frame_001.png", "24", "calm"),
        ("RAVDESS", "01-01-08-01-02-01-12.mp4", "12", "surprise"),
        ("crema-d", "VideoFlash/1001_DFA_ANG_XX.flv", "1001", "anger"),
        ("crema-d", "1091_WSI_SAD_HI/7.png", "1091", "sadness"),
        ("ck+48", "contempt/S138_008_00000009.png", "S138", "contempt"),
    ],
)
def test_named_patterns(pattern: str, path: str, subject: str, label: str):
    named = Patterns(subject=pattern, label=pattern).read(path)
    assert named is not None
    assert (named.subject, named.label) == (subject, label)
    assert Patterns(subject=pattern).read("Actor_01/someone.mp4") is None


def test_flat_folders_of_frames_are_told_apart_by_subject_and_label(tmp_path: Path):
    touch(
        tmp_path,
        *(f"{name}_{label}_{n:03d}.png" for name in ("ann", "bob") for label in ("sad", "3") for n in (1, 2, 3)),
    )
    touch(tmp_path, "cover.png")
    patterns = Patterns(subject="^([a-z]+)_", label="_(?P<label>[^_]+)_")
    assert found(tmp_path, patterns) == [
        ("ann_3", "ann", "3", None, 3),
        ("ann_sadness", "ann", "sadness", 6, 3),
        ("bob_3", "bob", "3", None, 3),
        ("bob_sadness", "bob", "sadness", 6, 3),
    ]
    assert [finding.path.name for finding in scan(tmp_path, patterns=patterns).findings] == ["cover.png"]


def test_ck48_in_its_folders(tmp_path: Path):
    touch(tmp_path, *(f"happy/S010_00{sequence}_0000000{n}.png" for sequence in (2, 6) for n in (7, 8, 9)))
    touch(tmp_path, "fear/S005_001_00000010.png", "fear/S005_001_00000011.png")
    expected = [("S005", "fear", 4, 2), ("S010", "happy", 5, 3), ("S010", "happy", 5, 3)]
    assert [row[1:] for row in found(tmp_path, Patterns(subject="ck+48"), layout="labelled-folders")] == expected
    both = found(tmp_path, Patterns(subject="ck+48", label="ck+48"))
    assert [row[1:] for row in both] == expected
    assert [row[0] for row in both] == ["fear_S005_001", "happy_S010_002", "happy_S010_006"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"subject": "("}, "subject pattern must be a regular expression or one of ravdess, crema-d, ck.48: "),
        ({"label": "abc"}, r"label pattern must have a group, such as .*, got 'abc'"),
    ],
)
def test_patterns_that_are_none(options: dict[str, str], message: str):
    with pytest.raises(ValueError, match=message):
        Patterns(**options)


def test_a_table_takes_no_patterns(tmp_path: Path):
    with pytest.raises(ValueError, match="patterns are for layouts"):
        scan(tmp_path, layout="table", patterns=Patterns(subject="(a)"))


def test_frames_that_are_cut_to_the_face_need_no_search(sample: Path, tmp_path: Path):
    for folder in sorted((sample / "cohn-kanade-images").glob("*/*")):
        for path in folder.iterdir():
            gray = np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
            target = tmp_path / "set/happy" / f"S{folder.parent.name[1:]}_001_{path.stem[-8:]}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            # Not one of these tiny pictures has a face that a search finds.
            cv2.imwrite(str(target), cv2.resize(gray[120:400, 180:460], (48, 48)))
    command = ["preprocess", str(tmp_path / "set"), str(tmp_path / "store"), "--subject-pattern", "ck+48", "--cropped"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    store = open_store(tmp_path / "store")
    assert (len(store.table), len(store.quarantine)) == (3, 0)
    assert set(store.table["label"]) == {"happy"}
    assert np.all(np.asarray(store.boxes) == [0, 0, 48, 48])
    assert store.table["n_missed"].sum() == 0
    refused = CliRunner().invoke(app, [*command[:2], str(tmp_path / "other"), "--cropped", "--boxes", "b.csv"])
    assert "--cropped takes whole frames for boxes: leave --boxes out" in refused.stderr
