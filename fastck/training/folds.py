"""Which sequences are used, which train and which test: selection, balancing, splits and what they leak."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from fastck.training.config import PHASES, SUBJECT_INDEPENDENT, TrainConfig

logger = logging.getLogger(__name__)

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
        """Short name for folders: "repeat1-fold01"."""
        return f"repeat{self.repeat + 1}-fold{self.fold + 1:02d}"


def select(
    table: pd.DataFrame, *, classes: Sequence[int], timesteps: int = 39, too_long: str = "error"
) -> pd.DataFrame:
    """Return the rows of a store's table that carry one of `classes`, in the table's order.

    Parameters
    ----------
    table : DataFrame
        A store's table; columns sequence, subject, emotion, n_frames and length are used.
    classes : sequence of int
        Emotion codes.
    timesteps : int
        Longest sequence, in difference frames, that fits.
    too_long : {"error", "skip", "first", "last"}
        "skip" leaves longer sequences out, "error" raises; the others keep them (they are cut on reading).

    Returns
    -------
    selected : DataFrame
        Same columns, fresh index.

    Raises
    ------
    ValueError
        If an emotion has no sequence, or a sequence is too long and `too_long` is "error".
    """
    chosen = table[table["emotion"].isin(list(classes)) & (table["length"] > 0)]
    long = chosen[chosen["length"] > timesteps]
    if len(long) and too_long == "error":
        first = long.iloc[0]
        raise ValueError(
            f"{len(long)} sequences have more than timesteps={timesteps} difference frames, for example "
            f"{first['sequence']} with {first['length']}; raise timesteps, or choose too_long='last', 'first' or 'skip'"
        )
    if too_long == "skip":
        chosen = chosen.drop(long.index)
    missing = [code for code in classes if not (chosen["emotion"] == code).any()]
    if missing:
        raise ValueError(
            f"no sequence carries emotion {', '.join(map(str, missing))}; this phase needs "
            f"{', '.join(map(str, classes))}, and the store has {count_text(table)}"
        )
    return chosen.reset_index(drop=True)


def count_text(table: pd.DataFrame) -> str:
    """Say how many sequences each emotion has: "1: 45, 3: 59"."""
    counts = table["emotion"].dropna().astype(int).value_counts().sort_index()
    return ", ".join(f"{code}: {count}" for code, count in counts.items()) or "no labelled sequence"


def balance(
    table: pd.DataFrame, *, per_emotion: int, mean_frames: float | None = None, rng: np.random.Generator
) -> pd.DataFrame:
    """Keep the same number of sequences of each emotion, of a similar mean number of frames (paper, fig. 5).

    Parameters
    ----------
    table : DataFrame
        Selected rows.
    per_emotion : int
        Sequences to keep of each emotion; 0 keeps all.
    mean_frames : float, optional
        Frames per sequence aimed at in each emotion; None aims at the mean of `table`, 0 draws blindly.
    rng : numpy.random.Generator
        Draws the sequences.

    Returns
    -------
    balanced : DataFrame
        Chosen rows in the order of `table`.

    Raises
    ------
    ValueError
        If an emotion has fewer than `per_emotion` sequences.
    """
    if per_emotion == 0:
        return table.reset_index(drop=True)
    target = float(table["n_frames"].mean()) if mean_frames is None else float(mean_frames)
    chosen: list[int] = []
    for emotion, rows in table.groupby("emotion", sort=True):
        if len(rows) < per_emotion:
            raise ValueError(
                f"emotion {emotion} has {len(rows)} sequences to choose from, fewer than per_emotion={per_emotion}; "
                f"choose at most {len(rows)}, or 0 for no balancing"
            )
        picks = rng.permutation(len(rows))
        frames = rows["n_frames"].to_numpy(dtype=np.float64)
        kept = picks[:per_emotion] if target == 0 else _near_mean(frames, picks, per_emotion, target)
        chosen.extend(rows.index[kept])
    return table.loc[sorted(chosen)].reset_index(drop=True)


def _near_mean(frames: np.ndarray, order: np.ndarray, count: int, target: float) -> np.ndarray:
    """Positions of `count` values, drawn in `order`, then swapped while that brings the mean closer to `target`."""
    kept, left = order[:count].copy(), order[count:].copy()
    while left.size:
        gap = target * count - frames[kept].sum()
        after = np.abs(gap - (frames[left][None, :] - frames[kept][:, None]))
        inside, outside = np.unravel_index(np.argmin(after), after.shape)
        if after[inside, outside] >= abs(gap):
            break
        kept[inside], left[outside] = left[outside], kept[inside]
    return kept


def make_splits(table: pd.DataFrame, config: TrainConfig) -> list[Split]:
    """Select, balance and split a store's table as `config` says.

    Parameters
    ----------
    table : DataFrame
        A store's table.
    config : TrainConfig
        `protocol`, `folds`, `repeats`, `seed`, balancing and sizes are used.

    Returns
    -------
    splits : list of Split
        Repeat by repeat, fold by fold. Folds without a test sequence are left out.

    Raises
    ------
    ValueError
        If there are too few sequences or subjects for the protocol.
    """
    selected = select(table, classes=config.classes, timesteps=config.timesteps, too_long=config.too_long)
    splits: list[Split] = []
    for repeat in range(config.repeats):
        make = _random if config.protocol == "random" else _cross_validate
        splits.extend(make(table, selected, config, repeat))
    for split in splits:
        _check_split(selected, split, config)
    return splits


def _random(table: pd.DataFrame, selected: pd.DataFrame, config: TrainConfig, repeat: int) -> list[Split]:
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


def _cross_validate(table: pd.DataFrame, selected: pd.DataFrame, config: TrainConfig, repeat: int) -> list[Split]:
    """Test every selected sequence once; balance only what trains, and validate on held-back training data."""
    seed = config.seed + repeat
    if config.protocol == "random-folds":
        # The paper's protocol apart from the folds: balanced first, split by sequence.
        selected = _balance_as(selected, config, np.random.default_rng(seed))
    splits = []
    for fold, test_rows in enumerate(_folds(table, selected, config, seed)):
        test = selected.iloc[test_rows]
        rest = selected.drop(test.index)
        if test.empty:
            continue
        if rest.empty:
            raise ValueError(
                f"fold {fold + 1} leaves nothing to train on: {config.protocol} needs at least two subjects"
            )
        rng = np.random.default_rng((seed, fold))
        by = "subject" if config.protocol in SUBJECT_INDEPENDENT else "sequence"
        validation = _hold_back(rest, by, config.validation_size, rng)
        train = rest.drop(validation.index)
        if by == "subject":
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


def _folds(table: pd.DataFrame, selected: pd.DataFrame, config: TrainConfig, seed: int) -> Iterator[np.ndarray]:
    """Row positions of each fold's test part; together they are all rows of `selected`, once."""
    from sklearn.model_selection import KFold, StratifiedGroupKFold

    subjects = selected["subject"].to_numpy()
    if config.protocol == "subject-10fold":
        # Subjects are dealt out over all that carry any label, so that folds do not change with the emotions chosen.
        labelled = sorted(table.loc[table["emotion"].notna(), "subject"].unique())
        for k in range(SUBJECT_FOLDS):
            yield np.flatnonzero(np.isin(subjects, labelled[k::SUBJECT_FOLDS]))
    elif config.protocol == "loso":
        for subject in sorted(set(subjects)):
            yield np.flatnonzero(subjects == subject)
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


def _stratified_group(kind: type, selected: pd.DataFrame, folds: int, seed: int) -> Iterator[np.ndarray]:
    """Test rows by scikit-learn's StratifiedGroupKFold, its complaint about rare emotions said as ours."""
    emotions = selected["emotion"].to_numpy(dtype=np.int64)
    splitter = kind(folds, shuffle=True, random_state=seed)
    try:
        for _, test in splitter.split(emotions, emotions, groups=selected["subject"].to_numpy()):
            yield test
    except ValueError as error:
        raise ValueError(f"stratified-group with {folds} folds: {error}; lower folds") from error


def _hold_back(rows: pd.DataFrame, by: str, share: float, rng: np.random.Generator) -> pd.DataFrame:
    """Rows of about `share` of the subjects (or sequences); every emotion of `rows` keeps a training sequence."""
    units = sorted(rows[by].unique())
    wanted = max(1, round(share * len(units)))
    held: list[str] = []
    remaining = rows["emotion"].value_counts()
    for unit in rng.permutation(np.asarray(units, dtype=object)):
        if len(held) == wanted or len(held) == len(units) - 1:
            break
        counts = rows.loc[rows[by] == unit, "emotion"].value_counts()
        if (remaining.sub(counts, fill_value=0) >= 1).all():
            remaining = remaining.sub(counts, fill_value=0)
            held.append(unit)
    return rows[rows[by].isin(held)]


def _balance_as(rows: pd.DataFrame, config: TrainConfig, rng: np.random.Generator) -> pd.DataFrame:
    """Balance `rows` as the config says; the paper's number is lowered to what the rarest emotion has."""
    per_emotion = config.per_emotion
    if per_emotion is None:
        rarest = int(rows["emotion"].value_counts().min())
        per_emotion = min(PHASES[config.phase].per_emotion, rarest)
    return balance(rows, per_emotion=per_emotion, mean_frames=config.mean_frames, rng=rng)


def _names(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(str(value) for value in values))


def _check_split(selected: pd.DataFrame, split: Split, config: TrainConfig) -> None:
    """Refuse a split that would quietly report on something else than it claims."""
    subjects = selected.set_index("sequence")["subject"]
    if set(split.train) & set(split.test):
        raise RuntimeError(f"{split.name}: a sequence is in training and test")
    if config.protocol in SUBJECT_INDEPENDENT:
        known = set(subjects[list(split.train)]) | set(subjects[list(split.validation)])
        if known & set(subjects[list(split.test)]):
            raise RuntimeError(f"{split.name}: a subject is in training and test")


def leakage(table: pd.DataFrame, splits: Iterable[Split]) -> float:
    """Share of test sequences whose subject is also in that split's training part.

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
        training = {subjects[name] for name in split.train}
        seen += sum(subjects[name] in training for name in split.test)
        total += len(split.test)
    return seen / total if total else float("nan")
