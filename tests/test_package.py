"""What goes to a package index: the wheel and the source distribution, made once and looked into."""

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import jinja2
import pytest

import fastck

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


def test_the_conda_recipe_is_filled_from_the_projects_own_metadata(made: list[Path]):
    """Filled as conda-build fills it; to build it takes a channel with Python and what fastck needs."""
    yaml = pytest.importorskip("yaml")
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    recipe = PROJECT / "conda"

    def load_file_data(name: str, *, from_recipe_dir: bool) -> Any:
        return tomllib.loads((recipe / name).read_text())

    def load_file_regex(name: str, pattern: str, *, from_recipe_dir: bool) -> re.Match[str] | None:
        return re.search(pattern, (recipe / name).read_text())

    text = (recipe / "meta.yaml").read_text()
    filled = (
        jinja2.Environment(undefined=jinja2.StrictUndefined)
        .from_string(text)
        .render(load_file_data=load_file_data, load_file_regex=load_file_regex, PYTHON="python")
    )
    said = yaml.safe_load(filled)
    assert Path(said["source"]["url"]).name == next(path.name for path in made if path.suffix == ".gz")
    assert said["package"] == {"name": "fastck", "version": fastck.__version__}
    bounds = [need.partition(">=")[2] for need in project["dependencies"]]
    assert [need.partition(">=")[2] for need in said["requirements"]["run"][1:]] == bounds
    assert {"numpy", "py-opencv", "dlib"} <= {need.split()[0] for need in said["requirements"]["run"]}
    assert all((PROJECT / path).is_file() for path in said["about"]["license_file"])
    assert said["build"]["entry_points"] == [f"fastck = {project['scripts']['fastck']}"]


def test_the_source_distribution_installs_as_the_conda_recipe_installs_it(made: list[Path], tmp_path: Path):
    source = next(path for path in made if path.suffix == ".gz")
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--target", str(tmp_path)]
    subprocess.run([*command, str(source)], check=True, capture_output=True)
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import fastck; print(fastck.__file__, fastck.sample())"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=tmp_path)
    assert all(Path(path).is_relative_to(tmp_path) for path in done.stdout.split())
