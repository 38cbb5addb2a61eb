"""People who are in several stores that are trained together, found by what the stores know of their frames."""

from collections.abc import Mapping

import pandas as pd

from fastck.messages import one_line
from fastck.store.reader import BOXES, Store


def people_of(stores: Mapping[str, Store]) -> dict[str, str]:
    """Return which subjects of several stores are one person.

    Two subjects are one person where a sequence of both was made of the same files (the fingerprint of their names,
    sizes and times), or has the same face boxes and the same feature, row for row.

    Parameters
    ----------
    stores : mapping of str to Store
        By the name that stands before their subjects.

    Returns
    -------
    people : dict of str to str
        "second/S001" to "first/S001", for every subject that is in another store too; the first one is its own.
    """
    parts = [_marks(name, store) for name, store in stores.items()] if len(stores) > 1 else []
    if not parts:
        return {}
    people: dict[str, str] = {}
    for _, subjects in pd.concat(parts).groupby("mark", sort=False)["subject"]:
        names = subjects.tolist()
        if len(names) < 2:
            continue
        # Some may stand for others already, whom another sequence showed.
        known = {people.get(name, name) for name in names}
        others = [name for name, person in people.items() if person in known]
        people |= dict.fromkeys([*names, *others], people.get(names[0], names[0]))
    return people


def shared_notes(people: Mapping[str, str]) -> list[str]:
    """Return, as one line for people, who is in several stores; nothing where nobody is."""
    groups: dict[str, list[str]] = {}
    for subject, person in people.items():
        groups.setdefault(person, []).append(subject)
    if not groups:
        return []
    names = "; ".join(" = ".join(map(one_line, sorted(names))) for names in list(groups.values())[:3])
    return [
        f"subject leakage: the same people are in several stores, {len(groups)} of them: {names}"
        f"{'; ...' if len(groups) > 3 else ''}. Train each person's sequences from one store only"
    ]


def _marks(name: str, store: Store) -> pd.DataFrame:
    """What tells the frames of a store's sequences: columns mark and subject, one row per sequence and mark."""
    listing = store.listing[["sequence", "subject"]]
    marks = pd.concat([store.fingerprints.rename(columns={"fingerprint": "mark"}), _content(store)])
    marks = marks.merge(listing, on="sequence")[["mark", "subject"]].drop_duplicates()
    # Where files have equal names, sizes and times, two people of one store have the same mark: it tells nobody.
    marks = marks[~marks["mark"].duplicated(keep=False)]
    return marks.assign(subject=[f"{name}/{subject}" for subject in marks["subject"]])


def _content(store: Store) -> pd.DataFrame:
    """Checksums of a sequence's boxes together with each feature's: columns sequence and mark."""
    if not store.has_checksums:
        return pd.DataFrame({"sequence": [], "mark": []}, dtype="str")
    sums = store.checksums
    # Features of frames that never move are alike, whoever they show.
    still = store.table.loc[store.table["motion"] == 0, "sequence"]
    boxes = sums.loc[(sums["array"] == BOXES) & ~sums["sequence"].isin(still), ["sequence", "crc32"]]
    both = sums[sums["array"] != BOXES].merge(boxes, on="sequence", suffixes=("", "_boxes"))
    return pd.DataFrame(
        {"sequence": both["sequence"], "mark": both["array"] + " " + both["crc32"] + " " + both["crc32_boxes"]}
    )
