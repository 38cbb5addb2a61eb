"""Train a network on a store: `python train.py STORE ...` is `fastck train STORE ...`."""

import typer

from fastck.cli import train
from fastck.cli.training_options import SettingsCommand

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
app.command(cls=SettingsCommand)(train)

if __name__ == "__main__":
    app()
