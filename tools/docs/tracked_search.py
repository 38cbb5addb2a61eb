"""Draws what the tracked search looks at: `python -m tools.docs.tracked_search` writes images/tracked-search.png."""

import tempfile
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fastck.faces.search import FRAME, LEVEL, FrameSearch, Window
from fastck.faces.tracking import find_largest
from fastck.faces.weights import frontal_bank
from fastck.images.image import read_gray
from fastck.render import render_dataset

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "tracked-search.png"
INK, WHOLE, PART = "#1f2328", "#3d6fd6", "#e8710a"
CELL = 8  # pixels


class Recorder(FrameSearch):
    """A search that remembers which windows it was asked for."""

    def load(self, gray: np.ndarray) -> None:
        """Forget the last frame's windows, too."""
        super().load(gray)
        self.asked: dict[int, Window] = {}

    def search(self, windows: dict[int, Window], *, least: float = 0.0) -> None:
        """Remember the windows and search them."""
        self.asked.update(windows)
        super().search(windows, least=least)


def main() -> None:
    """Search a rendered sequence's second frame as the tracked search does, and draw every level."""
    with tempfile.TemporaryDirectory() as folder:
        render_dataset(Path(folder) / "faces", subjects=1, sequences=1, seed=4)
        first, second = (read_gray(path) for path in sorted(Path(folder).rglob("*.png"))[:2])
    search = Recorder(first.shape, 1, frontal_bank())
    search.load(first)
    last = find_largest(search, start=search.levels - 1)
    assert last is not None, "the rendered face was not found"
    search.load(second)
    face = find_largest(search, start=int(last[LEVEL]))
    assert face is not None, "the rendered face was lost"
    figure = Figure(figsize=(9.2, 5.2))
    axes = figure.subplots(3, 5).ravel()
    for level, axis in enumerate(axes[: search.levels]):
        draw_level(axis, search, level)
    left, top, right, bottom = face[FRAME]
    scale = search.pyramid.shapes[0][0] / second.shape[0]
    box = np.array([[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]) * scale
    axes[0].plot(*box.T, color=INK, lw=1)
    for axis in axes[search.levels :]:
        axis.set_axis_off()
    figure.tight_layout(pad=0.4)
    figure.savefig(PICTURE, dpi=86)


def draw_level(axis: Axes, search: Recorder, level: int) -> None:
    """Draw a level's pixels, faint where no window was scored."""
    height, width = search.pyramid.shapes[level]
    pixels = search.pyramid.images[level][:, :width]
    rows, columns = search.pyramid.windows[level]
    top, left, bottom, right = search.asked.get(level, (0, 0, 0, 0))
    seen = np.zeros(pixels.shape, bool)
    seen[max(0, CELL * (top - 8)) : CELL * (bottom + 1), max(0, CELL * (left - 8)) : CELL * (right + 1)] = bottom > top
    step = max(1, width // 220)
    faint = np.where(seen, pixels, 205 + pixels // 6)[::step, ::step]
    axis.imshow(faint, cmap="gray", vmin=0, vmax=255, extent=(0, width, height, 0))
    scored, windows = (bottom - top) * (right - left), rows * columns
    colour = WHOLE if scored == windows else PART if scored else INK
    if scored:
        y, x = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
        corners = [(x[0], y[0]), (x[-1], y[0]), (x[-1], y[-1]), (x[0], y[-1]), (x[0], y[0])]
        axis.plot(*np.array(corners).T, color=colour, lw=2)
    axis.set_title(f"{level}: {scored:,} of {windows:,}".replace(",", " "), fontsize=9, color=colour)
    axis.set_xticks([])
    axis.set_yticks([])


if __name__ == "__main__":
    main()
