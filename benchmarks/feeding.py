"""What the comparisons of feeds share: a store of projections without its folder, and the plain padding of one item."""

from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.scaling import LENGTH
from fastck.batches.padding import pad_sequence

SEQUENCES, CLASSES, BATCH = 96, (1, 3, 5, 7), 32
# Over the sequences in a timed reading: the start then costs little.
PASSES = 10


class FilledStore:
    """A store's projections without its folder: as many sequences as phase 4 has, 20 steps each."""

    def __init__(self, folder: Path) -> None:
        n = SEQUENCES * LENGTH
        self.rows = np.lib.format.open_memmap(folder / "projection.npy", "w+", np.float32, (n, 2, 267))
        self.rows[:] = np.random.default_rng(0).random((n, 2, 267), np.float32)
        self.table = pd.DataFrame(
            {
                "sequence": [f"S{i:03d}_001" for i in range(SEQUENCES)],
                "subject": [f"S{i:03d}" for i in range(SEQUENCES)],
                "emotion": pd.array([CLASSES[i % 4] for i in range(SEQUENCES)], "Int64"),
                "label": "",
                "fold": "",
                "n_frames": LENGTH + 1,
                "start": np.arange(SEQUENCES) * LENGTH,
                "length": LENGTH,
            }
        )

    def feature(self, name: str) -> np.ndarray:
        """Return the rows of the one feature there is."""
        return self.rows

    def own_rows(self, i: int) -> np.ndarray:
        """Return one sequence's rows, (LENGTH, 2, 267)."""
        return np.asarray(self.rows[i * LENGTH : (i + 1) * LENGTH])


def padded(store: FilledStore, i: int) -> np.ndarray:
    """Return one padded sequence, channels last: (39, 2, 267, 1)."""
    return pad_sequence(store.own_rows(i))[..., None]
