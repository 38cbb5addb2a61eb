"""A store in the making: files of their final size, a journal of finished sequences, and the steps that close it.

A sequence is done when its rows are on their way to disk and its line is in the journal; whatever is killed before that
is computed again, to the same bytes. Only the process that holds the lock writes the journal and the tables; workers
write nothing but the rows of their own sequence.
"""

import csv
import json
import logging
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout
from numpy.lib.format import open_memmap

from fastck.config import PreprocessConfig
from fastck.store import journal
from fastck.store import reader as stores
from fastck.store.files import allocate, check_room, sync, write_atomically
from fastck.store.plan import PlannedSequence, inputs_table
from fastck.store.reader import BOXES, FORMAT, MANIFEST, array_layout

log = logging.getLogger(__name__)

JOURNAL, INPUTS, LOCK, OWNER = "journal.jsonl", "inputs.csv", ".lock", ".lock-owner"
SPARE_BYTES = 64 * 2**20  # room for the tables, the journal and the file system itself


def table_bytes(table: pd.DataFrame) -> bytes:
    """Return a table as CSV, the same bytes for the same values."""
    # The csv module leaves a lone carriage return unquoted, which would end a line on reading.
    returns = any("\r" in str(value) for value in table.select_dtypes(exclude="number").to_numpy().flat)
    text = table.to_csv(
        index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL
    )
    return text.encode(errors="surrogateescape")  # a folder's name may be bytes that are no text


class StoreBuilder:
    """Create or resume a store under its lock; use as a context manager.

    Parameters
    ----------
    path : path-like
        The store's folder; created where missing.
    config : PreprocessConfig
    plan : sequence of PlannedSequence
        Sorted by sequence.
    layout : str
        Folder layout the plan was read with, for the manifest.
    overwrite : bool
        Remove a store of another configuration or input first.

    Attributes
    ----------
    finished : bool
        The store was complete before: there is nothing to do.
    done : dict of str to dict
        What the journal says of the sequences that are done.

    Raises
    ------
    ValueError
        If the folder holds something else, or a store of another configuration or input and `overwrite` is not set.
    OSError
        If there is not enough disk space, the folder is not writable, or another run holds the lock.
    """

    def __init__(
        self,
        path: str | Path,
        config: PreprocessConfig,
        plan: Sequence[PlannedSequence],
        *,
        layout: str,
        overwrite: bool = False,
    ) -> None:
        self.path = Path(path)
        self.config = config
        self.plan = plan
        self.layout = layout
        self.overwrite = overwrite
        self.finished = False
        self.done: dict[str, dict[str, Any]] = {}
        self._inputs = table_bytes(inputs_table(plan))
        self._lock = FileLock(self.path / LOCK, timeout=0)

    @property
    def array_names(self) -> tuple[str, ...]:
        """Names of the store's arrays: the boxes and every feature."""
        return (BOXES, *self.config.features)

    def planned_shape(self, name: str) -> tuple[int, ...]:
        """Return an array's shape while the store is in the making, sequences that will fail included."""
        rows = sum(entry.n_frames if name == BOXES else entry.length for entry in self.plan)
        return (rows, *array_layout(name, self.config.faces.side)[0])

    def __enter__(self) -> "StoreBuilder":
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"the store must be a folder, {self.path} is a file")
        self.path.mkdir(parents=True, exist_ok=True)
        self._acquire()
        try:
            self._prepare()
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release()

    def _acquire(self) -> None:
        try:
            self._lock.acquire()
        except Timeout:
            owner = self.path / OWNER
            holder = owner.read_text(encoding="utf-8").strip() if owner.exists() else "another process"
            raise BlockingIOError(f"{self.path} is being written by {holder}; wait for it or stop it first") from None
        (self.path / OWNER).write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")

    def _release(self) -> None:
        (self.path / OWNER).unlink(missing_ok=True)
        self._lock.release()  # the lock's file stays: removing it would let two runs hold locks on different files

    def _prepare(self) -> None:
        difference = self._difference()
        if not difference and self.overwrite and (self.path / MANIFEST).exists():
            difference = next(stores.open_store(self.path).verify(), "")
        if difference and not self.overwrite:
            raise ValueError(f"{self.path} {difference}; take another folder, or --overwrite to replace it")
        if difference:
            self._clear()
        if (self.path / MANIFEST).exists():
            (self.path / JOURNAL).unlink(missing_ok=True)  # a run killed between its last two steps
            self.finished = True
        elif (self.path / JOURNAL).exists():
            self.done = self._read_journal()
            log.info("%s: %d of %d sequences are done already", self.path, len(self.done), len(self.plan))
        else:
            self._create()

    def _difference(self) -> str:
        """Return in what the folder differs from the store this run would make; empty for nothing or no store yet."""
        if (self.path / MANIFEST).exists():
            try:
                was = stores.open_store(self.path).manifest["config"]
            except ValueError:
                if not self.overwrite or not (self.path / INPUTS).exists():
                    raise
                return "is damaged"
        elif (self.path / JOURNAL).exists() and (lines := journal.read(self.path / JOURNAL)):
            was = lines[0]["config"]
        else:  # empty, or killed before the journal's first line: nothing is lost by starting anew
            known = {LOCK, OWNER, INPUTS, INPUTS + ".tmp", JOURNAL, *(f"{name}.npy" for name in self.array_names)}
            strange = sorted(entry.name for entry in self.path.iterdir() if entry.name not in known)
            if strange:
                raise ValueError(f"{self.path} is neither empty nor a store (it holds {strange[0]}): take another")
            return ""
        changes = [*config_changes(was, self.config.as_dict()), *self._input_changes()]
        return f"was made with {'; '.join(changes)}" if changes else ""

    def _input_changes(self) -> list[str]:
        try:
            data = (self.path / INPUTS).read_bytes()
        except FileNotFoundError:
            return [f"no record of its input ({INPUTS} is missing)"]
        if data == self._inputs:
            return []
        dtypes = {"sequence": "str", "fingerprint": "str", "emotion": "Int64"}
        before = stores.read_table(self.path / INPUTS, dtypes).set_index("sequence")
        now = inputs_table(self.plan).set_index("sequence")
        common = before.index.intersection(now.index)
        unlike = before.loc[common, "fingerprint"] != now.loc[common, "fingerprint"]
        relabelled = before.loc[common, "emotion"].fillna(-1) != now.loc[common, "emotion"].fillna(-1)
        kinds = {
            "since removed": before.index.difference(now.index),
            "since added": now.index.difference(before.index),
            "since changed": common[unlike.to_numpy(bool)],
            "since relabelled": common[relabelled.to_numpy(bool)],
        }
        said = [
            f"{len(names)} sequences {kind} ({', '.join(names[:3])})" for kind, names in kinds.items() if len(names)
        ]
        return [f"another input: {', '.join(said)}" if said else "another input"]

    def _clear(self) -> None:
        """Remove the store's own files, the marks of completion first."""
        names = [MANIFEST, JOURNAL, INPUTS, stores.SEQUENCES, stores.QUARANTINE, stores.CHECKSUMS]
        for path in (*(self.path / name for name in names), *self.path.glob("*.npy"), *self.path.glob("*.npy.tmp")):
            path.unlink(missing_ok=True)

    def _create(self) -> None:
        layouts = {
            name: (self.planned_shape(name), array_layout(name, self.config.faces.side)[1]) for name in self.array_names
        }
        check_room(
            self.path, sum(int(np.prod(shape)) * dtype.itemsize for shape, dtype in layouts.values()) + SPARE_BYTES
        )
        write_atomically(self.path / INPUTS, self._inputs)
        for name, (shape, dtype) in layouts.items():
            allocate(self.path / f"{name}.npy", shape, dtype)
        journal.append(self.path / JOURNAL, {"format": FORMAT, "config": self.config.as_dict()})

    # -- Journal --------------------------------------------------------------------------------------------------
    def record(self, sequence: str, entry: dict[str, Any]) -> None:
        """Say that a sequence is done: its rows are written, or it goes to the quarantine for a reason."""
        self.done[sequence] = entry
        journal.append(self.path / JOURNAL, {"sequence": sequence, **entry})

    def _read_journal(self) -> dict[str, dict[str, Any]]:
        done = {line.pop("sequence"): line for line in journal.read(self.path / JOURNAL)[1:]}
        if (damaged := self._damaged(done)) is None:
            self._clear()
            self._create()
            return {}
        return {name: entry for name, entry in done.items() if name not in damaged}

    def _damaged(self, done: dict[str, dict[str, Any]]) -> set[str] | None:
        """Return the finished sequences whose rows are not what was written; None where an array itself is not.

        A kill damages nothing. A power cut may: the journal can be on disk before the rows it counts on.
        """
        good = [entry for entry in self.plan if "row" in done.get(entry.sequence, {})]
        arrays = {}
        for name in self.array_names:
            try:
                arrays[name] = stores.open_array(self.path / f"{name}.npy")
            except (OSError, ValueError):
                return None
        if any(array.shape != self.planned_shape(name) for name, array in arrays.items()):
            # A run was killed while it closed the store, everything done and on disk. Or it is somebody else's array.
            closing = len(done) == len(self.plan) and all(
                array.shape in (self.planned_shape(name), self._closed_shape(name, good))
                for name, array in arrays.items()
            )
            return set() if closing else None
        damaged = set()
        for entry in good:
            for name, array in arrays.items():
                start, length = self._rows(entry, name)
                if stores.checksum(array[start : start + length]) != done[entry.sequence]["crc32"][name]:
                    damaged.add(entry.sequence)
        return damaged

    @staticmethod
    def _rows(entry: PlannedSequence, name: str) -> tuple[int, int]:
        """Return the first row and the number of rows of a sequence in an array."""
        return (entry.frame_start, entry.n_frames) if name == BOXES else (entry.start, entry.length)

    def _closed_shape(self, name: str, good: Sequence[PlannedSequence]) -> tuple[int, ...]:
        """Return an array's shape in the finished store, without the sequences that are not good."""
        return (sum(self._rows(entry, name)[1] for entry in good), *self.planned_shape(name)[1:])

    # -- Closing --------------------------------------------------------------------------------------------------
    def finish(self, versions: dict[str, str]) -> None:
        """Close the store: take out the rows of quarantined sequences, write the tables, then the manifest.

        May be killed and called again at any point.

        Raises
        ------
        OSError
            If rows changed after they were written: a bad disk, or a stray worker of a store that was replaced.
        """
        for name in self.array_names:
            sync(self.path / f"{name}.npy")
        if (damaged := self._damaged(self.done)) is None or damaged:
            what = f"rows of {', '.join(sorted(damaged)[:3])}" if damaged else "arrays"
            raise OSError(
                f"{self.path}: {what} changed after they were written, by another program or a bad disk; the same "
                "command writes them again"
            )
        good = [entry for entry in self.plan if "reason" not in self.done[entry.sequence]]
        arrays = {name: self._compact(name, good) for name in self.array_names}
        tables = self._tables(good)
        for name, table in tables.items():
            write_atomically(self.path / name, table_bytes(table))
        manifest = {
            "format": FORMAT,
            "fastck": versions["fastck"],
            "config": self.config.as_dict(),
            "config_hash": self.config.hash(),
            "input_hash": stores.checksum(np.frombuffer(self._inputs, np.uint8)),
            "layout": self.layout,
            "versions": versions,
            "counts": {
                "sequences": len(good),
                "quarantined": len(self.plan) - len(good),
                "frames": sum(entry.n_frames for entry in good),
                "rows": sum(entry.length for entry in good),
                "missed": int(tables[stores.SEQUENCES]["n_missed"].sum()),
            },
            "arrays": arrays,
        }
        write_atomically(self.path / MANIFEST, (json.dumps(manifest, indent=1) + "\n").encode())
        (self.path / JOURNAL).unlink()
        self.finished = True

    def _compact(self, name: str, good: Sequence[PlannedSequence]) -> dict[str, Any]:
        """Drop the rows of sequences that are not good; return the array's shape and dtype."""
        path = self.path / f"{name}.npy"
        dtype = array_layout(name, self.config.faces.side)[1]
        runs = [self._rows(entry, name) for entry in good]
        shape = self._closed_shape(name, good)
        if shape != self.planned_shape(name):
            source = np.load(path, mmap_mode="r", allow_pickle=False)
            if source.shape != shape:  # else a killed run had come past this array
                temporary = self.path / f"{name}.npy.tmp"
                allocate(temporary, shape, dtype)
                target = open_memmap(temporary, mode="r+")
                row = 0
                for start, length in runs:
                    target[row : row + length] = source[start : start + length]
                    row += length
                target.flush()
                temporary.replace(path)
        return {"shape": list(shape), "dtype": dtype.str}

    def _tables(self, good: Sequence[PlannedSequence]) -> dict[str, pd.DataFrame]:
        rows, sums, start, frame_start = [], [], 0, 0
        for entry in good:
            done = self.done[entry.sequence]
            place = {"start": start, "length": entry.length, "frame_start": frame_start}
            planned = {name: getattr(entry, name) for name in ("sequence", "subject", "emotion", "n_frames", "folder")}
            rows.append({**planned, **place, **done["row"]})
            sums += [(entry.sequence, name, done["crc32"][name]) for name in self.array_names]
            start, frame_start = start + entry.length, frame_start + entry.n_frames
        bad = [e for e in self.plan if "reason" in self.done[e.sequence]]
        left_out = [(e.sequence, self.done[e.sequence]["reason"], e.folder) for e in bad]
        return {
            stores.SEQUENCES: pd.DataFrame(rows, columns=list(stores.TABLE_DTYPES)).astype(stores.TABLE_DTYPES),
            stores.QUARANTINE: pd.DataFrame(left_out, columns=["sequence", "reason", "folder"]),
            stores.CHECKSUMS: pd.DataFrame(sums, columns=["sequence", "array", "crc32"]),
        }


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
