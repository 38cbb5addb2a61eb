"""The demo: refuses early, compares the presets, says what its numbers are worth."""

import html
import importlib.util
import json
import re
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import fastck
from benchmarks.naive import paper_features
from fastck.cli import app, tour_page
from fastck.cli import tour as demo
from fastck.cli.tour import DISCLAIMER, PresetResult, demo_text, jitter, run_demo
from fastck.dataset.clip import clip_record


def test_refuses_what_it_cannot_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ValueError, match="subjects must be at least 4"):
        run_demo(tmp_path / "out", subjects=3)
    with pytest.raises(ValueError, match="epochs must be at least 1"):
        run_demo(tmp_path / "out", epochs=0)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="must be a new or empty folder"):
        run_demo(tmp_path)
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"needs one of tensorflow, jax, torch: pip install 'fastck\[train\]' or"):
        run_demo(tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_jitter_weighs_sequences_by_their_length():
    table = pd.DataFrame({"n_frames": [11, 31], "length": [10, 30], "n_box_changes": [5, 3], "motion": [0.4, 0.0]})
    assert jitter(table) == (pytest.approx(8 / 40), pytest.approx(0.1))


def test_text_says_what_the_faces_are_in_few_lines(tmp_path: Path):
    presets = tuple(
        PresetResult(
            preset=preset,
            store=tmp_path / f"store-{preset}",
            seconds=seconds,
            box_changes=changes,
            motion=0.05,
            accuracy={3: 0.31, 5: 0.52},
            baseline={3: 0.41, 5: 0.62},
            interval={3: (0.2, 0.45), 5: (0.4, 0.64)},
            runs={phase: tmp_path / f"run-{preset}-phase{phase}" for phase in (3, 5)},
        )
        for preset, seconds, changes in (("paper", 80.0, 0.093), ("stable", 4.0, 0.0))
    )
    said = ["Accuracy 62 %: " + "a model with a long name " * 8, "4 real smiles " * 10, "Speed " * 30]
    text = demo_text(tmp_path / "index.html", presets, said)
    assert text.startswith("Accuracy 62 %")
    assert len(text.splitlines()) <= 25
    lines = text.splitlines()[:-1]
    assert max(map(len, lines)) <= 80
    unwrapped = " ".join(text.split())
    assert DISCLAIMER in unwrapped
    assert "says nothing about accuracy on CK+" in unwrapped
    assert "optical flow from the onset 0.52, the paper's projections 0.31; chance is 0.14" in unwrapped
    assert ["frames", "whose", "box", "changed", "9.3", "%", "0.0", "%"] in [line.split() for line in lines]
    assert text.endswith(f"{tmp_path}/index.html")
    places = [path for path, _ in demo.places_of(tmp_path, tmp_path / "faces", presets)]
    assert any(line.endswith(f"--run {tmp_path}/run-stable-phase5") for line in demo.commands(tmp_path, presets))
    for entry in presets:
        assert entry.store in places
        assert {run / "report.html" for run in entry.runs.values()} <= set(places)


def test_an_animation_holds_its_last_picture():
    pictures = [np.full((2, 2, 3), value, np.uint8) for value in range(3)]
    shown = [int(picture[0, 0, 0]) for picture in tour_page.held_last(iter(pictures))]
    assert shown == [0, 1, 2, *[2] * tour_page.HOLD]


def test_speed_is_that_of_the_same_numbers(monkeypatch: pytest.MonkeyPatch):
    record = clip_record(next((fastck.sample() / "cohn-kanade-images" / "L008").iterdir()))
    short = replace(record, frames=record.frames[:3])
    # The benchmarks' specification, which takes nothing from the package.
    np.testing.assert_allclose(tour_page.papers_script(short.frames), paper_features(list(short.frames))[0], atol=1e-6)
    monkeypatch.setattr(tour_page, "clip_record", lambda path: short)
    monkeypatch.setattr(tour_page, "ROUNDS", 1)
    speed = tour_page.measure_speed(demo.PRESET_NAMES)
    assert list(speed) == ["paper script", "preset paper", "preset stable"]
    assert tour_page.speed_line(speed).count("times as fast") == 2


@pytest.mark.parametrize(
    ("accuracy", "interval", "baseline", "said", "not_said"),
    [
        (0.08, (0.02, 0.25), 0.15, ["interval holds chance, 0.14", "baseline is more accurate: 0.15"], "better than"),
        (0.05, (0.01, 0.12), 0.05, ["worse than chance, 0.14"], "accurate"),
        (0.90, (0.80, 0.95), 0.60, ["better than chance, 0.14", "than the best baseline, 0.60"], "baseline is more"),
    ],
)
def test_the_text_fits_what_was_measured(
    tmp_path: Path,
    accuracy: float,
    interval: tuple[float, float],
    baseline: float,
    said: list[str],
    not_said: str,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(demo, "DEMO_PHASES", {3: {}})
    presets = tuple(
        PresetResult(
            preset=preset,
            store=tmp_path,
            seconds=seconds,
            box_changes=0.0,
            motion=0.05,
            accuracy={3: accuracy},
            baseline={3: baseline},
            interval={3: interval},
            runs={},
        )
        for preset, seconds in (("paper", 8.0), ("stable", 4.0))
    )
    lines = demo.findings(presets)
    assert lines[0] == 'Preset "stable" preprocessed 2.0 times as fast as "paper".'
    assert len(lines) == 3
    for line in lines[1:]:
        assert all(part in line for part in said), line
        assert not_said not in line


@pytest.mark.slow
def test_a_small_demo_runs_from_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("tensorflow")
    # Four frames a sequence and one phase: the whole way, but not the whole time.
    monkeypatch.setattr("fastck.render.dataset.draw_length", lambda rng: 4)
    monkeypatch.setattr(demo, "DEMO_PHASES", {5: demo.DEMO_PHASES[5]})
    # It takes seconds, and has a test of its own.
    speed = {"paper script": 500.0, "preset paper": 50.0, "preset stable": 5.0}
    monkeypatch.setattr(demo, "measure_speed", lambda presets: speed)
    said: list[str] = []
    steps: set[str] = set()
    # As `make demo` names it.
    monkeypatch.chdir(tmp_path)
    result = run_demo(
        Path("out"),
        subjects=4,
        epochs=1,
        n_jobs=2,
        on_message=said.append,
        on_progress=lambda progress: steps.add(progress.step),
    )
    assert steps == {"rendering", "preprocessing, preset paper", "preprocessing, preset stable"}
    assert DISCLAIMER in said[0]
    paper, stable = result.presets
    assert stable.box_changes == 0 <= paper.box_changes
    assert len(result.text.splitlines()) <= 25
    assert result.page == Path("out/index.html")
    page = result.page.read_text()
    best = max(
        (json.loads((entry.runs[5] / "report.json").read_text())["best"] for entry in result.presets),
        key=lambda entry: entry["accuracy"]["value"],
    )
    # The first figure is the best model's, by its name.
    first = page[page.index('class="first"') :]
    assert f"{100 * best['accuracy']['value']:.1f} %</b>" in first[:200]
    assert best["name"] in first[:200]
    assert DISCLAIMER in page
    assert page.count("data:image/gif") == 4
    # The commands that the page names work from where the demo was started.
    (predict,) = (line for line in demo.commands(result.faces, result.presets) if line.startswith("fastck predict"))
    assert predict in html.unescape(page)
    answered = CliRunner().invoke(app, shlex.split(predict)[1:])
    assert answered.exit_code == 0, answered.output
    assert "S001" in answered.output
    for name in ("L008_001", "L032_001", "L063_001"):
        assert f"<h2>{name}: happy" in page
    links = re.findall(r'<a href="([^"]+)"', page)
    assert len(links) == 6
    assert all((tmp_path / "out" / link).exists() for link in links)
    for entry in result.presets:
        report = json.loads((entry.runs[5] / "report.json").read_text())
        assert entry.accuracy[5] == report["evaluation"]["accuracy"]["value"]
        assert (entry.runs[5] / "report.html").exists()
