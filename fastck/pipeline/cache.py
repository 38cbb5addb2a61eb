"""What is kept between runs: each sequence's detections, and its cut-out faces where the user wants that.

Another level, footprint or feature then searches no frame again, and with kept crops decodes none.
"""

import hashlib
import json
import logging
import os
import sqlite3
import threading
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from types import TracebackType

import numpy as np

from fastck.config import FaceConfig
from fastck.faces.box import FaceBox
from fastck.faces.boxfile import BoxFile
from fastck.faces.finder import Found, reuse
from fastck.pipeline.cropfile import CropFile, record_type
from fastck.store.files import check_room
from fastck.store.plan import PlannedSequence

log = logging.getLogger(__name__)

NO_FACE = (-1, -1, -1, -1)
PEOPLE = -2  # begins the row that is no frame's
DECISIVE = ("fastck", "opencv", "dlib")  # whose version may change a box or a crop
WAIT_SECONDS = 30  # for another run that writes at the same moment


def packed_boxes(found: Found, n_people: int = 0) -> bytes:
    """Return detections as the cache keeps them: four numbers for each frame, and a row for how many people."""
    rows = [NO_FACE if box is None else tuple(box) for box in found]
    return np.array(rows + [(PEOPLE, n_people, 0, 0)] * bool(n_people), "<i4").tobytes()


class Cache:
    """Detections and crops on disk; use as a context manager.

    Parameters
    ----------
    folder : Path or None
        None keeps nothing.
    root : Path
        The data set's.
    faces : FaceConfig
    versions : dict of str to str
        Of the libraries: a box or a crop is kept for one version of decoder, detector and fastck's own search.
    user_boxes : BoxFile, optional
        Boxes that the user brought: they take the place of kept detections, and none are kept.
    keep_crops : bool
        Keep crops beside the detections.

    Notes
    -----
    A cache that cannot be opened or written only costs time, so it is reported once and then left alone.
    """

    def __init__(
        self,
        folder: Path | None,
        root: Path,
        faces: FaceConfig,
        versions: dict[str, str],
        *,
        user_boxes: BoxFile | None = None,
        keep_crops: bool = False,
    ) -> None:
        self._root = root
        self._faces = faces
        self._versions = [versions[name] for name in DECISIVE]
        self._user_boxes = user_boxes
        self._boxes = folder / "boxes.sqlite" if folder and not faces.boxes else None
        self._crops = folder / "crops" if folder and keep_crops else None
        self._base: sqlite3.Connection | None = None
        self._warned = False
        self._real_folders: dict[str, str] = {}
        self._turn = threading.Lock()  # joblib asks for tasks from threads of its own

    def __enter__(self) -> "Cache":
        if self._boxes is None:
            return self
        try:
            self._boxes.parent.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(
                self._boxes, timeout=WAIT_SECONDS, isolation_level=None, check_same_thread=False
            )
            # A kill is safe all the same; only a power cut may cost the cache.
            self._base.execute("PRAGMA synchronous = OFF")
            self._base.execute("CREATE TABLE IF NOT EXISTS found (key TEXT PRIMARY KEY, boxes BLOB NOT NULL)")
        except (OSError, sqlite3.Error) as error:
            self._give_up(error)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._base is not None:
            self._base.close()

    def _give_up(self, error: Exception) -> None:
        with self._turn:
            base, self._base = self._base, None
            warned, self._warned = self._warned, True
        if not warned:
            log.warning("detections are not kept between runs: %s: %s", self._boxes, error)
        if base is not None:
            base.close()

    # -- Detections ---------------------------------------------------------------------------------------------------
    def boxes(self, planned: PlannedSequence) -> Found | None:
        """Return a sequence's detections as a search would give them; None where not all of them are known."""
        brought = self._user_boxes
        found = brought.found(planned.sequence, planned.n_frames) if brought else self._found(planned)
        return None if found is None else reuse(found, planned.n_frames, self._faces)

    def _found(self, planned: PlannedSequence) -> Found | None:
        rows = self._read(planned)
        if rows is None:
            return None
        return [None if tuple(row) == NO_FACE else FaceBox(*row) for row in rows if row[0] != PEOPLE]

    def n_people(self, planned: PlannedSequence) -> int:
        """Return how many people the first frame with a face was found to show; 0 where that is not known."""
        return sum(row[1] for row in self._read(planned) or [] if row[0] == PEOPLE)

    def _read(self, planned: PlannedSequence) -> list[list[int]] | None:
        if self._base is None:
            return None
        try:
            with self._turn:
                # Another thread may have given up meanwhile.
                if self._base is None:
                    return None
                row = self._base.execute("SELECT boxes FROM found WHERE key = ?", (self._box_key(planned),)).fetchone()
        except sqlite3.Error as error:
            self._give_up(error)
            return None
        if row is None or len(row[0]) % 16:
            return None
        return np.frombuffer(row[0], "<i4").reshape(-1, 4).tolist()

    def keep_boxes(self, found: Iterable[tuple[PlannedSequence, bytes]]) -> None:
        """Keep the packed detections of some sequences, in place of those that were there."""
        if self._base is None:
            return
        rows = [(self._box_key(planned), boxes) for planned, boxes in found]
        if not rows:
            return
        try:
            # One transaction: each costs as much as a hundred rows.
            with self._turn:
                if self._base is None:
                    return
                with self._base:
                    self._base.execute("BEGIN")
                    self._base.executemany("INSERT OR REPLACE INTO found VALUES (?, ?)", rows)
        except sqlite3.Error as error:
            self._give_up(error)

    def _box_key(self, planned: PlannedSequence) -> str:
        # The crop policy comes after detection, and the crop's size after that.
        return self._key(planned, self._faces.upsample, self._faces.search)

    # -- Crops --------------------------------------------------------------------------------------------------------
    def crops(self, planned: PlannedSequence) -> CropFile | None:
        """Return the file of a sequence's crops, there or not; None where crops are not kept."""
        if self._crops is None:
            return None
        settings = json.dumps(asdict(self._faces), sort_keys=True)
        # The user's boxes belong to a sequence's id, not to its files.
        brought = self._user_boxes.found(planned.sequence, planned.n_frames) if self._user_boxes else ""
        model = []
        if self._faces.crop == "aligned":
            from fastck.faces.landmarks import landmark_model_digest

            model = [landmark_model_digest()]
        key = self._key(planned, settings, brought, *model)
        return CropFile(self._crops / f"{key}.npy", planned.n_frames, self._faces.side)

    def check_room(self, plan: Iterable[PlannedSequence]) -> None:
        """Raise OSError where the disk has no room for those sequences' crops that are not there yet."""
        if self._crops is None:
            return
        self._crops.mkdir(parents=True, exist_ok=True)
        files = [file for planned in plan if (file := self.crops(planned)) is not None]
        missing = sum(file.n_frames for file in files if not file.path.exists())
        check_room(
            self._crops,
            missing * record_type(self._faces.side).itemsize,
            what=" for kept crops",
            advice="make room, name another folder with FASTCK_CACHE_DIR, or keep none",
        )

    def _key(self, planned: PlannedSequence, *settings: object) -> str:
        """Return a key for what was made of a sequence's files with certain settings: 64 hexadecimal digits."""
        path = self._real_path(f"{self._root}/{planned.folder}")
        text = "|".join(map(str, (planned.fingerprint, path, *self._versions, *settings)))
        return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()

    def _real_path(self, path: str) -> str:
        """Return a path free of links; what is above it is looked at once for all its neighbours."""
        above, name = os.path.split(path)
        if name == "." or os.path.islink(path):  # noqa: PTH114 - a tenth of a Path's cost
            return os.path.realpath(path)
        if above not in self._real_folders:
            self._real_folders[above] = os.path.realpath(above)
        return f"{self._real_folders[above].rstrip('/')}/{name}"
