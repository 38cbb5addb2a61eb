"""Optical flow of face crops, by a compiled search on patches or by OpenCV, and what a store keeps of it.

`FlowPass` holds what successive pairs share: all that is computed from the reference crop, and room to work in.
"""

import threading
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastck.config import FlowConfig, FlowPreset, Reference, check_choice
from fastck.kernels import flow as kernels
from fastck.ops.checks import check_count, check_frames, check_out
from fastck.ops.patches import PatchSearch

SIDE, COLUMNS = 28, 64
# One row of each of a store's features: u, v and strain of every cell; column means and row means of u, then of v.
FLOW_SHAPES: dict[str, tuple[int, ...]] = {"flow": (3, SIDE, SIDE), "flow_projection": (4, COLUMNS)}
_thread = threading.local()


def flow_shape(shape: tuple[int, ...], side: int) -> tuple[int, ...]:
    """Shape of the flow of square crops of `shape` in side x side cells."""
    return (shape[0] - 1, 3, side, side)


def optical_flow(
    crops: np.ndarray,
    *,
    reference: Reference = "onset",
    side: int = SIDE,
    compensate: bool = True,
    preset: FlowPreset = "patches",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Measure how far each part of the face has moved, and how much it is strained.

    Optical flow by an inverse search on patches (Kroeger et al. 2016) from a reference crop to each crop, both brought
    to 128x128 pixels; then the head's motion is taken out, and what is left is averaged over cells.

    Parameters
    ----------
    crops : ndarray of shape (T, N, N), uint8
        Gray levels; T >= 2. Not modified.
    reference : {"onset", "previous"}
        From the first crop to each later one, or from each crop to the next. A step's values stand where its reference
        shows them.
    side : int
        Cells in a row and in a column, 1 to 128.
    compensate : bool
        Take out the affine motion that most of the face follows: the head's shift, turn and approach.
    preset : {"patches", "ultrafast", "fast", "medium"}
        "patches" is fastck's own search; the others are OpenCV's dense inverse search, whose last digits depend on the
        number of OpenCV's threads.
    out : ndarray of shape (T-1, 3, side, side), float32, optional
        Receives the result; may be a memmap slice.

    Returns
    -------
    flow : ndarray of shape (T-1, 3, side, side), float32
        Means over each cell: horizontal displacement (to the right is positive) and vertical displacement (downwards is
        positive), both in shares of the crop's side, and strain magnitude (Shreve et al. 2009), which has no unit.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above.
    """
    crops = check_frames(crops, min_frames=2, name="crops")
    if crops.shape[1] != crops.shape[2]:
        raise ValueError(
            f"crops must be square, got {crops.shape[1]} x {crops.shape[2]} pixels: crop or resize them first"
        )
    check_choice("reference", reference, Reference)
    if not isinstance(compensate, bool | np.bool_):
        raise TypeError(f"compensate must be True or False, got {compensate!r}")
    config = FlowConfig(reference=reference, compensate=bool(compensate), preset=preset)
    side = check_count("side", side)
    if side > config.size:
        raise ValueError(f"side must be 1 to {config.size} cells, the pixels that the flow is computed on, got {side}")
    out = check_out(out, shape=flow_shape(crops.shape, side), dtype=np.float32, apart=[crops])
    FlowPass(config).fill(crops, {"flow": out})
    return out


class FlowPass:
    """The flow of one sequence, stretch after stretch.

    Parameters
    ----------
    config : FlowConfig
    """

    def __init__(self, config: FlowConfig) -> None:
        self._config = config
        self._begun = False
        self._planes = np.empty((3, config.size, config.size), np.float32)
        self._search: _Dis | PatchSearch = (
            PatchSearch(config.size) if config.preset == "patches" else _Dis(config.preset, config.size)
        )

    def rows(self, crops: NDArray[np.uint8], names: Iterable[str]) -> dict[str, NDArray[np.float32]]:
        """Return those of `names` that are features of the flow, each (T-1, ...); see `fill`."""
        made = {
            name: np.empty((len(crops) - 1, *FLOW_SHAPES[name]), np.float32) for name in names if name in FLOW_SHAPES
        }
        self.fill(crops, made)
        return made

    def fill(self, crops: NDArray[np.uint8], wanted: Mapping[str, NDArray[np.float32]]) -> None:
        """Compute the steps of a stretch of crops.

        Parameters
        ----------
        crops : ndarray of shape (T, N, N), uint8
            The first is the sequence's first, or the last of the stretch before.
        wanted : mapping of str to ndarray of shape (T-1, ...), float32
            Receives the features, by their names in FLOW_SHAPES.
        """
        cells, projection = (wanted.get(name) for name in FLOW_SHAPES)
        if not self._begun:
            self._search.set_reference(working_crop(crops[0], self._config.size))
            self._begun = True
        for t in range(len(crops) - 1):
            crop = working_crop(crops[t + 1], self._config.size)
            flow_features(
                self._search.find(crop),
                compensate=self._config.compensate,
                planes=self._planes,
                cells=None if cells is None else cells[t],
                projection=None if projection is None else projection[t],
            )
            if self._config.reference == "previous":
                self._search.set_reference(crop)


def flow_features(
    flow: NDArray[np.float32],
    *,
    compensate: bool,
    planes: NDArray[np.float32],
    cells: NDArray[np.float32] | None,
    projection: NDArray[np.float32] | None,
) -> None:
    """Bring one dense flow to what a store keeps of it.

    Several kernels and not one: what calls another kernel is compiled twice.

    Parameters
    ----------
    flow : ndarray of shape (S, S, 2), float32
        Pixels.
    compensate : bool
        Take the head's motion out.
    planes : ndarray of shape (3, S, S), float32
        Room to work in.
    cells : ndarray of shape (3, n, n), float32, or None
        Receives the mean u and v in shares of S, and the mean strain magnitude; n <= S.
    projection : ndarray of shape (4, m), float32, or None
        Receives column means and row means of u, then of v; m <= S.
    """
    side = len(flow)
    fit = np.zeros((2, 3), np.float64)
    if compensate:
        kernels.fit_affine(flow, fit)
    kernels.subtract(flow, fit, planes)
    line = np.empty(side, np.float32)
    if cells is not None:
        kernels.strain(planes)
        scales = np.array([1 / side**3, 1 / side**3, 1 / side**2], np.float32)
        kernels.pool(planes, *_cut(side, cells.shape[1]), scales, line, cells)
    if projection is not None:
        kernels.project(planes, *_cut(side, projection.shape[1]), np.float32(1 / side**3), line, projection)


@lru_cache(maxsize=16)
def _cut(side: int, cells: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Cut an axis of `side` pixels into equal cells, side >= cells; see `kernels.pool`."""
    # A pixel is `cells` long, a cell `side` long, and all are whole numbers.
    begin = side * np.arange(cells)
    end = begin + side
    first, last = begin // cells, (end - 1) // cells
    shares = np.minimum((first + 1) * cells, end) - begin, np.where(last > first, end - last * cells, 0)
    return np.stack([first, last], axis=1), np.stack(shares, axis=1).astype(np.float32)


def working_crop(crop: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Bring a square crop to the working size, (N, N) uint8 -> (size, size) uint8.

    Larger crops are averaged over areas, as `cv2.INTER_AREA` does in twice the time; smaller ones are interpolated.
    """
    if crop.shape == (size, size):
        return crop
    if crop.shape[0] > size:
        line, means = np.empty(len(crop), np.float32), np.empty((1, size, size), np.float32)
        scales = np.array([1 / len(crop) ** 2], np.float32)
        kernels.pool(crop[None].astype(np.float32), *_cut(len(crop), size), scales, line, means)
        return (means[0] + np.float32(0.5)).astype(np.uint8)
    import cv2

    return np.asarray(cv2.resize(crop, (size, size), interpolation=cv2.INTER_LINEAR))


class _Dis:
    """OpenCV's dense inverse search from one reference crop to others.

    OpenCV divides the search among its threads, and the last digits depend on how many there are.
    """

    def __init__(self, preset: str, size: int) -> None:
        self._preset, self._size = preset, size

    def set_reference(self, crop: NDArray[np.uint8]) -> None:
        self._reference = crop

    def find(self, crop: NDArray[np.uint8]) -> NDArray[np.float32]:
        flow: NDArray[np.float32] = _engine(self._preset, self._size).calc(self._reference, crop, None)
        return flow


def _engine(preset: str, size: int) -> Any:
    """Return this thread's object of OpenCV's search.

    It holds its image pyramids, so threads cannot share one. It also lowers its own finest scale for small images and
    keeps that for larger ones, so each size has its own.
    """
    import cv2

    engines = _thread.__dict__.setdefault("engines", {})
    if (preset, size) not in engines:
        number = getattr(cv2, f"DISOPTICAL_FLOW_PRESET_{preset.upper()}")
        engines[preset, size] = cv2.DISOpticalFlow.create(number)
    return engines[preset, size]
