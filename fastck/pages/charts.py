"""Small charts as inline SVG: no script, no font, colours from the page's CSS variables."""

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

WIDTH = 380  # user units, between a phone's and a column's pixels: text keeps its size nearly
LEFT, ROW, RIGHT = 92, 26, 56  # room for names; height of a row; room for numbers
LONGEST = 12  # letters of a name that are shown
HEIGHT, FOOT, ORIGIN = 190, 44, 36  # of a histogram; room for its axis; where it begins


def bar_chart(values: Mapping[str, float], *, unit: str = "") -> str:
    """Return horizontal bars, one per name.

    Parameters
    ----------
    values : mapping of str to float
        At least 0.
    unit : str
        Stands behind each number.
    """
    most = max([*values.values(), 1e-9])
    parts = []
    for row, (name, value) in enumerate(values.items()):
        y = row * ROW
        length = value / most * (WIDTH - LEFT - RIGHT)
        parts.append(_text(LEFT - 8, y + 17, name, anchor="end"))
        parts.append(f'<rect class="bar" x="{LEFT}" y="{y + 4}" width="{length:.1f}" height="{ROW - 8}" rx="2"/>')
        parts.append(_text(LEFT + length + 6, y + 17, f"{value:g}{unit}"))
    return _svg(parts, height=len(values) * ROW + 4, label=", ".join(f"{name} {v:g}" for name, v in values.items()))


def histogram(
    values: NDArray[np.float64] | Sequence[float],
    *,
    axis: str,
    whole: bool = False,
    mark: tuple[float, str] | None = None,
) -> str:
    """Return a histogram.

    Parameters
    ----------
    values : array-like of shape (n,)
        At least 0; n >= 1.
    axis : str
        What is counted, with its unit.
    whole : bool
        The values are whole numbers: every bin holds as many of them.
    mark : (float, str), optional
        A value to draw a line at, and what it stands for.
    """
    values = np.asarray(values, np.float64)
    top = max(float(values.max()), mark[0] if mark else 0.0, 1.0)
    if whole:
        step = max(1, int(np.ceil((top + 1) / 40)))
        edges = np.arange(0, top + 1 + step, step) - 0.5
    else:
        edges = np.linspace(0, _round_up(top), 31)
    counts, edges = np.histogram(values, edges)
    plot_width, plot_height = WIDTH - ORIGIN - 8, HEIGHT - FOOT - 18
    scale = plot_width / (edges[-1] - edges[0])
    base = HEIGHT - FOOT

    def at(value: float) -> float:
        return ORIGIN + (value - edges[0]) * scale

    parts = [f'<line class="axis" x1="{ORIGIN}" y1="{base}" x2="{WIDTH - 8}" y2="{base}"/>']
    most = int(counts.max())
    for count, left, right in zip(counts, edges[:-1], edges[1:], strict=True):
        height = count / most * plot_height
        if count:
            title = f"<title>{max(left, 0):.3g} to {right:.3g}: {count}</title>"
            parts.append(
                f'<rect class="bar" x="{at(left) + 0.5:.1f}" y="{base - height:.1f}" '
                f'width="{max((right - left) * scale - 1, 1):.1f}" height="{height:.1f}">{title}</rect>'
            )
    for tick in _ticks(edges[-1], smallest=1.0 if whole else 0.0):
        parts.append(_text(at(tick), base + 16, f"{tick:g}", anchor="middle", faint=True))
    parts.append(_text(ORIGIN - 6, base - plot_height + 4, str(most), anchor="end", faint=True))
    parts.append(_text(ORIGIN - 6, base, "0", anchor="end", faint=True))
    parts.append(_text(ORIGIN + plot_width / 2, base + 36, axis, anchor="middle", faint=True))
    if mark:
        x = at(mark[0])
        parts.append(f'<line class="mark" x1="{x:.1f}" y1="4" x2="{x:.1f}" y2="{base}"/>')
        anchor, gap = ("end", -6) if x > WIDTH / 2 else ("start", 6)
        parts.append(_text(x + gap, 14, mark[1], anchor=anchor, marked=True))
    return _svg(parts, height=HEIGHT, label=f"histogram: {axis}")


def strip_chart(groups: Mapping[str, NDArray[np.float64]], *, axis: str) -> str:
    """Return one row of dots per group with a line at its median.

    Parameters
    ----------
    groups : mapping of str to ndarray of shape (n,), float64
        At least 0; n >= 1 each.
    axis : str
        What the values are, with their unit.
    """
    top = _round_up(max(float(values.max()) for values in groups.values()) or 1.0)
    scale = (WIDTH - LEFT - 16) / top
    parts = []
    for row, (name, values) in enumerate(groups.items()):
        y = row * ROW + 13
        parts.append(_text(LEFT - 8, y + 4, name, anchor="end"))
        parts.append(f'<line class="grid" x1="{LEFT}" y1="{y}" x2="{WIDTH - 16}" y2="{y}"/>')
        parts += [f'<circle class="dot" cx="{LEFT + value * scale:.1f}" cy="{y}" r="4"/>' for value in values]
        x = LEFT + float(np.median(values)) * scale
        parts.append(f'<line class="median" x1="{x:.1f}" y1="{y - 9}" x2="{x:.1f}" y2="{y + 9}"/>')
    base = len(groups) * ROW
    for tick in _ticks(top):
        parts.append(_text(LEFT + tick * scale, base + 14, f"{tick:g}", anchor="middle", faint=True))
    parts.append(_text(WIDTH / 2, base + 34, axis, anchor="middle", faint=True))
    return _svg(parts, height=base + FOOT, label=axis)


def curve_chart(curves: Mapping[str, tuple[NDArray[np.int64], NDArray[np.float64]]], *, most: float = 0.0) -> str:
    """Return up to two quantities over the epochs, each as a thick mean of thin curves.

    Parameters
    ----------
    curves : mapping of str to (ndarray of shape (E,), int64; ndarray of shape (E, K), float64)
        One or two, each with its epochs and the values of K fits at them, NaN where a fit had ended.
    most : float
        The axis reaches at least to it.
    """
    top = _round_up(max([most, *(float(np.nanmax(values)) for _, values in curves.values())]) or 1.0)
    last = max([2, *(int(epochs.max()) for epochs, _ in curves.values())])
    base, head = HEIGHT - FOOT + 24, 46
    parts = []
    for tick in _ticks(top):
        y = base - tick / top * (base - head)
        parts.append(f'<line class="grid" x1="{ORIGIN}" y1="{y:.1f}" x2="{WIDTH - 8}" y2="{y:.1f}"/>')
        parts.append(_text(ORIGIN - 6, y + 4, f"{tick:g}", anchor="end", faint=True))

    def points(epochs: NDArray[np.int64], values: NDArray[np.float64]) -> str:
        there = ~np.isnan(values)
        x = ORIGIN + (epochs[there] - 1) / (last - 1) * (WIDTH - ORIGIN - 8)
        y = base - values[there] / top * (base - head)
        # A single epoch is a line too short to see.
        if len(x) == 1:
            x, y = x[0] + np.array([0.0, 4.0]), np.repeat(y, 2)
        return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))

    for number, (name, (epochs, values)) in enumerate(curves.items()):
        single = [] if values.shape[1] == 1 else list(values.T)
        parts += [f'<polyline class="curve{number} single" points="{points(epochs, column)}"/>' for column in single]
        parts.append(f'<polyline class="curve{number}" points="{points(epochs, np.nanmean(values, axis=1))}"/>')
        y = 10 + number * 17
        parts.append(f'<polyline class="curve{number}" points="{ORIGIN},{y} {ORIGIN + 24},{y}"/>')
        parts.append(_text(ORIGIN + 30, y + 4, name))
    parts.append(_text(ORIGIN, base + 16, "1", anchor="middle", faint=True))
    parts.append(_text(WIDTH - 8, base + 16, f"{last} epochs", anchor="end", faint=True))
    return _svg(parts, height=base + 24, label=f"{', '.join(curves)} over {last} epochs")


def matrix_chart(counts: NDArray[np.float64], names: Sequence[str]) -> str:
    """Return a confusion matrix: true class by row, each cell its number on the share of its row.

    Parameters
    ----------
    counts : ndarray of shape (C, C)
    names : sequence of str
        Of the classes; long ones are cut, and whole in the cells' titles.
    """
    counts = np.asarray(counts, np.float64)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    short = [name if len(name) <= LONGEST else name[: LONGEST - 1] + "\u2026" for name in names]
    side, head = min((WIDTH - LEFT - 4) / len(names), 60.0), 22
    parts = [_text(LEFT, 13, "predicted; one row for each true class", faint=True)]
    for row, column in np.ndindex(*counts.shape):
        x, y, share = LEFT + column * side, head + row * side, float(shares[row, column])
        title = f"<title>{escape(f'{names[row]} taken for {names[column]}: {100 * share:.0f} %')}</title>"
        parts.append(
            f'<rect class="bar" x="{x:.1f}" y="{y:.1f}" width="{side - 1:.1f}" height="{side - 1:.1f}" '
            f'fill-opacity="{0.06 + 0.94 * share:.2f}">{title}</rect>'
        )
        kind = ' class="inverse"' if share > 0.5 else ""
        text = f'x="{x + side / 2:.1f}" y="{y + side / 2 + 4:.1f}" text-anchor="middle"{kind}'
        parts.append(f"<text {text}>{counts[row, column]:g}</text>")
    base = head + len(names) * side
    for index, name in enumerate(short):
        middle = (index + 0.5) * side
        parts.append(_text(LEFT - 8, head + middle + 4, name, anchor="end"))
        x, y = LEFT + middle + 4, base + 12
        parts.append(
            f'<text transform="translate({x:.1f} {y:.1f}) rotate(-45)" text-anchor="end">{escape(name)}</text>'
        )
    return _svg(parts, height=base + 80, label="confusion matrix")


def _svg(parts: Sequence[str], *, height: float, label: str) -> str:
    head = f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(label)}">'
    return head + "".join(parts) + "</svg>"


def _text(x: float, y: float, text: str, *, anchor: str = "start", faint: bool = False, marked: bool = False) -> str:
    kind = ' class="faint"' if faint else ' class="marked"' if marked else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{kind}>{escape(text)}</text>'


def _round_up(value: float) -> float:
    """Return the next of 1, 2, 2.5, 4, 5, 8, 10 times a power of ten."""
    power = 10 ** np.floor(np.log10(value))
    return float(next(step * power for step in (1, 2, 2.5, 4, 5, 8, 10) if step * power >= value * (1 - 1e-9)))


def _ticks(top: float, *, smallest: float = 0.0) -> list[float]:
    """Return 0 and up to five round values below `top`, at least `smallest` apart."""
    step = max(_round_up(top / 5), smallest)
    return [float(value) for value in np.arange(0, top + step * 1e-6, step)]
