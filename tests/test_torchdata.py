"""The way into PyTorch. Oracles: the store itself, torch's own padding, collating and sampling."""

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fastck.dataset.labels import EMOTIONS
from fastck.ops.motion import unpack_masks
from fastck.store.reader import Store
from fastck.training.data.foldfile import assign_folds
from fastck.training.settings.config import TrainConfig
from tests.helpers.tinystore import make_store, make_table

torch = pytest.importorskip("torch")
torchdata = pytest.importorskip("fastck.torchdata")
functional = torch.nn.functional
utils = torch.utils.data
SIDE = 16
CODES = (1, 3, 5, 7)
CLASSES = tuple(EMOTIONS[code] for code in CODES)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    table = make_table(subjects=12).assign(fold="")
    table["label"] = table["emotion"].map(EMOTIONS)
    return make_store(tmp_path_factory.mktemp("torchdata") / "store", table, side=SIDE, flow=True)


@pytest.fixture(scope="module")
def names(store: Store) -> list[str]:
    return store.table["sequence"].to_list()


def planes(store: Store, name: str, feature: str) -> np.ndarray:
    """One sequence's rows as (length, C, H, W), each feature's axes put in order by hand."""
    row = store.row(name)
    rows = store.feature(feature)[row.start : row.start + row.length]
    if feature == "mask":
        return unpack_masks(rows, width=SIDE)[:, None].astype(np.float32)
    if feature == "flow":
        return rows
    if feature == "flow_projection":
        # Column means and row means of u, then those of v.
        return np.stack([rows[:, [0, 1]], rows[:, [2, 3]]], axis=1)
    return rows[:, None]


@pytest.mark.parametrize("feature", ["projection", "pool134", "pool67", "pool34", "mask", "flow", "flow_projection"])
def test_items_are_the_stores_sequences_padded(store: Store, names: list[str], feature: str):
    dataset = torchdata.SequenceDataset(store, names, feature=feature, classes=CLASSES, timesteps=11)
    unpadded = torchdata.SequenceDataset(store, names, feature=feature, classes=CLASSES, timesteps=None)
    assert len(dataset) == len(names) == len(dataset.targets)
    for index in (0, 7, -1):
        own = torch.tensor(planes(store, names[index], feature))
        rest = 11 - len(own)
        x, y = dataset[index]
        assert torch.equal(x, functional.pad(own, (0, 0, 0, 0, 0, 0, rest - rest // 2, rest // 2)))
        assert (x.dtype, y.dtype, y.shape, x.is_contiguous()) == (torch.float32, torch.int64, (), True)
        assert CLASSES[y] == store.row(names[index]).label
        assert torch.equal(unpadded[index][0], own)
        assert unpadded[index][0].is_contiguous()


def test_a_batch_is_gathered_in_one_call_and_equals_its_items(store: Store, names: list[str]):
    dataset = torchdata.SequenceDataset(store.path, names, feature="mask", classes=CODES)
    picked = [5, 0, 5, 41]
    calls = []
    fill = dataset._gather.fill
    dataset._gather.fill = lambda *given: (calls.append(given), fill(*given))
    batch = dataset.__getitems__(picked)
    assert len(calls) == 1
    for index, (x, y) in zip(picked, batch, strict=True):
        assert torch.equal(x, dataset[index][0])
        assert torch.equal(y, dataset[index][1])


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_give_the_same_batches(store: Store, names: list[str], start: str):
    dataset = torchdata.SequenceDataset(store, names, feature="projection", classes=CLASSES, timesteps=11)
    few = utils.Subset(dataset, range(3, 19))
    alone = list(utils.DataLoader(few, batch_size=5))
    loader = utils.DataLoader(few, batch_size=5, num_workers=2, multiprocessing_context=start)
    assert [len(y) for _, y in alone] == [5, 5, 5, 1]
    for (x, y), (others, classes) in zip(alone, loader, strict=True):
        assert torch.equal(x, others)
        assert torch.equal(y, classes)


@pytest.mark.parametrize("timesteps", [11, None])
def test_batches_that_are_kept_stay_as_they_are(store: Store, names: list[str], timesteps: int | None):
    """What workers send next leaves batches, and parts of batches, that somebody keeps alone."""
    dataset = torchdata.SequenceDataset(store, names, feature="mask", classes=CLASSES, timesteps=timesteps)
    collate = None if timesteps else torchdata.pad_batch
    expected = list(utils.DataLoader(dataset, batch_size=2, collate_fn=collate))
    loader = utils.DataLoader(dataset, batch_size=2, collate_fn=collate, num_workers=2, persistent_workers=True)
    for _ in range(2):
        batches = [batch if number % 3 else (batch[0][:1], *batch[1:]) for number, batch in enumerate(loader)]
        assert len(batches) == len(expected) == 24
        for got, batch in zip(batches, expected, strict=True):
            assert len(got) == len(batch)
            for one, other in zip(got, batch, strict=True):
                assert type(one) is torch.Tensor
                assert torch.equal(one, other[: len(one)])


def collate_like_users(items: list) -> dict:
    """Items are (x, y) pairs, which any function may take apart."""
    assert len(items) == len(list(items)) == len(items[:]) == 5
    x, y = zip(*items, strict=True)
    again, _ = utils.default_collate([(own, target) for own, target in items])
    whole, _ = utils.default_collate(items)
    return {"x": torch.stack(x), "y": y, "again": again, "twice": 2 * whole, "part": whole[1:], "names": ["a", "b"]}


@pytest.mark.parametrize("workers", [0, 2])
def test_other_collate_functions_take_items(store: Store, names: list[str], workers: int):
    dataset = torchdata.SequenceDataset(store, names[:10], feature="pool34", classes=CLASSES, timesteps=11)
    loader = utils.DataLoader(dataset, batch_size=5, collate_fn=collate_like_users, num_workers=workers)
    for number, batch in enumerate(list(loader)):
        x = torch.stack([dataset[index][0] for index in range(5 * number, 5 * number + 5)])
        for got, expected in (("x", x), ("again", x), ("twice", 2 * x), ("part", x[1:])):
            assert torch.equal(batch[got], expected)
        assert list(batch["y"]) == dataset.targets[5 * number : 5 * number + 5].tolist()
    single = utils.DataLoader(dataset, batch_size=None, num_workers=workers)
    for index, (x, y) in enumerate(list(single)):
        assert torch.equal(x, dataset[index][0])
        assert y == dataset.targets[index]


def test_a_pickled_data_set_holds_no_values(store: Store, names: list[str]):
    dataset = torchdata.SequenceDataset(store, names, feature="mask", classes=CLASSES)
    x, _ = dataset[3]
    assert len(store.table) == len(names)
    packed = pickle.dumps(dataset)
    assert len(packed) < 20_000 < store.feature("mask").nbytes + 10 * x.nbytes
    assert torch.equal(pickle.loads(packed)[3][0], x)


def test_samplers_draw_from_targets(store: Store, names: list[str]):
    dataset = torchdata.SequenceDataset(store, names, feature="pool34", classes=CLASSES)
    weights = (dataset.targets == 2).double()
    sampler = utils.WeightedRandomSampler(weights, 30, generator=torch.Generator().manual_seed(0))
    drawn = torch.cat([y for _, y in utils.DataLoader(dataset, batch_size=8, sampler=sampler)])
    assert drawn.tolist() == [2] * 30
    parts = utils.random_split(dataset, [0.5, 0.5], generator=torch.Generator().manual_seed(0))
    both = torch.cat([y for part in parts for _, y in utils.DataLoader(part, batch_size=9)])
    assert sorted(both.tolist()) == sorted(dataset.targets.tolist())


def test_pad_batch_keeps_true_lengths(store: Store, names: list[str]):
    dataset = torchdata.SequenceDataset(store, names, feature="projection", classes=CLASSES, timesteps=None)
    loader = utils.DataLoader(dataset, batch_size=7, collate_fn=torchdata.pad_batch)
    position = 0
    for x, lengths, y in loader:
        assert x.shape[1] == lengths.max()
        assert (lengths.dtype, y.dtype) == (torch.int64, torch.int64)
        # torch's own packing takes the lengths, and gives the sequences back.
        packed = torch.nn.utils.rnn.pack_padded_sequence(x.flatten(2), lengths, batch_first=True, enforce_sorted=False)
        assert len(packed.data) == lengths.sum()
        for own, length in zip(x, lengths, strict=True):
            assert torch.equal(own[:length], dataset[position][0])
            assert not own[length:].any()
            position += 1
    assert position == len(names)


def test_the_table_is_there_to_split_with(store: Store, names: list[str], tmp_path: Path):
    few = names[4:40]
    dataset = torchdata.SequenceDataset(store, few, feature="pool34", classes=CLASSES)
    assert dataset.table.columns.to_list() == ["sequence", "subject", "label", "fold", "length", "target"]
    assert dataset.table["sequence"].to_list() == few
    assert [CLASSES[target] for target in dataset.table["target"]] == dataset.table["label"].to_list()
    assigned = assign_folds(store.listing, TrainConfig.from_dict({"protocol": "subject-10fold"}))
    assigned.to_csv(tmp_path / "folds.csv", index=False)
    splits = dataset.splits(tmp_path / "folds.csv")
    tested = np.concatenate([test for _, test in splits])
    assert sorted(tested) == list(range(len(few)))
    fold_of = assigned.set_index("sequence")["fold"]
    for train, test in splits:
        assert sorted([*train, *test]) == list(range(len(few)))
        assert set(dataset.table["subject"][train]).isdisjoint(dataset.table["subject"][test])
        assert fold_of[dataset.table["sequence"][test]].nunique() == 1
    by_table = dataset.splits(pd.DataFrame({"sequence": few, "fold": [1, 2] * 18}))
    assert [test[:2].tolist() for _, test in by_table] == [[0, 2], [1, 3]]
    with pytest.raises(ValueError, match="1 of 36 sequences have no fold, for example 'S001_001'"):
        dataset.splits(assigned[assigned["sequence"] != "S001_001"])


def test_bad_input_is_refused(store: Store, names: list[str], tmp_path: Path):
    options = {"feature": "projection", "classes": CLASSES}
    dataset = torchdata.SequenceDataset(store, names, **options)
    for index in (len(names), -len(names) - 1):
        with pytest.raises(IndexError, match="there are 48 sequences, got index"):
            dataset[index]
    assert len(list(dataset)) == len(names)
    with pytest.raises(ValueError, match="more than timesteps=2 "):
        torchdata.SequenceDataset(store, names, timesteps=2, **options)
    with pytest.raises(ValueError, match="timesteps must be at least 1 or None, got 0"):
        torchdata.SequenceDataset(store, names, timesteps=0, **options)
    assert torchdata.SequenceDataset(store, names, timesteps=2, too_long="last", **options)[0][0].shape[0] == 2
    with pytest.raises(ValueError, match="not in the store, for example 'S9'"):
        torchdata.SequenceDataset(store, ["S9"], **options)
    with pytest.raises(ValueError, match="feature must be one of"):
        torchdata.SequenceDataset(store, names, feature="motion", classes=CLASSES)
    with pytest.raises(ValueError, match="not a store"):
        torchdata.SequenceDataset(tmp_path, names, **options)
