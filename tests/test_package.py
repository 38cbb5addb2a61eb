"""What goes to a package index: the wheel and the source distribution, made once and looked into."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
LARGEST = 16_000_000  # bytes
MODELS = {"fastck/recogniser.npz", "fastck/render/face_model.npz"}
LICENCES = {"LICENSE", "fastck/dataset/sample_set/ATTRIBUTION.md", "fastck/render/face_model.md"}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The wheel and the source distribution, built without a network."""
    pytest.importorskip("build")
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(PROJECT)]
    subprocess.run(command, check=True, capture_output=True)
    return sorted(folder.iterdir())


def contents(path: Path) -> set[str]:
    if path.suffix == ".whl":
        return set(zipfile.ZipFile(path).namelist())
    with tarfile.open(path) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def test_both_hold_the_package_its_models_and_its_licences_and_no_tests(made: list[Path]):
    assert [path.suffix for path in made] == [".whl", ".gz"]
    tracked = subprocess.run(["git", "ls-files", "fastck"], cwd=PROJECT, check=True, capture_output=True, text=True)
    wanted = set(tracked.stdout.split()) | MODELS
    for path in made:
        assert path.stat().st_size < LARGEST
        names = contents(path)
        assert wanted <= names
        assert not [name for name in names if name.startswith(("tests", "benchmarks", "docs"))]
        roots = {name.partition("licenses/")[2] for name in names} if path.suffix == ".whl" else names
        assert roots >= LICENCES


def test_an_index_would_take_both(made: list[Path]):
    pytest.importorskip("twine")
    command = [sys.executable, "-m", "twine", "check", "--strict", *map(str, made)]
    assert subprocess.run(command, capture_output=True).returncode == 0
