"""Draws a real smile on its way to an answer: `python -m tools.docs.animation` writes docs/images/smile.gif.

Frame by frame, the apex held: the face box, the 68 landmarks, the motion mask, the flow since the onset, the answer.
The smile is one of `fastck.sample()`; box, landmarks and recogniser know no real person.
"""

import io
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

import fastck
from fastck.dataset.clip import clip_record
from fastck.faces.box import FaceBox, Gray, crop
from fastck.images.image import read_gray
from fastck.pages.palette import LIGHT, SECOND
from fastck.recognition.clip import ClipPrediction, recognise
from fastck.recognition.follow import Reading
from fastck.views.flow import flow_colours, flow_rim

TARGET = Path(__file__).parents[2] / "docs" / "images" / "smile.gif"
CLIP = "cohn-kanade-images/L032/001"
LARGEST = 2_000_000  # bytes
SIZE, DPI = (8.4, 3.5), 100  # inches; pixels an inch
STEP, HOLD = 350, 2600  # milliseconds of a frame, and of the apex
COLOURS = 224
SIDE = 267
# With the paper's level of 127 a smile of five frames switches hardly anything on.
LEVEL, FOOTPRINT = 12, 2


def main() -> None:
    """Take the smile through everything, and draw a picture for each frame."""
    record = clip_record(fastck.sample() / CLIP)
    prediction = recognise(record, keep_flow=True)
    grays = [read_gray(path) for path in record.frames]
    pictures = draw_all(grays, prediction)
    first, *others = reduced(pictures)
    times = [STEP] * len(others) + [HOLD]
    first.save(TARGET, save_all=True, append_images=others, duration=times, loop=0, optimize=True)
    size = TARGET.stat().st_size
    if size > LARGEST:
        raise ValueError(f"{TARGET} has {size} bytes, more than {LARGEST}")
    print(f"{TARGET}: {size} bytes")


def draw_all(grays: list[Gray], prediction: ClipPrediction) -> list[Image.Image]:
    """Return one picture for each frame."""
    # One box for the whole clip, as preset "stable" has it: a mask shows the face's motion, not the box's.
    box = prediction.readings[-1].box
    crops = np.stack([crop(gray, box, side=SIDE) for gray in grays])
    difference = fastck.frame_difference(crops, mode="absolute")
    masks = fastck.erode(fastck.threshold(difference, level=LEVEL), size=FOOTPRINT)
    masks = np.concatenate([np.zeros((1, SIDE, SIDE), np.uint8), masks])
    rim = flow_rim(reading.moment.flow for reading in prediction.readings)
    return [
        draw(gray, mask, reading, list(prediction.probabilities), rim)
        for gray, mask, reading in zip(grays, masks, prediction.readings, strict=True)
    ]


def draw(gray: Gray, mask: Gray, reading: Reading, names: list[str], rim: float) -> Image.Image:
    """Draw one frame: box and landmarks, mask, flow, answer."""
    figure = Figure(figsize=SIZE, dpi=DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 3, width_ratios=(2.35, 1, 1.65))
    draw_face(figure.add_subplot(grid[:, 0]), gray, reading.box)
    shown: list[tuple[np.ndarray, str]] = [
        (mask, "motion mask"),
        (flow_colours(reading.moment.flow, rim), "flow since the onset"),
    ]
    for row, (picture, title) in enumerate(shown):
        axes = figure.add_subplot(grid[row, 1])
        axes.imshow(picture, cmap="gray", vmin=0, vmax=max(int(mask.max()), 1), interpolation="antialiased")
        tidy(axes, title)
    draw_answer(figure.add_subplot(grid[:, 2]), reading, names)
    data = io.BytesIO()
    figure.savefig(data, format="png")
    return Image.open(data).convert("RGB")


def draw_face(axes: Axes, gray: Gray, box: FaceBox) -> None:
    """Draw the frame with its box and landmarks."""
    points = fastck.detect_landmarks(gray, [box])[0]
    top, left, bottom, right = box
    axes.imshow(gray, cmap="gray", vmin=0, vmax=255)
    axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=SECOND, linewidth=2.5))
    axes.scatter(points[:, 0], points[:, 1], s=11, color="#ffbc4d", edgecolor="black", linewidth=0.4)
    # The face and some of what is round it.
    margin = 0.2 * (bottom - top)
    axes.set(xlim=(left - margin, right + margin), ylim=(min(bottom + margin, len(gray)), max(top - margin, 0)))
    tidy(axes, "face box, 68 landmarks")


def draw_answer(axes: Axes, reading: Reading, names: list[str]) -> None:
    """Draw the probabilities as bars, the answer above them."""
    places = np.arange(len(names))
    best = int(np.argmax(reading.probabilities))
    colours = [LIGHT["bar"] if place == best else "#9aa4af" for place in places]
    axes.barh(places, reading.probabilities, color=colours)
    axes.set_yticks(places, names, fontsize=11)
    axes.set(xlim=(0, 1), xticks=[])
    axes.invert_yaxis()
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    share = 100 * float(reading.probabilities[best])
    axes.set_title(f"{reading.emotion or 'unsure'}, {share:.0f} %", fontsize=14, weight="bold", color=LIGHT["ink"])


def tidy(axes: Axes, title: str) -> None:
    """Leave the ticks out, and write what a picture shows above it."""
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=11, color=LIGHT["ink"])


def reduced(pictures: list[Image.Image]) -> list[Image.Image]:
    """Return the pictures in one palette: the file is small, and gray does not flicker."""
    whole = Image.fromarray(np.concatenate([np.asarray(picture) for picture in pictures]))
    # Few pixels have a colour: a median cut would spend its palette on gray levels.
    palette = whole.quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE)
    return [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]


if __name__ == "__main__":
    main()
