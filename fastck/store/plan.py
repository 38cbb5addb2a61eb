"""Which rows of a store belong to which sequence, and what its input is known by: settled before any decoding."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from fastck.dataset.records import SequenceRecord
from fastck.store.reader import plain_text


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedSequence:
    """One sequence's share of the store: known before anything is decoded."""

    sequence: str
    subject: str
    emotion: int | None
    n_frames: int
    folder: str
    fingerprint: str  # changes when a file of the sequence does
    start: int
    frame_start: int
    label: str = ""
    onset: int | None = None
    fold: str = ""

    @property
    def length(self) -> int:
        """Rows in the feature arrays: one per pair of successive frames."""
        return max(self.n_frames - 1, 0)


def inputs_table(plan: Sequence[PlannedSequence]) -> pd.DataFrame:
    """Return what the store's input is known by: one row per sequence.

    Labels that are no emotion's name, and folds, have columns of their own where there are any.
    """
    columns = ["sequence", "subject", "emotion", "n_frames", "folder", "fingerprint"]
    rows = [[getattr(entry, name) for name in columns] for entry in plan]
    with plain_text():
        table = pd.DataFrame(rows, columns=columns).astype({"emotion": "Int64"})
    added = {
        "label": [entry.label if entry.emotion is None else "" for entry in plan],
        "fold": [entry.fold for entry in plan],
    }
    return table.assign(**{name: values for name, values in added.items() if any(values)})


def make_plan(records: Sequence[SequenceRecord], root: Path) -> list[PlannedSequence]:
    """Give every sequence its rows, in the order of the records, whether it will turn out good or not."""
    plan: list[PlannedSequence] = []
    start = frame_start = 0
    for record in records:
        plan.append(
            PlannedSequence(
                sequence=record.sequence,
                subject=record.subject,
                emotion=record.emotion,
                n_frames=record.n_frames,
                folder=record_folder(record, root),
                fingerprint=fingerprint(record),
                start=start,
                frame_start=frame_start,
                label=record.label,
                onset=record.onset,
                fold=record.fold,
            )
        )
        start, frame_start = start + plan[-1].length, frame_start + record.n_frames
    return plan


def record_folder(record: SequenceRecord, root: Path) -> str:
    """Return a sequence's folder, or its video file, relative to the root."""
    place = os.fspath(record.video) if record.video is not None else os.path.dirname(record.files()[0])  # noqa: PTH120
    above = f"{root}/"
    if place.startswith(above) and ".." not in place:
        return place[len(above) :]
    return Path(os.path.relpath(place, root)).as_posix()


def fingerprint(record: SequenceRecord) -> str:
    """Return 16 hexadecimal digits that change with the name, size or modification time of one of the files."""
    digest = hashlib.sha256()
    for path in record.files():
        name = os.path.basename(path)  # noqa: PTH119
        try:
            status = os.stat(path)  # noqa: PTH116 - a third of a Path's cost
            seen = f"{name}|{status.st_size}|{status.st_mtime_ns}\n"
        except OSError as error:  # vanished or not readable: its decoding will say so, and it goes to the quarantine
            seen = f"{name}|{error.errno}\n"
        digest.update(seen.encode(errors="surrogateescape"))
    if record.video is not None and record.onset is not None:
        digest.update(f"frames {record.onset} + {record.video_frames}\n".encode())
    return digest.hexdigest()[:16]
