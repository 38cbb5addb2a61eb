"""Render, fit, calibrate and check: all that makes the model of the action units."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from fastck.faces.appearance import Look
from fastck.faces.units import FORMAT, UNITS, UnitModel
from tools.npzfile import npz_bytes
from tools.units.fit import DenseConfig, as_bytes
from tools.units.frames import Frames, render_frames
from tools.units.learn import (
    basis_of,
    fit_units,
    mean_scores,
    predicted,
    rows_of,
    scores,
    thresholds_of,
    unfolded,
)

SEED, FIRST_PEOPLE, PEOPLE, ALL_PEOPLE, JUDGE_PEOPLE = 101, 380, 760, 800, 220
CALIBRATING_PEOPLE, CHECKING_PEOPLE = 10, 10
# Added to the seed: other people.
CALIBRATING, CHECKING = 606, 500
CHECKED = ("easy", "hard", "compressed")
EVERYTHING = frozenset({"shape", "patches"})
NETWORKS = {"absolute": False, "relative": True}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is rendered, and where it is kept.

    Attributes
    ----------
    folder : Path
        Receives the frames; files that are there are used again.
    seed : int
    first_people, people, all_people : int
        People whom the units' networks are fitted to, the first ones of them alone for a model that reads the others;
        and how many there are with those whom only the judge learns from.
    judge_people : int
        The last of all, whom the judge learns from.
    calibrating_people, checking_people : int
        The latter for each world.
    config : DenseConfig
    n_jobs : int
    """

    folder: Path
    seed: int = SEED
    first_people: int = FIRST_PEOPLE
    people: int = PEOPLE
    all_people: int = ALL_PEOPLE
    judge_people: int = JUDGE_PEOPLE
    calibrating_people: int = CALIBRATING_PEOPLE
    checking_people: int = CHECKING_PEOPLE
    config: DenseConfig = field(default_factory=lambda: DenseConfig(hidden=(256, 96), epochs=9))
    n_jobs: int = -1


@dataclass(frozen=True, kw_only=True)
class Data:
    """What is rendered: people to learn from, with those of the judge, to calibrate on, and of each world checked."""

    learnt: Frames
    calibrating: Frames
    checked: dict[str, Frames]

    def first(self, people: int) -> Frames:
        """Return the frames of the first people to learn from."""
        return self.learnt.pick(self.learnt.person <= people)


def render(plan: Plan) -> Data:
    """Return all frames, rendered or from the folder."""

    def world(name: str, seed: int, people: int) -> Frames:
        return render_frames(plan.folder, name, seed, people, n_jobs=plan.n_jobs)

    plan.folder.mkdir(parents=True, exist_ok=True)
    return Data(
        learnt=world("train", plan.seed, plan.all_people),
        # Heads that are turned further than any that is learnt from.
        calibrating=world("turned", plan.seed + CALIBRATING, plan.calibrating_people),
        checked={name: world(name, plan.seed + CHECKING, plan.checking_people) for name in CHECKED},
    )


def fit_both(plan: Plan, frames: Frames, parts: frozenset[str] = EVERYTHING) -> dict[str, NDArray[Any]]:
    """Return the arrays of a model file but for the thresholds, fitted to frames.

    `parts` is what the networks may look at, for an ablation.
    """
    basis = basis_of(frames, plan.seed)
    rows = rows_of(frames, basis)
    arrays: dict[str, NDArray[Any]] = {
        f"mean_{name}": getattr(basis.mean, name).astype(np.float16) for name in Look._fields
    }
    both = Parallel(n_jobs=plan.n_jobs)(
        delayed(fit_units)(rows, basis, plan.config, relative=relative, parts=parts, seed=plan.seed)
        for relative in NETWORKS.values()
    )
    for name, weights in zip(NETWORKS, both, strict=True):
        arrays |= as_bytes(unfolded(weights, basis), name)
    return arrays


def check(units: UnitModel, data: Data) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Return the thresholds, by the people who are calibrated on, and the figures of each world."""
    thresholds = thresholds_of(predicted(units, data.calibrating, relative=True), data.calibrating.truth)
    figures: dict[str, Any] = {}
    for name, relative in NETWORKS.items():
        figures[name] = {}
        for world, frames in {"turned": data.calibrating, **data.checked}.items():
            found = scores(predicted(units, frames, relative=relative), frames.truth, thresholds)
            figures[name][world] = {"mean": mean_scores(found), "units": found, "frames": len(frames)}
    return thresholds, figures


def model_bytes(arrays: dict[str, NDArray[Any]], about: dict[str, Any]) -> bytes:
    """Return a model file."""
    return npz_bytes({**arrays, "about": np.array(json.dumps({"format": FORMAT, **about}, sort_keys=True))})


def fitted(plan: Plan, data: Data, people: int) -> tuple[dict[str, NDArray[Any]], UnitModel]:
    """Return networks that are fitted to the first people, as arrays and as a model without thresholds."""
    arrays = fit_both(plan, data.first(people))
    path = plan.folder / f"fitted-{people}.npz"
    path.write_bytes(model_bytes({**arrays, "thresholds": np.ones(len(UNITS), np.float32)}, {}))
    return arrays, UnitModel(path)


def finished(plan: Plan, units: UnitModel, arrays: dict[str, NDArray[Any]], data: Data) -> bytes:
    """Return the model file of networks that are fitted, with thresholds and figures."""
    thresholds, figures = check(units, data)
    about = {
        "seed": plan.seed,
        "people": plan.people,
        "frames": len(data.first(plan.people)),
        "check_seed": plan.seed + CHECKING,
        "check_people": plan.checking_people,
        "figures": figures,
    }
    return model_bytes({**arrays, "thresholds": thresholds}, about)
