"""What the comparisons of feeds share: a store of projections without its folder, and the plain padding of one item.

    python -m benchmarks.feeding FOLDER

times ways of feeding at CK+'s size and on a sparse file of 100 GB, cold and warm, into benchmarks/feeding.json. Each
measurement is a process of its own: pages that a process has mapped cannot leave the page cache. `benchmarks.report`
shows the table.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.machine import this_machine
from fastck.batches.gather import Gather, cut_batches
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

    With `rows` the sequences lie spread out over a file of so many, of zeros that take no room on the disk. A file that
    is there is read.
    """

    def __init__(self, folder: Path, sequences: int = SEQUENCES, *, rows: int | None = None) -> None:
        lengths = ckplus_steps(sequences, timesteps=TIMESTEPS)
        starts = np.cumsum(lengths) - lengths if rows is None else np.arange(sequences) * (rows // sequences)
        n = rows or int(lengths.sum())
        self.path = folder / "projection.npy"
        if not self.path.exists():
            made = np.lib.format.open_memmap(self.path, "w+", np.float32, (n, 2, 267))
            if rows is None:
                made[:] = np.random.default_rng(0).random((n, 2, 267), np.float32)
            made.flush()
        self.rows = np.load(self.path, mmap_mode="r")
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
RESULTS = Path(__file__).with_name("feeding.json")
# A file's sequences and rows; None is as many rows as the sequences have.
FILES: dict[str, tuple[int, int | None]] = {"CK+'s size": (CKPLUS, None), "100 GB": (READ, LARGE)}
OWN, COPIES = "tf.data: fastck.tfdata.batches", "NumPy: fastck's gather alone, into one buffer"
GENERATOR, SLICES = "tf.data: from_generator", "tf.data: from_tensor_slices"
LOADER, ITEMS = "PyTorch: DataLoader and fastck.torchdata", "PyTorch: DataLoader, an item at a time"
WAYS = (OWN, GENERATOR, SLICES, COPIES, LOADER, ITEMS)
ROUNDS = 2
# An environment with PyTorch, where there is one: see the Makefile.
TORCH_PYTHON = Path(".venv-torch/bin/python")


def items_of(store: FilledStore, order: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Yield padded sequences and their one-hot labels, one by one."""
    targets = np.eye(len(CLASSES), dtype=np.float32)
    limits = store.table[["start", "length"]].to_numpy()
    for position in order.tolist():
        start, length = limits[position]
        yield pad_sequence(np.asarray(store.rows[start : start + length]))[..., None], targets[position % len(CLASSES)]


class ItemByItem:
    """Reads and pads one sequence when it is asked for: how most people begin with PyTorch."""

    def __init__(self, store: FilledStore, order: NDArray[np.int64]) -> None:
        self.rows, self.order = store.rows, order
        self.limits = store.table[["start", "length"]].to_numpy().tolist()

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], int]:
        position = int(self.order[index])
        start, length = self.limits[position]
        return pad_sequence(np.asarray(self.rows[start : start + length]))[:, None], position % len(CLASSES)


def copies(store: FilledStore, names: list[str], passes: int) -> Iterator[NDArray[np.float32]]:
    """Yield padded batches in a buffer that is used again: the floor of every framework."""
    gather = Gather(store, names, feature="projection", classes=CLASSES)
    out = np.empty((BATCH, *gather.shape, gather.channels), np.float32)
    for piece in cut_batches(np.arange(len(names)), BATCH) * passes:
        gather.fill(piece, out[: len(piece)])
        yield out


def dataset_of(store: FilledStore, order: NDArray[np.int64], way: str, passes: int) -> Iterable[Any]:
    """Return batches of BATCH sequences in a drawn order, so many passes."""
    names = store.table["sequence"].iloc[order].tolist()
    if way == COPIES:
        return copies(store, names, passes)
    if way in (LOADER, ITEMS):
        from torch.utils.data import DataLoader, Subset

        from fastck.torchdata import SequenceDataset

        own = SequenceDataset(store, names, feature="projection", classes=CLASSES)
        every = list(range(len(names))) * passes
        return DataLoader(Subset(own if way == LOADER else ItemByItem(store, order), every), batch_size=BATCH)
    import tensorflow as tf

    from fastck.tfdata import batches

    if way == OWN:
        return batches(store, names, feature="projection", classes=CLASSES, batch_size=BATCH, epochs=passes)
    kinds = (tf.TensorSpec((TIMESTEPS, 2, 267, 1), tf.float32), tf.TensorSpec((len(CLASSES),), tf.float32))
    if way == GENERATOR:
        found = tf.data.Dataset.from_generator(lambda: items_of(store, order), output_signature=kinds)
    else:
        # At most 2 GB, and the whole file must fit into memory.
        values, targets = zip(*items_of(store, order), strict=True)
        found = tf.data.Dataset.from_tensor_slices((np.stack(values), np.stack(targets)))
    return found.batch(BATCH).repeat(passes).prefetch(2)


def measure(folder: Path, title: str, way: str) -> dict[str, float]:
    """Return seconds and processor seconds of a batch: of the first pass over a file on the disk, and of ten others."""
    sequences, rows = FILES[title]
    store = FilledStore(folder, sequences, rows=rows)
    order = np.random.default_rng(0).permutation(sequences)
    if way != COPIES:
        # What is loaded and compiled at the first use is no part of it.
        next(iter(dataset_of(store, order[:BATCH], way, 1)))
    found = {}
    for state, passes in (("cold", 1), ("warm", PASSES)):
        iterator = iter(dataset_of(store, order, way, passes))
        if state == "cold" and way != SLICES:
            forget(store.path)
        began, used, count = time.perf_counter(), time.process_time(), 0
        for _ in iterator:
            count += 1
        found[state] = (time.perf_counter() - began) / count
        found[f"{state}, processor"] = (time.process_time() - used) / count
    return found


def forget(path: Path) -> None:
    """Have the page cache drop a file."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def in_own_process(folder: Path, title: str, way: str) -> dict[str, Any]:
    """Return what a process of its own measured."""
    python = str(TORCH_PYTHON) if way in (LOADER, ITEMS) else sys.executable
    command = [python, "-m", "benchmarks.feeding", str(folder), "--measure", title, way]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{title}, {way}: {done.stderr.strip()[-2000:]}")
    return {"file": title, "way": way, **json.loads(done.stdout.splitlines()[-1])}


def section() -> list[str]:
    """Return BENCHMARKS.md's section on feeding; nothing without results."""
    if not RESULTS.exists():
        return []
    document = json.loads(RESULTS.read_text())
    lines = [
        "## Feeding, at CK+'s size and from 100 GB",
        "",
        f"Batches of {BATCH} sequences of projections, padded to {TIMESTEPS} steps, in a drawn order: {CKPLUS} "
        f"sequences as long as CK+'s, and {READ:,} that lie spread out over a sparse file of 100 GB. Cold is the first "
        f"pass over a file that has left the page cache, warm the mean of {PASSES} passes after it; each row is the "
        f"better of {ROUNDS} processes. "
        "Written by `python -m benchmarks.feeding`.",
        "",
        f"Machine: {document['machine']}.",
        "",
        "| file | way | cold, ms a batch | warm, ms a batch | warm, processor time |",
        "|---|---|---:|---:|---:|",
    ]
    for entry in document["entries"]:
        ours = next(one for one in document["entries"] if one["file"] == entry["file"] and one["way"] == OWN)
        faster = " **faster**" if entry["way"] not in (OWN, COPIES) and entry["warm"] < ours["warm"] else ""
        figures = [f"{1000 * entry[key]:.2f}" for key in ("cold", "warm", "warm, processor")]
        lines.append(f"| {entry['file']} | {entry['way']} | {figures[0]} | {figures[1]}{faster} | {figures[2]} |")
    return [
        *lines,
        "",
        "`from_tensor_slices` holds a padded copy of everything in memory and in the graph, at most 2 GB: where that "
        "fits it copies rows that are padded already, and no read from a file is quicker. What tf.data takes beyond "
        "fastck's gather alone is TensorFlow's own way of calling Python and of taking arrays over.",
        "",
    ]


def main(arguments: list[str]) -> int:
    """Measure all ways on both files."""
    if len(arguments) == 4 and arguments[1] == "--measure":
        print(json.dumps(measure(Path(arguments[0]), *arguments[2:])))
        return 0
    if len(arguments) != 1:
        print("usage: python -m benchmarks.feeding FOLDER", file=sys.stderr)
        return 2
    entries = []
    for number, title in enumerate(FILES):
        folder = Path(arguments[0]) / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        ways = [way for way in WAYS if not (way == SLICES and FILES[title][1])]
        ways = [way for way in ways if way not in (LOADER, ITEMS) or TORCH_PYTHON.exists()]
        rounds = [[in_own_process(folder, title, way) for way in ways] for _ in range(ROUNDS)]
        entries += [min(found, key=lambda entry: entry["warm"]) for found in zip(*rounds, strict=True)]
        print(*entries[-len(ways) :], sep="\n", flush=True)
    RESULTS.write_text(json.dumps({"machine": this_machine(), "entries": entries}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
