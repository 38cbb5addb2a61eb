"""Action units of one face, frame by frame: how strong each one is, from its points and aligned patches.

Two networks, both learnt from rendered people. The absolute one sees the frame beside the rendered average. The
relative one also sees how the same face looks at rest, the reference: what a face is like matters less to it.
"""

from collections.abc import Sequence
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastck.arrayfile import model_file
from fastck.faces.appearance import N_PATCHES, N_SHAPE, Look, Looker
from fastck.faces.box import FaceBox, Gray
from fastck.faces.dense import Dense, Floats, blas, read_dense
from fastck.faces.landmarks import LandmarkFinder, Landmarks

BUNDLED = Path(__file__).with_name("units.npz")
FORMAT = 1  # raised when the networks are of another kind
STRONGEST = 5.0
ONE_SIDED = ("AU01", "AU17", "AU18", "AU22", "AU24", "AU25", "AU26", "AU28")
TWO_SIDED = ("AU02", "AU04", "AU05", "AU06", "AU07", "AU09", "AU10", "AU12", "AU14", "AU15", "AU20", "AU45")
# By number; a unit with two sides is followed by its left and its right, which are the subject's own.
UNITS = tuple(sorted([*ONE_SIDED, *TWO_SIDED, *(f"{name}_{side}" for name in TWO_SIDED for side in ("left", "right"))]))
# What the networks give: the stronger side is taken from them.
OUTPUTS = tuple(name for name in UNITS if name not in TWO_SIDED)
SHAPE_SCALE, POSE_SCALE, PATCH_SCALE = np.float32(20), np.float32(3), np.float32(5)  # of the networks' inputs


def to_units(outputs: Floats) -> Floats:
    """Return intensities in the order of UNITS for the networks' outputs: (N, 32) -> (N, 44), 0 to 5."""
    sided = dict(zip(OUTPUTS, np.clip(outputs, 0, STRONGEST).T, strict=True))
    for name in TWO_SIDED:
        sided[name] = np.maximum(sided[f"{name}_left"], sided[f"{name}_right"])
    return np.stack([sided[name] for name in UNITS], axis=1).astype(np.float32)


class Seen(NamedTuple):
    """What the networks' first layers make of one look, small enough to be kept for each frame.

    Attributes
    ----------
    absolute, relative : ndarray of shape (H,), float32
        Sums of either network's first layer, the relative one's without a reference.
    rest : ndarray of shape (H,), float32
        What the relative one's sums lose with this look as the reference.
    pose : ndarray of shape (3,), float32
        The head's, as the look has it.
    """

    absolute: Floats
    relative: Floats
    rest: Floats
    pose: Floats


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
    thresholds : ndarray of shape (44,), float32
        From which intensity on a unit is said to be present, in the order of UNITS.

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
            self.absolute: Dense = read_dense(arrays, "absolute")
            self.relative: Dense = read_dense(arrays, "relative")
            self._check()
        self._join()

    def _check(self) -> None:
        wanted = {
            "mean_shape": (self.mean.shape, (N_SHAPE,)),
            "mean_pose": (self.mean.pose, (3,)),
            "mean_patches": (self.mean.patches, (N_PATCHES,)),
            "thresholds": (self.thresholds, (len(UNITS),)),
            "absolute": (self.absolute.kernels[0][:, 0], (N_SHAPE + 3 + N_PATCHES,)),
            "relative": (self.relative.kernels[0][:, 0], (2 * (N_SHAPE + 3) + N_PATCHES,)),
        }
        for name, (values, shape) in wanted.items():
            if values.shape != shape or not np.isfinite(values).all():
                raise ValueError(f"{name} must be finite and of shape {shape}, got {values.shape}")
        for name, network in (("absolute", self.absolute), ("relative", self.relative)):
            if len(network.biases[-1]) != len(OUTPUTS):
                raise ValueError(f"{name} must give {len(OUTPUTS)} units, got {len(network.biases[-1])}")

    def _join(self) -> None:
        """Lay what the first layers take of one look side by side: it passes through memory once.

        The absolute network takes how shape and patches differ from the average, and the pose; the relative one how
        they differ from those at rest, and shape less the average and the pose as well.
        """
        level, turn, patches = np.split(self.absolute.kernels[0], np.cumsum([N_SHAPE, 3]))
        change, other_level, other_turn, turned, other_patches = np.split(
            self.relative.kernels[0], np.cumsum([N_SHAPE, N_SHAPE, 3, 3])
        )
        self._shape = np.hstack([level, other_level + change, -change]) * SHAPE_SCALE
        self._pose = np.hstack([turn, other_turn + turned, -turned]) * POSE_SCALE
        self._patches = np.hstack([patches, other_patches]) * PATCH_SCALE
        mean_shape, mean_patches = self.mean.shape * SHAPE_SCALE, self.mean.patches * PATCH_SCALE
        self._bias = np.concatenate([
            self.absolute.biases[0] - mean_shape @ level - mean_patches @ patches,
            self.relative.biases[0] - mean_shape @ other_level,
            np.zeros_like(self.relative.biases[0]),
        ])  # fmt: skip
        # Where the absolute network's part ends, and the relative one's.
        self._ends = np.cumsum([level.shape[1], change.shape[1]])

    def see(self, look: Look) -> Seen:
        """Return what the networks make of a frame before they know of a reference; its arrays may have rows."""
        with blas().limit(limits=1, user_api="blas"):
            shown = look.shape @ self._shape + look.pose @ self._pose + self._bias
            own, other = np.split(look.patches @ self._patches, self._ends[:1], axis=-1)
        absolute, relative, rest = np.split(shown, self._ends, axis=-1)
        return Seen(absolute + own, relative + other, rest - other, look.pose)

    def intensities(self, seen: Sequence[Seen], rest: Floats | None = None) -> Floats:
        """Return the intensity of each unit, 0 to 5: (N, 44) float32 in the order of UNITS.

        Parameters
        ----------
        seen : sequence of Seen
            A frame each.
        rest : ndarray of shape (H,), float32, optional
            The `rest` of the same face at rest; without it the rendered average takes its place.
        """
        if rest is None:
            return to_units(self.absolute.after_first(np.stack([one.absolute for one in seen])))
        return to_units(self.relative.after_first(np.stack([one.relative for one in seen]) + rest))

    def present(self, intensities: Floats) -> NDArray[np.bool_]:
        """Return which units are there, of intensities (..., 44)."""
        return np.asarray(intensities >= self.thresholds)


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

    def __call__(self, gray: Gray, box: FaceBox) -> Seen:
        """Return what action units are read from, for the face in a box."""
        return self.see(gray, self.find(gray, box))

    def see(self, gray: Gray, landmarks: Landmarks) -> Seen:
        """Return the same for the face whose points are known."""
        return self.model.see(self.look(gray, landmarks))

    def look(self, gray: Gray, landmarks: Landmarks) -> Look:
        """Return how that face looks: its shape, its turn and its patches."""
        return self._looker(gray, landmarks.points)
