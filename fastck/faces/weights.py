"""The installed dlib's frontal face detector as arrays, read from what dlib saves: nothing of it is shipped."""

import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import cache
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastck.faces.features import usual_moments
from fastck.kernels.hog import CELL, DETECTORS, PAIRS, PLANES, REDUCED, SIDE, WINDOW
from fastck.outputs import cache_folder, write_atomically

FILTERS = PLANES * WINDOW * WINDOW
VERSIONS = (2, 1)  # of dlib's object_detector and scan_fhog_pyramid formats
# Cell, padding, window, levels at most, smallest level: what the kernels compute.
KEPT = REDUCED - 1  # sums that a cell is reduced to, beside the length of what they leave out
TEXTURE = 4 / 3  # what a texture counts beside an orientation in that length; best of those tried
GEOMETRY = (8, 0, 80, 80, 1000, 64, 64)

_making = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class FilterBank:
    """The sub-detectors of a `scan_fhog_pyramid` detector.

    Attributes
    ----------
    weights : ndarray of shape (D, 10, 320), float32
        Each sub-detector's filter: rows of 10 cells of 31 planes and a zero.
    basis : ndarray of shape (32, 16), float32
        What reduces a cell: 15 directions, a column each; the last row holds what the squares of the planes from 24 on
        count in a cell's length.
    spectra : ndarray of shape (32 * 32 * D * 16,), float32
        Filters of reduced cells for tiles of 32x32 cells, by frequency: planes 0 to 7 count as real, the others as
        imaginary parts; real parts of the conjugated transform, then its imaginary ones, over 2 * 32 * 32: a
        frequency and the opposite one add up.
    thresholds : ndarray of shape (D,), float64
        Score from which on a window of each sub-detector is a detection.
    iou, percent_covered : float
        Two boxes suppress each other where their intersection has more than this share of the box around both, or of
        either (dlib's test_box_overlap).
    """

    weights: NDArray[np.float32]
    basis: NDArray[np.float32]
    spectra: NDArray[np.float32]
    thresholds: NDArray[np.float64]
    iou: float
    percent_covered: float


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


def separable(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (10, 10) filters without their weakest singular values, which dlib leaves out on loading."""
    u, values, vt = np.linalg.svd(weights)
    # scan_fhog_pyramid.h, build_fhog_filterbank
    floor = np.maximum(1e-4, values.max(axis=-1, keepdims=True) * 0.001)
    return np.asarray((u * np.where(values >= floor, values, 0)[..., None, :]) @ vt)


def directions(filters: NDArray[np.float64], moments: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the KEPT orthonormal directions, (31, KEPT), that matter most to filters (D, 10, 10, 31) of usual cells.

    They decide how close the bound on a window's score is, never whether it holds.
    """
    values, vectors = np.linalg.eigh(moments)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    flat = filters.reshape(-1, PLANES) @ root
    strongest = np.linalg.eigh(flat.T @ flat)[1][:, ::-1][:, :KEPT]
    return np.asarray(np.linalg.qr(root @ strongest)[0])


def reduce_filters(filters: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return the basis that reduces cells, and filters (D, 10, 10, 31) reduced to (D, 10, 10, 16).

    A filter times a cell is the sum over the directions kept, plus what both leave out, times each other: at most the
    product of the lengths of these (Cauchy-Schwarz). So a reduced filter times a reduced cell is never less.
    """
    scale = np.append(np.ones(PLANES - 4), np.full(4, TEXTURE))
    scaled = filters / scale
    kept = directions(scaled, usual_moments() * np.outer(scale, scale))
    basis = np.zeros((CELL, REDUCED))
    basis[:PLANES, :KEPT] = kept * scale[:, None]
    basis[-1, :8] = np.append(scale[24:] ** 2, 1)
    sums = scaled @ kept
    left = np.linalg.norm(scaled - sums @ kept.T, axis=-1, keepdims=True)
    return basis.astype(np.float32), np.concatenate([sums, left], axis=-1)


def make_bank(filters: NDArray[np.float64], thresholds: NDArray[np.float64], iou: float, covered: float) -> FilterBank:
    """Lay filters of shape (D, 31, 10, 10) out for the kernels."""
    cells = np.zeros((len(filters), WINDOW, WINDOW, CELL))
    cells[..., :PLANES] = filters.transpose(0, 2, 3, 1)
    basis, reduced = reduce_filters(cells[..., :PLANES])
    pairs = reduced[..., :PAIRS] + 1j * reduced[..., PAIRS:]
    spectra = np.conj(np.fft.fft2(pairs, (SIDE, SIDE), axes=(1, 2))).transpose(1, 2, 0, 3) / (2 * SIDE**2)
    return FilterBank(
        weights=cells.reshape(len(filters), WINDOW, WINDOW * CELL).astype(np.float32),
        basis=basis,
        spectra=np.stack([spectra.real, spectra.imag], axis=3).astype(np.float32).ravel(),
        thresholds=thresholds,
        iou=iou,
        percent_covered=covered,
    )


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
    iou, percent_covered = reader.number(), reader.number()
    if (count := reader.integer()) != DETECTORS:
        raise ValueError(f"expected dlib's detector with {DETECTORS} sub-detectors, got {count}")
    filters, thresholds = [], []
    for _ in range(count):
        size = reader.integer() * reader.integer()
        if size != FILTERS + 1:
            raise ValueError(f"expected {FILTERS + 1} weights per sub-detector in dlib's detector, got {size}")
        values = np.array([reader.number() for _ in range(size)])
        thresholds.append(values[-1])
        filters.append(separable(values[:-1].reshape(PLANES, WINDOW, WINDOW)))
    return make_bank(np.stack(filters), np.array(thresholds), iou, percent_covered)


@cache
def frontal_bank() -> FilterBank:
    """Return the filters of the installed dlib's frontal face detector: from the cache folder, once they are there.

    dlib takes a quarter of a second to construct its detector, and laying out its filters takes longer.
    """
    # Threads that begin at the same time take turns: the second one finds what the first one has kept.
    with _making:
        folder = cache_folder()
        if folder is None:
            return parse_detector(installed_detector())
        path = folder / f"filters-{_makers()}.npz"
        kept = _kept_bank(path)
        if kept is None:
            kept = parse_detector(installed_detector())
            _keep_bank(path, kept)
        return kept


def installed_detector() -> bytes:
    """Return the installed dlib's frontal face detector as it saves it."""
    import dlib

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "detector.svm"
        dlib.get_frontal_face_detector().save(str(path))
        return path.read_bytes()


def _makers() -> str:
    """Return a digest of what decides a bank's values: dlib's version, NumPy's, and the code here."""
    import dlib

    here = Path(__file__).parent
    digest = sha256(f"{dlib.__version__} {np.__version__}".encode())
    for name in ("weights.py", "features.py"):
        digest.update((here / name).read_bytes())
    return digest.hexdigest()[:16]


def _keep_bank(path: Path, bank: FilterBank) -> None:
    """Write a bank, behind a checksum; nothing where there is no room for it: it is made anew then."""
    file = BytesIO()
    np.savez(file, **{entry.name: getattr(bank, entry.name) for entry in fields(FilterBank)})
    data = file.getvalue()
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, sha256(data).digest() + data)


def _kept_bank(path: Path) -> FilterBank | None:
    """Return the bank of a file; None where there is none, or a damaged one."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    digest, data = data[:32], data[32:]
    if sha256(data).digest() != digest:
        return None
    with np.load(BytesIO(data), allow_pickle=False) as file:
        values: dict[str, Any] = {name: file[name] for name in file.files}
    for name in ("iou", "percent_covered"):
        values[name] = float(values[name])
    return FilterBank(**values)
