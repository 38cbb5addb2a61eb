"""The largest face of each frame, exactly as dlib's full search has it, without most of that search.

The paper crops one face per frame, and a search for the largest one may stop early: levels are searched from the
coarsest on, whole frames at a time, and once a face stands, all finer levels can only hold smaller ones. What those
could still do is suppress the face, from around or inside its box, so they are searched there alone.
"""

import math

import numpy as np

from fastck.faces.box import FaceBox, Gray
from fastck.faces.detector import LARGE, FaceDetector
from fastck.faces.search import AREA, BOX, LEVEL, SCORE, Detections, FrameSearch, Rows, TooClose, frame_box

NOTHING = np.array([2**31, 2**31, -1, -1], np.int64)  # a part that holds no window


class TrackedDetector(FaceDetector):
    """The largest face of each frame of a sequence: the one of dlib's boxes that `fastck.faces.box.largest` picks.

    Parameters
    ----------
    upsample : {0, 1, 2}
        How often the image is doubled before the search (paper: 1).

    Notes
    -----
    One object serves one thread. What it remembers of the last frame is the level to begin with, which decides the
    time and never the result: nothing is assumed about how faces move, enter, leave or change.
    """

    def __init__(self, upsample: int = 1) -> None:
        super().__init__(upsample)
        self.reset()

    def reset(self) -> None:
        """Forget the last frame: another sequence begins."""
        self._level: int | None = None
        self._loaded: FrameSearch | None = None

    def with_scores(self, gray: Gray) -> list[tuple[FaceBox, float]]:
        """Return the largest face of a frame and its score, alone in a list; an empty list where there is none.

        Parameters
        ----------
        gray : ndarray of shape (H, W), uint8

        Returns
        -------
        faces : list of (FaceBox, float)
            At most one.
        """
        # All faces where dlib decided.
        faces = super().with_scores(gray)
        return [max(faces, key=lambda face: face[0].area)] if faces else []

    def n_people(self) -> int:
        """Return how many faces of the last frame are at least half as wide as its largest one, 0 for none.

        The levels that hold such faces are searched whole, about a quarter of what the largest face took.
        """
        if self._loaded is None or len(self._faces) != 1:
            return super().n_people()
        ((box, _),) = self._faces
        try:
            return self._loaded.n_large(LARGE * box.area)
        except TooClose:
            # Thousands of windows that look like faces are a pattern, not people.
            return 1

    def _find(self, search: FrameSearch, gray: Gray) -> list[tuple[FaceBox, float]]:
        coarsest = search.levels - 1
        start = coarsest if self._level is None else min(self._level, coarsest)
        search.load(gray)
        self._loaded = search
        found = find_largest(search, start=start)
        if found is None:
            self.reset()
            return []
        self._level = int(found[LEVEL])
        return [(frame_box(found), float(found[SCORE]))]


def find_largest(search: FrameSearch, *, start: int) -> Rows | None:
    """Search the loaded frame until no window left out could change which face is the largest.

    Parameters
    ----------
    search : FrameSearch
    start : int
        Level down to which all levels are searched before the first look; decides the time, not the result.

    Returns
    -------
    face : ndarray of shape (14,), float64, or None
        The detection whose box is the largest after suppression.

    Raises
    ------
    TooClose
    """
    # Levels from `whole` on are searched completely.
    whole = start
    search.search({level: search.whole(level) for level in range(start, search.levels)})
    parts = Parts(search)
    while True:
        result = search.detections()
        areas = result.found[:, AREA]
        best = result.largest()
        if whole and (best is None or search.largest_area[whole - 1] >= areas[best]):
            whole -= 1
            search.search({whole: search.whole(whole)})
            continue
        if best is None:
            return None
        deciding = result.deciding(set(np.flatnonzero(areas >= areas[best]).tolist()))
        if not parts.widen(result, deciding, whole):
            result.check_ties(deciding, result.kept[areas[result.kept] == areas[best]])
            return result.found[best]


class Parts:
    """The parts of levels that are searched around deciding detections, for what can suppress these.

    Only a higher score suppresses, so windows that score less than all deciding detections are left out.

    Attributes
    ----------
    windows : ndarray of shape (L, 4), int64
        The part searched of each level: top, left, bottom, right; the bottom above the top where it is none.
    least : float
        The lowest score of a deciding detection so far.
    """

    def __init__(self, search: FrameSearch) -> None:
        self.search = search
        self.windows = np.tile(NOTHING, (search.levels, 1))
        self.least = math.inf

    def widen(self, result: Detections, deciding: set[int], whole: int) -> bool:
        """Search levels below `whole` that lack windows around a deciding detection; False if none does."""
        faces = result.found[sorted(deciding)]
        least = min(self.least, float(faces[:, SCORE].min()))
        before = self.windows[:whole].copy()
        self.search.widen(self.windows[:whole], faces[:, BOX])
        wider = (self.windows[:whole] != before).any(axis=1) | (least < self.least)
        self.least = least
        parts = {int(level): tuple(self.windows[level].tolist()) for level in np.flatnonzero(wider)[::-1]}
        if parts:
            self.search.search(parts, least=least)
        return bool(parts)
