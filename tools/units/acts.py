"""What people do in front of the camera: speech, winks, chewing and the like, and expressions of every course."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fastck.render.expression import LARGEST_WEIGHT, Manner, sides
from fastck.render.model import load_model
from fastck.render.motion import (
    FRAME_RATE,
    HeadPath,
    Pose,
    blink_at,
    ease,
    gaze_weights,
    head_path,
    head_turn,
    light_course,
    speech,
    unit_time,
)
from fastck.render.recipes import EMOTION_CODES, Recipe
from fastck.render.variation import Variation
from tools.recogniser.recipes import loose_recipe

Curve = NDArray[np.float64]
Curves = dict[str, Curve]
NO_CLASS = -1
# Acts that show no emotion.
EVERYDAY = (
    "still", "blinks", "talk", "talk from rest", "talk and nod", "wink", "slow blink", "squint", "chew", "lick lips",
    "roll lips", "mouth aside", "o", "yawn", "look", "turn", "pout", "brows up", "gape",
)  # fmt: skip
COURSES = ("rise", "held", "released", "begun", "begun and released")
STRENGTH = (0.3, 1.25)
RANDOM_UNITS = (
    "browInnerUp", "browOuterUp", "browDown", "eyeWide", "cheekSquint", "eyeSquint", "noseSneer", "mouthUpperUp",
    "mouthSmile", "mouthDimple", "mouthFrown", "mouthStretch", "eyeBlink", "mouthShrugLower", "mouthPucker",
    "mouthFunnel", "mouthPress", "jawOpen", "mouthLowerDown", "mouthRollLower", "mouthRollUpper",
)  # fmt: skip
OTHER_UNITS = ("jawForward", "jawLeft", "jawRight", "mouthLeft", "mouthRight", "cheekPuff", "mouthShrugUpper")
RANDOM_OPEN = ("jawOpen", "mouthFunnel", "mouthLowerDown", "mouthUpperUp")


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What one clip shows: its poses, the class (0 for neutral, -1 for none), and the name of the act."""

    poses: list[Pose]
    code: int
    act: str


@dataclass(kw_only=True)
class Script:
    """What happens in a clip, one layer after another."""

    manner: Manner
    n: int
    rng: np.random.Generator
    curves: Curves
    turn: NDArray[np.float64]

    def add(self, unit: str, curve: Curve, side: str | None = None, tilt: float = 0.0) -> None:
        """Add a unit's course, on both sides or on one ("Left", "Right")."""
        names = sides(load_model(), unit, self.manner, tilt) if side is None else [(f"unit/{unit}{side}", 1.0)]
        for name, factor in names:
            self.curves[name] = self.curves.get(name, np.zeros(self.n)) + factor * curve

    def bump(self, low: float = 0.4, high: float = 1.0) -> Curve:
        """Return the course of something that comes and may go again."""
        begin, end = np.sort(self.rng.uniform(-0.15, 1.15, 2))
        end = max(end, begin + 0.3)
        ramp = self.rng.uniform(0.08, 0.25)
        time = unit_time(self.n)
        return self.rng.uniform(low, high) * ease((time - begin) / ramp) * ease((end - time) / ramp)

    def waves(self, rate: float, low: float = 0.0) -> Curve:
        """Return something that swings `rate` times a second between `low` and 1."""
        time = np.arange(self.n) / FRAME_RATE
        swing = 0.5 - 0.5 * np.cos(2 * np.pi * rate * time + self.rng.uniform(0, 2 * np.pi))
        return low + (1 - low) * swing

    def talk(self, *, from_rest: bool, loudness: float = 1.0) -> None:
        """Let the mouth speak."""
        for unit, curve in speech(self.rng, self.n, from_rest=from_rest).items():
            self.add(unit, loudness * curve)

    def nod(self) -> None:
        """Let the head nod or shake."""
        time = np.arange(self.n) / FRAME_RATE
        for axis, size in ((1, 4.0), (0, 3.0)):
            swing = np.sin(2 * np.pi * self.rng.uniform(0.6, 2.2) * time + self.rng.uniform(0, 6))
            self.turn[axis] += np.deg2rad(abs(self.rng.normal(0, size))) * swing

    def wink(self, side: str, curve: Curve) -> None:
        """Shut one eye, with the cheek and the brow that go along."""
        self.add("eyeBlink", curve, side)
        self.add("cheekSquint", curve * self.rng.uniform(0, 0.8), side)
        self.add("eyeSquint", curve * self.rng.uniform(0, 0.5), side)
        if self.rng.random() < 0.4:
            self.add("mouthSmile", curve * self.rng.uniform(0, 0.5), side)
        if self.rng.random() < 0.4:
            self.add("browDown", curve * self.rng.uniform(0, 0.6), side)


def everyday(script: Script, act: str) -> None:
    """Put an everyday act into the script."""
    rng, n = script.rng, script.n
    bump = script.bump()
    if act == "blinks":
        shut = np.max([blink_at(start, n) for start in rng.uniform(-2, n, rng.integers(1, 4))], axis=0)
        script.add("eyeBlink", shut)
    elif act.startswith("talk"):
        script.talk(from_rest=act == "talk from rest", loudness=rng.uniform(0.7, 1.4))
        if act == "talk and nod":
            script.nod()
        if rng.random() < 0.3:
            script.add("browOuterUp", bump * 0.6)
            script.add("browInnerUp", bump * 0.6)
    elif act == "wink":
        script.wink(str(rng.choice(["Left", "Right"])), np.minimum(1.0, 1.4 * script.bump(0.8, 1.0)))
    elif act == "slow blink":
        script.add("eyeBlink", np.minimum(1.0, 1.2 * script.bump(0.7, 1.0)))
    elif act == "squint":
        script.add("eyeSquint", bump)
        script.add("cheekSquint", bump * rng.uniform(0, 0.7))
        script.add("browDown", bump * rng.uniform(0, 0.4))
    elif act == "chew":
        wave = script.waves(rng.uniform(1.0, 2.2))
        script.add("jawOpen", 0.25 * rng.uniform(0.3, 1.2) * wave)
        script.add("mouthClose", 0.25 * rng.uniform(0.0, 0.6) * wave)
        script.add(str(rng.choice(["jawLeft", "jawRight"])), 0.5 * script.waves(rng.uniform(0.5, 2.0)))
        script.add("mouthPress", 0.4 * script.waves(rng.uniform(1.0, 2.0)))
    elif act == "lick lips":
        script.add("tongueOut", 0.5 * bump)
        script.add("jawOpen", 0.25 * bump)
        script.add(str(rng.choice(["mouthRollLower", "mouthRollUpper"])), script.bump() * 0.6)
    elif act == "roll lips":
        script.add("mouthRollLower", bump)
        script.add("mouthRollUpper", bump * rng.uniform(0.2, 1.0))
    elif act == "mouth aside":
        script.add(str(rng.choice(["mouthLeft", "mouthRight"])), bump)
        script.add("mouthPress", bump * rng.uniform(0, 0.4))
    elif act == "o":
        script.add("jawOpen", bump * rng.uniform(0.15, 0.6))
        script.add(str(rng.choice(["mouthFunnel", "mouthPucker"])), bump * rng.uniform(0.5, 1.0))
    elif act == "yawn":
        script.add("jawOpen", bump * rng.uniform(0.8, 1.2))
        script.add("eyeSquint", bump * rng.uniform(0.2, 1.0))
        script.add("eyeBlink", np.clip(bump * rng.uniform(0.0, 1.2), 0, 1))
        script.add("browDown", bump * rng.uniform(0, 0.4))
        script.turn[1] -= np.deg2rad(rng.uniform(0, 8)) * bump
    elif act == "look":
        script.add("eyeBlink", np.max([blink_at(start, n) for start in rng.uniform(0, n, 2)], axis=0))
    elif act == "turn":
        angle = np.deg2rad(np.clip(rng.normal(0, 12), -22, 22))
        script.turn[0] += angle * bump
        script.turn[1] += np.deg2rad(rng.normal(0, 6)) * script.bump()
    elif act == "pout":
        script.add("mouthPucker", bump)
        script.add("mouthShrugLower", bump * rng.uniform(0, 0.8))
    elif act == "brows up":
        script.add("browOuterUp", 0.8 * bump)
        script.add("browInnerUp", 0.8 * bump)
    elif act == "gape":
        script.add("jawOpen", 0.5 * bump)


def envelope(course: str, n: int, rng: np.random.Generator) -> Curve:
    """Return how an expression rises, holds and falls."""
    time = unit_time(n)
    rise, hold = rng.uniform(0.15, 0.5), rng.uniform(0.1, 0.4)
    start = rng.uniform(0.0, 0.15)
    if course == "rise":
        return ease((time - start) / (rng.uniform(0.7, 1.0) - start))
    if course == "held":
        return ease((time - start) / rise)
    if course == "released":
        return ease((time - start) / rise) * ease((1 - time + rng.uniform(0, 0.1)) / (1 - start - rise - hold + 0.15))
    if course == "begun":
        return 1 - rng.uniform(0, 0.15) * script_wave(time, rng)
    return ease((1 - time) / rng.uniform(0.3, 0.8))


def script_wave(time: Curve, rng: np.random.Generator) -> Curve:
    """Return a slow swing between 0 and 1."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * (rng.uniform(0.3, 1.5) * time + rng.random()))


def express(script: Script, recipe: Recipe, strength: float, curve: Curve, asymmetry: float) -> None:
    """Let the face show a recipe; each unit a little earlier or later than the others."""
    leaning = script.rng.normal(0, asymmetry)
    for unit, weight in recipe.items():
        late = script.rng.uniform(0, 0.08) * script.n
        own = np.interp(np.arange(script.n) - late, np.arange(script.n), curve)
        tilt = leaning + script.rng.normal(0, 0.5 * asymmetry)
        if unit.endswith("One"):
            script.add(unit.removesuffix("One"), weight * strength * own, script.manner.side)
        else:
            script.add(unit, weight * strength * script.manner.unit_gain.get(unit, 1.0) * own, tilt=tilt)


def begin(manner: Manner, n: int, rng: np.random.Generator) -> Script:
    """Return a script with the person's face at rest in it."""
    script = Script(manner=manner, n=n, rng=rng, curves={}, turn=np.zeros((3, n)))
    for unit, weight in manner.resting.items():
        script.add(unit, np.full(n, weight))
    return script


def played(script: Script, variation: Variation, *, look: float = 0.0, every: int = 1) -> list[Pose]:
    """Return every so many-th pose of a script, with the head's own path and the light's."""
    rng, n = script.rng, script.n
    path = head_path(rng, n, yaw=variation.yaw)
    angles, shift = head_turn(rng, n, degrees=max(variation.head_motion, 1e-6))
    gain, turn = light_course(rng, n, stops=variation.light)
    gaze = path.look
    if look:
        course = ease(unit_time(n) * rng.uniform(1.0, 4.0))
        gaze = np.clip(gaze + rng.normal(0, look, 2)[:, None] * course, -1, 1)
    path = HeadPath(angles=path.angles + angles + script.turn, shift=path.shift + shift, look=gaze)
    return [
        pose_of(
            {name: float(curve[t]) for name, curve in script.curves.items()},
            path.look[:, t],
            Pose(
                weights={}, yaw=path.angles[0, t], pitch=path.angles[1, t], roll=path.angles[2, t],
                shift=(path.shift[0, t], path.shift[1, t]), light_gain=float(gain[t]), light_turn=float(turn[t]),
            ),
        )
        for t in range(0, n, every)
    ]  # fmt: skip


def pose_of(weights: dict[str, float], look: NDArray[np.float64], pose: Pose) -> Pose:
    """Return a pose with weights in it; a shut eye is neither wide nor squinted, nor does it look anywhere."""
    shown = {name: float(np.clip(weight, 0, LARGEST_WEIGHT)) for name, weight in weights.items()}
    for name, weight in gaze_weights(*look).items():
        shown[name] = shown.get(name, 0.0) + weight
    for side in ("Left", "Right"):
        shut = min(shown.get(f"unit/eyeBlink{side}", 0.0), 1.0)
        if shut:
            shown[f"unit/eyeBlink{side}"] = shut
        for name in shown:
            if name.endswith(side) and name.startswith(("unit/eyeWide", "unit/eyeSquint", "unit/eyeLook")):
                shown[name] *= 1 - shut
    return replace(pose, weights=shown)


def everyday_clip(act: str, manner: Manner, rng: np.random.Generator, variation: Variation) -> Shown:
    """Return a clip without emotion."""
    every = int(rng.integers(2, 5))
    script = begin(manner, every * int(rng.integers(7, 12)), rng)
    everyday(script, act)
    if act not in ("blinks", "slow blink", "wink", "still") and rng.random() < 0.3:
        everyday(script, "blinks")
    look = 0.4 if act in ("look", "turn") else 0.1
    return Shown(poses=played(script, variation, look=look, every=every), code=0, act=act)


def emotion_clip(emotion: str, manner: Manner, rng: np.random.Generator, variation: Variation) -> Shown:
    """Return a clip with an emotion: of any strength and course, perhaps with speech, a nod or blinks."""
    every = int(rng.integers(2, 5))
    script = begin(manner, every * int(rng.integers(7, 12)), rng)
    course = str(rng.choice(COURSES, p=[0.25, 0.25, 0.15, 0.25, 0.1]))
    strength = float(np.exp(rng.uniform(*np.log(STRENGTH))))
    recipe = loose_recipe(emotion, rng)
    express(script, recipe, strength, envelope(course, script.n, rng), variation.asymmetry)
    talks = rng.random() < 0.15
    if talks:
        script.talk(from_rest=False, loudness=rng.uniform(0.4, 0.9))
    if rng.random() < 0.25:
        script.nod()
    if strength > 0.9 and rng.random() < 0.3:
        script.turn[1] -= np.deg2rad(rng.uniform(3, 12)) * envelope("held", script.n, rng)
    if rng.random() < 0.3:
        everyday(script, "blinks")
    poses = played(script, variation, look=0.1, every=every)
    return Shown(poses=poses, code=EMOTION_CODES[emotion], act=f"{emotion} {course}{' talking' if talks else ''}")


def changing_clip(first: str, second: str, manner: Manner, rng: np.random.Generator, variation: Variation) -> Shown:
    """Return a clip of one expression after another: no class."""
    every = int(rng.integers(2, 5))
    script = begin(manner, every * 10, rng)
    part = ease((unit_time(script.n) - rng.uniform(0.2, 0.4)) / rng.uniform(0.2, 0.5))
    express(script, loose_recipe(first, rng), rng.uniform(0.5, 1.1), 1 - part, variation.asymmetry)
    express(script, loose_recipe(second, rng), rng.uniform(0.5, 1.1), part, variation.asymmetry)
    return Shown(poses=played(script, variation, every=every), code=NO_CLASS, act=f"{first} to {second}")


def random_frames(count: int, manner: Manner, rng: np.random.Generator, variation: Variation) -> Shown:
    """Return unrelated pictures of single units and random sets of them."""
    poses = []
    for _ in range(count):
        script = begin(manner, 1, rng)
        for _ in range(rng.integers(1, 5)):
            unit = str(rng.choice(RANDOM_UNITS if rng.random() < 0.9 else OTHER_UNITS))
            weight = np.array([rng.beta(1.0, 1.0) * 1.1])
            side = None
            if f"unit/{unit}" not in load_model().shapes and rng.random() < 0.3:
                side = str(rng.choice(["Left", "Right"]))
            script.add(unit, weight, side, tilt=rng.normal(0, 0.15))
        poses += played(script, variation, look=0.35)
    return Shown(poses=poses, code=NO_CLASS, act="random")


def resting_frames(count: int, manner: Manner, rng: np.random.Generator, variation: Variation) -> Shown:
    """Return unrelated pictures of the face at rest: what others of the person are compared with."""
    poses = [pose for _ in range(count) for pose in played(begin(manner, 1, rng), variation, look=0.2)]
    return Shown(poses=poses, code=NO_CLASS, act="rest")
