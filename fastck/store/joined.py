"""Several stores read as one: their tables below each other, their rows where they lie."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fastck.store.reader import Store, open_store


class JoinedRows:
    """The rows of several arrays, one array after another; only what is asked for is read.

    Attributes
    ----------
    shape : tuple of int
        Of all rows together.
    dtype : dtype
    """

    def __init__(self, arrays: Sequence[NDArray[Any]]) -> None:
        # Plain arrays on the same mapped files: slices of a memmap object take several times as long.
        self._arrays = tuple(np.asarray(array) for array in arrays)
        self._starts = np.cumsum([0, *(len(array) for array in arrays)])
        self.shape = (int(self._starts[-1]), *arrays[0].shape[1:])
        self.dtype = arrays[0].dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, positions: slice | NDArray[np.int64]) -> NDArray[Any]:
        """Return the rows at these positions, in their order; a slice within one array is a view of it."""
        if isinstance(positions, slice):
            first, last, step = positions.indices(len(self))
            number = int(np.searchsorted(self._starts, first, side="right")) - 1
            if step == 1 and first < last <= self._starts[number + 1]:
                return self._arrays[number][first - self._starts[number] : last - self._starts[number]]
            positions = np.arange(first, last, step)
        positions = np.asarray(positions)
        owner = np.searchsorted(self._starts, positions, side="right") - 1
        out = np.empty((len(positions), *self.shape[1:]), self.dtype)
        for number in np.unique(owner):
            chosen = owner == number
            out[chosen] = self._arrays[number][positions[chosen] - self._starts[number]]
        return out


@dataclass(frozen=True)
class JoinedStore:
    """Stores by the name that stands before their sequences and subjects: "casme2/sub01".

    Attributes
    ----------
    stores : dict of str to Store
    """

    stores: dict[str, Store]

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features that all of them hold, in the same shape."""
        first, *others = self.stores.values()
        return tuple(
            name for name in first.features if all(_layout(first, name) == _layout(other, name) for other in others)
        )

    @cached_property
    def table(self) -> pd.DataFrame:
        """The stores' tables, with the column dataset; start counts the rows of all of them."""
        parts, start = [], 0
        for name, store in self.stores.items():
            parts.append(_named(store.table.assign(start=store.table["start"] + start), name))
            start += int(store.table["length"].sum())
        return pd.concat(parts, ignore_index=True)

    @cached_property
    def listing(self) -> pd.DataFrame:
        """The stores' listings, with the column dataset."""
        return pd.concat([_named(store.listing, name) for name, store in self.stores.items()], ignore_index=True)

    def feature(self, name: str) -> JoinedRows:
        """Return all rows of a feature.

        Raises
        ------
        ValueError
            If a store does not hold the feature, or in another shape than the first.
        """
        arrays = {dataset: store.feature(name) for dataset, store in self.stores.items()}
        (first, values), *others = arrays.items()
        for dataset, array in others:
            if (array.shape[1:], array.dtype) != (values.shape[1:], values.dtype):
                raise ValueError(
                    f"stores that are trained together must hold {name!r} in one shape: {first} has "
                    f"{values.shape[1:]} {values.dtype}, {dataset} {array.shape[1:]} {array.dtype}"
                )
        return JoinedRows(list(arrays.values()))


def join_stores(paths: Sequence[str | Path]) -> JoinedStore:
    """Open several stores as one.

    Parameters
    ----------
    paths : sequence of path-like
        Folders that `fastck.preprocess` made; each is called after its folder, with as many of the folders above it as
        tell it from the others.

    Raises
    ------
    ValueError
        If one is given twice or is not a store.
    """
    # Not `resolve`, which fails on links that lead in a circle.
    folders = [Path(os.path.realpath(path)) for path in paths]
    twice = [folder for folder in folders if folders.count(folder) > 1]
    if twice:
        raise ValueError(f"{twice[0]} is given twice: name each store once")
    depth = 1
    while len({folder.parts[-depth:] for folder in folders}) < len(folders):
        depth += 1
    names = ["/".join(folder.parts[-depth:]) for folder in folders]
    return JoinedStore({name: open_store(path) for name, path in zip(names, paths, strict=True)})


def _layout(store: Store, feature: str) -> tuple[tuple[int, ...], str] | None:
    entry = store.manifest["arrays"].get(feature)
    return None if entry is None else (tuple(entry["shape"][1:]), entry["dtype"])


def _named(table: pd.DataFrame, name: str) -> pd.DataFrame:
    columns = {column: [f"{name}/{value}" for value in table[column]] for column in ("sequence", "subject")}
    return table.assign(dataset=name, **columns)
