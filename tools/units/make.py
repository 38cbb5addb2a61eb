"""Render, fit, calibrate and check: all that makes the model of the action units."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastck.faces.appearance import Look
from fastck.faces.dense import read_dense
from fastck.faces.units import FORMAT
from tools.units.fit import DenseConfig, as_bytes
from tools.units.frames import Frames, render_frames
from tools.units.learn import (
    Rows,
    average,
    fit_units,
    mean_scores,
    predicted,
    rows_of,
    scores,
    thresholds_of,
)

SEED, PEOPLE, CALIBRATING_PEOPLE, CHECKING_PEOPLE = 101, 120, 10, 10
# Added to the seed: other people.
CALIBRATING, CHECKING = 606, 500
CHECKED = ("easy", "hard", "compressed")
EVERYTHING = frozenset({"shape", "patches"})


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is rendered, and where it is kept.

    Attributes
    ----------
    folder : Path
        Receives the frames; files that are there are used again.
    seed : int
    people, calibrating_people, checking_people : int
        The latter for each world.
    config : DenseConfig
    n_jobs : int
    """

    folder: Path
    seed: int = SEED
    people: int = PEOPLE
    calibrating_people: int = CALIBRATING_PEOPLE
    checking_people: int = CHECKING_PEOPLE
    config: DenseConfig = field(default_factory=lambda: DenseConfig(hidden=(96, 48), epochs=30))
    n_jobs: int = -1


@dataclass(frozen=True, kw_only=True)
class Data:
    """What is rendered: people to learn from, to calibrate on, and of each world that is checked."""

    train: Frames
    calibrating: Frames
    checked: dict[str, Frames]


def render(plan: Plan) -> Data:
    """Return all frames, rendered or from the folder."""

    def world(name: str, seed: int, people: int) -> Frames:
        return render_frames(plan.folder, name, seed, people, n_jobs=plan.n_jobs)

    plan.folder.mkdir(parents=True, exist_ok=True)
    return Data(
        train=world("train", plan.seed, plan.people),
        # Heads that are turned further than any that is learnt from.
        calibrating=world("turned", plan.seed + CALIBRATING, plan.calibrating_people),
        checked={name: world(name, plan.seed + CHECKING, plan.checking_people) for name in CHECKED},
    )


def make(
    plan: Plan, *, say: Callable[[str], None], parts: frozenset[str] = EVERYTHING
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Render, fit, calibrate and check.

    Parameters
    ----------
    plan : Plan
    say : callable
        Is told what is being done.
    parts : frozenset of str
        What the networks may look at, for an ablation.

    Returns
    -------
    arrays, about
        What the model file holds.
    """
    say(f"render {plan.people} people to learn from, and others to calibrate and to check on")
    data = render(plan)
    train = rows_of(data.train)
    mean = average(train)
    # The file holds halves: what is checked has to be what is shipped.
    mean = Look(*(values.astype(np.float16).astype(np.float32) for values in mean))
    arrays: dict[str, NDArray[Any]] = {f"mean_{name}": getattr(mean, name).astype(np.float16) for name in Look._fields}
    figures: dict[str, Any] = {}
    for name, relative in (("absolute", False), ("relative", True)):
        say(f"fit the {name} network to {len(train.person)} frames")
        weights = fit_units(train, mean, plan.config, relative=relative, parts=parts, seed=plan.seed)
        arrays |= as_bytes(weights, name)
        network = read_dense(arrays, name)

        def said(rows: Rows, network: Any = network, relative: bool = relative) -> NDArray[np.float32]:
            return predicted(network, rows, mean, relative=relative, parts=parts)

        thresholds = thresholds_of(said(rows_of(data.calibrating)), data.calibrating.truth)
        figures[name] = {}
        for world, frames in {"turned": data.calibrating, **data.checked}.items():
            found = scores(said(rows_of(frames)), frames.truth, thresholds)
            figures[name][world] = {"mean": mean_scores(found), "units": found, "frames": len(frames)}
    # One set of thresholds: the relative network answers wherever a face is seen at rest.
    arrays["thresholds"] = thresholds
    about = {
        "format": FORMAT,
        "seed": plan.seed,
        "people": plan.people,
        "frames": len(train.person),
        "check_seed": plan.seed + CHECKING,
        "figures": figures,
    }
    return arrays, about
