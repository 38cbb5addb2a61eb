"""A finished store: plain NumPy files, two tables and a manifest, opened read-only."""

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path, PurePosixPath
from tokenize import TokenError
from typing import TYPE_CHECKING, Any

import cv2
import deflate
import numpy as np
from numpy.lib.format import ARRAY_ALIGN, open_memmap
from numpy.typing import NDArray

from fastck.config import PreprocessConfig
from fastck.dataset.labels import emotion_names
from fastck.messages import error_text, one_line
from fastck.ops.motion import feature_dtype, feature_shape, unpack_masks
from fastck.pages import notebook_html

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1  # raised when an older fastck could no longer read what a newer one writes
MANIFEST, SEQUENCES, QUARANTINE, CHECKSUMS = "manifest.json", "sequences.csv", "quarantine.csv", "checksums.csv"
INPUTS = "inputs.csv"
MANIFEST_KEYS = {"format", "fastck", "config", "config_hash", "input_hash", "versions", "counts", "arrays"}
# What tells stores apart: those that are alike in them hold the same bytes.
WHICH = ("config_hash", "input_hash", "versions", "counts")
BOXES = "boxes"
PICTURE = 320  # pixels: width in a notebook
AGAIN = "make the store again with --overwrite"

TABLE_DTYPES = {
    "sequence": "str",
    "subject": "str",
    "emotion": "Int64",
    "n_frames": "int64",
    "start": "int64",
    "length": "int64",
    "frame_start": "int64",
    "height": "int64",
    "width": "int64",
    "n_missed": "int64",
    "n_box_changes": "int64",
    "motion": "float64",
    "motion_at_box_changes": "float64",
    "folder": "str",
}
# Columns that stores made before them lack.
ADDED_DTYPES = {"label": "str", "fold": "str", "onset": "Int64", "n_people": "int64"}
_TEXT = ("sequence", "subject", "folder", "label", "fold", "reason", "array", "crc32", "fingerprint")
_LISTED = ("sequence", "subject", "emotion", "label", "fold", "n_frames", "length")


def array_layout(name: str, side: int) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return the row shape and dtype of a store's array: a feature, or "boxes" with one row per frame."""
    if name == BOXES:
        return (4,), np.dtype(np.int32)
    return feature_shape(name, side), np.dtype(feature_dtype(name))


def plain_text() -> AbstractContextManager[None]:
    """Have pandas keep text as Python's: PyArrow, which it prefers, takes no folder's name that is not UTF-8."""
    import pandas as pd

    return pd.option_context("mode.string_storage", "python")


def read_store_table(path: Path, dtypes: dict[str, str], added: dict[str, str] | None = None) -> "pd.DataFrame":
    """Read one of the store's CSV files; a sequence called "NA" stays text, columns in `added` may be missing."""
    import pandas as pd

    every = dtypes | (added or {})
    numbers = {name: [""] for name in every if name not in _TEXT}
    try:
        with plain_text():
            table = pd.read_csv(
                path,
                dtype=every,
                keep_default_na=False,
                na_values=numbers,
                encoding_errors="surrogateescape",
                # The default may be off in the last bit, and a table that is written again must keep its bytes.
                float_precision="round_trip",
            )
    except ValueError as error:  # not a CSV file, or text where a number belongs
        raise ValueError(f"{path} is damaged ({error}); {AGAIN}") from error
    missing = set(dtypes) - set(table.columns)
    if missing:
        raise ValueError(f"{path} lacks the columns {sorted(missing)}: made by another fastck version?")
    return table


def folder_below(root: str | PathLike[str], folder: str) -> Path:
    """Return a sequence's folder, or its video file, below the data set's root.

    Parameters
    ----------
    root : path-like
    folder : str
        As a store's table names it. A store may come from anywhere, so this may be anything.

    Raises
    ------
    ValueError
        If the folder leads outside of the root.
    """
    parts = PurePosixPath(folder).parts
    if not folder or folder.startswith("/") or ".." in parts or "\0" in folder:
        raise ValueError(f"a store's folders must lie below the data set's root, got {one_line(folder)!r}: {AGAIN}")
    return Path(root).joinpath(*parts)


def open_array(path: Path) -> NDArray[Any]:
    """Return a read-only memmap of a .npy file.

    Raises
    ------
    ValueError
        If it is cut off, damaged, or something else; unlike np.load this knows neither pickles nor archives.
    OSError
        If it cannot be read.
    """
    try:
        array = open_memmap(path, mode="r")
    except (ValueError, TypeError, OverflowError, SyntaxError, TokenError) as error:  # NumPy's, on odd headers
        raise ValueError(f"{path} is damaged ({error}); {AGAIN}") from error
    # NumPy pads a header; one that says it is shorter would move all values.
    if array.offset % ARRAY_ALIGN:
        raise ValueError(f"{path} is damaged (its values begin at byte {array.offset}); {AGAIN}")
    return array


@dataclass(frozen=True, repr=False)
class Store:
    """Motion features of many sequences, as `fastck.preprocess` leaves them.

    Attributes
    ----------
    path : Path
        The store's folder.
    manifest : dict
        Format version, configuration and its hash, library versions, counts, array shapes.
    """

    path: Path
    manifest: dict[str, Any]

    def __len__(self) -> int:
        return len(self.table)

    def __iter__(self) -> Iterator[str]:
        """Yield the ids of the sequences, for `sequence` and `row`."""
        return iter(self.table["sequence"])

    def __bool__(self) -> bool:
        # A store that holds nothing is a store all the same.
        return True

    def __repr__(self) -> str:
        return f"<Store {one_line(self.path)}: {len(self)} sequences, {', '.join(self.features)}>"

    def _repr_html_(self) -> str:
        rows: dict[str, object] = {
            "sequences": len(self),
            "subjects": self.table["subject"].nunique(),
            "frames": int(self.table["n_frames"].sum()),
            "labelled": int((self.table["label"] != "").sum()),
            "quarantined": len(self.quarantine),
            "features": ", ".join(self.features),
        }
        if not len(self):
            return notebook_html(f"Store {self.path.name}", rows)
        name, feature = next(iter(self)), self.features[0]
        caption = f"{feature} of {name}, step by step from above"
        values = self.sequence(name, feature).astype(np.float64)
        return notebook_html(f"Store {self.path.name}", rows, picture=_picture(values), caption=caption)

    def __getstate__(self) -> dict[str, Any]:
        # What was read from the folder is read anew where the store is unpickled, memmaps above all.
        return {"path": self.path, "manifest": self.manifest}

    @cached_property
    def config(self) -> PreprocessConfig:
        """The configuration the store was made with."""
        return PreprocessConfig.from_dict(self.manifest["config"])

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features the store holds."""
        return self.config.features

    @cached_property
    def table(self) -> "pd.DataFrame":
        """One row per good sequence, sorted by sequence.

        Columns: sequence, subject, emotion (nullable), n_frames, start and length (rows in the feature arrays),
        frame_start (row in `boxes`), height and width (pixels of a frame), n_missed (frames without a face),
        n_box_changes (frames whose box differs from the one before), motion (mean share of mask pixels that are on),
        motion_at_box_changes (the same over the steps where the box changed, NaN for none), folder (below the root),
        label (the emotion's name, or any text a table gives, "" for none), fold (as a table gives it), onset (the
        first frame's number within its folder or video, where the sequence is a part of it), n_people (faces of the
        first frame with a face that are at least half as wide as its largest; 0 where no face was searched).
        """
        import pandas as pd

        table = self._read(SEQUENCES, TABLE_DTYPES, ADDED_DTYPES)
        # A store made before there were labels has emotions, no folds, whole sequences only, and nobody counted.
        before: dict[str, Any] = {
            "label": emotion_names(table["emotion"]),
            "fold": "",
            "onset": pd.array([pd.NA] * len(table), "Int64"),
            "n_people": 0,
        }
        return table.assign(**{name: column for name, column in before.items() if name not in table})

    @cached_property
    def quarantine(self) -> "pd.DataFrame":
        """One row per sequence that was left out: sequence, reason, folder."""
        return self._read(QUARANTINE, {"sequence": "str", "reason": "str", "folder": "str"})

    @cached_property
    def listing(self) -> "pd.DataFrame":
        """One row per sequence that was planned, good or not.

        Columns: sequence, subject, emotion, label, fold, n_frames, length (steps). Folds are made from it, so
        that a sequence that ends in the quarantine moves no other.
        """
        if not (self.path / INPUTS).exists():
            return self.table[list(_LISTED)]
        kinds = {name: TABLE_DTYPES[name] for name in ("sequence", "subject", "emotion", "n_frames")}
        planned = self._read(INPUTS, kinds, {"label": "str", "fold": "str"})
        names = emotion_names(planned["emotion"])
        # It has these columns only where a table gave labels that are no emotion's name, and folds.
        label = names.where(names != "", planned["label"]) if "label" in planned else names
        fold = planned.get("fold", "")
        length = (planned["n_frames"] - 1).clip(lower=0)
        return planned.assign(label=label, fold=fold, length=length)[list(_LISTED)]

    @cached_property
    def fingerprints(self) -> "pd.DataFrame":
        """One row per planned sequence: sequence, fingerprint (of its files); none where the store lists none."""
        import pandas as pd

        kinds = {"sequence": "str", "fingerprint": "str"}
        if not (self.path / INPUTS).exists():
            return pd.DataFrame({name: [] for name in kinds}, dtype="str")
        return self._read(INPUTS, kinds)[list(kinds)]

    @property
    def has_checksums(self) -> bool:
        """Whether the store lists its checksums."""
        return (self.path / CHECKSUMS).exists()

    @cached_property
    def checksums(self) -> "pd.DataFrame":
        """One row per good sequence and array: sequence, array, crc32 (8 hexadecimal digits)."""
        return self._read(CHECKSUMS, {"sequence": "str", "array": "str", "crc32": "str"})

    @cached_property
    def boxes(self) -> NDArray[np.int32]:
        """Read-only memmap of shape (frames, 4), int32: the box each frame was cropped with, as FaceBox orders it."""
        return self._array(BOXES)

    def feature(self, name: str) -> NDArray[Any]:
        """Return a read-only memmap of all rows of a feature, sequence after sequence.

        Parameters
        ----------
        name : str
            "projection" gives (N, 2, side) float32, "pool134", "pool67", "pool34" (N, h, w) float32, "mask"
            (N, side, ceil(side / 8)) uint8 packed as ``np.packbits(mask, axis=-1)`` does, "flow" (N, 3, 28, 28) and
            "flow_projection" (N, 4, 64) float32; docs/explanation/flow.md says what they hold. "units" are
            (N, 1, 180) float32: intensities of 44 action units, and the shape.

        Raises
        ------
        ValueError
            If the store does not hold the feature, or its file is damaged.
        """
        if name not in self.features:
            raise ValueError(f"feature must be one of {', '.join(self.features)} in this store, got {name!r}")
        return self._array(name)

    def sequence(self, sequence: str, feature: str) -> NDArray[Any]:
        """Return one sequence's rows of a feature, (length, ...); masks as 0 and 1, (length, side, side) uint8.

        Raises
        ------
        ValueError
            If the store does not hold the sequence or the feature.
        """
        row = self.row(sequence)
        rows = self.feature(feature)[row.start : row.start + row.length]
        return unpack_masks(rows, width=self.config.faces.side) if feature == "mask" else rows

    def row(self, sequence: str) -> Any:
        """Return the table's row of a sequence as a named tuple."""
        position = self._positions.get(sequence)
        if position is None:
            raise ValueError(f"{self.path} holds no sequence {sequence!r}{self._why_missing(sequence)}")
        return next(self.table.iloc[[position]].itertuples(index=False))

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {name: position for position, name in enumerate(self.table["sequence"])}

    def _why_missing(self, sequence: str) -> str:
        left_out = self.quarantine.loc[self.quarantine["sequence"] == sequence, "reason"]
        if left_out.empty:
            return f"; its {SEQUENCES} lists what it holds"
        return f": quarantined, {one_line(left_out.iloc[0])}"

    def _array(self, name: str) -> NDArray[Any]:
        path = self.path / f"{name}.npy"
        shape, dtype = tuple(self.manifest["arrays"][name]["shape"]), np.dtype(self.manifest["arrays"][name]["dtype"])
        with self._unchanged():
            array = open_array(path)
        if array.shape != shape or array.dtype != dtype:
            raise ValueError(f"{path} must hold {shape} {dtype}, got {array.shape} {array.dtype}; {AGAIN}")
        return array

    def _read(self, name: str, dtypes: dict[str, str], added: dict[str, str] | None = None) -> "pd.DataFrame":
        with self._unchanged():
            return read_store_table(self.path / name, dtypes, added)

    @contextmanager
    def _unchanged(self) -> Iterator[None]:
        """Raise ValueError where another store has come into the folder: two would be mixed.

        A store that is replaced loses its manifest first and gets the new one last, and what was opened stays as it
        was: it is the opened store's if the manifest is, afterwards.
        """
        try:
            yield
        finally:
            try:
                now = json.loads((self.path / MANIFEST).read_bytes())
            except (OSError, ValueError):
                now = {}
            if not isinstance(now, dict) or any(now.get(name) != self.manifest[name] for name in WHICH):
                raise ValueError(f"{self.path} was replaced or removed since it was opened: open it again")

    def verify(self) -> Iterator[str]:
        """Check every array's shape and every sequence's checksum.

        Yields
        ------
        problem : str
            One line for each thing that is wrong; nothing for a sound store.
        """
        counts = self.manifest["counts"]
        try:
            sizes = {"sequences": len(self.table), "quarantined": len(self.quarantine)}
            expected = self.checksums
        except (ValueError, OSError) as error:
            yield error_text(error)
            return
        for name, size in sizes.items():
            if size != counts[name]:
                yield f"{name}: expected {counts[name]} rows in the table, got {size}"
        for name in self.manifest["arrays"]:
            try:
                array = self._array(name)
            except (ValueError, OSError) as error:
                yield error_text(error)
                continue
            sums = expected[expected["array"] == name].set_index("sequence")["crc32"].to_dict()
            start, length = ("frame_start", "n_frames") if name == BOXES else ("start", "length")
            for row in self.table.to_dict("records"):
                rows = array[row[start] : row[start] + row[length]]
                if checksum(rows) != sums.get(row["sequence"]):
                    yield f"{name}.npy: the rows of {one_line(row['sequence'])} are not what was written"


def checksum(rows: NDArray[Any], before: str = "00000000") -> str:
    """Return the CRC-32 of the rows' bytes as 8 hexadecimal digits, continuing `before`."""
    return f"{deflate.crc32(np.ascontiguousarray(rows).data, int(before, 16)):08x}"


def _picture(values: NDArray[np.float64]) -> bytes:
    """Return rows of numbers, (T, ...), as a PNG picture: the largest white; of masks their mean over time."""
    flat = values.mean(axis=0) if values.ndim == 3 else values.reshape(len(values), -1)
    shades = 255 * (flat - flat.min()) / max(float(np.ptp(flat)), 1e-9)
    large = cv2.resize(shades.astype(np.uint8), (PICTURE, PICTURE // 2), interpolation=cv2.INTER_AREA)
    return cv2.imencode(".png", large)[1].tobytes()


def open_store(path: str | Path) -> Store:
    """Open a finished store.

    Parameters
    ----------
    path : path-like
        A folder that `fastck.preprocess` made.

    Returns
    -------
    store : Store

    Raises
    ------
    ValueError
        If the folder is not a store, is not finished, or comes from a newer fastck.
    """
    path = Path(path)
    try:
        text = (path / MANIFEST).read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        unfinished = (path / "journal.jsonl").exists()
        hint = (
            "its preprocessing was not finished: run the same `fastck preprocess` again"
            if unfinished
            else "not a store"
        )
        raise ValueError(f"{path} has no {MANIFEST}: {hint}") from None
    return Store(path, parse_manifest(text, path / MANIFEST))


def parse_manifest(text: str, path: Path) -> dict[str, Any]:
    """Return the manifest's values, checked.

    Raises
    ------
    ValueError
        If it is not JSON, from a newer format, or has unknown or missing keys.
    """
    try:
        manifest = json.loads(text)
        version = manifest["format"]
    except (json.JSONDecodeError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"{path} is not a store's manifest: {error}") from error
    if not isinstance(version, int) or version > FORMAT:
        raise ValueError(f"{path} has format {version}, this fastck reads up to {FORMAT}: update fastck")
    # Older manifests also name the layout that the data set was read with.
    manifest.pop("layout", None)
    if set(manifest) != MANIFEST_KEYS:
        unknown, missing = sorted(set(manifest) - MANIFEST_KEYS), sorted(MANIFEST_KEYS - set(manifest))
        raise ValueError(f"{path} has unknown keys {unknown} and lacks {missing}: made or edited by something else?")
    for name, check in (("config", PreprocessConfig.from_dict), ("counts", _check_counts), ("arrays", _check_arrays)):
        try:
            check(manifest[name])
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"{path}: {name} is not what fastck writes: {error}") from error
    missing = sorted(set(manifest["config"]["features"]) - set(manifest["arrays"]))
    if missing:
        raise ValueError(f"{path}: arrays lacks {missing}")
    return manifest


def _check_counts(counts: dict[str, Any]) -> None:
    for name in ("sequences", "quarantined"):
        int(counts[name])


def _check_arrays(arrays: dict[str, Any]) -> None:
    for layout in arrays.values():
        tuple(map(int, layout["shape"])), np.dtype(layout["dtype"])
