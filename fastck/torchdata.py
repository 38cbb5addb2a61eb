"""From a store to PyTorch: a map-style data set that copies each batch out of the store's memmap in one call."""

from collections.abc import Sequence
from pathlib import Path
from typing import overload

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset
from torch.utils.data._utils.collate import default_collate_fn_map

from fastck.batches.gather import Gather, SequenceStore
from fastck.config import TIMESTEPS
from fastck.store.reader import open_store

Item = tuple[torch.Tensor, torch.Tensor]


class _Item(tuple[torch.Tensor, torch.Tensor]):
    """(x, y), known by its type: PyTorch's `default_collate` hands batches of it to `_collate`."""

    __slots__ = ()


class _Batch(Sequence[Item]):
    """Items that were gathered together: views of one array, made when they are asked for."""

    def __init__(self, values: torch.Tensor, targets: torch.Tensor) -> None:
        self.values, self.targets = values, targets

    def __len__(self) -> int:
        return len(self.targets)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | Sequence[Item]:
        if isinstance(index, slice):
            return _Batch(self.values[index], self.targets[index])
        return _Item((self.values[index], self.targets[index]))


def _collate(items: Sequence[Item], *, collate_fn_map: object = None) -> list[torch.Tensor]:
    """Put items in one batch; those that were gathered together are one already."""
    if isinstance(items, _Batch):
        return [items.values, items.targets]
    return [torch.stack(part) for part in zip(*items, strict=True)]


# The way that `default_collate` names for types of one's own.
default_collate_fn_map[_Item] = _collate


class SequenceDataset(Dataset):
    """Sequences of a store and their classes, for `torch.utils.data.DataLoader`.

    Item i is (x, y): x of shape (T, C, H, W), float32, and y the class, an int64 of no dimensions. T is `timesteps`, C
    is 3 for "flow", 2 for "flow_projection" and 1 for all others; H and W are those of the feature, 2 and 267 for
    "projection". Masks come as 0 and 1.

    A DataLoader takes a batch in one call (`__getitems__`), also through `torch.utils.data.Subset`. Nothing is read
    before an item is asked for. Workers share the memory of the store's file; a pickled data set holds no values, and
    opens the file anew where it is loaded.

    Parameters
    ----------
    store : Store or path-like
    sequences : sequence of str
        Names, in the order of the items.
    feature : str
        "projection", "pool134", "pool67", "pool34", "mask", "flow" or "flow_projection"; the store must hold it.
    classes : sequence of str or of int
        Labels as in the store's table, or CK+'s codes of emotions. The position is the class.
    timesteps : int or None
        Zeros before and after bring every sequence to so many steps: ceil(rest / 2) before (paper, fig. 11). None
        leaves every sequence its own length; batches then need `pad_batch`.
    too_long : {"error", "skip", "first", "last"}
        For sequences with more than `timesteps` steps: raise, leave out, or keep the first or last steps.

    Attributes
    ----------
    table : DataFrame
        One row per item, and the item's number as its index: sequence, subject, label, fold (text, as the store's
        table has it), length (steps without padding), target (the class).
    targets : Tensor of shape (n_sequences,), int64
        Every item's class.

    Raises
    ------
    TypeError, ValueError
        If a sequence is unknown, has another label or is too long, or the store lacks the feature.
    OSError
        If the store cannot be read.
    """

    def __init__(
        self,
        store: SequenceStore | str | Path,
        sequences: Sequence[str],
        *,
        feature: str,
        classes: Sequence[int] | Sequence[str],
        timesteps: int | None = TIMESTEPS,
        too_long: str = "error",
    ) -> None:
        opened = open_store(store) if isinstance(store, str | Path) else store
        if timesteps is not None and timesteps < 1:
            raise ValueError(f"timesteps must be at least 1 or None, got {timesteps}")
        longest = int(opened.table["length"].max()) if len(opened.table) else 0
        self._padded = timesteps is not None
        self._gather = Gather(
            opened,
            list(sequences),
            feature=feature,
            classes=classes,
            timesteps=longest if timesteps is None else timesteps,
            too_long=too_long,
        )
        self.targets = torch.from_numpy(self._gather.classes)
        rows = opened.table.set_index("sequence").loc[list(self._gather.sequences), ["subject", "label", "fold"]]
        self.table = rows.reset_index().assign(length=self._gather.lengths, target=self._gather.classes)

    def __len__(self) -> int:
        return len(self._gather)

    def __getitem__(self, index: int) -> Item:
        if not -len(self) <= index < len(self):
            raise IndexError(f"there are {len(self)} sequences, got index {index}")
        if not self._padded:
            return self._unpadded_values(index), self.targets[index]
        return self._padded_values(np.array([index]))[0], self.targets[index]

    def __getitems__(self, indices: Sequence[int]) -> Sequence[Item]:
        """Return the items at `indices`; padded ones are views of one array."""
        positions = np.asarray(indices, dtype=np.int64)
        targets = self.targets[torch.from_numpy(positions)]
        if self._padded:
            return _Batch(self._padded_values(positions), targets)
        return list(zip(map(self._unpadded_values, positions), targets, strict=True))

    def _padded_values(self, positions: NDArray[np.int64]) -> torch.Tensor:
        steps, rows, columns = self._gather.shape
        out = np.empty((len(positions), steps, self._gather.channels, rows, columns), np.float32)
        self._gather.fill(positions, np.moveaxis(out, 2, -1))
        return torch.from_numpy(out)

    def _unpadded_values(self, position: int) -> torch.Tensor:
        return torch.from_numpy(np.array(np.moveaxis(self._gather.steps(position), -1, 1), np.float32, order="C"))

    def splits(self, folds: str | Path | pd.DataFrame) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Return the items to train with and those to test with, fold by fold.

        Parameters
        ----------
        folds : path-like or DataFrame
            The CSV file that `fastck folds` writes, or a table with the columns sequence and fold. Sequences that are
            not in this data set are passed over.

        Returns
        -------
        splits : list of (train, test)
            Numbers of items, int64, for `torch.utils.data.Subset`. Folds that test none of these sequences are left
            out.

        Raises
        ------
        ValueError
            If it is no such file, or a sequence of this data set has no fold.
        OSError
            If the file cannot be read.
        """
        from fastck.training.data.foldfile import read_folds

        known = folds if isinstance(folds, pd.DataFrame) else read_folds(folds)
        fold_of = self.table["sequence"].map(known.set_index("sequence")["fold"])
        without = self.table.loc[fold_of.isna(), "sequence"]
        if len(without):
            raise ValueError(
                f"{len(without)} of {len(self)} sequences have no fold, for example {without.iloc[0]!r}: "
                "assign the folds from this store, or leave those sequences out"
            )
        tested = [(fold_of == number).to_numpy() for number in sorted(fold_of.unique())]
        return [(np.flatnonzero(~test), np.flatnonzero(test)) for test in tested]


def pad_batch(items: Sequence[Item]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Put items of different lengths in one batch: `collate_fn` for data sets with ``timesteps=None``.

    Parameters
    ----------
    items : sequence of (x, y)
        x of shape (T, C, H, W), T its own; y int64.

    Returns
    -------
    values : Tensor of shape (B, longest T, C, H, W), float32
        Zeros after each sequence's last step, as `torch.nn.utils.rnn.pack_padded_sequence` expects.
    lengths : Tensor of shape (B,), int64
        Steps of each sequence before padding.
    targets : Tensor of shape (B,), int64
    """
    values, targets = zip(*items, strict=True)
    lengths = torch.tensor([len(steps) for steps in values])
    padded = torch.nn.utils.rnn.pad_sequence(values, batch_first=True)
    return padded, lengths, torch.stack(targets)
