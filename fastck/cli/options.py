"""Arguments and options that several commands have, each said once."""

from pathlib import Path
from typing import Annotated

import typer

from fastck.config import Layout, Until

# Lines; the rest is counted.
MOST_PROBLEMS = 20

Root = Annotated[
    Path,
    typer.Argument(metavar="ROOT", help="The data set: a folder as --layout says, or a table."),
]
StorePath = Annotated[Path, typer.Argument(metavar="STORE", help="A store that `fastck preprocess` made.")]
Labels = Annotated[Path | None, typer.Option(help="Folder of label files.  [default: ROOT/Emotion]")]
LayoutOption = Annotated[
    Layout,
    typer.Option(
        help="ckplus: SUBJECT/SEQUENCE/frames. folders: every folder of images and every video is a sequence. "
        "labelled-folders: the same, and the top folder's name is the emotion. table: a CSV file with the columns path "
        "and subject and, where you like, label, sequence, onset, apex, offset, fold."
    ),
]
UntilOption = Annotated[
    Until, typer.Option(help="With a table: the last frame used of each clip; the first is its onset.")
]
Jobs = Annotated[int, typer.Option("--jobs", "-j", help="Workers; -1 for one per core. Never changes the result.")]
Scheduler = Annotated[
    str | None,
    typer.Option(metavar="tcp://HOST:PORT", help="A Dask scheduler to send the work to (extra `dask`)."),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say what is being done.")]
