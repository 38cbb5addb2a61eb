"""Boxes that a user brings along: a CSV in place of detection."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from fastck.faces.box import FaceBox

COLUMNS = ("sequence", "frame", "top", "left", "bottom", "right")


@dataclass(frozen=True)
class BoxFile:
    """The boxes of a CSV file.

    Attributes
    ----------
    boxes : dict of str to dict of int to FaceBox
        By sequence and frame number, counted from 1; the largest of each frame.
    digest : str
        Names the file's content in a store's configuration.
    """

    boxes: dict[str, dict[int, FaceBox]]
    digest: str

    def found(self, sequence: str, n_frames: int) -> list[FaceBox | None]:
        """Return a sequence's box for each frame, None where the file has none."""
        own = self.boxes.get(sequence, {})
        return [own.get(number) for number in range(1, n_frames + 1)]


def read_boxes(path: str | Path) -> BoxFile:
    """Read face boxes from a CSV with the columns sequence, frame, top, left, bottom, right.

    Parameters
    ----------
    path : path-like
        ``frame`` counts from 1 within the sequence. Edges are pixels, half-open: ``gray[top:bottom, left:right]``. A
        frame without a row counts as a frame without a face; of several rows of a frame the largest box counts, the
        first of equals. Further columns, such as a score, are left alone.

    Returns
    -------
    boxes : BoxFile

    Raises
    ------
    ValueError
        If a column is missing, a value is not a whole number, or a box is empty or has a negative edge.
    """
    data = Path(path).read_bytes()
    try:
        table = pd.read_csv(io.BytesIO(data), dtype="str", keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a CSV file: {error}") from error
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise ValueError(f"{path} must have the columns {', '.join(COLUMNS)}, it lacks {', '.join(missing)}")
    boxes: dict[str, dict[int, FaceBox]] = {}
    for line, (sequence, *numbers) in enumerate(table[list(COLUMNS)].itertuples(index=False), start=2):
        try:
            frame, top, left, bottom, right = (int(number) for number in numbers)
        except ValueError:
            raise ValueError(f"{path} line {line}: whole numbers expected, got {numbers}") from None
        values = ", ".join(numbers)
        if frame < 1 or min(top, left) < 0 or bottom <= top or right <= left:
            raise ValueError(
                f"{path} line {line}: frame >= 1, 0 <= top < bottom, 0 <= left < right expected, got {values}"
            )
        own = boxes.setdefault(str(sequence), {})
        box = FaceBox(top, left, bottom, right)
        if frame not in own or box.area > own[frame].area:
            own[frame] = box
    return BoxFile(boxes, hashlib.sha256(data).hexdigest()[:16])
