"""What a store keeps of a table: labels as text, folds, and which part of a clip was used."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fastck
from fastck.store.reader import ADDED_DTYPES
from fastck.views.preview import preview_store
from fastck.views.store import summarise
from fastck.views.store_page import info_html

CELLS = [("L008", "delight", "1", "2", "4"), ("L032", "Joy", "2", "", ""), ("L063", "", "", "", "3")]


@pytest.fixture
def clips(sample: Path, tmp_path: Path) -> Path:
    """A table beside a copy of the sample; other labels, folds and frames."""
    shutil.copytree(sample / "cohn-kanade-images", tmp_path / "images")
    return write(tmp_path, CELLS)


def write(folder: Path, cells: list[tuple[str, ...]]) -> Path:
    rows = [(f"images/{subject}/001", subject, *rest) for subject, *rest in cells]
    table = pd.DataFrame(rows, columns=["path", "subject", "label", "fold", "onset", "apex"])
    table.to_csv(folder / "clips.csv", index=False)
    return folder / "clips.csv"


def make(clips: Path) -> fastck.Store:
    return fastck.preprocess(clips, clips.parent / "store", layout="table", features=("projection",))


def test_a_store_keeps_what_the_table_says(clips: Path):
    table = make(clips).table
    assert table["label"].tolist() == ["delight", "happy", ""]
    assert table["emotion"].fillna(-1).tolist() == [-1, 5, -1]
    assert table["fold"].tolist() == ["1", "2", ""]
    assert table["onset"].fillna(-1).tolist() == [2, -1, 1]
    assert table["n_frames"].tolist() == [3, 5, 3]


def test_labels_are_told_by_name(clips: Path):
    store = make(clips)
    summary = summarise(store)
    assert list(summary.emotions.items()) == [("happy", 1), ("delight", 1), ("not labelled", 1)]
    assert summary.labelled == 2
    page = Path(info_html(store, clips.parent / "page.html")).read_text()
    assert page.count("delight") >= 3


@pytest.mark.parametrize(("column", "value"), [(1, "awe"), (1, ""), (2, "9")])
def test_another_label_or_fold_is_another_input(clips: Path, column: int, value: str):
    make(clips)
    make(clips)
    changed = list(CELLS[0])
    changed[column] = value
    write(clips.parent, [tuple(changed), *CELLS[1:]])
    with pytest.raises(ValueError, match=r"another input: 1 sequences since relabelled \(images_L008_001\)"):
        make(clips)


def test_another_part_is_another_input(clips: Path):
    make(clips)
    write(clips.parent, [("L008", "delight", "1", "3", "5"), *CELLS[1:]])
    with pytest.raises(ValueError, match=r"another input: 1 sequences since changed \(images_L008_001\)"):
        make(clips)


def test_a_part_is_previewed_as_it_was_used(clips: Path):
    store = make(clips)
    shown = preview_store(store, "images_L008_001", root=clips.parent, columns=3).views[0]
    np.testing.assert_array_equal(shown.projections, store.sequence("images_L008_001", "projection"))


def test_a_store_without_these_columns_is_read(sample: Path, tmp_path: Path):
    store = fastck.preprocess(sample, tmp_path / "store")
    path = store.path / "sequences.csv"
    table = pd.read_csv(path)
    table.drop(columns=list(ADDED_DTYPES)).to_csv(path, index=False)
    manifest = json.loads((store.path / "manifest.json").read_text())
    (store.path / "manifest.json").write_text(json.dumps({**manifest, "layout": "ckplus"}))
    before, now = fastck.open_store(store.path).table, store.table
    pd.testing.assert_frame_equal(before, now, check_like=True)
    assert before["label"].tolist() == ["happy"] * 3
    # An older version wrote the same record of its input: nothing is to do.
    assert "label" not in (store.path / "inputs.csv").read_text()
    assert fastck.preprocess(sample, store.path).table.equals(fastck.open_store(store.path).table)


def test_a_table_with_another_subject_or_path_is_another_input(clips: Path):
    store = make(clips)
    text = clips.read_text()
    clips.write_text(text.replace(",L032,", ",L008,"))
    with pytest.raises(ValueError, match=r"1 sequences since given another subject \(images_L032_001\)"):
        make(clips)
    shutil.copytree(clips.parent / "images/L032", clips.parent / "images/L099")
    named = [f"c{n},{line}" for n, line in enumerate(text.splitlines()[1:])]
    clips.write_text("\n".join(["sequence," + text.splitlines()[0], *named]))
    other = fastck.preprocess(clips, clips.parent / "named", layout="table")
    clips.write_text(clips.read_text().replace("images/L032", "images/L099"))
    with pytest.raises(ValueError, match=r"1 sequences since moved to another path \(c1\)"):
        fastck.preprocess(clips, other.path, layout="table")
    assert store.table["subject"].tolist() == ["L008", "L032", "L063"]
