"""Pictures of a run: confusion matrix and curves."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fastck.pages.palette import LIGHT
from fastck.training.files import write_file


def new_figure(width: float, height: float) -> tuple[Any, Any]:
    """Figure and axes that need no display and leave pyplot's state alone."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure as a PNG file, the whole file or nothing."""
    write_file(path, lambda temporary: figure.savefig(temporary, dpi=120, format="png"))


def plot_confusion(counts: np.ndarray, names: Sequence[str], path: Path) -> None:
    """Draw a confusion matrix as a PNG file.

    Parameters
    ----------
    counts : ndarray of shape (C, C)
        True class by row; the number is written into each cell, the colour is its share of the row.
    names : sequence of str
        Classes.
    path : Path
        PNG file.
    """
    figure, axes = new_figure(1.6 + 0.75 * len(names), 1.2 + 0.7 * len(names))
    totals = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, label="share of the true emotion", shrink=0.8)
    # A dollar sign in a name is no formula.
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", parse_math=False)
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title("Confusion matrix of the test sequences")
    for row, column in np.ndindex(*counts.shape):
        colour = "white" if share[row, column] > 0.5 else "black"
        axes.text(column, row, f"{counts[row, column]:g}", ha="center", va="center", color=colour)
    save_figure(figure, path)


def plot_curves(history: pd.DataFrame, quantity: str, path: Path, *, validation: str = "validation") -> None:
    """Draw a quantity over the epochs, training and validation, as a PNG file.

    Parameters
    ----------
    history : DataFrame
        Columns repeat, fold, epoch, `quantity` and "val_" + `quantity`.
    quantity : {"accuracy", "loss"}
        What to draw; with several folds each is a thin line, their mean a thick one.
    path : Path
        PNG file.
    validation : str
        How the second curve is called.
    """
    figure, axes = new_figure(7, 4.2)
    for column, label, colour in (
        (quantity, "training", LIGHT["bar"]),
        (f"val_{quantity}", validation, LIGHT["mark"]),
    ):
        curves = history.pivot_table(index="epoch", columns=["repeat", "fold"], values=column, dropna=True)
        if curves.empty:
            continue
        # A dot where there is a single epoch, which no line would show.
        marker = "o" if len(curves) == 1 else None
        if curves.shape[1] > 1:
            axes.plot(curves.index, curves.to_numpy(), color=colour, alpha=0.25, linewidth=0.8)
            label = f"{label}, mean of {curves.shape[1]}"
        axes.plot(curves.index, curves.mean(axis=1), color=colour, linewidth=1.8, marker=marker, label=label)
    axes.set_xlabel("epoch")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_ylabel(quantity)
    if quantity == "accuracy":
        axes.set_ylim(0, 1.02)
    axes.set_title(quantity.capitalize())
    axes.grid(alpha=0.3)
    axes.legend()
    save_figure(figure, path)
