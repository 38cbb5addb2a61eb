"""Detections kept between runs, so that another level, footprint or feature never searches the same frames again."""

import hashlib
import logging
import os
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from fastck.config import FaceConfig
from fastck.faces.box import FaceBox

log = logging.getLogger(__name__)

NO_FACE = (-1, -1, -1, -1)
WAIT_SECONDS = 30  # for another run that writes at the same moment


def cache_folder() -> Path:
    """Return the folder of fastck's caches: FASTCK_CACHE_DIR, or fastck in the user's cache folder."""
    named = os.environ.get("FASTCK_CACHE_DIR")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fastck"


def cache_key(fingerprint: str, folder: Path, config: FaceConfig, engine: str) -> str:
    """Return what a sequence's detections are filed under: its files, the detector's settings, the engine's version."""
    return sequence_key(fingerprint, folder, config.upsample, config.search, engine)


def sequence_key(fingerprint: str, folder: Path, *settings: object) -> str:
    """Return a key for what was made of a sequence's files with certain settings: 64 hexadecimal digits."""
    text = "|".join(map(str, (fingerprint, folder.resolve(), *settings)))
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


class BoxCache:
    """Detections on disk, by sequence and detector settings; use as a context manager.

    Parameters
    ----------
    path : Path or None
        The SQLite file; None keeps nothing.

    Notes
    -----
    A cache that cannot be opened or written only costs time, so it is reported once and then left alone.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._base: sqlite3.Connection | None = None
        self._turn = threading.Lock()  # joblib asks for tasks from threads of its own

    def __enter__(self) -> "BoxCache":
        if self.path is None:
            return self
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(self.path, timeout=WAIT_SECONDS, isolation_level=None, check_same_thread=False)
            self._base.execute(
                "PRAGMA synchronous = OFF"
            )  # a kill is safe all the same; only a power cut may cost the cache
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
        log.warning("detections are not kept between runs: %s: %s", self.path, error)
        if self._base is not None:
            self._base.close()
        self._base = None

    def get(self, key: str) -> list[FaceBox | None] | None:
        """Return the detections filed under a key, None for none."""
        if self._base is None:
            return None
        try:
            with self._turn:
                row = self._base.execute("SELECT boxes FROM found WHERE key = ?", (key,)).fetchone()
        except sqlite3.Error as error:
            self._give_up(error)
            return None
        if row is None or len(row[0]) % 16:
            return None
        edges = np.frombuffer(row[0], "<i4").reshape(-1, 4).tolist()
        return [None if tuple(box) == NO_FACE else FaceBox(*box) for box in edges]

    def put(self, key: str, found: Sequence[FaceBox | None]) -> None:
        """File detections under a key, in place of what was there."""
        if self._base is None:
            return
        data = np.array([NO_FACE if box is None else box for box in found], "<i4").tobytes()
        try:
            with self._turn:
                self._base.execute("INSERT OR REPLACE INTO found VALUES (?, ?)", (key, data))
        except sqlite3.Error as error:
            self._give_up(error)
