"""A prediction as a picture: probabilities over time, under the flow, beside the face at onset and apex."""

from collections.abc import Callable, Sequence
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastck.config import FlowConfig
from fastck.dataset.records import SequenceRecord
from fastck.faces.box import FaceBox, Gray, crop
from fastck.pages.palette import CLASSES, person_colour
from fastck.pipeline.frames import record_frames
from fastck.recognition.clip import ClipPrediction
from fastck.recognition.follow import Reading
from fastck.recognition.prediction import Prediction
from fastck.views.flow import describe_colours, draw_wheel, flow_colours, flow_rim

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import SubFigure

PICTURES = 6  # of the flow, along the clip

Times = Callable[[Any], Any]


def plot_prediction(prediction: Prediction, path: str | PathLike[str], *, record: SequenceRecord | None = None) -> None:
    """Draw each person's probabilities as a PNG file: over time, and with the bundled recogniser under the flow.

    Where it has the action units of the faces, these are drawn over time, too.

    Parameters
    ----------
    prediction : Prediction
        Of a clip; of the bundled recogniser with the flow of each frame.
    path : path-like
        PNG file to write.
    record : SequenceRecord, optional
        The clip, whose onset and apex are then shown beside the curves.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from fastck.training.report.plots import save_figure

    people = prediction.people
    table = prediction.frames
    units = "AU12" in table
    heights = [5.5, 3.0] if units else [5.5]
    figure = Figure(figsize=(9.5, sum(heights) * len(people)), layout="constrained")
    FigureCanvasAgg(figure)
    clock = _clock(prediction)
    blocks: Any = figure.subfigures(len(people), 1, squeeze=False) if len(people) > 1 else [[figure]]
    pictures = {} if record is None else _frames_at(record, {frame for one in people for frame in one.span})
    for one, (block,) in zip(people, blocks, strict=True):
        upper = block
        if units:
            upper, lower = block.subfigures(2, 1, height_ratios=heights)
            _draw_units(lower, table[table["person"] == one.person], *clock)
        _draw_person(upper, one, pictures, clock)
        if len(people) > 1:
            text, colour = f"person {one.person}: {one.emotion or 'unsure'}", person_colour(one.person)
            block.suptitle(text, color=colour, weight="bold")
    answer = "" if len(people) > 1 else f": {prediction.emotion or 'unsure'}"
    said = f"   ({prediction.trained_on})" if prediction.trained_on else ""
    figure.suptitle(f"{prediction.clip}{answer}{said}", parse_math=False)
    save_figure(figure, Path(path))


def _frames_at(record: SequenceRecord, numbers: set[int]) -> dict[int, Gray]:
    """Return the frames of those numbers, counted from 1; what follows the last of them is not read."""
    frames = enumerate(islice(record_frames(record), max(numbers)), start=1)
    return {number: gray for number, gray in frames if number in numbers}


def _draw_person(block: Any, prediction: Prediction, pictures: dict[int, Gray], clock: tuple[Times, str]) -> None:
    """Draw one person's charts, face at onset and apex, and legend; the face's frame is in the person's colour."""
    charts, side = block.subfigures(1, 2, width_ratios=(5, 1))
    if isinstance(prediction, ClipPrediction):
        handles = _draw_readings(charts, prediction, *clock)
    else:
        handles = _draw_windows(charts, prediction, *clock)
    cells = side.subplots(3, 1)
    for axes in cells:
        axes.set_axis_off()
    if pictures:
        _draw_faces(cells, prediction, pictures, *clock)
    if handles:
        legend = cells[2].legend(handles=handles, loc="center", fontsize=8, frameon=False)
        for text in legend.get_texts():
            # A dollar sign in a name is no formula.
            text.set_parse_math(False)


def _draw_units(block: "SubFigure", own: "pd.DataFrame", times: Times, unit: str) -> None:
    """Draw how strong each action unit of a person is, over time."""
    from fastck.faces.units import STRONGEST, UNITS

    # A unit with two sides is as strong as its stronger side.
    names = [name for name in UNITS if "_" not in name]
    axes = block.subplots()
    values, places = own[names].to_numpy().T, np.arange(len(names))
    mesh = axes.pcolormesh(
        times(own["frame"].to_numpy()), places, values, cmap="Blues", vmin=0, vmax=STRONGEST, shading="nearest"
    )
    axes.set_yticks(places, names, fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel(unit, fontsize=8)
    block.colorbar(mesh, ax=axes, label="action units, intensity", pad=0.01)


def _clock(prediction: Prediction) -> tuple[Times, str]:
    """Return what places frames, counted from 1, on the axis, and its unit: seconds, or frames without times."""
    frames, first = np.unique(prediction.rows["frame"].astype(np.float64), return_index=True)
    seconds = prediction.rows["seconds"][first].astype(np.float64)
    if np.isfinite(seconds).all():
        return lambda places: np.interp(places, frames, seconds), "seconds"
    return np.asarray, "frame"


def _moment(frame: int, times: Times, unit: str) -> str:
    return f"{float(times(frame)):.2f} s" if unit == "seconds" else f"frame {frame}"


def _draw_faces(cells: Any, prediction: Prediction, pictures: dict[int, Gray], times: Times, unit: str) -> None:
    """Draw the face in the first and the last frame of the answer."""
    rows = prediction.rows
    at_rest = not isinstance(prediction, ClipPrediction) or prediction.reference in ("onset", None)
    names = ("onset" if at_rest else "begin", "apex")
    for axes, frame, name in zip(cells, prediction.span, names, strict=False):
        (place,) = np.nonzero((rows["person"] == prediction.person) & (rows["frame"] == frame))
        box = FaceBox(*(int(rows[name][place[0]]) for name in FaceBox._fields))
        axes.imshow(crop(pictures[frame], box), cmap="gray", vmin=0, vmax=255)
        axes.set_title(f"{name}, {_moment(frame, times, unit)}", fontsize=8)
        if prediction.others or prediction.person > 1:
            axes.set_axis_on()
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set(color=person_colour(prediction.person), linewidth=2.5)


def _draw_windows(charts: "SubFigure", prediction: Prediction, times: Times, unit: str) -> list[Any]:
    """Draw bars for one window, a line per emotion over several; return what a legend needs."""
    axes, table = charts.subplots(), prediction.table
    if len(table) == 1:
        places = range(len(prediction.probabilities))
        axes.barh(places, list(prediction.probabilities.values()))
        axes.set_yticks(places, list(prediction.probabilities), parse_math=False)
        axes.set_xlim(0, 1)
        axes.invert_yaxis()
        axes.set_xlabel("probability")
        return []
    middle = times((table["first_frame"] + table["last_frame"]) / 2)
    axes.set_prop_cycle(color=CLASSES)
    lines = [axes.plot(middle, table[f"p_{name}"], marker="o", label=name)[0] for name in prediction.probabilities]
    axes.set_ylim(0, 1)
    axes.set_xlabel(f"{unit} (middle of the window)")
    axes.set_ylabel("probability")
    return lines


def _draw_readings(charts: "SubFigure", prediction: ClipPrediction, times: Times, unit: str) -> list[Any]:
    """Draw the flow, how large it is and the probabilities over time; return what a legend needs."""
    prediction.check_flow()
    readings = prediction.readings
    shown = spread(readings)
    grid = charts.add_gridspec(3, PICTURES + 1, height_ratios=(1.1, 0.9, 1.8))
    rim = flow_rim(reading.moment.flow for reading in shown)
    for column, reading in enumerate(shown):
        axes = charts.add_subplot(grid[0, column])
        axes.imshow(flow_colours(reading.moment.flow, rim))
        axes.set_title(_moment(reading.moment.frame + 1, times, unit), fontsize=8)
        axes.set_xticks([])
        axes.set_yticks([])
    draw_wheel(charts.add_subplot(grid[0, PICTURES]))
    places = times([reading.moment.frame + 1 for reading in readings])
    size = charts.add_subplot(grid[1, :])
    size.plot(places, [100 * reading.moment.displacement for reading in readings], color="0.3")
    size.set_ylabel("motion, %")
    size.set_ylim(bottom=0)
    size.tick_params(labelbottom=False)
    chances = charts.add_subplot(grid[2, :], sharex=size)
    chances.set_prop_cycle(color=CLASSES)
    values = np.array([reading.probabilities for reading in readings])
    lines = [
        chances.plot(places, shares, label=name)[0]
        for name, shares in zip(prediction.probabilities, values.T, strict=True)
    ]
    chances.set_ylim(0, 1)
    chances.set_xlabel(f"{unit}\n{describe_colours(FlowConfig(), rim)}", fontsize=8)
    chances.set_ylabel("probability")
    for row in prediction.table.to_dict("records"):
        for axes in (size, chances):
            axes.axvspan(*times([row["first_frame"], row["last_frame"]]), color="0.9", zorder=0)
    return lines


def spread(readings: Sequence[Reading]) -> list[Reading]:
    """Return up to `PICTURES` readings, evenly over the clip, the last among them."""
    places = np.unique(np.linspace(0, len(readings) - 1, min(PICTURES, len(readings))).round().astype(int))
    return [readings[place] for place in places]
