"""Several stores trained together: rows stay where they are, nobody is mixed up, and each data set can be left out."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import fastck
from fastck.cli import app
from fastck.store.joined import JoinedRows, join_stores
from fastck.training.data.folds import make_splits
from fastck.training.data.samples import open_samples
from fastck.training.record import describe_run
from fastck.training.settings.config import TrainConfig
from tests.helpers.tinystore import make_store, make_table

APART = "leave-one-dataset-out"


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two stores of the same names of sequences and subjects."""
    folder = tmp_path_factory.mktemp("joined")
    tables = make_table(subjects=5, seed=1), make_table(subjects=4, seed=2)
    return [make_store(folder / name, table, seed=7).path for name, table in zip("ab", tables, strict=True)]


def test_rows_are_those_of_the_arrays_below_each_other():
    arrays = [np.arange(7 * 6).reshape(7, 2, 3), np.arange(3 * 6).reshape(3, 2, 3) - 50, np.zeros((0, 2, 3), int)]
    whole, joined = np.concatenate(arrays), JoinedRows(arrays)
    assert (joined.shape, joined.dtype, len(joined)) == (whole.shape, whole.dtype, 10)
    for positions in ([0, 9, 6, 7, 7], [], [8, 1]):
        np.testing.assert_array_equal(joined[np.array(positions, int)], whole[positions])
    for part in (slice(0, 7), slice(7, 9), slice(5, 9), slice(9, 2), slice(None), slice(8, 1, -3), slice(10, 12)):
        np.testing.assert_array_equal(joined[part], whole[part])
    assert np.shares_memory(joined[7:9], arrays[1])


def test_a_batch_holds_each_stores_own_rows(stores: list[Path]):
    tfdata = pytest.importorskip("fastck.tfdata", exc_type=ImportError)
    joined = join_stores(stores)
    names = joined.table["sequence"].sample(frac=1, random_state=0).tolist()
    gather = tfdata.Gather(joined, names, feature="projection", classes=(1, 3, 5, 7), timesteps=9, padding="before")
    values = gather(np.arange(len(names)))
    for name, own in zip(names, values, strict=True):
        store, sequence = name.split("/")
        rows = joined.stores[store].sequence(sequence, "projection")
        np.testing.assert_array_equal(own[9 - len(rows) :, :, :, 0], rows)


def test_each_data_set_is_tested_by_the_others(stores: list[Path]):
    samples = open_samples(stores, TrainConfig(phase=4, protocol=APART))
    splits = make_splits(samples.store.table, samples.config, listing=samples.store.listing)
    assert [{name[:2] for name in split.test} for split in splits] == [{"a/"}, {"b/"}]
    assert [{name[:2] for name in (*split.train, *split.validation)} for split in splits] == [{"b/"}, {"a/"}]
    assert [len(split.test) for split in splits] == [20, 16]


@pytest.mark.parametrize("protocol", ["subject-10fold", "loso"])
def test_a_subject_of_one_store_is_none_of_another(stores: list[Path], protocol: str):
    samples = open_samples(stores, TrainConfig(phase=4, protocol=protocol, per_emotion=0))
    splits = make_splits(samples.store.table, samples.config, listing=samples.store.listing)
    assert len(splits) == 9
    for split in splits:
        subjects = [{name[:6] for name in part} for part in (split.train, split.validation, split.test)]
        assert [len(part) for part in subjects][2] == 1
        assert sum(len(part) for part in subjects) == 9


def test_stores_are_called_after_their_folders(tmp_path: Path):
    table = make_table(subjects=2)
    one, two = (make_store(tmp_path / name / "store", table).path for name in ("x", "y"))
    assert list(join_stores([one, two]).stores) == ["x/store", "y/store"]
    with pytest.raises(ValueError, match="is given twice: name each store once"):
        join_stores([one, tmp_path / "y" / ".." / "x" / "store"])
    with pytest.raises(ValueError, match="leave-one-dataset-out needs sequences of two stores or more"):
        make_splits(table, TrainConfig(phase=4, protocol=APART))


def test_stores_of_other_features_or_sizes_are_refused(stores: list[Path], tmp_path: Path):
    flow = make_store(tmp_path / "flow", make_table(subjects=2), flow=True)
    with pytest.raises(ValueError, match=r"reads the feature 'flow_projection'; .*a holds mask, projection"):
        open_samples([flow.path, stores[0]], TrainConfig(phase=5))
    large = make_store(tmp_path / "large", make_table(subjects=2), side=20)
    with pytest.raises(ValueError, match=r"'projection' in one shape: a has \(2, 16\) float32, large \(2, 20\)"):
        open_samples([stores[0], large.path], TrainConfig())
    assert join_stores([stores[0], flow.path]).features == ("mask", "projection", "pool134", "pool67", "pool34")


def test_stores_are_trained_together(stores: list[Path], tmp_path: Path):
    sizes = ["--phase", "4", "--model", "linear", "--timesteps", "9", "--no-augment", "--neutral", "first"]
    command = ["train", *map(str, stores), "-o", str(tmp_path / "run"), "--protocol", APART, *sizes]
    result = CliRunner().invoke(app, command, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert "each of 2 data sets tested on a network that never saw it" in result.stdout
    run = fastck.open_run(tmp_path / "run")
    assert [store["name"] for store in run.record["stores"]] == ["a", "b"]
    assert [(entry["name"], entry["n"]) for entry in run.report["datasets"]] == [("a", 40), ("b", 32)]
    shares = run.predictions["sequence"].str.startswith("a/")
    right = (run.predictions["true"] == run.predictions["predicted"])[shares].mean()
    assert run.report["datasets"][0]["accuracy"]["value"] == pytest.approx(right)
    page = (run.path / "report.html").read_text()
    assert "Data sets" in page
    assert str(stores[1]) in page
    again = CliRunner().invoke(app, [*command[:1], str(stores[0]), *command[3:], "--resume"])
    assert again.exit_code == 2


def test_the_tables_folds_are_a_protocol():
    table = make_table(subjects=6)
    config = TrainConfig(phase=4, protocol="table")
    with pytest.raises(ValueError, match="24 sequences have no fold, for example 'S000_001'"):
        make_splits(table, config)
    table["fold"] = table["subject"].str[3:].map(lambda digit: str(2 + 8 * (int(digit) % 2)))
    first, second = make_splits(table, config)
    assert {name[:4] for name in first.test} == {"S000", "S002", "S004"}
    subject = table.set_index("sequence")["subject"]
    assert not set(subject[list(second.validation)]) & set(subject[list(second.train)])
    by_name = make_splits(table.assign(fold=table["fold"].map({"2": "x", "10": "a"})), config)
    assert by_name[0].test == second.test
    sequences = make_splits(table.assign(fold=["1", "2"] * 12), config)
    assert [len(split.test) for split in sequences] == [12, 12]


def list_files(store: Path, marks: list[str], sums: list[str]) -> None:
    """Give a store the lists of its sequences' fingerprints and checksums."""
    table = fastck.open_store(store).table
    listed = table[["sequence", "subject", "emotion", "n_frames", "folder"]].assign(fingerprint=marks)
    listed.to_csv(store / "inputs.csv", index=False)
    parts = [
        pd.DataFrame({"sequence": table["sequence"], "array": array, "crc32": sums})
        for array in ("boxes", "projection")
    ]
    pd.concat(parts).to_csv(store / "checksums.csv", index=False)


@pytest.mark.parametrize("alike", ["files", "content"])
def test_people_of_two_stores_are_found(tmp_path: Path, alike: str):
    table = make_table(subjects=3)
    one, two, three = (make_store(tmp_path / name, table).path for name in "abc")
    count = len(table)

    def own(word: str) -> list[str]:
        return [f"{word}{place}" for place in range(count)]

    first = own("x")
    # Of the second store's people one sequence of the second is the first store's third person.
    second = ["q", *own("y")[1:4], "q", first[8], *own("y")[6:]]
    files, content = (first, own("m")) if alike == "files" else (own("m"), first)
    list_files(one, files, content)
    files, content = (second, own("n")) if alike == "files" else (own("n"), second)
    list_files(two, files, content)
    list_files(three, own("z"), own("p"))
    samples = open_samples([one, two, three], TrainConfig(phase=4, protocol="loso", per_emotion=0))
    assert samples.people == {"a/S002": "a/S002", "b/S001": "a/S002"}
    splits = make_splits(samples.store.table, samples.config, listing=samples.store.listing)
    record = describe_run(samples, samples.config, splits, None, None)
    # Both of nine, and each is four sequences of 36.
    assert record["leakage"] == pytest.approx(8 / 36)
    assert any("the same people are in several stores, 1 of them: a/S002 = b/S001." in note for note in record["notes"])


def test_a_person_is_one_over_three_stores(tmp_path: Path):
    table = make_table(subjects=1)
    stores = [make_store(tmp_path / name, table).path for name in "abc"]
    for store, marks in zip(stores, (["1", "2", "3", "4"], ["5", "6", "7", "8"], ["8", "9", "1", "0"]), strict=True):
        list_files(store, marks, [f"{store.name}{place}" for place in range(4)])
    people = open_samples(stores, TrainConfig(phase=4)).people
    assert set(people) == {"a/S000", "b/S000", "c/S000"}
    assert len(set(people.values())) == 1


def test_a_single_store_and_one_without_lists_share_nobody(stores: list[Path]):
    assert open_samples(stores, TrainConfig(phase=4)).people == {}
    assert open_samples(stores[0], TrainConfig(phase=4)).people == {}
