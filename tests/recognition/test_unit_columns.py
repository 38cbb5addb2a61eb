"""`--units`: the intensities that `fastck.action_units` gives, in tables, plots and live."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from typer.testing import CliRunner

import fastck
from fastck.cli import app
from fastck.dataset.clip import clip_record
from fastck.faces.units import UNITS
from fastck.pipeline.detect import LANDMARK_COLUMNS
from fastck.recognition.clip import recognise
from fastck.training.report import plots
from fastck.views.prediction_plot import plot_prediction
from fastck.views.preview import preview_clip, with_units
from fastck.views.sheet import draw_sheet

CLIP = fastck.sample() / "cohn-kanade-images/L032/001"


@pytest.fixture(scope="module")
def expected() -> fastck.ActionUnits:
    return fastck.action_units(CLIP)


@pytest.mark.parametrize("command", ["predict", "detect"])
def test_the_columns_are_action_units_own(command: str, expected: fastck.ActionUnits, tmp_path: Path):
    out = tmp_path / "frames.csv"
    result = CliRunner().invoke(app, [command, str(CLIP), "--frames", str(out), "--landmarks", "--units"])
    assert result.exit_code == 0, result.output
    table = pd.read_csv(out)
    assert tuple(table.columns[-len(UNITS) :]) == UNITS
    assert tuple(table.columns[-len(UNITS) - len(LANDMARK_COLUMNS) : -len(UNITS)]) == LANDMARK_COLUMNS
    # Boxes of the same faces; `detect` doubles each frame, and its boxes may lie a pixel or two beside.
    tolerance = 2e-3 if command == "predict" else 0.7
    np.testing.assert_allclose(table[list(UNITS)], expected.intensities, atol=tolerance)
    assert table["AU12"].idxmax() == 4


def test_each_person_is_judged_beside_their_own_rest(tmp_path: Path):
    folder = tmp_path / "two"
    folder.mkdir()
    other = fastck.sample() / "cohn-kanade-images/L008/001"
    for number, paths in enumerate(zip(sorted(CLIP.glob("*.png")), sorted(other.glob("*.png")), strict=True), start=1):
        pair = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)[60:460, 120:520] for path in paths]
        cv2.imwrite(str(folder / f"{number:03d}.png"), np.hstack(pair))
    out = tmp_path / "frames.parquet"
    result = CliRunner().invoke(app, ["predict", str(folder), "--frames", str(out), "--units"])
    assert result.exit_code == 0, result.output
    table = pd.read_parquet(out)
    units = fastck.action_units(folder)
    assert len(units.people) == 2
    for one in units.people:
        own = table[table["person"] == one.person]
        np.testing.assert_allclose(own[list(UNITS)], one.intensities, atol=2e-3)
        # Both smile at the end, one of them slightly and with closed lips.
        assert own["AU12"].iloc[-1] > own["AU12"].iloc[0] + 0.5


def test_a_plot_shows_them_over_time(expected: fastck.ActionUnits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    record = clip_record(CLIP)
    drawn: list[Figure] = []
    monkeypatch.setattr(plots, "save_figure", lambda figure, path: drawn.append(figure))
    plot_prediction(recognise(record, keep_flow=True), tmp_path / "p.png", record=record, units=True)
    axes = drawn[0].subfigs[1].axes[0]
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert names == [name for name in UNITS if "_" not in name]
    shown = axes.collections[0].get_array().reshape(len(names), 5)
    wanted = expected.intensities[:, [UNITS.index(name) for name in names]]
    np.testing.assert_allclose(shown, wanted.T, atol=2e-3)
    assert axes.get_xlabel() == "frame"


def test_a_sheet_shows_the_strongest(expected: fastck.ActionUnits):
    preview = with_units(preview_clip(CLIP, columns=5))
    smile = UNITS.index("AU12")
    # The first view's box is one for all frames.
    assert np.abs(np.array(preview.units)[:, smile] - expected.intensities[:, smile]).max() < 1
    figure = draw_sheet(preview)
    texts = [text.get_text() for text in figure.axes[9].texts]
    assert len(texts) == 6
    strongest = max((name for name in UNITS if "_" not in name), key=lambda name: preview.units[4][UNITS.index(name)])
    assert texts[0] == f"{strongest} {preview.units[4][UNITS.index(strongest)]:.1f}"


@pytest.mark.parametrize(
    ("command", "said"), [(["predict"], "--frames FILE and --plot OUT"), (["detect", "-o", "b.csv"], "--frames FILE")]
)
def test_units_without_a_place_are_refused(command: list[str], said: str):
    result = CliRunner().invoke(app, [*command, str(CLIP), "--units"], env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert said in result.output
