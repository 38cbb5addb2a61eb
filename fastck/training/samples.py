"""What a run trains on: a store's sequences, each with its class in place of its label."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from fastck.store.reader import Store
from fastck.training.classes import ALL, every_class, with_classes
from fastck.training.config import TrainConfig


@dataclass(frozen=True)
class Samples:
    """A store as one run sees it.

    Attributes
    ----------
    store : Store
        What is read.
    config : TrainConfig
        Its `classes` are the names of the run's classes.
    """

    store: Store
    config: TrainConfig

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features that can be read."""
        return self.store.features

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per sequence, as the store's table; label is the class."""
        return with_classes(self.store.table, self.config.merge)

    @cached_property
    def listing(self) -> pd.DataFrame:
        """The same of every sequence that was planned, quarantined ones too."""
        return with_classes(self.store.listing, self.config.merge)

    def feature(self, name: str) -> NDArray[Any]:
        """Return all rows of a feature."""
        return self.store.feature(name)


def make_samples(store: Store, config: TrainConfig) -> Samples:
    """Return the samples of a run, whose config names its classes.

    Raises
    ------
    ValueError
        If all labels are asked for, and the store has fewer than two.
    """
    names = config.classes
    if names == (ALL,):
        names = every_class(with_classes(store.listing, config.merge))
        if len(names) < 2:
            raise ValueError(f"training needs at least two classes, and {store.path} has {', '.join(names) or 'none'}")
    return Samples(store, replace(config, classes=names or config.class_names))
