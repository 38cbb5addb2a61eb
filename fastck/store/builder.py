"""A store in the making: files of their final size, a journal of finished sequences, and the steps that close it.

A sequence is done when its rows are on their way to disk and its line is in the journal; whatever is killed before that
is computed again, to the same bytes. Only the process that holds the lock writes the journal and the tables; workers
write nothing but the rows of their own sequence.
"""

import json
import logging
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from fastck.config import PreprocessConfig
from fastck.ops import STORE_FEATURES
from fastck.store import journal
from fastck.store import reader as stores
from fastck.store.arrays import StoreArrays, rows_of
from fastck.store.differences import config_changes, input_changes, version_changes
from fastck.store.files import check_room, write_atomically
from fastck.store.plan import PlannedSequence, inputs_table
from fastck.store.reader import BOXES, FORMAT, MANIFEST
from fastck.store.tables import finished_entries, store_tables, table_bytes
from fastck.store.writer import SequenceWriter

log = logging.getLogger(__name__)

JOURNAL, INPUTS, LOCK, OWNER = "journal.jsonl", "inputs.csv", ".lock", ".lock-owner"
SPARE_BYTES = 64 * 2**20  # room for the tables, the journal and the file system itself


class StoreBuilder:
    """Create or resume a store under its lock; use as a context manager.

    Parameters
    ----------
    path : path-like
        The store's folder; created where missing.
    config : PreprocessConfig
    plan : sequence of PlannedSequence
        Sorted by sequence.
    versions : dict of str to str
        Of the libraries that compute the rows. All rows of a store come from the same versions.
    overwrite : bool
        Remove a store of another configuration or input first.
    retry : bool
        Take quarantined sequences up again, also in a store that is complete.

    Attributes
    ----------
    finished : bool
        The store is complete: there is nothing to do.
    done : dict of str to dict
        What the journal says of the sequences that are done.

    Raises
    ------
    ValueError
        If the folder holds something else, or a store of another configuration, input or versions and `overwrite` is
        not set.
    OSError
        If there is not enough disk space, the folder is not writable, or another run holds the lock.
    """

    def __init__(
        self,
        path: str | Path,
        config: PreprocessConfig,
        plan: Sequence[PlannedSequence],
        *,
        versions: dict[str, str],
        overwrite: bool = False,
        retry: bool = False,
    ) -> None:
        # Absolute: workers elsewhere have another working folder.
        self.path = Path(path).absolute()
        self.config = config
        self.plan = plan
        self.versions = versions
        self.overwrite = overwrite
        self.retry = retry
        self.finished = False
        self.done: dict[str, dict[str, Any]] = {}
        self._arrays = StoreArrays(self.path, config, plan)
        self._inputs = table_bytes(inputs_table(plan))
        self._lock = FileLock(self.path / LOCK, timeout=0)

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

    # -- Opening ------------------------------------------------------------------------------------------------------
    def _prepare(self) -> None:
        difference = self._difference()
        if difference and not self.overwrite:
            raise ValueError(f"{self.path} {difference}; take another folder, or --overwrite to replace it")
        if difference:
            self._clear()
        if (self.path / MANIFEST).exists():
            # A run may have been killed between its last two steps.
            (self.path / JOURNAL).unlink(missing_ok=True)
            self.finished = not (self.retry and self._begin_retry())
        if not self.finished:
            self._resume()

    def _resume(self) -> None:
        """Take over what the journal holds, or start anew where it holds nothing of use."""
        self.done = self._entries()
        state = self._arrays.state(self.done)
        if not self.done or state == "lost":
            self._clear()
            self._create()
            self.done = {}
            return
        if state == "open":
            spoilt = self._arrays.spoilt(self.done)
            self.done = {name: entry for name, entry in self.done.items() if name not in spoilt}
        if self.retry:
            self._arrays.reopen(self._arrays.good(self.done))
            self.done = {name: entry for name, entry in self.done.items() if "row" in entry}
            write_atomically(self.path / INPUTS, self._inputs)
        log.info("%s: %d of %d sequences are done already", self.path, len(self.done), len(self.plan))

    def _begin_retry(self) -> bool:
        """Turn a finished store into one that was killed before its last steps; False where nothing is quarantined."""
        store = stores.open_store(self.path)
        if store.quarantine.empty:
            return False
        lines = [self._head(), *finished_entries(store)]
        journal.write(self.path / JOURNAL, lines)
        (self.path / MANIFEST).unlink()
        return True

    def _difference(self) -> str:
        """Return in what the folder differs from the store this run would make; empty for nothing or no store yet."""
        if (self.path / MANIFEST).exists():
            return self._finished_difference()
        lines = self._journal()
        if not lines:
            self._check_own()
            return ""
        if "config" not in lines[0]:
            return "has a damaged journal that no longer says how the store was made"
        if len(lines) == 1:
            # A run that ended while it made the arrays: nothing is lost by starting anew.
            return ""
        quarantined = {line["sequence"] for line in lines[1:] if "reason" in line}
        return self._changes(lines[0]["config"], lines[0].get("versions", {}), quarantined)

    def _finished_difference(self) -> str:
        try:
            store = stores.open_store(self.path)
            quarantined = set(store.quarantine["sequence"]) if self.retry else set()
        except ValueError:
            if not self.overwrite or not (self.path / INPUTS).exists():
                raise
            return "is damaged"
        versions = store.manifest["versions"] if quarantined else self.versions
        if difference := self._changes(store.manifest["config"], versions, quarantined):
            return difference
        return next(store.verify(), "") if self.overwrite else ""

    def _changes(self, config: dict[str, Any], versions: dict[str, str], quarantined: set[str]) -> str:
        changes = config_changes(config, self.config.as_dict())
        may_change = quarantined if self.retry else ()
        changes += input_changes(self.path / INPUTS, inputs_table(self.plan), may_change=may_change)
        if changes:
            return f"was made with {'; '.join(changes)}"
        others = version_changes(versions, self.versions)
        # Rows of two versions are never mixed: the manifest names one version of each library.
        return f"was begun with {', '.join(others)}: go on with these versions" if others else ""

    def _check_own(self) -> None:
        """Raise ValueError where the folder without manifest and journal holds what no killed run leaves behind."""
        known = {LOCK, OWNER, INPUTS, INPUTS + ".tmp"}
        # The first file that is written, and the last that is removed.
        if (self.path / INPUTS).exists():
            known |= {path.name for path in self._own_files()} | {JOURNAL + ".tmp"}
        strange = sorted(entry.name for entry in self.path.iterdir() if entry.name not in known)
        if strange:
            raise ValueError(f"{self.path} is neither empty nor a store (it holds {strange[0]}): take another")

    def _clear(self) -> None:
        """Remove the store's own files, the marks of completion first."""
        for path in self._own_files():
            path.unlink(missing_ok=True)

    def _own_files(self) -> list[Path]:
        """Return every file a store may have, in the order in which they are removed: INPUTS says whose the rest is."""
        tables = [stores.SEQUENCES, stores.QUARANTINE, stores.CHECKSUMS]
        arrays = [f"{name}.npy{end}" for name in (BOXES, *STORE_FEATURES) for end in ("", ".tmp")]
        return [self.path / name for name in (MANIFEST, JOURNAL, *tables, *arrays, INPUTS)]

    def _create(self) -> None:
        check_room(self.path, self._arrays.n_bytes() + SPARE_BYTES)
        write_atomically(self.path / INPUTS, self._inputs)
        # Before the arrays: where making them fails, the next run knows whose they are.
        journal.write(self.path / JOURNAL, [self._head()])
        self._arrays.allocate()

    # -- Journal ------------------------------------------------------------------------------------------------------
    def writer(self, planned: PlannedSequence) -> SequenceWriter:
        """Return what writes a sequence's rows; it may be sent to another process."""
        places = {name: rows_of(planned, name) for name in self._arrays.names}
        return SequenceWriter(self.path, places, self._arrays.totals)

    def record(self, entries: Mapping[str, dict[str, Any]]) -> None:
        """Say that sequences are done: their rows are written, or they go to the quarantine for a reason."""
        journal.append(self.path / JOURNAL, ({"sequence": name, **entry} for name, entry in entries.items()))
        self.done.update(entries)

    def _head(self) -> dict[str, Any]:
        return {"format": FORMAT, "config": self.config.as_dict(), "versions": self.versions}

    def _journal(self) -> list[dict[str, Any]]:
        return journal.read(self.path / JOURNAL) if (self.path / JOURNAL).exists() else []

    def _entries(self) -> dict[str, dict[str, Any]]:
        return {line.pop("sequence"): line for line in self._journal()[1:]}

    # -- Closing ------------------------------------------------------------------------------------------------------
    def finish(self) -> None:
        """Close the store: take out the rows of quarantined sequences, write the tables, then the manifest.

        May be killed and called again at any point.

        Raises
        ------
        OSError
            If rows changed after they were written: a bad disk, or a stray worker of a store that was replaced.
        """
        state = self._arrays.state(self.done)
        if state == "lost":
            raise self._changed("arrays")
        self._arrays.sync()
        if state == "open" and (spoilt := self._arrays.spoilt(self.done)):
            raise self._changed(f"rows of {', '.join(sorted(spoilt)[:3])}")
        good = self._arrays.good(self.done)
        arrays = self._arrays.close(good)
        tables = store_tables(self.plan, self.done, self._arrays.names)
        for name, table in tables.items():
            write_atomically(self.path / name, table_bytes(table))
        manifest = {
            "format": FORMAT,
            "fastck": self.versions["fastck"],
            "config": self.config.as_dict(),
            "config_hash": self.config.hash(),
            "input_hash": stores.checksum(np.frombuffer(self._inputs, np.uint8)),
            "versions": self.versions,
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

    def _changed(self, what: str) -> OSError:
        return OSError(
            f"{self.path}: {what} changed after they were written, by another program or a bad disk; the same "
            "command writes them again"
        )
