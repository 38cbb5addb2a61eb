"""Runs docs/tutorial.ipynb and keeps what it shows: `python -m tools.docs.notebook`, two minutes on two cores."""

import base64
import io
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from PIL import Image

NOTEBOOK = Path(__file__).parents[2] / "docs" / "tutorial.ipynb"
WIDTH, COLOURS = 1200, 64


def main() -> None:
    """Run every cell, and write the notebook with its results."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        run(notebook, Path(folder))
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if picture := output.get("data", {}).get("image/png"):
                output["data"]["image/png"] = smaller(picture)
    nbformat.write(notebook, NOTEBOOK)


def run(notebook: Any, folder: Path) -> None:
    """Run every cell in a folder; `!fastck` is this environment's.

    Raises
    ------
    CellExecutionError
        If a cell fails.
    """
    before = dict(os.environ)
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{before.get('PATH', '')}"
    try:
        client = NotebookClient(
            notebook, timeout=900, resources={"metadata": {"path": str(folder)}}, record_timing=False
        )
        client.execute()
    finally:
        os.environ.clear()
        os.environ.update(before)


def smaller(picture: str) -> str:
    """Return a PNG in base64 with fewer pixels and colours."""
    image = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")
    image.thumbnail((WIDTH, image.height))
    out = io.BytesIO()
    image.quantize(COLOURS).save(out, "PNG", optimize=True)
    return base64.b64encode(out.getvalue()).decode()


if __name__ == "__main__":
    main()
