"""Action units of a clip's frames: read one after another, and judged against the face's own rest where it shows it."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fastck.faces.units import UNITS, Seen, UnitModel

Floats = NDArray[np.float32]
Reference = Literal["onset", "median", "average"]
# Of the sums of the absolute network's intensities, without blinks. Of a hundred rendered clips that begin at rest 99
# begin below the first, 95 where the points lie 0.03 of the eye corners' distance elsewhere, as real ones do. Real
# faces at rest reach 11.8: one that hardly changes shows its rest below the second. A face that rises by RISE over a
# clip shows its own rest: all within SLACK of its lowest.
CALM, UTMOST, RISE, SLACK = 6.5, 12.5, 2.0, 1.5
ONSET = 5  # frames at most that an onset is the median of
FEWEST_CALM = 3  # frames, for a median
LASTING = [number for number, name in enumerate(UNITS) if "_" not in name and name != "AU45"]


def expressiveness(absolute: Floats) -> Floats:
    """Return how far frames (N, 44) are from a face at rest: the sum of their intensities, without blinks."""
    return np.asarray(absolute[:, LASTING].sum(axis=1), np.float32)


def calm_frames(sums: Floats) -> NDArray[np.bool_]:
    """Return in which frames a face is at rest, by its `expressiveness` in them."""
    lowest = float(sums.min())
    if sums.max() - lowest >= RISE:
        return np.asarray(sums < max(CALM, lowest + SLACK))
    return np.asarray(sums < UTMOST)


def choose_rest(model: UnitModel, seen: Sequence[Seen]) -> tuple[Floats | None, Reference]:
    """Return the `rest` of a face for `UnitModel.intensities`, and what it was taken from.

    Its first frames where they are calm ("onset"), else the median over its calm frames where there are several
    ("median"), else None: the rendered average takes its place.
    """
    if not seen:
        return None, "average"
    calm = calm_frames(expressiveness(model.intensities(seen)))
    if calm[0]:
        end = int(np.argmin(calm)) or len(calm)
        return _median(seen[: min(end, ONSET)]), "onset"
    if calm.sum() >= FEWEST_CALM:
        return _median([one for one, rests in zip(seen, calm, strict=True) if rests]), "median"
    return None, "average"


def _median(seen: Sequence[Seen]) -> Floats:
    return np.asarray(np.median([one.rest for one in seen], axis=0), np.float32)


def read_units(model: UnitModel, seen: Sequence[Seen | None]) -> tuple[Floats, Reference]:
    """Return the intensities (N, 44) of a face's frames, NaN where it was not seen, and the reference."""
    there = [one for one in seen if one is not None]
    rest, reference = choose_rest(model, there)
    found = np.full((len(seen), len(UNITS)), np.nan, np.float32)
    if there:
        found[[one is not None for one in seen]] = model.intensities(there, rest)
    return found, reference
