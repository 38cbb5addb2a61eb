"""What the commands share: one clear line for a user's mistake, progress, and the tables they print."""

import functools
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column, Table

from fastck.messages import one_line

if TYPE_CHECKING:
    import pandas as pd

    from fastck.bench import Measurement
    from fastck.pipeline.dispatch import Progress as Run

P = ParamSpec("P")
R = TypeVar("R")

console = Console()
stderr = Console(stderr=True)

USER_ERROR, INTERRUPTED = 2, 130  # exit codes; 130 is the shells' own for Ctrl-C
SHOWN = 3  # examples of a reason that many sequences share
MOST_REASONS = 25  # rows


def one_line_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Turn a command's ValueError or OSError into one line on stderr and exit code 2.

    FASTCK_DEBUG=1 lets the traceback through, for reporting a bug.
    """

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except (ValueError, OSError) as error:
            if os.environ.get("FASTCK_DEBUG"):
                raise
            fail(error_text(error))
        except KeyboardInterrupt:
            stderr.print("stopped")
            raise typer.Exit(INTERRUPTED) from None
        raise AssertionError("unreachable")

    return run


def fail(text: str) -> None:
    """Print one line on stderr and leave with exit code 2."""
    print("error: " + one_line(" ".join(text.split())), file=sys.stderr)
    raise typer.Exit(USER_ERROR)


def error_text(error: Exception) -> str:
    """Return an error's text; an operating system's error as "path: what is wrong"."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def show_logs(verbose: bool) -> None:
    """Send the library's log to stderr: warnings, and with `verbose` what it does."""
    handler = RichHandler(console=stderr, show_path=False, show_time=False)
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(message)s", handlers=[handler])


def quiet_tensorflow() -> None:
    """Keep TensorFlow's start-up notices, which are not about the user's data, off the terminal; before its import."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@contextmanager
def progress_bar(what: str, unit: str) -> Iterator[Callable[[int, int, str], None]]:
    """Show a bar with rate and remaining time; yields a function that takes (done, total, text)."""
    columns = (
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TextColumn("{task.fields[text]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=stderr)
    task = bar.add_task(what, total=None, text="")

    def update(done: int, total: int, text: str) -> None:
        bar.start()  # not before there is something to show: a mistake in the arguments gets its one line alone
        bar.update(task, completed=done, total=total, text=text)

    try:
        yield update
    finally:
        bar.stop()


class PreprocessView:
    """Shows a `fastck.preprocess` run while it goes, and sums it up; `last` is None where nothing was to do."""

    def __init__(self, update: Callable[[int, int, str], None]) -> None:
        self._update = update
        self._started = time.perf_counter()
        self.last: Run | None = None

    def __call__(self, run: "Run") -> None:
        """Take in how far the run is."""
        self.last = run
        text = f"{self._rate(run):,.0f} frames/s"
        if run.quarantined:
            text += f", {run.quarantined} quarantined"
        self._update(run.frames_done, run.frames, text)

    def _rate(self, run: "Run") -> float:
        """Return frames per second, what an earlier run had done left out."""
        return (run.frames_done - run.frames_resumed) / max(time.perf_counter() - self._started, 1e-9)

    def stopped(self) -> str:
        """Return the line for a run that was interrupted."""
        done = f"with {self.last.done} of {self.last.sequences} sequences done" if self.last else "before the first one"
        return f"stopped {done}; the same command goes on from here"

    def summary(self, run: "Run") -> Table:
        """Return the table printed at the end."""
        table = Table(show_header=False, box=None, pad_edge=False)
        resumed = f", {run.resumed} of them by an earlier run" if run.resumed else ""
        table.add_row("sequences", f"{run.done - run.quarantined} done{resumed}, {run.quarantined} quarantined")
        table.add_row("frames", f"{run.frames_done}, {run.missed} without a face")
        table.add_row("time", f"{time.perf_counter() - self._started:.1f} s, {self._rate(run):,.0f} frames/s")
        stages = ", ".join(f"{stage} {run.seconds[stage]:.1f} s" for stage in sorted(run.seconds))
        if stages:
            table.add_row("workers' time", stages)
        return table


def reasons_table(reasons: dict[str, str]) -> Table:
    """Return why sequences were left out, one row per reason however many share it."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for sequence, reason in sorted(reasons.items()):
        # "S005_001_00000003.png: truncated" and its neighbours are one reason, and so is what differs in numbers only.
        reason = re.sub(r"^[^:]*\.\w+: ", "", reason)
        groups.setdefault(re.sub(r"\d+", "N", reason), []).append((sequence, reason))
    table = Table("quarantined because", "sequences", "for example")
    for shape, members in sorted(groups.items(), key=lambda item: -len(item[1]))[:MOST_REASONS]:
        sequences, texts = zip(*members, strict=True)
        text = texts[0] if len(set(texts)) == 1 else shape
        table.add_row(safe(text), str(len(members)), safe(", ".join(sequences[:SHOWN])))
    if len(groups) > MOST_REASONS:
        table.add_row(f"and {len(groups) - MOST_REASONS} other reasons, all in quarantine.csv", "", "")
    return table


def data_table(data: "pd.DataFrame") -> Table:
    """Return a data frame as a table, fractions with three places."""
    table = Table(*(Column(name, overflow="fold") for name in data.columns))
    for row in data.itertuples(index=False):
        table.add_row(*(f"{value:.3f}" if isinstance(value, float) else safe(str(value)) for value in row))
    return table


def bench_table(measurements: "Sequence[Measurement]") -> Table:
    """Return measured times by operation, and how they compare with fastck's; rows where fastck loses say so."""
    table = Table("operation", "contender", "µs", "against fastck")
    for entry in measurements:
        ratio = "" if entry.contender == "fastck" else f"{entry.ratio:,.1f} times"
        # A copy computes nothing: it is the floor, not a contender.
        lost = entry.ratio < 1 and not entry.contender.startswith("copy")
        table.add_row(
            entry.operation, entry.contender, f"{entry.microseconds:,.1f}", ratio + (" (faster)" if lost else "")
        )
    return table


def say(text: str) -> None:
    """Print one line on stdout as it is, however strange the names in it, and never broken in two."""
    console.print(safe(text), highlight=False, soft_wrap=True)


def note(text: str) -> None:
    """Print one line on stderr, however strange the names in it."""
    stderr.print(one_line(text), markup=False, highlight=False, soft_wrap=True)


def safe(text: str) -> str:
    """Return text that a terminal shows as it is: no markup, no control characters."""
    return escape(one_line(text))
