"""Rows of several arrays that belong together, a dataclass of ndarrays: picked, joined, and kept in an .npz file."""

from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray


class Rows:
    """What a dataclass of arrays inherits: `save`, `load`, `pick` and `join`; its fields are ndarrays."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays by their names."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}  # type: ignore[arg-type]

    def save(self, path: Path) -> None:
        """Write an .npz file."""
        np.savez(path, allow_pickle=False, **self.arrays())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            return cls(**{entry.name: file[entry.name] for entry in fields(cls)})  # type: ignore[arg-type]

    def pick(self, rows: NDArray[np.generic]) -> Self:
        """Return the rows of a mask, or at some places."""
        return type(self)(**{name: values[rows] for name, values in self.arrays().items()})

    @classmethod
    def join(cls, parts: Iterable[Self]) -> Self:
        """Return the rows of all parts, one after another."""
        columns = [part.arrays() for part in parts]
        return cls(**{entry.name: np.concatenate([one[entry.name] for one in columns]) for entry in fields(cls)})  # type: ignore[arg-type]
