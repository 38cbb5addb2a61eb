"""Print the table of docs/how-to/own-people.md: linear models fitted on five people and tested on all others.

python -m tools.docs.few_people STORE
"""

import sys
from pathlib import Path

import numpy as np

from fastck.store.reader import open_store
from fastck.training.models.linear import sequence_vectors
from fastck.training.models.linear_fitting import fit_linear_model
from fastck.training.settings.config import TrainConfig

PEOPLE = 5
SEED = 0
STEPS = 80
COMMON = {"model": "linear", "timesteps": STEPS}
WAYS = {
    "`--phase 5`, flow": TrainConfig.from_dict({"phase": 5, **COMMON}),
    "`--phase 6`, action units and shape": TrainConfig.from_dict({"phase": 6, **COMMON}),
    "`--phase 5 --from bundled`": TrainConfig.from_dict({"phase": 5, "base": "bundled", **COMMON}),
}


def shares(store_path: Path, config: TrainConfig) -> list[float]:
    """Return the share of others' sequences that each group of people teaches a linear model to get right."""
    store = open_store(store_path)
    table = store.table[store.table["label"] != ""]
    names, people = table["sequence"].tolist(), table["subject"].to_numpy(dtype=str)
    labels = table["label"].to_numpy(dtype=str)
    seen = sequence_vectors(store, names, config)
    varied = sequence_vectors(store, names, config, augment=True).reshape(len(names), -1, seen.shape[1])
    everyone = np.random.default_rng(SEED).permutation(np.unique(people))
    right = []
    for group in np.split(everyone, len(everyone) // PEOPLE):
        own = np.isin(people, group)
        copies = varied.shape[1]
        learnt = varied[own].reshape(-1, varied.shape[2])
        model, _ = fit_linear_model(
            store, learnt, np.repeat(labels[own], copies), np.repeat(people[own], copies), config
        )
        said = np.array(config.class_names)[model.probabilities(seen[~own]).argmax(axis=1)]
        right.append(float((said == labels[~own]).mean()))
    return right


def main(arguments: list[str]) -> int:
    """Print the table."""
    if len(arguments) != 1:
        print("usage: python -m tools.docs.few_people STORE", file=sys.stderr)
        return 2
    print("| linear model | right | from the worst five to the best |\n|---|---:|---:|")
    for name, config in WAYS.items():
        right = shares(Path(arguments[0]), config)
        print(
            f"| {name} | {100 * np.mean(right):.1f} % | {100 * min(right):.1f} % to {100 * max(right):.1f} % |",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
