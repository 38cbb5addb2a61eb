"""The command line: each command reads its arguments, calls one library function and prints what came of it.

The commands lie in modules by what they are about; here they get their place in `fastck --help`. Imports stand inside
the commands, so that `--help` answers at once.
"""

from typing import Annotated

import typer

from fastck.cli.dataset import check, folds, render
from fastck.cli.demo import bench, demo
from fastck.cli.faces import compare_boxes, detect
from fastck.cli.preprocessing import preprocess
from fastck.cli.recognition import live, predict
from fastck.cli.stores import export, info, preview
from fastck.cli.training import report, train
from fastck.cli.training_options import SettingsCommand
from fastck.version import __version__

app = typer.Typer(
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


app.command()(preprocess)
app.command()(check)
app.command()(info)
app.command()(preview)
app.command()(render)
app.command(cls=SettingsCommand)(train)
app.command()(folds)
app.command()(predict)
app.command()(live)
app.command()(report)
app.command()(demo)
app.command()(detect)
app.command()(compare_boxes)
app.command()(bench)
app.command()(export)


def main() -> None:
    """Run the command line."""
    app()
