"""The onset as a class of its own: it goes where its sequence goes, and is the first rows of it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fastck
from fastck.training.data.folds import make_splits
from fastck.training.data.samples import make_samples
from fastck.training.settings.config import FOUR, TrainConfig
from tests.helpers.tinystore import make_store, make_table

ONSETS = TrainConfig(phase=4, neutral="first", timesteps=9)


def apart(names: tuple[str, ...]) -> tuple[set[str], set[str]]:
    """Sequences, and the sequences whose onsets are among the names."""
    onsets = {name.removesuffix(":onset") for name in names if name.endswith(":onset")}
    return {name for name in names if not name.endswith(":onset")}, onsets


def test_the_onset_is_a_class_beside_the_others():
    assert ONSETS.class_names == (*FOUR, "neutral")
    assert TrainConfig(neutral="first").network_shape((2, 267)).n_classes == 8
    merged = TrainConfig(merge=["calm=neutral,contempt", "rest=happy"], neutral="first")
    assert merged.class_names == ("calm", "rest")
    assert TrainConfig(classes="neutral,happy", neutral="first").class_names == ("neutral", "happy")


@pytest.mark.parametrize(
    "protocol", ["random", "random-folds", "subject-10fold", "loso", "stratified-group", "folds", "table"]
)
@pytest.mark.parametrize("per_emotion", [None, 0])
def test_an_onset_is_where_its_sequence_is(protocol: str, per_emotion: int | None):
    listing = make_table(subjects=12)
    folds = None
    if protocol in ("folds", "table"):
        folds = listing[["sequence"]].assign(fold=np.arange(48) % 3 + 1)
        listing["fold"] = folds["fold"].astype(str)
    known = {} if protocol == "folds" else {"protocol": protocol}
    config = TrainConfig(phase=4, neutral="first", per_emotion=per_emotion, folds=3, **known)
    lost = {"S001_001", "S004_003"}
    table = listing[~listing["sequence"].isin(lost)].reset_index(drop=True)
    given = folds if protocol == "folds" else None
    splits = make_splits(table, config, listing=listing, folds=given)
    plain = make_splits(
        table, TrainConfig(phase=4, per_emotion=per_emotion, folds=3, **known), listing=listing, folds=given
    )
    label = listing.set_index("sequence")["emotion"]
    for split, same in zip(splits, plain, strict=True):
        for part in ("train", "validation", "test"):
            sequences, onsets = apart(getattr(split, part))
            assert tuple(sorted(sequences)) == getattr(same, part)
            assert onsets <= sequences
            assert not onsets & lost
            if per_emotion == 0 or (part != "train" and not protocol.startswith("random")):
                assert onsets == sequences
        if per_emotion is None and not protocol.startswith("random") and not lost & set(label.index[label == 1]):
            sequences, onsets = apart(split.train)
            assert len(onsets) == label[list(sequences)].value_counts().max()


def test_balanced_onsets_are_as_many_as_a_class_has():
    table = make_table(subjects=12)
    (split,) = make_splits(table, TrainConfig(phase=4, neutral="first"))
    assert sum(len(apart(part)[1]) for part in (split.train, split.test)) == 12
    for split in make_splits(table, TrainConfig(phase=4, neutral="first", protocol="loso")):
        sequences, onsets = apart(split.train)
        assert len(sequences) == 4 * len(onsets)


def test_an_onset_is_the_first_rows_of_its_sequence(tmp_path: Path):
    tfdata = pytest.importorskip("fastck.tfdata", exc_type=ImportError)
    store = make_store(tmp_path / "store", make_table(subjects=2, frames=(3, 12)), side=19, flow=True)
    samples = make_samples(store, ONSETS)
    assert len(samples.table) == 2 * len(store.table)
    lengths = store.table.set_index("sequence")["length"]
    names = samples.table["sequence"].tolist()
    for feature in ("projection", "mask", "flow"):
        gather = tfdata.Gather(
            samples, names, feature=feature, classes=samples.config.class_names, timesteps=11, padding="before"
        )
        values = gather(np.arange(len(names)))
        for number, name in enumerate(names):
            onset = name.endswith(":onset")
            assert gather.targets[number, -1] == onset
            length = lengths[name.removesuffix(":onset")]
            steps = min(2, max(length // 3, 1)) if onset else length
            whole = values[names.index(name.removesuffix(":onset"))][11 - length :]
            np.testing.assert_array_equal(values[number, 11 - steps :], whole[:steps])
            assert not values[number, : 11 - steps].any()


def test_neutral_sequences_stay_and_get_no_onset():
    table = make_table(subjects=6, emotions=(0, 5, 7))
    config = TrainConfig(classes="happy,surprise,neutral", neutral="first", per_emotion=0, protocol="loso")
    for split in make_splits(table, config):
        sequences, onsets = apart(split.test)
        assert onsets == {name for name in sequences if not name.endswith("_000")}
        assert len(sequences) == 3


def test_a_run_of_eight_classes(tmp_path: Path):
    pytest.importorskip("keras")
    from fastck.training.train import train

    table = make_table(subjects=4, emotions=(1, 2, 3, 4, 5, 6, 7))
    store = make_store(tmp_path / "store", table, flow=True)
    config = TrainConfig(
        phase=5,
        model="temporal",
        neutral="first",
        protocol="stratified-group",
        folds=2,
        timesteps=9,
        filters=4,
        epochs=1,
        final=False,
    )
    run = train(store.path, tmp_path / "run", config, verbose=0)
    assert run.classes[-1] == "neutral"
    assert len(run.classes) == 8
    assert run.report["evaluation"]["per_class"]["neutral"]["support"] == 28
    assert run.report["leakage"] == 0
    assert pd.Series(run.predictions["sequence"]).str.endswith(":onset").sum() == 28
    assert run.predictions["subject"].notna().all()
    assert any("neutral is the onset" in note for note in run.report["notes"])
    assert fastck.open_run(run.path).settings.neutral == "first"
