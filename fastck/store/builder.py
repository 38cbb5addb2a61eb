"""A store in the making: files of their final size, a journal of finished sequences, and the steps that close it.

A sequence is done when its rows are on their way to disk and its line is in the journal; whatever is killed before that
is computed again, to the same bytes. Only the process that holds the lock writes the journal and the tables; workers
write nothing but the rows of their own sequence.
"""

import json
import logging
import os
import socket
from collections.abc import Collection, Iterator
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import Any

import deflate
from filelock import FileLock, Timeout

from fastck.config import PreprocessConfig
from fastck.ops.motion import STORE_FEATURES
from fastck.store import reader as stores
from fastck.store.arrays import StoreArrays
from fastck.store.differences import config_changes, input_changes, version_changes
from fastck.store.files import check_room, write_atomically
from fastck.store.finished import Entries, Finished, append_journal, entry_rows, read_journal, write_journal
from fastck.store.plan import Plan
from fastck.store.reader import BOXES, FORMAT, MANIFEST
from fastck.store.tables import checksums_parts, finished_entries, inputs_parts, quarantine_parts, sequences_parts
from fastck.store.writer import RowTarget

log = logging.getLogger(__name__)

JOURNAL, INPUTS, LOCK, OWNER = "journal.jsonl", "inputs.csv", ".lock", ".lock-owner"
SPARE_BYTES = 64 * 2**20  # room for the tables, the journal and the file system itself
READ_ENTRIES = 10_000  # of a journal that are taken in at once


class StoreBuilder:
    """Create or resume a store under its lock; use as a context manager.

    Parameters
    ----------
    path : path-like
        The store's folder; created where missing.
    config : PreprocessConfig
    plan : Plan
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
    done : Finished
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
        plan: Plan,
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
        self._arrays = StoreArrays(self.path, config, plan)
        self.done = self._nothing()
        self._input_hash: int | None = None
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
        if not len(self.done) or state == "lost":
            self._clear()
            self._create()
            self.done = self._nothing()
            return
        if state == "open":
            self.done.drop(self._arrays.damaged(self.done))
        if self.retry:
            self._arrays.reopen(self.done.good)
            self.done.drop_quarantined()
            write_atomically(self.path / INPUTS, self._input_parts())
        log.info("%s: %d of %d sequences are done already", self.path, len(self.done), len(self.plan))

    def _begin_retry(self) -> bool:
        """Turn a finished store into one that was killed before its last steps; False where nothing is quarantined."""
        store = stores.open_store(self.path)
        if store.quarantine.empty:
            return False
        write_journal(self.path / JOURNAL, chain([self._head()], finished_entries(store)))
        (self.path / MANIFEST).unlink()
        return True

    def _difference(self) -> str:
        """Return how the folder differs from the store this run would make; empty for nothing or no store yet."""
        if (self.path / MANIFEST).exists():
            return self._finished_difference()
        entries = self._journal()
        head = next(entries, None)
        if head is None:
            self._check_own()
            return ""
        if "config" not in head:
            return "has a damaged journal that no longer says how the store was made"
        first = next(entries, None)
        if first is None:
            # A run that ended while it made the arrays: nothing is lost by starting anew.
            return ""
        quarantined = {entry["sequence"] for entry in chain([first], entries) if "reason" in entry}
        return self._changes(head["config"], head.get("versions", {}), quarantined)

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

    def _changes(self, config: dict[str, Any], versions: dict[str, str], quarantined: Collection[str]) -> str:
        changes = config_changes(config, self.config.as_dict())
        may_change = quarantined if self.retry else ()
        changes += input_changes(self.path / INPUTS, self.plan.inputs(), may_change=may_change)
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
        write_atomically(self.path / INPUTS, self._input_parts())
        # Before the arrays: where making them fails, the next run knows whose they are.
        write_journal(self.path / JOURNAL, [self._head()])
        self._arrays.allocate()

    def _input_parts(self) -> Iterator[bytes]:
        """Yield the record of the store's input, and take its checksum on the way."""
        checksum = 0
        for part in inputs_parts(self.plan):
            checksum = deflate.crc32(part, checksum)
            yield part
        self._input_hash = checksum

    # -- Journal ------------------------------------------------------------------------------------------------------
    @property
    def target(self) -> RowTarget:
        """Where workers write the rows of sequences."""
        return RowTarget(self.path, self._arrays.totals)

    def record(self, entries: Entries) -> None:
        """Say that sequences are done: their rows are written, or they go to the quarantine for a reason."""
        append_journal(self.path / JOURNAL, entries.lines)
        self.done.take(entries.rows, entries.reasons)

    def _head(self) -> dict[str, Any]:
        return {"format": FORMAT, "config": self.config.as_dict(), "versions": self.versions}

    def _journal(self) -> Iterator[dict[str, Any]]:
        return read_journal(self.path / JOURNAL) if (self.path / JOURNAL).exists() else iter(())

    def _entries(self) -> Finished:
        done = self._nothing()
        lines = islice(self._journal(), 1, None)
        while part := list(islice(lines, READ_ENTRIES)):
            # Of a sequence that was taken up again the last entry counts.
            latest = {index: entry for entry in part if (index := self.plan.find(entry["sequence"])) is not None}
            done.take(*entry_rows(latest.items(), self._arrays.names))
        return done

    def _nothing(self) -> Finished:
        return Finished(self.plan, self._arrays.names)

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
        if state == "open" and len(damaged := self._arrays.damaged(self.done)):
            names = [self.plan.records[index].sequence for index in damaged[:3].tolist()]
            raise self._changed(f"rows of {', '.join(names)}")
        good = self.done.good
        arrays = self._arrays.close(good)
        write_atomically(self.path / stores.SEQUENCES, sequences_parts(self.plan, self.done))
        write_atomically(self.path / stores.QUARANTINE, quarantine_parts(self.plan, self.done))
        write_atomically(self.path / stores.CHECKSUMS, checksums_parts(self.plan, self.done))
        if self._input_hash is None:
            for _ in self._input_parts():
                pass
        manifest = {
            "format": FORMAT,
            "fastck": self.versions["fastck"],
            "config": self.config.as_dict(),
            "config_hash": self.config.hash(),
            "input_hash": f"{self._input_hash:08x}",
            "versions": self.versions,
            "counts": {
                "sequences": int(good.sum()),
                "quarantined": int((~good).sum()),
                "frames": int(self.plan.n_frames[good].sum()),
                "rows": int(self.plan.length[good].sum()),
                "missed": int(self.done.rows["n_missed"][good].sum()),
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
