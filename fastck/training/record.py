"""What a run says about itself before anything is fitted: settings, data, versions, splits, notes."""

import importlib.metadata
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from fastck.messages import one_line, some_names
from fastck.store.reader import Store
from fastck.training import files
from fastck.training.data.folds import Split, leakage
from fastck.training.data.people import shared_notes
from fastck.training.data.samples import Samples
from fastck.training.models.backends import current_backend
from fastck.training.models.memory import MemoryPlan
from fastck.training.settings.config import TrainConfig
from fastck.version import __version__


def describe_run(
    samples: Samples, config: TrainConfig, splits: Sequence[Split], plan: MemoryPlan | None, backend: str | None
) -> dict[str, Any]:
    """Return everything run.json says before anything is fitted.

    Parameters
    ----------
    samples : Samples
    config : TrainConfig
        As `samples` has it: with the classes' names.
    splits : sequence of Split
    plan : MemoryPlan or None
    backend : str or None
        Keras' backend; None, as the plan is, for a linear model.

    Returns
    -------
    record : dict
        JSON values.
    """
    table = samples.table
    stores = [_describe_store(name, store) for name, store in samples.stores.items()]
    subjects = dict(zip(table["sequence"], table["subject"], strict=True))
    sides = []
    for split in splits:
        entry: dict[str, Any] = asdict(split)
        for part in ("train", "validation", "test"):
            entry[f"{part}_subjects"] = sorted({subjects[name] for name in getattr(split, part)})
        sides.append(entry)
    return {
        "format": files.FORMAT,
        "status": "running",
        "arguments": config.as_dict(),
        "feature": config.feature,
        "classes": list(config.class_names),
        "versions": _versions(backend),
        "backend": backend,
        # The first one says how clips are preprocessed that are predicted later.
        "store": stores[0],
        "stores": stores,
        "memory_plan": None if plan is None else plan.as_dict(),
        "leakage": leakage(table.assign(subject=[samples.people.get(name, name) for name in table["subject"]]), splits),
        "notes": _notes(samples, config, splits),
        "splits": sides,
    }


def leakage_notes(splits: Sequence[dict[str, Any]]) -> list[str]:
    """Name the subjects that folds of the user's own put into training or validation and test, for a record's notes."""
    notes = []
    for part, word in (("train", "training"), ("validation", "validation")):
        key = f"{part}_subjects"
        both = {name for split in splits for name in set(split[key]) & set(split["test_subjects"])}
        if both:
            names = some_names(sorted(both))
            notes.append(f"subject leakage: the folds put {len(both)} subjects into {word} and test: {names}")
    return notes


def _versions(backend: str | None) -> dict[str, str]:
    """Return the versions of what a run's numbers depend on; a linear model has no backend."""
    versions = {name: importlib.metadata.version(name) for name in ("numpy", "pandas", "scikit-learn")}
    if backend is not None:
        versions |= {"keras": importlib.metadata.version("keras"), backend: current_backend().version()}
    return versions | {"fastck": __version__}


def _describe_store(name: str, store: Store) -> dict[str, Any]:
    """What run.json says of one store."""
    return {
        "name": name,
        "path": str(store.path.resolve()),
        "config": store.config.as_dict(),
        "config_hash": store.config.hash(),
        "input_hash": store.manifest["input_hash"],
    }


def _notes(samples: Samples, config: TrainConfig, splits: Sequence[Split]) -> list[str]:
    """What a reader should know about the data this run used."""
    notes = []
    table, listing, classes = samples.table, samples.listing, list(config.class_names)
    used = {name for split in splits for part in (split.train, split.validation, split.test) for name in part}
    rows = table[table["sequence"].isin(used)]
    counts = ", ".join(f"{one_line(name)} {int((rows['label'] == name).sum())}" for name in classes)
    notes.append(f"{len(rows)} sequences of {rows['subject'].nunique()} subjects are used: {counts}")
    if config.neutral is not None:
        notes.append(
            f"neutral is the onset of each sequence: its first {config.neutral_steps} steps, at most a third of them"
        )
    configs = {store.config.hash() for store in samples.stores.values()}
    if len(configs) > 1:
        notes.append("the stores were made with different settings: fastck info says which")
    notes += shared_notes(samples.people)
    lost = listing[listing["label"].isin(classes) & ~listing["sequence"].isin(table["sequence"])]
    if len(lost):
        notes.append(f"{len(lost)} sequences of these classes are quarantined in the store and in no part")
    chosen = table[table["label"].isin(classes) & (table["length"] > config.timesteps)]
    if len(chosen):
        done = {"last": "only their last (towards the apex) are used", "first": "only their first are used"}
        what = done.get(config.too_long, "they are left out")
        names = some_names(chosen["sequence"].tolist())
        notes.append(f"{len(chosen)} sequences have more than {config.timesteps} steps; {what}: {names}")
    for split in splits:
        known = set(table.loc[table["sequence"].isin(split.train), "label"])
        absent = [one_line(name) for name in classes if name not in known]
        if absent:
            notes.append(f"{split.name} has no training sequence of {', '.join(absent)}")
    return notes
