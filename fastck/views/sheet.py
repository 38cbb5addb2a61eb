"""Draws a `Preview` as one picture: rows are stages, columns are frames from onset to apex."""

import warnings
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastck.config import FlowConfig
from fastck.outputs import check_output, replacing
from fastck.pages.palette import DARK_CLASSES, FIRST, LIGHT, MISSED, MOVED, SECOND
from fastck.views.flow import describe_colours, draw_wheel, flow_colours, flow_rim
from fastck.views.preview import Preview, View

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fastck.recognition.marks import Marks

COLOURS = (FIRST, SECOND)
INK, FAINT = LIGHT["ink"], LIGHT["faint"]
CELL, LABELS, TICKS, STRIP = (
    1.15,
    1.6,
    0.42,
    1.15,
)  # inches: a picture's side, the names, axis texts, a heat map's height
WHEEL = 0.62  # inches across, beside the flow
DPI = 130
SHOWN_UNITS = 6  # the strongest ones of a frame
STAGE_NAMES = {
    "units": "action units,\n0 to 5",
    "crop": "crop",
    "difference": "difference",
    "threshold": "thresholded",
    "mask": "eroded mask",
    "pool134": "pooled 134",
    "pool67": "pooled 67",
    "pool34": "pooled 34",
    "flow": "optical flow",
}


def save_sheet(preview: Preview, path: str | PathLike[str]) -> Path:
    """Draw a sheet of all stages.

    Parameters
    ----------
    preview : Preview
    path : path-like
        PNG file to write (or any format that matplotlib knows by its suffix).

    Returns
    -------
    path : Path

    Raises
    ------
    ValueError
        If matplotlib does not know the suffix, or `path` is one of the frames.
    OSError
        If the file cannot be written.
    """
    path = Path(path)
    if preview.record is not None:
        check_output(path, preview.record.files())
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a name in a script the font lacks shows as boxes
        figure = draw_sheet(preview)
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=DPI, facecolor="white")
    return path


def draw_sheet(preview: Preview) -> "Figure":
    """Return the sheet as a matplotlib figure, without a display or pyplot's global state."""
    from matplotlib.figure import Figure

    rows = _picture_rows(preview)
    strips = [(view, kind) for kind in ("columns", "rows") for view in preview.views if view.projections is not None]
    n_strips = len(strips) + bool(strips)
    aspect = preview.shape[0] / preview.shape[1]
    heights = [aspect if name == "frame" else 1.0 for name, _ in rows]
    columns = len(preview.shown)
    width = LABELS + columns * CELL + 0.25
    top, bottom = 0.82, 0.62
    rim = flow_rim(flow for view in preview.views for flow in view.stages.get("flow", []))
    height = top + CELL * sum(heights) + STRIP * n_strips + 0.3 * bool(strips) + bottom
    figure = Figure(figsize=(width, height))
    _draw_title(figure, preview, height)
    y = height - top
    for (name, view), share in zip(rows, heights, strict=True):
        y -= CELL * share
        _draw_label(figure, _row_label(preview, name, view), view, preview, (y + CELL * share / 2) / height)
        for column, frame in enumerate(preview.shown):
            box = ((LABELS + column * CELL) / width, y / height, CELL * 0.955 / width, CELL * share * 0.955 / height)
            axes = figure.add_axes(box)
            _draw_picture(axes, preview, name, view, column, rim)
            if y + CELL * share > height - top - 0.01:
                _draw_heading(axes, preview, frame)
        if name == "flow":
            middle = y + CELL * share / 2
            draw_wheel(figure.add_axes((0.12 / width, (middle - WHEEL / 2) / height, WHEEL / width, WHEEL / height)))
    _draw_strips(figure, preview, strips, y - 0.3, width, height)
    _draw_legend(figure, preview, height, rim)
    return figure


def draw_points(axes: "Axes", marks: "Marks", *, size: float) -> None:
    """Draw landmarks, `size` points across, and the head's three axes over a frame."""
    from fastck.recognition.marks import AXES, NOSE, axis_ends

    points = marks.landmarks.points
    axes.plot(*points.T, "o", color=DARK_CLASSES[5], markeredgecolor="black", markersize=size, markeredgewidth=size / 5)
    for end, colour in zip(axis_ends(marks), AXES, strict=True):
        axes.plot(*np.stack([points[NOSE], end]).T, color=colour, linewidth=size)


def _picture_rows(preview: Preview) -> list[tuple[str, View | None]]:
    """Return the rows of pictures: the frames once, each stage once per view so that like stands below like."""
    rows: list[tuple[str, View | None]] = [("frame", None), *[("units", None)] * bool(preview.units)]
    for name in preview.views[0].stages:
        rows += [(name, view) for view in preview.views]
    return rows


def _row_label(preview: Preview, name: str, view: View | None) -> str:
    text = "frame, face box" if name == "frame" and preview.frames else STAGE_NAMES.get(name, "face box")
    return f"{text}\n{view.name}" if view is not None and len(preview.views) > 1 else text


def _colour(preview: Preview, view: View | None) -> str:
    many = view is not None and len(preview.views) > 1
    return COLOURS[[other is view for other in preview.views].index(True)] if many else INK


def _draw_title(figure: "Figure", preview: Preview, height: float) -> None:
    config = preview.configs[0]
    motion = config.motion
    settings = f"{motion.mode}, level {motion.level}, footprint {motion.size}x{motion.size}"
    counts = "; ".join(
        f"{view.name}: {view.moved.sum()} box changes, {view.missed.sum()} frames without a face"
        if preview.frames
        else f"{view.name}: {view.moved.sum()} box changes"
        for view in preview.views
    )
    # parse_math off: a name may hold anything, and "$" is no formula here.
    figure.text(
        0.15 / figure.get_figwidth(), 1 - 0.22 / height, preview.title, size=13, weight="bold", va="center",
        color=INK, parse_math=False,
    )  # fmt: skip
    line = f"{preview.n_frames} frames of {preview.shape[1]}x{preview.shape[0]}; {settings}; {counts}"
    figure.text(0.15 / figure.get_figwidth(), 1 - 0.45 / height, line, size=8.5, va="center", color=FAINT)


def _draw_label(
    figure: "Figure", text: str, view: View | None, preview: Preview, y: float, *, indent: float = 0.0
) -> None:
    x = (LABELS - 0.12 - indent) / figure.get_figwidth()
    figure.text(x, y, text, size=9, ha="right", va="center", color=_colour(preview, view), linespacing=1.35)


def _draw_heading(axes: "Axes", preview: Preview, frame: int) -> None:
    ends = {0: " onset", preview.n_frames - 1: " apex"}
    axes.set_title(f"{frame + 1}{ends.get(frame, '')}", size=8.5, color=INK, pad=3)


def _draw_picture(axes: "Axes", preview: Preview, name: str, view: View | None, column: int, rim: float) -> None:
    frame = preview.shown[column]
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color=LIGHT["line"], linewidth=0.6)
    if name == "frame":
        _draw_frame(axes, preview, column)
        return
    if name == "units":
        _draw_units(axes, preview.units[column])
        return
    assert view is not None  # only the frames' row has none
    picture = view.stages[name][column]
    if picture is None:
        axes.set_facecolor(LIGHT["soft"])
        axes.text(0.5, 0.5, "no step\nyet", size=7, ha="center", va="center", color=FAINT, transform=axes.transAxes)
    elif name == "flow":
        axes.imshow(flow_colours(picture, rim), interpolation="nearest", aspect="auto")
    else:
        top = 255 if picture.dtype == np.uint8 and name != "mask" else 1
        axes.imshow(picture, cmap="gray", vmin=0, vmax=top, interpolation="antialiased", aspect="auto")
    _mark(axes, view, frame)


def _draw_units(axes: "Axes", intensities: NDArray[np.float32] | None) -> None:
    """Draw the strongest action units of a frame as bars; one with two sides is as strong as its stronger side."""
    from fastck.faces.units import STRONGEST, UNITS

    if intensities is None:
        return
    strength = {name: float(value) for name, value in zip(UNITS, intensities, strict=True) if "_" not in name}
    best = sorted(strength, key=strength.__getitem__, reverse=True)[:SHOWN_UNITS]
    axes.barh(range(len(best)), [strength[name] for name in best], color=LIGHT["line"])
    axes.set(xlim=(0, STRONGEST), ylim=(SHOWN_UNITS - 0.4, -0.6))
    for row, name in enumerate(best):
        axes.text(0.1, row, f"{name} {strength[name]:.1f}", size=6, va="center", color=INK)


def _draw_frame(axes: "Axes", preview: Preview, column: int) -> None:
    from matplotlib.patches import Rectangle

    frame = preview.shown[column]
    height, width = preview.shape
    if preview.frames:
        axes.imshow(preview.frames[column], cmap="gray", vmin=0, vmax=255, aspect="auto")
    else:
        axes.set_facecolor(LIGHT["soft"])
    axes.set(xlim=(0, width), ylim=(height, 0))
    if preview.marks and (marks := preview.marks[column]) is not None:
        draw_points(axes, marks, size=1.5)
    for view in preview.views:
        top, left, bottom, right = view.boxes[frame]
        missed = bool(view.missed[frame])
        axes.add_patch(
            Rectangle(
                (left, top),
                right - left,
                bottom - top,
                fill=False,
                linewidth=1.4,
                linestyle=":" if missed else "-",
                edgecolor=COLOURS[[other is view for other in preview.views].index(True)],
            )
        )


def _mark(axes: "Axes", view: View, frame: int) -> None:
    """Frame a cell whose box is new, or borrowed because no face was found."""
    colour = MISSED if view.missed[frame] else MOVED if view.moved[frame] else None
    if colour:
        for spine in axes.spines.values():
            spine.set(color=colour, linewidth=1.8)


def _draw_strips(
    figure: "Figure", preview: Preview, strips: list[tuple[View, str]], y: float, width: float, height: float
) -> None:
    """Draw the projections over time, all steps, and above them how much moves; frames run from left to right."""
    if not strips:
        return
    span = len(preview.shown) * CELL * 0.995
    brightest = max(float(view.projections.max()) for view, _ in strips if view.projections is not None) or 1.0

    def axes_at(level: float) -> Any:
        return figure.add_axes((LABELS / width, level / height, span / width, STRIP * 0.86 / height))

    y -= STRIP
    _draw_density(axes_at(y), preview)
    _draw_label(figure, "moving pixels\nper step, %", None, preview, (y + STRIP * 0.43) / height, indent=TICKS)
    for number, (view, kind) in enumerate(strips):
        y -= STRIP
        axes = axes_at(y)
        assert view.projections is not None  # strips hold no others
        values = view.projections[:, 0 if kind == "columns" else 1]
        limits = (1.5, preview.n_frames + 0.5, values.shape[1], 0)
        axes.imshow(
            values.T, extent=limits, aspect="auto", cmap="magma", vmin=0, vmax=brightest, interpolation="nearest"
        )
        axes.set(xlim=(0.5, preview.n_frames + 0.5), facecolor=LIGHT["soft"])
        ends = ("left", "right") if kind == "columns" else ("top", "bottom")
        axes.set_yticks((values.shape[1] * 0.06, values.shape[1] * 0.94), ends)
        _tidy_strip(axes, preview, last=number == len(strips) - 1)
        _draw_moves(axes, view)
        label = "column means" if kind == "columns" else "row means"
        label += f"\n{view.name}" if len(preview.views) > 1 else ""
        _draw_label(figure, label, view, preview, (y + STRIP * 0.43) / height, indent=TICKS)


def _draw_density(axes: "Axes", preview: Preview) -> None:
    for view, colour in zip(preview.views, COLOURS, strict=False):
        density = view.density
        if density is not None:
            axes.plot(np.arange(2, preview.n_frames + 1), 100 * density, color=colour, linewidth=1.4, marker=".", ms=4)
    axes.set(xlim=(0.5, preview.n_frames + 0.5))
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", color=LIGHT["line"], linewidth=0.7)
    axes.set_axisbelow(True)
    _tidy_strip(axes, preview, last=False)


def _tidy_strip(axes: "Axes", preview: Preview, *, last: bool) -> None:
    for spine in axes.spines.values():
        spine.set(color=LIGHT["line"], linewidth=0.6)
    step = max(1, -(-preview.n_frames // 24))
    axes.set_xticks(range(1, preview.n_frames + 1, step))
    axes.tick_params(axis="x", labelsize=7, colors=FAINT, length=2, labelbottom=last)
    axes.tick_params(axis="y", labelsize=7, colors=FAINT, length=0, pad=3)
    if last:
        axes.set_xlabel("frame", size=8, color=FAINT, labelpad=1)


def _draw_moves(axes: "Axes", view: View) -> None:
    """Point at the frames whose box is new (above) and those without a face (below)."""
    for places, colour, level, marker in ((view.moved, MOVED, 0.92, "v"), (view.missed, MISSED, 0.08, "^")):
        at = np.flatnonzero(places) + 1
        style: dict[str, Any] = {
            "color": colour,
            "ms": 6,
            "mec": "white",
            "mew": 0.7,
            "linestyle": "none",
            "marker": marker,
        }
        axes.plot(at, np.full(len(at), level), transform=axes.get_xaxis_transform(), **style)


def _draw_legend(figure: "Figure", preview: Preview, height: float, rim: float) -> None:
    parts: list[tuple[str, str]] = []
    if any(view.moved.any() for view in preview.views):
        parts.append(("▼ ▢ the box differs from the frame before", MOVED))
    if any(view.missed.any() for view in preview.views):
        parts.append(("▲ ▢ no face found: the box of a frame before is used", MISSED))
    if "flow" in preview.views[0].stages:
        parts.append((describe_colours(preview.configs[0].flow or FlowConfig(), rim), INK))
    if preview.note:
        parts.append((preview.note, FAINT))
    x = 0.15
    for text, colour in parts:
        drawn = figure.text(x / figure.get_figwidth(), 0.15 / height, text, size=8, color=colour, va="center")
        x += drawn.get_window_extent().width / figure.dpi + 0.3
