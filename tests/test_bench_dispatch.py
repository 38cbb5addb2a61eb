"""The benchmark of very many tiny sequences: what it writes, measures and says."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import dispatch

PROJECT = Path(__file__).parents[1]


def entry(n, *, way="threads", seconds=0.0001, megabytes=0.001):
    parts = {"parent": 3 + n * seconds, "before": 1, "during": 1, "after": 1}
    return {"way": way, "sequences": n, **parts, "warm_mb": 200, "peak_mb": 200 + n * megabytes}


def test_two_sizes_give_a_line_and_the_line_a_million():
    seconds, memory, total, peak = dispatch.lines_of([entry(200_000), entry(20_000)])
    assert seconds == pytest.approx(0.0001)
    assert memory == pytest.approx(0.001 * 2**20)
    assert total == pytest.approx(103)
    assert peak == pytest.approx(1200 * 2**20)


def test_a_missed_target_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(dispatch, "RESULTS", tmp_path / "dispatch.json")
    assert dispatch.section() == []
    slow = [entry(n, way="dask", seconds=0.001) for n in (20_000, 200_000)]
    for one in (entry(20_000, seconds=9), entry(20_000), entry(200_000), *slow):
        dispatch.keep(one)
    text = "\n".join(dispatch.section())
    assert "joblib, two threads: parent's processor time, one more sequence | at most 0.15 ms | 0.100 ms | held" in text
    assert "parent's processor time, one more sequence | at most 0.15 ms | 1.000 ms | **missed**" in text
    assert text.count("held") == 5


def test_a_run_is_measured(tmp_path):
    for name, n in (("few", 2), ("some", 30)):
        dispatch.write_tiny(tmp_path / name, n)
    command = [
        sys.executable,
        "-m",
        "benchmarks.dispatch",
        "--measure",
        str(tmp_path / "some"),
        str(tmp_path / "few"),
        "",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["sequences"] == 30
    assert found["parent"] == pytest.approx(found["before"] + found["during"] + found["after"])
    assert min(found[part] for part in ("before", "during", "after", "workers")) > 0
