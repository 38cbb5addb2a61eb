"""Which units make an emotion: prototypes, what some people add, and the other recipes that show the same emotion.

The peaks follow the EMFACS prototypes, read as ARKit units: browInnerUp is action unit 1, browOuterUp 2, browDown 4,
eyeWide 5, cheekSquint 6, eyeSquint 7, noseSneer 9, mouthUpperUp 10, mouthSmile 12, mouthDimple 14, mouthFrown 15,
mouthLowerDown 16, mouthShrugLower 17, mouthStretch 20, mouthFunnel 22, mouthPress 23 and 24, jawOpen 25, 26 and 27.
The weights are set by hand.
"""

import numpy as np

from fastck.dataset.labels import EMOTIONS

# All but neutral.
EMOTION_CODES = {name: code for code, name in EMOTIONS.items() if code}
Recipe = dict[str, float]

# Unit -> weight at the peak. A unit without a side is applied to both; contempt's "One" is the subject's own side.
PEAKS: dict[str, Recipe] = {
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
EXTRAS: dict[str, Recipe] = {
    "anger": {"mouthFrown": 0.3, "jawForward": 0.4, "mouthRollUpper": 0.4},
    "contempt": {"browOuterUpOne": 0.5, "mouthShrugLower": 0.25},
    "disgust": {"mouthShrugUpper": 0.5, "jawOpen": 0.15, "tongueOut": 0.12},
    "fear": {"browOuterUp": 0.6, "mouthUpperUp": 0.3, "jawOpen": 0.2},
    "happy": {"mouthDimple": 0.4, "jawOpen": 0.15, "browOuterUp": 0.25},
    "sadness": {"mouthLowerDown": 0.25, "mouthPress": 0.4, "mouthRollLower": 0.3},
    "surprise": {"mouthFunnel": 0.35, "mouthUpperUp": 0.2, "jawOpen": 0.2},
}
# Other recipes, each with its action units: after the variants in the FACS Investigator's Guide's emotion predictions
# (Ekman, Friesen and Hager, 2002) and CK+'s criteria for a label (Lucey et al., 2010), and parts of the prototypes.
VARIANTS: dict[str, tuple[Recipe, ...]] = {
    "anger": (
        # 4 + 5 + 7 + 23
        {"browDown": 1.0, "eyeWide": 0.45, "eyeSquint": 0.5, "mouthPress": 0.7},
        # 4 + 7 + 10 + 22 + 25
        {"browDown": 0.9, "eyeSquint": 0.5, "mouthUpperUp": 0.55, "mouthFunnel": 0.35, "mouthLowerDown": 0.35,
         "jawOpen": 0.25},
        # 4 + 7 + 17 + 24
        {"browDown": 0.8, "eyeSquint": 0.55, "mouthShrugLower": 0.75, "mouthPress": 0.7},
        # 23 + 24
        {"mouthPress": 1.0, "mouthRollLower": 0.4, "mouthRollUpper": 0.4, "browDown": 0.25},
        # 4 + 7 + 23, almost no mouth
        {"browDown": 1.0, "eyeSquint": 0.5, "mouthPress": 0.3},
    ),
    "contempt": (
        # 14 on both sides
        {"mouthDimple": 1.0, "mouthPress": 0.35},
        # 10 + 14 on one side
        {"mouthUpperUpOne": 0.5, "mouthDimpleOne": 0.8},
        # 14 + 17
        {"mouthDimple": 0.75, "mouthDimpleOne": 0.3, "mouthShrugLower": 0.45},
        # 12 + 14 on one side
        {"mouthSmileOne": 0.75, "mouthDimpleOne": 0.6},
    ),
    "disgust": (
        # 9
        {"noseSneer": 1.0, "browDown": 0.5, "eyeSquint": 0.3},
        # 9 + 17
        {"noseSneer": 0.9, "mouthShrugLower": 0.7, "browDown": 0.4, "cheekSquint": 0.3},
        # 10 + 17
        {"mouthUpperUp": 0.8, "mouthShrugLower": 0.6, "noseSneer": 0.3},
        # 9 + 16 + 25 + 26
        {"noseSneer": 0.9, "mouthLowerDown": 0.6, "mouthUpperUp": 0.4, "jawOpen": 0.3, "browDown": 0.4},
        # 10
        {"mouthUpperUp": 0.9, "noseSneer": 0.35, "cheekSquint": 0.3},
    ),
    "fear": (
        # 1 + 2 + 4 + 5
        {"browInnerUp": 1.0, "browOuterUp": 0.5, "browDown": 0.4, "eyeWide": 1.0},
        # 1 + 2 + 4 + 5 + 25
        {"browInnerUp": 1.0, "browOuterUp": 0.5, "browDown": 0.3, "eyeWide": 0.9, "jawOpen": 0.35,
         "mouthLowerDown": 0.3},
        # 5 + 20
        {"eyeWide": 1.0, "mouthStretch": 0.9, "mouthLowerDown": 0.3},
        # 1 + 4 + 20
        {"browInnerUp": 0.9, "browDown": 0.3, "mouthStretch": 0.8, "jawOpen": 0.2},
        # 1 + 2 + 5
        {"browInnerUp": 0.9, "browOuterUp": 0.7, "eyeWide": 1.0, "mouthStretch": 0.25},
    ),
    "happy": (
        # 12
        {"mouthSmile": 0.9},
        # 6 + 12 + 25 + 26
        {"mouthSmile": 1.0, "cheekSquint": 0.9, "eyeSquint": 0.4, "mouthUpperUp": 0.45, "jawOpen": 0.45,
         "mouthLowerDown": 0.3},
        # 12 + 24
        {"mouthSmile": 0.85, "mouthPress": 0.5, "mouthDimple": 0.35, "cheekSquint": 0.3},
        # 1 + 2 + 12 + 25
        {"mouthSmile": 0.9, "cheekSquint": 0.4, "browInnerUp": 0.6, "browOuterUp": 0.6, "jawOpen": 0.3},
    ),
    "sadness": (
        # 1 + 4 + 15
        {"browInnerUp": 1.0, "browDown": 0.4, "mouthFrown": 0.6},
        # 6 + 15
        {"cheekSquint": 0.7, "mouthFrown": 0.9, "eyeSquint": 0.3},
        # 1 + 4 + 17
        {"browInnerUp": 0.8, "browDown": 0.3, "mouthShrugLower": 0.8, "mouthFrown": 0.3},
        # 15 + 17
        {"mouthFrown": 0.9, "mouthShrugLower": 0.7},
        # 1 + 4 + 11 + 15, looking down
        {"browInnerUp": 0.8, "mouthUpperUp": 0.2, "mouthFrown": 0.7, "eyeLookDown": 0.5, "mouthPress": 0.3},
    ),
    "surprise": (
        # 1 + 2 + 5
        {"browInnerUp": 1.0, "browOuterUp": 1.0, "eyeWide": 0.8},
        # 1 + 2 + 26
        {"browInnerUp": 0.9, "browOuterUp": 0.9, "jawOpen": 0.5},
        # 1 + 2 + 5 + 27
        {"browInnerUp": 1.0, "browOuterUp": 1.0, "eyeWide": 0.7, "jawOpen": 1.0},
        # 5 + 26
        {"eyeWide": 1.0, "jawOpen": 0.6},
        # 1 + 2 + 5 + 18, a rounded mouth
        {"browInnerUp": 0.9, "browOuterUp": 0.9, "eyeWide": 0.6, "jawOpen": 0.35, "mouthFunnel": 0.6},
    ),
}  # fmt: skip


def prototype(emotion: str, extras: frozenset[tuple[str, str]]) -> Recipe:
    """Return an emotion's prototype with the units that a person adds to it."""
    peak = dict(PEAKS[emotion])
    for unit, weight in EXTRAS[emotion].items():
        if (emotion, unit) in extras:
            peak[unit] = peak.get(unit, 0.0) + weight
    return peak


def mixed_recipe(emotion: str, peak: Recipe, rng: np.random.Generator, *, mixed: float, blend: float) -> Recipe:
    """Return the units of one sequence.

    Parameters
    ----------
    emotion : str
        A key of `EMOTION_CODES`.
    peak : Recipe
        The prototype as the person shows it.
    rng : numpy.random.Generator
        Draws the recipe and the second emotion; always the same number of draws.
    mixed : float
        How likely another recipe takes the prototype's place.
    blend : float
        Largest weight of the second emotion's units.
    """
    other_recipe = rng.random() < mixed
    variant = VARIANTS[emotion][rng.integers(len(VARIANTS[emotion]))]
    second = str(rng.choice([name for name in EMOTION_CODES if name != emotion]))
    weight = blend * rng.random()
    units = dict(variant if other_recipe else peak)
    if weight > 0:
        for unit, amount in PEAKS[second].items():
            units[unit] = max(units.get(unit, 0.0), weight * amount)
    return units
