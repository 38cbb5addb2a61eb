"""Whose muscles pull where: on each face a unit moves a little of what its neighbours move as well.

The head model has one shape for each unit; the muscles of people begin and end in different places, and a smile of one
lifts the upper lip where another's does not. The truth stays: the same unit looks different on different people.
"""

from dataclasses import replace

import numpy as np

from fastck.render.action_units import action_units
from fastck.render.expression import LARGEST_WEIGHT
from fastck.render.motion import Pose

# Unit -> units that move along, and by which share of it at most. All have two sides.
NEIGHBOURS = {
    "mouthSmile": {"mouthUpperUp": 0.4, "mouthDimple": 0.3, "mouthStretch": 0.25, "mouthLowerDown": 0.25,
                   "noseSneer": 0.15, "eyeSquint": 0.25},
    "cheekSquint": {"eyeSquint": 0.5, "browDown": 0.25},
    "eyeSquint": {"browDown": 0.2},
    "browDown": {"eyeSquint": 0.3, "noseSneer": 0.15},
    "noseSneer": {"mouthUpperUp": 0.3, "browDown": 0.25, "eyeSquint": 0.25},
    "mouthUpperUp": {"noseSneer": 0.2},
}  # fmt: skip
Pulls = dict[str, dict[str, float]]


def draw_pulls(rng: np.random.Generator) -> Pulls:
    """Return the shares of a person."""
    return {
        unit: {other: float(rng.uniform(0, most)) for other, most in others.items()}
        for unit, others in NEIGHBOURS.items()
    }


def pulled(pose: Pose, pulls: Pulls) -> Pose:
    """Return a pose as it looks on a person."""
    weights = dict(pose.weights)
    for unit, others in pulls.items():
        for side in ("Left", "Right"):
            weight = pose.weights.get(f"unit/{unit}{side}", 0.0)
            shut = min(pose.weights.get(f"unit/eyeBlink{side}", 0.0), 1.0)
            for other, share in others.items() if weight else ():
                name = f"unit/{other}{side}"
                more = share * weight * (1 - shut if other == "eyeSquint" else 1)
                weights[name] = min(weights.get(name, 0.0) + more, LARGEST_WEIGHT)
    return replace(pose, weights=weights)


def pulled_units(pose: Pose, seen: Pose) -> dict[str, float]:
    """Return the intensities of a pose that is seen as another: its own, but for how far the lips really part."""
    return {**action_units(pose.weights), "AU25": action_units(seen.weights)["AU25"]}
