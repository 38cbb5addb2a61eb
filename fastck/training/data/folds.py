"""Which sequences train, validate and test, and how many subjects leak from one part into another."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from fastck.training.data.neutral import and_onsets, drawn_onsets, onset_name, shown_classes, with_onsets
from fastck.training.data.selection import balance, select
from fastck.training.settings.classes import NEUTRAL, check_labels, class_of, with_classes
from fastck.training.settings.config import PHASES, SUBJECT_INDEPENDENT, TrainConfig

SUBJECT_FOLDS = 10  # fold k holds the sorted subject ids[k::10], as most CK+ publications do


@dataclass(frozen=True, kw_only=True)
class Split:
    """The sequences of one training and test round.

    Attributes
    ----------
    repeat, fold : int
        Count from 0.
    train, validation, test : tuple of str
        Sequence names, sorted. Under the protocol "random" `validation` equals `test`, as in the paper.
    """

    repeat: int = 0
    fold: int = 0
    train: tuple[str, ...] = field(default=())
    validation: tuple[str, ...] = field(default=())
    test: tuple[str, ...] = field(default=())

    @property
    def name(self) -> str:
        """Short name for folders: "repeat1-fold01"; "final" for the one that tests nobody."""
        if not self.test:
            return "final"
        return f"repeat{self.repeat + 1}-fold{self.fold + 1:02d}"

    @property
    def calibrates(self) -> bool:
        """Whether a temperature may be fitted on the validating sequences: they are none of the tested ones."""
        return bool(self.validation) and not set(self.validation) & set(self.test)

    def without(self, lost: Collection[str]) -> "Split":
        """Return the split without some sequences."""
        train, validation, test = (
            tuple(name for name in part if name not in lost) for part in (self.train, self.validation, self.test)
        )
        return replace(self, train=train, validation=validation, test=test)


def make_splits(
    table: pd.DataFrame,
    config: TrainConfig,
    *,
    listing: pd.DataFrame | None = None,
    folds: pd.DataFrame | None = None,
) -> list[Split]:
    """Select, balance and split a store's sequences as `config` says.

    Parameters
    ----------
    table : DataFrame
        A store's table.
    config : TrainConfig
        `protocol`, `folds`, `repeats`, `seed`, balancing and sizes are used.
    listing : DataFrame, optional
        Every sequence of the data set, quarantined ones too: a store's `listing`. Splits are made of it, then those
        that are not in the table are taken out, so that a sequence that is lost moves no other. By default the table.
    folds : DataFrame, optional
        Columns sequence and fold, from 1: which fold tests a sequence, in place of `config.protocol`. Sequences that
        the data set no longer has are passed over.

    Returns
    -------
    splits : list of Split
        Repeat by repeat, fold by fold. Folds without a test sequence are left out.

    Raises
    ------
    ValueError
        If there are too few sequences or subjects for the protocol, or `folds` does not fit the sequences.
    """
    check_labels(table if listing is None else listing, config.merge, onsets=config.neutral is not None)
    table = with_classes(table, config.merge)
    listing = table if listing is None else with_classes(listing, config.merge)
    classes = shown_classes(listing, config)
    select(table, classes=classes, timesteps=config.timesteps, too_long=config.too_long)
    selected = select(listing, classes=classes, timesteps=config.timesteps, too_long=config.too_long)
    lost = set(listing["sequence"]) - set(table["sequence"])
    lost |= {onset_name(name) for name in lost}
    splits: list[Split] = []
    for repeat in range(config.repeats):
        if folds is not None:
            made = _cross_validate(listing, selected, config, repeat, folds)
        elif config.protocol == "random":
            made = _random(selected, config, repeat)
        else:
            made = _cross_validate(listing, selected, config, repeat)
        if config.neutral is not None:
            made = _add_onsets(made, selected, config, repeat, balanced_first=folds is None and _balanced_first(config))
        splits.extend(split.without(lost) for split in made)
    splits = [split for split in splits if split.test]
    samples = selected if config.neutral is None else with_onsets(selected, config)
    for split in splits:
        _check_split(samples, split, independent=folds is None and config.protocol in SUBJECT_INDEPENDENT)
    return splits


def final_split(table: pd.DataFrame, config: TrainConfig, splits: Sequence[Split]) -> Split:
    """Return the split that trains on all sequences and tests nobody.

    Parameters
    ----------
    table : DataFrame
        Of the run's samples, onsets among them.
    config : TrainConfig
    splits : sequence of Split
        The run's. What is in any part of the first repeat is used, balanced as the training part of a fold is.
    """
    used = {name for split in splits if split.repeat == 0 for name in (*split.train, *split.validation, *split.test)}
    rng = np.random.default_rng((config.seed, len(splits)))
    rows = table[table["sequence"].isin(used)].reset_index(drop=True)
    if config.per_emotion is not None:
        # What was balanced before it was split may have lost a sequence to the quarantine.
        config = replace(config, per_emotion=min(config.per_emotion, int(rows["label"].value_counts().min())))
    rows = _balance_as(rows, config, rng)
    return Split(fold=len(splits), train=_names(rows["sequence"]))


def _balanced_first(config: TrainConfig) -> bool:
    """Return whether sequences are balanced before they are split, as in the paper."""
    return config.protocol in ("random", "random-folds")


def _add_onsets(
    made: list[Split], selected: pd.DataFrame, config: TrainConfig, repeat: int, *, balanced_first: bool
) -> list[Split]:
    """Put the onset of each sequence beside it; where classes are balanced, as many onsets as a class has."""
    neutral = class_of(NEUTRAL, config.merge)
    shown = set(selected.loc[selected["label"] != neutral, "sequence"])
    balanced = (PHASES[config.phase].per_emotion if config.per_emotion is None else config.per_emotion) > 0

    def drawn(names: Iterable[str], fold: int) -> set[str]:
        rng = np.random.default_rng((config.seed + repeat, fold, len(made)))
        return drawn_onsets(selected[selected["sequence"].isin(list(names))], config, rng)

    if balanced and balanced_first:
        shown = drawn({name for split in made for name in (*split.train, *split.test)}, 0)
    splits = []
    for split in made:
        known = drawn(split.train, split.fold) if balanced and not balanced_first else shown
        splits.append(
            replace(
                split,
                train=and_onsets(split.train, known),
                validation=and_onsets(split.validation, shown),
                test=and_onsets(split.test, shown),
            )
        )
    return splits


def _random(selected: pd.DataFrame, config: TrainConfig, repeat: int) -> list[Split]:
    """Balance, then 70/30 with scikit-learn (paper, fig. 12); the test part validates too, as in the paper."""
    from sklearn.model_selection import train_test_split

    seed = config.seed + repeat
    balanced = _balance_as(selected, config, np.random.default_rng(seed))
    try:
        train, test = train_test_split(
            balanced["sequence"].to_numpy(dtype=object), test_size=config.test_size, random_state=seed, shuffle=True
        )
    except ValueError as error:
        raise ValueError(f"{len(balanced)} sequences are too few to split: {error}") from error
    return [Split(repeat=repeat, train=_names(train), validation=_names(test), test=_names(test))]


def _cross_validate(
    listing: pd.DataFrame,
    selected: pd.DataFrame,
    config: TrainConfig,
    repeat: int,
    folds: pd.DataFrame | None = None,
) -> list[Split]:
    """Test every selected sequence once; balance only what trains, and validate on held-back training data."""
    seed = config.seed + repeat
    if folds is not None:
        numbered, independent = _given_rows(selected, folds)
    else:
        independent = config.protocol in SUBJECT_INDEPENDENT
        if _balanced_first(config):
            # The paper's protocol apart from the folds: balanced first, split by sequence.
            selected = _balance_as(selected, config, np.random.default_rng(seed))
        parts = list(fold_rows(listing, selected, config, seed))
        if config.protocol == "table":
            independent = _keeps_subjects(selected["subject"], parts)
        numbered = list(enumerate(parts))
    by = "subject" if independent else "sequence"
    splits = []
    for fold, rows in numbered:
        test = selected.iloc[rows]
        rest = selected.drop(test.index)
        if test.empty:
            continue
        if rest.empty:
            raise ValueError(
                f"fold {fold + 1} leaves nothing to train on: "
                + (f"{config.protocol} needs at least two subjects" if folds is None else "there must be another fold")
            )
        rng = np.random.default_rng((seed, fold))
        validation = _hold_back(rest, by, config.validation_size, rng)
        train = rest.drop(validation.index)
        if folds is not None or not _balanced_first(config):
            train = _balance_as(train, config, rng)
        splits.append(
            Split(
                repeat=repeat,
                fold=fold,
                train=_names(train["sequence"]),
                validation=_names(validation["sequence"]),
                test=_names(test["sequence"]),
            )
        )
    return splits


def _given_rows(selected: pd.DataFrame, folds: pd.DataFrame) -> tuple[list[tuple[int, np.ndarray]], bool]:
    """Each given fold, from 0, with the row positions of its test part; and whether no subject is in two of them."""
    fold_of = selected["sequence"].map(folds.set_index("sequence")["fold"])
    without = selected.loc[fold_of.isna(), "sequence"]
    if len(without):
        raise ValueError(f"{len(without)} sequences have no fold, for example {without.iloc[0]!r}")
    # Folds may be numbered by a date: only the numbers that occur are looked at.
    parts = [(int(number) - 1, np.flatnonzero(fold_of == number)) for number in np.unique(fold_of)]
    return parts, _keeps_subjects(selected["subject"], [rows for _, rows in parts])


def _keeps_subjects(subjects: pd.Series, parts: Iterable[np.ndarray]) -> bool:
    """Return whether no subject is in two of the parts."""
    seen = [subject for rows in parts for subject in subjects.iloc[rows].unique()]
    return len(seen) == len(set(seen))


def fold_rows(listing: pd.DataFrame, selected: pd.DataFrame, config: TrainConfig, seed: int) -> Iterator[np.ndarray]:
    """Row positions of each fold's test part; together they are all rows of `selected`, once."""
    from sklearn.model_selection import KFold, StratifiedGroupKFold

    subjects = selected["subject"].to_numpy()
    if config.protocol == "subject-10fold":
        # Over all subjects that carry any label, so that folds do not change with the classes chosen.
        labelled = sorted(listing.loc[listing["label"] != "", "subject"].unique())
        for k in range(SUBJECT_FOLDS):
            yield np.flatnonzero(np.isin(subjects, labelled[k::SUBJECT_FOLDS]))
    elif config.protocol == "loso":
        for subject in sorted(set(subjects)):
            yield np.flatnonzero(subjects == subject)
    elif config.protocol == "leave-one-dataset-out":
        names = sorted(selected["dataset"].unique()) if "dataset" in selected else []
        if len(names) < 2:
            raise ValueError("leave-one-dataset-out needs sequences of two stores or more: name them all")
        for name in names:
            yield np.flatnonzero(selected["dataset"] == name)
    elif config.protocol == "table":
        yield from _table_rows(selected)
    else:
        members = len(selected) if config.protocol == "random-folds" else len(set(subjects))
        if members < config.folds:
            kind = "sequences" if config.protocol == "random-folds" else "subjects"
            raise ValueError(
                f"{config.protocol} with {config.folds} folds needs as many {kind}, got {members}; lower folds"
            )
        if config.protocol == "random-folds":
            for _, test in KFold(config.folds, shuffle=True, random_state=seed).split(subjects):
                yield test
        else:
            yield from _stratified_group(StratifiedGroupKFold, selected, config.folds, seed)


def _table_rows(selected: pd.DataFrame) -> Iterator[np.ndarray]:
    """Test rows of each fold that the data set's table gives, numbers in their order, else texts in theirs."""
    folds = selected["fold"] if "fold" in selected else pd.Series("", index=selected.index)
    without = selected.loc[folds == "", "sequence"]
    if len(without):
        raise ValueError(
            f"{len(without)} sequences have no fold, for example {without.iloc[0]!r}: the protocol table needs the "
            "column fold in the data set's table; or choose another protocol"
        )
    names = folds.unique()
    whole = all(name.isdecimal() for name in names)
    for name in sorted(names, key=int) if whole else sorted(names):
        yield np.flatnonzero(folds == name)


def _stratified_group(kind: type, selected: pd.DataFrame, folds: int, seed: int) -> Iterator[np.ndarray]:
    """Test rows by scikit-learn's StratifiedGroupKFold, its complaint about rare classes said as ours."""
    labels = selected["label"].to_numpy(dtype=object)
    splitter = kind(folds, shuffle=True, random_state=seed)
    try:
        for _, test in splitter.split(labels, labels, groups=selected["subject"].to_numpy()):
            yield test
    except ValueError as error:
        raise ValueError(f"stratified-group with {folds} folds: {error}; lower folds") from error


def _hold_back(rows: pd.DataFrame, by: str, share: float, rng: np.random.Generator) -> pd.DataFrame:
    """Rows of about `share` of the subjects (or sequences); every class of `rows` keeps a training sequence."""
    units = sorted(rows[by].unique())
    wanted = max(1, round(share * len(units)))
    held: list[str] = []
    remaining = rows["label"].value_counts()
    for unit in rng.permutation(np.asarray(units, dtype=object)):
        if len(held) == wanted or len(held) == len(units) - 1:
            break
        counts = rows.loc[rows[by] == unit, "label"].value_counts()
        if (remaining.sub(counts, fill_value=0) >= 1).all():
            remaining = remaining.sub(counts, fill_value=0)
            held.append(unit)
    return rows[rows[by].isin(held)]


def _balance_as(rows: pd.DataFrame, config: TrainConfig, rng: np.random.Generator) -> pd.DataFrame:
    """Balance `rows` as the config says; the paper's number is lowered to what the rarest class has."""
    per_emotion = config.per_emotion
    if per_emotion is None:
        rarest = int(rows["label"].value_counts().min())
        per_emotion = min(PHASES[config.phase].per_emotion, rarest)
    return balance(rows, per_emotion=per_emotion, mean_frames=config.mean_frames, rng=rng)


def _names(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(str(value) for value in values))


def _check_split(selected: pd.DataFrame, split: Split, *, independent: bool) -> None:
    """Refuse a split that would quietly report on something else than it claims."""
    subjects = selected.set_index("sequence")["subject"]
    if set(split.train) & set(split.test):
        raise RuntimeError(f"{split.name}: a sequence is in training and test")
    if independent:
        known = set(subjects[list(split.train)]) | set(subjects[list(split.validation)])
        if known & set(subjects[list(split.test)]):
            raise RuntimeError(f"{split.name}: a subject is in training and test")
    if not split.train:
        raise ValueError(f"{split.name} has nothing to train on: all its training sequences are quarantined")


def leakage(table: pd.DataFrame, splits: Iterable[Split]) -> float:
    """Share of test sequences whose subject is also in that split's training part, or validates there.

    Early stopping and the temperature go by the validating sequences. Those that are the tested ones themselves, as
    under the protocol "random", do not count as others.

    Parameters
    ----------
    table : DataFrame
        Columns sequence and subject.
    splits : iterable of Split
        Splits over sequences of `table`.

    Returns
    -------
    share : float
        0 to 1; nan without a test sequence.
    """
    subjects = dict(zip(table["sequence"], table["subject"], strict=True))
    seen = total = 0
    for split in splits:
        known = {subjects[name] for name in {*split.train, *split.validation}.difference(split.test)}
        seen += sum(subjects[name] in known for name in split.test)
        total += len(split.test)
    return seen / total if total else float("nan")
