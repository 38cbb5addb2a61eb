"""Expressions: from an emotion, or from a neutral act, to the pose of every frame."""

from dataclasses import dataclass, replace

import numpy as np

from fastck.render.model import FaceModel
from fastck.render.motion import (
    HeadPath,
    Pose,
    blink_at,
    blink_curve,
    ease,
    gaze_weights,
    head_path,
    head_turn,
    light_course,
    speech,
    time_course,
    unit_time,
)
from fastck.render.recipes import EXTRAS, PEAKS, Recipe, mixed_recipe, prototype
from fastck.render.variation import EASY, Variation

EXTRA_SHARE = 0.35  # how likely a person adds each of the extra units
RESTING = ("browDown", "browInnerUp", "mouthFrown", "mouthSmile", "eyeSquint", "mouthPress", "jawOpen")
RESTING_WEIGHT = 0.06  # standard deviation: nobody's neutral face is the model's
UNIT_LAG = 0.22  # the latest unit starts this share of the sequence after the first
LARGEST_WEIGHT = 1.25  # of a unit; beyond it the shapes tear
LARGEST_TILT = 0.9  # relative difference between the sides
SPEECH_OVER_EXPRESSION = 0.7  # loudness of a mouth that speaks while it shows an emotion
NEUTRAL_ACTS = ("still", "blink", "turn", "talk")
# Rendered sets do not hold these; the bundled recogniser is trained on them as well.
FURTHER_ACTS = ("look", "speak", "busy")
LOOK = 0.35  # standard deviation of a wandering gaze, 1 is as far as the eyes turn
ACT_TURN = 7.0  # degrees, standard deviation of a turning head's yaw
ACT_TURN_LIMIT = 18.0  # degrees


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How one person shows emotions, the same in all their sequences.

    Attributes
    ----------
    gain : float
        Overall strength.
    tilt : float
        Left side stronger by this fraction, right side weaker.
    unit_gain : dict of str to float
        Strength of single units; 1 for a unit that is not listed.
    resting : dict of str to float
        Unit weights of the resting face, sides spelled out.
    side : str
        "Left" or "Right": where contempt shows.
    extras : frozenset of (emotion, unit)
        Which units the person adds.
    """

    gain: float
    tilt: float
    unit_gain: dict[str, float]
    resting: dict[str, float]
    side: str
    extras: frozenset[tuple[str, str]]


def draw_manner(rng: np.random.Generator) -> Manner:
    """Draw how a person shows emotions."""
    units = sorted({unit for table in (PEAKS, EXTRAS) for peak in table.values() for unit in peak})
    extras = [(emotion, unit) for emotion, peak in EXTRAS.items() for unit in peak]
    chosen = rng.random(len(extras)) < EXTRA_SHARE
    return Manner(
        gain=float(rng.uniform(0.75, 1.05)),
        tilt=float(np.clip(rng.normal(0, 0.08), -0.2, 0.2)),
        unit_gain=dict(zip(units, np.clip(rng.lognormal(0, 0.18, len(units)), 0.6, 1.4).tolist(), strict=True)),
        resting=dict(zip(RESTING, np.abs(rng.normal(0, RESTING_WEIGHT, len(RESTING))).tolist(), strict=True)),
        side=str(rng.choice(["Left", "Right"])),
        extras=frozenset(extra for extra, taken in zip(extras, chosen, strict=True) if taken),
    )


def sides(model: FaceModel, unit: str, manner: Manner, tilt: float = 0.0) -> list[tuple[str, float]]:
    """Return the model's shape names for a unit, each with its left-right factor: the person's and `tilt` on top."""
    if unit.endswith("One"):
        return [(f"unit/{unit.removesuffix('One')}{manner.side}", 1.0)]
    if f"unit/{unit}" in model.shapes:
        return [(f"unit/{unit}", 1.0)]
    tilt = min(max(manner.tilt + tilt, -LARGEST_TILT), LARGEST_TILT)
    return [(f"unit/{unit}Left", 1 + tilt), (f"unit/{unit}Right", 1 - tilt)]


def add_speech(
    curves: dict[str, np.ndarray], model: FaceModel, manner: Manner, spoken: dict[str, np.ndarray], loudness: float
) -> None:
    """Add a talking mouth's units to the curves, in place."""
    for unit, curve in spoken.items():
        for name, factor in sides(model, unit, manner):
            curves[name] = curves.get(name, 0.0) + loudness * factor * curve


def compose(
    curves: dict[str, np.ndarray], path: HeadPath, light: tuple[np.ndarray, np.ndarray], n_frames: int
) -> list[Pose]:
    """Put the poses together: unit curves (n_frames,) each, the head's path and the light's course."""
    gain, turn = light
    poses = []
    for t in range(n_frames):
        weights = {name: float(np.clip(curve[t], 0, LARGEST_WEIGHT)) for name, curve in curves.items()}
        # A shut eye cannot be wide or squinted as well: the shapes would add up to lids that cross.
        open_share = 1 - weights.get("unit/eyeBlinkLeft", 0.0)
        for name in weights:
            if name.startswith(("unit/eyeWide", "unit/eyeSquint", "unit/eyeLook")):
                weights[name] *= open_share
        for name, weight in gaze_weights(*path.look[:, t]).items():
            weights[name] = weights.get(name, 0.0) + weight * open_share
        yaw, pitch, roll = path.angles[:, t]
        poses.append(
            Pose(
                weights=weights,
                yaw=yaw,
                pitch=pitch,
                roll=roll,
                shift=(path.shift[0, t], path.shift[1, t]),
                light_gain=float(gain[t]),
                light_turn=float(turn[t]),
            )
        )
    return poses


def perform(
    model: FaceModel,
    manner: Manner,
    emotion: str,
    rng: np.random.Generator,
    *,
    n_frames: int,
    variation: Variation = EASY,
    units: Recipe | None = None,
) -> list[Pose]:
    """Act an emotion: the poses from the neutral face (first frame) to the peak (last).

    Parameters
    ----------
    model : FaceModel
        Its shapes say which units have two sides.
    manner : Manner
        How the person shows emotions.
    emotion : str
        A key of `EMOTION_CODES`.
    rng : numpy.random.Generator
        Draws strength, timing, head motion and gaze of this sequence; each kind of variation draws from a child of it.
    n_frames : int
        At least 1.
    variation : Variation
        How far the sequence may depart from a frontal, prototypical expression.
    units : dict of str to float, optional
        Units and their weights at the peak. By default they are drawn from the emotion's recipes.

    Returns
    -------
    poses : list of Pose
    """
    # Children leave the parent's own draws as they are: the easy set is the same with and without them.
    recipe, power, lopsided, timing, mouth, head, lamp = rng.spawn(7)
    time = time_course(timing, n_frames, share=variation.speed)
    peak = units or mixed_recipe(
        emotion, prototype(emotion, manner.extras), recipe, mixed=variation.mixed, blend=variation.blend
    )
    strength = manner.gain * rng.uniform(0.85, 1.15) * power.uniform(variation.weakest, 1.0)
    leaning = lopsided.normal(0, variation.asymmetry)
    onset = rng.uniform(0.0, 0.12)  # frames before anything moves, as a share of the sequence
    curves: dict[str, np.ndarray] = {}
    for unit, weight in manner.resting.items():
        for name, factor in sides(model, unit, manner):
            # The resting face gives way to the expression, so that the peak is the emotion's own.
            curves[name] = weight * factor * (1 - ease(time) * (unit not in peak))
    for unit, weight in peak.items():
        start = onset + rng.uniform(0, UNIT_LAG)
        end = rng.uniform(0.85, 1.0)
        course = ease((time - start) / (end - start)) ** rng.uniform(0.8, 1.25)
        amount = weight * strength * manner.unit_gain.get(unit, 1.0)
        # The whole face leans to one side, and each unit a little on its own.
        tilt = leaning + lopsided.normal(0, 0.5 * variation.asymmetry)
        for name, factor in sides(model, unit, manner, tilt):
            curves[name] = curves.get(name, 0.0) + amount * factor * course
    if mouth.random() < variation.talking:
        add_speech(curves, model, manner, speech(mouth, n_frames, from_rest=True), SPEECH_OVER_EXPRESSION)

    path = head_path(rng, n_frames, yaw=variation.yaw)
    if variation.head_motion > 0:
        path = moved(path, *head_turn(head, n_frames, degrees=variation.head_motion))
    if rng.random() < variation.blink:
        shut = blink_curve(rng, n_frames)
        curves["unit/eyeBlinkLeft"] = curves["unit/eyeBlinkRight"] = shut
    return compose(curves, path, light_course(lamp, n_frames, stops=variation.light), n_frames)


def perform_neutral(
    model: FaceModel,
    manner: Manner,
    act: str,
    rng: np.random.Generator,
    *,
    n_frames: int,
    variation: Variation = EASY,
) -> list[Pose]:
    """Act a face that shows no emotion.

    Parameters
    ----------
    model, manner, n_frames
        As for `perform`.
    act : str
        One of `NEUTRAL_ACTS`: a still face; one or two blinks, the last perhaps cut off; a turning head; a talking
        mouth, in the first frame as well. Or one of `FURTHER_ACTS`: eyes that look elsewhere, and blink on the way; a
        mouth that begins to speak after the first frame; all at once.
    rng : numpy.random.Generator
        Draws the act.
    variation : Variation
        Only `yaw`, `head_motion` and `light` count here, and what the scene needs: a neutral face has no recipe.

    Returns
    -------
    poses : list of Pose
    """
    mouth, head, lamp = rng.spawn(3)
    curves: dict[str, np.ndarray] = {}
    for unit, weight in manner.resting.items():
        for name, factor in sides(model, unit, manner):
            curves[name] = np.full(n_frames, weight * factor)
    path = head_path(rng, n_frames, yaw=variation.yaw)
    if variation.head_motion > 0:
        path = moved(path, *head_turn(head, n_frames, degrees=variation.head_motion))
    if act in ("look", "busy"):
        course = ease(unit_time(n_frames) * rng.uniform(1.0, 4.0))
        path = replace(path, look=np.clip(path.look + rng.normal(0, LOOK, 2)[:, None] * course, -1, 1))
    if act in ("blink", "look", "busy"):
        shut = np.zeros(n_frames)
        for start in rng.uniform(0.5, max(n_frames - 2, 1), rng.integers(1, 3)):
            shut = np.maximum(shut, blink_at(start, n_frames))
        curves["unit/eyeBlinkLeft"] = curves["unit/eyeBlinkRight"] = shut
    if act in ("turn", "busy"):
        angles, shift = head_turn(rng, n_frames, degrees=ACT_TURN)
        limit = np.deg2rad(ACT_TURN_LIMIT)
        path = moved(path, np.clip(angles, -limit, limit), shift)
    if act in ("talk", "speak", "busy"):
        add_speech(curves, model, manner, speech(mouth, n_frames, from_rest=act == "speak"), 1.0)
    return compose(curves, path, light_course(lamp, n_frames, stops=variation.light), n_frames)


def moved(path: HeadPath, angles: np.ndarray, shift: np.ndarray) -> HeadPath:
    """Return a path with more motion on top; the eyes stay where they looked."""
    return HeadPath(angles=path.angles + angles, shift=path.shift + shift, look=path.look)
