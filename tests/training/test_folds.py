from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from fastck.store.reader import open_store
from fastck.training.data.folds import Split, _hold_back, leakage, make_splits
from fastck.training.data.selection import balance, select
from fastck.training.settings.classes import with_classes
from fastck.training.settings.config import FOUR, TrainConfig
from tests.helpers.tinystore import make_store, make_table


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    """Tables as messy as CK+'s: 1 to 6 labelled sequences per subject, some unlabelled, emotions unequally common."""
    subjects = draw(st.integers(12, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    table = make_table(subjects=subjects, emotions=(1, 2, 3, 5, 7), seed=int(rng.integers(1000)))
    kept = rng.random(len(table)) < draw(st.floats(0.5, 1.0))
    kept |= table.groupby("emotion").cumcount().to_numpy() < 11  # enough of each for ten stratified folds
    table = table[kept].copy()
    table.loc[rng.random(len(table)) < 0.05, "emotion"] = pd.NA
    return table.sample(frac=1, random_state=int(rng.integers(1000))).reset_index(drop=True)


@settings(max_examples=25, deadline=None)
@given(
    table=tables(), protocol=st.sampled_from(["subject-10fold", "loso", "stratified-group"]), seed=st.integers(0, 99)
)
def test_no_subject_is_on_both_sides_and_every_sequence_is_tested_once(table: pd.DataFrame, protocol: str, seed: int):
    config = TrainConfig(phase=4, protocol=protocol, folds=5, seed=seed)
    splits = make_splits(table, config)
    subject = table.set_index("sequence")["subject"]
    for split in splits:
        parts = [set(subject[list(part)]) for part in (split.train, split.validation, split.test)]
        assert not parts[0] & parts[1]
        assert not parts[0] & parts[2]
        assert not parts[1] & parts[2]
        assert all(parts)
    tested = sorted(name for split in splits for name in split.test)
    assert tested == sorted(table.loc[table["emotion"].isin((1, 3, 5, 7)), "sequence"])
    assert leakage(table, splits) == 0


@settings(max_examples=10, deadline=None)
@given(table=tables(), seed=st.integers(0, 99))
def test_training_parts_are_balanced(table: pd.DataFrame, seed: int):
    emotion = table.set_index("sequence")["emotion"]
    for split in make_splits(table, TrainConfig(phase=4, protocol="subject-10fold", seed=seed)):
        assert emotion[list(split.train)].value_counts().nunique() == 1


def test_subject_folds_are_every_tenth_sorted_id():
    table = make_table(subjects=23)
    splits = make_splits(table, TrainConfig(phase=4, protocol="subject-10fold"))
    assert {name[:4] for name in splits[2].test} == {"S002", "S012", "S022"}


@pytest.mark.parametrize("protocol", ["random", "random-folds", "subject-10fold", "loso", "stratified-group"])
def test_a_quarantined_sequence_moves_nobody(protocol: str):
    listing = make_table(subjects=15)
    config = TrainConfig(phase=4, protocol=protocol, folds=3, repeats=2)
    whole = make_splits(listing, config, listing=listing)
    assert whole == make_splits(listing, config)
    lost = {"S000_001", "S003_003", *(name for name in listing["sequence"] if name.startswith("S007"))}
    table = listing[~listing["sequence"].isin(lost)].reset_index(drop=True)
    found = {split.name: split for split in make_splits(table, config, listing=listing)}
    for split in whole:
        kept = split.without(lost)
        if kept.test:
            assert found.pop(split.name) == kept
        else:
            assert {name[:4] for name in split.test} == {"S007"}
    assert not found


def test_folds_of_the_survivors_alone_would_move(tmp_path: Path):
    listing = make_table(subjects=15)
    store = make_store(tmp_path / "store", listing[listing["subject"] != "S000"].reset_index(drop=True))
    assert len(store.listing) == 56
    listing[["sequence", "subject", "emotion", "n_frames", "folder"]].to_csv(store.path / "inputs.csv", index=False)
    opened = open_store(store.path)
    assert len(opened.listing) == 60
    known = opened.listing.drop(columns=["label", "fold"])
    assert known.to_dict("list") == listing[list(known.columns)].to_dict("list")
    assert opened.listing["label"].tolist() == ["anger", "disgust", "happy", "surprise"] * 15
    config = TrainConfig(phase=4, protocol="subject-10fold")
    (first, *_) = make_splits(opened.table, config, listing=opened.listing)
    assert {name[:4] for name in first.test} == {"S010"}
    (moved, *_) = make_splits(opened.table, config)
    assert {name[:4] for name in moved.test} == {"S001", "S011"}


def test_nothing_left_to_train_on_is_told():
    listing = make_table(subjects=4, emotions=(1, 3, 5, 7))
    (split, *_) = make_splits(listing, TrainConfig(phase=4, protocol="loso"))
    table = listing[~listing["sequence"].isin(split.train)].reset_index(drop=True)
    with pytest.raises(ValueError, match="repeat1-fold01 has nothing to train on"):
        make_splits(table, TrainConfig(phase=4, protocol="loso"), listing=listing)


@pytest.mark.parametrize("mean_frames", [float("nan"), float("inf"), -1.0])
def test_a_mean_that_is_no_number_of_frames_is_refused(mean_frames: float):
    with pytest.raises(ValueError, match="mean_frames must be at least 0 and finite"):
        balance(make_table(), per_emotion=2, mean_frames=mean_frames, rng=np.random.default_rng(0))


def test_random_is_scikit_learns_split_of_the_balanced_sequences():
    table = make_table(subjects=20)
    config = TrainConfig(phase=4, per_emotion=20, seed=7)
    (split,) = make_splits(table, config)
    train, test = train_test_split(table["sequence"].to_list(), test_size=0.3, random_state=7, shuffle=True)
    assert split.train == tuple(sorted(train))
    assert split.test == split.validation == tuple(sorted(test))


def test_random_folds_cover_the_balanced_set_once():
    table = make_table(subjects=20)
    splits = make_splits(table, TrainConfig(phase=4, protocol="random-folds", per_emotion=9, folds=4))
    tested = [name for split in splits for name in split.test]
    assert len(tested) == len(set(tested)) == 36
    assert leakage(table, splits) > 0
    for split in splits:
        assert not set(split.train) & set(split.test)
        assert not set(split.validation) & set(split.test)


def test_repeats_use_other_seeds_and_the_same_seed_repeats():
    table = make_table(subjects=20)
    config = TrainConfig(phase=4, per_emotion=9, repeats=3)
    splits = make_splits(table, config)
    assert [split.repeat for split in splits] == [0, 1, 2]
    assert len({split.test for split in splits}) == 3
    assert make_splits(table, config) == splits


@given(target=st.floats(6, 14), seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_balancing_brings_the_mean_length_near_the_target(target: float, seed: int):
    table = make_table(subjects=40, emotions=(1, 3), frames=(4, 16), seed=3)
    balanced = balance(table, per_emotion=12, mean_frames=target, rng=np.random.default_rng(seed))
    means = balanced.groupby("emotion")["n_frames"].agg(["size", "mean"])
    assert (means["size"] == 12).all()
    assert ((means["mean"] - target).abs() < 0.2).all()


def test_balancing_refuses_more_than_there_is():
    table = make_table(subjects=5)
    with pytest.raises(ValueError, match=r"anger has 5 sequences .* per_emotion=6"):
        balance(table, per_emotion=6, rng=np.random.default_rng(0))


def test_select_says_what_is_missing_or_too_long():
    table = make_table(subjects=4, frames=(8, 8))
    with pytest.raises(ValueError, match=r"no sequence is labelled contempt, fear.*anger: 4, disgust: 4"):
        select(table, classes=(1, 2, 3, 4))
    with pytest.raises(ValueError, match=r"16 sequences have more than timesteps=5 .* S000_001 with 7"):
        select(table, classes=FOUR, timesteps=5)
    assert len(select(table, classes=FOUR, timesteps=5, too_long="last")) == 16
    with pytest.raises(ValueError, match="no sequence is labelled anger"):
        select(table, classes=FOUR, timesteps=5, too_long="skip")


def test_every_emotion_keeps_a_training_sequence_and_may_keep_just_one():
    table = make_table(subjects=4, emotions=(1,))
    table["emotion"] = pd.array([1, 1, 3, 3], dtype="Int64")
    one = table.assign(emotion=1)
    assert (
        len(_hold_back(with_classes(one), "subject", 0.9, np.random.default_rng(0))) == 3
    )  # of four: something has to train
    held = _hold_back(with_classes(table), "subject", 0.5, np.random.default_rng(0))
    assert sorted(held["emotion"]) == [1, 3]
    assert _hold_back(with_classes(table), "subject", 0.75, np.random.default_rng(0))["subject"].nunique() == 2


def test_at_least_one_subject_validates():
    held = _hold_back(with_classes(make_table(subjects=12)), "subject", 0.001, np.random.default_rng(0))
    assert held["subject"].nunique() == 1


def test_all_are_kept_where_no_balance_is_asked_for():
    table = make_table(subjects=5).iloc[3:]
    pd.testing.assert_frame_equal(
        balance(table, per_emotion=0, rng=np.random.default_rng(0)), table.reset_index(drop=True)
    )


def test_no_mean_length_draws_blindly_the_rarer_code_first():
    table = make_table(subjects=9, emotions=(7, 1))
    balanced = balance(table, per_emotion=4, mean_frames=0, rng=np.random.default_rng(5))
    rng = np.random.default_rng(5)
    kept = [table[table["emotion"] == emotion].iloc[rng.permutation(9)[:4]] for emotion in (1, 7)]
    pd.testing.assert_frame_equal(balanced, pd.concat(kept).sort_index().reset_index(drop=True))


def test_the_longest_sequence_that_fits_has_39_differences():
    assert len(select(make_table(subjects=2, frames=(40, 40)), classes=FOUR)) == 8
    with pytest.raises(ValueError, match="more than timesteps=39 steps"):
        select(make_table(subjects=2, frames=(41, 41)), classes=FOUR)


@pytest.mark.parametrize("protocol", ["random-folds", "stratified-group"])
def test_another_seed_gives_other_folds(protocol: str):
    table = make_table(subjects=20)
    first, second = (
        {split.test for split in make_splits(table, TrainConfig(phase=4, protocol=protocol, per_emotion=0, seed=seed))}
        for seed in (0, 1)
    )
    assert not first & second


def test_leakage_is_the_share_of_test_sequences_whose_subject_trains():
    table = make_table(subjects=3, emotions=(1, 3))
    one = Split(train=("S000_001",), test=("S000_003", "S001_001", "S002_001"))
    other = Split(train=("S001_001",), test=("S002_003",))
    assert leakage(table, [one, other]) == 1 / 4
    assert leakage(table, [Split(train=("S000_001", "S001_001"), test=("S000_003", "S001_003"))]) == 1
    assert np.isnan(leakage(table, [Split(train=("S000_001",))]))


def test_a_split_that_leaks_is_never_returned(monkeypatch: pytest.MonkeyPatch):
    table = make_table(subjects=3)
    for split, message in [
        (Split(train=("S000_001",), test=("S000_001",)), "repeat1-fold01: a sequence is in training and test"),
        (Split(train=("S000_001",), test=("S000_003",)), "repeat1-fold01: a subject is in training and test"),
        (Split(validation=("S000_001",), test=("S000_003",)), "repeat1-fold01: a subject is in training and test"),
    ]:
        monkeypatch.setattr("fastck.training.data.folds._cross_validate", lambda *given, split=split: [split])
        with pytest.raises(RuntimeError, match=message):
            make_splits(table, TrainConfig(phase=4, protocol="loso"))


def test_folds_without_a_test_sequence_are_left_out():
    splits = make_splits(make_table(subjects=4), TrainConfig(phase=4, protocol="subject-10fold"))
    assert [split.fold for split in splits] == [0, 1, 2, 3]
    assert [split.name for split in splits] == [f"repeat1-fold0{number}" for number in (1, 2, 3, 4)]


@pytest.mark.parametrize(
    ("subjects", "settings", "message"),
    [
        (1, {"protocol": "random", "test_size": 0.999}, "4 sequences are too few to split"),
        (1, {"protocol": "loso"}, "fold 1 leaves nothing to train on: loso needs at least two subjects"),
        (1, {"protocol": "random-folds", "folds": 5}, "random-folds with 5 folds needs as many sequences, got 4"),
        (
            3,
            {"protocol": "stratified-group", "folds": 4},
            "stratified-group with 4 folds needs as many subjects, got 3",
        ),
    ],
)
def test_too_few_sequences_or_subjects_are_told(subjects: int, settings: dict[str, object], message: str):
    with pytest.raises(ValueError, match=message):
        make_splits(make_table(subjects=subjects), TrainConfig(phase=4, **settings))


def test_a_fold_is_named_and_counted_from_one():
    assert Split(repeat=1, fold=2, test=("a",)).name == "repeat2-fold03"
    table = make_table(subjects=2)
    table.loc[table["subject"] == "S000", "emotion"] = 2  # not one of the phase's, but it has a place in the folds
    with pytest.raises(ValueError, match="fold 2 leaves nothing to train on"):
        make_splits(table, TrainConfig(phase=4, protocol="subject-10fold"))


def test_as_many_members_as_folds_are_enough():
    for protocol, subjects in (("random-folds", 1), ("stratified-group", 4)):
        splits = make_splits(make_table(subjects=subjects), TrainConfig(phase=4, protocol=protocol, folds=4))
        assert len(splits) == 4


def test_emotions_rarer_than_the_folds_are_told():
    table = make_table(subjects=8).iloc[::5]  # seven subjects, one sequence each, at most two of an emotion
    with pytest.raises(ValueError, match=r"stratified-group with 5 folds: n_splits=5 .*; lower folds"):
        make_splits(table, TrainConfig(phase=4, protocol="stratified-group", folds=5))


def test_unlabelled_sequences_are_never_used():
    table = make_table(subjects=12)
    table.loc[::7, "emotion"] = pd.NA
    unlabelled = set(table.loc[table["emotion"].isna(), "sequence"])
    for split in make_splits(table, TrainConfig(phase=4, protocol="loso")):
        assert not unlabelled & {*split.train, *split.validation, *split.test}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"phase": 7}, "phase must be one of 1, 2, 3, 4, 5, 6, got 7"),
        ({"phase": 3, "size": 34}, "size must be one of 267 for phase 3"),
        ({"protocol": "subject"}, "protocol must be one of random,"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"epochs": "ten"}, "epochs must be of type int, got 'ten'"),
        ({"fused": 1}, "fused must be of type bool"),
        ({"epochs": True}, "epochs must be of type int, got True"),
        ({"epoch": 3}, "unknown training settings epoch"),
        ({"dropout": 1.0}, "dropout must be"),
        ({"batch_size": 4, "micro_batch": 8}, "micro_batch must be at most batch_size"),
    ],
)
def test_settings_are_checked(settings: dict[str, object], message: str):
    with pytest.raises(ValueError, match=message):
        TrainConfig.from_dict(settings)


def test_leakage_looks_at_who_validates_but_is_not_tested():
    table = pd.DataFrame({"sequence": list("abcd"), "subject": ["S1", "S2", "S3", "S1"]})
    validated = Split(train=("b",), validation=("d",), test=("a", "c"))
    assert leakage(table, [validated]) == 0.5
    # Under the protocol "random" the test part validates: it is nobody else.
    assert leakage(table, [Split(train=("b",), validation=("a", "c"), test=("a", "c"))]) == 0


def test_folds_may_be_numbered_by_a_date():
    table = make_table(subjects=6)
    numbers = {subject: 20260101 + place // 2 for place, subject in enumerate(sorted(table["subject"].unique()))}
    folds = pd.DataFrame({"sequence": table["sequence"], "fold": table["subject"].map(numbers)})
    config = TrainConfig(phase=4, per_emotion=0)
    splits = make_splits(table, config, folds=folds)
    assert [split.fold for split in splits] == [20260100, 20260101, 20260102]
    small = make_splits(table, config, folds=folds.assign(fold=folds["fold"] - 20260100))
    assert [split.test for split in splits] == [split.test for split in small]
