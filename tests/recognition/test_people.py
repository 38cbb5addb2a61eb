"""Several people in one clip: who is who, and what each one shows."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure
from typer.testing import CliRunner

import fastck
from fastck.cli import app
from fastck.dataset.clip import clip_record
from fastck.faces.box import FaceBox
from fastck.faces.people import LOST, People
from fastck.faces.units import UnitReader
from fastck.pages.palette import bgr, person_colour
from fastck.recogniser import bundled
from fastck.recognition.clip import read_frames, recognise, recognise_footage
from fastck.recognition.footage import frames_in_memory
from fastck.recognition.judge import judge_readings
from fastck.recognition.windows import answered_windows
from fastck.training.report import plots
from fastck.views.prediction_plot import plot_prediction
from fastck.views.prediction_video import PANEL, iter_pictures
from tests.helpers.acted import SIZE, acted


@pytest.fixture(scope="module")
def happy() -> list[np.ndarray]:
    return acted(1, "happy", 16)


@pytest.fixture(scope="module")
def surprised() -> list[np.ndarray]:
    return acted(2, "surprise", 16)


def side_by_side(left: Sequence[np.ndarray], right: Sequence[np.ndarray]) -> np.ndarray:
    return np.stack([np.hstack(pair) for pair in zip(left, right, strict=True)])


def larger(frames: Sequence[np.ndarray], factor: float) -> list[np.ndarray]:
    """Enlarge the middle of frames."""
    size = round(SIZE * factor)
    first = (size - SIZE) // 2
    return [cv2.resize(frame, (size, size))[first:, first:][:SIZE, :SIZE] for frame in frames]


def test_two_people_side_by_side_have_an_answer_each(happy: list[np.ndarray], surprised: list[np.ndarray]):
    prediction = fastck.predict(side_by_side(happy, larger(surprised, 1.2)))
    assert [one.emotion for one in prediction.people] == ["surprise", "happy"]
    assert [one.person for one in prediction.people] == [1, 2]
    frames = prediction.frames
    assert len(frames) == 32
    # Person 1, the larger, is on the right.
    assert (frames["left"].ge(SIZE) == frames["person"].eq(1)).all()
    assert (frames["frame"].to_numpy() == np.repeat(np.arange(1, 17), 2)).all()
    one, two = (frames[frames["person"] == number] for number in (1, 2))
    assert ((one["bottom"] - one["top"]).mean()) > (two["bottom"] - two["top"]).mean()


def test_the_largest_person_is_answered_as_before(happy: list[np.ndarray], surprised: list[np.ndarray]):
    clip = side_by_side(happy, larger(surprised, 1.2))
    prediction = fastck.predict(clip, person="largest")
    look = UnitReader()
    readings, _, _ = read_frames(iter(clip), bundled(), look=look)
    judged = judge_readings(readings, bundled(), look.model)
    windows, strongest = answered_windows(judged.windows, bundled(), judged.answering)
    assert prediction.windows == windows
    assert (prediction.strongest, prediction.others) == (strongest, ())
    # One person alone has the same answer either way.
    alone = np.stack(happy)
    assert fastck.predict(alone).as_dict() == fastck.predict(alone, person="largest").as_dict()


def box(left: int, size: int = 100) -> FaceBox:
    return FaceBox(50, left, 50 + size, left + size)


def linked(pictures: Sequence[Sequence[FaceBox]]) -> list[dict[int, int]]:
    """Link boxes; return each frame's left edges by person."""
    people = People()
    return [
        {person: face.left for person, (face, _) in people.push([(one, 1.0) for one in faces]).items()}
        for faces in pictures
    ]


@pytest.mark.parametrize("hidden", [0, 1])
def test_two_who_cross_stay_who_they_are(hidden: int):
    tracks = [[20 * step for step in range(31)], [600 - 20 * step for step in range(31)]]
    pictures = []
    for step, pair in enumerate(zip(*tracks, strict=True)):
        # The search gives one of two faces that overlap much.
        shown = [
            box(left + step % 3) for place, left in enumerate(pair) if abs(pair[0] - pair[1]) > 60 or place != hidden
        ]
        pictures.append(shown if step % 2 else shown[::-1])
    found = linked(pictures)
    who = {found[0][person]: person for person in found[0]}
    assert len(who) == 2
    assert abs(found[-1][who[0]] - 600) <= 2
    assert abs(found[-1][who[600]] - 0) <= 2
    assert set().union(*found) == {0, 1}


def test_one_who_comes_back_is_a_new_person():
    still, other = box(400), box(20)
    for absent, people in ((LOST - 1, {0, 1}), (LOST, {0, 1, 2})):
        pictures = [[still, other]] * 5 + [[still]] * absent + [[still, other]] * 5
        assert set().union(*linked(pictures)) == people


def test_a_face_alone_at_a_new_place_has_moved():
    assert set().union(*linked([[box(0)], [box(300)], [], [box(20)]])) == {0}
    assert set().union(*linked([[box(0), box(600)], [box(300), box(600)]])) == {0, 1, 2}


def test_one_who_left_and_came_back_is_said_so(happy: list[np.ndarray]):
    empty = np.full((SIZE, SIZE), 128, np.uint8)
    prediction = fastck.predict([*happy, *[empty] * LOST, *happy])
    assert [one.emotion for one in prediction.people] == ["happy", "happy"]
    (note,) = prediction.others[0].notes if prediction.others[0].notes else prediction.notes
    assert f"comes in frame {len(happy) + LOST + 1}, after person" in note
    assert "identity is not computed" in note


def test_a_face_in_a_picture_never_moves(happy: list[np.ndarray], surprised: list[np.ndarray]):
    rng = np.random.default_rng(0)
    wall = [np.clip(surprised[-1] + rng.normal(0, 2, surprised[0].shape), 0, 255).astype(np.uint8) for _ in surprised]
    rest = [surprised[0]] * len(happy)
    prediction = fastck.predict(side_by_side(larger(happy, 1.2), wall))
    # What never rests is judged by its shape; flow, which sees nothing move, may leave it unsure.
    likely = [max(one.probabilities, key=one.probabilities.__getitem__) for one in prediction.people]
    assert likely == ["happy", "surprise"]
    assert prediction.others[0].notes[0] == "person 2 never moves: it may be a picture"
    assert fastck.predict(rest).notes == ()


def test_flicker_is_no_person(happy: list[np.ndarray], surprised: list[np.ndarray]):
    empty = np.full((SIZE, SIZE), 128, np.uint8)
    beside = [surprised[0] if number in (5, 6) else empty for number in range(len(happy))]
    prediction = fastck.predict(side_by_side(happy, beside))
    assert prediction.people == (prediction,)
    assert "1 more in fewer than 3 frames" in prediction.notes[0]
    assert set(prediction.frames["person"]) == {1, 2}


def test_each_person_has_a_line_and_a_row(happy: list[np.ndarray], surprised: list[np.ndarray], tmp_path: Path):
    clip = tmp_path / "two"
    clip.mkdir()
    for number, frame in enumerate(side_by_side(happy, larger(surprised, 1.2)), start=1):
        cv2.imwrite(str(clip / f"{number:03d}.png"), frame)
    files = ["--json", tmp_path / "p.json", "--csv", tmp_path / "p.csv", "--frames", tmp_path / "f.parquet"]
    command = ["predict", clip, *files, "--fps", 10, "--video", tmp_path / "v.mp4", "--plot", tmp_path / "p.png"]
    result = CliRunner().invoke(app, list(map(str, command)), env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert [line.split()[:3] for line in lines[:2]] == [["two", "#1", "surprise"], ["two", "#2", "happy"]]
    assert all(len(line) <= 80 for line in lines)
    rows = json.loads((tmp_path / "p.json").read_text())
    assert [(row["input"], row["person"], row["emotion"]) for row in rows] == [
        (str(clip), 1, "surprise"),
        (str(clip), 2, "happy"),
    ]
    table = list(csv.DictReader((tmp_path / "p.csv").open()))
    assert {(row["person"], row["emotion"]) for row in table} == {("1", "surprise"), ("2", "happy")}
    import pandas as pd

    frames = pd.read_parquet(tmp_path / "f.parquet")
    expected = fastck.predict(clip, fps=10).frames
    pd.testing.assert_frame_equal(frames, expected, check_dtype=False)
    assert np.allclose(frames["seconds"], (frames["frame"] - 1) / 10)


def test_unsure_is_one_word(tmp_path: Path):
    from dataclasses import replace

    clip = fastck.sample() / "cohn-kanade-images/L008/001"
    prediction = fastck.predict(clip)
    windows = tuple(window._replace(emotion=None) for window in prediction.windows)
    prediction = replace(prediction, unsure_below=2.0, windows=windows)
    assert prediction.emotion is None
    assert prediction.as_dict()["emotion"] == prediction.as_dict()["windows"][0]["emotion"] == "unsure"
    assert prediction.to_frame()["emotion"].tolist() == ["unsure"]


def test_frames_in_memory_are_checked():
    with pytest.raises(ValueError, match=r"must have shape \(T, H, W\)"):
        frames_in_memory(np.zeros((4, 4), np.uint8))
    with pytest.raises(TypeError, match="uint8"):
        recognise_footage(frames_in_memory([np.zeros((4, 4))]))


def test_detect_writes_seconds_and_people(happy: list[np.ndarray], surprised: list[np.ndarray], tmp_path: Path):
    import pandas as pd

    clip = tmp_path / "two"
    clip.mkdir()
    for number, frame in enumerate(side_by_side(happy, larger(surprised, 1.2)), start=1):
        cv2.imwrite(str(clip / f"{number:03d}.png"), frame)
    photo = next((fastck.sample() / "cohn-kanade-images/L008/001").glob("*.png"))
    command = ["detect", clip, photo, "--upsample", 0, "--frames", tmp_path / "f.csv", "--fps", 10]
    result = CliRunner().invoke(app, list(map(str, command)), env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    table = pd.read_csv(tmp_path / "f.csv")
    names = ["input", "frame", "seconds", "person", "top", "left", "bottom", "right", "score"]
    assert table.columns.tolist() == names
    assert set(table["input"]) == {str(clip), str(photo)}
    two = table[table["input"] == str(clip)].drop(columns="input").reset_index(drop=True)
    predicted = fastck.predict(clip, fps=10).frames
    # What predict searches is the same, so that the tables can be joined.
    pd.testing.assert_frame_equal(two, predicted[names[1:]], check_dtype=False, rtol=1e-4)
    result = CliRunner().invoke(app, ["detect", str(clip)], env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert "nothing to write" in result.stderr


def test_a_search_tells_how_far_it_is_within_a_sequence(happy: list[np.ndarray], tmp_path: Path):
    from fastck.dataset.clip import clip_record
    from fastck.pipeline.detect import find_all_faces

    clip = tmp_path / "long"
    clip.mkdir()
    for number in range(200):
        cv2.imwrite(str(clip / f"{number:03d}.png"), np.tile(happy[number % len(happy)], (2, 2)))
    told: list[int] = []
    (result,) = find_all_faces([clip_record(clip)], n_jobs=1, on_progress=lambda progress: told.append(progress.done))
    assert result.n_frames == 200
    assert told[-1] == 200
    assert told == sorted(told)
    assert any(0 < done < 200 for done in told)
    # A receiver that has enough ends the search.
    search = find_all_faces([clip_record(clip)] * 3, n_jobs=1)
    next(search)
    search.close()


def test_every_person_who_is_answered_for_is_drawn(
    happy: list[np.ndarray], surprised: list[np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "clip"
    folder.mkdir()
    for number, gray in enumerate(side_by_side(happy, larger(surprised, 1.2)), start=1):
        cv2.imwrite(str(folder / f"{number:04d}.png"), gray)
    record = clip_record(folder)
    prediction = recognise(record, keep_flow=True)
    one, two = prediction.people
    pictures = list(iter_pictures(prediction, record))
    height, width = pictures[-1].shape[:2]
    # Both panels beside the frame, one beside the other: it is as high as one of them.
    assert width - 2 * PANEL == 2 * SIZE
    for person in (one, two):
        reading, colour = person.readings[-1], bgr(person_colour(person.person))
        top, left = reading.box[:2]
        assert tuple(pictures[-1][top + 20, left]) == colour
        bars = pictures[-1][:, 2 * SIZE + (person.person - 1) * PANEL :][:, :PANEL]
        # The mark of the person, and bars whose lengths add up to one.
        assert np.count_nonzero((bars == colour).all(axis=2)) > height
    drawn: list[Figure] = []
    monkeypatch.setattr(plots, "save_figure", lambda figure, path: drawn.append(figure))
    plot_prediction(prediction, tmp_path / "p.png", record=record)
    titles = [text.get_text() for block in drawn[0].subfigs for text in [block._suptitle]]
    assert titles == ["person 1: surprise", "person 2: happy"]
    for person, block in zip((one, two), drawn[0].subfigs, strict=True):
        chances = block.subfigs[0].axes[-1]
        shares = np.array([reading.probabilities for reading in person.readings])
        np.testing.assert_array_equal([line.get_ydata() for line in chances.lines], shares.T)
