"""What all the networks learn from: which frames are shown how often, and how references vary."""

import numpy as np
from numpy.typing import NDArray

from fastck.faces.units import OUTPUT_MIRROR, OUTPUTS, UNITS
from tools.units.fit import Floats

MOST_RESTING = 4  # frames that a reference is the mean of
REFERENCES = 8  # of a person, to be drawn from
STAINED, STAIN = 0.25, 0.3  # share of the references with some of the frame itself in them, and how much at most
OFFSET = 0.02  # of a person's points, shares of the eye corners' distance: real points lie elsewhere than rendered ones
JITTER = 0.004  # of a frame's points
LOPSIDED, MORE_LOPSIDED = 1.5, 2  # difference of intensity between the sides; how often more such rows are shown
# Intensity from which on a mouth smiles, how often more it is shown smiling with lips that are closed: a dimpler looks
# nearly the same, and is rarer.
SMILING, MORE_SMILING = 0.7, 2
# Units that are seen least, from which intensity on, and how often more.
RARE, CLEARLY, MORE_RARE = ("AU18", "AU28"), 1.5, 2


def mixed(one: Floats, other: Floats, share: Floats) -> Floats:
    """Return rows of one array with a share (N,) of another one's in each."""
    share = share.reshape(-1, *[1] * (one.ndim - 1))
    return np.asarray((1 - share) * one + share * other, np.float32)


def wanted_of(truth: Floats) -> Floats:
    """Return what the networks should give for frames whose units are (N, 44)."""
    return truth[:, [UNITS.index(name) for name in OUTPUTS]]


def shown_rows(usable: NDArray[np.intp], wanted: Floats) -> NDArray[np.intp]:
    """Return the rows that are shown in a pass: the usable ones, and those of rare kinds several times."""
    rare = (wanted[:, [OUTPUTS.index(name) for name in RARE]] >= CLEARLY).any(axis=1)
    # Most faces move both sides alike.
    shown = ((lopsided(wanted), MORE_LOPSIDED), (closed_smile(wanted), MORE_SMILING), (rare, MORE_RARE))
    return np.concatenate([usable, *[usable[these] for these, times in shown for _ in range(times)]])


def lopsided(wanted: Floats) -> NDArray[np.bool_]:
    """Return which rows have a unit that is far stronger on one side than on the other."""
    return np.asarray((np.abs(wanted - wanted[:, OUTPUT_MIRROR]) >= LOPSIDED).any(axis=1))


def closed_smile(wanted: Floats) -> NDArray[np.bool_]:
    """Return which rows show a mouth that smiles with closed lips, on both sides."""
    smile, dimple = (
        wanted[:, [OUTPUTS.index(f"{name}_{side}") for side in ("left", "right")]].min(axis=1)
        for name in ("AU12", "AU14")
    )
    return (smile >= SMILING) & (smile > dimple) & (wanted[:, OUTPUTS.index("AU25")] < SMILING)
