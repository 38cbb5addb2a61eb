"""How fast batches reach PyTorch: a process of its own, so that torch may be elsewhere.

python -m benchmarks.torchfeed FOLDER [PASSES]
prints one line of JSON: for every way the seconds of a batch.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Subset
from torch.utils.data._utils.collate import default_collate_fn_map

from benchmarks.feeding import BATCH, CLASSES, PASSES, SEQUENCES, FilledStore
from fastck.batches.padding import pad_sequence
from fastck.torchdata import SequenceDataset

OWN, PLAIN, READY = "PyTorch: fastck", "PyTorch: np.load per item", "PyTorch: ready tensors"
WORKERS = 4


class PlainDataset(Dataset):
    """One .npy file for each sequence, loaded and padded when it is asked for: how most people begin."""

    def __init__(self, files: list[Path], targets: list[int]) -> None:
        self.files, self.targets = files, targets

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.from_numpy(pad_sequence(np.load(self.files[index]))[:, None]), self.targets[index]


class ReadyItem(tuple):
    """Names the items of `ReadyDataset` for `default_collate`."""

    __slots__ = ()


class ReadyDataset(Dataset):
    """A batch is there before it is asked for: what is left is PyTorch's own way of handing it over."""

    def __init__(self, dataset: SequenceDataset) -> None:
        self.values = torch.stack([dataset[i][0] for i in range(BATCH)])
        self.targets = dataset.targets[:BATCH]
        default_collate_fn_map[ReadyItem] = lambda items, **_: [self.values.clone(), self.targets.clone()]

    def __len__(self) -> int:
        return SEQUENCES

    def __getitems__(self, indices: list[int]) -> list[ReadyItem]:
        return [ReadyItem()] * len(indices)


def make_datasets(folder: Path) -> dict[str, Any]:
    """Return the data sets on the same values, checked to be equal."""
    store = FilledStore(folder)
    names = list(store.table["sequence"])
    own = SequenceDataset(store, names, feature="projection", classes=CLASSES)
    for i, name in enumerate(names):
        np.save(folder / f"{name}.npy", store.own_rows(i))
    plain = PlainDataset([folder / f"{name}.npy" for name in names], own.targets.tolist())
    for i in range(SEQUENCES):
        assert torch.equal(own[i][0], plain[i][0])
        assert own[i][1] == plain[i][1]
    return {OWN: own, PLAIN: plain, READY: ReadyDataset(own)}


class Measurement:
    """One data set read pass by pass; the workers live on between passes."""

    def __init__(self, dataset: Any, workers: int) -> None:
        every = Subset(dataset, list(range(SEQUENCES)) * PASSES)
        self._loader = DataLoader(
            every, batch_size=BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0
        )
        self.seconds = np.inf

    def run(self) -> None:
        """Read all batches; keep the best pass's seconds for each."""
        start = time.perf_counter()
        count = sum(1 for _ in self._loader)
        self.seconds = min(self.seconds, (time.perf_counter() - start) / count)


def main() -> None:
    """Measure every way, pass by pass in turns, so that what else the machine does meets all of them."""
    folder, passes = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 12
    datasets = make_datasets(folder)
    results: dict[str, float] = {}
    for workers in (0, WORKERS):
        # A ready tensor has no way to go without workers.
        names = [*datasets] if workers else [OWN, PLAIN]
        ways = {name: Measurement(datasets[name], workers) for name in names}
        for _ in range(1 + passes):
            for way in ways.values():
                way.run()
        results |= {f"{name}, {workers} workers" if workers else name: way.seconds for name, way in ways.items()}
    print(json.dumps({"torch": torch.__version__, "ways": results}))


if __name__ == "__main__":
    main()
