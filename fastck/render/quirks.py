"""CK+'s oddities, planted on request: what every reader of the real set has to survive.

======================== ======================================================================================
kind                     what is planted
======================== ======================================================================================
unlabelled               a sequence without label folder: not labelled, which is not neutral
missing-label-folder     a subject without any label folder: none of the subject's sequences is labelled
empty-label-folder       a label folder without label file, as CK+'s S010/001
junk-file                .DS_Store and Thumbs.db among subjects, sequences, frames and labels
long-sequence            45 to 71 frames, more than the 39 differences that the paper's network sees
======================== ======================================================================================
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

LABEL_SHARE = 0.08  # of the sequences become unlabelled; as many get an empty label folder
LONG_SHARE = 0.05  # of the sequences; CK+'s longest has 71 frames
LONG_RANGE = (45, 71)
SUBJECT_SHARE = 0.04  # of the subjects lose their label folder
JUNK = (b"\x00\x00\x00\x01Bud1", b"\xd0\xcf\x11\xe0")  # how .DS_Store and Thumbs.db begin


@dataclass(frozen=True, kw_only=True)
class Quirk:
    """One planted oddity.

    Attributes
    ----------
    kind : str
        As the table above has it.
    sequence : str
        The sequence concerned, "" for a file among folders. A subject without labels has one entry per sequence.
    path : str
        File or folder concerned, relative to the data set's root.
    """

    kind: str
    sequence: str
    path: str

    @property
    def removes_label(self) -> bool:
        """Whether the sequence loses its label by it."""
        return self.kind in ("unlabelled", "missing-label-folder", "empty-label-folder")


def quirk_plan(names: list[str], seed: int) -> dict[str, list[str]]:
    """Choose which sequences get which quirk: kind -> sequence names, at least one each while there are enough.

    Parameters
    ----------
    names : list of str
        Sequences, "S005_001" and the like.
    seed : int
        The data set's.
    """
    rng = np.random.default_rng([seed, 0, 1])
    subjects = sorted({name.split("_")[0] for name in names})
    bare_count = max(round(SUBJECT_SHARE * len(subjects)), 1) if len(subjects) > 1 else 0
    bare = set(rng.permutation(subjects)[:bare_count].tolist())
    missing = [name for name in names if name.split("_")[0] in bare]
    rest = rng.permutation([name for name in names if name not in missing]).tolist()
    count = max(round(LABEL_SHARE * len(names)), 1)
    long_count = max(round(LONG_SHARE * len(names)), 1)
    return {
        "missing-label-folder": missing,
        "unlabelled": sorted(rest[:count]),
        "empty-label-folder": sorted(rest[count : 2 * count]),
        "long-sequence": sorted(rng.permutation(names)[:long_count].tolist()),
        "junk-file": sorted(rng.permutation(names)[: max(count, 2)].tolist()),
    }


def longer_lengths(plan: dict[str, list[str]], seed: int) -> dict[str, int]:
    """Return the numbers of frames of the planned long sequences."""
    rng = np.random.default_rng([seed, 0, 2])
    return {name: int(rng.integers(LONG_RANGE[0], LONG_RANGE[1] + 1)) for name in plan.get("long-sequence", [])}


def plant_quirks(out: Path, plan: dict[str, list[str]], *, images: str, labels: str) -> tuple[Quirk, ...]:
    """Plant what was planned into a rendered set.

    Parameters
    ----------
    out : Path
        The set's root.
    plan : dict of kind to sequence names
        From `quirk_plan`; the long sequences were rendered long and are only noted here.
    images, labels : str
        Names of the two folders below `out`.

    Returns
    -------
    quirks : tuple of Quirk
        In order of their paths.
    """
    quirks = []
    for kind in ("unlabelled", "missing-label-folder", "empty-label-folder", "long-sequence"):
        for name in plan[kind]:
            subject, position = name.split("_")
            folder = out / (images if kind == "long-sequence" else labels) / subject / position
            if kind != "long-sequence":
                shutil.rmtree(folder)
            if kind == "empty-label-folder":
                folder.mkdir()
            quirks.append(Quirk(kind=kind, sequence=name, path=str(folder.relative_to(out))))
    for name in plan["missing-label-folder"]:
        subject_folder = out / labels / name.split("_")[0]
        if subject_folder.is_dir() and not any(subject_folder.iterdir()):
            subject_folder.rmdir()
    quirks += [
        Quirk(kind="junk-file", sequence="", path=str(path.relative_to(out)))
        for path in plant_junk(out, plan, images, labels)
    ]
    return tuple(sorted(quirks, key=lambda quirk: (quirk.path, quirk.kind)))


def plant_junk(out: Path, plan: dict[str, list[str]], images: str, labels: str) -> list[Path]:
    """Write junk files among subjects, sequences, frames and labels; return their paths."""
    store, thumbs = ".DS_Store", "Thumbs.db"
    paths = [out / images / store, out / labels / store]
    for count, name in enumerate(plan["junk-file"]):
        subject, position = name.split("_")
        folder = out / images / subject
        paths.append(folder / store if count % 2 == 0 else folder / position / thumbs)
    paths = sorted(set(paths))
    for path in paths:
        path.write_bytes(JUNK[path.name == thumbs])
    return paths
