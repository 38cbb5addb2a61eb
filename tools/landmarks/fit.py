"""Fit the landmark model's linear steps to rendered people, with NumPy: the same bytes for the same seed."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve

from fastck.faces.landmarks import (
    BOX_GRID,
    BOX_SIDE,
    BOX_STEP,
    EYE_CORNERS,
    FORMAT,
    INNER,
    POINTS,
    SHAPE_SIDE,
    SHAPE_SPAN,
    STEPS,
    LandmarkModel,
    Looker,
    box_frame,
    box_grid,
    seen_through,
    shape_frame,
    warp,
)
from fastck.faces.mirror import MIRRORED
from tools.landmarks.pictures import Pictures
from tools.landmarks.points import neutral_points

BOX_SHIFT, BOX_STRETCH = 0.06, 0.08  # of a jittered box: standard deviations in shares of its side, and of its log
LOWER, WIDER = (-0.08, 0.2), (0.9, 1.3)  # some boxes lie so much lower, and are so much wider
ODD = 0.3  # share of the boxes that do
FOLDS, SUMMED, GROUPS = 4, 2000, 20  # of people; rows at a time; kinds of faces that expected errors are told apart for
LOW_RESOLUTION = (0.4, 1.0)  # of a picture made smaller and larger again: down to faces of about 36 pixels
# Shares of the pictures that are shown so. Each has its row in `tools.landmarks.ablation`.
SHARES = {
    "low resolution": 0.4, "sharpened": 0.2, "gamma": 1.0, "uneven light": 0.5, "shadows": 0.4, "noise": 0.5,
    "JPEG": 0.2, "box elsewhere": 1.0,
}  # fmt: skip

Images = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How the steps are fitted.

    Attributes
    ----------
    versions : int
        How often each picture is shown, each time in another box and as another camera has it, half of them mirrored.
    shrink : float
        The ridge, relative to the mean square of a step's features. People like those that are fitted to want a smaller
        one, 0.1 to 0.4; of those tried, 1 is best for the hard set's, who vary otherwise.
    shares : mapping of str to float
        As `SHARES`.
    """

    versions: int = 3
    shrink: float = 1.0
    shares: Mapping[str, float] = field(default_factory=lambda: SHARES)


@dataclass(frozen=True, kw_only=True)
class Shown:
    """Pictures as they are shown to the steps: (N, 160, 160) uint8, points (N, 68, 2), boxes (N, 4)."""

    picture: Images
    points: Floats
    box: Floats


def usual_boxes(pictures: Pictures) -> Floats:
    """Return dlib's box of each picture (N, 4); where it found none, the one that the found ones make likely."""
    points, box = pictures.points, pictures.box
    found = ~np.isnan(box[:, 0])
    eye = (points[:, 36:42].mean(axis=1) + points[:, 42:48].mean(axis=1)) / 2
    mouth = points[:, 48:].mean(axis=1)
    size = np.linalg.norm(mouth - eye, axis=1)
    rows = np.column_stack([points[:, INNER].mean(axis=1), eye, mouth, size, np.ones(len(size))])
    likely = rows @ np.linalg.lstsq(rows[found], box[found], rcond=None)[0]
    return np.where(found[:, None], box, likely).astype(np.float32)


def jittered_box(box: Floats, rng: np.random.Generator) -> Floats:
    """Return a box near the usual one: real faces are found elsewhere than rendered ones."""
    top, left, bottom, right = box
    side = bottom - top
    shift, grown = rng.normal(0, BOX_SHIFT, 2), math.exp(rng.normal(0, BOX_STRETCH))
    if rng.random() < ODD:
        shift[1] += rng.uniform(*LOWER)
        grown *= rng.uniform(*WIDER)
    half = side * grown / 2
    column, row = (left + right) / 2 + shift[0] * side, (top + bottom) / 2 + shift[1] * side
    return np.array([row - half, column - half, row + half, column + half], np.float32)


def shown_otherwise(picture: Images, shares: Mapping[str, float], rng: np.random.Generator) -> Images:
    """Return a picture as other cameras, lamps and files would have it."""

    def happens(kind: str) -> bool:
        return bool(rng.random() < shares[kind])

    side = picture.shape[0]
    if happens("low resolution"):
        small = round(side * rng.uniform(*LOW_RESOLUTION))
        little = cv2.resize(picture, (small, small), interpolation=cv2.INTER_AREA)
        picture = cv2.resize(little, (side, side), interpolation=cv2.INTER_LINEAR)
    if happens("sharpened"):
        soft = cv2.GaussianBlur(picture, (0, 0), 1.5)
        more = rng.uniform(0.3, 1.5)
        picture = cv2.addWeighted(picture, 1 + more, soft, -more, 0)
    values = picture.astype(np.float32)
    if happens("gamma"):
        values = np.power(values / 255, np.float32(math.exp(rng.normal(0, 0.35)))) * 255
    if happens("uneven light"):
        values *= patchy(rng, side, cells=(2, 5), spread=(0.05, 0.3))
    if happens("shadows"):
        values *= patchy(rng, side, cells=(16, 60), spread=(0.02, 0.12))
    if happens("noise"):
        values += np.float32(rng.uniform(1, 12)) * rng.standard_normal(values.shape, np.float32)
    picture = cv2.convertScaleAbs(np.maximum(values, 0), alpha=rng.uniform(0.6, 1.2))
    if happens("JPEG"):
        _, file = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(15, 80))])
        picture = np.asarray(cv2.imdecode(file, cv2.IMREAD_GRAYSCALE))
    return picture


def patchy(rng: np.random.Generator, side: int, *, cells: tuple[int, int], spread: tuple[float, float]) -> Floats:
    """Return factors around 1 (side, side) that change over so many cells along a side."""
    count = int(rng.integers(*cells))
    light = rng.normal(1, rng.uniform(*spread), (count, count)).astype(np.float32)
    return np.asarray(cv2.resize(light, (side, side), interpolation=cv2.INTER_LINEAR))


def show(pictures: Pictures, config: FitConfig, rng: np.random.Generator) -> Shown:
    """Return the pictures as they are learnt from: every one several times, each second time mirrored."""
    boxes, last = usual_boxes(pictures), pictures.picture.shape[2] - 1
    shown = []
    for version in range(config.versions):
        for row in range(len(pictures)):
            picture, points, box = pictures.picture[row], pictures.points[row], boxes[row]
            if (row + version) % 2:
                picture, points = np.ascontiguousarray(picture[:, ::-1]), points[MIRRORED] * [-1, 1] + [last, 0]
                box = np.array([box[0], last + 1 - box[3], box[2], last + 1 - box[1]], np.float32)
            if rng.random() < config.shares["box elsewhere"]:
                box = jittered_box(box, rng)
            shown.append((shown_otherwise(picture, config.shares, rng), points, box))
    picture, points, box = zip(*shown, strict=True)
    return Shown(
        picture=np.stack(picture), points=np.stack(points).astype(np.float32), box=np.stack(box).astype(np.float32)
    )


def mean_shape(pictures: Pictures) -> Floats:
    """Return the mean of the points (68, 2) after all were laid over each other, in the later steps' pixels."""
    shapes = pictures.points.astype(np.float64)
    shapes = np.concatenate([shapes, shapes[:, MIRRORED] * [-1, 1]])
    shapes -= shapes[:, INNER].mean(axis=1, keepdims=True)
    # As complex numbers a turn and a scale are one factor.
    numbers = shapes[..., 0] + 1j * shapes[..., 1]
    mean = numbers[0]
    for _ in range(5):
        inner = numbers[:, INNER]
        factor = (inner.conj() * mean[INNER]).sum(axis=1) / (np.abs(inner) ** 2).sum(axis=1)
        mean = (numbers * factor[:, None]).mean(axis=0)
        mean = mean / (mean[EYE_CORNERS[1]] - mean[EYE_CORNERS[0]])
    points = np.stack([mean.real, mean.imag], axis=1)
    points *= SHAPE_SIDE / (SHAPE_SPAN * np.ptp(points, axis=0).max())
    middle = (points.max(axis=0) + points.min(axis=0)) / 2
    return (points - middle + (SHAPE_SIDE - 1) / 2).astype(np.float32)


def crossed(
    features: Floats, targets: Floats, fold: NDArray[np.integer[Any]], shrink: float
) -> tuple[Floats, Floats, Floats]:
    """Fit by least squares with a ridge, and answer for each fold by what was fitted to the others.

    Steps that follow must see what the earlier ones do to people they were not fitted to.

    Parameters
    ----------
    features, targets : ndarray of shape (N, D) and (N, M), float32
    fold : ndarray of shape (N,)
        The rows' folds, 0 to FOLDS - 1.
    shrink : float
        The ridge, relative to the mean square of a feature.

    Returns
    -------
    weights, biases : ndarray of shape (D, M) and (M,), float32
        Of the fit to all rows.
    answers : ndarray of shape (N, M), float32
    """
    parts = []
    wide = np.column_stack([features, np.ones(len(features), np.float32)])
    for number in range(FOLDS):
        rows = wide[fold == number]
        square, cross = np.zeros((wide.shape[1],) * 2), np.zeros((wide.shape[1], targets.shape[1]))
        for first in range(0, len(rows), SUMMED):
            some = rows[first : first + SUMMED]
            square += some.T @ some
            cross += some.T @ targets[fold == number][first : first + SUMMED]
        parts.append((square, cross))
    square, cross = (np.asarray(sum(part[place] for part in parts)) for place in (0, 1))
    unit = np.trace(square[:-1, :-1]) / (wide.shape[1] - 1)
    ridge = np.diag(np.append(np.full(wide.shape[1] - 1, shrink * unit), 0.0))
    answers = np.empty_like(targets)
    for number, (mine, my_cross) in enumerate(parts):
        weights = solve(square - mine + ridge, cross - my_cross, assume_a="pos")
        answers[fold == number] = wide[fold == number] @ weights.astype(np.float32)
    weights = solve(square + ridge, cross, assume_a="pos").astype(np.float32)
    return weights[:-1], weights[-1], answers


def packed(weights: Floats) -> tuple[NDArray[np.int8], Floats]:
    """Return weights (D, N) as bytes and the scale of each column: what the file holds."""
    scale = (np.abs(weights).max(axis=0) / 127).astype(np.float32)
    return np.rint(weights / scale).astype(np.int8), scale


def errors_of(points: NDArray[Any], truth: NDArray[Any]) -> NDArray[Any]:
    """Return the mean distance of each face's points (N, 68, 2) in shares of its outer eye corners' distance, (N,)."""
    left, right = EYE_CORNERS
    eyes = np.linalg.norm(truth[:, left] - truth[:, right], axis=1)
    return np.linalg.norm(points - truth, axis=2).mean(axis=1) / eyes


def fit(pictures: Pictures, config: FitConfig, *, seed: int, say: Callable[[str], None]) -> LandmarkModel:
    """Fit all steps, one after the other, each to what the earlier ones leave of people they were not fitted to."""
    shown = show(pictures, config, np.random.default_rng([seed, 1]))
    fold = np.tile(pictures.person % FOLDS, config.versions)
    mean = mean_shape(pictures)
    count = len(shown.points)
    looker, grid = Looker(BOX_STEP, BOX_SIDE, BOX_GRID**2), box_grid()
    features = np.empty((count, looker.features.size), np.float32)
    targets = np.empty((count, 2 * POINTS), np.float32)
    frames = [box_frame(box) for box in shown.box]
    for row, frame in enumerate(frames):
        features[row] = looker.look(looker.sums(warp(shown.picture[row], frame, BOX_SIDE)), grid)
        targets[row] = seen_through(cv2.invertAffineTransform(frame), shown.points[row]).ravel()
    weights, biases, moved = crossed(features, targets, fold, config.shrink)
    files = [(*packed(weights), biases)]
    points = np.stack([seen_through(f, m.reshape(POINTS, 2)) for f, m in zip(frames, moved, strict=True)])
    say(f"step 0: {errors_of(points, shown.points).mean():.4f}")
    for number, step in enumerate(STEPS, start=1):
        looker = Looker(step, SHAPE_SIDE, POINTS, mean)
        features = np.empty((count, looker.features.size), np.float32)
        if step.upright:
            frames = [shape_frame(one, mean) for one in points]
        inside = np.empty((count, POINTS, 2))
        targets = np.empty((count, 2 * POINTS), np.float32)
        for row, frame in enumerate(frames):
            inverse = cv2.invertAffineTransform(frame)
            inside[row] = seen_through(inverse, points[row])
            features[row] = looker.look(looker.sums(warp(shown.picture[row], frame, SHAPE_SIDE)), inside[row])
            targets[row] = (seen_through(inverse, shown.points[row]) - inside[row]).ravel()
        weights, biases, moved = crossed(features, targets, fold, config.shrink)
        inside += moved.reshape(count, POINTS, 2)
        points = np.stack([seen_through(f, i) for f, i in zip(frames, inside, strict=True)])
        error = errors_of(points, shown.points)
        say(f"step {number}: {error.mean():.4f}")
        if number == len(STEPS):
            # Another column says how far off the points are after this step.
            sure, bias, said = crossed(features, np.log(error)[:, None].astype(np.float32), fold, config.shrink)
            weights, biases = np.column_stack([weights, sure]), np.append(biases, bias)
        files.append((*packed(weights), biases))
    return LandmarkModel(
        about={"format": FORMAT, "expected": expected_errors(said[:, 0], error)},
        mean=mean,
        head=neutral_points().astype(np.float32),
        weights=[np.ascontiguousarray(weights.T) for weights, _, _ in files],
        scales=[scale for _, scale, _ in files],
        biases=[biases for _, _, biases in files],
    )


def expected_errors(said: Floats, error: Floats) -> list[list[float]]:
    """Return the table of the expected error: what the last step says, and the mean error of faces like it, rising."""
    order = np.argsort(said)
    groups = np.array_split(order, GROUPS)
    means = np.maximum.accumulate([float(error[group].mean()) for group in groups])
    return [[round(float(said[group].mean()), 4) for group in groups], np.round(means, 5).tolist()]
