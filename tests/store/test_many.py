"""What a store does in parts and columns, so that a million sequences fit, against the plain way of doing it."""

import gc
import tracemalloc
from itertools import accumulate

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastck.config import PreprocessConfig
from fastck.dataset.layouts import scan
from fastck.store import files, tables
from fastck.store.builder import StoreBuilder
from fastck.store.files import allocate, copy_rows, read_pieces
from fastck.store.finished import Entries
from fastck.store.plan import Plan
from fastck.store.reader import open_store

FOUND = {"height": 9, "width": 8, "n_missed": 1, "n_box_changes": 0, "motion": 0.1, "motion_at_box_changes": np.nan}
MOST_BYTES = 2000  # of memory for each sequence; there is a target


def good(sums=("00000000", "00000000")):
    return {"row": dict(FOUND), "crc32": dict(zip(("boxes", "projection"), sums, strict=True))}


def make_plan(root, n):
    for number in range(n):
        folder = root / f"P{number // 100:03d}" / f"{number % 100:03d}"
        folder.mkdir(parents=True)
        for frame in (1, 2, 3):
            (folder / f"{frame}.png").touch()
    found = scan(root, layout="folders")
    return Plan(found.records, root, found.fingerprints)


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return make_plan(tmp_path_factory.mktemp("many"), 12)


# -- What is done -----------------------------------------------------------------------------------------------------
def test_the_last_entry_of_a_sequence_counts(plan, tmp_path):
    names = [record.sequence for record in plan.records]
    with StoreBuilder(tmp_path, PreprocessConfig(), plan, versions={}) as builder:
        arrays = builder.target.arrays
        first = [(3, names[3], {"reason": "dark"}), (5, names[5], good())]
        builder.record(Entries.of(first, arrays))
        builder.record(
            Entries.of([(7, names[7], {"reason": "cut"}), (3, names[3], good(("0000000a", "ffffffff")))], arrays)
        )
        assert builder.done.reasons == {7: "cut"}
        assert list(np.flatnonzero(builder.done.good)) == [3, 5]
    with StoreBuilder(tmp_path, PreprocessConfig(), plan, versions={}) as builder:
        # The rows are zeros, which is what no checksum here says.
        assert [names[place] in builder.done for place in (3, 5, 7, 8)] == [False, False, True, False]
        assert builder.done.reasons == {7: "cut"}
        assert len(builder.done) == 1
        assert 7 not in builder.done.to_do
        assert len(builder.done.to_do) == 11


def test_places_of_sequences(plan):
    assert [plan.find(planned.sequence) for planned in plan] == list(range(12))
    assert plan.find("") is None
    assert plan.find("P000_0115") is None
    assert plan.find("Z") is None
    assert [planned.start for planned in plan] == list(range(0, 24, 2))
    assert [planned.frame_start for planned in plan[2:4]] == [6, 9]
    assert plan[-1].sequence == "P000_011"
    with pytest.raises(IndexError):
        plan[12]


@pytest.mark.parametrize("part", [1, 2, 1000])
def test_some_of_a_plan_in_parts_of_any_size(plan, monkeypatch, part):
    monkeypatch.setattr("fastck.store.plan._PART", part)
    assert list(plan.some(np.array([7, 3, 4]))) == [plan[7], plan[3], plan[4]]
    assert list(plan.some(np.array([], np.int64))) == []


# -- Rows -------------------------------------------------------------------------------------------------------------
@given(
    counts=st.lists(st.integers(0, 6), min_size=1, max_size=9),
    chosen=st.randoms(use_true_random=False),
    block=st.integers(1, 99),
)
@settings(max_examples=60, deadline=None)
def test_stretches_of_rows_are_read_and_copied_as_numpy_does(tmp_path_factory, counts, chosen, block):
    folder = tmp_path_factory.mktemp("rows")
    rows = np.random.default_rng(1).random((sum(counts), 3)).astype(np.float32)
    np.save(folder / "a.npy", rows)
    starts = np.array([0, *accumulate(counts)][:-1])
    wanted = [place for place in range(len(counts)) if chosen.random() < 0.6]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "BLOCK", block)
        pieces = read_pieces(folder / "a.npy", starts[wanted], np.array(counts)[wanted])
        read = [b"".join(own) for own in pieces]
        total = sum(counts[place] for place in wanted)
        allocate(folder / "b.npy", (total + 2, 3), rows.dtype)
        here = [2, *accumulate((counts[place] for place in wanted), initial=2)][1:]
        copy_rows(
            folder / "a.npy",
            folder / "b.npy",
            [(starts[place], new, counts[place]) for place, new in zip(wanted, here, strict=False)],
        )
    expected = [rows[starts[place] : starts[place] + counts[place]] for place in wanted]
    assert read == [part.tobytes() for part in expected]
    np.testing.assert_array_equal(np.load(folder / "b.npy"), np.concatenate([np.zeros((2, 3)), *expected]))


def test_a_file_that_ends_too_early_is_an_error(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 3)))
    content = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(content[:-24])
    with pytest.raises(OSError, match="the file ends before its last row"):
        [b"".join(own) for own in read_pieces(tmp_path / "a.npy", np.array([0]), np.array([4]))]


# -- Tables -----------------------------------------------------------------------------------------------------------
@given(st.lists(st.tuples(st.text(), st.none() | st.integers(0, 9), st.floats()), max_size=9), st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_a_table_in_parts_is_what_pandas_writes_at_once(rows, part):
    rows = [(text.encode(errors="replace").decode(), number, value) for text, number, value in rows]
    table = pd.DataFrame(rows, columns=["text", "number", "value"]).astype({"text": object, "number": "Int64"})
    quoted = tables.has_returns(table["text"])
    assert quoted == any("\r" in text for text, _, _ in rows)
    whole = table.to_csv(index=False, lineterminator="\n", quoting=2 if quoted else 0)
    cells = [(text, number, None if np.isnan(value) else value) for text, number, value in rows]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "PART", part)
        assert b"".join(tables.table_parts(list(table), cells, quoted=quoted)) == whole.encode()


def test_parts_of_any_size_give_the_same_store(plan, tmp_path, monkeypatch):
    stores = []
    for part in (2, 1000):
        monkeypatch.setattr(tables, "PART", part)
        with StoreBuilder(tmp_path / str(part), PreprocessConfig(), plan, versions={"fastck": "1"}) as builder:
            made = []
            for place, planned in enumerate(plan):
                writer = builder.target.writer(planned)
                writer.write({"boxes": np.full((3, 4), place, np.int32)})
                writer.write({"projection": np.full((2, 2, 267), place, np.float32)})
                entry = {"reason": 'bad, "very"'} if place % 5 == 1 else writer.entry(FOUND)
                made.append((place, planned.sequence, entry))
            builder.record(Entries.of(made, builder.target.arrays))
            builder.finish()
        stores.append(tmp_path / str(part))
    for name in (
        "sequences.csv",
        "quarantine.csv",
        "checksums.csv",
        "inputs.csv",
        "boxes.npy",
        "projection.npy",
        "manifest.json",
    ):
        assert (stores[0] / name).read_bytes() == (stores[1] / name).read_bytes()
    store = open_store(stores[0])
    assert list(store.verify()) == []
    kept = [place for place in range(12) if place % 5 != 1]
    np.testing.assert_array_equal(store.boxes[::3, 0], kept)
    np.testing.assert_array_equal(store.feature("projection")[::2, 0, 0], kept)
    assert list(store.quarantine["reason"]) == ['bad, "very"'] * 3


# -- Memory -----------------------------------------------------------------------------------------------------------
def peak_bytes(root, n):
    """Return the most that listing, planning, recording and closing take at once."""
    gc.collect()
    tracemalloc.start()
    try:
        plan = make_plan(root, n)
        with StoreBuilder(root.with_suffix(".store"), PreprocessConfig(), plan, versions={"fastck": "1"}) as builder:
            for place, planned in enumerate(plan):
                builder.record(Entries.of([(place, planned.sequence, good())], builder.target.arrays))
            b"".join(tables.sequences_parts(plan, builder.done))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_sequence_takes_little_memory(tmp_path):
    peak_bytes(tmp_path / "warm", 10)
    few, many = (peak_bytes(tmp_path / str(n), n) for n in (200, 1200))
    assert (many - few) / 1000 < MOST_BYTES
