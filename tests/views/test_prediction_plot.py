"""The plot of a prediction: what it says, where, and in which unit."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure, SubFigure

import fastck
from fastck.dataset.clip import clip_record
from fastck.recognition.clip import recognise_footage
from fastck.recognition.footage import footage_of
from fastck.training.report import plots
from fastck.views.prediction_plot import plot_prediction

CLIP = fastck.sample() / "cohn-kanade-images" / "L032" / "001"


@pytest.mark.parametrize(("fps", "unit", "apex"), [(None, "frame", "apex, frame 5"), (10.0, "seconds", "apex, 0.40 s")])
def test_legend_stands_outside_and_time_is_in_seconds_where_it_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fps: float | None, unit: str, apex: str
):
    drawn: list[Figure] = []
    write = plots.save_figure

    def keep(figure: Figure, path: Path) -> None:
        drawn.append(figure)
        write(figure, path)

    monkeypatch.setattr(plots, "save_figure", keep)
    record = clip_record(CLIP)
    prediction = recognise_footage(footage_of(record, fps=fps), keep_flow=True)
    plot_prediction(prediction, tmp_path / "p.png", record=record)
    assert cv2.imread(str(tmp_path / "p.png")).shape[0] > 500
    charts, side = (part for part in drawn[0].get_children() if isinstance(part, SubFigure))
    assert all(axes.get_legend() is None for axes in charts.axes)
    labels = [text.get_text() for text in side.axes[2].get_legend().get_texts()]
    assert labels == list(prediction.probabilities)
    chances = charts.axes[-1]
    assert chances.get_xlabel().splitlines()[0] == unit
    np.testing.assert_allclose(chances.lines[0].get_xdata(), np.arange(5) / 10 if fps else np.arange(1, 6))
    assert [axes.get_title() for axes in side.axes[:2]][1] == apex
    # The thumbnails are the frames' own pixels: OpenCV cuts out the same face.
    top, left, bottom, right = prediction.box
    gray = cv2.imread(str(record.frames[-1]), cv2.IMREAD_GRAYSCALE)[top:bottom, left:right]
    expected = cv2.resize(gray, (267, 267), interpolation=cv2.INTER_LINEAR).astype(int)
    assert np.abs(np.asarray(side.axes[1].images[0].get_array()).astype(int) - expected).max() <= 1
