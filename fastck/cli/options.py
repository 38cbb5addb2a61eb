"""Arguments and options that several commands have, each said once."""

import functools
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer

from fastck.cli.console import note
from fastck.config import InputKind, Layout, Until
from fastck.messages import some_names

# Lines; the rest is counted.
MOST_PROBLEMS = 20

Root = Annotated[
    Path,
    typer.Argument(metavar="ROOT", help="The data set: a folder as --layout says, or a table."),
]
StorePath = Annotated[Path, typer.Argument(metavar="STORE", help="A store that `fastck preprocess` made.")]
Labels = Annotated[Path | None, typer.Option(help="Folder of label files.  [default: ROOT/Emotion]")]
LayoutOption = Annotated[
    Layout | None,
    typer.Option(
        help="ckplus: SUBJECT/SEQUENCE/frames. folders: every folder of images and every video is a sequence. "
        "labelled-folders: the same, and the top folder's name is the label. table: a CSV file with the columns path "
        "and subject and, where you like, label, sequence, onset, apex, offset, fold. "
        "masks: CODE/SUBJECT_SEQUENCE/masks, as the paper's script leaves them.  [default: guessed, and said]"
    ),
]
KindOption = Annotated[
    InputKind | None,
    typer.Option("--as", help="What a folder of images is.  [default: a sequence where the file names number frames]"),
]
SubjectPattern = Annotated[
    str,
    typer.Option(
        help="Where file names say who it is: a regular expression whose first group, or group `subject`, is the "
        "subject, or ravdess, crema-d, ck+48."
    ),
]
LabelPattern = Annotated[str, typer.Option(help="The same for the label, with the first group or group `label`.")]
UntilOption = Annotated[
    Until, typer.Option(help="With a table: the last frame used of each clip; the first is its onset.")
]
Jobs = Annotated[int, typer.Option("--jobs", "-j", help="Workers; -1 for one per core. Never changes the result.")]
Scheduler = Annotated[
    str | None,
    typer.Option(metavar="tcp://HOST:PORT", help="A Dask scheduler to send the work to (extra `dask`)."),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say what is being done.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that are there already.")]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a data set is read: the options of every command that reads one; see `with_reading`."""

    labels: Labels = None
    layout: LayoutOption = None
    until: UntilOption = "apex"
    subject_pattern: SubjectPattern = ""
    label_pattern: LabelPattern = ""

    def of(self, root: Path) -> dict[str, Any]:
        """Return the arguments for `fastck.scan` of a root; say its layout where none is named."""
        from fastck.dataset.patterns import Patterns

        return {
            "labels": self.labels,
            "layout": said_layout(root, self.layout),
            "until": self.until,
            "patterns": Patterns(subject=self.subject_pattern, label=self.label_pattern),
        }


READING = Reading()


def with_reading(command: Callable[..., None]) -> Callable[..., None]:
    """Give a typer command the options of `Reading`, in the place of its argument `reading`."""
    fields = inspect.signature(Reading).parameters

    @functools.wraps(command)
    def run(**values: Any) -> None:
        command(reading=Reading(**{name: values.pop(name) for name in fields}), **values)

    parts = [
        [field.replace(kind=entry.kind) for field in fields.values()] if entry.name == "reading" else [entry]
        for entry in inspect.signature(command).parameters.values()
    ]
    entries = list(chain.from_iterable(parts))
    # Typer reads both.
    run.__signature__ = inspect.Signature(entries)  # type: ignore[attr-defined]
    run.__annotations__ = {entry.name: entry.annotation for entry in entries}
    return run


def note_formulas(cells: Iterable[str]) -> None:
    """Say which cells of a table that was written a spreadsheet takes for formulas, where there are any."""
    from fastck.dataset.csvfile import formulas

    if found := formulas(cells):
        note(f"a spreadsheet takes these cells for formulas: {some_names(found)}: let it read them as text")


def said_layout(root: Path, layout: Layout | None) -> Layout:
    """Return the layout that is named; where none is, the one that the root seems to have, and say so in a line."""
    from fastck.dataset.layouts import guess_layout

    if layout is not None:
        return layout
    guessed, why = guess_layout(root)
    if root.exists():
        note(f"layout {guessed}: {why}; --layout names another")
    return guessed
