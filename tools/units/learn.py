"""Fit the network that sees cells to rendered frames, and measure all that read action units."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastck.faces.appearance import N_SHAPE, Look
from fastck.faces.mirror import mirrored_look
from fastck.faces.unit_network import points_inputs
from fastck.faces.units import OUTPUT_MIRROR, OUTPUTS, UNITS, UnitModel
from tools.units.fit import Floats, Weights
from tools.units.frames import Frames
from tools.units.network import NetworkConfig, cells_inputs, fit_network
from tools.units.rows import (
    JITTER,
    MOST_RESTING,
    OFFSET,
    REFERENCES,
    STAIN,
    STAINED,
    mixed,
    shown_rows,
    wanted_of,
)

PRESENT = 1.0  # FACS' A: from this intensity on a unit is there
BLIND = 0.1  # share of the rows whose points are all left out
UNKNOWN = 0.25  # share of the rows that are shown beside the rendered average: their face is not known at rest


@dataclass(frozen=True, kw_only=True)
class References:
    """Several looks at rest of each of P people: numbers, and arrays (P, 8, ...) as a `Look` has them."""

    person: NDArray[np.int32]
    shape: Floats
    pose: Floats
    cells: NDArray[np.float16]

    def of(self, person: NDArray[np.int32], which: NDArray[np.intp]) -> Look:
        """Return a look for each of some people."""
        whose = np.searchsorted(self.person, person)
        cells = self.cells[whose, which].astype(np.float32)
        return Look(self.shape[whose, which], self.pose[whose, which], no_patches(len(whose)), cells)


def no_patches(rows: int) -> Floats:
    """Return what stands for patches where none are looked at."""
    return np.empty((rows, 0), np.float32)


def mean_look(frames: Frames) -> Look:
    """Return the average of people at rest and of their mirror images, as the file holds it: in halves."""
    resting = frames.pick(frames.act == "rest")
    patches, cells = (values.mean(axis=0)[None] for values in (resting.patches, resting.cells))
    own = Look(resting.shape.mean(axis=0)[None], np.zeros((1, 3), np.float32), patches, cells)
    both = zip(own, mirrored_look(own), strict=True)
    return Look(*(((one + other) / 2)[0].astype(np.float16).astype(np.float32) for one, other in both))


def references_of(frames: Frames, seed: int) -> References:
    """Return means over some frames at rest of each person who has any."""
    resting, found = np.flatnonzero(frames.act == "rest"), []
    people = np.unique(frames.person[resting])
    for person in people:
        own = resting[frames.person[resting] == person]
        rng = np.random.default_rng((seed, int(person)))
        picks = [own[rng.integers(len(own), size=rng.integers(1, MOST_RESTING + 1))] for _ in range(REFERENCES)]
        found.append([
            np.stack([values[pick].mean(axis=0, dtype=np.float32) for pick in picks])
            for values in (frames.shape, frames.pose, frames.cells)
        ])  # fmt: skip
    shape, pose, cells = (np.stack(kind) for kind in zip(*found, strict=True))
    return References(person=people, shape=shape, pose=pose, cells=cells.astype(np.float16))


def fit_cells(frames: Frames, mean: Look, config: NetworkConfig, *, seed: int) -> dict[str, Weights]:
    """Return the weights of the network.

    Parameters
    ----------
    frames : Frames
    mean : Look
        The rendered average.
    config : NetworkConfig
    seed : int
    """
    references = references_of(frames, seed)
    usable = np.flatnonzero(np.isin(frames.person, references.person))
    shown = shown_rows(usable, wanted_of(frames.truth[usable]))
    average_face = mean._replace(patches=no_patches(1))

    def batches(chosen: NDArray[np.intp], rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
        rows = shown[chosen]
        n = len(rows)
        offset = rng.normal(0, OFFSET, (n, N_SHAPE)).astype(np.float32)
        shape = frames.shape[rows] + offset + rng.normal(0, JITTER, (n, N_SHAPE)).astype(np.float32)
        faces = Look(shape, frames.pose[rows], no_patches(n), frames.cells[rows].astype(np.float32))
        then = references.of(frames.person[rows], rng.integers(REFERENCES, size=n))
        # A reference that is a median over a clip holds some of what the clip shows.
        stain = (rng.uniform(0, STAIN, n) * (rng.random(n) < STAINED)).astype(np.float32)
        shape, cells = mixed(then.shape + offset, faces.shape, stain), mixed(then.cells, faces.cells, stain)
        beside, unknown = then._replace(shape=shape, cells=cells), rng.random(n) < UNKNOWN
        for values, average in zip(beside, average_face, strict=True):
            values[unknown] = average
        wanted, other = wanted_of(frames.truth[rows]), rng.random(n) < 0.5
        faces, beside = (turned(look, other) for look in (faces, beside))
        wanted = np.where(other[:, None], wanted[:, OUTPUT_MIRROR], wanted)
        cells, points = cells_inputs(faces, beside), points_inputs(faces, beside, mean.shape)
        points *= rng.random((n, 1)) >= BLIND
        return cells, points, wanted

    return fit_network(batches, len(shown), len(OUTPUTS), config, seed=1000 * seed + 28)


def turned(look: Look, rows: NDArray[np.bool_]) -> Look:
    """Return looks of which some are mirrored."""
    changed = Look(*(values.copy() for values in look))
    for values, other in zip(changed, mirrored_look(Look(*(values[rows] for values in look))), strict=True):
        values[rows] = other
    return changed


def looks_of(frames: Frames) -> list[Look]:
    """Return each frame's look."""
    return [Look(*one) for one in zip(frames.shape, frames.pose, frames.patches, frames.cells, strict=True)]


def looks_at_rest(frames: Frames, person: int) -> list[Look]:
    """Return the looks of a person's pictures at rest."""
    return looks_of(frames.pick((frames.person == person) & (frames.act == "rest")))


def predicted(units: UnitModel, frames: Frames, *, relative: bool) -> Floats:
    """Return the intensities of frames, in the order of UNITS, beside their person's mean at rest or the average."""
    said = np.empty((len(frames), len(UNITS)), np.float32)
    for person in np.unique(frames.person):
        rows = np.flatnonzero(frames.person == person)
        looks = looks_of(frames.pick(rows))
        rest = None
        if relative:
            calm = rows[frames.act[rows] == "rest"]
            kinds = (frames.shape, frames.pose, frames.patches, frames.cells)
            rest = Look(*(values[calm].mean(axis=0, dtype=np.float32) for values in kinds)) if len(calm) else units.mean
        said[rows] = units.intensities(looks, rest)
    return said


def thresholds_of(said: Floats, truth: Floats) -> Floats:
    """Return for each unit the intensity from which on to call it present: the one with the best F1.

    Parameters
    ----------
    said, truth : ndarray of shape (N, 44)
        What is said of frames, and what is true of them.
    """
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
