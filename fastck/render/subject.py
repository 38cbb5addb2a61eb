"""One rendered person: shape, colours, light and camera, all drawn from one random generator."""

from dataclasses import dataclass

import numpy as np

from fastck.render.model import FaceModel, deform

ANCESTRIES = ("african", "asian", "caucasian")  # as the model names its shapes
SKIN_TONES = np.array([[0.30, 0.20, 0.15], [0.78, 0.62, 0.50], [0.85, 0.68, 0.60]])  # linear RGB, one row per ancestry
ANCESTRY_CONCENTRATION = 0.6  # Dirichlet parameter below 1: mostly one ancestry, sometimes a mix
SLIDERS = 20  # pairs of left and right count once
SLIDER_WEIGHT = (0.15, 0.6)  # 1 is a slider's full effect; twenty full ones would be a caricature
LOPSIDEDNESS = 0.12  # relative difference between left and right, standard deviation
AGE_SPREAD, OLDEST = 0.35, 0.8  # weight of the old shape: half have 0, nobody the extreme
BROWN_IRIS = (0.18, 0.12, 0.08)
IRIS_COLOURS = (BROWN_IRIS, (0.25, 0.33, 0.22), (0.28, 0.40, 0.52))
HAIR_TINT = np.array([1.0, 0.78, 0.62])  # scaled by the subject's hair brightness
EXPOSED_SKIN, EXPOSURE_POWER = 0.55, 0.4  # linear brightness that needs no correction; share of it that is made
SHIRT_TINT = 0.12  # spread of a shirt's channels round its brightness
BEARD_SHARE = 1 / 3  # of the men have a shade of beard
EYE = 1

TALL, SHORT = 490, 480  # frame heights in CK+; the width is always 640
WIDTH = 640
SHORT_SHARE = 0.25  # of the people are recorded at 640x480
COLOUR_SHARE = 0.15  # of the people are recorded in colour


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One person, and how they are painted, lit and recorded.

    Attributes
    ----------
    vertices : ndarray of shape (V, 3), float64
        The neutral shape in decimetres.
    eye_height : float
        Mean height of the eyeballs, decimetres; the camera aims by it.
    skin, iris, hair, shirt : ndarray of shape (3,), float64
        Linear RGB.
    brow_opacity, brow_thickness, brow_arch, brow_height : float
        How dark, thick, bowed and high the painted brows are.
    hairline, hair_volume : float
        Height of the hairline above the model's own, and thickness of the hair, decimetres.
    beard, lip_strength, freckles, grain, lid_shadow : float
        Opacities and contrasts of the painted layers.
    key, fill : ndarray of shape (3,), float32
        Unit directions to the two lights, camera axes.
    key_power, fill_power, ambient : float
        Their strengths and the ambient light's.
    backdrop : tuple of float
        Linear brightness of the backdrop: top left, top right, bottom left, bottom right.
    scale : float
        Pixels per decimetre at the camera's target.
    shift : tuple of float
        Offset of the face from its usual place, pixels: columns, rows.
    height : int
        Rows of a frame, 490 or 480.
    colour : bool
        Whether the files are 24-bit colour; else 8-bit gray.
    noise : float
        Factor on the sensor noise.
    gamma : float
        Tone curve exponent.
    """

    vertices: np.ndarray
    eye_height: float
    skin: np.ndarray
    iris: np.ndarray
    hair: np.ndarray
    shirt: np.ndarray
    brow_opacity: float
    brow_thickness: float
    brow_arch: float
    brow_height: float
    hairline: float
    hair_volume: float
    beard: float
    lip_strength: float
    freckles: float
    grain: float
    lid_shadow: float
    key: np.ndarray
    fill: np.ndarray
    key_power: float
    fill_power: float
    ambient: float
    backdrop: tuple[float, float, float, float]
    scale: float
    shift: tuple[float, float]
    height: int
    colour: bool
    noise: float
    gamma: float


def sliders(names: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Group the local sliders: what belongs together left and right, and opposites as alternatives.

    Returns
    -------
    sliders : list of tuple of str
        One entry per independent choice; each alternative is a name, with "*" standing for both sides.
    """
    opposites = {"decr": "incr", "down": "up", "in": "out", "concave": "convex", "compress": "uncompress"}
    groups: dict[str, list[str]] = {}
    for name in names:
        both = f"*{name[1:]}" if name.startswith(("l-", "r-")) else name
        stem, _, ending = both.rpartition("-")
        ending = next((low for low, high in opposites.items() if ending in (low, high)), ending)
        alternatives = groups.setdefault(f"{stem}-{ending}", [])
        if both not in alternatives:
            alternatives.append(both)
    return [tuple(group) for group in groups.values()]


def draw_shape(model: FaceModel, rng: np.random.Generator) -> tuple[dict[str, float], np.ndarray, float]:
    """Return the shape weights of a person, the ancestry mix (3,) and the maleness 0..1."""
    ancestry = rng.dirichlet([ANCESTRY_CONCENTRATION] * len(ANCESTRIES))
    male = rng.random() < 0.5
    maleness = float(rng.uniform(0.7, 1.0) if male else rng.uniform(0.0, 0.3))
    age = min(max(0.0, rng.normal(0.0, AGE_SPREAD)), OLDEST)
    weights: dict[str, float] = {}
    for group, share in zip(ANCESTRIES, ancestry, strict=True):
        for sex, sex_share in (("male", maleness), ("female", 1 - maleness)):
            weights[f"shape/{group}_{sex}_young"] = share * sex_share * (1 - age)
            weights[f"shape/{group}_{sex}_old"] = share * sex_share * age
    choices = sliders(model.identity_names)
    for choice in rng.choice(len(choices), SLIDERS, replace=False):
        name = choices[choice][rng.integers(len(choices[choice]))]
        weight = rng.uniform(*SLIDER_WEIGHT)
        tilt = rng.normal(0, LOPSIDEDNESS)
        if name.startswith("*"):
            weights[f"identity/l{name[1:]}"] = weight * (1 + tilt)
            weights[f"identity/r{name[1:]}"] = weight * (1 - tilt)
        else:
            weights[f"identity/{name}"] = weight
    return weights, ancestry, maleness


def direction(*components: float) -> np.ndarray:
    """Return the unit vector (3,) float32 along the components."""
    vector = np.array(components)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def draw_subject(model: FaceModel, rng: np.random.Generator) -> Subject:
    """Draw one person: the same generator state gives the same person."""
    weights, ancestry, maleness = draw_shape(model, rng)
    vertices = deform(model, model.vertices, weights)
    eye_vertices = np.unique(model.triangles[model.material == EYE])

    light_haired = ancestry[ANCESTRIES.index("caucasian")] >= 0.5
    hair = HAIR_TINT ** rng.uniform(0.6, 1.6) * rng.uniform(0.03, 0.22) * (rng.uniform(1.0, 2.4) if light_haired else 1)
    iris = IRIS_COLOURS[rng.integers(len(IRIS_COLOURS))] if light_haired else BROWN_IRIS
    skin = (ancestry @ SKIN_TONES) * rng.uniform(0.85, 1.08) * rng.normal(1, 0.02, 3)
    # The photographer opens the lens for darker skin, but not all the way.
    exposure = float((EXPOSED_SKIN / skin.mean()) ** EXPOSURE_POWER)
    shirt = rng.uniform(0.08, 0.6) + rng.uniform(-SHIRT_TINT, SHIRT_TINT, 3)
    top, bottom = rng.uniform(0.3, 0.75), rng.uniform(0.2, 0.6)
    slant = rng.normal(0, 0.05)
    side = rng.uniform(-0.7, 0.7)
    return Subject(
        vertices=vertices,
        eye_height=float(vertices[eye_vertices, 1].mean()),
        skin=skin,
        iris=np.array(iris) * rng.uniform(0.8, 1.25),
        hair=np.minimum(hair, 0.6 * skin),
        shirt=np.clip(shirt, 0.03, 0.75),
        brow_opacity=float(rng.uniform(0.6, 1.0)),
        brow_thickness=float((0.75 + 0.55 * maleness) * rng.uniform(0.8, 1.2)),
        brow_arch=float(rng.uniform(0.4, 1.5) * (1.15 - 0.4 * maleness)),
        brow_height=float(rng.normal(0, 0.012)),
        hairline=float(rng.normal(0.0, 0.08)),
        hair_volume=float(rng.uniform(0.02, 0.22)),
        beard=float(maleness > 0.5 and rng.random() < BEARD_SHARE) * float(rng.uniform(0.2, 0.55)),
        lip_strength=float(rng.uniform(0.45, 0.9) * (1.1 - 0.35 * maleness)),
        freckles=float(rng.exponential(0.05) if light_haired else 0.0),
        grain=float(rng.uniform(0.015, 0.035)),
        lid_shadow=float(rng.uniform(0.35, 0.6)),
        key=direction(side, rng.uniform(0.35, 0.8), 1.0),
        fill=direction(-0.8 if side >= 0 else 0.8, 0.1, 0.6),
        key_power=exposure * float(rng.uniform(0.65, 0.9)),
        fill_power=exposure * float(rng.uniform(0.1, 0.28)),
        ambient=exposure * float(rng.uniform(0.12, 0.22)),
        backdrop=(top - slant, top + slant, bottom - slant, bottom + slant),
        scale=float(rng.uniform(138, 160)),
        shift=(float(rng.normal(0, 8)), float(rng.normal(0, 5))),
        height=SHORT if rng.random() < SHORT_SHARE else TALL,
        colour=bool(rng.random() < COLOUR_SHARE),
        noise=float(rng.uniform(0.6, 1.4)),
        gamma=float(rng.uniform(1.15, 1.4)),
    )
