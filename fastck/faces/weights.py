"""The installed dlib's frontal face detector as arrays, read from what dlib saves: nothing of it is shipped."""

import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PLANES = 31
WINDOW = 10  # cells per side of a filter: 80 pixels in cells of 8
FILTERS = PLANES * WINDOW * WINDOW
VERSIONS = (2, 1)  # of dlib's object_detector and scan_fhog_pyramid formats
GEOMETRY = (
    8,
    0,
    80,
    80,
    1000,
    64,
    64,
)  # cell, padding, window, levels at most, smallest layer: what the kernels compute


@dataclass(frozen=True, kw_only=True)
class FilterBank:
    """The sub-detectors of a `scan_fhog_pyramid` detector as sums of separable filters.

    Attributes
    ----------
    planes, detectors : ndarray of shape (K,), int32
        The HOG plane each separable filter reads, ascending, and the sub-detector it adds to.
    rows, columns : ndarray of shape (K, 10), float32
        The filters along a row and along a column.
    thresholds : ndarray of shape (D,), float64
        Score from which on a window of each sub-detector is a detection.
    union_share, covered_share : float
        Two boxes exclude each other where their intersection has more than this share of the box around both, or of
        either.
    """

    planes: NDArray[np.int32]
    detectors: NDArray[np.int32]
    rows: NDArray[np.float32]
    columns: NDArray[np.float32]
    thresholds: NDArray[np.float64]
    union_share: float
    covered_share: float


class _Reader:
    """dlib's portable numbers: a length byte with the sign in its top bit, then the value's bytes, lowest first."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def integer(self) -> int:
        if self.at >= len(self.data):
            raise ValueError("dlib's detector file ends early")
        control = self.data[self.at]
        size = control & 0x0F
        value = int.from_bytes(self.data[self.at + 1 : self.at + 1 + size], "little")
        self.at += 1 + size
        return -value if control & 0x80 else value

    def number(self) -> float:
        mantissa = self.integer()
        return float(mantissa) * 2.0 ** self.integer()


def separable(weights: NDArray[np.float64]) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Split a (10, 10) filter into (row, column) pairs, weakest singular values left out as dlib does on loading."""
    u, values, vt = np.linalg.svd(weights)
    floor = max(1e-4, values.max() * 0.001)  # scan_fhog_pyramid.h, build_fhog_filterbank
    return [(vt[j] * np.sqrt(s), u[:, j] * np.sqrt(s)) for j, s in enumerate(values) if s >= floor]


def parse_detector(data: bytes) -> FilterBank:
    """Read a detector as `dlib.fhog_object_detector.save` writes it.

    Parameters
    ----------
    data : bytes
        The whole file.

    Returns
    -------
    bank : FilterBank

    Raises
    ------
    ValueError
        If the format is another one or the detector's geometry is not the frontal face detector's.
    """
    reader = _Reader(data)
    versions = (reader.integer(), reader.integer())
    reader.integer(), reader.integer()  # room for and number of feature planes: none are kept
    geometry = tuple(reader.integer() for _ in GEOMETRY)
    reader.number()  # nuclear norm regularisation, of use in training only
    if versions != VERSIONS or geometry != GEOMETRY or reader.integer() != FILTERS:
        raise ValueError(f"expected dlib's detector format {VERSIONS} with {GEOMETRY}, got {versions} with {geometry}")
    union_share, covered_share = reader.number(), reader.number()
    parts: list[tuple[int, int, NDArray[np.float64], NDArray[np.float64]]] = []
    thresholds = []
    for detector in range(reader.integer()):
        size = reader.integer() * reader.integer()
        if size != FILTERS + 1:
            raise ValueError(f"expected {FILTERS + 1} weights per sub-detector, got {size}")
        values = np.array([reader.number() for _ in range(size)])
        thresholds.append(values[-1])
        for plane, weights in enumerate(values[:-1].reshape(PLANES, WINDOW, WINDOW)):
            parts += [(plane, detector, row, column) for row, column in separable(weights)]
    parts.sort(key=lambda part: part[:2])
    planes, detectors, rows, columns = zip(*parts, strict=True)
    return FilterBank(
        planes=np.array(planes, np.int32),
        detectors=np.array(detectors, np.int32),
        rows=np.array(rows, np.float32),
        columns=np.array(columns, np.float32),
        thresholds=np.array(thresholds),
        union_share=union_share,
        covered_share=covered_share,
    )


@cache
def frontal_bank() -> FilterBank:
    """Return the filters of the installed dlib's frontal face detector, parsed once per process."""
    import dlib

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "detector.svm"
        dlib.get_frontal_face_detector().save(str(path))
        return parse_detector(path.read_bytes())
