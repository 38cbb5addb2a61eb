"""Expressions: from an emotion to the unit weights, gaze and head turn of every frame.

The peaks follow the EMFACS prototypes, read as ARKit units: browInnerUp is action unit 1, browOuterUp 2, browDown 4,
eyeWide 5, cheekSquint 6, eyeSquint 7, noseSneer 9, mouthUpperUp 10, mouthSmile 12, mouthDimple 14, mouthFrown 15,
mouthLowerDown 16, mouthShrugLower 17, mouthStretch 20, mouthPress 23 and 24, jawOpen 25 and 26. The weights are set by
hand.
"""

from dataclasses import dataclass

import numpy as np

from fastck.render.model import FaceModel

EMOTION_CODES = {"anger": 1, "contempt": 2, "disgust": 3, "fear": 4, "happy": 5, "sadness": 6, "surprise": 7}
# Unit -> weight at the peak. A unit without a side is applied to both; contempt's "One" is the subject's own side.
PEAKS: dict[str, dict[str, float]] = {
    "anger": {
        "browDown": 1.0, "eyeSquint": 0.45, "eyeWide": 0.1, "mouthPress": 1.0, "noseSneer": 0.35,
        "mouthShrugLower": 0.3,
    },
    "contempt": {"mouthSmileOne": 0.55, "mouthDimpleOne": 1.0, "mouthPressOne": 0.5, "eyeSquint": 0.15},
    "disgust": {
        "noseSneer": 1.0, "mouthUpperUp": 0.75, "browDown": 0.55, "cheekSquint": 0.6, "mouthFrown": 0.35,
        "eyeSquint": 0.4,
    },
    "fear": {
        "browInnerUp": 1.0, "browDown": 0.35, "eyeWide": 1.0, "mouthStretch": 1.0, "jawOpen": 0.3,
        "mouthLowerDown": 0.4,
    },
    "happy": {
        "mouthSmile": 1.0, "cheekSquint": 0.9, "eyeSquint": 0.35, "mouthUpperUp": 0.35, "mouthLowerDown": 0.25,
        "jawOpen": 0.12,
    },
    "sadness": {
        "browInnerUp": 1.0, "browDown": 0.15, "mouthFrown": 1.0, "mouthShrugLower": 0.6, "eyeSquint": 0.25,
        "eyeLookDown": 0.3,
    },
    "surprise": {"browInnerUp": 1.0, "browOuterUp": 1.0, "eyeWide": 1.0, "jawOpen": 0.75},
}  # fmt: skip
# Units that only some people add to an emotion: weight at the peak.
EXTRAS: dict[str, dict[str, float]] = {
    "anger": {"mouthFrown": 0.3, "jawForward": 0.4, "mouthRollUpper": 0.4},
    "contempt": {"browOuterUpOne": 0.5, "mouthShrugLower": 0.25},
    "disgust": {"mouthShrugUpper": 0.5, "jawOpen": 0.15, "tongueOut": 0.12},
    "fear": {"browOuterUp": 0.6, "mouthUpperUp": 0.3, "jawOpen": 0.2},
    "happy": {"mouthDimple": 0.4, "jawOpen": 0.15, "browOuterUp": 0.25},
    "sadness": {"mouthLowerDown": 0.25, "mouthPress": 0.4, "mouthRollLower": 0.3},
    "surprise": {"mouthFunnel": 0.35, "mouthUpperUp": 0.2, "jawOpen": 0.2},
}
EXTRA_SHARE = 0.35  # how likely a person adds each of them
RESTING = ("browDown", "browInnerUp", "mouthFrown", "mouthSmile", "eyeSquint", "mouthPress", "jawOpen")
RESTING_WEIGHT = 0.06  # standard deviation: nobody's neutral face is the model's
FEWEST, MOST = 10, 30  # frames from onset to apex
FRAME_BETA = (1.3, 1.8)  # beta distribution over that range: mean 18, as CK+ has
UNIT_LAG = 0.22  # the latest unit starts this share of the sequence after the first
BLINK_FRAMES = 7  # a blink takes about 0.25 s; CK+ was recorded at 30 frames a second
PITCH, ROLL = 2.5, 1.5  # degrees, standard deviation at the first frame: CK+ is frontal, not rigid
DRIFT = 0.25  # turn from first to last frame, relative to the starting turn's spread
SWAY = 0.12  # degrees, standard deviation of the slow sway on top
SHIFT = 0.003  # decimetres, the same of the head as a whole
GAZE, GAZE_DRIFT = 0.06, 0.02  # 1 is as far as the eyes turn: off the camera, and during a sequence


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
        Strength of single units.
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


@dataclass(frozen=True, kw_only=True)
class Pose:
    """One frame: unit weights ("unit/jawOpen" and the like), head turn in radians, head shift in decimetres."""

    weights: dict[str, float]
    yaw: float
    pitch: float
    roll: float
    shift: tuple[float, float]


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


def sides(model: FaceModel, unit: str, manner: Manner) -> list[tuple[str, float]]:
    """Return the model's shape names for a unit, each with the person's left-right factor."""
    if unit.endswith("One"):
        return [(f"unit/{unit.removesuffix('One')}{manner.side}", 1.0)]
    if f"unit/{unit}" in model.shapes:
        return [(f"unit/{unit}", 1.0)]
    return [(f"unit/{unit}Left", 1 + manner.tilt), (f"unit/{unit}Right", 1 - manner.tilt)]


def ease(t: np.ndarray | float) -> np.ndarray:
    """Map 0..1 to 0..1, slow at both ends, as a face moves; constant outside."""
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)


def draw_length(rng: np.random.Generator) -> int:
    """Return a number of frames from onset to apex: 10 to 30, mean 18."""
    return FEWEST + int((MOST - FEWEST + 1) * rng.beta(*FRAME_BETA))


def sway(rng: np.random.Generator, n_frames: int, spread: float) -> np.ndarray:
    """Return a slow random wobble (n_frames,) that starts at 0: two sines of about one period a second."""
    time = np.arange(n_frames) / 30
    wobble = np.zeros(n_frames)
    for frequency in rng.uniform(0.3, 1.5, 2):
        phase = rng.uniform(0, 2 * np.pi)
        wobble += rng.normal(0, spread) * (np.sin(2 * np.pi * frequency * time + phase) - np.sin(phase))
    return wobble


def gaze_weights(right: float, up: float) -> dict[str, float]:
    """Return the units of a gaze: to the subject's right (or left) and up (or down, negative); 1 is the full turn."""
    left, down = max(-right, 0.0), max(-up, 0.0)
    right, up = max(right, 0.0), max(up, 0.0)
    weights: dict[str, float] = {}
    for side, inwards, outwards in (("Left", right, left), ("Right", left, right)):
        weights |= {f"unit/eyeLookIn{side}": inwards, f"unit/eyeLookOut{side}": outwards}
        weights |= {f"unit/eyeLookUp{side}": up, f"unit/eyeLookDown{side}": down}
    return {name: weight for name, weight in weights.items() if weight > 0}


def blink_curve(rng: np.random.Generator, n_frames: int) -> np.ndarray:
    """Return how far the lids are shut (n_frames,): one blink somewhere in the sequence."""
    start = rng.uniform(1, max(n_frames - BLINK_FRAMES, 2))
    return np.clip(1.4 * np.sin(np.pi * np.clip((np.arange(n_frames) - start) / BLINK_FRAMES, 0, 1)), 0, 1)


def perform(
    model: FaceModel, manner: Manner, emotion: str, rng: np.random.Generator, *, n_frames: int, blink: float, yaw: float
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
        Draws strength, timing, head motion and gaze of this sequence.
    n_frames : int
        At least 1.
    blink : float
        How likely the sequence has a blink, 0 to 1.
    yaw : float
        Standard deviation of the head's turn at the first frame, degrees.

    Returns
    -------
    poses : list of Pose
    """
    time = np.arange(n_frames) / max(n_frames - 1, 1)
    peak = dict(PEAKS[emotion])
    for unit, weight in EXTRAS[emotion].items():
        if (emotion, unit) in manner.extras:
            peak[unit] = peak.get(unit, 0.0) + weight
    strength = manner.gain * rng.uniform(0.85, 1.15)
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
        amount = weight * strength * manner.unit_gain[unit]
        for name, factor in sides(model, unit, manner):
            curves[name] = curves.get(name, 0.0) + amount * factor * course

    turn = np.deg2rad([yaw, PITCH, ROLL])
    first, drift = rng.normal(0, turn), rng.normal(0, DRIFT * turn)
    wobble = np.stack([sway(rng, n_frames, np.deg2rad(SWAY)) for _ in range(3)])
    angles = first[:, None] + drift[:, None] * ease(time) + wobble
    shift = np.stack([sway(rng, n_frames, SHIFT) for _ in range(2)])
    look = rng.normal(0, GAZE, 2)[:, None] + np.stack([sway(rng, n_frames, GAZE_DRIFT) for _ in range(2)])
    if rng.random() < blink:
        shut = blink_curve(rng, n_frames)
        curves["unit/eyeBlinkLeft"] = curves["unit/eyeBlinkRight"] = shut
    poses = []
    for t in range(n_frames):
        weights = {name: float(np.clip(curve[t], 0, 1.25)) for name, curve in curves.items()}
        # A shut eye cannot be wide or squinted as well: the shapes would add up to lids that cross.
        open_share = 1 - weights.get("unit/eyeBlinkLeft", 0.0)
        for name in weights:
            if name.startswith(("unit/eyeWide", "unit/eyeSquint", "unit/eyeLook")):
                weights[name] *= open_share
        for name, weight in gaze_weights(*look[:, t]).items():
            weights[name] = weights.get(name, 0.0) + weight * open_share
        poses.append(
            Pose(
                weights=weights,
                yaw=angles[0, t],
                pitch=angles[1, t],
                roll=angles[2, t],
                shift=(shift[0, t], shift[1, t]),
            )
        )
    return poses
