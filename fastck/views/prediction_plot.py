"""A prediction as a picture: probabilities over time, under the flow."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastck.config import FlowConfig
from fastck.pages.palette import CLASSES
from fastck.recognition.clip import ClipPrediction
from fastck.recognition.follow import Reading
from fastck.recognition.prediction import Prediction
from fastck.views.flow import describe_colours, draw_wheel, flow_colours, flow_rim

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PICTURES = 6  # of the flow, along the clip


def plot_prediction(prediction: Prediction, path: str | PathLike[str]) -> None:
    """Draw the probabilities as a PNG file: over time, and with the bundled recogniser under the flow.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    from fastck.training.report.plots import new_figure, save_figure

    figure, axes = new_figure(7, 4)
    if isinstance(prediction, ClipPrediction):
        figure.delaxes(axes)
        figure.set_size_inches(8, 5.5)
        _draw_readings(figure, prediction)
    else:
        _draw_windows(axes, prediction)
        # A dollar sign in a name is no formula.
        axes.set_title(f"{prediction.clip}: {prediction.emotion or 'unsure'}", parse_math=False)
    save_figure(figure, Path(path))


def _draw_windows(axes: "Axes", prediction: Prediction) -> None:
    """Draw bars for one window, a line per emotion over several."""
    table = prediction.table
    if len(table) == 1:
        places = range(len(prediction.probabilities))
        axes.barh(places, list(prediction.probabilities.values()))
        axes.set_yticks(places, list(prediction.probabilities), parse_math=False)
        axes.set_xlim(0, 1)
        axes.invert_yaxis()
        axes.set_xlabel("probability")
        return
    middle = (table["first_frame"] + table["last_frame"]) / 2
    axes.set_prop_cycle(color=CLASSES)
    for name in prediction.probabilities:
        axes.plot(middle, table[f"p_{name}"], marker="o", label=name)
    axes.set_ylim(0, 1)
    axes.set_xlabel("frame (middle of the window)")
    axes.set_ylabel("probability")
    for text in axes.legend().get_texts():
        text.set_parse_math(False)


def _draw_readings(figure: Any, prediction: ClipPrediction) -> None:
    prediction.check_flow()
    readings = prediction.readings
    shown = spread(readings)
    grid = figure.add_gridspec(3, PICTURES + 1, height_ratios=(1.1, 0.9, 1.8))
    rim = flow_rim(reading.moment.flow for reading in shown)
    for column, reading in enumerate(shown):
        axes = figure.add_subplot(grid[0, column])
        axes.imshow(flow_colours(reading.moment.flow, rim))
        axes.set_title(f"frame {reading.moment.frame + 1}", fontsize=8)
        axes.set_xticks([])
        axes.set_yticks([])
    draw_wheel(figure.add_subplot(grid[0, PICTURES]))
    frames = [reading.moment.frame + 1 for reading in readings]
    size = figure.add_subplot(grid[1, :])
    size.plot(frames, [100 * reading.moment.displacement for reading in readings], color="0.3")
    size.set_ylabel("motion, %")
    size.set_ylim(bottom=0)
    size.tick_params(labelbottom=False)
    chances = figure.add_subplot(grid[2, :], sharex=size)
    chances.set_prop_cycle(color=CLASSES)
    for name, values in zip(
        prediction.probabilities, np.array([reading.probabilities for reading in readings]).T, strict=True
    ):
        chances.plot(frames, values, label=name)
    chances.set_ylim(0, 1)
    chances.set_xlabel(describe_colours(FlowConfig(), rim), fontsize=8)
    chances.set_ylabel("probability")
    chances.legend(fontsize=7, ncols=4, loc="upper left")
    for row in prediction.table.to_dict("records"):
        for axes in (size, chances):
            axes.axvspan(float(row["first_frame"]), float(row["last_frame"]), color="0.9", zorder=0)
    title = f"{prediction.clip}: {prediction.emotion or 'unsure'}   ({prediction.trained_on})"
    figure.suptitle(title, parse_math=False)


def spread(readings: Sequence[Reading]) -> list[Reading]:
    """Return up to `PICTURES` readings, evenly over the clip, the last among them."""
    places = np.unique(np.linspace(0, len(readings) - 1, min(PICTURES, len(readings))).round().astype(int))
    return [readings[place] for place in places]
