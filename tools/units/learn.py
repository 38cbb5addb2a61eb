"""Fit the networks of the action units to rendered frames, and measure them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastck.faces.appearance import CELLS, N_SHAPE, Look, patch_centres
from fastck.faces.dense import Dense
from fastck.faces.units import OUTPUTS, UNITS, absolute_inputs, relative_inputs, to_units
from fastck.kernels.landmarks import DIRECTIONS
from tools.landmarks.points import MIRRORED
from tools.units.fit import DenseConfig, Floats, Weights, fit_dense, squared
from tools.units.frames import PATCH_SCALE, Frames

PRESENT = 1.0  # FACS' A: from this intensity on a unit is there
MOST_RESTING = 4  # frames that a reference is the mean of
STAINED, STAIN = 0.25, 0.3  # share of the references with some of another frame in them, and how much at most
OFFSET = 0.02  # of a person's points, shares of the eye corners' distance: real points lie elsewhere than rendered ones
JITTER = 0.004  # of a frame's points
PATCH_NOISE = 0.02
BLIND = 0.15  # share of the rows whose patches are all left out
PATCHES_KEPT = 0.8  # of the others' values


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Frames as the networks learn from them."""

    looks: Look
    wanted: Floats
    person: NDArray[np.int32]
    resting: dict[int, NDArray[np.intp]]


def rows_of(frames: Frames) -> Rows:
    """Return frames with their outputs, and each person's frames at rest."""
    at = [UNITS.index(name) for name in OUTPUTS]
    resting = {
        int(person): np.flatnonzero((frames.person == person) & (frames.act == "rest"))
        for person in np.unique(frames.person)
    }
    return Rows(looks=looks_of(frames), wanted=frames.truth[:, at], person=frames.person, resting=resting)


def looks_of(frames: Frames) -> Look:
    """Return what frames show."""
    return Look(
        shape=frames.shape, pose=frames.pose, patches=frames.patches.astype(np.float32) / np.float32(PATCH_SCALE)
    )


def picked(looks: Look, rows: NDArray[np.generic]) -> Look:
    """Return some rows."""
    return Look(shape=looks.shape[rows], pose=looks.pose[rows], patches=looks.patches[rows])


def average(rows: Rows) -> Look:
    """Return the rendered average: of all people at rest."""
    resting = np.concatenate(list(rows.resting.values()))
    some = picked(rows.looks, resting)
    return Look(some.shape.mean(axis=0), np.zeros(3, np.float32), some.patches.mean(axis=0))


def patch_mirror() -> NDArray[np.intp]:
    """Return where each value of the patches comes from in a mirrored picture."""
    centres = patch_centres()
    places = {(float(x), float(y)): number for number, (x, y) in enumerate(centres)}
    middle = float(centres[:, 0].min() + centres[:, 0].max())
    facing = [(DIRECTIONS // 2 - way) % DIRECTIONS for way in range(DIRECTIONS)]
    index = np.arange(len(centres) * CELLS**2 * DIRECTIONS).reshape(len(centres), CELLS, CELLS, DIRECTIONS)
    other = [places[middle - float(x), float(y)] for x, y in centres]
    return index[other][:, :, ::-1][..., facing].ravel()


PATCH_MIRROR = patch_mirror()
OUTPUT_MIRROR = np.array([
    OUTPUTS.index(name.replace("left", "right") if "left" in name else name.replace("right", "left"))
    for name in OUTPUTS
])  # fmt: skip


def mirrored(looks: Look) -> Look:
    """Return looks of mirrored faces."""
    shape = looks.shape.reshape(-1, N_SHAPE // 2, 2)[:, MIRRORED] * np.array([-1, 1], np.float32)
    return Look(
        shape=shape.reshape(len(looks.shape), -1),
        pose=looks.pose * np.array([-1, 1, -1], np.float32),
        patches=looks.patches[:, PATCH_MIRROR],
    )


def references(rows: Rows, chosen: NDArray[np.intp], rng: np.random.Generator) -> Look:
    """Return a reference for each chosen row: the mean of some of the person's frames at rest."""
    owns = []
    for row in chosen:
        resting = rows.resting[int(rows.person[row])]
        owns.append(resting[rng.integers(len(resting), size=rng.integers(1, MOST_RESTING + 1))])
    return Look(*(np.stack([values[own].mean(axis=0) for own in owns]) for values in rows.looks))


def drawn(rows: Rows, chosen: NDArray[np.intp], rng: np.random.Generator) -> tuple[Look, Look, Floats]:
    """Return looks, references and wanted outputs of a batch as of other people: mirrored, and with other points."""
    looks, rest, wanted = picked(rows.looks, chosen), references(rows, chosen, rng), rows.wanted[chosen]
    turned = rng.random(len(chosen)) < 0.5
    other, other_rest = mirrored(looks), mirrored(rest)

    def either(one: Floats, two: Floats) -> Floats:
        return np.where(turned[:, None], two, one)

    stain = np.where(rng.random(len(chosen)) < STAINED, rng.uniform(0, STAIN, len(chosen)), 0)[:, None]
    stain = stain.astype(np.float32)
    n = len(chosen)
    offset = rng.normal(0, OFFSET, (n, N_SHAPE)).astype(np.float32)
    jitter = rng.normal(0, JITTER, (n, N_SHAPE)).astype(np.float32)
    noise = rng.normal(0, PATCH_NOISE, looks.patches.shape).astype(np.float32)
    now = Look(
        shape=either(looks.shape, other.shape) + offset + jitter,
        pose=either(looks.pose, other.pose),
        patches=either(looks.patches, other.patches) + noise,
    )
    # A reference that is a median over a clip holds some of what the clip shows.
    then = Look(
        shape=(1 - stain) * (either(rest.shape, other_rest.shape) + offset) + stain * now.shape,
        pose=either(rest.pose, other_rest.pose),
        patches=(1 - stain) * either(rest.patches, other_rest.patches) + stain * now.patches,
    )
    return now, then, either(wanted, wanted[:, OUTPUT_MIRROR])


def fit_units(
    rows: Rows, mean: Look, config: DenseConfig, *, relative: bool, parts: frozenset[str], seed: int
) -> Weights:
    """Return the weights of one of the two networks.

    Parameters
    ----------
    rows : Rows
    mean : Look
        The rendered average.
    config : DenseConfig
    relative : bool
        Which network.
    parts : frozenset of str
        What it may look at: "shape", "patches".
    seed : int
    """
    usable = np.flatnonzero([len(rows.resting[int(person)]) > 0 for person in rows.person])

    def batches(chosen: NDArray[np.intp], rng: np.random.Generator) -> tuple[Floats, Floats]:
        looks, rest, wanted = drawn(rows, usable[chosen], rng)
        values = inputs(looks, rest if relative else None, mean)
        n_patches = looks.patches.shape[1]
        kept = (rng.random((len(values), n_patches), dtype=np.float32) < PATCHES_KEPT) / np.float32(PATCHES_KEPT)
        values[:, -n_patches:] *= kept * (rng.random((len(values), 1)) >= BLIND)
        return hidden_parts(values, n_patches, parts), wanted

    return fit_dense(batches, len(usable), squared, config, seed=(seed, 28, int(relative)))


def inputs(looks: Look, rest: Look | None, mean: Look) -> Floats:
    """Return what a network takes: the relative one where there is a reference."""
    return absolute_inputs(looks, mean) if rest is None else relative_inputs(looks, mean, rest)


def hidden_parts(values: Floats, n_patches: int, parts: frozenset[str]) -> Floats:
    """Hide what is not among the parts, in place."""
    if "patches" not in parts:
        values[:, -n_patches:] = 0
    if "shape" not in parts:
        values[:, :-n_patches] = 0
    return values


def at_rest(rows: Rows) -> Look:
    """Return each row's reference: the mean over its person's frames at rest, or the average of all."""
    everyone = average(rows)
    columns = []
    for values, other in zip((rows.looks.shape, rows.looks.pose, rows.looks.patches), everyone, strict=True):
        means = {person: values[own].mean(axis=0) if len(own) else other for person, own in rows.resting.items()}
        columns.append(np.stack([means[int(person)] for person in rows.person]))
    return Look(shape=columns[0], pose=columns[1], patches=columns[2])


def predicted(network: Dense, rows: Rows, mean: Look, *, relative: bool, parts: frozenset[str]) -> Floats:
    """Return the intensities of all rows, in the order of UNITS."""
    values = inputs(rows.looks, at_rest(rows) if relative else None, mean)
    return to_units(network(hidden_parts(values, rows.looks.patches.shape[1], parts)))


def thresholds_of(said: Floats, truth: Floats) -> Floats:
    """Return for each unit the intensity from which on to call it present: the one with the best F1."""
    candidates = np.arange(0.4, 2.6, 0.1)
    scores = np.array([[f1(said[:, unit] >= value, truth[:, unit] >= PRESENT) for value in candidates]
                       for unit in range(said.shape[1])])  # fmt: skip
    return candidates[np.argmax(scores, axis=1)].astype(np.float32)


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
