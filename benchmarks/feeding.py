"""What the comparisons of feeds share: a store of projections without its folder, and the plain padding of one item.

    python -m benchmarks.feeding FOLDER

times ways into tf.data at CK+'s size and on a sparse file of 100 GB, cold and warm, and prints the table.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

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
    """A store's projections without its folder: as many sequences as phase 4 has, as long as CK+'s.

    With `rows` the sequences lie spread out over a file of so many, of zeros that take no room on the disk.
    """

    def __init__(self, folder: Path, sequences: int = SEQUENCES, *, rows: int | None = None) -> None:
        lengths = ckplus_steps(sequences, timesteps=TIMESTEPS)
        starts = np.cumsum(lengths) - lengths if rows is None else np.arange(sequences) * (rows // sequences)
        n = rows or int(lengths.sum())
        self.path = folder / "projection.npy"
        self.rows = np.lib.format.open_memmap(self.path, "w+", np.float32, (n, 2, 267))
        if rows is None:
            self.rows[:] = np.random.default_rng(0).random((n, 2, 267), np.float32)
        self.table = pd.DataFrame(
            {
                "sequence": [f"S{i:03d}_001" for i in range(sequences)],
                "subject": [f"S{i:03d}" for i in range(sequences)],
                "emotion": pd.array([CLASSES[i % 4] for i in range(sequences)], "Int64"),
                "label": "",
                "fold": "",
                "n_frames": lengths + 1,
                "start": starts,
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


CKPLUS = 593  # sequences of CK+
LARGE = 100 * 10**9 // (2 * 267 * 4)  # rows of 100 GB
READ = 40 * BATCH  # sequences read of them


def ways(store: FilledStore, order: NDArray[np.int64]) -> dict[str, Callable[[], Any]]:
    """Return datasets of one pass each: batches of BATCH sequences in a drawn order."""
    import tensorflow as tf

    from fastck.tfdata import batches

    names = store.table["sequence"].iloc[order].tolist()
    targets = np.eye(len(CLASSES), dtype=np.float32)[order % len(CLASSES)]
    limits = store.table[["start", "length"]].iloc[order].to_numpy()

    def items() -> Iterator[Any]:
        for (start, length), target in zip(limits, targets, strict=True):
            yield pad_sequence(np.asarray(store.rows[start : start + length]))[..., None], target

    kinds = (tf.TensorSpec((TIMESTEPS, 2, 267, 1), tf.float32), tf.TensorSpec((len(CLASSES),), tf.float32))
    own = batches(store, names, feature="projection", classes=CLASSES, batch_size=BATCH, epochs=PASSES)
    generator = tf.data.Dataset.from_generator(items, output_signature=kinds).batch(BATCH).repeat(PASSES).prefetch(2)
    found: dict[str, Callable[[], Any]] = {"fastck": lambda: own, "from_generator": lambda: generator}
    # At most 2 GB, and the whole file must fit into memory.
    if len(store.rows) < LARGE:
        whole = np.stack([values for values, _ in items()])
        slices = tf.data.Dataset.from_tensor_slices((whole, targets)).batch(BATCH).repeat(PASSES).prefetch(2)
        found["from_tensor_slices (a copy in memory)"] = lambda: slices
    return found


def timed(way: Callable[[], Any], store: FilledStore, *, cold: bool) -> tuple[float, float]:
    """Return seconds and processor seconds of a batch; cold after the file has left the page cache."""
    if cold:
        store.rows.flush()
        with store.path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    began, used, count = time.perf_counter(), time.process_time(), 0
    for _ in way():
        count += 1
    return (time.perf_counter() - began) / count, (time.process_time() - used) / count


def main(arguments: list[str]) -> int:
    """Print a table of all ways on both files."""
    if len(arguments) != 1:
        print("usage: python -m benchmarks.feeding FOLDER", file=sys.stderr)
        return 2
    print(f"| file | way | cold, ms a batch | warm, ms a batch | warm, processor time |\n|---|---|{3 * '---:|'}")
    for title, sequences, rows in (("CK+'s size", CKPLUS, None), ("100 GB", READ, LARGE)):
        store = FilledStore(Path(arguments[0]), sequences, rows=rows)
        order = np.random.default_rng(0).permutation(sequences)
        for name, way in ways(store, order).items():
            cold = timed(way, store, cold=True)
            warm = timed(way, store, cold=False)
            figures = " | ".join(f"{1000 * value:.2f}" for value in (cold[0], *warm))
            print(f"| {title} | {name} | {figures} |", flush=True)
        store.path.unlink()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
