"""A store in the making: files of their final size, a journal of finished sequences, and the steps that close it.

A sequence is done when its rows are on their way to disk and its line is in the journal; whatever is killed before that
is computed again, to the same bytes. Only the process that holds the lock writes the journal and the tables; workers
write nothing but the rows of their own sequence.
"""

import errno
import json
import logging
import os
import socket
from collections.abc import Collection, Iterator
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import Any

import deflate
from filelock import FileLock, Timeout

from fastck.config import PreprocessConfig
from fastck.ops.motion import STORE_FEATURES
from fastck.outputs import is_temporary, write_atomically
from fastck.store import reader as stores
from fastck.store.arrays import StoreArrays
from fastck.store.differences import config_changes, input_changes, version_changes
from fastck.store.files import check_room
from fastck.store.finished import Entries, Finished, append_journal, entry_rows, read_journal, write_journal
from fastck.store.plan import Plan
from fastck.store.reader import BOXES, FORMAT, INPUTS, MANIFEST
from fastck.store.tables import checksums_parts, finished_entries, inputs_parts, quarantine_parts, sequences_parts
from fastck.store.writer import RowTarget

log = logging.getLogger(__name__)

JOURNAL, LOCK, OWNER = "journal.jsonl", ".lock", ".lock-owner"
OWNED_BY = "process "
# What a record of an input begins with.
INPUTS_BEGIN = b"sequence,subject,emotion,n_frames,folder,fingerprint"
READ_ONLY = {errno.EACCES, errno.EPERM, errno.EROFS}
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
        # Before the lock: a folder of somebody else's gets no file of ours, not even that one.
        self._check_own()
        try:
            self._acquire()
        except OSError as error:
            if error.errno in READ_ONLY and self._is_complete():
                self.finished = True
                return self
            raise
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
        write_atomically(self.path / OWNER, f"{OWNED_BY}{os.getpid()} on {socket.gethostname()}".encode())

    def _release(self) -> None:
        # Of a store on a read-only disk nothing is held.
        if self._lock.is_locked:
            (self.path / OWNER).unlink(missing_ok=True)
        self._lock.release()  # the lock's file stays: removing it would let two runs hold locks on different files

    def _is_complete(self) -> bool:
        """Return whether the folder, which cannot be written, holds the very store that this run would make."""
        complete = (self.path / MANIFEST).exists() and not self.overwrite and not self.retry
        return complete and not self._difference()

    # -- Opening ------------------------------------------------------------------------------------------------------
    def _prepare(self) -> None:
        difference = self._difference()
        if difference and not self.overwrite:
            raise ValueError(f"{self.path} {difference}; take another folder, or --overwrite to replace it")
        self._check_room_for_names()
        self._remove_temporary()
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
        if head is None or "clearing" in head:
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
            if not self.overwrite or not self._is_own_inputs():
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
        """Raise ValueError where the folder is no store, finished or not, and not empty either."""
        marked = self._is_own_manifest() or next(self._journal(), None) is not None or self._is_own_inputs()
        for entry in sorted(self.path.iterdir()):
            if not marked and not self._is_own_trace(entry):
                raise ValueError(f"{self.path} is neither empty nor a store (it holds {entry.name}): take another")
        lock = self.path / LOCK
        if lock.is_symlink() or (lock.exists() and lock.stat().st_size):
            raise ValueError(f"{lock} is not fastck's, whose lock is an empty file: take another folder, or remove it")

    def _is_own_trace(self, entry: Path) -> bool:
        """Return whether a run may have left this in a folder that it had not begun to fill."""
        if entry.is_symlink() or not entry.is_file():
            return False
        if entry.name == OWNER:
            # The run that wrote it may end just now.
            with suppress(FileNotFoundError):
                return entry.read_bytes().startswith(OWNED_BY.encode())
        return entry.name in (LOCK, OWNER) or is_temporary(entry.name)

    def _is_own_manifest(self) -> bool:
        """Return whether the folder's manifest is a store's, sound or not: web pages and others have one too."""
        try:
            return b'"input_hash"' in (self.path / MANIFEST).read_bytes()
        except OSError:
            return False

    def _is_own_inputs(self) -> bool:
        """Return whether the folder's record of an input is one that fastck wrote: many a table has its name."""
        try:
            with (self.path / INPUTS).open("rb") as file:
                return file.readline(200).replace(b'"', b"").startswith(INPUTS_BEGIN)
        except OSError:
            return False

    def _check_room_for_names(self) -> None:
        """Raise ValueError where an array that this run would make is there and not the store's."""
        arrays = self._own_arrays()
        for name in self._arrays.names:
            if name not in arrays and os.path.lexists(self.path / f"{name}.npy"):
                raise ValueError(
                    f"{self.path / name}.npy is there and not the store's: move it, or take another folder"
                )

    def _own_arrays(self) -> set[str]:
        """Return the names of the arrays that the store in the folder is said to have."""
        with suppress(ValueError):
            return set(stores.open_store(self.path).manifest["arrays"])
        head = next(self._journal(), {})
        if "clearing" in head:
            return set(head["clearing"])
        if "config" in head:
            return {BOXES, *head["config"]["features"]}
        # Manifest or journal are damaged: arrays speak for themselves.
        return {name for name in (BOXES, *STORE_FEATURES) if self._is_own_inputs() and self._arrays.is_like(name)}

    def _clear(self) -> None:
        """Remove the store's own files, the marks of completion first and the mark whose they are last."""
        arrays = sorted(self._own_arrays())
        if arrays:
            # Whatever is killed from here on, the next run knows what is its own.
            write_journal(self.path / JOURNAL, [{"format": FORMAT, "clearing": arrays}])
        for path in self._own_files():
            path.unlink(missing_ok=True)

    def _own_files(self) -> Iterator[Path]:
        """Yield every file that the store may have, in the order in which they are removed."""
        tables = [stores.SEQUENCES, stores.QUARANTINE, stores.CHECKSUMS]
        arrays = [f"{name}.npy" for name in sorted(self._own_arrays())]
        yield from (self.path / name for name in (MANIFEST, *tables, *arrays, INPUTS, JOURNAL))

    def _remove_temporary(self) -> None:
        """Remove what runs that were killed have left under names of their own."""
        for entry in sorted(self.path.iterdir()):
            if is_temporary(entry.name):
                entry.unlink(missing_ok=True)

    def _create(self) -> None:
        check_room(self.path, self._arrays.n_bytes() + SPARE_BYTES)
        # First of all: whatever fails from here on, the next run knows whose the rest is.
        write_journal(self.path / JOURNAL, [self._head()])
        write_atomically(self.path / INPUTS, self._input_parts())
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
