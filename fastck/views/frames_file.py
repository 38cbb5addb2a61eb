"""A row per frame and face as a CSV or Parquet file that grows clip by clip."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastck.dataset.csvfile import plain_place
from fastck.messages import one_line
from fastck.outputs import GrowingFile, replacing

if TYPE_CHECKING:
    import pandas as pd

FRAME_SUFFIXES = (".csv", ".parquet")


def check_frames_file(path: Path) -> None:
    """Raise ValueError where a file's name says no format that frames are written in, or the library is missing."""
    if path.suffix.lower() not in FRAME_SUFFIXES:
        raise ValueError(f"frames are written as {' or '.join(FRAME_SUFFIXES)}, got {one_line(path.name)}")
    if path.suffix.lower() == ".parquet":
        try:
            import pyarrow  # noqa: F401
        except ImportError:
            raise ValueError(
                "Parquet needs pyarrow, which is not installed: pip install 'fastck[parquet]', or write a .csv"
            ) from None


def answers_csv(table: "pd.DataFrame", *, header: bool) -> str:
    """Return a table of answers or frames as CSV; no path in its column input is a formula to a spreadsheet."""
    import pandas as pd

    # A column of pandas' own text holds UTF-8 alone; a path may be bytes that are none.
    paths = pd.Series([plain_place(path) for path in table["input"]], table.index, dtype=object)
    plain = table.assign(input=paths)
    return plain.to_csv(index=False, header=header, lineterminator="\n")


class FramesFile:
    """A table that is written part by part; see `fastck.recognition.prediction.Prediction.frames`.

    A CSV file has each part when it was added. A Parquet file gets its name when it is closed: before that nobody can
    read it.

    Parameters
    ----------
    path : Path
        ``.csv`` or ``.parquet``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stack = ExitStack()
        self._file: Any = None

    def add(self, table: "pd.DataFrame") -> None:
        """Write the next rows; all parts have the same columns."""
        if self.path.suffix.lower() == ".parquet":
            self._add_parquet(table)
            return
        first = self._file is None
        if first:
            self._file = GrowingFile(self.path)
            self._stack.callback(self._file.close)
        text = answers_csv(table, header=first)
        self._file.add(text.encode(errors="surrogateescape"))

    def _add_parquet(self, table: "pd.DataFrame") -> None:
        import pyarrow
        from pyarrow import parquet

        # Parquet's text is UTF-8.
        rows = pyarrow.Table.from_pandas(table.assign(input=table["input"].map(one_line)), preserve_index=False)
        if self._file is None:
            temporary = self._stack.enter_context(replacing(self.path))
            self._file = self._stack.enter_context(parquet.ParquetWriter(temporary, rows.schema))
        self._file.write_table(rows.cast(self._file.schema))

    def close(self) -> Sequence[Path]:
        """Close the file; return it where anything was written."""
        self._stack.close()
        return [] if self._file is None else [self.path]
