"""Fit the network that tells emotions from units and flow, on rendered clips, and measure it beside flow alone."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastck.faces.appearance import Look
from fastck.faces.units import Seen, UnitModel
from fastck.recognition.judge import FLOW_INPUTS, LOPSIDED, N_EMOTIONS, PLAIN, judged_inputs
from fastck.recognition.model import Recogniser, softmax
from fastck.recognition.reading import read_units
from tools.units.fit import DenseConfig, Floats, Weights, fit_dense
from tools.units.frames import PATCH_SCALE, Frames

ENDINGS = (0.7, 1.0)  # shares of a clip


@dataclass(frozen=True, kw_only=True)
class Stretches:
    """Clips and their beginnings as the network takes them, a row each."""

    values: Floats
    flow: Floats  # what flow alone says, (N, 8)
    code: NDArray[np.int16]
    person: NDArray[np.int32]
    act: NDArray[np.str_]
    whole: NDArray[np.bool_]
    reference: NDArray[np.str_]


def seen_of(model: UnitModel, frames: Frames) -> list[Seen]:
    """Return what a model sees of frames."""
    patches = frames.patches.astype(np.float32) / np.float32(PATCH_SCALE)
    return [model.see(Look(*look)) for look in zip(frames.shape, frames.pose, patches, strict=True)]


def stretches(frames: Frames, models: list[UnitModel], recogniser: Recogniser, *, begun: bool = False) -> Stretches:
    """Return the stretches of clips; each person's by the model that was not fitted to them, in turn."""
    rows = []
    for clip in np.unique(frames.clip):
        own = frames.pick(np.flatnonzero(frames.clip == clip))
        if own.act[0] in ("rest", "random") or len(own) < 4:
            continue
        model = models[int(own.person[0]) % len(models)]
        seen = seen_of(model, own)
        absolute = model.intensities(seen)
        chances = recogniser.probabilities(own.flow.astype(np.float32))
        for ending in ENDINGS:
            end = max(4, round(ending * len(own)))
            units, reference = read_units(model, seen[:end])
            moved = own.moved[:end]
            values = judged_inputs(units, absolute[:end], own.pose[:end], chances[:end], moved)
            near = moved >= 0.9 * moved.max()
            flow = chances[:end][near].mean(axis=0)
            rows.append((values, flow, own.code[0], own.person[0], own.act[0], ending == 1.0, reference))
    values, flow, code, person, act, whole, reference = zip(*rows, strict=True)
    return Stretches(
        values=np.stack(values), flow=np.stack(flow), code=np.array(code), person=np.array(person), act=np.array(act),
        whole=np.array(whole), reference=np.array(reference),
    )  # fmt: skip


# Augmentation: other people's units are stronger or weaker, and real ones are read less exactly.
GAIN, UNIT_GAIN, OFFSET, NOISE = 0.2, 0.2, 0.25, 0.1
BLIND = 0.3  # share of the rows whose flow is left out
SMOOTH = 0.03  # of the wanted probabilities
N_UNITS, UNIT_BLOCKS = len(PLAIN), 6
NO_CLASS_WEIGHT = 0.3


def wanted_of(code: NDArray[np.int16]) -> Floats:
    """Return the wanted probabilities (N, 8): of a stretch without a class all the same."""
    wanted = np.full((len(code), N_EMOTIONS), 1 / N_EMOTIONS, np.float32)
    known = np.flatnonzero(code >= 0)
    wanted[known] = SMOOTH / N_EMOTIONS
    wanted[known, code[known]] += 1 - SMOOTH
    return wanted


def without_flow(values: Floats, rows: NDArray[np.bool_]) -> None:
    """Leave the flow out of some rows, in place."""
    values[rows, FLOW_INPUTS] = 0
    first = values.shape[1] + int(FLOW_INPUTS.start)
    values[np.ix_(rows, range(first, first + 3 * N_EMOTIONS))] = np.float32(np.log(1 / N_EMOTIONS) / 3)


def varied_values(values: Floats, rng: np.random.Generator) -> Floats:
    """Return a batch as of other people."""
    n = len(values)
    values = values.copy()
    gain = np.exp(rng.normal(0, GAIN, (n, 1)) + rng.normal(0, UNIT_GAIN, (n, N_UNITS)))
    offset = rng.normal(0, OFFSET, (n, N_UNITS))
    for block in range(UNIT_BLOCKS):
        part = slice(block * N_UNITS, (block + 1) * N_UNITS)
        values[:, part] = np.maximum(values[:, part] * gain + offset + rng.normal(0, NOISE, (n, N_UNITS)), 0)
    first = (UNIT_BLOCKS + 1) * N_UNITS
    values[:, first : first + len(LOPSIDED)] *= np.where(rng.random((n, 1)) < 0.5, -1, 1)
    without_flow(values, rng.random(n) < BLIND)
    return values


def cross_entropy(outputs: Floats, wanted: Floats) -> Floats:
    """Return the gradient of the mean cross-entropy; stretches without a class count less."""
    weight = np.where(np.ptp(wanted, axis=1) == 0, np.float32(NO_CLASS_WEIGHT), np.float32(1))
    return np.asarray((softmax(outputs) - wanted) * weight[:, None] / np.float32(len(outputs)), np.float32)


def fit_judge(data: Stretches, config: DenseConfig, *, seed: int) -> Weights:
    """Return the weights of one network."""
    wanted = wanted_of(data.code)

    def batches(chosen: NDArray[np.intp], rng: np.random.Generator) -> tuple[Floats, Floats]:
        return varied_values(data.values[chosen], rng), wanted[chosen]

    return fit_dense(batches, len(data.code), cross_entropy, config, seed=(seed, 29))
