"""The notebook runs from top to bottom, in a folder of its own."""

import re
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).resolve().parents[1] / "docs" / "tutorial.ipynb"
LARGEST = 400_000  # bytes

pytestmark = pytest.mark.slow


def test_the_notebook_runs_and_ends_with_a_row_for_each_frame(small_faces: Path, tmp_path: Path):
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("nbclient")
    from tools.docs.notebook import run

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    # Rendering has tests of its own; here its small stand-in is there already.
    first = next(cell for cell in notebook.cells if cell["cell_type"] == "code")
    first["source"], found = re.subn(r'render_dataset\("clips", [^)]*\)', '"clips"', first["source"])
    assert found == 1
    (tmp_path / "clips").symlink_to(small_faces)
    run(notebook, tmp_path)
    (shown,) = notebook.cells[-1]["outputs"]
    # Three smiles of five frames, and the line of names.
    assert shown["data"]["text/html"].count("<tr") == 3 * 5 + 1
    assert (tmp_path / "run" / "report.html").exists()


def test_what_is_kept_of_it_is_small_and_names_no_machine():
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert len(text) < LARGEST
    assert "site-packages" not in text
    assert "/tmp/" not in text
