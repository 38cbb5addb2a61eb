"""How many people a clip shows: counted in its first frame with a face, against dlib's own full search."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import fastck
from fastck.cli import app
from fastck.config import WHOLE_FRAME, FaceConfig
from fastck.faces.detector import LARGE, Detector, FaceDetector
from fastck.faces.finder import find_faces
from fastck.faces.tracking import TrackedDetector
from fastck.images.image import read_gray

SMILES = sorted((fastck.sample() / "cohn-kanade-images").glob("*/*"))


def beside(first: np.ndarray, second: np.ndarray, factor: float) -> np.ndarray:
    """Return two faces in one frame, the second one shrunk."""
    small = cv2.resize(second[90:440, 150:490], None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    right = np.full((first.shape[0], small.shape[1]), 128, np.uint8)
    right[20 : 20 + small.shape[0]] = small
    return np.hstack([first[:, 100:540], right])


@pytest.fixture(scope="module")
def grays() -> list[np.ndarray]:
    return [read_gray(min(folder.glob("*.png"))) for folder in SMILES]


@pytest.mark.parametrize(("factor", "expected"), [(1.0, 2), (0.7, 2), (0.6, 2), (0.4, 1), (0.3, 1)])
@pytest.mark.parametrize("upsample", [0, 1])
def test_faces_half_as_wide_count(grays: list[np.ndarray], factor: float, expected: int, upsample: int):
    frame = beside(grays[0], grays[1], factor)
    tracked = TrackedDetector(upsample)
    ((box, _),) = tracked.with_scores(frame)
    areas = [face.area for face in Detector(upsample)(frame)]
    assert tracked.n_people() == sum(area >= LARGE * max(areas) for area in areas) == expected
    compiled = FaceDetector(upsample)
    compiled(frame)
    assert compiled.n_people() == expected
    # What was counted changes no later box.
    assert tracked.with_scores(frame)[0][0] == box
    assert tracked(grays[2]) == TrackedDetector(upsample)(grays[2])


def test_the_first_frame_with_a_face_is_counted_once(grays: list[np.ndarray]):
    two, one, empty = beside(grays[0], grays[1], 1.0), beside(grays[0], grays[1], 0.2), np.zeros((490, 780), np.uint8)
    for frames, expected in (([empty, two, one], [2]), ([one, two], [1]), ([empty], [])):
        for crop in ("sequence", "frame"):
            people: list[int] = []
            config = FaceConfig(crop=crop, upsample=(0, 1))
            found = find_faces(frames, config, people)
            assert people == expected
            assert found == find_faces(frames, config)
    people = []
    find_faces([two], FaceConfig(boxes=WHOLE_FRAME), people)
    assert people == []


@pytest.fixture
def two_in_one(grays: list[np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FASTCK_CACHE_DIR", str(tmp_path / "cache"))
    for name, factor in (("ann", 1.0), ("bob", 0.2)):
        folder = tmp_path / "set" / name / "clip"
        folder.mkdir(parents=True)
        for number, gray in enumerate((grays[0], np.roll(grays[0], 2, axis=0)), start=1):
            cv2.imwrite(str(folder / f"{number:03d}.png"), beside(gray, grays[1], factor))
    return tmp_path / "set"


def test_a_store_says_which_clips_show_several(two_in_one: Path, tmp_path: Path):
    contents = []
    # Searched; from kept detections, by one worker and by two processes.
    for name, jobs in (("new", "1"), ("kept", "1"), ("again", "2")):
        store = tmp_path / name
        result = CliRunner().invoke(
            app, ["preprocess", str(two_in_one), str(store), "--jobs", jobs], env={"COLUMNS": "200"}
        )
        assert result.exit_code == 0, result.output
        assert "1 clip shows more than one person" in result.stdout
        table = fastck.open_store(store).table
        assert dict(zip(table["subject"], table["n_people"], strict=True)) == {"ann": 2, "bob": 1}
        contents.append((store / "sequences.csv").read_bytes())
    assert len(set(contents)) == 1
    told = CliRunner().invoke(app, ["info", str(store)], env={"COLUMNS": "200"})
    assert "1 clip shows more than one person: the largest face was taken" in told.stdout


def test_a_store_without_the_column_knows_nothing(two_in_one: Path, tmp_path: Path):
    store = fastck.preprocess(two_in_one, tmp_path / "store")
    path = store.path / "sequences.csv"
    pd.read_csv(path).drop(columns="n_people").to_csv(path, index=False)
    assert fastck.open_store(store.path).table["n_people"].tolist() == [0, 0]
