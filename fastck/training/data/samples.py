"""What a run trains on: sequences of one store or several, each with its class in place of its label."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from fastck.store.joined import JoinedRows, JoinedStore, join_stores
from fastck.store.reader import Store, open_store
from fastck.training.data.neutral import with_onsets
from fastck.training.data.people import people_of
from fastck.training.settings.classes import ALL, every_class, with_classes
from fastck.training.settings.config import PHASES, TrainConfig


@dataclass(frozen=True)
class Samples:
    """A store, or several, as one run sees them.

    Attributes
    ----------
    store : Store or JoinedStore
        What is read.
    config : TrainConfig
        Its `classes` are the names of the run's classes.
    """

    store: Store | JoinedStore
    config: TrainConfig

    @property
    def stores(self) -> dict[str, Store]:
        """The stores by their names."""
        return (
            self.store.stores if isinstance(self.store, JoinedStore) else {self.store.path.resolve().name: self.store}
        )

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features that can be read."""
        return self.store.features

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per sequence, and per onset that is neutral, as the store's table; label is the class."""
        table = with_classes(self.store.table, self.config.merge)
        return table if self.config.neutral is None else with_onsets(table, self.config)

    @cached_property
    def listing(self) -> pd.DataFrame:
        """One row per sequence that was planned, quarantined ones too; label is the class."""
        return with_classes(self.store.listing, self.config.merge)

    @cached_property
    def people(self) -> dict[str, str]:
        """Which subjects of several stores are one person; empty where nobody is in two of them."""
        return people_of(self.stores)

    def feature(self, name: str) -> NDArray[Any] | JoinedRows:
        """Return all rows of a feature, read where they lie."""
        return self.store.feature(name)


def open_samples(paths: str | Path | Sequence[str | Path], config: TrainConfig) -> Samples:
    """Open one store or several for a run.

    Parameters
    ----------
    paths : path-like or sequence of path-like
        Stores; sequences and subjects of several are named after their store, "casme2/sub01".
    config : TrainConfig

    Returns
    -------
    samples : Samples
        Its config names the classes.

    Raises
    ------
    ValueError
        If one is not a store, lacks `config.feature` or has it in another shape, or there are fewer than two classes.
    """
    several = [Path(paths)] if isinstance(paths, str | Path) else [Path(path) for path in paths]
    if not several:
        raise ValueError("there must be a store to train on, got none")
    return make_samples(open_store(several[0]) if len(several) == 1 else join_stores(several), config)


def make_samples(store: Store | JoinedStore, config: TrainConfig) -> Samples:
    """Return the samples of a run, as `open_samples` does for stores that are open."""
    config = _with_size(store, config)
    samples = Samples(store, config)
    for part in samples.stores.values():
        if config.feature not in part.features:
            raise ValueError(
                f"phase {config.phase} reads the feature {config.feature!r}; {part.path} holds "
                f"{', '.join(part.features)}: run fastck preprocess with --features {config.feature}"
            )
    # Stores of different frame sizes are refused here, before anything is planned.
    samples.feature(config.feature)
    names = config.classes
    if names == (ALL,):
        names = every_class(samples.listing)
        if len(names) + (config.neutral is not None) < 2:
            where = ", ".join(str(part.path) for part in samples.stores.values())
            raise ValueError(f"training needs at least two classes, and {where} has {', '.join(names) or 'none'}")
    if names is not None:
        config = replace(config, classes=names)
    return Samples(store, replace(config, classes=config.class_names))


def _with_size(store: Store | JoinedStore, config: TrainConfig) -> TrainConfig:
    """Return the settings with the size that the store holds, where none was asked for and it lacks the usual one."""
    if config.size is not None or config.feature in store.features:
        return config
    sizes = [size for size, name in PHASES[config.phase].features.items() if name in store.features]
    return replace(config, size=sizes[0]) if sizes else config
