"""Action units as columns of a table of frames, whoever made the table."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from fastck.faces.box import FaceBox, Gray
from fastck.faces.units import UNITS, Seen
from fastck.recognition.reading import UnitReader, read_units

if TYPE_CHECKING:
    import pandas as pd


def add_units(table: "pd.DataFrame", frames: Iterable[Gray]) -> "pd.DataFrame":
    """Return a table of a clip's frames and boxes with the intensities of each face's action units.

    Parameters
    ----------
    table : DataFrame
        With the columns frame (from 1), person, top, left, bottom, right and score; see `fastck.Prediction.frames`.
    frames : iterable of ndarray of shape (H, W), uint8
        The clip's frames, from the first.

    Returns
    -------
    table : DataFrame
        The same rows, with a column for each of UNITS: 0 to 5, NaN where the face was not found in that very frame.
        Each person's are judged beside that person's own rest.
    """
    import pandas as pd

    boxes = table[list(FaceBox._fields)].to_numpy().tolist()
    # Where no score is known at all, every box counts.
    known = table["score"].notna().to_numpy()
    found = known | (not known.any())
    rows = table.groupby("frame").indices
    reader = UnitReader()
    seen: list[Seen | None] = [None] * len(table)
    for number, gray in enumerate(frames, start=1):
        for row in rows.get(number, ()):
            if found[row]:
                seen[row] = reader(gray, FaceBox(*boxes[row]))
    values = np.full((len(table), len(UNITS)), np.nan, np.float32)
    for own in table.groupby("person").indices.values():
        values[own], _ = read_units(reader.model, [seen[row] for row in own])
    return pd.concat([table, pd.DataFrame(values.round(3), columns=list(UNITS), index=table.index)], axis=1)
