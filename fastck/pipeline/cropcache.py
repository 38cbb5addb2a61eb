"""Cut-out faces kept between runs, so that another mode, level, footprint or feature decodes no frame again."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import cv2
import deflate
import numpy as np
from numpy.lib.format import open_memmap, write_array_header_1_0
from numpy.typing import NDArray

from fastck.config import FaceConfig
from fastck.faces.box import Gray
from fastck.pipeline.boxcache import sequence_key

log = logging.getLogger(__name__)
_told: set[Path] = set()  # folders whose trouble was told: once for all sequences


def crop_key(fingerprint: str, folder: Path, config: FaceConfig, engine: str) -> str:
    """Return what a sequence's crops are filed under: its files, all face settings, the versions that cut them."""
    return sequence_key(fingerprint, folder, json.dumps(asdict(config), sort_keys=True), engine, cv2.__version__)


def record_type(side: int) -> np.dtype[Any]:
    """What is kept of a frame: its size, its crop, and the crop's checksum."""
    return np.dtype([("height", "<u4"), ("width", "<u4"), ("crc32", "<u4"), ("crop", "u1", (side, side))])


class CropFile:
    """The crops of one sequence: a plain .npy file with a record per frame.

    Parameters
    ----------
    path : Path
        Of the file, there or not.
    n_frames, side : int
        What it has to hold.
    """

    def __init__(self, path: Path, n_frames: int, side: int) -> None:
        self.path = path
        self.n_frames = n_frames
        self.dtype = record_type(side)

    def load(self) -> NDArray[np.void] | None:
        """Return the records as a memmap; None where there are none, or a single byte of them is not as it was."""
        try:
            records = open_memmap(self.path, mode="r")
        except (OSError, ValueError):
            return None
        if records.shape != (self.n_frames,) or records.dtype != self.dtype:
            return None
        if any(deflate.crc32(record["crop"].data) != record["crc32"] for record in records):
            return None
        return records


class CropWriter:
    """Writes a sequence's crops frame by frame; the file appears when the context ends without an exception.

    A disk that is full or not writable costs the file, not the run.
    """

    def __init__(self, crops: CropFile) -> None:
        self._crops = crops
        self._part = crops.path.with_suffix(".part")
        self._record = np.empty(1, crops.dtype)
        self._file: BinaryIO | None = None

    def __enter__(self) -> "CropWriter":
        header = {"descr": self._crops.dtype.descr, "fortran_order": False, "shape": (self._crops.n_frames,)}
        with self._tolerant():
            self._part.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._part.open("wb")
            write_array_header_1_0(self._file, header)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is None:
            return
        if kind is not None:
            self._discard(self._file)
            return
        with self._tolerant():
            self._file.close()
            self._part.replace(self._crops.path)

    def add(self, shape: tuple[int, ...], crop: Gray) -> None:
        """Write the next frame's size and crop."""
        if self._file is None:
            return
        self._record["height"], self._record["width"] = shape
        self._record["crc32"], self._record["crop"] = deflate.crc32(crop.data), crop
        with self._tolerant():
            self._file.write(self._record.data)

    @contextmanager
    def _tolerant(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            folder = self._part.parent
            if folder not in _told:
                _told.add(folder)
                log.warning("crops are not kept between runs: %s: %s", folder, error.strerror)
            if self._file is not None:
                self._discard(self._file)
            self._file = None

    def _discard(self, file: BinaryIO) -> None:
        with suppress(OSError):  # what could not be written cannot be flushed either
            file.close()
        with suppress(OSError):
            self._part.unlink()
