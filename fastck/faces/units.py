"""Action units of one face, frame by frame: how strong each one is, from its points and an aligned picture.

Two small networks, learnt from rendered people, see the frame beside the same face at rest, the reference: one by fine
cells and one by coarse patches. Their mean counts: they are wrong about different things. Where a face is not known at
rest the first one sees it beside the rendered average. Each sees the face and its mirror image.
"""

from collections.abc import Sequence
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastck.arrayfile import model_file
from fastck.faces.appearance import GRID, N_PATCHES, N_SHAPE, Look, Looker, stacked
from fastck.faces.box import FaceBox, Gray
from fastck.faces.dense import Floats
from fastck.faces.landmarks import LandmarkFinder, Landmarks
from fastck.faces.mirror import mirrored_look, mirrored_names
from fastck.faces.unit_network import CellNetwork, PatchNetwork
from fastck.kernels.landmarks import DIRECTIONS

BUNDLED = Path(__file__).with_name("units.npz")
FORMAT = 4  # raised when the file holds something else
STRONGEST = 5.0
ROWS = 32  # frames at a time: what the convolutions need for them stays in the cache
ONE_SIDED = ("AU01", "AU17", "AU18", "AU22", "AU24", "AU25", "AU26", "AU28")
TWO_SIDED = ("AU02", "AU04", "AU05", "AU06", "AU07", "AU09", "AU10", "AU12", "AU14", "AU15", "AU20", "AU45")
# By number; a unit with two sides is followed by its left and its right, which are the subject's own.
UNITS = tuple(sorted([*ONE_SIDED, *TWO_SIDED, *(f"{name}_{side}" for name in TWO_SIDED for side in ("left", "right"))]))
# What the networks give: the stronger side is taken from them.
OUTPUTS = tuple(name for name in UNITS if name not in TWO_SIDED)
OUTPUT_MIRROR = mirrored_names(OUTPUTS)


def to_units(outputs: Floats) -> Floats:
    """Return intensities in the order of UNITS for the networks' outputs: (N, 32) -> (N, 44), 0 to 5."""
    sided = dict(zip(OUTPUTS, np.clip(outputs, 0, STRONGEST).T, strict=True))
    for name in TWO_SIDED:
        sided[name] = np.maximum(sided[f"{name}_left"], sided[f"{name}_right"])
    return np.stack([sided[name] for name in UNITS], axis=1).astype(np.float32)


def both_ways(looks: Sequence[Look]) -> Look:
    """Return looks as one with a row for each, and then for each as its mirror image."""
    own = stacked(looks)
    return Look(*(np.concatenate(pair) for pair in zip(own, mirrored_look(own), strict=True)))


class UnitModel:
    """Intensities of the action units for what frames show of a face.

    Parameters
    ----------
    path : path-like, optional
        A model file; the bundled one by default.

    Attributes
    ----------
    about : dict
        How it was made: seed, people, figures.
    mean : Look
        The rendered average.
    thresholds : ndarray of shape (2, 44), float32
        From which intensity on a unit is said to be present, in the order of UNITS: where the face is known at rest,
        and beside the average.

    Raises
    ------
    ValueError
        If the file is no model that this version can read, or is damaged.
    OSError
        If it cannot be read.
    """

    def __init__(self, path: str | PathLike[str] = BUNDLED) -> None:
        self.about: dict[str, Any]
        with model_file(path, "action units", FORMAT) as (self.about, arrays):
            self.mean = Look(*(arrays[f"mean_{name}"].astype(np.float32) for name in Look._fields))
            self.thresholds = arrays["thresholds"].astype(np.float32)
            self._cells, self._patches = CellNetwork(arrays, "cells"), PatchNetwork(arrays, "patches")
            self._check()

    def _check(self) -> None:
        wanted = {
            "mean_shape": (self.mean.shape, (N_SHAPE,)),
            "mean_pose": (self.mean.pose, (3,)),
            "mean_patches": (self.mean.patches, (N_PATCHES,)),
            "mean_cells": (self.mean.cells, (GRID, GRID, DIRECTIONS)),
            "thresholds": (self.thresholds, (2, len(UNITS))),
        }
        for name, (values, shape) in wanted.items():
            if values.shape != shape or not np.isfinite(values).all():
                raise ValueError(f"{name} must be finite and of shape {shape}, got {values.shape}")
        for network in (self._cells, self._patches):
            if network.dense.outputs != len(OUTPUTS):
                raise ValueError(f"a network must give {len(OUTPUTS)} units, got {network.dense.outputs}")

    def intensities(self, looks: Sequence[Look], rest: Look | None = None) -> Floats:
        """Return the intensity of each unit, 0 to 5: (N, 44) float32 in the order of UNITS.

        Parameters
        ----------
        looks : sequence of Look
            A frame each.
        rest : Look, optional
            The same face at rest; without it the rendered average takes its place.
        """
        beside = both_ways([self.mean if rest is None else rest])
        found = [np.empty((0, len(UNITS)), np.float32)]
        for start in range(0, len(looks), ROWS):
            faces = both_ways(looks[start : start + ROWS])
            outputs = self._cells(faces, beside, self.mean.shape)
            if rest is not None:
                outputs = (outputs + self._patches(faces, beside)) / np.float32(2)
            own, mirrored = np.split(outputs, 2)
            found.append(to_units((own + mirrored[:, OUTPUT_MIRROR]) / np.float32(2)))
        return np.concatenate(found)

    def present(self, intensities: Floats, *, known: bool = True) -> NDArray[np.bool_]:
        """Return which units are there, of intensities (..., 44) beside a face known at rest, or beside the average."""
        return np.asarray(intensities >= self.thresholds[0 if known else 1])


@cache
def bundled_units() -> UnitModel:
    """Return the model that comes with the package, read once."""
    return UnitModel()


class UnitReader:
    """Looks at one frame's face after another, with buffers that are kept: not to be shared between threads.

    Parameters
    ----------
    model : UnitModel, optional
        The bundled one by default.
    """

    def __init__(self, model: UnitModel | None = None) -> None:
        self.model = model or bundled_units()
        self.find, self._looker = LandmarkFinder(), Looker()

    def __call__(self, gray: Gray, box: FaceBox) -> Look:
        """Return what action units are read from, for the face in a box."""
        return self.see(gray, self.find(gray, box))

    def see(self, gray: Gray, landmarks: Landmarks) -> Look:
        """Return the same for the face whose points are known."""
        return self._looker(gray, landmarks.points)
