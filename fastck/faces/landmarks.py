"""The 68 points of a face in iBUG's order: linear steps on oriented gradients, fitted to rendered people.

The supervised descent method (Xiong and De la Torre, 2013): each step looks at the picture round the points as they
are, and moves them by a linear function of what it sees. The first one sees the whole box.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from fastck.faces.box import Gray
from fastck.kernels import landmarks as kernels
from fastck.kernels.landmarks import DIRECTIONS

BUNDLED = Path(__file__).with_name("landmarks.npz")
FORMAT = 2  # raised when the steps are of another kind
POINTS = 68
INNER = slice(17, POINTS)  # all but the outline
EYE_CORNERS = (36, 45)
CUT_SIDE, CUT_SPAN = 176, 2.0  # pixels; how many boxes wide the picture is that is looked into
BOX_SIDE, BOX_SPAN, BOX_GRID = 64, 1.5, 8  # pixels; boxes that the first step sees; its patches along a side
SHAPE_SIDE, SHAPE_SPAN = 80, 1.25  # pixels; extents of the points that later steps see
SHAPE_WEIGHT = 0.1  # of a pixel off the mean shape beside a patch, whose length is 1

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step: `cell` pixels, `cells` of them along a patch's side, and whether the face is laid upright before it."""

    cell: float
    cells: int
    upright: bool


BOX_STEP = Step(cell=4.0, cells=2, upright=False)
STEPS = (
    Step(cell=10.0, cells=2, upright=True),
    Step(cell=8.0, cells=2, upright=True),
    Step(cell=6.0, cells=2, upright=False),
    Step(cell=4.5, cells=2, upright=False),
    Step(cell=3.5, cells=2, upright=False),
)


class Landmarks(NamedTuple):
    """The points of one face.

    Attributes
    ----------
    points : ndarray of shape (68, 2), float32
        Column and row of each point in pixels; a pixel's centre lies at whole numbers.
    confidence : float
        1 - 10 * expected mean error in shares of the distance between the outer eye corners, 0 to 1: 0.8 expects an
        error of 0.02. Calibrated on rendered people.
    """

    points: NDArray[np.float32]
    confidence: float


def box_frame(box: Sequence[float] | NDArray[Any]) -> Floats:
    """Return the (2, 3) matrix from the first step's pixels to those that the box (top, left, bottom, right) is in.

    A box is half-open: its left edge lies half a pixel before the centre of its first column.
    """
    top, left, bottom, right = (float(edge) for edge in box)
    step = BOX_SPAN * max(bottom - top, right - left) / BOX_SIDE
    column, row = (left + right - 1) / 2, (top + bottom - 1) / 2
    half = step * (BOX_SIDE - 1) / 2
    return np.array([[step, 0, column - half], [0, step, row - half]])


def similarity(source: NDArray[Any], target: NDArray[Any]) -> Floats:
    """Return the (2, 3) matrix that brings points over others, by turning, scaling and moving; by least squares."""
    # As complex numbers a turn and a scale are one factor.
    one, other = (np.ascontiguousarray(points, np.float64).view(np.complex128)[:, 0] for points in (source, target))
    origin, middle = one.sum() / len(one), other.sum() / len(other)
    one = one - origin
    factor = np.vdot(one, other) / np.vdot(one, one).real
    offset = middle - factor * origin
    return np.array([[factor.real, -factor.imag, offset.real], [factor.imag, factor.real, offset.imag]])


def shape_frame(points: NDArray[Any], mean: NDArray[Any]) -> Floats:
    """Return the (2, 3) matrix from the later steps' pixels to those of `points` (68, 2): mean shape to points.

    A similarity, by least squares over all points but the outline's.
    """
    return similarity(mean[INNER], points[INNER])


def warp(picture: Gray, frame: Floats, side: int) -> Gray:
    """Return the picture as seen through a frame, (side, side); its edge is repeated outside."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(picture, frame, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE))


def seen_through(frame: Floats, points: NDArray[Any]) -> Floats:
    """Return points (N, 2) of a frame's pixels in the pixels that it looks at."""
    return np.asarray(cv2.transform(points[:, None], frame)[:, 0])


def cut_place(box: Sequence[float] | NDArray[Any]) -> tuple[NDArray[np.int64], int]:
    """Return where the square around a box begins, row and column, and its side; in pixels, perhaps outside."""
    top, left, bottom, right = (float(edge) for edge in box)
    half = CUT_SPAN * max(bottom - top, right - left) / 2
    return np.floor([(top + bottom) / 2 - half, (left + right) / 2 - half]).astype(int), int(np.ceil(2 * half))


def in_view(box: Sequence[float] | NDArray[Any], gray: Gray) -> bool:
    """Return whether the square around a box has a pixel in common with an image: what `cut_out` needs."""
    first, extent = cut_place(box)
    return bool((first + extent > 0).all() and (first < gray.shape).all())


def cut_out(gray: Gray, box: Sequence[float] | NDArray[Any]) -> tuple[Gray, Floats]:
    """Return the picture around a box, (CUT_SIDE, CUT_SIDE), and the (2, 3) matrix from its pixels to the image's."""
    first, extent = cut_place(box)
    # By whole numbers first: means of 2x2 and more are fast, and what is left is less than a factor of 2.
    factor = max(extent // CUT_SIDE, 1)
    extent += -extent % factor
    missing = np.maximum(-first, 0)
    inside = gray[max(first[0], 0) : first[0] + extent, max(first[1], 0) : first[1] + extent]
    beyond = extent - missing - inside.shape
    cut = cv2.copyMakeBorder(inside, missing[0], beyond[0], missing[1], beyond[1], cv2.BORDER_REPLICATE)
    step = extent / CUT_SIDE
    # Resizing keeps the edges in place, not the centres of the first pixels.
    offset = (step - 1) / 2
    matrix = np.array([[step, 0, first[1] + offset], [0, step, first[0] + offset]])
    if factor > 1:
        cut = cv2.resize(cut, (extent // factor, extent // factor), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(cut, (CUT_SIDE, CUT_SIDE), interpolation=cv2.INTER_LINEAR)), matrix


@dataclass(frozen=True, kw_only=True)
class LandmarkModel:
    """What the model file holds.

    Attributes
    ----------
    about : dict
        How it was made: seed, people, figures.
    mean : ndarray of shape (68, 2), float32
        The mean shape in the later steps' pixels.
    head : ndarray of shape (68, 3), float32
        The points on the head model's neutral face, decimetres: x to the subject's left, y up, z out of the face.
    weights : list of ndarray of shape (N, D), int8
        Of each step, the first one's first; the last one's last row says the log of the error. The file has them the
        other way round.
    scales, biases : list of ndarray of shape (N,), float32
        A weight is its byte times its row's scale.
    """

    about: dict[str, Any]
    mean: NDArray[np.float32]
    head: NDArray[np.float32]
    weights: list[NDArray[np.int8]]
    scales: list[NDArray[np.float32]]
    biases: list[NDArray[np.float32]]


@cache
def load_landmark_model(path: str | PathLike[str] = BUNDLED) -> LandmarkModel:
    """Read a model file, once per process; nothing in it is pickled."""
    with np.load(path, allow_pickle=False) as file:
        about = json.loads(str(file["about"]))
        if about["format"] != FORMAT:
            raise ValueError(f"{path} has format {about['format']} of another version of fastck, expected {FORMAT}")
        steps = range(1 + len(STEPS))
        return LandmarkModel(
            about=about,
            mean=file["mean"],
            head=file["head"],
            weights=[np.ascontiguousarray(file[f"weights_{step}"].T) for step in steps],
            scales=[file[f"scale_{step}"] for step in steps],
            biases=[file[f"bias_{step}"] for step in steps],
        )


@cache
def landmark_model_digest() -> str:
    """Return the SHA-256 of the bundled model: points, and crops that follow them, are of one model."""
    return hashlib.sha256(BUNDLED.read_bytes()).hexdigest()


class Looker:
    """What a step sees of a frame, with buffers that are kept: one object must not be shared between threads.

    Parameters
    ----------
    step : Step
    side, count : int
        Of the frame in pixels; of the patches.
    mean : ndarray of shape (68, 2), optional
        The mean shape: how the points differ from it is seen as well.
    """

    def __init__(self, step: Step, side: int, count: int, mean: NDArray[np.float32] | None = None) -> None:
        self._step = step
        self._planes = np.empty((DIRECTIONS, side), np.float32)
        self._sums = np.empty((side + 1, side + 1, DIRECTIONS), np.float32)
        self._corners = np.empty((step.cells + 1, step.cells + 1, DIRECTIONS), np.float32)
        patches = step.cells**2 * DIRECTIONS
        self.features = np.empty(count * patches + (0 if mean is None else mean.size), np.float32)
        self._patches = self.features[: count * patches].reshape(count, patches)
        self._shape = self.features[count * patches :]
        self._mean = mean

    def sums(self, frame: Gray) -> NDArray[np.float32]:
        """Return the sums of a frame's oriented gradients; the array is used again."""
        kernels.gradient_sums(frame, self._planes, self._sums)
        return self._sums

    def look(self, sums: NDArray[np.float32], points: NDArray[Any]) -> NDArray[np.float32]:
        """Return what is seen round points of a frame, flat; the array is used again."""
        step, points = self._step, points.astype(np.float32)
        kernels.patch_features(sums, points, np.float32(step.cell), step.cells, self._corners, self._patches)
        if self._mean is not None:
            self._shape[:] = ((points - self._mean) * np.float32(SHAPE_WEIGHT)).ravel()
        return self.features


def box_grid() -> Floats:
    """Return the centres of the first step's patches, (BOX_GRID^2, 2) pixels."""
    places = (np.arange(BOX_GRID) + 0.5) * BOX_SIDE / BOX_GRID - 0.5
    return np.stack(np.meshgrid(places, places), axis=-1).reshape(-1, 2)


class LandmarkFinder:
    """Finds the points of faces whose boxes are known.

    Parameters
    ----------
    model : LandmarkModel, optional
        The bundled one by default.

    Notes
    -----
    One object must not be shared between threads: it keeps its buffers.
    """

    def __init__(self, model: LandmarkModel | None = None) -> None:
        self.model = model or load_landmark_model()
        self._box_looker = Looker(BOX_STEP, BOX_SIDE, BOX_GRID**2)
        self._grid = box_grid()
        self._lookers = [Looker(step, SHAPE_SIDE, POINTS, self.model.mean) for step in STEPS]
        self._whole = np.empty(max(weights.shape[1] for weights in self.model.weights), np.int16)
        self._expected = np.array(self.model.about["expected"])

    def __call__(self, gray: Gray, box: Sequence[float] | NDArray[Any]) -> Landmarks:
        """Return the points of the face in a box.

        Parameters
        ----------
        gray : ndarray of shape (H, W), uint8
        box : sequence of four numbers
            Top, left, bottom, right.
        """
        picture, matrix = cut_out(gray, box)
        top, left, bottom, right = (float(edge) for edge in box)
        step = matrix[0, 0]
        x, y = (matrix[0, 2] + 0.5) / step - 0.5, (matrix[1, 2] + 0.5) / step - 0.5
        edges = (top / step - y - 0.5, left / step - x - 0.5, bottom / step - y - 0.5, right / step - x - 0.5)
        points, error = self.in_picture(picture, edges)
        confidence = min(max(1 - 10 * self.expected(error), 0.0), 1.0)
        return Landmarks(seen_through(matrix, points).astype(np.float32), confidence)

    def expected(self, said: float) -> float:
        """Return the expected error, shares of the eye corners' distance, for what the last step says."""
        return float(np.interp(said, *self._expected))

    def in_picture(self, picture: Gray, box: Sequence[float]) -> tuple[Floats, float]:
        """Return the points (68, 2) of the face in a small picture's box, and what the last step says of the error."""
        model = self.model
        frame = box_frame(box)
        sums = self._box_looker.sums(warp(picture, frame, BOX_SIDE))
        out = self._weigh(0, self._box_looker.look(sums, self._grid))
        points = seen_through(frame, out[: 2 * POINTS].reshape(POINTS, 2))
        for number, (step, looker) in enumerate(zip(STEPS, self._lookers, strict=True), start=1):
            if step.upright:
                frame = shape_frame(points, model.mean)
                sums = looker.sums(warp(picture, frame, SHAPE_SIDE))
                inverse = cv2.invertAffineTransform(frame)
            inside = seen_through(inverse, points)
            out = self._weigh(number, looker.look(sums, inside))
            points = seen_through(frame, inside + out[: 2 * POINTS].reshape(POINTS, 2))
        return points, float(out[-1])

    def _weigh(self, step: int, features: NDArray[np.float32]) -> NDArray[np.float32]:
        model = self.model
        out = np.empty(len(model.biases[step]), np.float32)
        whole = self._whole[: len(features)]
        kernels.weigh(features, model.weights[step], model.scales[step], model.biases[step], whole, out)
        return out
