"""Render, train, calibrate and check: all that makes the bundled recogniser."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastck.dataset.labels import EMOTIONS
from fastck.recogniser import FORMAT
from fastck.render.variation import HARD, Variation
from fastck.training.models.calibration import calibration_error, fit_temperature
from tools.recogniser.choosing import CHOICES, balanced, choosing_windows
from tools.recogniser.clips import Clips, person_begun_clips, render_clips
from tools.recogniser.fit import FitConfig, Weights, fit, predict
from tools.recogniser.modelfile import rounded
from tools.recogniser.people import NO_CLASS, Windows, mixed_variation, render_people

SEED = 101
PEOPLE, LOOSE_PEOPLE, SLIGHT_PEOPLE = 120, 180, 300
CALIBRATING_PEOPLE, CHECKING_PEOPLE, BEGUN_PEOPLE = 40, 24, 12
# Added to the seed: other people.
OTHER_SEEDS = {"loose": 700, "slight": 1200}
CALIBRATING, CHECKING = 606, 500
UNSURE_BELOW = 0.5  # less than even: what is said is more likely wrong than right
SURE = 0.9
MORE_EPOCHS = 4
COLDEST = 0.25  # of the calibrating temperature


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is rendered, and where it is kept.

    Attributes
    ----------
    folder : Path
        Receives the windows of each part; files that are there are used again.
    seed : int
    people, loose_people, slight_people : int
        People to train on: by the renderer's recipes, by loose ones, and by loose ones and weakly.
    calibrating_people, checking_people : int
        Others of the hard set to calibrate and to check on.
    rounds, versions : int
        As for `tools.recogniser.people.person_windows`.
    config : FitConfig
    n_jobs : int
    """

    folder: Path
    seed: int = SEED
    people: int = PEOPLE
    loose_people: int = LOOSE_PEOPLE
    slight_people: int = SLIGHT_PEOPLE
    calibrating_people: int = CALIBRATING_PEOPLE
    checking_people: int = CHECKING_PEOPLE
    rounds: int = 2
    versions: int = 3
    config: FitConfig = field(default_factory=FitConfig)
    n_jobs: int = -1


@dataclass(frozen=True, kw_only=True)
class Made:
    """A fitted and calibrated network: its weights as the file holds them, and what is said about it."""

    weights: Weights
    about: dict[str, Any]


def training_windows(
    plan: Plan, variation: Callable[[int], Variation] = mixed_variation, name: str = "mixed"
) -> Windows:
    """Return the windows to train on that follow the renderer's recipes, rendered or from the folder."""
    return _windows(plan, name, "plain", plan.seed, plan.people, variation)


def other_windows(plan: Plan, kind: str) -> Windows:
    """Return the windows to train on that no rendered set holds, "loose" or "slight", rendered or from the folder."""
    people = {"loose": plan.loose_people, "slight": plan.slight_people}[kind]
    return _windows(plan, kind, kind, plan.seed + OTHER_SEEDS[kind], people, mixed_variation)


def _windows(
    plan: Plan, name: str, kind: str, seed: int, people: int, variation: Callable[[int], Variation]
) -> Windows:
    path = plan.folder / f"windows-{name}-{seed}-{people}-{plan.rounds}-{plan.versions}.npz"
    if not path.exists():
        render_people(
            seed, people, variation, rounds=plan.rounds, versions=plan.versions, kind=kind, n_jobs=plan.n_jobs
        ).save(path)
    return Windows.load(path)


def calibrating_windows(plan: Plan) -> Windows:
    """Return windows of the hard set in the boxes that the face search gave, rendered or from the folder."""
    seed, people = plan.seed + CALIBRATING, plan.calibrating_people
    path = plan.folder / f"windows-hard-{seed}-{people}-1-2.npz"
    if not path.exists():
        render_people(seed, people, lambda number: HARD, rounds=1, versions=2, n_jobs=plan.n_jobs).save(path)
    windows = Windows.load(path)
    return windows.pick((windows.version == 0) & (windows.code != NO_CLASS))


def checking_clips(plan: Plan) -> Clips:
    """Return whole clips of the hard set, rendered or from the folder."""
    seed, people = plan.seed + CHECKING, plan.checking_people
    path = plan.folder / f"clips-hard-{seed}-{people}.npz"
    if not path.exists():
        render_clips(seed, people, HARD, n_jobs=plan.n_jobs).save(path)
    return Clips.load(path)


def begun_clips(plan: Plan) -> Clips:
    """Return clips of the hard set that begin with an expression, rendered or from the folder."""
    seed, people = plan.seed + CHECKING, min(plan.checking_people, BEGUN_PEOPLE)
    path = plan.folder / f"clips-begun-{seed}-{people}.npz"
    if not path.exists():
        render_clips(seed, people, HARD, one=person_begun_clips, n_jobs=plan.n_jobs).save(path)
    return Clips.load(path)


def temperature_of(weights: Weights, calibrating: Windows) -> float:
    """Return the temperature that calibrates a network; label smoothing makes it too unsure, so below 1 as well."""
    return round(fit_temperature(predict(calibrating, weights), calibrating.code, coldest=COLDEST), 4)


def check(probabilities: NDArray[np.float64], clips: Clips) -> dict[str, Any]:
    """Return what is published about clips: accuracy, calibration, and the share right of each class and act."""
    surest, said = probabilities.max(axis=1), probabilities.argmax(axis=1)
    right, sure = said == clips.code, surest >= SURE
    told = surest >= UNSURE_BELOW
    return {
        "clips": len(right),
        "accuracy": round(float(right.mean()), 4),
        "calibration_error": round(calibration_error(probabilities, clips.code), 4),
        "sure": round(float(sure.mean()), 4),
        "sure_right": round(float(right[sure].mean()) if sure.any() else 0.0, 4),
        "told": round(float(told.mean()), 4),
        "told_right": round(float(right[told].mean()) if told.any() else 0.0, 4),
        "by_act": {act: round(float(right[clips.act == act].mean()), 4) for act in dict.fromkeys(clips.act.tolist())},
    }


def answers(probabilities: NDArray[np.float64], clips: Clips) -> dict[str, Any]:
    """Return for each kind of clip how it is answered, as shares."""
    told, said = probabilities.max(axis=1) >= UNSURE_BELOW, probabilities.argmax(axis=1)
    emotion = told & (said > 0)
    columns = {
        "unsure": ~told,
        "neutral": told & (said == 0),
        "the expression named": emotion & (said == clips.code),
        "another emotion": emotion & (said != clips.code),
    }
    return {
        kind: {name: round(float(rows[clips.act == kind].mean()), 4) for name, rows in columns.items()}
        for kind in dict.fromkeys(clips.act.tolist())
    }


def make(plan: Plan, *, say: Callable[[str], None]) -> Made:
    """Render, train, calibrate and check.

    Parameters
    ----------
    plan : Plan
    say : callable
        Is told what is being done.
    """
    plan.folder.mkdir(parents=True, exist_ok=True)
    people = plan.people + plan.loose_people + plan.slight_people
    say(f"render {people} people to train on")
    windows = Windows.join([training_windows(plan), *(other_windows(plan, kind) for kind in OTHER_SEEDS)])
    say(f"fit {plan.config.members} networks to {len(windows)} windows")
    weights = rounded(fit(windows, plan.config, seed=plan.seed, n_jobs=plan.n_jobs))
    say(f"render {plan.calibrating_people} people to calibrate on")
    calibrating = calibrating_windows(plan)
    temperature = temperature_of(weights, calibrating)
    say(f"render clips of {plan.checking_people} people to check on")
    checked = checking_clips(plan)
    figures = check(checked.probabilities(weights, temperature), checked)
    begun = begun_clips(plan)
    say("render people whom settings were chosen by")
    chosen = {}
    for name in CHOICES:
        shown = choosing_windows(plan.folder, name, seed=plan.seed, people=plan.checking_people, n_jobs=plan.n_jobs)
        chosen[name] = balanced(predict(shown, weights, temperature), shown.code)
    about = {
        "format": FORMAT,
        "classes": list(EMOTIONS.values()),
        "temperature": temperature,
        "unsure_below": UNSURE_BELOW,
        "seed": plan.seed,
        "people": people,
        "windows": len(windows),
        "check_seed": plan.seed + CHECKING,
        **figures,
        "chosen": chosen,
        "begun_clips": len(begun.code),
        "begun": answers(begun.probabilities(weights, temperature), begun),
    }
    return Made(weights=weights, about=about)


def smaller(plan: Plan, people: int) -> Plan:
    """Return a plan for an ablation: one network, and fewer people, seen more often."""
    config = replace(plan.config, members=1, epochs=MORE_EPOCHS * plan.config.epochs)
    return replace(plan, people=people, rounds=1, versions=2, config=config)
