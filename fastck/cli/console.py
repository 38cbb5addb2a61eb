"""What the commands share: one clear line for a user's mistake, progress, and lines as they are."""

import functools
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar

from fastck.messages import Progress, error_text, one_line, several_people

if TYPE_CHECKING:
    from rich.table import Table

    from fastck.pipeline.dispatch import PreprocessProgress

P = ParamSpec("P")
R = TypeVar("R")

console = Console()
stderr = Console(stderr=True)

# Exit codes; 130 is the shells' own for Ctrl-C, 1 is rich's where the reader of the output is gone.
USER_ERROR, INTERRUPTED, CLOSED_PIPE = 2, 130, 1
ASCII_BAR = str.maketrans({"█": "#", "░": "-"})
REFRESH = 0.1  # seconds


def one_line_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Turn a command's ValueError or OSError into one line on stderr and exit code 2.

    FASTCK_DEBUG=1 lets the traceback through, for reporting a bug.
    """

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        tell_of_kernels()
        try:
            result = command(*args, **kwargs)
            sys.stdout.flush()
            return result
        except BrokenPipeError:
            # Whoever read the output, such as `head`, has enough. What is left of it goes nowhere, at exit too.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(CLOSED_PIPE) from None
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


def show_logs(verbose: bool) -> None:
    """Send the library's log to stderr: warnings, and with `verbose` what it does."""
    handler = RichHandler(console=stderr, show_path=False, show_time=False)
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(message)s", handlers=[handler])


def tell_of_kernels() -> None:
    """Show on a terminal that kernels are being compiled: the first command after installation waits for them."""
    kernels = logging.getLogger("fastck.kernels")
    if stderr.is_terminal and not kernels.handlers:
        kernels.addHandler(RichHandler(console=stderr, show_path=False, show_time=False, show_level=False))
        kernels.setLevel(logging.INFO)
        kernels.propagate = False


class Bar:
    """A bar with the remaining time; called with how far the work is."""

    def __init__(self, what: str, unit: str, *, transient: bool) -> None:
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
        self._bar = ProgressBar(
            *columns,
            console=stderr,
            transient=transient,
            # Only what goes to the bar's own console is printed above it; stdout may be a file.
            redirect_stdout=False,
            # Where nothing can be taken back, each stop would leave an empty line.
            disable=transient and not stderr.is_terminal,
        )
        self._task = self._bar.add_task(what, total=None, text="")

    def __call__(self, progress: Progress) -> None:
        """Show how far the work is."""
        # Not before there is something to show: a mistake in the arguments gets its one line alone.
        self._bar.start()
        self._bar.update(self._task, completed=progress.done, total=progress.total, text=progress.step)

    def stop(self) -> None:
        """Stop until the next call."""
        self._bar.stop()


@contextmanager
def progress_bar(what: str, unit: str, *, transient: bool = False) -> Iterator[Bar]:
    """Show a bar with the remaining time; yields what `on_progress` wants.

    One that is transient leaves nothing behind where it stops, so that lines of answers can be printed.
    """
    bar = Bar(what, unit, transient=transient)
    try:
        yield bar
    finally:
        bar.stop()


class PreprocessView:
    """Shows a `fastck.preprocess` run while it goes, and sums it up; `last` is None where nothing was to do."""

    def __init__(self, update: Callable[[Progress], None]) -> None:
        self._update = update
        self._started = time.perf_counter()
        self._next = 0.0
        self.last: PreprocessProgress | None = None

    def __call__(self, run: "PreprocessProgress") -> None:
        """Take in how far the run is."""
        self.last = run
        now = time.perf_counter()
        # There may be a thousand sequences a second, and a bar costs more than handing one out.
        if now < self._next and run.done < run.total:
            return
        self._next = now + REFRESH
        text = f"{self._rate(run):,.0f} frames/s"
        if run.quarantined:
            text += f", {run.quarantined} quarantined"
        self._update(Progress(done=run.frames_done, total=run.frames, step=text))

    def _rate(self, run: "PreprocessProgress") -> float:
        """Return frames per second, what an earlier run had done left out."""
        return (run.frames_done - run.frames_resumed) / max(time.perf_counter() - self._started, 1e-9)

    def stopped(self) -> str:
        """Return the line for a run that was interrupted."""
        done = f"with {self.last.done} of {self.last.total} sequences done" if self.last else "before the first one"
        return f"stopped {done}; the same command goes on from here"

    def summary(self, run: "PreprocessProgress") -> "Table":
        """Return the table printed at the end."""
        from fastck.views.terminal import pairs_table

        resumed = f", {run.resumed} of them by an earlier run" if run.resumed else ""
        rows = [("sequences", f"{run.done - run.quarantined} done{resumed}, {run.quarantined} quarantined")]
        rows.append(("frames", f"{run.frames_done}, {run.missed} without a face"))
        if told := several_people(run.several_people):
            rows.append(("people", told))
        rows.append(("time", f"{time.perf_counter() - self._started:.1f} s, {self._rate(run):,.0f} frames/s"))
        stages = ", ".join(f"{stage} {run.seconds[stage]:.1f} s" for stage in sorted(run.seconds))
        if stages:
            rows.append(("workers' time", stages))
        return pairs_table(rows)


def say(text: str) -> None:
    """Print one line on stdout as it is, however strange the names in it, and never broken in two."""
    console.print(encodable(safe(text), console.encoding), highlight=False, soft_wrap=True)


def note(text: str) -> None:
    """Print one line on stderr, however strange the names in it."""
    stderr.print(encodable(one_line(text), stderr.encoding), markup=False, highlight=False, soft_wrap=True)


def encodable(text: str, encoding: str) -> str:
    """Return text that a terminal's or file's encoding can show: bars in ASCII, other characters by their number."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(ASCII_BAR).encode(encoding, "backslashreplace").decode(encoding)
    return text


def safe(text: str) -> str:
    """Return text that a terminal shows as it is: no markup, no control characters."""
    return escape(one_line(text))
