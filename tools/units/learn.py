"""Fit the networks of the action units to rendered frames, and measure them.

The patches are brought down to their first principal components while the networks are fitted, and the components are
multiplied into the first layer afterwards: a fit takes a minute, and fewer people are enough.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from fastck.faces import units as model
from fastck.faces.appearance import CELLS, N_PATCHES, N_SHAPE, Look, patch_centres
from fastck.faces.units import OUTPUTS, UNITS, UnitModel
from fastck.kernels.landmarks import DIRECTIONS
from tools.landmarks.points import MIRRORED
from tools.units.fit import DenseConfig, Floats, Weights, fit_dense, squared
from tools.units.frames import PATCH_SCALE, Frames

PRESENT = 1.0  # FACS' A: from this intensity on a unit is there
COMPONENTS = 256
BASIS_PEOPLE = 200  # whom the components are taken from
CHUNK = 4096  # frames whose patches are taken as numbers at once
MORE, ROUNDS = 40, 2  # columns and passes more than the components need, to find them (Halko et al., 2011)
MOST_RESTING = 4  # frames that a reference is the mean of
REFERENCES = 8  # of a person, to be drawn from
STAINED, STAIN = 0.25, 0.3  # share of the references with some of the frame itself in them, and how much at most
OFFSET = 0.02  # of a person's points, shares of the eye corners' distance: real points lie elsewhere than rendered ones
JITTER = 0.004  # of a frame's points
BLIND = 0.1  # share of the rows whose patches are all left out
KEPT = 0.8  # of the others' components
LOPSIDED, MORE_LOPSIDED = 1.5, 2  # difference of intensity between the sides; how often more such rows are shown
# Intensity from which on a mouth smiles, how often more it is shown smiling with lips that are closed: a dimpler looks
# nearly the same, and is rarer.
SMILING, MORE_SMILING = 0.7, 2
# Units that are seen least, from which intensity on, and how often more.
RARE, CLEARLY, MORE_RARE = ("AU18", "AU28"), 1.5, 2
OTHER_SIDE = 1_000_000  # added to a person's number: their mirrored self


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Frames and their mirror images as the networks learn from them.

    Attributes
    ----------
    shape, pose : ndarray
        As a `Look` has them.
    parts : ndarray of shape (N, 256), float32
        Components of the patches.
    wanted : ndarray of shape (N, 32), float32
    person : ndarray of shape (N,)
    resting : dict of int to ndarray
        Each person's rows at rest.
    """

    shape: Floats
    pose: Floats
    parts: Floats
    wanted: Floats
    person: NDArray[np.int32]
    resting: dict[int, NDArray[np.intp]]


@dataclass(frozen=True, kw_only=True)
class Basis:
    """The rendered average, and the patches' components (P, 256) from there."""

    mean: Look
    parts: Floats


def patch_mirror() -> NDArray[np.intp]:
    """Return where each value of the patches comes from in a mirrored picture."""
    centres = patch_centres()
    places = {(float(x), float(y)): number for number, (x, y) in enumerate(centres)}
    middle = float(centres[:, 0].min() + centres[:, 0].max())
    facing = [(DIRECTIONS // 2 - way) % DIRECTIONS for way in range(DIRECTIONS)]
    index = np.arange(N_PATCHES).reshape(len(centres), CELLS, CELLS, DIRECTIONS)
    other = [places[middle - float(x), float(y)] for x, y in centres]
    return index[other][:, :, ::-1][..., facing].ravel()


PATCH_MIRROR = patch_mirror()
OUTPUT_MIRROR = np.array([
    OUTPUTS.index(name.replace("left", "right") if "left" in name else name.replace("right", "left"))
    for name in OUTPUTS
])  # fmt: skip


def patches_of(frames: Frames, rows: slice = slice(None)) -> Floats:
    """Return the patches of frames, or of some of them, as a `Look` has them."""
    return frames.patches[rows].astype(np.float32) / np.float32(PATCH_SCALE)


def components_of(frames: Frames, basis: Basis, order: NDArray[np.intp] | None = None) -> Floats:
    """Return the components (N, 256) of the frames' patches, or of their values in another order."""
    parts = np.empty((len(frames), COMPONENTS), np.float32)
    for start in range(0, len(frames), CHUNK):
        values = patches_of(frames, slice(start, start + CHUNK))
        values = values if order is None else values[:, order]
        parts[start : start + CHUNK] = (values - basis.mean.patches) * model.PATCH_SCALE @ basis.parts
    return parts


def mirrored_shape(shape: Floats) -> Floats:
    """Return the shapes (N, 136) of mirrored faces."""
    return (shape.reshape(-1, N_SHAPE // 2, 2)[:, MIRRORED] * np.array([-1, 1], np.float32)).reshape(len(shape), -1)


def basis_of(frames: Frames, seed: int) -> Basis:
    """Return the average of the people at rest, and the components of how patches differ from one's own at rest."""
    resting = frames.act == "rest"
    shape, patches = frames.shape[resting].mean(axis=0), patches_of(frames.pick(resting)).mean(axis=0)
    # The file holds halves: what is checked has to be what is shipped.
    mean = Look(*(
        half.astype(np.float16).astype(np.float32)
        for half in (
            (shape + mirrored_shape(shape[None])[0]) / 2, np.zeros(3, np.float32), (patches + patches[PATCH_MIRROR]) / 2
        )
    ))  # fmt: skip
    differences = []
    for person in np.unique(frames.person)[:BASIS_PEOPLE]:
        own = frames.pick(frames.person == person)
        values = patches_of(own)
        differences.append(values - values[own.act == "rest"].mean(axis=0) if (own.act == "rest").any() else values[:0])
    values = np.concatenate(differences) * model.PATCH_SCALE
    values = np.concatenate([values, values[:, PATCH_MIRROR]])
    found = np.random.default_rng((seed, 30)).standard_normal((N_PATCHES, COMPONENTS + MORE)).astype(np.float32)
    for _ in range(1 + ROUNDS):
        found, _ = np.linalg.qr(values.T @ (values @ found))
    _, sizes, turn = np.linalg.svd(values @ found, full_matrices=False)
    sizes = sizes[:COMPONENTS] / np.sqrt(len(values))
    return Basis(mean=mean, parts=np.asarray(found @ turn[:COMPONENTS].T / np.sqrt(sizes), np.float32))


def rows_of(frames: Frames, basis: Basis, *, both: bool = True) -> Rows:
    """Return frames as rows, with their mirror images."""
    at = [UNITS.index(name) for name in OUTPUTS]
    shape, pose, person, wanted = frames.shape, frames.pose, frames.person, frames.truth[:, at]
    parts, rest = components_of(frames, basis), frames.act == "rest"
    if both:
        other = components_of(frames, basis, PATCH_MIRROR)
        shape = np.concatenate([shape, mirrored_shape(shape)])
        pose = np.concatenate([pose, pose * np.array([-1, 1, -1], np.float32)])
        parts, wanted = np.concatenate([parts, other]), np.concatenate([wanted, wanted[:, OUTPUT_MIRROR]])
        person, rest = np.concatenate([person, person + OTHER_SIDE]), np.concatenate([rest, rest])
    resting = {int(one): np.flatnonzero((person == one) & rest) for one in np.unique(person)}
    return Rows(shape=shape, pose=pose, parts=parts, wanted=wanted, person=person, resting=resting)


def inputs(
    shape: Floats, pose: Floats, parts: Floats, rest: tuple[Floats, Floats, Floats] | None, mean: Look
) -> Floats:
    """Return what a network takes, with components in the place of patches; the relative one where there is a rest."""
    level = (shape - mean.shape) * model.SHAPE_SCALE
    turn = pose * model.POSE_SCALE
    if rest is None:
        return np.concatenate([level, turn, parts], axis=1)
    change, turned = (shape - rest[0]) * model.SHAPE_SCALE, (pose - rest[1]) * model.POSE_SCALE
    return np.concatenate([change, level, turn, turned, parts - rest[2]], axis=1)


def fit_units(
    rows: Rows, basis: Basis, config: DenseConfig, *, relative: bool, parts: frozenset[str], seed: int
) -> Weights:
    """Return the weights of one of the two networks, the components in the place of patches.

    Parameters
    ----------
    rows : Rows
    basis : Basis
    config : DenseConfig
    relative : bool
        Which network.
    parts : frozenset of str
        What it may look at: "shape", "patches".
    seed : int
    """
    usable = np.flatnonzero([len(rows.resting[int(person)]) > 0 for person in rows.person])
    # Most faces move both sides alike: those that do not are shown more often.
    wanted = rows.wanted[usable]
    rare = (wanted[:, [OUTPUTS.index(name) for name in RARE]] >= CLEARLY).any(axis=1)
    shown = ((lopsided(wanted), MORE_LOPSIDED), (closed_smile(wanted), MORE_SMILING), (rare, MORE_RARE))
    usable = np.concatenate([usable, *[usable[these] for these, times in shown for _ in range(times)]])
    rested = [person for person, own in rows.resting.items() if len(own)]
    means = [
        np.stack(kind) for kind in zip(*(some_means(rows, rows.resting[one], seed) for one in rested), strict=True)
    ]
    whose = np.searchsorted(rested, rows.person)

    def batches(chosen: NDArray[np.intp], rng: np.random.Generator) -> tuple[Floats, Floats]:
        chosen = usable[chosen]
        n = len(chosen)
        offset = rng.normal(0, OFFSET, (n, N_SHAPE)).astype(np.float32)
        shape = rows.shape[chosen] + offset + rng.normal(0, JITTER, (n, N_SHAPE)).astype(np.float32)
        pose, own = rows.pose[chosen], rows.parts[chosen]
        rest = None
        if relative:
            # A reference that is a median over a clip holds some of what the clip shows.
            stain = rng.uniform(0, STAIN, (n, 1)) * (rng.random((n, 1)) < STAINED)
            stain = stain.astype(np.float32)
            which = rng.integers(REFERENCES, size=n)
            then = [kind[whose[chosen], which] for kind in means]
            mixed = (1 - stain) * (then[0] + offset) + stain * shape, (1 - stain) * then[2] + stain * own
            rest = np.asarray(mixed[0], np.float32), then[1], np.asarray(mixed[1], np.float32)
        values = inputs(shape, pose, own, rest, basis.mean)
        kept = (rng.random((n, COMPONENTS), dtype=np.float32) < KEPT) / np.float32(KEPT)
        values[:, -COMPONENTS:] *= kept * (rng.random((n, 1)) >= BLIND)
        return hidden_parts(values, parts), rows.wanted[chosen]

    # The order in which a library's threads add up changes the last digits; another process has limits of its own.
    with threadpool_limits(1):
        return fit_dense(batches, len(usable), squared, config, seed=(seed, 28, int(relative)))


def lopsided(wanted: Floats) -> NDArray[np.bool_]:
    """Return which rows have a unit that is far stronger on one side than on the other."""
    return np.asarray((np.abs(wanted - wanted[:, OUTPUT_MIRROR]) >= LOPSIDED).any(axis=1))


def closed_smile(wanted: Floats) -> NDArray[np.bool_]:
    """Return which rows show a mouth that smiles with closed lips, on both sides."""
    smile, dimple = (
        wanted[:, [OUTPUTS.index(f"{name}_{side}") for side in ("left", "right")]].min(axis=1)
        for name in ("AU12", "AU14")
    )
    return (smile >= SMILING) & (smile > dimple) & (wanted[:, OUTPUTS.index("AU25")] < SMILING)


def some_means(rows: Rows, own: NDArray[np.intp], seed: int) -> tuple[Floats, Floats, Floats]:
    """Return means over some of a person's frames at rest, of shape, pose and parts: references to be drawn from."""
    rng = np.random.default_rng((seed, int(own[0])))
    picks = [own[rng.integers(len(own), size=rng.integers(1, MOST_RESTING + 1))] for _ in range(REFERENCES)]
    shape, pose, parts = (
        np.stack([values[pick].mean(axis=0) for pick in picks]) for values in (rows.shape, rows.pose, rows.parts)
    )
    return shape, pose, parts


def hidden_parts(values: Floats, parts: frozenset[str]) -> Floats:
    """Hide what is not among the parts, in place."""
    if "patches" not in parts:
        values[:, -COMPONENTS:] = 0
    if "shape" not in parts:
        values[:, :-COMPONENTS] = 0
    return values


def unfolded(weights: Weights, basis: Basis) -> Weights:
    """Return weights that take patches where the fitted ones take components."""
    kernel = weights["kernel0"]
    return {**weights, "kernel0": np.concatenate([kernel[:-COMPONENTS], basis.parts @ kernel[-COMPONENTS:]])}


def predicted(units: UnitModel, frames: Frames, *, relative: bool) -> Floats:
    """Return the intensities of frames, in the order of UNITS, beside their person's mean at rest or the average."""
    seen = units.see(Look(frames.shape, frames.pose, patches_of(frames)))
    if not relative:
        return model.to_units(units.absolute.after_first(seen.absolute))
    rests = []
    for person in frames.person:
        own = seen.rest[(frames.act == "rest") & (frames.person == person)]
        rests.append(own.mean(axis=0) if len(own) else units.see(units.mean).rest)
    return model.to_units(units.relative.after_first(seen.relative + np.stack(rests)))


def thresholds_of(said: Floats, truth: Floats) -> Floats:
    """Return for each unit the intensity from which on to call it present: the one with the best F1."""
    candidates = np.arange(0.4, 2.6, 0.1)
    found = [
        [f1(said[:, unit] >= value, truth[:, unit] >= PRESENT) for value in candidates] for unit in range(len(UNITS))
    ]
    return candidates[np.argmax(found, axis=1)].astype(np.float32)


def f1(said: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Return the F1 score, 0 where nothing is right."""
    right = float((said & truth).sum())
    return 2 * right / max(float(said.sum() + truth.sum()), 1.0)


def scores(said: Floats, truth: Floats, thresholds: Floats) -> dict[str, tuple[float, float]]:
    """Return each unit's Pearson correlation and its F1 of presence."""
    found = {}
    for number, name in enumerate(UNITS):
        one, two = said[:, number], truth[:, number]
        correlation = float(np.corrcoef(one, two)[0, 1]) if one.std() > 0 and two.std() > 0 else 0.0
        found[name] = (round(correlation, 4), round(f1(one >= thresholds[number], two >= PRESENT), 4))
    return found


def mean_scores(found: dict[str, tuple[float, float]]) -> tuple[float, float]:
    """Return the means over the units, without their sides."""
    plain = [values for name, values in found.items() if "_" not in name]
    correlation, presence = np.mean(plain, axis=0)
    return round(float(correlation), 4), round(float(presence), 4)
