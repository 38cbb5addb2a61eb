"""What very many tiny sequences cost the process that hands them out; kept in benchmarks/dispatch.json.

    python -m benchmarks.dispatch [--sequences 20000,200000] [--ways threads,dask] [--scratch DIR]

Each run is `preprocess` with boxes that are known (`--boxes`), in a process of its own. All that the parent does is as
ever: listing, tasks, journal, progress, checksums, tables. The workers alone decode nothing: they write rows of zeros,
so that a run takes minutes and the parent does not lie idle. "threads" is joblib's default, two of them. "dask" is what
`--scheduler` does: a scheduler and two workers in processes of their own. The parent's processor time is that of its
process, user and system, less what its threads spend in `work_batch`. Two sizes give a line, and the line a million.
Results take the place of older ones, and `benchmarks.report` shows them.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from benchmarks.machine import this_machine
from benchmarks.scaling import peak_mb

RESULTS = Path(__file__).with_name("dispatch.json")
WAYS = {"threads": "joblib, two threads", "dask": "Dask (`--scheduler`), two worker processes"}
SIZES = (20_000, 200_000)
MANY = 1_000_000
FRAMES = 3
BOX = (6, 5, 42, 41)  # top, left, bottom, right in pixels
PER_FOLDER = 100  # sequences of one subject
JOBS = 2
WARM = 64  # sequences of the run before the measured one
MOST_MILLISECONDS, MOST_BYTES, MOST_GIB = 0.15, 2000, 3


# -- Input ------------------------------------------------------------------------------------------------------------
def write_tiny(root: Path, n: int) -> None:
    """Write n sequences of empty files below a root, in the layout "folders", and their boxes beside it."""
    with root.with_suffix(".csv").open("w") as boxes:
        boxes.write("sequence,frame,top,left,bottom,right\n")
        for number in range(n):
            subject, own = f"P{number // PER_FOLDER:05d}", f"{number % PER_FOLDER:03d}"
            folder = root / subject / own
            folder.mkdir(parents=True)
            for place in range(1, FRAMES + 1):
                (folder / f"{place}.png").touch()
            boxes.write(f"{subject}_{own},1,{','.join(map(str, BOX))}\n")


def spare_workers() -> None:
    """Let the workers of this process write rows of zeros, and decode nothing."""
    import numpy as np

    from fastck.ops.motion import feature_dtype, feature_shape
    from fastck.pipeline import worker
    from fastck.pipeline.sequence import SequenceResult

    def zeros(open_frames: Any, n_frames: int, config: Any, write: Any, *, known: Any, kept: Any) -> SequenceResult:
        side = config.faces.side
        write(
            {
                name: np.zeros((n_frames - 1, *feature_shape(name, side)), feature_dtype(name))
                for name in config.features
            }
        )
        return SequenceResult(
            found=known,
            boxes=known[:1] * n_frames,
            height=48,
            width=48,
            motion=0.0,
            motion_at_box_changes=float("nan"),
        )

    worker.run_sequence = zeros  # type: ignore[assignment]


# -- One run ----------------------------------------------------------------------------------------------------------
class WorkersClock:
    """Adds up the processor time that threads of this process spend in `work_batch`; use as a context manager."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._lock = threading.Lock()

    def __enter__(self) -> "WorkersClock":
        from fastck.pipeline import dispatch

        self._real = dispatch.work_batch
        setattr(dispatch, "work_batch", self._timed)  # noqa: B010 - mypy takes no other function
        return self

    def __exit__(self, *_: object) -> None:
        from fastck.pipeline import dispatch

        setattr(dispatch, "work_batch", self._real)  # noqa: B010

    def _timed(self, *arguments: Any) -> Any:
        start = time.thread_time()
        try:
            return self._real(*arguments)
        finally:
            with self._lock:
                self.seconds += time.thread_time() - start


def forget_peak() -> None:
    """Let this process's peak memory begin anew: compiling for the warm-up took more than handing out does."""
    Path("/proc/self/clear_refs").write_text("5")


def measure(root: Path, few: Path, address: str) -> dict[str, float]:
    """Preprocess a root and return the parent's processor seconds by part, and its memory."""
    from fastck import preprocess
    from fastck.cluster import dask_cluster

    # Work in another process is not this one's, and needs no clock.
    with (
        tempfile.TemporaryDirectory(dir=root.parent) as scratch,
        dask_cluster(address) if address else nullcontext(),
        WorkersClock() if not address else nullcontext() as clock,
    ):

        def parent() -> float:
            return time.process_time() - (clock.seconds if clock else 0.0)

        def mark(run: Any) -> None:
            if run.done in (0, run.total):
                marks.append(parent())

        if address:
            from distributed import get_client

            get_client().run(spare_workers)
        spare_workers()

        def run(source: Path, name: str) -> Any:
            boxes = source.with_suffix(".csv")
            store = Path(scratch) / name
            return preprocess(source, store, layout="folders", n_jobs=JOBS, boxes=boxes, on_progress=mark)

        marks: list[float] = []
        run(few, "warm")
        marks.clear()
        forget_peak()
        warm, begin, wall = peak_mb(), parent(), time.perf_counter()
        store = run(root, "store")
        end, wall = parent(), time.perf_counter() - wall
        counts = store.manifest["counts"]
        workers = clock.seconds if clock else 0.0
    if counts["quarantined"]:
        raise SystemExit(f"{counts['quarantined']} sequences are in quarantine")
    return {
        "sequences": counts["sequences"],
        "wall": wall,
        "workers": workers,
        "parent": end - begin,
        "before": marks[0] - begin,
        "during": marks[-1] - marks[0],
        "after": end - marks[-1],
        "warm_mb": warm,
        "peak_mb": peak_mb(),
    }


@contextmanager
def cluster() -> Iterator[str]:
    """Run a Dask scheduler and its workers outside of this process; yields the scheduler's address."""
    script = (
        "import sys, distributed\n"
        f"with distributed.LocalCluster(n_workers={JOBS}, threads_per_worker=1, dashboard_address=None) as cluster:\n"
        "    print(cluster.scheduler_address, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.stdin.close()


def in_own_process(root: Path, few: Path, way: str) -> dict[str, Any]:
    """Return what a process of its own measures."""
    with cluster() if way == "dask" else nullcontext("") as address:
        command = [sys.executable, "-m", "benchmarks.dispatch", "--measure", str(root), str(few), address]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1])
    if done.returncode:
        raise SystemExit(f"{way}, {root.name}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
    return {"way": way, **json.loads(done.stdout.splitlines()[-1])}


# -- Report -----------------------------------------------------------------------------------------------------------
def lines_of(entries: list[dict[str, Any]]) -> tuple[float, float, float, float]:
    """Return seconds and bytes of the line through two sizes: for each sequence, and for MANY of them in all."""
    few, most = sorted(entries, key=lambda entry: entry["sequences"])[:: len(entries) - 1]
    n = most["sequences"] - few["sequences"]
    seconds = (most["parent"] - few["parent"]) / n
    memory = (most["peak_mb"] - few["peak_mb"]) * 2**20 / n
    rest = MANY - most["sequences"]
    return seconds, memory, most["parent"] + rest * seconds, most["peak_mb"] * 2**20 + rest * memory


def table(document: dict[str, Any]) -> list[str]:
    """Return the results as Markdown."""
    lines = [
        "| | sequences | parent, ms a sequence | listing | handing out | closing | bytes a sequence | peak memory |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for way, name in WAYS.items():
        entries = [entry for entry in document["entries"] if entry["way"] == way]
        for entry in sorted(entries, key=lambda entry: entry["sequences"]):
            n = entry["sequences"]
            parts = [f"{1e3 * entry[part] / n:.3f}" for part in ("parent", "before", "during", "after")]
            grown = (entry["peak_mb"] - entry["warm_mb"]) * 2**20 / n
            lines.append(f"| {name} | {n:,} | {' | '.join(parts)} | {grown:,.0f} | {entry['peak_mb']:,.0f} MiB |")
    return lines


def claims(document: dict[str, Any]) -> list[str]:
    """Return the targets and what was measured, as Markdown; nothing for a way with one size only."""
    lines = ["| | target | measured | |", "|---|---:|---:|---|"]
    for way, name in WAYS.items():
        entries = [entry for entry in document["entries"] if entry["way"] == way]
        if len(entries) < 2:
            continue
        seconds, memory, total, peak = lines_of(entries)
        for what, most, got, shown in (
            ("parent's processor time, one more sequence", MOST_MILLISECONDS, 1e3 * seconds, f"{1e3 * seconds:.3f} ms"),
            ("parent's memory, one more sequence", MOST_BYTES, memory, f"{memory:,.0f} bytes"),
            (f"peak memory of {MANY:,}, on the line", MOST_GIB, peak / 2**30, f"{peak / 2**30:.2f} GiB"),
        ):
            unit = shown.split()[-1]
            held = "held" if got <= most else "**missed**"
            lines.append(f"| {name}: {what} | at most {most:,} {unit} | {shown} | {held} |")
        lines.append(f"| {name}: parent's processor time for {MANY:,}, on the line | | {total:,.0f} s | |")
    return lines


def section() -> list[str]:
    """Return BENCHMARKS.md's section on very many sequences; nothing without results."""
    if not RESULTS.exists():
        return []
    document = json.loads(RESULTS.read_text())
    about = (
        f"Sequences of {FRAMES} frames with known boxes. The parent lists them, hands them out, writes the journal and "
        "closes the store as ever; the workers alone decode nothing and write rows of zeros. Its processor time is "
        "user and system time without the workers'. The files' entries are in memory; the first listing of a "
        "disk takes about twice as long. "
        "Written by `python -m benchmarks.dispatch`."
    )
    title = "## Very many tiny sequences: what the parent spends"
    return [title, "", about, "", f"Machine: {document['machine']}.", "", *table(document), "", *claims(document), ""]


def main(arguments: list[str]) -> int:
    """Measure every size in every way."""
    if arguments[:1] == ["--measure"]:
        print(json.dumps(measure(Path(arguments[1]), Path(arguments[2]), arguments[3])))
        return 0
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.dispatch", description="Write benchmarks/dispatch.json."
    )
    parser.add_argument("--sequences", default=",".join(map(str, SIZES)), help="how many, separated by commas")
    parser.add_argument("--ways", default=",".join(WAYS), help=f"of {', '.join(WAYS)}")
    parser.add_argument("--scratch", type=Path, help="folder for sets and stores; sets are left there for another run")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() if options.scratch is None else nullcontext(options.scratch) as scratch:
        sets = {n: Path(scratch) / f"tiny-{n}" for n in (WARM, *map(int, options.sequences.split(",")))}
        for n, root in sets.items():
            if not root.exists():
                write_tiny(root, n)
            for way in options.ways.split(",") if n != WARM else ():
                keep(in_own_process(root, sets[WARM], way))
    return 0


def keep(entry: dict[str, Any]) -> None:
    """Put a result in the place of an older one of the same way and size."""
    document = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"entries": []}
    key = (entry["way"], entry["sequences"])
    others = [other for other in document["entries"] if (other["way"], other["sequences"]) != key]
    RESULTS.write_text(json.dumps({"machine": this_machine(), "entries": [*others, entry]}, indent=1) + "\n")
    print(f"{entry['way']}, {entry['sequences']:,}: {1e3 * entry['parent'] / entry['sequences']:.3f} ms", flush=True)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
