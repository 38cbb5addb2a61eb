"""dlib's frontal face search on one frame, level by level: which windows are scored, and which detections survive."""

import numpy as np
from numpy.typing import NDArray

from fastck.faces.box import FaceBox
from fastck.faces.features import hog_buffers, orientation_table, vote_weights
from fastck.faces.pyramid import Pyramid, round_away
from fastck.faces.weights import FilterBank
from fastck.kernels import hog, suppression

Gray = NDArray[np.uint8]
Rows = NDArray[np.float64]  # of detections, or of their boxes
Window = tuple[int, int, int, int]  # positions on a level: top, left, bottom, right, half-open

TIE = 2e-5  # scores closer than this are a tie: the sums here run in another order than dlib's (differences: 3e-6)
SPARE = 4  # cells that vectors may touch behind the last one
CAPACITY = 2048  # detections per frame before suppression; a face has 10 to 60

# Columns of a row of detections: BOX and FRAME are left, top, right, bottom in the doubled image and in the frame.
SCORE, LEVEL, BOX, FRAME, AREA = 0, 2, slice(5, 9), slice(9, 13), 13


class TooClose(Exception):
    """Two scores, or a score and its threshold, are too close to tell what dlib's summation order makes of them."""


def tile_buffers() -> tuple[NDArray[np.float32], ...]:
    """Return the scratch arrays that `hog.search_windows` wants for a tile; then the scores it asks for."""
    sizes = (hog.SIDE * hog.ROW, *[hog.SIDE * hog.SIDE * 2 * hog.SCORES] * 3, 2 * hog.SCORES)
    return tuple(np.zeros(size, np.float32) for size in sizes)


def room_for_cells(windows: tuple[int, int]) -> int:
    """Return how many values the cells of so many rows and columns of windows take, in whole tiles."""
    rows, columns = (-(-n // hog.VALID) * hog.VALID + hog.WINDOW - 1 for n in windows)
    return (rows * columns + SPARE) * hog.CELL


def box_edges(n: int, level: int, upsample: int, shift: float, side: int) -> NDArray[np.int64]:
    """Return where the boxes of n rows or columns of windows begin and end.

    Parameters
    ----------
    n, level : int
        Number of windows, which lie a cell apart, and their level.
    upsample : int
        How often the frame was doubled.
    shift : float
        What dlib's pyramid_down<2> subtracts: 1.25 for columns, 0.75 for rows.
    side : int
        Pixels of the frame along this axis.

    Returns
    -------
    edges : ndarray of shape (n, 4), int64
        First and last pixel in the doubled image, then in the frame, clipped to it as `fastck.faces.box.clip_box` does.
    """
    edges = np.zeros((n, 4), np.int64)
    for i in range(n):
        # The window's first and last cell, counted with the image's border.
        for j, cell in enumerate((i - 3, i + 6)):
            at = 8 * cell + 1
            mapped = float(at + 4 if at >= 0 else at - 4)
            for _ in range(level):
                mapped = mapped * (6 / 5.0) + 0.3
            edges[i, j] = round_away(mapped)
            mapped = float(edges[i, j])
            for _ in range(upsample):
                mapped = mapped / 2.0 - shift
            edges[i, 2 + j] = round_away(mapped)
    edges[:, 2] = np.maximum(edges[:, 2], 0)
    edges[:, 3] = np.minimum(edges[:, 3], side)
    return edges


def frame_box(detection: Rows) -> FaceBox:
    """Return a detection's box in the frame."""
    left, top, right, bottom = map(int, detection[FRAME])
    return FaceBox(top, left, bottom, right)


class Detections:
    """Detections, best first, after non-maximum suppression.

    Attributes
    ----------
    found : ndarray of shape (N, 14), float64
    by : ndarray of shape (N,), int64
        The kept detection that suppresses each one; its own number where it is kept.
    overlaps : ndarray of shape (N, N), bool
        Which ones suppress each other.
    """

    def __init__(self, found: Rows, bank: FilterBank) -> None:
        n = len(found)
        self.found = found[np.argsort(-found[:, SCORE], kind="stable")]
        self.overlaps = np.zeros((n, n), np.bool_)
        self.by = np.zeros(n, np.int64)
        boxes = np.ascontiguousarray(self.found[:, BOX])
        suppression.suppress(boxes, bank.iou, bank.percent_covered, self.overlaps, self.by)
        self.kept = np.flatnonzero(self.by == np.arange(n))

    def deciding(self, wanted: set[int]) -> set[int]:
        """Return the kept detections that the fate of the `wanted` ones rests on, directly or not."""
        decided: set[int] = set()
        todo = {int(self.by[i]) for i in wanted}
        while todo:
            i = todo.pop()
            decided.add(i)
            todo |= {int(self.by[j]) for j in np.flatnonzero(self.overlaps[i, :i])} - decided
        return decided

    def largest(self) -> int | None:
        """Return the number of the kept detection with the largest area in the frame, the best of equals."""
        areas = self.found[self.kept, AREA]
        return int(self.kept[np.argmax(areas)]) if areas.any() else None

    def check_ties(self, deciding: set[int], ranked: NDArray[np.int64]) -> None:
        """Raise TooClose if another summation order could change what `deciding` ones suppress, or `ranked`."""
        scores = self.found[:, SCORE]
        if np.any(scores[ranked[:-1]] - scores[ranked[1:]] <= TIE):
            raise TooClose
        for i in deciding:
            if scores[i] <= TIE:
                raise TooClose
            for j in np.flatnonzero(self.overlaps[i, i + 1 :] & (scores[i + 1 :] > scores[i] - TIE)) + i + 1:
                sure = scores[self.by[j]] > scores[j] + TIE
                if not sure and not np.array_equal(self.found[i, BOX], self.found[j, BOX]):
                    raise TooClose


class FrameSearch:
    """The search of images of one size: buffers made once, filled frame by frame.

    Parameters
    ----------
    shape : tuple of int
        Height and width of the frames.
    upsample : int
        How often a frame is doubled first.
    bank : FilterBank
    """

    def __init__(self, shape: tuple[int, int], upsample: int, bank: FilterBank) -> None:
        self.shape = shape
        self.upsample = upsample
        self.bank = bank
        self.pyramid = Pyramid(shape, upsample)
        self.levels = len(self.pyramid.shapes)
        self._pixels = (self.pyramid.pixels, self.pyramid.layout)
        self._tables = (orientation_table(), vote_weights(), bank.basis)
        self._work = hog_buffers(self.pyramid.windows[0][1] + hog.WINDOW)
        self._cells = np.zeros(room_for_cells(self.pyramid.windows[0]), np.float32)
        self._planes = np.zeros(self._cells.size // hog.CELL * hog.REDUCED, np.float32)
        self._tile = tile_buffers()
        self._bank = (bank.weights, bank.spectra, bank.thresholds)
        self._found = np.zeros((CAPACITY, 14))
        self._n_found = 0
        self._edges = [
            (
                box_edges(windows[0], level, upsample, 0.75, shape[0]),
                box_edges(windows[1], level, upsample, 1.25, shape[1]),
            )
            for level, windows in enumerate(self.pyramid.windows)
        ]
        firsts = np.cumsum([(0, 0), *self.pyramid.windows[:-1]], axis=0)
        self._all_edges = (*(np.concatenate(axis) for axis in zip(*self._edges, strict=True)), firsts)
        self._sizes = np.array(self.pyramid.windows, np.int64)
        # No box of a level has a larger area in the frame than this, in square pixels.
        self.largest_area = [
            int(np.prod([(edges[:, 3] - edges[:, 2]).max(initial=0) for edges in pair])) for pair in self._edges
        ]

    def load(self, gray: Gray) -> None:
        """Build the pyramid of a frame and forget the last one's detections."""
        self.pyramid.build(gray)
        self._n_found = 0

    def whole(self, level: int) -> Window:
        """Return all window positions of a level."""
        rows, columns = self.pyramid.windows[level]
        return 5, 5, 5 + rows, 5 + columns

    def widen(self, windows: NDArray[np.int64], boxes: Rows) -> None:
        """Widen parts of levels by all positions whose boxes could suppress some of `boxes` or be suppressed by them.

        Parameters
        ----------
        windows : ndarray of shape (L, 4), int64
            The finest L levels' parts: top, left, bottom, right.
        boxes : ndarray of shape (N, 4), float64
        """
        # Columns of an array are of another type than an array, and each type is compiled by itself.
        boxes = np.ascontiguousarray(boxes)
        bank = self.bank
        suppression.widen_around(boxes, self._all_edges, self._sizes, bank.iou, bank.percent_covered, windows)

    def search(self, windows: dict[int, Window], *, least: float = 0.0) -> None:
        """Score windows by level and keep what is above threshold, in place of those levels' earlier detections.

        Parameters
        ----------
        windows : dict of int to tuple of int
        least : float
            Score that a detection has to have at least, but for TIE.

        Raises
        ------
        TooClose
            If there are more than CAPACITY detections.
        """
        earlier = self._found[: self._n_found]
        others = earlier[[level not in windows for level in earlier[:, LEVEL]]]
        self._found[: len(others)] = others
        jobs = [
            (level, *window) for level, window in windows.items() if window[2] > window[0] and window[3] > window[1]
        ]
        self._n_found = hog.search_windows(
            self._pixels,
            np.array(jobs, np.int64).reshape(-1, 5),
            self._all_edges,
            self._bank,
            TIE - least,
            self._tables,
            self._work,
            self._cells,
            self._planes,
            self._tile,
            self._found,
            len(others),
        )
        if self._n_found > CAPACITY:
            raise TooClose

    def detections(self) -> Detections:
        """Return what was found so far, suppressed."""
        return Detections(self._found[: self._n_found], self.bank)

    def n_large(self, area: float) -> int:
        """Return how many faces of the loaded frame have an area in the frame of at least so many square pixels.

        Raises
        ------
        TooClose
        """
        # Areas only grow from level to level.
        levels = [level for level in range(self.levels) if self.largest_area[level] >= area]
        self.search({level: self.whole(level) for level in levels})
        result = self.detections()
        return int(np.count_nonzero(result.found[result.kept, AREA] >= area))

    def everything(self, gray: Gray) -> list[tuple[FaceBox, float]]:
        """Search all windows of a frame: dlib's boxes and scores in dlib's order.

        Raises
        ------
        TooClose
        """
        self.load(gray)
        self.search({level: self.whole(level) for level in range(self.levels)})
        result = self.detections()
        result.check_ties(set(result.kept.tolist()), result.kept)
        return [(frame_box(row), float(row[SCORE])) for row in result.found[result.kept] if row[AREA]]
