"""The recipes of docs/how-to/datasets.md, run as they stand on small replicas of each set's folders and sheets."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from fastck.cli import app
from fastck.dataset.layouts import scan
from fastck.dataset.patterns import Patterns
from fastck.store.reader import open_store
from fastck.training.data.foldfile import read_folds

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "datasets.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Of each sequence: subject, label, and the numbers in the names of the first and the last frame used.
Expected = dict[str, tuple[str, str, int, int]]


@pytest.fixture(scope="module")
def people() -> list[list[np.ndarray]]:
    """Three people, five frames each."""
    import fastck

    folders = sorted((fastck.sample() / "cohn-kanade-images").glob("*/*"))
    return [[np.asarray(cv2.imread(str(path))) for path in sorted(folder.iterdir())] for folder in folders]


def write_frames(folder: Path, frames: list[np.ndarray], name: str, first: int) -> None:
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames, start=first):
        assert cv2.imwrite(str(folder / name.format(number)), frame)


def casme2(people: list[list[np.ndarray]]) -> Expected:
    columns = ["Subject", "Filename", "Unnamed: 2", "OnsetFrame", "ApexFrame", "OffsetFrame", "Unnamed: 6"]
    columns += ["Action Units", "Estimated Emotion"]
    rows = [
        [1, "EP02_01f", None, 46, 48, 50, None, "12", "happiness"],
        # 9 comes before 10, though not in the alphabet.
        [17, "EP01_11", None, 8, 11, 12, None, "4+7", "repression"],
        [2, "EP04_02", None, 1, "/", 5, None, "4", "disgust"],
        [3, "EP09_09", None, 1, 3, 5, None, "4", "others"],
    ]
    Path("CASME2").mkdir()
    pd.DataFrame(rows, columns=columns).to_excel("CASME2/CASME2-coding-20140508.xlsx", index=False)
    for subject, clip, frames, first in (("sub01", "EP02_01f", people[0], 46), ("sub17", "EP01_11", people[1], 8)):
        write_frames(Path("CASME2/Cropped", subject, clip), frames, "reg_img{}.jpg", first)
    return {
        "sub01_EP02_01f": ("sub01", "happy", 46, 48),
        "sub17_EP01_11": ("sub17", "repression", 8, 11),
    }


def samm(people: list[list[np.ndarray]]) -> Expected:
    columns = ["Subject", "Filename", "Inducement Code", "Onset Frame", "Apex Frame", "Offset Frame", "Duration"]
    columns += ["Micro", "Action Units", "Estimated Emotion", "Objective Classes", "Notes"]
    rows = [
        [6, "006_1_2", 1, 5562, 5564, 5566, 5, "Micro - 1/2", "AU12", "Happiness", 1, None],
        [11, "011_1_1", 1, 9998, 10001, 10002, 5, "Micro - 1/2", "4", "Anger", 4, None],
        [12, "012_1_1", 1, 4, -1, 8, 5, "Micro - 1/2", "4", "Other", 7, None],
    ]
    above = [["SAMM", *[None] * 11], *[[f"line {n}", *[None] * 11] for n in range(12)]]
    Path("SAMM").mkdir()
    sheet = pd.DataFrame([*above, columns, *rows])
    sheet.to_excel("SAMM/SAMM_Micro_FACS_Codes_v2.xlsx", index=False, header=False)
    write_frames(Path("SAMM/006/006_1_2"), people[0], "006_{:05d}.jpg", 5562)
    write_frames(Path("SAMM/011/011_1_1"), people[1], "011_{:05d}.jpg", 9998)
    write_frames(Path("SAMM/012/012_1_1"), people[2], "012_{:05d}.jpg", 4)
    return {"006_1_2": ("006", "happy", 5562, 5564), "011_1_1": ("011", "anger", 9998, 10001)}


def smic(people: list[list[np.ndarray]]) -> Expected:
    write_frames(Path("SMIC/HS/s1/micro/negative/s1_ne_01"), people[0], "reg_image{:06d}.bmp", 98)
    write_frames(Path("SMIC/HS/s11/micro/surprise/s11_sur_02"), people[1], "reg_image{:06d}.bmp", 7)
    write_frames(Path("SMIC/HS/s1/non_micro/s1_non_01"), people[2], "reg_image{:06d}.bmp", 7)
    return {"s1_ne_01": ("s1", "negative", 98, 102), "s11_sur_02": ("s11", "surprise", 7, 11)}


def write_video(path: Path, frames: list[np.ndarray]) -> None:
    path.parent.mkdir(parents=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, frames[0].shape[1::-1])
    assert writer.isOpened()
    for frame in frames:
        writer.write(frame)
    writer.release()


def mmi(people: list[list[np.ndarray]]) -> Expected:
    there_and_back = [*people[0], *people[0][::-1]]
    write_video(Path("MMI/Sessions/1767/S053-001.avi"), there_and_back)
    Path("MMI/Sessions/1767/S053-001.xml").write_text(
        '<?xml version="1.0"?><Annotation><Metadata Name="Emotion" Value="4"/></Annotation>'
    )
    Path("MMI/Sessions/1767/session.xml").write_text('<Session><Subject Id="53"/></Session>')
    write_video(Path("MMI/Sessions/5/S001-002.avi"), people[1])
    Path("MMI/Sessions/5/session.xml").write_text("<Session/>")
    return {"1767_S053-001": ("S053", "happy", 1, 5), "5_S001-002": ("S001", "", 1, 2)}


def oulu(people: list[list[np.ndarray]]) -> Expected:
    root = Path("OriginalImg/VL/Strong")
    write_frames(root / "P001/Anger", people[0], "{:03d}.jpeg", 0)
    write_frames(root / "P080/Happiness", people[1], "{:03d}.jpeg", 0)
    return {"P001_Anger": ("P001", "anger", 0, 4), "P080_Happiness": ("P080", "happy", 0, 4)}


def afew(people: list[list[np.ndarray]]) -> Expected:
    write_video(Path("AFEW/Train/Angry/000046280.avi"), people[0])
    write_video(Path("AFEW/Val/Happy/010046280.avi"), people[1])
    return {
        "Train_000046280": ("000046280", "anger", 1, 5),
        "Val_010046280": ("010046280", "happy", 1, 5),
    }


def ck48(people: list[list[np.ndarray]]) -> Expected:
    for emotion, name, frames in (("happy", "S010_006", people[0]), ("fear", "S005_001", people[1])):
        small = [cv2.resize(frame[100:340, 200:440], (48, 48)) for frame in frames[-3:]]
        write_frames(Path("CK+48", emotion), small, name + "_{:08d}.png", 9)
    return {"fear_S005_001": ("S005", "fear", 9, 11), "happy_S010_006": ("S010", "happy", 9, 11)}


RECIPES: dict[str, Callable[[list[list[np.ndarray]]], Expected]] = {
    "CASME II": casme2,
    "SAMM": samm,
    "SMIC": smic,
    "MMI": mmi,
    "Oulu-CASIA": oulu,
    "AFEW and other folders of videos": afew,
    "CK+48": ck48,
}


def sections() -> dict[str, str]:
    head, *rest = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {"": head} | {part.split("\n", 1)[0]: part for part in rest}


def test_every_recipe_is_tested():
    assert set(sections()) == {"", *RECIPES}


@pytest.mark.parametrize("name", RECIPES)
def test_recipe(name: str, people: list[list[np.ndarray]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    if RECIPES[name] in (casme2, samm):
        pytest.importorskip("openpyxl")
    monkeypatch.chdir(tmp_path)
    expected = RECIPES[name](people)
    for path in [path for path in Path().rglob("*") if path.is_file()]:
        # As macOS leaves them beside every file on other file systems, and in ZIP files.
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7" + bytes(100))
    namespace: dict[str, object] = {}
    ran = []
    for kind, code in BLOCK.findall(sections()[""]) + BLOCK.findall(sections()[name]):
        if kind == "python":
            exec(compile(code, f"{PAGE.name}, {name}", "exec"), namespace)
            continue
        for words in map(shlex.split, code.splitlines()):
            result = CliRunner().invoke(app, words[1:])
            assert result.exit_code == 0, result.output
            ran.append(words)
    assert [words[1] for words in ran] == ["check", "preprocess"]
    named = Patterns(subject="ck+48", label="ck+48") if RECIPES[name] is ck48 else None
    records = scan(ran[0][2], patterns=named).records
    assert sorted(record.sequence for record in records) == sorted(expected)
    for record in records:
        subject, label, first, last = expected[record.sequence]
        assert (record.subject, record.label) == (subject, label)
        if record.video is None:
            numbers = [int(re.findall(r"\d+", path.stem)[-1]) for path in record.frames]
            assert numbers == list(range(first, last + 1))
        else:
            assert ((record.onset or 1), record.n_frames) == (first, last - first + 1)
    store = open_store(ran[1][3])
    assert dict(zip(store.table["sequence"], store.table["label"], strict=True)) == {
        sequence: label for sequence, (_, label, _, _) in expected.items()
    }
    assert store.quarantine.empty
    if RECIPES[name] is afew:
        assert read_folds(ran[0][2])["fold"].to_list() == [1, 2]
