"""Action units of a clip's frames: read one after another, and judged against the face's own rest where it shows it."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastck.faces.appearance import Look, median_look
from fastck.faces.units import UNITS, UnitModel

Floats = NDArray[np.float32]
Reference = Literal["onset", "median", "average", "neutral"]
# Units that many faces seem to show by nature: how far eyes are open, how wide the mouth is, how full the lips are and
# how the chin is shaped. They do not count here; without them real faces at rest are told from rendered expressions
# far better (area under the curve 0.88 for 0.72), and rendered ones a little (0.953 for 0.949).
BY_NATURE = ("AU05", "AU07", "AU17", "AU20", "AU28")
# Of the sums of the other intensities beside the average face, without blinks. Of a hundred rendered faces at rest 97
# lie below the first, and 82 real ones. 44 pictures of 30 real people at rest reach 9.5 (mean 3.5, standard deviation
# 2.0): a face that hardly changes shows its rest below the second. A face that rises by RISE over a clip shows its own
# rest: all within SLACK of its lowest. No single unit, of all, is CHANGE from where it is in the first frame, or in the
# calmest where that shows more: a smile may rise while others fall.
CALM, UTMOST, RISE, SLACK, CHANGE = 5.2, 9.8, 2.0, 1.5, 1.5
# So much less than in its first frame a face must show later in the clip, by that sum, for those frames to be its rest,
# and so much more no unit of theirs may be: a smile rises while others fall. LOWEST is the share of frames that may be
# lower still, of a blur or a blink.
FALL, ROSE, LOWEST = 0.8, 0.8, 0.1
# More than in a picture at rest a clip's first frame must show to be none itself, by that sum: 95 of a hundred rendered
# clips that begin at rest show up to 0.8 more where heads are frontal (1.7 where they turn), of those that begin in an
# expression one in twenty less than 1.1.
BEGUN = 1.0
ONSET = 5  # frames at most that an onset is the median of
FEWEST_CALM = 3  # frames, for a median
LASTING = [number for number, name in enumerate(UNITS) if "_" not in name and name != "AU45"]
TELLING = [number for number in LASTING if UNITS[number] not in BY_NATURE]


def expressiveness(absolute: Floats) -> Floats:
    """Return how far frames (N, 44) are from a face at rest: the sum of the intensities that tell, without blinks."""
    return np.asarray(absolute[:, TELLING].sum(axis=1), np.float32)


def calm_frames(absolute: Floats) -> NDArray[np.bool_]:
    """Return in which frames a face is at rest, by intensities beside the rendered average (N, 44)."""
    sums = expressiveness(absolute)
    lowest = int(sums.argmin())
    rises = sums.max() - sums[lowest] >= RISE
    low = sums < (max(CALM, float(sums[lowest]) + SLACK) if rises else UTMOST)
    change = np.abs(absolute[:, LASTING] - absolute[0 if low[0] else lowest, LASTING]).max(axis=1)
    return np.asarray(low & (change < CHANGE))


def calmer_frames(absolute: Floats) -> list[int]:
    """Return the frames in which a face shows clearly less than in the first, nothing more; none where there are none.

    `absolute` are intensities beside the rendered average (N, 44).
    """
    sums = expressiveness(absolute)
    lowest = np.quantile(sums, LOWEST, method="lower")
    if sums[0] - lowest < FALL:
        return []
    low = np.flatnonzero(sums < (lowest + sums[0]) / 2)
    rose = np.median(absolute[low][:, LASTING], axis=0) - absolute[0, LASTING]
    return low.tolist() if rose.max() < ROSE else []


def rest_frames(absolute: Floats) -> tuple[list[int], Reference]:
    """Return which frames show a face's rest, by intensities beside the rendered average (N, 44), and what they are.

    Its first frames where they are calm ("onset") and no later ones clearly calmer, else those or its calm frames where
    there are several ("median"), else none: the rendered average takes their place.
    """
    if not len(absolute):
        return [], "average"
    calm = calm_frames(absolute)
    if calm[0]:
        if calmer := calmer_frames(absolute):
            return calmer, "median"
        end = int(np.argmin(calm)) or len(calm)
        return list(range(min(end, ONSET))), "onset"
    if calm.sum() >= FEWEST_CALM:
        return np.flatnonzero(calm).tolist(), "median"
    return [], "average"


def begins_at_rest(model: UnitModel, units: Floats, neutral: Look) -> bool:
    """Return whether a face first looks as in a picture at rest, by the intensities (N, 44) of frames beside that."""
    return bool(np.all(expressiveness(units[:1]) - expressiveness(model.intensities([neutral], neutral)) < BEGUN))


class FaceUnits(NamedTuple):
    """Action units of a face's frames, and what they are compared with.

    Attributes
    ----------
    intensities : ndarray of shape (N, 44)
        Beside the reference; NaN where the face was not seen.
    reference : {"onset", "median", "average", "neutral"}
    level : ndarray of shape (N, 44), optional
        Where the face is not at rest in the first frame: the intensities that tell what it shows then, beside the
        rendered average or the picture at rest. Beside its own rest they say more about who somebody is.
    """

    intensities: Floats
    reference: Reference
    level: Floats | None


def read_units(model: UnitModel, looks: Sequence[Look | None], *, neutral: Look | None = None) -> FaceUnits:
    """Return the action units of a face's frames, None where it was not seen.

    `neutral` is the same face in a picture that is known to show it at rest, whatever it looks like.
    """
    there = [one for one in looks if one is not None]
    if neutral is not None:
        units = model.intensities(there, neutral)
        reference: Reference = "neutral"
        level = None if begins_at_rest(model, units, neutral) else units
    else:
        level = units = model.intensities(there)
        # One frame alone has nothing to be compared with: beside itself no face shows anything.
        frames, reference = rest_frames(units) if len(there) > 1 else ([], "average")
        if frames:
            units = model.intensities(there, median_look([there[frame] for frame in frames]))
        level = None if reference == "onset" else level
    seen = np.array([one is not None for one in looks], np.bool_)

    def spread(values: Floats) -> Floats:
        found = np.full((len(looks), len(UNITS)), np.nan, np.float32)
        found[seen] = values
        return found

    return FaceUnits(spread(units), reference, None if level is None else spread(level))
