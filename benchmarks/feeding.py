"""What the comparisons of feeds share: a store of projections without its folder, and the plain padding of one item."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fastck.batches.padding import pad_sequence
from fastck.config import TIMESTEPS

SEQUENCES, CLASSES, BATCH = 96, (1, 3, 5, 7), 32
# Over the sequences in a timed reading: the start then costs little.
PASSES = 10
# CK+'s sequences have 4 to 71 frames, 18 on average.
SHORTEST, LONGEST = 4, 71


def ckplus_steps(sequences: int, *, timesteps: int = LONGEST - 1) -> NDArray[np.int64]:
    """Return the steps of so many sequences that are as long as CK+'s, at most `timesteps`."""
    frames = SHORTEST + np.random.default_rng(0).gamma(3.2, 4.4, sequences)
    return np.minimum(np.round(frames).clip(SHORTEST, LONGEST).astype(np.int64) - 1, timesteps)


class FilledStore:
    """A store's projections without its folder: as many sequences as phase 4 has, as long as CK+'s."""

    def __init__(self, folder: Path) -> None:
        lengths = ckplus_steps(SEQUENCES, timesteps=TIMESTEPS)
        n = int(lengths.sum())
        self.rows = np.lib.format.open_memmap(folder / "projection.npy", "w+", np.float32, (n, 2, 267))
        self.rows[:] = np.random.default_rng(0).random((n, 2, 267), np.float32)
        self.table = pd.DataFrame(
            {
                "sequence": [f"S{i:03d}_001" for i in range(SEQUENCES)],
                "subject": [f"S{i:03d}" for i in range(SEQUENCES)],
                "emotion": pd.array([CLASSES[i % 4] for i in range(SEQUENCES)], "Int64"),
                "label": "",
                "fold": "",
                "n_frames": lengths + 1,
                "start": np.cumsum(lengths) - lengths,
                "length": lengths,
            }
        )

    def feature(self, name: str) -> np.ndarray:
        """Return the rows of the one feature there is."""
        return self.rows

    def own_rows(self, i: int) -> np.ndarray:
        """Return one sequence's rows, (length, 2, 267)."""
        row = self.table.iloc[i]
        return np.asarray(self.rows[row["start"] : row["start"] + row["length"]])


def padded(store: FilledStore, i: int) -> np.ndarray:
    """Return one padded sequence, channels last: (39, 2, 267, 1)."""
    return pad_sequence(store.own_rows(i))[..., None]
