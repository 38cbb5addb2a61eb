"""Draws the whole way of a real smile, from frames to a prediction: docs/images/overview.png.

    fastck render people --subjects 24 --sequences 7
    fastck preprocess people store --preset stable --features flow
    python -m tools.docs.overview store

The smile is one of `fastck.sample()`; the model behind the prediction is trained on the rendered people alone.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastck import EMOTIONS, FaceBox, Store, open_store, preprocess, sample
from fastck.views.flow import draw_wheel, flow_colours, flow_rim
from fastck.views.preview import preview_store
from tools.docs.images import INK, show

TARGET = Path(__file__).parents[2] / "docs" / "images" / "overview.png"
SEQUENCE = "L032_001"
BLUE, ORANGE = "#1f6feb", "#e8710a"
LARGEST = 150_000  # bytes
# One raised corner of the mouth: the six basic emotions are what is asked for.
CONTEMPT = 2


def main(rendered: str) -> None:
    """Take the real smile through all stages, train on the rendered people, draw."""
    with tempfile.TemporaryDirectory() as folder:
        store = preprocess(sample(), Path(folder) / "store", preset="stable", features=("mask", "projection", "flow"))
        preview = preview_store(store, SEQUENCE, root=sample())
        flow = store.sequence(SEQUENCE, "flow")[-1]
        projections = store.sequence(SEQUENCE, "projection")
        masks = store.sequence(SEQUENCE, "mask")
        box = FaceBox(*store.boxes[store.row(SEQUENCE).frame_start].tolist())
    model = train(open_store(rendered))
    shares = dict(zip(model.classes_, model.predict_proba([values_of(flow)])[0], strict=True))
    figure = Figure(figsize=(9.2, 6.4), facecolor="white")
    parts: Any = figure.subfigures(3, 1, height_ratios=[1.35, 1.45, 1.7])
    top, middle, bottom = parts
    draw_frames(top, preview.frames, box)
    draw_masks(middle, preview.views[0].stages["crop"], masks)
    draw_features(bottom, projections, flow)
    draw_prediction(bottom, shares)
    save(figure)


def train(store: Store) -> Any:
    """Fit logistic regression to the flow, onset to apex, of people who show the six basic emotions."""
    table = store.table[store.table["emotion"] != CONTEMPT]
    rows = [values_of(store.sequence(name, "flow")[-1]) for name in table["sequence"]]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    return model.fit(rows, table["emotion"].map(EMOTIONS).to_numpy(str))


def values_of(flow: np.ndarray) -> np.ndarray:
    """Return a step's flow as one row of numbers."""
    return np.ravel(flow)


def title(part: SubFigure, x: float, text: str) -> None:
    """Write what a row shows above it."""
    part.text(x, 0.97, text, size=10.5, color=INK, weight="bold", va="top")


def row_of_axes(part: SubFigure, count: int) -> np.ndarray:
    """Return axes side by side below a title."""
    return part.subplots(1, count, gridspec_kw={"left": 0.01, "right": 0.99, "top": 0.79, "bottom": 0.02})


def draw_frames(part: SubFigure, frames: list[Any], box: FaceBox) -> None:
    """Draw frames from onset to apex with the face box."""
    title(part, 0.012, "1  Frames from onset to apex; one face box for the sequence")
    for place, (axis, frame) in enumerate(zip(row_of_axes(part, len(frames)), frames, strict=True)):
        name = {0: " (onset)", len(frames) - 1: " (apex)"}.get(place, "")
        show(axis, frame, f"frame {place + 1}{name}", top=255)
        size = box.right - box.left, box.bottom - box.top
        axis.add_patch(Rectangle((box.left, box.top), *size, fill=False, color=ORANGE, linewidth=1.6))
        axis.set(xlim=(60, 580), ylim=(480, 60))


def draw_masks(part: SubFigure, crops: list[Any], masks: np.ndarray) -> None:
    """Draw the motion masks, step by step, over faint crops."""
    title(part, 0.012, "2  Crops of 267x267 pixels; motion masks: difference, threshold, erosion of each step")
    axes = row_of_axes(part, len(crops))
    show(axes[0], crops[0], "crop 1", top=255)
    for place, (axis, crop, mask) in enumerate(zip(axes[1:], crops[1:], masks, strict=True)):
        picture = np.repeat(np.asarray(crop)[..., None], 3, axis=-1) // 2 + 110
        picture[mask > 0] = (31, 111, 235)
        show(axis, picture, f"step {place + 1}", top=255)


def draw_features(part: SubFigure, projections: np.ndarray, flow: np.ndarray) -> None:
    """Draw the projections of all steps and the flow of the last one."""
    title(part, 0.012, "3  Features, in memory-mapped files")
    rows = part.add_axes((0.045, 0.09, 0.3, 0.68))
    rows.imshow(np.concatenate([projections[:, 1], projections[:, 0]], axis=1), cmap="magma", aspect="auto")
    rows.set_title("projections: row means, column means", size=8.5, color=INK, pad=3)
    rows.set(xticks=[], yticks=range(len(projections)), yticklabels=range(1, len(projections) + 1))
    rows.set_ylabel("step", size=8)
    rows.tick_params(labelsize=7)
    moved = part.add_axes((0.365, 0.09, 0.24, 0.68))
    show(moved, flow_colours(flow, flow_rim([flow])), "optical flow, onset to apex", top=1)
    draw_wheel(part.add_axes((0.585, 0.09, 0.05, 0.16)))


def draw_prediction(part: SubFigure, shares: dict[str, float]) -> None:
    """Draw the probability of each emotion."""
    title(part, 0.66, "4  Prediction")
    axis = part.add_axes((0.735, 0.09, 0.25, 0.68))
    names = [name for name in EMOTIONS.values() if name in shares][::-1]
    axis.barh(names, [shares[name] for name in names], color=BLUE)
    for place, name in enumerate(names):
        axis.text(shares[name] + 0.02, place, f"{100 * shares[name]:.0f} %", va="center", size=8, color=INK)
    axis.set(xlim=(0, 1.2), xticks=[])
    axis.tick_params(labelsize=8.5, length=0)
    axis.spines[["top", "right", "bottom"]].set_visible(False)
    axis.set_title("from the flow; model trained on rendered people", size=8.5, color=INK, pad=3, loc="right")


def save(figure: Figure) -> None:
    """Write the picture with 96 grays and 160 colours, so that it stays small."""
    figure.savefig(TARGET, dpi=130)
    picture = Image.open(TARGET).convert("RGB")
    colours = (picture.quantize(160, Image.Quantize.MAXCOVERAGE).getpalette() or [])[: 3 * 160]
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.repeat(np.linspace(0, 255, 96).astype(int), 3).tolist() + colours)
    picture.quantize(palette=palette, dither=Image.Dither.NONE).save(TARGET, optimize=True)
    size = TARGET.stat().st_size
    if size > LARGEST:
        raise ValueError(f"{TARGET} has {size} bytes, more than {LARGEST}")
    print(f"{TARGET}: {size} bytes")


if __name__ == "__main__":
    main(sys.argv[1])
