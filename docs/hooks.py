"""Fills the command-line reference with what `--help` says, so that the two cannot differ."""

import os
import re
import sys
from pathlib import Path

from typer import Typer
from typer.testing import CliRunner

ROOT = Path(__file__).resolve().parents[1]


def on_page_markdown(markdown: str, **_: object) -> str:
    """Replace each line "::help NAME" by the help of that command; MkDocs calls this for every page."""
    return re.sub(r"^::help (.+)$", lambda found: f"```text\n{help_text(found[1])}\n```", markdown, flags=re.MULTILINE)


def help_text(command: str) -> str:
    """Return what a command prints for `--help`: "fastck preprocess" or "train.py"."""
    app, *arguments = command.split()
    os.environ["TERM"] = "dumb"  # plain text, without colours and frames
    result = CliRunner().invoke(load_app(app), [*arguments, "--help"], env={"COLUMNS": "100"}, prog_name=app)
    if result.exit_code != 0:
        raise ValueError(f"{command} --help failed: {result.output}")
    return result.output.strip()


def load_app(name: str) -> Typer:
    """Return the typer application of "fastck" or "train.py"."""
    if name == "fastck":
        from fastck.cli import app
    else:
        if str(ROOT) not in sys.path:
            sys.path.insert(0, str(ROOT))
        from train import app
    return app
