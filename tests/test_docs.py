"""Every code block of the documentation runs, in order, page by page; links lead somewhere; pictures stay small.

A page starts in an empty folder with `faces`, a set of 28 short rendered sequences, linked into it. Blocks are run as
they stand, but for what SHORTER replaces. A block that cannot run here says why in a comment line before it:
``<!-- not run: needs a GPU -->``.
"""

import importlib.util
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

PROJECT = Path(__file__).resolve().parents[1]
DOCS = PROJECT / "docs"
README = PROJECT / "README.md"
PAGES = sorted(path.relative_to(PROJECT).as_posix() for path in [*DOCS.rglob("*.md"), README])
TEXTS = [*PAGES, "BENCHMARKS.md", "CHANGELOG.md", "CONTRIBUTING.md"]
BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]+) -->\n)?```(?P<kind>\w*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
SHORTER = [
    # The network that is made soonest.
    (r"--epochs \d+", "--epochs 1 --filters 4 --model temporal"),
    # The first command of the page fits a final network as well.
    (r"-o run-new-people", "--no-final -o run-new-people"),
    (r"fastck compare-boxes faces$", "fastck compare-boxes faces --limit 2"),
    (r"for epoch in range\(\d+\)", "for epoch in range(2)"),
]
SLOW = {"docs/first-steps.md"}
# Needs replicas of data sets: tests/dataset/test_recipes.py runs it.
ELSEWHERE = {"docs/how-to/datasets.md"}
# What a page needs and not every environment has.
NEEDS = {"docs/how-to/pytorch.md": "torch", "docs/how-to/export.md": "pyarrow"}
NOT_CODE = {"text", "csv", "toml", "json"}  # output, and files' contents
LARGEST, LARGEST_ANIMATION = 150_000, 2_000_000  # bytes of a picture


@dataclass(frozen=True)
class Block:
    kind: str
    code: str
    reason: str | None
    line: int


def blocks_of(page: str) -> list[Block]:
    text = (PROJECT / page).read_text(encoding="utf-8")
    return [
        Block(found["kind"], found["code"], found["reason"], text.count("\n", 0, found.start("code")) + 1)
        for found in BLOCK.finditer(text)
    ]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache of detections for all pages: they look at the same frames again and again."""
    return tmp_path_factory.mktemp("boxes")


def run_shell(code: str) -> None:
    """Run lines of commands: fastck and train.py through their typer applications, in this process."""
    for line in re.sub(r"\\\n", " ", code).splitlines():
        words = shlex.split(line, comments=True)
        if not words:
            continue
        if words[0] == "fastck":
            from fastck.cli import app
        elif words[:2] == ["python", "train.py"]:
            from train import app

            words = words[1:]
        else:
            pytest.fail(f"cannot run {line!r}: mark the block with a reason")
        result = CliRunner().invoke(app, words[1:])
        if result.exit_code != 0:
            raise AssertionError(f"{line}: exit code {result.exit_code}\n{result.output}") from result.exception


def pages_with_code() -> list[object]:
    """The pages that hold blocks; the one that trains networks is slow."""
    pages = [page for page in PAGES if blocks_of(page) and page not in ELSEWHERE]
    return [pytest.param(page, marks=pytest.mark.slow if page in SLOW else ()) for page in pages]


@pytest.mark.parametrize("page", pages_with_code())
def test_code_blocks_run(page: str, small_faces: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    if page in NEEDS:
        pytest.importorskip(NEEDS[page])
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(PROJECT))
    monkeypatch.setenv("FASTCK_CACHE_DIR", str(cache))
    blocks = blocks_of(page)
    assert all(block.kind for block in blocks), "every block names its language"
    makes_faces = any("render_dataset(" in block.code for block in blocks)
    if not makes_faces:
        (tmp_path / "faces").symlink_to(small_faces)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for block in blocks:
        if block.reason is not None or block.kind in NOT_CODE:
            continue
        code = block.code
        for pattern, replacement in SHORTER:
            code = re.sub(pattern, replacement, code, flags=re.MULTILINE)
        if block.kind == "python":
            # Newlines first, so that a traceback shows the page's own line numbers.
            exec(compile("\n" * (block.line - 1) + code, page, "exec"), namespace)
        elif block.kind == "bash":
            # Rendering has tests of its own; here its small stand-in is there already.
            run_shell(re.sub(r"^fastck render faces\b.*\n", "", code, flags=re.MULTILINE))
        else:
            pytest.fail(f"{page}:{block.line}: unknown kind of block {block.kind!r}")


@pytest.mark.parametrize("page", TEXTS)
def test_links_and_pictures_exist(page: str):
    text = re.sub(r"^```.*?^```$", "", (PROJECT / page).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if not re.match(r"[a-z]+:", target):
            assert ((PROJECT / page).parent / target).exists(), target


def test_architecture_names_files_that_exist():
    text = (DOCS / "explanation" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:fastck|benchmarks|tests)/[\w/.]*)`", text)
    assert len(named) > 20
    assert [name for name in named if not (PROJECT / name).exists()] == []


def test_every_page_is_in_the_navigation():
    listed = set(re.findall(r": (\S+\.md)$", (PROJECT / "mkdocs.yml").read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert listed == {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}


def test_pictures_are_small_and_used():
    pages = "".join((PROJECT / page).read_text(encoding="utf-8") for page in TEXTS)
    for path in (DOCS / "images").iterdir():
        largest = LARGEST_ANIMATION if path.suffix == ".gif" else LARGEST
        assert path.stat().st_size <= largest, path.name
        assert path.name in pages, path.name


def test_reference_holds_every_command():
    from fastck.cli import app

    text = (DOCS / "reference" / "cli.md").read_text(encoding="utf-8")
    names = {
        command.name or command.callback.__name__.replace("_", "-")
        for command in app.registered_commands
        if command.callback
    }
    assert set(re.findall(r"^::help fastck ([\w-]+)$", text, flags=re.MULTILINE)) == names


def test_help_texts_fill_the_reference():
    specification = importlib.util.spec_from_file_location("docs_hooks", DOCS / "hooks.py")
    assert specification is not None
    assert specification.loader is not None
    hooks = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(hooks)
    page = hooks.on_page_markdown("# T\n\n::help fastck info\n\n::help train.py\n")
    assert "Usage: fastck info [OPTIONS] STORE" in page.replace("{STORE}", "STORE")
    assert "--protocol" in page
    assert "::help" not in page
    with pytest.raises(ValueError, match="nonsense"):
        hooks.on_page_markdown("::help fastck nonsense")


@pytest.mark.slow
def test_site_builds_without_warnings(tmp_path: Path):
    for name in ("mkdocs", "material", "mkdocstrings"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed (extra docs)")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    result = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) >= len(PAGES) - 1
    loaded = re.compile(r'(?:src=|<link[^>]*stylesheet[^>]*href=)"?(?:https?:)?//')
    assert not [page.name for page in pages if loaded.search(page.read_text(encoding="utf-8"))]
