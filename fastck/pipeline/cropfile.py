"""The cut-out faces of one sequence on disk: a plain .npy file with a record per frame."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import deflate
import numpy as np
from numpy.lib.format import write_array_header_1_0
from numpy.typing import NDArray

from fastck.faces.box import Gray
from fastck.store.reader import open_array

log = logging.getLogger(__name__)
_warned: set[Path] = set()  # folders that could not be written: one warning for all sequences


def record_type(side: int) -> np.dtype[Any]:
    """What is kept of a frame: its size, its crop, and the checksum of both."""
    return np.dtype([("height", "<u4"), ("width", "<u4"), ("crc32", "<u4"), ("crop", "u1", (side, side))])


@dataclass(frozen=True)
class CropFile:
    """The kept crops of a sequence.

    Attributes
    ----------
    path : Path
        Of the file, there or not.
    n_frames, side : int
        What it has to hold.
    """

    path: Path
    n_frames: int
    side: int

    def load(self) -> NDArray[np.void] | None:
        """Return the records as a memmap; None where there are none, or a single byte of them is not as it was."""
        dtype = record_type(self.side)
        try:
            records = open_array(self.path)
        except (OSError, ValueError):
            return None
        if records.shape != (self.n_frames,) or records.dtype != dtype:
            return None
        if any(_checksum(record) != record["crc32"] for record in records):
            return None
        return records

    def keep(self, crops: Iterable[Gray], shape: tuple[int, int]) -> Iterator[Gray]:
        """Pass crops on and write them down; the file appears once the last one has come.

        A disk that is full or not writable costs the file, not the run.

        Parameters
        ----------
        crops : iterable of ndarray of shape (side, side), uint8
        shape : (int, int)
            Height and width of the frames in pixels.
        """
        part = self.path.with_suffix(".part")
        try:
            part.parent.mkdir(parents=True, exist_ok=True)
            file = part.open("wb")
        except OSError as error:
            self._warn(error)
            yield from crops
            return
        record = np.empty(1, record_type(self.side))
        record["height"], record["width"] = shape
        good = True
        try:
            header = {"descr": record.dtype.descr, "fortran_order": False, "shape": (self.n_frames,)}
            good = self._try(lambda: write_array_header_1_0(file, header))
            for crop in crops:
                record["crop"] = crop
                record["crc32"] = _checksum(record[0])
                good = good and self._try(lambda: file.write(record.data))
                yield crop
            good = good and self._try(file.close) and self._try(lambda: part.replace(self.path))
        except BaseException:
            good = False
            raise
        finally:
            if not good:
                # What could not be written cannot be flushed either.
                with suppress(OSError):
                    file.close()
                with suppress(OSError):
                    part.unlink()

    def _try(self, action: Any) -> bool:
        try:
            action()
        except OSError as error:
            self._warn(error)
            return False
        return True

    def _warn(self, error: OSError) -> None:
        folder = self.path.parent
        if folder not in _warned:
            _warned.add(folder)
            log.warning("crops are not kept between runs: %s: %s", folder, error.strerror)


def _checksum(record: np.void) -> int:
    """Return the CRC-32 of a frame's size and crop."""
    size = np.array([record["height"], record["width"]], "<u4")
    return int(deflate.crc32(record["crop"].data, deflate.crc32(size.data)))
