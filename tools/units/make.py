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
from tools.units.fit import as_bytes
from tools.units.frames import Frames, in_parts, render_frames
from tools.units.learn import fit_cells, mean_look, mean_scores, predicted, scores, thresholds_of
from tools.units.network import NetworkConfig
from tools.units.patches import CONFIG, fit_patches

SEED, PEOPLE, JUDGE_PEOPLE = 101, 1230, 200
CALIBRATING_PEOPLE, CHECKING_PEOPLE = 30, 60
# Added to the seed: other people.
CALIBRATING, CHECKING = 606, 500
CHECKED = ("easy", "hard", "compressed")
# What a face is seen beside, and whether it is known at rest; in the order of the thresholds.
KNOWN = {"rest": True, "average": False}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is rendered, and where it is kept.

    Attributes
    ----------
    folder : Path
        Receives the frames; files that are there are used again.
    seed : int
    people : int
        Whom the units' networks are fitted to.
    judge_people : int
        Others, whom the judge learns from.
    calibrating_people, checking_people : int
        The latter for each world.
    config : NetworkConfig
    n_jobs : int
    """

    folder: Path
    seed: int = SEED
    people: int = PEOPLE
    judge_people: int = JUDGE_PEOPLE
    calibrating_people: int = CALIBRATING_PEOPLE
    checking_people: int = CHECKING_PEOPLE
    config: NetworkConfig = field(default_factory=NetworkConfig)
    n_jobs: int = -1


@dataclass(frozen=True, kw_only=True)
class Data:
    """What is rendered: people to learn from, the judge's own, those to calibrate on, and of each world checked."""

    learnt: Frames
    judged: Frames
    calibrating: Frames
    checked: dict[str, Frames]


def render(plan: Plan) -> Data:
    """Return all frames, rendered or from the folder."""

    def world(name: str, seed: int, people: int) -> Frames:
        return render_frames(plan.folder, name, seed, people, n_jobs=plan.n_jobs)

    plan.folder.mkdir(parents=True, exist_ok=True)
    everyone = world("train", plan.seed, plan.people + plan.judge_people)
    return Data(
        learnt=everyone.pick(everyone.person <= plan.people),
        judged=everyone.pick(everyone.person > plan.people),
        # Heads that are turned further than any that is learnt from.
        calibrating=world("turned", plan.seed + CALIBRATING, plan.calibrating_people),
        checked={name: world(name, plan.seed + CHECKING, plan.checking_people) for name in CHECKED},
    )


def fit_all(plan: Plan, frames: Frames) -> dict[str, NDArray[Any]]:
    """Return the arrays of a model file but for the thresholds, fitted to frames."""
    mean = mean_look(frames)
    arrays: dict[str, NDArray[Any]] = {f"mean_{name}": getattr(mean, name).astype(np.float16) for name in Look._fields}
    # Processes: the settings of TensorFlow, and the limits of other libraries, last as long as one does.
    cells, (dense, shape) = Parallel(n_jobs=plan.n_jobs)([
        delayed(fit_cells)(frames, mean, plan.config, seed=plan.seed),
        delayed(fit_patches)(frames, CONFIG, seed=plan.seed),
    ])  # fmt: skip
    arrays |= {"patches/mean_shape": shape.astype(np.float16), **as_bytes(dense, "patches/dense")}
    for part, layers in cells.items():
        arrays |= as_bytes(layers, f"cells/{part}")
    return arrays


def check(plan: Plan, units: UnitModel, data: Data) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Return the thresholds (2, 44), by the judge's people, and the figures of each world."""
    # The units were not fitted to the judge's people: presence is calibrated on them.
    worlds = {"train": data.judged, "turned": data.calibrating, **data.checked}
    thresholds: list[NDArray[np.float32]] = []
    figures: dict[str, Any] = {}
    for name, relative in KNOWN.items():
        said = {world: (said_of(plan, units, frames, relative), frames.truth) for world, frames in worlds.items()}
        thresholds.append(thresholds_of(*said["train"]))
        figures[name] = {}
        for world, (intensities, truth) in said.items():
            found = scores(intensities, truth, thresholds[-1])
            figures[name][world] = {"mean": mean_scores(found), "units": found, "frames": len(truth)}
    return np.stack(thresholds), figures


def said_of(plan: Plan, units: UnitModel, frames: Frames, relative: bool) -> NDArray[np.float32]:
    """Return what `predicted` gives, computed side by side."""
    jobs = (delayed(predicted)(units, part, relative=relative) for part in in_parts(frames))
    return np.concatenate(list(Parallel(n_jobs=plan.n_jobs, batch_size=1)(jobs)))


def model_bytes(arrays: dict[str, NDArray[Any]], about: dict[str, Any]) -> bytes:
    """Return a model file."""
    return npz_bytes({**arrays, "about": np.array(json.dumps({"format": FORMAT, **about}, sort_keys=True))})


def fitted(plan: Plan, data: Data) -> tuple[dict[str, NDArray[Any]], UnitModel]:
    """Return networks that are fitted to the people, as arrays and as a model without thresholds."""
    arrays = fit_all(plan, data.learnt)
    path = plan.folder / "fitted.npz"
    path.write_bytes(model_bytes({**arrays, "thresholds": np.ones((len(KNOWN), len(UNITS)), np.float32)}, {}))
    return arrays, UnitModel(path)


def finished(plan: Plan, units: UnitModel, arrays: dict[str, NDArray[Any]], data: Data) -> bytes:
    """Return the model file of networks that are fitted, with thresholds and figures."""
    thresholds, figures = check(plan, units, data)
    about = {
        "seed": plan.seed,
        "people": plan.people,
        "frames": len(data.learnt),
        "check_seed": plan.seed + CHECKING,
        "check_people": plan.checking_people,
        "figures": figures,
    }
    return model_bytes({**arrays, "thresholds": thresholds}, about)
