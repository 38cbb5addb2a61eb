"""Clips and terminals at the edges: an answer that is there is never lost."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from fastck.cli import app
from fastck.cli.console import encodable
from fastck.faces.box import FaceBox
from fastck.faces.units import bundled_units
from fastck.recogniser import BUNDLED, Recogniser, blas, bundled
from fastck.recognition.clip import recognise
from fastck.recognition.follow import Reading
from fastck.recognition.inputs import Answer
from fastck.recognition.judge import MOST, Judged, judge_readings
from fastck.recognition.live.sources import open_source
from fastck.recognition.person import Person
from fastck.recognition.segments import LOST, Moment
from fastck.recognition.windows import answered_windows, motion_windows, near_apex

LEFT, RIGHT = FaceBox(10, 10, 90, 90), FaceBox(10, 200, 100, 290)
GRAY = np.zeros((4, 4), np.uint8)


def reading(frame: int, onset: int, displacement: float) -> Reading:
    moment = Moment(frame=frame, onset=onset, flow=np.zeros((3, 28, 28), np.float32), displacement=displacement)
    shares = np.full(8, 1 / 8, np.float32)
    return Reading(moment=moment, box=LEFT, found=True, probabilities=shares, emotion=None)


@pytest.mark.parametrize("after", [[], [0.02] * 4, [0.001] * 6])
def test_a_face_may_move_in_the_frame_where_the_onset_moves_on(after: list[float]):
    sizes = [0.0] * 24 + [0.05, *after]
    readings = [reading(frame, 0 if frame < 24 else 12, size) for frame, size in enumerate(sizes)]
    windows = motion_windows(readings)
    assert [near_apex(window)[0].moment.frame for window in windows] == [24]
    (answer,), strongest = answered_windows(windows, bundled())
    assert strongest == 0
    assert np.isfinite(list(answer.probabilities.values())).all()


@pytest.mark.parametrize("rests", [3, 4, 7])
def test_a_window_begins_with_the_last_frame_at_rest_and_every_frame_is_answered_once(rests: int):
    sizes = [0.0, 0.0, 0.02, 0.03, 0.02, *[0.001] * rests, 0.03, 0.04]
    readings = [reading(frame, 0, size) for frame, size in enumerate(sizes)]
    windows = motion_windows(readings)
    assert [window[0].moment.frame for window in windows] == [1, 4 + rests]
    assert windows[0][-1].moment.frame < windows[1][0].moment.frame
    judged = judge_readings(readings, bundled(), bundled_units()).readings
    assert [one.moment.frame for one in judged] == list(range(len(readings)))


@pytest.mark.parametrize("seed", range(20))
def test_windows_follow_one_another(seed: int):
    rng = np.random.default_rng(seed)
    sizes = rng.choice([0.0, 0.001, 0.02, 0.05], 60)
    onsets = np.cumsum(rng.random(60) < 0.05)
    readings = [reading(frame, int(onsets[frame]), float(size)) for frame, size in enumerate(sizes)]
    frames = [one.moment.frame for window in motion_windows(readings) for one in window]
    assert frames == sorted(set(frames))


def test_the_later_half_from_the_apex_on_answers_for_a_window():
    window = [reading(frame, 0, size) for frame, size in enumerate([0.0, 0.01, 0.019, 0.02, 0.02, 0.019, 0.01])]
    judged = Judged(window, "onset", None)
    assert [one.moment.frame for one in judged.answering(window)] == [4, 5, 6]
    assert [one.moment.frame for one in judged.answering(window[:3])] == [2]
    assert [one.moment.frame for one in judged.answering(window[:1])] == [0]
    # No reading that no longer hears the apex.
    long = [reading(frame, 0, 0.02 if frame == 1 else 0.01) for frame in range(3 * MOST)]
    assert [one.moment.frame for one in judged.answering(long)] == list(range(1 + MOST // 2, 1 + MOST))


def test_where_a_clip_begins_in_an_expression_its_rest_is_not_its_apex():
    window = [reading(frame, 0, 0.01 * frame) for frame in range(6)]
    for shown, first, last in (
        ({0: 9.0, 1: 8.5, 2: 9.4, 3: 4.0, 5: 0.1}, 0, 2),
        ({0: 8.0, 1: 8.5, 2: 9.4, 3: 20.0, 5: 0.1}, 3, 3),
        # Of no frame with the face the flow answers.
        ({}, 5, 5),
    ):
        judged = Judged(window, "median", shown)
        assert [one.moment.frame for one in judged.answering(window)] == list(range(first, 6))
        assert judged.apex(window).moment.frame == last


def test_a_held_expression_before_the_face_moves_is_part_of_the_window():
    sizes = [0.0, 0.001, 0.001, 0.02, 0.03, *[0.001] * 5, 0.02]
    window = [reading(frame, 0, size) for frame, size in enumerate(sizes)]
    frames = [[one.moment.frame for one in part] for part in motion_windows(window)]
    assert frames == [[2, 3, 4, 5, 6, 7], [9, 10]]
    begun = Judged(window, "average", dict.fromkeys(range(11), 6.0))
    assert [[one.moment.frame for one in part] for part in begun.windows] == [list(range(8)), [9, 10]]


def test_a_clip_that_rests_after_its_first_frame_has_an_apex():
    assert near_apex([reading(0, 0, 0.002), reading(1, 0, 0.001)])[0].moment.frame == 1


def followed(pictures: list[list[FaceBox]]) -> list[FaceBox | None]:
    """Follow one person through frames whose faces are given."""
    shown: list[FaceBox] = []
    person = Person(lambda _: max(shown, key=lambda box: box.area, default=None), lambda _: shown)
    found = []
    for faces in pictures:
        shown[:] = faces
        found.append(person.find(GRAY))
    return found


def test_the_face_that_was_largest_first_is_followed():
    grown = FaceBox(5, 5, 100, 100)
    assert followed([[RIGHT, LEFT], [RIGHT, grown], [LEFT, RIGHT], [grown]]) == [RIGHT, RIGHT, RIGHT, None]


def test_a_person_who_is_gone_is_given_up_after_some_frames():
    boxes = followed([[RIGHT, LEFT], *[[LEFT]] * (LOST + 1)])
    assert boxes == [RIGHT, *[None] * LOST, LEFT]


def test_a_face_alone_at_a_new_place_has_moved():
    assert followed([[LEFT], [RIGHT], [], [RIGHT]]) == [LEFT, RIGHT, None, RIGHT]


def test_drawing_that_fails_loses_no_answer(smile: Path, tmp_path: Path):
    (tmp_path / "plots").write_text("in the way")
    result = CliRunner().invoke(
        app,
        ["predict", str(smile), str(smile), "--plot", str(tmp_path / "plots"), "--json", str(tmp_path / "p.json")],
        env={"COLUMNS": "300"},
    )
    assert result.exit_code == 2
    assert result.stderr.count("is answered but not drawn") == 2
    assert [row["emotion"] for row in json.loads((tmp_path / "p.json").read_text())] == ["happy"] * 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_what_was_answered_before_a_stop_is_written(
    smile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
):
    def stopped(clips: list[Answer], **_: object) -> Iterator[Answer]:
        yield Answer(source="first", error="no face")
        raise error

    monkeypatch.setattr("fastck.recognition.inputs.answer", stopped)
    files = ["--json", str(tmp_path / "p.json"), "--csv", str(tmp_path / "p.csv")]
    assert CliRunner().invoke(app, ["predict", str(smile), *files]).exit_code != 0
    assert [row["input"] for row in json.loads((tmp_path / "p.json").read_text())] == ["first"]
    assert (tmp_path / "p.csv").exists()


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path):
    with np.load(BUNDLED) as file:
        arrays = {name: file[name] for name in file.files}
    arrays["bias1"] = np.full_like(arrays["bias1"], np.nan)
    np.savez(tmp_path / "model.npz", **arrays)
    with pytest.raises(ValueError, match=r"expected finite weights, bias1 has others"):
        Recogniser(tmp_path / "model.npz")


def test_an_answer_is_readable_in_any_encoding():
    line = "é███░░ 61 %"
    assert encodable(line, "utf-8") == line
    assert encodable(line, "cp1252") == "é###-- 61 %"
    assert encodable(line, "ascii") == "\\xe9###-- 61 %"
    assert encodable("x\udcff", "utf-8") == "x\\udcff"


def test_a_clip_whose_name_is_not_utf_8_is_answered(smile: Path, tmp_path: Path):
    clip = shutil.copytree(smile, tmp_path / "clip-\udcff")
    files = ["--json", str(tmp_path / "p.json"), "--csv", str(tmp_path / "p.csv")]
    result = CliRunner().invoke(app, ["predict", str(clip), *files], env={"COLUMNS": "300"})
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "p.json").read_text())[0]["emotion"] == "happy"
    assert b"happy" in (tmp_path / "p.csv").read_bytes()


@pytest.mark.parametrize(("source", "words"), [("", "expected a camera"), ("9999999999", "from 0 to 99")])
def test_a_source_that_cannot_be_gets_one_line(source: str, words: str):
    with pytest.raises(ValueError, match=words) as raised:
        open_source(source)
    assert len(str(raised.value).splitlines()) == 1


def test_the_model_runs_on_one_blas_thread(monkeypatch: pytest.MonkeyPatch):
    seen = []

    def watched(*_: object) -> np.ndarray:
        seen.extend(library["num_threads"] for library in blas().info() if library["user_api"] == "blas")
        return np.zeros((1, 8), np.float32)

    monkeypatch.setattr("fastck.recogniser.logits", watched)
    bundled().probabilities(np.zeros((1, 3, 28, 28), np.float32))
    assert set(seen) == {1}


def test_the_flow_of_frames_is_not_kept(gray_frames: list[np.ndarray], tmp_path: Path):
    from fastck.dataset.clip import clip_record

    for number, frame in enumerate(gray_frames, start=1):
        cv2.imwrite(str(tmp_path / f"{number:03d}.png"), frame)
    light = recognise(clip_record(tmp_path))
    assert not any(given.moment.flow.size for given in light.readings)
    full = recognise(clip_record(tmp_path), keep_flow=True)
    assert light.probabilities == full.probabilities
    full.check_flow()
    with pytest.raises(ValueError, match="keep_flow=True"):
        light.check_flow()
