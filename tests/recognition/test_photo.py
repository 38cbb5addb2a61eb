"""Photos: one has no motion; beside the same face at rest it is answered as a clip is."""

import json
import shutil
from pathlib import Path

import cv2
import dlib
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import fastck
from fastck.cli import app
from fastck.faces.box import FaceBox
from fastck.faces.units import UnitReader

SMILE = sorted((fastck.sample() / "cohn-kanade-images/L008/001").glob("*.png"))
REST, APEX = SMILE[0], SMILE[-1]


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["predict", *map(str, arguments)], env={"COLUMNS": "300"})
    return result.exit_code, result.stdout, result.stderr


def test_a_photo_has_its_box_and_no_emotion(tmp_path: Path):
    photo = tmp_path / "anna.jpg"
    cv2.imwrite(str(photo), cv2.imread(str(APEX)))
    code, out, err = run(
        photo, "--json", tmp_path / "p.json", "--csv", tmp_path / "p.csv", "--frames", tmp_path / "f.csv"
    )
    assert code == 0
    assert "one picture has no motion" in err
    (face,) = dlib.get_frontal_face_detector()(cv2.imread(str(photo), cv2.IMREAD_GRAYSCALE))
    edges = f"top {face.top()}, left {face.left()}, bottom {face.bottom()}, right {face.right()}"
    assert out.splitlines()[0].split(maxsplit=1) == ["anna.jpg", f"face at {edges}"]
    (row,) = json.loads((tmp_path / "p.json").read_text())
    assert (row["emotion"], row["windows"], row["probabilities"]) == (None, [], {})
    assert list(row["box"].values()) == [face.top(), face.left(), face.bottom(), face.right()]
    prediction = fastck.predict(photo)
    assert (prediction.emotion, prediction.probabilities, prediction.n_frames) == (None, {}, 1)
    assert prediction.frames[["frame", "person", "top"]].to_numpy().tolist() == [[1, 1, face.top()]]
    assert len(prediction.to_frame()) == 1
    assert "no motion" in repr(prediction)


def test_a_photo_beside_the_face_at_rest_is_answered_as_a_clip(tmp_path: Path):
    code, out, err = run(APEX, "--neutral", REST)
    assert code == 0
    assert out.split()[1] == "happy"
    assert f"compared with {REST.name}" in err
    prediction = fastck.predict(APEX, neutral=REST)
    clip = fastck.predict([cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in (REST, APEX)])
    assert prediction.probabilities == clip.probabilities
    assert prediction.frames["p_happy"].tolist() == pytest.approx([clip.probabilities["happy"]])
    assert prediction.span == (1, 1)


def test_the_picture_at_rest_counts_whatever_it_looks_like(monkeypatch: pytest.MonkeyPatch):
    expected = fastck.predict(APEX, neutral=REST).probabilities
    # A face that frowns by nature lies far from the rendered average.
    monkeypatch.setattr("fastck.recognition.reading.CALM", 0.1)
    monkeypatch.setattr("fastck.recognition.reading.SLACK", -1.0)
    monkeypatch.setattr("fastck.recognition.reading.UTMOST", 0.1)
    assert fastck.predict(APEX, neutral=REST).probabilities == expected
    assert fastck.predict([cv2.imread(str(path)) for path in (REST, APEX)]).reference == "average"


@pytest.mark.parametrize(("shows", "emotion"), [(APEX, "happy"), (REST, "neutral")])
@pytest.mark.parametrize(("degrees", "scale"), [(0, 1.4), (6, 1.0), (-5, 0.8)])
def test_another_distance_and_a_tilted_head_are_put_right(
    tmp_path: Path, shows: Path, emotion: str, degrees: float, scale: float
):
    gray = cv2.imread(str(shows), cv2.IMREAD_GRAYSCALE)
    height, width = gray.shape
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, scale)
    matrix[:, 2] += (31 if scale <= 1 else 0, -23 if scale <= 1 else 0)
    size = (width + 40, height + 20)
    photo = tmp_path / "other.png"
    cv2.imwrite(str(photo), cv2.warpAffine(gray, matrix, size, borderMode=cv2.BORDER_REPLICATE))
    assert fastck.predict(photo, neutral=REST).emotion == emotion


def test_a_clip_that_begins_with_a_smile_is_told_beside_the_face_at_rest(tmp_path: Path):
    rest, *_, apex = sorted((fastck.sample() / "cohn-kanade-images/L032/001").glob("*.png"))
    held, rng = cv2.imread(str(apex), cv2.IMREAD_GRAYSCALE).astype(float), np.random.default_rng(0)
    clip = [np.clip(held + rng.normal(0, 3, held.shape), 0, 255).astype(np.uint8) for _ in range(6)]
    assert fastck.predict(clip).emotion == "neutral", "nothing moves, and a smile may be how a face is built"
    said = fastck.predict(clip, neutral=rest, units=True)
    assert (said.emotion, said.reference) == ("happy", "neutral")
    assert f"compared with {rest.name}" in said.notes
    units = fastck.action_units(clip, neutral=rest)
    np.testing.assert_allclose(said.frames[list(units.names)].to_numpy(), units.intensities, atol=1e-3)
    (tmp_path / "clip").mkdir()
    for number, frame in enumerate(clip):
        cv2.imwrite(str(tmp_path / "clip" / f"{number:03d}.png"), frame)
    code, out, err = run(tmp_path / "clip", "--neutral", rest)
    assert (code, out.split()[1]) == (0, "happy")
    assert f"compared with {rest.name}" in err


def test_a_clip_that_begins_at_rest_is_answered_as_without_the_picture():
    alone, beside = fastck.predict(REST.parent), fastck.predict(REST.parent, neutral=REST)
    assert (alone.reference, beside.reference) == ("onset", "neutral")
    assert alone.emotion == beside.emotion == "happy"
    assert beside.probabilities == pytest.approx(alone.probabilities, abs=0.05)


def test_a_picture_at_rest_is_one_of_a_face(tmp_path: Path):
    blank = tmp_path / "blank.png"
    cv2.imwrite(str(blank), np.full((120, 120), 90, np.uint8))
    with pytest.raises(ValueError, match=r"no face found in blank\.png"):
        fastck.predict(APEX, neutral=blank)
    with pytest.raises(ValueError, match=r"no face found in blank\.png"):
        fastck.predict(REST.parent, neutral=blank)
    code, out, err = run(APEX, "--neutral", tmp_path / "none.png")
    assert (code, out) == (2, "")
    assert err.count("none.png") == len(err.splitlines()) == 1
    code, out, err = run(APEX, "--video", tmp_path / "v.mp4")
    assert code == 2
    assert "one picture has no motion to draw" in err


def test_a_list_gives_a_list(tmp_path: Path):
    clip = Path(shutil.copytree(REST.parent, tmp_path / "clip"))
    answers = fastck.predict([clip, tmp_path / "none", APEX])
    assert [one.emotion for one in answers] == ["happy", None, None]
    assert "does not exist" in answers[1].error
    assert answers[1].error in repr(answers[1])
    assert answers[1].to_frame()["note"].tolist() == [f"error: {answers[1].error}"]
    assert answers[1].as_dict() == {"input": str(tmp_path / "none"), "emotion": None, "error": answers[1].error}
    assert fastck.predict([str(clip)])[0].emotion == "happy"


def test_frames_come_as_an_array_or_one_by_one():
    colour = np.stack([cv2.imread(str(path)) for path in SMILE])[..., ::-1]
    gray = np.stack([cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY) for frame in colour])
    answers = [fastck.predict(frames) for frames in (colour, gray, list(gray), iter(colour))]
    expected = fastck.predict(REST.parent).probabilities
    assert [one.probabilities for one in answers] == [expected] * 4


def test_a_folder_of_photos_is_no_clip(tmp_path: Path):
    for name, path in zip(("anna", "bert"), (REST, APEX), strict=True):
        shutil.copy(path, tmp_path / f"{name}.png")
    with pytest.raises(ValueError, match="holds 2 photos"):
        fastck.predict(tmp_path)
    code, out, err = run(tmp_path)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[:2]] == ["anna.png", "bert.png"]
    assert err.count("one picture has no motion") == 1


def test_units_of_a_photo_alone_are_beside_the_average_face(tmp_path: Path):
    photo = fastck.action_units(APEX)
    assert photo.reference == "average"
    smile = photo.names.index("AU12")
    assert photo.present[0, smile]
    assert photo.intensities[0, smile] > fastck.action_units(REST).intensities[0, smile] + 1
    said = fastck.predict(APEX, units=True)
    assert "average of rendered people" in said.notes[-1]
    (face,) = said.frames.to_dict("records")
    reader, gray = UnitReader(), cv2.imread(str(APEX), cv2.IMREAD_GRAYSCALE)
    look = reader(gray, FaceBox(*(face[edge] for edge in FaceBox._fields)))
    np.testing.assert_allclose(photo.intensities, reader.model.intensities([look]), atol=1e-5)
    assert face["AU12"] == pytest.approx(photo.intensities[0, smile], abs=1e-3)
    # The search of `detect` doubles a picture first: another box, nearly the same units.
    assert CliRunner().invoke(app, ["detect", str(APEX), "--frames", str(tmp_path / "f.csv"), "--units"]).exit_code == 0
    assert pd.read_csv(tmp_path / "f.csv")["AU12"].tolist() == [pytest.approx(face["AU12"], abs=0.3)]


def test_units_of_a_photo_beside_the_face_at_rest_are_those_of_a_clip():
    clip = fastck.action_units([cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in (REST, APEX)])
    photo = fastck.action_units(APEX, neutral=REST)
    assert (clip.reference, photo.reference) == ("onset", "neutral")
    np.testing.assert_allclose(photo.intensities, clip.intensities[1:], atol=1e-5)
    said = fastck.predict(APEX, neutral=REST, units=True).frames
    np.testing.assert_allclose(said[list(photo.names)].to_numpy(), photo.intensities, atol=1e-3)
    # A clip that begins in the smile, too, and each of a list.
    begun = fastck.action_units([*map(cv2.imread, map(str, (APEX, APEX)))], neutral=REST)
    np.testing.assert_allclose(begun.intensities, np.repeat(photo.intensities, 2, axis=0), atol=1e-5)
    (listed,) = fastck.action_units([APEX], neutral=REST)
    np.testing.assert_allclose(listed.intensities, photo.intensities, atol=1e-5)


@pytest.mark.parametrize("clip", [None, 3, b"frames"])
def test_what_is_no_clip_is_told(clip: object):
    for ask in (fastck.predict, fastck.action_units):
        with pytest.raises(TypeError, match=f"a clip must be a path.*got {type(clip).__name__}"):
            ask(clip)


def test_frames_of_another_dtype_are_told():
    with pytest.raises(TypeError, match=r"frames must be uint8.*got float32"):
        fastck.action_units(np.zeros((2, 120, 120), np.float32))
