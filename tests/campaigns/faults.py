"""Disturb runs in every way at random moments, and compare what they leave with an undisturbed run, byte for byte.

    python -m tests.campaigns.faults --kills 20 --seed 0

Prints one JSON object per sort of fault: stores completed, faults injected, stores that differ, and sequences that
were done and had to be done again (lost). Linux only.
"""

import argparse
import errno
import filecmp
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from random import Random

import fastck
from fastck.cluster import dask_cluster
from fastck.pipeline.dispatch import PreprocessProgress
from fastck.store.builder import JOURNAL, LOCK, SPARE_BYTES
from fastck.store.finished import read_journal

OPTIONS = {"preset": "stable", "features": ("projection", "mask"), "box_cache": False}
FRAMES = 5  # of each sequence
MOST_KILLS = 6  # of one store, before it is left to finish


@dataclass
class Tally:
    """What one sort of fault came to."""

    fault: str
    stores: int = 0
    injected: int = 0
    differences: int = 0
    resumed: int = 0
    lost: int = 0
    wrong_errors: int = 0


def start(action: Callable[[], object]) -> int:
    """Run an action in a forked process; it leaves with 0, with the errno of an OSError, or with 1."""
    process = os.fork()
    if process:
        return process
    try:
        action()
        os._exit(0)
    except OSError as error:
        os._exit(error.errno or 1)
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        os._exit(1)


def wait(process: int) -> int:
    """Return a process's exit code, negative for the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def same_store(one: Path, other: Path) -> bool:
    names = sorted({path.name for store in (one, other) for path in store.iterdir()} - {LOCK})
    match, _, _ = filecmp.cmpfiles(one, other, names, shallow=False)
    return len(match) == len(names)


def resumed_note(store: Path) -> Path:
    """Return the file in which a run says how many sequences it found done."""
    return store.with_name(store.name + ".resumed")


def done_in(store: Path) -> set[str]:
    """Return the sequences that a store's journal says are done."""
    path = store / JOURNAL
    return {line["sequence"] for line in islice(read_journal(path), 1, None)} if path.exists() else set()


def await_progress(store: Path, process: int, before: int) -> None:
    """Wait until a run has done one more sequence, or is at its end."""
    while len(done_in(store)) <= before and not os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        time.sleep(0.005)


class Campaign:
    """The undisturbed run, and the means to compare with it."""

    def __init__(self, folder: Path, seed: int, subjects: int) -> None:
        from fastck.render import render_dataset

        self.folder = folder
        self.random = Random(seed)
        self.root = folder / "set"
        render_dataset(self.root, subjects=subjects, sequences=3, seed=1)
        records = fastck.scan(self.root).records
        for path in (path for record in records for path in record.frames[FRAMES:]):
            path.unlink()  # many short sequences: more places where a kill can strike in the same time
        records[1].frames[2].write_bytes(b"")  # so that closing has rows to take out
        self.right = folder / "right"
        self._stores = 0
        # In this process, with one job, so without a thread: what is forked later finds kernels and detectors ready.
        self.preprocess(self.right, 1)
        tally, store = Tally("none"), self.new_store()
        started = time.perf_counter()
        self.finish(store, lambda: self.preprocess(store, 2), tally)
        self.seconds = time.perf_counter() - started
        if tally.wrong_errors or tally.differences:
            raise RuntimeError("the undisturbed run fails")

    def preprocess(self, store: Path, jobs: int) -> None:
        note = resumed_note(store)
        note.unlink(missing_ok=True)

        def look(progress: PreprocessProgress) -> None:
            if not note.exists():
                note.write_text(str(progress.resumed))

        fastck.preprocess(self.root, store, n_jobs=jobs, on_progress=look, **OPTIONS)

    def new_store(self) -> Path:
        self._stores += 1
        return self.folder / f"store{self._stores}"

    def finish(self, store: Path, run: Callable[[], object], tally: Tally) -> None:
        """Let a store be finished undisturbed, compare it, and remove it."""
        before = len(done_in(store))
        if wait(start(run)):
            tally.wrong_errors += 1
        tally.stores += 1
        tally.differences += not ((store / "manifest.json").exists() and same_store(store, self.right))
        note = resumed_note(store)
        if before and note.exists():
            tally.lost += before - int(note.read_text())
            tally.resumed += int(note.read_text())
        shutil.rmtree(store)

    # -- Faults ---------------------------------------------------------------------------------------------------
    def kills(self, fault: str, kills: int, run: Callable[[Path], object], seconds: float) -> Tally:
        """Kill -9 at random moments, several times per store."""
        tally = Tally(fault)
        while tally.injected < kills:
            store = self.new_store()
            for _ in range(self.random.randint(1, MOST_KILLS)):
                before = done_in(store)
                process = start(lambda store=store: run(store))
                if self.random.random() < 0.7:  # else as likely while it starts and opens the store
                    await_progress(store, process, len(before))
                time.sleep(self.random.uniform(0, seconds))
                os.kill(process, signal.SIGKILL)
                tally.injected += wait(process) == -signal.SIGKILL
                if (store / "manifest.json").exists():
                    break
                tally.lost += len(before - done_in(store))
            self.finish(store, lambda store=store: run(store), tally)
        return tally

    def pairs(self, pairs: int) -> Tally:
        """Let two processes begin one store at the same moment."""
        tally = Tally("two processes on one store")
        for _ in range(pairs):
            store = self.new_store()
            codes = [wait(p) for p in [start(lambda store=store: self.preprocess(store, 1)) for _ in range(2)]]
            tally.injected += any(codes)
            # The second is told that the first is at it, or finds the store complete.
            tally.wrong_errors += not (0 in codes and set(codes) <= {0, 1})
            self.finish(store, lambda store=store: self.preprocess(store, 1), tally)
        return tally

    def clocks(self, runs: int) -> Tally:
        """Let the clock jump by years while a run goes, kill it, and date its files anywhere."""
        tally = Tally("clock that jumps")

        def astray(store: Path) -> None:
            rng = Random(self.random.random())
            real = time.time
            time.time = lambda: real() + rng.uniform(-1e9, 1e9)
            time.time_ns = lambda: int(time.time() * 1e9)
            self.preprocess(store, 2)

        for _ in range(runs):
            store = self.new_store()
            process = start(lambda store=store: astray(store))
            time.sleep(self.random.uniform(0.2, 0.8) * self.seconds)
            os.kill(process, signal.SIGKILL)
            wait(process)
            for path in store.iterdir() if store.exists() else ():
                when = self.random.uniform(0, 4e9)
                os.utime(path, (when, when))
                tally.injected += 1
            self.finish(store, lambda store=store: astray(store), tally)
        return tally

    def full_disks(self, runs: int) -> Tally:
        """Fill the store's file system to the last byte at a random moment; empty it, and go on."""
        tally = Tally("full disk (tmpfs)")
        needed = sum(path.stat().st_size for path in self.right.iterdir()) + SPARE_BYTES
        for _ in range(runs):
            with mounted(self.folder / "disk", needed * 2) as disk:
                store = disk / "store"
                process = start(lambda store=store: self.preprocess(store, 2))
                while not (store / JOURNAL).exists() and not (store / "manifest.json").exists():
                    time.sleep(0.002)
                time.sleep(self.random.uniform(0, 0.3) * self.seconds)
                fill(disk / "ballast")
                code = wait(process)
                tally.injected += code == errno.ENOSPC
                tally.wrong_errors += code not in (0, errno.ENOSPC)
                (disk / "ballast").unlink()
                self.finish(store, lambda store=store: self.preprocess(store, 2), tally)
        return tally

    def read_errors(self, runs: int) -> Tally:
        """Put a file that the kernel refuses to read in place of a frame: it costs its sequence, and no other byte."""
        tally = Tally("read error (EIO)")
        right = fastck.open_store(self.right)
        for _ in range(runs):
            root, store = self.folder / "torn", self.new_store()
            shutil.copytree(self.root, root)
            victim = self.random.choice(
                [r for r in fastck.scan(root).records if r.sequence in set(right.table.sequence)]
            )
            frame = self.random.choice(victim.frames)
            frame.unlink()
            frame.symlink_to("/proc/self/mem")  # a plain file whose first byte gives EIO
            code = wait(start(lambda store=store, root=root: fastck.preprocess(root, store, n_jobs=2, **OPTIONS)))
            made = fastck.open_store(store)
            reasons = dict(zip(made.quarantine["sequence"], made.quarantine["reason"], strict=True))
            tally.stores += 1
            tally.wrong_errors += code != 0
            tally.injected += reasons.pop(victim.sequence, "") == f"{frame.name}: Input/output error"
            tally.lost += len(set(right.table["sequence"]) - set(made.table["sequence"]) - {victim.sequence})
            tally.differences += any(
                (made.sequence(name, feature) != right.sequence(name, feature)).any()
                for name in made.table["sequence"]
                for feature in made.features
            )
            shutil.rmtree(root)
            shutil.rmtree(store)
        return tally


@contextmanager
def mounted(folder: Path, size: int) -> Iterator[Path]:
    """Mount a tmpfs of that many bytes; OSError where that is not allowed."""
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        raise PermissionError(errno.EPERM, "mounting is not allowed", str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(path: Path) -> None:
    """Take the rest of a file system, to the last byte."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise


@contextmanager
def cluster(stack_folder: Path) -> Iterator[str]:
    """Start a Dask scheduler and two worker processes apart from this one; yields the scheduler's address."""
    code = (
        "from distributed import LocalCluster\nimport time\n"
        "if __name__ == '__main__':\n"
        "    c = LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None)\n"
        "    print(c.scheduler_address, flush=True)\n"
        "    time.sleep(10_000)\n"
    )
    script = stack_folder / "cluster.py"
    script.write_text(code)
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def campaign(kills: int, seed: int, *, subjects: int = 2, dask: bool = True) -> Iterator[Tally]:
    """Run the whole campaign; `kills` for each way to run, and a share of it for the other faults."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        runs = Campaign(folder, seed, subjects)
        for jobs in (1, 2):
            yield runs.kills(
                f"kill -9, {jobs} job{'s' * (jobs > 1)}",
                kills,
                lambda store, jobs=jobs: runs.preprocess(store, jobs),
                runs.seconds / 2,
            )
        few = max(1, kills // 4)
        yield runs.pairs(few)
        yield runs.clocks(few)
        yield runs.read_errors(few)
        with suppress(PermissionError):
            yield runs.full_disks(few)
        if dask:
            address = stack.enter_context(cluster(folder))

            def on_cluster(store: Path) -> None:
                with dask_cluster(address):
                    runs.preprocess(store, 2)

            yield runs.kills("kill -9, Dask", kills, on_cluster, runs.seconds / 2)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--subjects", type=int, default=2)
    parser.add_argument("--no-dask", action="store_true")
    arguments = parser.parse_args()
    bad = 0
    for tally in campaign(arguments.kills, arguments.seed, subjects=arguments.subjects, dask=not arguments.no_dask):
        print(json.dumps(asdict(tally)), flush=True)
        bad += tally.differences + tally.lost + tally.wrong_errors
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
