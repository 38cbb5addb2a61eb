"""Draws the explanations' pictures from rendered faces: `python -m tools.docs.images` writes docs/images/*.png."""

import io
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from PIL import Image

from fastck import erode, frame_difference, preprocess, threshold
from fastck.config import Mode
from fastck.dataset.check import CKPLUS_EMOTIONS
from fastck.render import EASY, HARD, contact_sheet, render_dataset
from fastck.render.sheet import CAPTION
from fastck.training.data.folds import Split, leakage, make_splits
from fastck.training.settings.config import Protocol, TrainConfig
from fastck.views.preview import Preview, View, preview_clip

IMAGES = Path(__file__).parents[2] / "docs" / "images"
INK, FAINT, MOVED = "#1f2328", "#6e7781", "#e8710a"
LARGEST = 150_000  # bytes
HARD_PEOPLE = (4, 11, 13)  # the easy row's person; one with glasses; one with a fringe


def main() -> None:
    """Render a few people, and write every picture."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        faces = Path(folder) / "faces"
        render_dataset(faces, subjects=3, sequences=2, seed=0)
        table = preprocess(faces, Path(folder) / "store", box_cache=False).table
        folders = table.sort_values("n_box_changes", kind="stable")["folder"].tolist()
        write_wrapping(preview_clip(faces / folders[0], columns=60))
        write_one_box(preview_clip(faces / folders[-1], compare=True, columns=60))
        write_rendered_faces(Path(folder))
    write_splits()


def write_wrapping(preview: Preview) -> None:
    """Two crops, and what each mode makes of them before and after erosion."""
    crops = np.stack([np.asarray(crop) for crop in preview.views[0].stages["crop"]])
    density = preview.views[0].density
    assert density is not None, "a preview of masks has a density"
    step = int(np.argmax(density))
    pair = np.ascontiguousarray(crops[[step, step + 1]])
    modes: list[tuple[Mode, int, int]] = [
        ("wrap", 127, 5),
        ("absolute", 127, 5),
        ("absolute", 15, 2),
        ("saturate", 15, 2),
    ]
    figure = Figure(figsize=(9.2, 5.4))
    axes = figure.subplots(3, 5)
    for row, (axis, crop, text) in enumerate(
        zip(axes[:, 0], [*pair, None], ["frame t", "frame t + 1", ""], strict=True)
    ):
        axis.set_axis_off()
        if crop is not None:
            show(axis, crop, text, top=255)
        elif row == 2:
            axis.text(0.5, 0.5, "rows:\ndifference,\nthresholded,\neroded", ha="center", va="center", color=FAINT)
    for column, (mode, level, size) in enumerate(modes, start=1):
        difference = frame_difference(pair, mode=mode)
        mask = threshold(difference, level=level)
        show(axes[0, column], difference[0], f"{mode}", top=255)
        show(axes[1, column], mask[0], f"above {level}: {share(mask)}", top=255)
        eroded = erode(mask, size=size)
        show(axes[2, column], eroded[0], f"eroded {size}x{size}: {share(eroded)}", top=255)
    save(figure, "wrapping")


def write_one_box(preview: Preview) -> None:
    """The steps around a box change, cropped by both presets."""
    paper, stable = preview.views
    first = int(np.flatnonzero(paper.moved)[0])
    places = [place for place in range(first - 2, first + 4) if 0 <= place < preview.n_frames]
    figure = Figure(figsize=(9.2, 6.6))
    axes = figure.subplots(4, len(places))
    rows: list[tuple[View, str]] = [(paper, "crop"), (paper, "mask"), (stable, "crop"), (stable, "mask")]
    for line, (view, stage) in zip(axes, rows, strict=True):
        for axis, place in zip(line, places, strict=True):
            picture = view.stages[stage][place]
            top = 255 if stage == "crop" else 1
            moved = bool(view.moved[place])
            text = f"frame {place + 1}" if stage == "crop" else f"{100 * np.mean(np.asarray(picture)):.1f} % on"
            show(axis, np.zeros((2, 2)) if picture is None else np.asarray(picture), text, top=top)
            for spine in axis.spines.values():
                spine.set(visible=moved, color=MOVED, linewidth=2.5)
        line[0].set_ylabel(f"{view.name}: {stage}", color=INK)
    save(figure, "one-box")


def write_rendered_faces(folder: Path) -> None:
    """A row of the easy set over three of the hard set, at the apex."""
    easy = Image.open(contact_sheet(folder / "easy.png", subjects=[4], variation=EASY))
    hard = Image.open(contact_sheet(folder / "hard.png", subjects=HARD_PEOPLE, variation=HARD))
    # The second sheet's captions would repeat the first's.
    below = hard.crop((0, CAPTION, hard.width, hard.height))
    sheet = Image.new("L", (easy.width, easy.height + below.height), 255)
    sheet.paste(easy.convert("L"), (0, 0))
    sheet.paste(below.convert("L"), (0, easy.height))
    size = (sheet.width * 3 // 4, sheet.height * 3 // 4)
    write_picture(sheet.resize(size, Image.Resampling.LANCZOS), "rendered-faces", colours=64)


def write_splits() -> None:
    """Who is tested on whom: CK+'s labelled sequences under a random split and under subject-independent folds."""
    table = ckplus_like_table()
    figure = Figure(figsize=(9.2, 4.2))
    protocols: tuple[Protocol, Protocol] = ("random", "subject-10fold")
    for axis, protocol in zip(figure.subplots(2, 1), protocols, strict=True):
        config = TrainConfig(protocol=protocol, per_emotion=0)
        splits = make_splits(table, config)
        grid = split_grid(table, splits[0])
        axis.imshow(
            grid, aspect="auto", cmap=ListedColormap(["#ffffff", "#c9d1d9", "#1f6feb", "#cf222e"]), vmin=0, vmax=3
        )
        shared = 100 * leakage(table, splits)
        axis.set_title(f"{protocol}: {shared:.0f} % of the tested sequences show a person of the training set", size=10)
        axis.set(yticks=[], xlabel="118 subjects, one column each" if protocol != "random" else "")
        axis.tick_params(labelsize=7)
    figure.text(
        0.01, 0.01, "gray: trains    blue: tests, new person    red: tests, person known from training", color=FAINT
    )
    save(figure, "splits", foot=0.07)


def ckplus_like_table() -> pd.DataFrame:
    """Return a table with CK+'s counts: 327 labelled sequences of 118 subjects, none with an emotion twice."""
    rng = np.random.default_rng(0)
    left = dict(CKPLUS_EMOTIONS)
    owned: dict[int, list[int]] = {subject: [] for subject in range(118)}
    for code, count in sorted(left.items(), key=lambda item: -item[1]):
        for subject in rng.permutation(118)[:count]:
            owned[int(subject)].append(code)
    for subject, codes in owned.items():  # nobody without a label: take one from somebody with many
        if not codes:
            donor = max(owned, key=lambda other: len(owned[other]))
            owned[subject].append(owned[donor].pop())
    rows = [(f"S{subject:03d}_{code:03d}", f"S{subject:03d}", code) for subject in owned for code in owned[subject]]
    table = pd.DataFrame(rows, columns=["sequence", "subject", "emotion"]).astype({"emotion": "Int64"})
    return table.assign(n_frames=18, length=17)


def split_grid(table: pd.DataFrame, split: Split) -> np.ndarray:
    """Return for each place and subject 0 nothing, 1 trains, 2 tests, 3 tests though its subject trains."""
    subjects = sorted(table["subject"].unique())
    trained = set(table.loc[table["sequence"].isin(split.train), "subject"])
    grid = np.zeros((6, len(subjects)))
    for column, subject in enumerate(subjects):
        names: Sequence[str] = table.loc[table["subject"] == subject, "sequence"].tolist()
        for row, name in enumerate(sorted(names)[:6]):
            tests = name in split.test
            grid[row, column] = (3 if subject in trained else 2) if tests else 1
    return grid


def show(axis: Axes, picture: np.ndarray, text: str, *, top: float) -> None:
    """Draw one gray picture with a line above it."""
    axis.set(xticks=[], yticks=[])
    axis.imshow(picture, cmap="gray", vmin=0, vmax=top)
    axis.set_title(text, size=8.5, color=INK, pad=3)


def share(mask: np.ndarray) -> str:
    """Return how much of a mask is on."""
    return f"{100 * np.mean(mask > 0):.1f} % on"


def save(figure: Figure, name: str, *, foot: float = 0.0, dpi: int = 110, photographs: bool = False) -> None:
    """Write a picture with few colours, so that it stays small; with photographs in it with some more."""
    figure.tight_layout(pad=0.6, rect=(0, foot, 1, 1))
    data = io.BytesIO()
    figure.savefig(data, dpi=dpi, facecolor="white")
    if photographs:
        # What is drawn over them has colours that few pixels have.
        write_picture(Image.open(data), name, colours=160, method=Image.Quantize.MAXCOVERAGE)
    else:
        write_picture(Image.open(data), name)


def write_picture(
    picture: Image.Image,
    name: str,
    *,
    colours: int = 32,
    method: Image.Quantize = Image.Quantize.MEDIANCUT,
) -> None:
    """Write a picture with few colours, so that it stays small."""
    path = IMAGES / f"{name}.png"
    picture.convert("RGB").quantize(colours, method=method, dither=Image.Dither.NONE).save(path, optimize=True)
    size = path.stat().st_size
    if size > LARGEST:
        raise ValueError(f"{path} has {size} bytes, more than {LARGEST}")
    print(f"{path}: {size} bytes")


if __name__ == "__main__":
    main()
