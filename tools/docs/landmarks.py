"""Draws landmarks on real faces, those of `fastck.sample()`: `python -m tools.docs.landmarks` writes docs/images/."""

from matplotlib.figure import Figure

import fastck
from fastck.images.image import read_gray
from fastck.recognition.marks import find_marks, said_turn
from fastck.views.sheet import draw_points
from tools.docs.images import save, show

MARGIN = 0.2  # of the box's height, round the face


def main() -> None:
    """Draw each person's first and last frame, at rest and smiling."""
    folders = sorted((fastck.sample() / "cohn-kanade-images").glob("*/*"))
    figure = Figure(figsize=(8.6, 6.0))
    for column, folder in enumerate(folders):
        for row, path in enumerate(sorted(folder.glob("*.png"))[::4]):
            gray = read_gray(path)
            (box,) = fastck.detect_faces(gray)
            marks = find_marks(gray, box)
            axes = figure.add_subplot(2, len(folders), row * len(folders) + column + 1)
            show(axes, gray, f"{said_turn(marks)}; confidence {marks.landmarks.confidence:.2f}", top=255)
            draw_points(axes, marks, size=3)
            margin = MARGIN * (box.bottom - box.top)
            axes.set(xlim=(box.left - margin, box.right + margin), ylim=(box.bottom + margin, box.top - margin))
    save(figure, "landmarks", dpi=96, photographs=True)


if __name__ == "__main__":
    main()
