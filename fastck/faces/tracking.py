"""The largest face of each frame, exactly as dlib's full search has it, without most of that search.

The paper crops one face per frame, and a search for the largest one may stop early: levels are searched from the
coarsest on, whole frames at a time, and once a face stands, all finer levels can only hold smaller ones. What those
could still do is suppress the face, from around or inside its box, so they are searched there alone.
"""

import logging

import numpy as np
from numpy.typing import NDArray

from fastck.faces.box import FaceBox, largest
from fastck.faces.detector import Detector, check_gray, check_upsample
from fastck.faces.search import AREA, BOX, LEVEL, SCORE, Detections, Found, FrameSearch, TooClose, Window, frame_box
from fastck.faces.weights import FilterBank, frontal_bank

Gray = NDArray[np.uint8]

REFRESH = 10  # frames; every so often the finest levels are searched inside the face's box, too
DEPTH = 3  # levels below a face's own that are searched around it in every frame: down to 0.58 of its size
SIZES = 3  # sizes of frames whose buffers are kept; CK+ has two
SURE = 1.0  # score; a weaker face has all levels searched inside its box in every frame

log = logging.getLogger(__name__)


class CompiledDetector:
    """All faces of a frame: dlib's frontal face detector, compiled.

    Takes the place of `fastck.faces.box.Detector`, whose boxes it returns in less than half of the time.

    Parameters
    ----------
    upsample : int
        How often the image is doubled before the search (paper: 1).

    Notes
    -----
    One object must not be shared between threads: it keeps its buffers, about 10 MB for 640x490 pixels and upsample 1.
    The search releases the GIL. A frame whose scores are too close to call goes to dlib, which is rare.
    """

    def __init__(self, upsample: int = 1) -> None:
        self.upsample = check_upsample(upsample)
        self._bank: FilterBank = frontal_bank()
        self._searches: dict[tuple[int, ...], FrameSearch] = {}
        self._dlib: Detector | None = None

    def __call__(self, gray: Gray) -> list[FaceBox]:
        """Return the faces of a frame in dlib's order, most certain first.

        Parameters
        ----------
        gray : ndarray of shape (H, W), uint8

        Returns
        -------
        boxes : list of FaceBox
            Empty where no face is found.
        """
        check_gray(gray)
        try:
            return self._find(self._search_for(gray), gray)
        except TooClose:
            log.debug("scores too close to call: dlib decides this frame")
            if self._dlib is None:
                self._dlib = Detector(self.upsample)
            return self._dlib(gray)

    def reset(self) -> None:
        """Do nothing: every frame is searched by itself."""

    def _search_for(self, gray: Gray) -> FrameSearch:
        """Return the search for frames of that size, made when the size is first met."""
        if gray.shape not in self._searches:
            if len(self._searches) == SIZES:
                del self._searches[next(iter(self._searches))]
            self._searches[gray.shape] = FrameSearch(gray.shape, self.upsample, self._bank)
        return self._searches[gray.shape]

    def _find(self, search: FrameSearch, gray: Gray) -> list[FaceBox]:
        return search.everything(gray)


class TrackedDetector(CompiledDetector):
    """The largest face of each frame of a sequence: the one of dlib's boxes that `fastck.faces.box.largest` picks.

    Parameters
    ----------
    upsample : int
        How often the image is doubled before the search (paper: 1).
    refresh : int
        After so many frames, and whenever the face jumps or scores below SURE, the levels more than DEPTH below the
        face's are searched inside its box as well. 1 does so in every frame; then nothing is taken for granted.

    Notes
    -----
    One object serves one thread and one sequence at a time; call `reset` between sequences.

    What is taken for granted between two refreshes: that no face of less than 0.58 of the size appears inside the box
    of a face and scores above it. Everything else follows from dlib's own rules, wherever faces enter, leave or move.
    """

    def __init__(self, upsample: int = 1, *, refresh: int = REFRESH) -> None:
        if refresh < 1:
            raise ValueError(f"refresh must be at least 1 frame, got {refresh}")
        super().__init__(upsample)
        self.refresh = refresh
        self.reset()

    def reset(self) -> None:
        """Forget the last frame: another sequence begins."""
        self._last: Found | None = None
        self._age = 0

    def __call__(self, gray: Gray) -> list[FaceBox]:
        """Return the largest face of a frame, alone in a list; an empty list where there is none.

        Parameters
        ----------
        gray : ndarray of shape (H, W), uint8

        Returns
        -------
        boxes : list of FaceBox
            At most one.
        """
        face = largest(super().__call__(gray))
        return [] if face is None else [face]

    def _find(self, search: FrameSearch, gray: Gray) -> list[FaceBox]:
        start = search.levels - 1 if self._last is None else min(int(self._last[LEVEL]), search.levels - 1)
        deep = self._last is None or self._age >= self.refresh
        search.load(gray)
        found = find_largest(search, start=start, deep=deep)
        if found is None:
            self.reset()
            return []
        if not deep and self._last is not None and not nearby(found, self._last):
            deep = True
            found = find_largest(search, start=start, deep=True)
        self._last = found
        self._age = 1 if deep else self._age + 1
        return [] if found is None else [frame_box(found)]


def nearby(one: Found, two: Found) -> bool:
    """Whether two detections are at most one level and a quarter of a side apart."""
    side = one[BOX][2] - one[BOX][0]
    middles = (one[BOX][:2] + one[BOX][2:] - two[BOX][:2] - two[BOX][2:]) / 2
    return bool(abs(one[LEVEL] - two[LEVEL]) <= 1 and np.abs(middles).max() <= side / 4)


def find_largest(search: FrameSearch, *, start: int, deep: bool) -> Found | None:
    """Search the loaded frame until no window left out could change which face is the largest.

    Parameters
    ----------
    search : FrameSearch
    start : int
        Level down to which all levels are searched before the first look; decides the time, not the result.
    deep : bool
        Whether to search all levels inside the face's box, or only DEPTH of them.

    Returns
    -------
    face : ndarray of shape (14,), float64, or None
        The detection whose box is the largest after suppression.

    Raises
    ------
    TooClose
    """
    whole = start  # levels from here on are searched completely
    search.search({level: search.whole(level) for level in range(start, search.levels)})
    windows: dict[int, Window] = {}
    while True:
        result = search.detections()
        areas = result.found[:, AREA]
        best = result.largest()
        if whole and (best is None or search.largest_area[whole - 1] >= areas[best]):
            whole -= 1
            search.search({whole: search.whole(whole)})
            windows.pop(whole, None)
            continue
        if best is None:
            return None
        deciding = result.deciding(set(np.flatnonzero(areas >= areas[best]).tolist()))
        if not widen(search, result, deciding, whole, deep, windows):
            result.check_ties(deciding, result.kept[areas[result.kept] == areas[best]])
            return result.found[best]


def widen(
    search: FrameSearch, result: Detections, deciding: set[int], whole: int, deep: bool, windows: dict[int, Window]
) -> bool:
    """Search levels below `whole` that lack windows around a deciding detection; False if none does.

    `windows` holds the part searched of each level and is brought up to date.
    """
    wider = {}
    for level in range(whole - 1, -1, -1):
        parts = [windows[level]] if level in windows else []
        for face in result.found[list(deciding)]:
            if deep or face[SCORE] < SURE or level >= face[LEVEL] - DEPTH:
                parts.append(search.around(face[BOX], level))
        if parts and union(parts) != windows.get(level):
            wider[level] = union(parts)
    windows.update(wider)
    search.search(wider)
    return bool(wider)


def union(windows: list[Window]) -> Window:
    """Return the smallest window range that holds all of some."""
    tops, lefts, bottoms, rights = zip(*windows, strict=True)
    return min(tops), min(lefts), max(bottoms), max(rights)
