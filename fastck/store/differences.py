"""What keeps a store on disk from being gone on with: other input, other settings, other versions."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastck.store.reader import read_store_table

if TYPE_CHECKING:
    import pandas as pd

# Libraries whose version may change a byte of a feature; joblib and pandas only carry them.
DECISIVE = ("fastck", "numpy", "numba", "opencv", "dlib")
INPUT_DTYPES = {
    "sequence": "str",
    "subject": "str",
    "emotion": "Int64",
    "n_frames": "int64",
    "folder": "str",
    "fingerprint": "str",
}
# Written where there is something to say in them.
ADDED_INPUT_DTYPES = {"label": "str", "fold": "str"}


def config_changes(before: dict[str, Any], now: dict[str, Any], prefix: str = "") -> list[str]:
    """Return one "name value (now value)" for every setting in which two configurations differ."""
    changes = []
    for name in sorted(set(before) | set(now)):
        old, new = before.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            changes += config_changes(old, new, f"{prefix}{name}.")
        elif old != new:
            changes.append(f"{prefix}{name} {json.dumps(old)} (now {json.dumps(new)})")
    return changes


def version_changes(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """Return one "library version (now version)" for every decisive library of another version."""
    return [
        f"{name} {before.get(name, 'of unknown version')} (now {now.get(name, 'unknown')})"
        for name in DECISIVE
        if before.get(name) != now.get(name)
    ]


def input_changes(path: Path, table: "pd.DataFrame", *, may_change: Collection[str] = ()) -> list[str]:
    """Return how a store's input differs from today's, in one sentence or none.

    Parameters
    ----------
    path : Path
        The store's record of its input.
    table : DataFrame
        Today's, as `fastck.store.plan.Plan.inputs` gives it.
    may_change : collection of str
        Sequences whose files may be others, as long as their number is the same.
    """
    import pandas as pd

    try:
        before = read_store_table(path, INPUT_DTYPES, ADDED_INPUT_DTYPES).set_index("sequence")
    except FileNotFoundError:
        return [f"no record of its input ({path.name} is missing)"]
    now = table.set_index("sequence")
    common = before.index.intersection(now.index)
    was, is_now = before.loc[common], now.loc[common]
    changed = (was["fingerprint"] != is_now["fingerprint"]).to_numpy(bool)
    allowed = common.isin(list(may_change)) & (was["n_frames"] == is_now["n_frames"]).to_numpy(bool)
    moved = (was["folder"] != is_now["folder"]).to_numpy(bool)
    others = (was["subject"] != is_now["subject"]).to_numpy(bool)
    relabelled = was["emotion"].fillna(-1) != is_now["emotion"].fillna(-1)
    for name in ADDED_INPUT_DTYPES:
        nothing = pd.Series("", common)
        relabelled |= (was.get(name, nothing) != is_now.get(name, nothing)).to_numpy(bool)
    kinds = {
        "since removed": before.index.difference(now.index),
        "since added": now.index.difference(before.index),
        "since changed": common[changed & ~allowed],
        "since moved to another path": common[moved],
        "since given another subject": common[others],
        "since relabelled": common[relabelled.to_numpy(bool)],
    }
    said = [f"{len(names)} sequences {kind} ({', '.join(names[:3])})" for kind, names in kinds.items() if len(names)]
    return [f"another input: {', '.join(said)}"] if said else []
