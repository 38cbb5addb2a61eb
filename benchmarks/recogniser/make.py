"""Render, train, calibrate and check: all that makes the bundled recogniser."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.recogniser.clips import Clips, load_clips, render_clips
from benchmarks.recogniser.fit import FitConfig, Weights, fit, predict
from benchmarks.recogniser.modelfile import rounded
from benchmarks.recogniser.people import NO_CLASS, Windows, load_windows, mixed_variation, render_people
from fastck.dataset.labels import EMOTIONS
from fastck.recognition.model import FORMAT
from fastck.render.variation import HARD, Variation
from fastck.training.calibration import calibration_error, fit_temperature

SEED = 101
PEOPLE = 120
CALIBRATING_PEOPLE, CHECKING_PEOPLE = 40, 24
CALIBRATING, CHECKING = 606, 500  # added to the seed: other people
UNSURE_BELOW = 0.5  # less than even: what is said is more likely wrong than right
SURE = 0.9


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is rendered, and where it is kept.

    Attributes
    ----------
    folder : Path
        Receives the windows of each part; files that are there are used again.
    seed : int
    people, calibrating_people, checking_people : int
        People to train on, and others of the hard set to calibrate and to check on.
    rounds, versions : int
        As for `benchmarks.recogniser.people.person_windows`.
    config : FitConfig
    n_jobs : int
    """

    folder: Path
    seed: int = SEED
    people: int = PEOPLE
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
    """Return the windows to train on, rendered or from the folder."""
    path = plan.folder / f"windows-{name}-{plan.seed}-{plan.people}-{plan.rounds}-{plan.versions}.npz"
    if not path.exists():
        render_people(
            plan.seed, plan.people, variation, rounds=plan.rounds, versions=plan.versions, n_jobs=plan.n_jobs
        ).save(path)
    return load_windows(path)


def calibrating_windows(plan: Plan) -> Windows:
    """Return windows of the hard set in the boxes that the face search gave, rendered or from the folder."""
    seed, people = plan.seed + CALIBRATING, plan.calibrating_people
    path = plan.folder / f"windows-hard-{seed}-{people}-1-2.npz"
    if not path.exists():
        render_people(seed, people, lambda number: HARD, rounds=1, versions=2, n_jobs=plan.n_jobs).save(path)
    windows = load_windows(path)
    return windows.pick((windows.version == 0) & (windows.code != NO_CLASS))


def checking_clips(plan: Plan) -> Clips:
    """Return whole clips of the hard set, rendered or from the folder."""
    seed, people = plan.seed + CHECKING, plan.checking_people
    path = plan.folder / f"clips-hard-{seed}-{people}.npz"
    if not path.exists():
        render_clips(seed, people, HARD, n_jobs=plan.n_jobs).save(path)
    return load_clips(path)


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


def make(plan: Plan, *, say: Callable[[str], None]) -> Made:
    """Render, train, calibrate and check.

    Parameters
    ----------
    plan : Plan
    say : callable
        Is told what is being done.
    """
    plan.folder.mkdir(parents=True, exist_ok=True)
    say(f"render {plan.people} people to train on")
    windows = training_windows(plan)
    say(f"fit a network to {len(windows)} windows")
    weights = rounded(fit(windows, plan.config, seed=plan.seed))
    say(f"render {plan.calibrating_people} people to calibrate on")
    calibrating = calibrating_windows(plan)
    temperature = round(fit_temperature(predict(calibrating, weights), calibrating.code), 4)
    say(f"render clips of {plan.checking_people} people to check on")
    checked = checking_clips(plan)
    figures = check(checked.probabilities(weights, temperature), checked)
    about = {
        "format": FORMAT,
        "classes": list(EMOTIONS.values()),
        "codes": list(EMOTIONS),
        "temperature": temperature,
        "unsure_below": UNSURE_BELOW,
        "seed": plan.seed,
        "people": plan.people,
        "windows": len(windows),
        "check_seed": plan.seed + CHECKING,
        **figures,
    }
    return Made(weights=weights, about=about)


def smaller(plan: Plan, people: int) -> Plan:
    """Return a plan with fewer people, for an ablation."""
    return replace(plan, people=people, rounds=1, versions=2)
