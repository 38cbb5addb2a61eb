"""The first call's kernels: by two processes where none are on disk."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fastck.pipeline import compiling

SOURCE = """
from fastck.kernels import is_new, kernel

@kernel
def twice(x):
    return 2 * x

before = is_new(twice)
twice(1)
print(before, is_new(twice))
"""


def test_a_kernel_is_new_until_it_is_on_disk(tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text(SOURCE)
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "kernels")}
    said = []
    for damaged in (False, False, True):
        if damaged:
            for index in (tmp_path / "kernels").rglob("*.nbi"):
                index.write_bytes(b"")
        done = subprocess.run([sys.executable, script], env=environment, check=True, capture_output=True, text=True)
        said.append(done.stdout.split())
    assert said == [["True", "False"], ["False", "False"], ["True", "False"]]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The processes that were started; kernels count as new."""
    processes: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen

    def noted(*args: Any, **options: Any) -> subprocess.Popen[bytes]:
        processes.append(start(*args, **options))
        return processes[-1]

    monkeypatch.setattr(compiling, "is_new", lambda kernel: True)
    monkeypatch.setattr(compiling.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(subprocess, "Popen", noted)
    return processes


def test_another_process_compiles_the_search_meanwhile(made: list[subprocess.Popen[bytes]]):
    running: list[int | None] = []
    compiling.compile_aside(lambda: running.append(made[0].poll()))
    assert running == [None]
    assert [process.returncode for process in made] == [0]


def test_it_is_waited_for_where_the_rest_fails(made: list[subprocess.Popen[bytes]]):
    with pytest.raises(ZeroDivisionError):
        compiling.compile_aside(lambda: 1 // 0)
    assert [process.returncode for process in made] == [0]


def test_one_core_and_kernels_on_disk_take_no_process(
    made: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
):
    called: list[int] = []
    monkeypatch.setattr(compiling.os, "cpu_count", lambda: 1)
    compiling.compile_aside(lambda: called.append(1))
    monkeypatch.setattr(compiling.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(compiling, "is_new", lambda kernel: False)
    compiling.compile_aside(lambda: called.append(2))
    assert called == [1, 2]
    assert made == []


def test_the_rest_is_compiled_where_no_process_can_be_made(monkeypatch: pytest.MonkeyPatch):
    def refuse(*args: Any, **options: Any) -> None:
        raise OSError("too many processes")

    monkeypatch.setattr(compiling, "is_new", lambda kernel: True)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    called: list[int] = []
    compiling.compile_aside(lambda: called.append(1))
    assert called == [1]
