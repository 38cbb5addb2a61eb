"""Recipes that no rendered set holds: more kinds of smiles, and every emotion's units in other proportions."""

import numpy as np

from fastck.render.recipes import PEAKS, VARIANTS, Recipe

# Each with its action units. The cheek raiser also narrows the eyes and lowers the brows' outer ends (Ekman and
# Friesen, 1982); smiles that are held back or shown on request come with other units of the mouth (Ekman, 1985).
SMILES: tuple[Recipe, ...] = (
    # 4 + 6 + 7 + 12, lips together
    {"mouthSmile": 1.0, "cheekSquint": 1.0, "eyeSquint": 0.6, "browDown": 0.25},
    # 6 + 12 + 25, all teeth, jaw shut
    {"mouthSmile": 1.0, "cheekSquint": 0.7, "mouthUpperUp": 0.55, "mouthLowerDown": 0.4, "jawOpen": 0.05},
    # 12 + 25, eyes still
    {"mouthSmile": 0.85, "mouthUpperUp": 0.4, "mouthLowerDown": 0.3},
    # 12 + 20 + 25
    {"mouthSmile": 0.9, "mouthStretch": 0.4, "mouthUpperUp": 0.3, "mouthLowerDown": 0.35},
    # 12 + 14
    {"mouthSmile": 0.8, "mouthDimple": 0.5, "cheekSquint": 0.3},
    # 6 + 12 + 17 + 24
    {"mouthSmile": 0.75, "mouthPress": 0.4, "mouthShrugLower": 0.3, "cheekSquint": 0.5, "eyeSquint": 0.25},
    # 6 + 12 + 26, a laugh
    {"mouthSmile": 1.0, "cheekSquint": 1.0, "eyeSquint": 0.5, "mouthUpperUp": 0.5, "jawOpen": 0.6},
)
# What may come along, weakly: units of any emotion but the two that make or unmake a smile.
COMPANIONS = tuple(
    sorted(
        {unit for peak in PEAKS.values() for unit in peak if not unit.endswith("One")} - {"mouthSmile", "mouthFrown"}
    )
)
TWO_RECIPES = 0.5  # share of the sequences that lie between two recipes
PROPORTIONS = 0.35  # standard deviation of the log of a unit's factor
SMALLEST, LARGEST = 0.3, 1.7  # factors
MOST_COMPANIONS, COMPANION_WEIGHT = 2, 0.3


def loose_recipe(emotion: str, rng: np.random.Generator) -> Recipe:
    """Return the units of one sequence: near the emotion's recipes, or between two of them, never exactly one.

    Parameters
    ----------
    emotion : str
        A key of `PEAKS`.
    rng : numpy.random.Generator
    """
    known = (PEAKS[emotion], *VARIANTS[emotion], *(SMILES if emotion == "happy" else ()))
    first, second = (known[place] for place in rng.integers(len(known), size=2))
    part = rng.random() if rng.random() < TWO_RECIPES else 0.0
    units = {unit: (1 - part) * first.get(unit, 0.0) + part * second.get(unit, 0.0) for unit in {**first, **second}}
    units = {
        unit: weight * float(np.clip(np.exp(rng.normal(0, PROPORTIONS)), SMALLEST, LARGEST))
        for unit, weight in units.items()
        if weight > 0
    }
    for unit in rng.choice(COMPANIONS, size=rng.integers(MOST_COMPANIONS + 1), replace=False):
        units[str(unit)] = max(units.get(str(unit), 0.0), COMPANION_WEIGHT * float(rng.random()))
    return units
