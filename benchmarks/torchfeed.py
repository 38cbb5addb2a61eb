"""How fast batches reach PyTorch, and what memory workers take: a process of its own, so that torch may be elsewhere.

python -m benchmarks.torchfeed FOLDER [PASSES]
prints one line of JSON: for every way the seconds of a batch and, with workers, their memory.
"""

import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Subset

from benchmarks.feeding import BATCH, CLASSES, SEQUENCES, FilledStore
from fastck import ops
from fastck.torchdata import SequenceDataset

OWN, PLAIN = "PyTorch: fastck", "PyTorch: np.load per item"
WORKERS = 4
REPEATS = 10  # of the sequences in a pass: the start of a pass then costs little


class PlainDataset(Dataset):
    """One .npy file for each sequence, loaded and padded when it is asked for: how most people begin."""

    def __init__(self, files: list[Path], targets: list[int]) -> None:
        self.files, self.targets = files, targets

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.from_numpy(ops.pad_sequence(np.load(self.files[index]))[:, None]), self.targets[index]


def make_datasets(folder: Path) -> dict[str, Any]:
    """Return both data sets on the same values, checked to be equal."""
    store = FilledStore(folder)
    names = list(store.table["sequence"])
    own = SequenceDataset(store, names, feature="projection", classes=CLASSES)
    for i, name in enumerate(names):
        np.save(folder / f"{name}.npy", store.own_rows(i))
    plain = PlainDataset([folder / f"{name}.npy" for name in names], own.targets.tolist())
    for i in range(SEQUENCES):
        assert torch.equal(own[i][0], plain[i][0])
        assert own[i][1] == plain[i][1]
    return {OWN: own, PLAIN: plain}


def own_megabytes(loader: DataLoader) -> float:
    """Return the memory that the loader's workers do not share with anyone, all together."""
    total = 0
    for worker in loader._iterator._workers:
        text = Path(f"/proc/{worker.pid}/smaps_rollup").read_text()
        total += sum(int(size) for size in re.findall(r"^Private_\w+:\s+(\d+) kB", text, flags=re.MULTILINE))
    return total / 1000


def measure(dataset: Any, workers: int, passes: int) -> dict[str, float]:
    """Return the best pass's seconds for each batch, and the workers' memory after the second and the last pass."""
    every = Subset(dataset, list(range(SEQUENCES)) * REPEATS)
    loader = DataLoader(every, batch_size=BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0)
    result: dict[str, float] = {}
    for number in range(1 + passes):
        start = time.perf_counter()
        count = sum(1 for _ in loader)
        seconds = (time.perf_counter() - start) / count
        result["seconds"] = min(result.get("seconds", np.inf), seconds)
        if workers and number == 1:
            result["first_mb"] = own_megabytes(loader)
    if workers:
        result["last_mb"] = own_megabytes(loader)
    return result


def main() -> None:
    """Measure every way, in turns."""
    folder, passes = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 12
    datasets = make_datasets(folder)
    results: dict[str, dict[str, float]] = {}
    for workers in (0, WORKERS):
        for name, dataset in datasets.items():
            results[name if not workers else f"{name}, {workers} workers"] = measure(dataset, workers, passes)
    print(json.dumps({"torch": torch.__version__, "ways": results}))


if __name__ == "__main__":
    main()
