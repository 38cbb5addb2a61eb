"""Which sequences of a store are used: those with the emotions asked for, and as many of each."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from fastck.config import TIMESTEPS
from fastck.dataset.labels import label_name
from fastck.training.settings.classes import count_text, with_classes


def select(
    table: pd.DataFrame, *, classes: Sequence[str], timesteps: int = TIMESTEPS, too_long: str = "error"
) -> pd.DataFrame:
    """Return the rows of a store's table that are of one of `classes`, in the table's order.

    Parameters
    ----------
    table : DataFrame
        A store's table; columns sequence, subject, label (else emotion), n_frames and length are used.
    classes : sequence of str
        Names of labels, or CK+'s codes.
    timesteps : int
        Longest sequence, in steps, that fits.
    too_long : {"error", "skip", "first", "last"}
        "skip" leaves longer sequences out, "error" raises; the others keep them (they are cut on reading).

    Returns
    -------
    selected : DataFrame
        Same columns and label, fresh index.

    Raises
    ------
    ValueError
        If a class has no sequence, or a sequence is too long and `too_long` is "error".
    """
    table, names = with_classes(table), [label_name(name) for name in classes]
    chosen = table[table["label"].isin(names) & (table["length"] > 0)]
    long = chosen[chosen["length"] > timesteps]
    if len(long) and too_long == "error":
        first = long.iloc[0]
        raise ValueError(
            f"{len(long)} sequences have more than timesteps={timesteps} steps, for example "
            f"{first['sequence']} with {first['length']}; raise timesteps, or choose too_long='last', 'first' or 'skip'"
        )
    if too_long == "skip":
        chosen = chosen.drop(long.index)
    missing = [name for name in names if not (chosen["label"] == name).any()]
    if missing:
        raise ValueError(
            f"no sequence is labelled {', '.join(missing)}; the store has {count_text(table)}: choose classes among "
            "these, or all of them with classes all"
        )
    return chosen.reset_index(drop=True)


def balance(
    table: pd.DataFrame, *, per_emotion: int, mean_frames: float | None = None, rng: np.random.Generator
) -> pd.DataFrame:
    """Keep the same number of sequences of each class, of a similar mean number of frames (paper, fig. 5).

    Parameters
    ----------
    table : DataFrame
        Selected rows; columns label (else emotion) and n_frames are used.
    per_emotion : int
        Sequences to keep of each class; 0 keeps all.
    mean_frames : float, optional
        Frames per sequence aimed at in each class; None aims at the mean of `table`, 0 draws blindly.
    rng : numpy.random.Generator
        Draws the sequences.

    Returns
    -------
    balanced : DataFrame
        Chosen rows in the order of `table`.

    Raises
    ------
    ValueError
        If a class has fewer than `per_emotion` sequences, or `mean_frames` is not a number of frames.
    """
    if mean_frames is not None and not 0 <= mean_frames < math.inf:
        raise ValueError(f"mean_frames must be at least 0 and finite, got {mean_frames}")
    if per_emotion == 0:
        return table.reset_index(drop=True)
    target = float(table["n_frames"].mean()) if mean_frames is None else float(mean_frames)
    chosen: list[int] = []
    for label, rows in table.groupby(with_classes(table)["label"], sort=True):
        if len(rows) < per_emotion:
            raise ValueError(
                f"{label} has {len(rows)} sequences to choose from, fewer than per_emotion={per_emotion}; "
                f"choose at most {len(rows)}, or 0 for no balancing"
            )
        picks = rng.permutation(len(rows))
        frames = rows["n_frames"].to_numpy(dtype=np.float64)
        kept = picks[:per_emotion] if target == 0 else _near_mean(frames, picks, per_emotion, target)
        chosen.extend(rows.index[kept])
    return table.loc[sorted(chosen)].reset_index(drop=True)


def _near_mean(frames: np.ndarray, order: np.ndarray, count: int, target: float) -> np.ndarray:
    """Positions of `count` values, drawn in `order`, then swapped while that brings the mean closer to `target`."""
    kept, left = order[:count].copy(), order[count:].copy()
    while left.size:
        gap = target * count - frames[kept].sum()
        after = np.abs(gap - (frames[left][None, :] - frames[kept][:, None]))
        inside, outside = np.unravel_index(np.argmin(after), after.shape)
        if after[inside, outside] >= abs(gap):
            break
        kept[inside], left[outside] = left[outside], kept[inside]
    return kept
