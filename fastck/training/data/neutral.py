"""The onset as a class of its own: the first frames of each sequence, taken for a neutral face.

CK+ has no neutral sequences, but each of its sequences begins with a neutral face (Lucey et al., 2010). Publications
with seven or eight classes take one to three first frames of a sequence for "neutral". A sample of the onset goes where
its sequence goes: to training, validation or test.
"""

from collections.abc import Collection, Iterable

import numpy as np
import pandas as pd

from fastck.training.settings.classes import NEUTRAL, class_of
from fastck.training.settings.config import TrainConfig

# Of a short sequence, more than its first third would show the expression.
LARGEST_SHARE = 3


def onset_name(sequence: str) -> str:
    """Return what the sample of a sequence's onset is called."""
    return f"{sequence}:onset"


def shown_classes(table: pd.DataFrame, config: TrainConfig) -> tuple[str, ...]:
    """Return the classes that sequences of a table of `with_classes` must have: neutral may be of onsets alone."""
    onset = class_of(NEUTRAL, config.merge) if config.neutral else None
    known = set(table["label"])
    return tuple(name for name in config.class_names if name != onset or name in known)


def with_onsets(table: pd.DataFrame, config: TrainConfig) -> pd.DataFrame:
    """Return a table of sequences with the samples of their onsets below it.

    Parameters
    ----------
    table : DataFrame
        Of `with_classes`; rows of the run's classes that are not neutral themselves get a sample: its first
        `config.neutral_steps` steps, and at most a third of them, but at least one.
    config : TrainConfig
        With the names of its classes.

    Returns
    -------
    samples : DataFrame
        The same columns.
    """
    neutral = class_of(NEUTRAL, config.merge)
    shown = table[table["label"].isin(config.class_names) & (table["label"] != neutral) & (table["length"] > 0)]
    length = np.clip(shown["length"] // LARGEST_SHARE, 1, config.neutral_steps)
    onsets = shown.assign(
        sequence=[onset_name(name) for name in shown["sequence"]], label=neutral, length=length, n_frames=length + 1
    )
    return pd.concat([table, onsets], ignore_index=True)


def drawn_onsets(rows: pd.DataFrame, config: TrainConfig, rng: np.random.Generator) -> set[str]:
    """Return the sequences whose onset is used where classes are balanced: as many as a class has, on average.

    Parameters
    ----------
    rows : DataFrame
        Balanced sequences with their class in the column label.
    config : TrainConfig
    rng : numpy.random.Generator
    """
    neutral = class_of(NEUTRAL, config.merge)
    shown = rows.loc[rows["label"] != neutral]
    wanted = round(len(shown) / max(shown["label"].nunique(), 1)) - int((rows["label"] == neutral).sum())
    return set(rng.permutation(shown["sequence"].to_numpy(dtype=object))[: max(wanted, 0)])


def and_onsets(names: Iterable[str], shown: Collection[str]) -> tuple[str, ...]:
    """Return sequences and the onsets of those among them that are in `shown`, sorted."""
    names = list(names)
    return tuple(sorted([*names, *(onset_name(name) for name in names if name in shown)]))
