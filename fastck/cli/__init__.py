"""The command line: each command reads its arguments, calls one library function and prints what came of it.

The commands lie in modules by what they are about; here they get their place in `fastck --help`. Imports stand inside
the commands, so that `--help` answers at once.
"""

from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from fastck.cli.dataset import check, folds, render
from fastck.cli.demo import bench, demo
from fastck.cli.faces import compare_boxes, detect
from fastck.cli.preprocessing import preprocess
from fastck.cli.recognition import live, predict
from fastck.cli.stores import export, info, preview
from fastck.cli.training import compare, report, train
from fastck.cli.training_options import SettingsCommand
from fastck.version import __version__

# What `fastck --help` shows: the commands by what they are for, each with a line that 80 columns do not cut.
GROUPS: dict[str, dict[Callable[..., None], str]] = {
    "Use what is there": {
        predict: "Say which emotion videos, folders of frames and photos show",
        live: "Say it while a camera runs",
        detect: "Find faces: a table of boxes",
        demo: "Show the whole way on rendered faces, in minutes",
    },
    "Preprocess a data set": {
        check: "Say what a data set holds, and what is odd in it",
        preprocess: "Turn a data set into a store of motion features",
        info: "Say what a store holds, as text or as a page",
        preview: "Draw every stage of one sequence",
        export: "Write a store for Zarr, TFRecord or Parquet",
    },
    "Train": {
        train: "Train a model on stores and test it on unseen people",
        folds: "Write which sequence is tested in which fold",
        report: "Write a run's report again",
        compare: "Say which of several runs is better",
    },
    "Measure and try": {
        render: "Render people who show emotions, in CK+'s layout",
        bench: "Measure the kernels on this machine",
        compare_boxes: "Compare the face search with dlib's",
    },
}


class CommandGroup(TyperGroup):
    """The commands in their groups."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write each group's commands with their lines."""
        for title, commands in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(_name(command), text) for command, text in commands.items()])


def _name(command: Callable[..., None]) -> str:
    return command.__name__.replace("_", "-")


app = typer.Typer(
    cls=CommandGroup,
    name="fastck",
    help="Folders of face-image sequences to memory-mapped motion features, fast, and a ConvLSTM2D trained on them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def show_version(wanted: bool) -> None:
    """Print the version and leave."""
    if wanted:
        print(f"fastck {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """Folders of face-image sequences to memory-mapped motion features, and a ConvLSTM2D trained on them."""


for commands in GROUPS.values():
    for command in commands:
        app.command(name=_name(command), cls=SettingsCommand if command is train else None)(command)


def main() -> None:
    """Run the command line."""
    app()
