"""The comparison of two commits: turns, verdicts, and a repository whose two commits differ in one number."""

import subprocess
import sys

import pytest

from benchmarks import compare

PROBE = "import json, fastck_stub; print(json.dumps({'sum': fastck_stub.SECONDS, 'same': 1.0}))"


@pytest.fixture
def repository(tmp_path):
    root = tmp_path / "repository"
    root.mkdir()

    def git(*arguments):
        options = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *options, *arguments], cwd=root, check=True, capture_output=True)

    git("init", "-b", "main")
    for seconds in (2.0, 1.0):
        (root / "fastck_stub.py").write_text(f"SECONDS = {seconds}\n")
        git("add", ".")
        git("commit", "-m", "one")
    return root


def test_two_commits_of_a_trivial_repository(repository):
    commit = compare.default_commit(repository)
    assert commit == "HEAD~1"
    with compare.checkout(repository, commit) as other:
        before, now = compare.in_turns((other, repository), [sys.executable, "-c", PROBE], turns=3)
    assert before == {"sum": [2.0] * 3, "same": [1.0] * 3}
    assert now == {"sum": [1.0] * 3, "same": [1.0] * 3}
    lines = compare.comparison(now, before)
    assert [line.split()[-1] for line in lines[1:]] == ["faster", "1.00"]
    assert compare.git(repository, "worktree", "list").count("\n") == 0


def test_the_last_tag_comes_first(repository):
    compare.git(repository, "tag", "v1", "HEAD~1")
    assert compare.default_commit(repository) == "v1"


@pytest.mark.parametrize(
    ("now", "before", "said"),
    [
        ([1.0, 1.1], [2.0, 2.1], "faster"),
        ([2.0, 2.1], [1.0, 1.1], "slower"),
        ([1.0, 2.0], [1.5, 1.6], ""),
        ([1.00, 1.00], [1.01, 1.02], ""),
    ],
)
def test_a_change_is_told_where_no_turn_contradicts_it(now, before, said):
    assert compare.verdict(now, before) == said


def test_what_one_commit_lacks_is_told():
    assert compare.comparison({"new": [1.0]}, {"old": [1.0]})[1:] == ["new   only now", "old   only before"]


def test_an_unknown_commit_is_one_line(capsys):
    assert compare.main(["no-such-commit"]) == 2
    assert capsys.readouterr().err.startswith("benchmarks.compare: git worktree add")


def test_the_probes_run_on_this_package(tmp_path, monkeypatch):
    monkeypatch.setattr(compare, "SUBJECTS", 1)
    monkeypatch.setattr(compare, "TINY_SEQUENCES", 2)
    monkeypatch.setattr(compare, "REPEATS", 1)
    # Compiles everything anew, half a minute: tried with the kernels that are there already.
    monkeypatch.setattr(compare, "first_call", lambda root, scratch: {"clip": float(compare.one_clip(root).is_dir())})
    compare.make_input(tmp_path)
    found = compare.probe(tmp_path)
    assert len(found) == 12
    assert all(seconds > 0 for seconds in found.values())


def test_a_process_that_fails_says_why_and_takes_the_package_on_the_path(tmp_path):
    (tmp_path / "fastck").mkdir()
    (tmp_path / "fastck" / "__init__.py").touch()
    (tmp_path / "fastck" / "cli.py").write_text("raise SystemExit('the other package')")
    with pytest.raises(ValueError, match="the other package"):
        compare.children_seconds(["predict"], {"PYTHONPATH": str(tmp_path)})
    assert compare.children_seconds(["--version"], {}) > 0
