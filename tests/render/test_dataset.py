"""Rendered data sets: layout, determinism, quirks, and that dlib finds the faces."""

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from fastck.dataset.check import check
from fastck.dataset.labels import EMOTIONS
from fastck.dataset.layouts import scan
from fastck.faces.detector import Detector
from fastck.render import contact_sheet, render_dataset
from fastck.render.dataset import plan_subject
from fastck.render.model import MODEL_PATH


def digests(root: Path) -> dict[str, str]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("odd") / "set"
    render_dataset(root, subjects=3, sequences=2, seed=3, quirks=True, n_jobs=2)
    return root


def test_same_bytes_for_any_number_of_jobs_and_more_subjects_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("fastck.render.dataset.draw_length", lambda rng: int(rng.integers(4, 7)))
    sets = {}
    for name, subjects, n_jobs in (("one", 1, 1), ("serial", 2, 1), ("threads", 2, 3)):
        render_dataset(tmp_path / name, subjects=subjects, sequences=2, seed=4, n_jobs=n_jobs)
        sets[name] = digests(tmp_path / name)
    assert sets["serial"] == sets["threads"]
    del sets["one"]["rendered.json"]  # says how many subjects there are
    assert sets["one"].items() < sets["serial"].items()


def test_another_seed_gives_other_people(rendered: Path, tmp_path: Path):
    render_dataset(tmp_path / "other", subjects=1, sequences=1, seed=2)
    frame = Path("cohn-kanade-images/S001/001/S001_001_00000001.png")
    assert (tmp_path / "other" / frame).read_bytes() != (rendered / frame).read_bytes()


def test_layout_and_label_files_are_exactly_ckplus(rendered: Path):
    assert sorted(path.name for path in rendered.iterdir()) == ["Emotion", "cohn-kanade-images", "rendered.json"]
    folders = sorted((rendered / "cohn-kanade-images").glob("S*/*"))
    assert [folder.relative_to(rendered / "cohn-kanade-images").as_posix() for folder in folders] == [
        f"{subject}/{position}" for subject in ("S001", "S002") for position in ("001", "002", "003")
    ]
    for folder in folders:
        names = sorted(path.name for path in folder.iterdir())
        prefix = f"{folder.parent.name}_{folder.name}"
        assert names == [f"{prefix}_{number:08d}.png" for number in range(1, len(names) + 1)]
        assert 10 <= len(names) <= 30
        (label,) = (rendered / "Emotion" / folder.parent.name / folder.name).iterdir()
        assert label.name == f"{prefix}_{len(names):08d}_emotion.txt"
        text = label.read_text()
        assert text == f"   {int(float(text))}.0000000e+00\n"
    assert not scan(rendered).findings


def test_labels_match_what_was_acted(rendered: Path):
    emotions = {record.sequence: EMOTIONS[record.emotion or 0] for record in scan(rendered).records}
    acted = {take.name: take.shows for number in (1, 2) for take in plan_subject(1, number, 3)}
    assert emotions == acted


def test_frames_are_ckplus_sized_gray_or_colour():
    from fastck.render.dataset import draw_person, subject_rng

    people = [draw_person(subject_rng(0, number))[0] for number in range(1, 81)]
    heights = {person.height for person in people}
    colour = np.mean([person.colour for person in people])
    assert heights == {490, 480}
    assert 0.02 < colour < 0.4


def test_a_full_set_has_the_size_of_ckplus():
    takes = [take for number in range(1, 124) for take in plan_subject(0, number, None)]
    assert 570 <= len(takes) <= 616  # CK+: 593
    frames = [take.n_frames for take in takes]
    assert 17 <= np.mean(frames) <= 19
    assert (min(frames), max(frames)) == (10, 30)
    counts = np.unique([take.shows for take in takes], return_counts=True)[1]
    assert len(counts) == 7
    assert counts.min() > 60


def test_no_subject_repeats_an_emotion():
    for number in range(1, 40):
        emotions = [take.shows for take in plan_subject(5, number, None)]
        assert len(set(emotions)) == len(emotions)


def test_dlib_finds_one_face_in_every_frame(rendered: Path):
    detector = Detector(upsample=1)
    for record in scan(rendered).records:
        for path in (record.frames[0], record.frames[-1]):
            (box,) = detector(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
            assert 150 < box.right - box.left < 330


def test_every_planted_quirk_is_reported(odd: Path):
    note = json.loads((odd / "rendered.json").read_text())
    planted = {kind: [] for kind in ("unlabelled", "missing-label-folder", "empty-label-folder", "long-sequence")}
    planted["junk-file"] = []
    for quirk in note["quirks"]:
        planted[quirk["kind"]].append(quirk)
        assert (odd / quirk["path"]).exists() == (quirk["kind"] not in ("unlabelled", "missing-label-folder"))
    assert all(planted.values())

    report = check(odd)
    findings = {group.kind: {str(found.path.relative_to(odd)) for found in group.findings} for group in report.groups}
    assert findings.pop("junk-file") == {quirk["path"] for quirk in planted["junk-file"]}
    assert findings.pop("empty-label-folder") == {quirk["path"] for quirk in planted["empty-label-folder"]}
    assert not findings
    bare = {
        quirk["sequence"] for kind in planted for quirk in planted[kind] if "label" in kind and kind != "long-sequence"
    }
    assert {record.sequence for record in report.records if record.emotion is None} == bare
    assert report.n_labelled == note["labelled"] == len(report.records) - len(bare)
    long = {record.sequence for record in report.records if record.n_frames > 40}
    assert long == {quirk["sequence"] for quirk in planted["long-sequence"]}
    assert report.lengths is not None
    assert report.lengths.cut == len(long)


def test_quirks_change_no_other_frame(odd: Path, tmp_path: Path):
    render_dataset(tmp_path / "plain", subjects=1, sequences=2, seed=3)
    plain, quirky = digests(tmp_path / "plain"), digests(odd)
    note = json.loads((odd / "rendered.json").read_text())
    changed = {quirk["sequence"] for quirk in note["quirks"]}
    same = [name for name in plain if name.endswith(".png") and "_".join(Path(name).name.split("_")[:2]) not in changed]
    assert same
    assert all(plain[name] == quirky[name] for name in same)


def test_progress_and_summary(tmp_path: Path):
    seen: list[tuple[int, int]] = []
    summary = render_dataset(
        tmp_path / "new" / "set",
        subjects=1,
        sequences=2,
        seed=9,
        on_progress=lambda step: seen.append((step.done, step.total)),
    )
    assert seen == [(1, 2), (2, 2)]
    assert (summary.subjects, summary.sequences, summary.labelled, summary.quirks) == (1, 2, 2, ())
    assert summary.frames == sum(record.n_frames for record in scan(summary.out).records)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"subjects": 0}, "subjects must be 1 to 999, got 0"),
        ({"seed": -1}, "seed must be 0 or more"),
        ({"sequences": 8}, "sequences must be 1 to 7"),
        ({"noise": -1.0}, "noise must be"),
        ({"blink": 1.5}, "blink must be"),
        ({"yaw": 90.0}, "yaw must be"),
    ],
)
def test_options_out_of_range_are_refused(tmp_path: Path, options: dict[str, float], message: str):
    with pytest.raises(ValueError, match=message):
        render_dataset(tmp_path / "set", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "set").exists()


def test_a_folder_that_holds_something_is_refused(tmp_path: Path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="must be a new or empty folder"):
        render_dataset(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_contact_sheet_is_small_and_refuses_nonsense(tmp_path: Path):
    path = contact_sheet(tmp_path / "docs" / "sheet.png", subjects=[4], emotions=["happy", "surprise"])
    sheet = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert sheet.shape[:2] == (168, 300)
    assert np.abs(sheet[18:, :150].astype(float) - sheet[18:, 150:]).mean() > 2  # two expressions, not one
    assert path.stat().st_size < 60_000
    with pytest.raises(ValueError, match="emotions must be some of"):
        contact_sheet(tmp_path / "no.png", emotions=["bored"])
    with pytest.raises(ValueError, match="subjects must be numbers from 1"):
        contact_sheet(tmp_path / "no.png", subjects=[])


def test_the_model_comes_with_its_licence():
    note = MODEL_PATH.with_suffix(".md").read_text()
    assert "CC0 1.0" in note
    assert "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2" in note
    assert MODEL_PATH.stat().st_size < 1_300_000
