"""Fit the relative network that sees patches: dense layers, with NumPy.

The patches are brought down to their first principal components while the network is fitted, and the components are
multiplied into the first layer afterwards: a fit takes minutes, and fewer people are enough.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from fastck.faces.appearance import N_PATCHES, N_SHAPE, PATCH_LEVELS
from fastck.faces.mirror import PATCH_MIRROR, POSE_MIRROR, mirrored_shape
from fastck.faces.unit_network import PATCH_SCALE, POSE_SCALE, SHAPE_SCALE
from fastck.faces.units import OUTPUT_MIRROR
from tools.units.fit import DenseConfig, Floats, Weights, fit_dense, squared
from tools.units.frames import Frames
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

CONFIG = DenseConfig(hidden=(256, 96), epochs=12, drop=0.0)
COMPONENTS = 256
BASIS_PEOPLE = 200  # whom the components are taken from
CHUNK = 4096  # frames whose patches are taken as numbers at once
MORE, ROUNDS = 40, 2  # columns and passes more than the components need, to find them (Halko et al., 2011)
BLIND = 0.1  # share of the rows whose patches are all left out
KEPT = 0.8  # of the others' components
OTHER_SIDE = 1_000_000  # added to a person's number: their mirrored self


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Frames and their mirror images as the network learns from them.

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

    shape: Floats
    patches: Floats
    parts: Floats


def patches_of(frames: Frames, rows: slice = slice(None)) -> Floats:
    """Return the patches of frames, or of some of them, as numbers."""
    return frames.patches[rows].astype(np.float32) / np.float32(PATCH_LEVELS)


def components_of(frames: Frames, basis: Basis, order: NDArray[np.intp] | None = None) -> Floats:
    """Return the components (N, 256) of the frames' patches, or of their values in another order."""
    parts = np.empty((len(frames), COMPONENTS), np.float32)
    for start in range(0, len(frames), CHUNK):
        values = patches_of(frames, slice(start, start + CHUNK))
        values = values if order is None else values[:, order]
        parts[start : start + CHUNK] = (values - basis.patches) * PATCH_SCALE @ basis.parts
    return parts


def basis_of(frames: Frames, seed: int) -> Basis:
    """Return the average of the people at rest, and the components of how patches differ from one's own at rest."""
    resting = frames.act == "rest"
    shape, patches = frames.shape[resting].mean(axis=0), patches_of(frames.pick(resting)).mean(axis=0)
    # The file holds halves: what is checked has to be what is shipped.
    shape, patches = (
        half.astype(np.float16).astype(np.float32)
        for half in ((shape + mirrored_shape(shape[None])[0]) / 2, (patches + patches[PATCH_MIRROR]) / 2)
    )
    differences = []
    for person in np.unique(frames.person)[:BASIS_PEOPLE]:
        own = frames.pick(frames.person == person)
        values = patches_of(own)
        differences.append(values - values[own.act == "rest"].mean(axis=0) if (own.act == "rest").any() else values[:0])
    values = np.concatenate(differences) * PATCH_SCALE
    values = np.concatenate([values, values[:, PATCH_MIRROR]])
    found = np.random.default_rng((seed, 30)).standard_normal((N_PATCHES, COMPONENTS + MORE)).astype(np.float32)
    for _ in range(1 + ROUNDS):
        found, _ = np.linalg.qr(values.T @ (values @ found))
    _, sizes, turn = np.linalg.svd(values @ found, full_matrices=False)
    sizes = sizes[:COMPONENTS] / np.sqrt(len(values))
    return Basis(
        shape=shape, patches=patches, parts=np.asarray(found @ turn[:COMPONENTS].T / np.sqrt(sizes), np.float32)
    )


def rows_of(frames: Frames, basis: Basis) -> Rows:
    """Return frames as rows, with their mirror images."""
    rest, person = frames.act == "rest", np.concatenate([frames.person, frames.person + OTHER_SIDE])
    rest, wanted = np.concatenate([rest, rest]), wanted_of(frames.truth)
    return Rows(
        shape=np.concatenate([frames.shape, mirrored_shape(frames.shape)]),
        pose=np.concatenate([frames.pose, frames.pose * POSE_MIRROR]),
        parts=np.concatenate([components_of(frames, basis), components_of(frames, basis, PATCH_MIRROR)]),
        wanted=np.concatenate([wanted, wanted[:, OUTPUT_MIRROR]]),
        person=person,
        resting={int(one): np.flatnonzero((person == one) & rest) for one in np.unique(person)},
    )


def inputs(shape: Floats, pose: Floats, parts: Floats, rest: tuple[Floats, Floats, Floats], mean: Floats) -> Floats:
    """Return what the network takes, with components in the place of patches."""
    level, turn = (shape - mean) * SHAPE_SCALE, pose * POSE_SCALE
    change, turned = (shape - rest[0]) * SHAPE_SCALE, (pose - rest[1]) * POSE_SCALE
    return np.concatenate([change, level, turn, turned, parts - rest[2]], axis=1)


def fit_patches(frames: Frames, config: DenseConfig, *, seed: int) -> tuple[Weights, Floats]:
    """Return the network's weights and the average shape that it was fitted with."""
    # The order in which a library's threads add up changes the last digits; another process has limits of its own.
    with threadpool_limits(1):
        basis = basis_of(frames, seed)
        rows = rows_of(frames, basis)
        usable = np.flatnonzero([len(rows.resting[int(person)]) > 0 for person in rows.person])
        usable = shown_rows(usable, rows.wanted[usable])
        rested = [person for person, own in rows.resting.items() if len(own)]
        kinds = zip(*(some_means(rows, rows.resting[one], seed) for one in rested), strict=True)
        means, whose = [np.stack(kind) for kind in kinds], np.searchsorted(rested, rows.person)

        def batches(chosen: NDArray[np.intp], rng: np.random.Generator) -> tuple[Floats, Floats]:
            chosen = usable[chosen]
            n = len(chosen)
            offset = rng.normal(0, OFFSET, (n, N_SHAPE)).astype(np.float32)
            shape = rows.shape[chosen] + offset + rng.normal(0, JITTER, (n, N_SHAPE)).astype(np.float32)
            pose, own = rows.pose[chosen], rows.parts[chosen]
            # A reference that is a median over a clip holds some of what the clip shows.
            stain = (rng.uniform(0, STAIN, n) * (rng.random(n) < STAINED)).astype(np.float32)
            which = rng.integers(REFERENCES, size=n)
            then = [kind[whose[chosen], which] for kind in means]
            rest = mixed(then[0] + offset, shape, stain), then[1], mixed(then[2], own, stain)
            values = inputs(shape, pose, own, rest, basis.shape)
            kept = (rng.random((n, COMPONENTS), dtype=np.float32) < KEPT) / np.float32(KEPT)
            values[:, -COMPONENTS:] *= kept * (rng.random((n, 1)) >= BLIND)
            return values, rows.wanted[chosen]

        return unfolded(fit_dense(batches, len(usable), squared, config, seed=(seed, 28, 1)), basis), basis.shape


def some_means(rows: Rows, own: NDArray[np.intp], seed: int) -> tuple[Floats, Floats, Floats]:
    """Return means over some of a person's frames at rest, of shape, pose and parts: references to be drawn from."""
    rng = np.random.default_rng((seed, int(own[0])))
    picks = [own[rng.integers(len(own), size=rng.integers(1, MOST_RESTING + 1))] for _ in range(REFERENCES)]
    shape, pose, parts = (
        np.stack([values[pick].mean(axis=0) for pick in picks]) for values in (rows.shape, rows.pose, rows.parts)
    )
    return shape, pose, parts


def unfolded(weights: Weights, basis: Basis) -> Weights:
    """Return weights that take patches where the fitted ones take components."""
    kernel = weights["kernel0"]
    return {**weights, "kernel0": np.concatenate([kernel[:-COMPONENTS], basis.parts @ kernel[-COMPONENTS:]])}
