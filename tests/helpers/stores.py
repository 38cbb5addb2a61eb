"""Comparing stores."""

import filecmp
from pathlib import Path

from fastck.store.builder import LOCK


def assert_same_store(one: Path, other: Path) -> None:
    names = sorted({path.name for store in (one, other) for path in store.iterdir()} - {LOCK})
    match, mismatch, errors = filecmp.cmpfiles(one, other, names, shallow=False)
    assert (mismatch, errors) == ([], [])
    assert len(match) == len(names)
