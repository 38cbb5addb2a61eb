"""Fit the network that tells emotions from units and flow, on rendered clips, and measure it beside flow alone."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from fastck.faces.dense import Dense, read_dense
from fastck.faces.units import UNITS, UnitModel
from fastck.recogniser import Recogniser, softmax
from fastck.recognition.judge import FLOW_INPUTS, FORMAT, LOPSIDED, N_EMOTIONS, PLAIN, Course, judged_inputs, pooled
from fastck.recognition.reading import LASTING, Reference, read_units, rest_frames
from fastck.render.action_units import action_units
from fastck.render.expression import Manner, draw_manner
from fastck.render.recipes import EMOTION_CODES
from fastck.render.variation import HARD, Variation
from tools.npzfile import npz_bytes
from tools.recogniser.people import WIDE
from tools.rows import Rows
from tools.units.acts import EVERYDAY, Shown, changing_clip, emotion_clip, everyday_clip
from tools.units.fit import DenseConfig, Floats, Weights, as_bytes, fit_dense
from tools.units.frames import Frames, in_parts
from tools.units.learn import looks_at_rest, looks_of, predicted
from tools.units.make import Data, Plan

MEMBERS, CONFIG = 3, DenseConfig(hidden=(64,), epochs=25, batch=128, drop=0.3, decay=1e-2)
SYNTHETIC = 2500  # clips
RENDERED = 4  # times that a rendered stretch counts
UNSURE_BELOW, SURE = 0.5, 0.9
FEWEST_FRAMES, MOST_FRAMES = 4, 100
ENDINGS = (0.4, 0.7, 1.0)  # shares of a clip


@dataclass(frozen=True, kw_only=True)
class Stretches(Rows):
    """Clips and their beginnings as the network takes them, a row each."""

    values: Floats
    flow: Floats  # what flow alone says, (N, 8)
    code: NDArray[np.int16]
    person: NDArray[np.int32]
    act: NDArray[np.str_]
    whole: NDArray[np.bool_]
    reference: NDArray[np.str_]
    rested: NDArray[np.bool_]  # whether it begins at rest
    begins: Floats  # the sum of the true intensities in the first frame, without blinks


def stretches(frames: Frames, model: UnitModel, recogniser: Recogniser, *, pictures: bool = False) -> Stretches:
    """Return the stretches of clips, or the same beside one of the pictures of each person at rest."""
    rows = []
    for clip in np.unique(frames.clip):
        own = frames.pick(np.flatnonzero(frames.clip == clip))
        if own.act[0] in ("rest", "random") or len(own) < FEWEST_FRAMES:
            continue
        at_rest = looks_at_rest(frames, own.person[0]) if pictures else [None]
        if not at_rest:
            continue
        neutral = at_rest[clip % len(at_rest)]
        looks = looks_of(own)
        chances = recogniser.probabilities(own.flow.astype(np.float32))
        for ending in ENDINGS:
            end = max(FEWEST_FRAMES, round(ending * len(own)))
            units, reference, level = read_units(model, looks[:end], neutral=neutral)
            course = Course(units, level, own.pose[:end], chances[:end], own.moved[:end])
            begins = own.truth[0, LASTING].sum()
            rows.append(row_of(course, own.code[0], own.person[0], own.act[0], ending == 1.0, reference, begins))
    return as_stretches(rows)


def row_of(
    course: Course, code: int, person: int, act: str, whole: bool, reference: Reference, begins: float
) -> tuple[Any, ...]:
    """Return a row of `Stretches`, in the order of its columns."""
    rested = course.level is None
    return judged_inputs(course), course.flow(), code, person, act, whole, reference, rested, begins


def as_stretches(rows: list[tuple[Any, ...]]) -> Stretches:
    """Return rows as columns."""
    values, flow, code, person, act, whole, reference, rested, begins = zip(*rows, strict=True)
    return Stretches(
        values=np.stack(values), flow=np.stack(flow), code=np.array(code), person=np.array(person), act=np.array(act),
        whole=np.array(whole), reference=np.array(reference), rested=np.array(rested),
        begins=np.array(begins, np.float32),
    )  # fmt: skip


def told(data: Stretches) -> Stretches:
    """Return the stretches that can be told from what is compared.

    An expression that a clip begins with, and that is taken for the face at rest, looks like a face that frowns or
    smiles by nature: learning from it would name an emotion in those.
    """
    begun = np.array(["begun" in str(act) for act in data.act])
    return data.pick(~(begun & (data.reference == "onset")))


# Augmentation: other people's units are stronger or weaker, and real ones are read less exactly.
GAIN, UNIT_GAIN, OFFSET, NOISE = 0.2, 0.25, 0.45, 0.15
BLIND = 0.15  # share of the rows whose flow is left out
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
    values[np.flatnonzero(rows)[:, None], np.arange(first, first + 3 * N_EMOTIONS)] = np.float32(
        np.log(1 / N_EMOTIONS) / 3
    )


def varied_values(values: Floats, rng: np.random.Generator) -> Floats:
    """Return a batch as of other people."""
    n = len(values)
    values = values.copy()
    gain = np.exp(rng.normal(0, GAIN, (n, 1)) + rng.normal(0, UNIT_GAIN, (n, N_UNITS)))
    offset = rng.normal(0, OFFSET, (n, N_UNITS))
    for block in range(UNIT_BLOCKS):
        part = slice(block * N_UNITS, (block + 1) * N_UNITS)
        filled = values[:, part].any(axis=1, keepdims=True)
        changed = np.maximum(values[:, part] * gain + offset + rng.normal(0, NOISE, (n, N_UNITS)), 0)
        values[:, part] = np.where(filled, changed, 0)
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


def synthetic(model: UnitModel, held: Frames, count: int, seed: int) -> Stretches:
    """Return stretches that are never rendered: acts' own truth, read as wrongly as held-out people's frames were.

    What a model reads of its held-out frames is a linear function of the truth and a rest; clips' courses of that rest
    are laid over the truth of other acts. The flow is left out.
    """

    def read(frames: Frames) -> Floats:
        return np.concatenate([predicted(model, frames, relative=relative) for relative in (True, False)], axis=1)

    said = read(held)
    known = np.concatenate([held.truth, held.pose, np.ones((len(held), 1), np.float32)], axis=1)
    linear = np.linalg.solve(known.T @ known + np.eye(known.shape[1]), known.T @ said)
    missed = said - known @ linear
    clips = [np.flatnonzero(held.clip == clip) for clip in np.unique(held.clip[held.act != "rest"])]
    rng, names = np.random.default_rng((seed, 31)), list(EMOTION_CODES)
    blank = np.full((MOST_FRAMES, N_EMOTIONS), 1 / N_EMOTIONS, np.float32)
    rows = []
    for number in range(count):
        manner, variation = draw_manner(rng), WIDE if number % 2 else HARD
        shown = synthetic_act(number, manner, rng, variation, names)
        truth = np.array([[units[name] for name in UNITS] for units in map(action_units, weights_of(shown))])
        pose = np.array([[one.yaw, one.pitch, one.roll] for one in shown.poses], np.float32)
        source = clips[rng.integers(len(clips))]
        laid = missed[np.resize(np.concatenate([source, source[::-1]]), len(truth))]
        both = np.concatenate([truth, pose, np.ones((len(truth), 1))], axis=1) @ linear + laid
        both = np.clip(both, 0, 5).astype(np.float32)
        relative, absolute = both[:, : len(UNITS)], both[:, len(UNITS) :]
        for ending in ENDINGS:
            end = max(FEWEST_FRAMES, round(ending * len(truth)))
            _, reference = rest_frames(absolute[:end])
            units = absolute if reference == "average" else relative
            level = None if reference == "onset" else absolute[:end]
            course = Course(units[:end], level, pose[:end], blank[:end], np.zeros(end, np.float32))
            begins = float(truth[0, LASTING].sum())
            rows.append(row_of(course, shown.code, -number, shown.act, ending == 1.0, reference, begins))
    return as_stretches(rows)


def synthetic_act(
    number: int, manner: Manner, rng: np.random.Generator, variation: Variation, names: list[str]
) -> Shown:
    """Return what is shown: of twenty, eleven emotions, eight everyday acts, and one expression after another."""
    place = number % 20
    if place < 11:
        return emotion_clip(names[rng.integers(len(names))], manner, rng, variation)
    if place < 19:
        return everyday_clip(EVERYDAY[rng.integers(len(EVERYDAY))], manner, rng, variation)
    first, second = rng.choice(names, 2, replace=False)
    return changing_clip(str(first), str(second), manner, rng, variation)


def weights_of(shown: Shown) -> list[dict[str, float]]:
    """Return the weights of each pose."""
    return [pose.weights for pose in shown.poses]


def temperature_of(networks: list[Dense], data: Stretches) -> float:
    """Return the temperature that calibrates the networks' mean."""
    known = data.code >= 0
    outputs = mean_outputs(networks, data.values[known])
    candidates = np.arange(0.4, 3.0, 0.02)
    losses = [
        -np.log(softmax(outputs / np.float32(value))[np.arange(known.sum()), data.code[known]] + 1e-9).mean()
        for value in candidates
    ]
    return round(float(candidates[int(np.argmin(losses))]), 2)


def mean_outputs(networks: list[Dense], values: Floats) -> Floats:
    """Return the mean of the networks' outputs."""
    return np.asarray(sum(network(values) for network in networks) / np.float32(len(networks)), np.float32)


def heard(networks: list[Dense], temperature: float, data: Stretches) -> Floats:
    """Return probabilities (N, 8) as `fastck.recognition.judge.Judge`, with the flow's say where one begins at rest."""
    judged = softmax(mean_outputs(networks, data.values) / np.float32(temperature))
    return pooled(judged, data.flow, data.rested)


def answers(chances: Floats, data: Stretches) -> dict[str, float]:
    """Return what is published about whole clips: shares right, of neutral and begun clips, and of what is sure."""
    rows = data.whole & (data.code >= 0)
    right, best = chances.argmax(axis=1) == data.code, chances.max(axis=1)
    calm = (chances.argmax(axis=1) == 0) | (best < UNSURE_BELOW)
    kinds = {
        "all": rows,
        "emotions": rows & (data.code > 0),
        "everyday": rows & (data.code == 0),
        "begun": rows & np.array(["begun" in act for act in data.act]),
        "sure": rows & (best >= SURE),
    }
    found = {f"{name}_right": float(right[own].mean()) if own.any() else 0.0 for name, own in kinds.items()}
    talking = rows & np.array([act.startswith("talk") for act in data.act])
    found |= {"everyday_calm": float(calm[kinds["everyday"]].mean()), "talking_calm": float(calm[talking].mean())}
    found |= {"sure": float(kinds["sure"].sum() / rows.sum()), "clips": int(rows.sum())}
    return {name: round(value, 4) for name, value in found.items()}


def judging_data(plan: Plan, model: UnitModel, data: Data) -> dict[str, Stretches]:
    """Return what the judge learns from ("train"), people whom the units were not fitted to, and the other worlds.

    The same for any number of processes.
    """
    worlds = {"judged": data.judged, "turned": data.calibrating, **data.checked}
    parts = [(name, part) for name, frames in worlds.items() for part in in_parts(frames)]
    recogniser = Recogniser()
    drawn, *found = Parallel(n_jobs=plan.n_jobs, batch_size=1)([
        delayed(one_thread)(synthetic, model, data.judged, SYNTHETIC, plan.seed),
        *[delayed(one_thread)(stretches, part, model, recogniser) for _, part in parts],
        *[delayed(one_thread)(stretches, part, model, recogniser, pictures=True) for part in in_parts(data.judged)],
    ])  # fmt: skip
    found, pictured = found[: len(parts)], found[len(parts) :]
    joined = {
        name: Stretches.join(one for (world, _), one in zip(parts, found, strict=True) if world == name)
        for name in worlds
    }
    rendered = joined.pop("judged")
    return {"train": told(Stretches.join([*[rendered] * RENDERED, *pictured, drawn])), **joined}


def one_thread(work: Callable[..., Stretches], *arguments: Any, **options: Any) -> Stretches:
    """Do one process' work: the order in which a library's threads add up changes the last digits."""
    with threadpool_limits(1):
        return work(*arguments, **options)


def make_judge(data: Stretches, calibrating: Stretches, checked: dict[str, Stretches], *, seed: int) -> bytes:
    """Fit, calibrate and check; return the model file."""
    arrays: dict[str, NDArray[Any]] = {}
    for member in range(MEMBERS):
        arrays |= as_bytes(fit_judge(data, CONFIG, seed=seed + member), f"judge{member}")
    networks = [read_dense(arrays, f"judge{member}") for member in range(MEMBERS)]
    temperature = temperature_of(networks, calibrating)
    figures: dict[str, Any] = {}
    for name, own in {"turned": calibrating, **checked}.items():
        without = own.values.copy()
        without_flow(without, np.ones(len(without), np.bool_))
        chances = {
            "flow": own.flow,
            "judge": heard(networks, temperature, own),
            "units": softmax(mean_outputs(networks, without) / np.float32(temperature)),
        }
        figures[name] = {kind: answers(values, own) for kind, values in chances.items()}
    about = {
        "format": FORMAT, "members": MEMBERS, "temperature": temperature, "seed": seed, "stretches": len(data.code),
        "figures": figures,
    }  # fmt: skip
    return npz_bytes({**arrays, "about": np.array(json.dumps(about, sort_keys=True))})
