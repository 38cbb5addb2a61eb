"""Folds as a file: assigned from the listing, unmoved by damage, and trained on as they stand there."""

import hashlib
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from fastck.cli import app
from fastck.dataset.check import check
from fastck.dataset.layouts import scan
from fastck.dataset.patterns import Patterns
from fastck.pipeline.dispatch import preprocess
from fastck.store.reader import open_store
from fastck.training.data.foldfile import assign_folds, read_folds, read_listing
from fastck.training.data.folds import make_splits
from fastck.training.settings.config import TrainConfig
from tests.helpers.tinystore import make_store, make_table


def write_folds(source: Path, out: Path, *options: str) -> pd.DataFrame:
    result = CliRunner().invoke(
        app, ["folds", str(source), "-o", str(out), "--overwrite", *options], env={"COLUMNS": "200"}
    )
    assert result.exit_code == 0, result.output
    assert f"wrote {out}" in result.stdout
    return pd.read_csv(out, dtype=str)


def test_folds_of_a_damaged_set_and_of_its_store_are_the_folds_of_the_set(rendered: Path, tmp_path: Path):
    before = write_folds(rendered, tmp_path / "before.csv", "--protocol", "loso")
    assert list(before.columns) == ["sequence", "subject", "fold"]
    assert before["sequence"].is_monotonic_increasing
    assert before.groupby("fold")["subject"].nunique().tolist() == [1, 1]
    copy = Path(shutil.copytree(rendered, tmp_path / "copy"))
    for frame in (copy / "cohn-kanade-images" / "S001").glob("*/*.png"):
        frame.write_bytes(b"damaged")
    store = preprocess(copy, tmp_path / "store", n_jobs=1, box_cache=False)
    assert set(store.table["subject"]) == {"S002"}
    for source in (copy, store.path):
        pd.testing.assert_frame_equal(write_folds(source, tmp_path / "after.csv", "--protocol", "loso"), before)


@pytest.mark.parametrize("layout", ["table", "labelled-folders"])
def test_a_video_that_no_longer_opens_moves_nobody(tmp_path: Path, layout: str):
    lines = ["path,subject,label"]
    for subject in ("S1", "S2", "S3", "S4"):
        for label in ("happy", "anger"):
            path = tmp_path / "set" / label / subject / "clip.avi"
            path.parent.mkdir(parents=True)
            writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (96, 96))
            for level in (0, 90):
                writer.write(np.full((96, 96, 3), level, np.uint8))
            writer.release()
            lines.append(f"set/{label}/{subject}/clip.avi,{subject},{label}")
    source = tmp_path / "set"
    if layout == "table":
        source = tmp_path / "clips.csv"
        source.write_text("\n".join(lines) + "\n")
    options = ["--protocol", "stratified-group", "--folds", "2"]
    before = write_folds(source, tmp_path / "before.csv", "--layout", layout, *options)
    victim = tmp_path / "set/anger/S2/clip.avi"
    victim.write_bytes(b"damaged")
    pd.testing.assert_frame_equal(write_folds(source, tmp_path / "after.csv", "--layout", layout, *options), before)
    store = preprocess(source, tmp_path / "store", layout=layout, n_jobs=1, box_cache=False)
    (lost,) = check(source, layout=layout).left_out
    assert lost.endswith("anger_S2_clip")
    reasons = store.quarantine.set_index("sequence")["reason"]
    assert reasons[lost] == "clip.avi: not a video that can be decoded"
    pd.testing.assert_frame_equal(write_folds(store.path, tmp_path / "store.csv", *options), before)


@pytest.mark.parametrize("protocol", ["subject-10fold", "loso", "stratified-group"])
def test_training_on_the_file_tests_what_the_protocol_tests(tmp_path: Path, protocol: str):
    table = make_table(subjects=23)
    config = TrainConfig(phase=4, protocol=protocol, folds=4)
    folds = assign_folds(table, config)
    assert folds.groupby("subject")["fold"].nunique().eq(1).all()
    expected = {split.test for split in make_splits(table, config)}
    given = make_splits(table, TrainConfig(phase=4), folds=folds)
    assert {split.test for split in given} == expected
    subject = table.set_index("sequence")["subject"]
    for split in given:
        assert not set(subject[list(split.validation)]) & set(subject[list(split.test)])
        assert not set(subject[list(split.validation)]) & set(subject[list(split.train)])


def test_a_run_names_its_file_of_folds(tmp_path: Path):
    store = make_store(tmp_path / "store", make_table(subjects=6))
    write_folds(store.path, tmp_path / "folds.csv", "--protocol", "stratified-group", "--folds", "2")
    with (tmp_path / "folds.csv").open("a") as file:
        file.write("gone,S000,1\n")
    sizes = ["--phase", "4", "--model", "linear", "--timesteps", "9", "--no-augment", "--no-baselines"]
    command = ["train", str(store.path), "-o", str(tmp_path / "run"), "--folds-file", str(tmp_path / "folds.csv")]
    both = CliRunner().invoke(app, [*command, "--protocol", "loso"])
    assert both.exit_code == 2
    assert "--folds-file and --protocol both say how to split" in both.stderr
    result = CliRunner().invoke(app, [*command, *sizes])
    assert result.exit_code == 0, result.output
    digest = hashlib.sha256((tmp_path / "folds.csv").read_bytes()).hexdigest()
    assert "1 sequences of folds.csv are not in the data set: gone" in result.stdout
    assert f"protocol file: 2 folds of folds.csv (SHA-256 {digest})" in result.stdout
    assert digest in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize("protocol", ["table", "file"])
def test_folds_that_split_a_subject_are_told_when_written_and_when_trained(tmp_path: Path, protocol: str):
    table = make_table(subjects=4)
    # S000 and S001 are tested by both folds.
    table["fold"] = ["1", "2", "1", "2"] * 2 + ["1"] * 4 + ["2"] * 4
    store = make_store(tmp_path / "store", table, flow=True)
    folds = tmp_path / "folds.csv"
    written = CliRunner().invoke(app, ["folds", str(store.path), "-o", str(folds), "--protocol", "table"])
    assert written.exit_code == 0
    assert "2 of the subjects are in several folds: subject leakage" in written.stderr
    options = ["--protocol", "table"] if protocol == "table" else ["--folds-file", str(folds)]
    sizes = ["--phase", "5", "--model", "linear", "--timesteps", "9", "--no-augment", "--no-baselines"]
    sizes += ["--classes", "anger,disgust,happy,surprise"]
    result = CliRunner().invoke(app, ["train", str(store.path), "-o", str(tmp_path / "run"), *options, *sizes])
    assert result.exit_code == 0, result.output
    note = "subject leakage: the folds put 2 subjects into training and test: S000, S001"
    assert note in result.stdout
    assert note in (tmp_path / "run" / "report.txt").read_text()
    assert "50 % of the test sequences have their subject in the training part" in result.stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sequence,subject\nS000_001,S000\n", "must have the columns sequence and fold"),
        ("sequence,fold\nS000_001,one\n", "must have the columns sequence and fold, a whole number"),
        ("sequence,fold\nS000_001,0\n", "folds count from 1, got 0"),
        ('sequence,fold\nS000_001,1\n"S000_002,1\nS000_003,2\n', "line 3 is not CSV: unexpected end of data"),
        ('sequence,fold\nS000_001,1\n"S000_002,1\nS000_003",2\n', "line 3, column sequence: a quoted cell must not"),
        ("sequence,fold\nS000_001\n", "line 2 must have"),
        ("", "must have the columns sequence and fold, got none"),
        ("sequence,fold\nS000_001,1\nS000_001,2\n", "names 1 sequences twice, for example 'S000_001'"),
    ],
)
def test_files_that_are_none_are_refused(tmp_path: Path, text: str, message: str):
    (tmp_path / "folds.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_folds(tmp_path / "folds.csv")


def test_folds_that_do_not_fit_the_sequences_are_refused():
    table = make_table(subjects=4)
    folds = assign_folds(table, TrainConfig(protocol="loso"))
    with pytest.raises(ValueError, match="1 sequences have no fold, for example 'S000_001'"):
        make_splits(table, TrainConfig(phase=4), folds=folds.iloc[1:])
    # A sequence that the data set no longer has: the folds of all others stay.
    more = pd.concat([folds, pd.DataFrame({"sequence": ["X"], "fold": [1]})])
    assert make_splits(table, TrainConfig(phase=4), folds=more) == make_splits(table, TrainConfig(phase=4), folds=folds)
    with pytest.raises(ValueError, match="fold 1 leaves nothing to train on: there must be another fold"):
        make_splits(table, TrainConfig(phase=4), folds=folds.assign(fold=1))
    with pytest.raises(ValueError, match="random is a single split"):
        assign_folds(table, TrainConfig())
    with pytest.raises(ValueError, match="no sequence is labelled"):
        assign_folds(table.assign(emotion=pd.array([pd.NA] * len(table), dtype="Int64")), TrainConfig(protocol="loso"))


def test_a_listing_comes_from_a_store_or_a_set(rendered: Path, tmp_path: Path):
    store = make_store(tmp_path / "store", make_table(subjects=2))
    pd.testing.assert_frame_equal(read_listing(store.path), open_store(store.path).listing)
    assert len(read_listing(rendered)) == 6
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "journal.jsonl").write_text("")
    with pytest.raises(ValueError, match="was not finished"):
        read_listing(tmp_path / "half")


def test_folds_read_a_flat_folder_as_check_does_and_say_how(tmp_path: Path):
    root = tmp_path / "flat"
    root.mkdir()
    for subject in range(1, 5):
        for label in ("happy", "sad"):
            for frame in (1, 2, 3):
                (root / f"p{subject}_{label}_{frame:03d}.png").touch()
    patterns = ["--subject-pattern", "^(p[0-9])_", "--label-pattern", "_(?P<label>[a-z]+)_"]
    command = ["folds", str(root), "-o", str(tmp_path / "folds.csv"), "--protocol", "loso", *patterns]
    result = CliRunner().invoke(app, command, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert "layout folders: " in result.stderr
    assert "--layout names another" in result.stderr
    table = pd.read_csv(tmp_path / "folds.csv")
    scanned = scan(root, layout="folders", patterns=Patterns(subject=patterns[1], label=patterns[3])).records
    assert sorted(table["sequence"]) == sorted(record.sequence for record in scanned)
    assert set(table["subject"]) == {"p1", "p2", "p3", "p4"}
    assert table["fold"].nunique() == 4


def test_a_store_s_folds_take_no_option_of_a_data_set(tmp_path: Path):
    store = make_store(tmp_path / "store", make_table(subjects=6))
    command = ["folds", str(store.path), "-o", str(tmp_path / "folds.csv")]
    refused = CliRunner().invoke(app, [*command, "--layout", "folders"], env={"COLUMNS": "200"})
    assert refused.exit_code == 2
    assert "says how its data set was read: leave --labels, --layout and the like out" in refused.stderr
    taken = CliRunner().invoke(app, [*command, "--protocol", "loso"], env={"COLUMNS": "200"})
    assert "layout" not in taken.stderr
