"""What the renderer's expression units are in the Facial Action Coding System (FACS): the truth that is learnt from.

The units carry ARKit's names. Which action unit each one shows is read from ARKit's descriptions of its blend shapes
beside those of FACS (Ekman, Friesen and Hager, 2002), as the head model's own note does; nobody trained in FACS has
judged the renderings. Not mapped, since no action unit of the list is theirs: gaze, cheekPuff (34), jawForward (29),
jawLeft and jawRight (30), mouthLeft and mouthRight, mouthLowerDown (16), mouthShrugUpper, mouthClose, tongueOut (19).
"""

from collections.abc import Mapping

STRONGEST = 5.0  # the intensity of a unit at its full weight: FACS' E, maximum
# Action unit -> the renderer's unit for each side of the face.
TWO_SIDED = {
    "AU02": "browOuterUp",
    "AU04": "browDown",
    "AU05": "eyeWide",
    "AU06": "cheekSquint",
    "AU07": "eyeSquint",
    "AU09": "noseSneer",
    "AU10": "mouthUpperUp",
    "AU12": "mouthSmile",
    "AU14": "mouthDimple",
    "AU15": "mouthFrown",
    "AU20": "mouthStretch",
    # Shut eyes are action unit 43 as long as they last, a blink 45 and a wink 46; one picture cannot tell.
    "AU45": "eyeBlink",
}
# Action unit -> the renderer's units, the strongest of which counts.
ONE_SIDED = {
    "AU01": ("browInnerUp",),
    "AU17": ("mouthShrugLower",),
    "AU18": ("mouthPucker",),
    "AU22": ("mouthFunnel",),
    "AU24": ("mouthPressLeft", "mouthPressRight"),
    "AU26": ("jawOpen",),
    "AU28": ("mouthRollLower", "mouthRollUpper"),
}
# Lips that part, action unit 25, are what many units do together: how far each moves the lips apart in the middle of
# the head model's neutral mouth, in millimetres. WIDE_APART and more is the full intensity: two thirds of what the
# fully dropped jaw does, so that lips that a full smile parts (7 mm) are a weaker unit than the smile.
WIDE_APART = 20.0
PARTING = {
    "jawOpen": 28.8,
    "mouthClose": -28.8,
    "mouthFunnel": 6.8,
    "mouthLowerDownLeft": 2.0,
    "mouthLowerDownRight": 2.0,
    "mouthUpperUpLeft": 2.5,
    "mouthUpperUpRight": 2.5,
    "mouthShrugUpper": 3.4,
    "mouthShrugLower": -3.7,
    "mouthRollLower": -2.6,
    "mouthRollUpper": -2.3,
    "mouthPressLeft": -1.0,
    "mouthPressRight": -1.0,
    "mouthSmileLeft": -1.1,
    "mouthSmileRight": -1.1,
}


def action_units(weights: Mapping[str, float]) -> dict[str, float]:
    """Return the intensity of each action unit, 0 to 5, for the weights of the renderer's units.

    Parameters
    ----------
    weights : mapping of str to float
        By ARKit's names ("jawOpen"), or as poses have them ("unit/jawOpen"); what is not named is 0.

    Returns
    -------
    intensities : dict of str to float
        A unit with two sides has three entries: "AU12_left" and "AU12_right", the subject's own, and "AU12", the
        stronger one.
    """
    plain = {name.removeprefix("unit/"): weight for name, weight in weights.items()}
    found: dict[str, float] = {}
    for name, unit in TWO_SIDED.items():
        sides = {side: plain.get(unit + side.capitalize(), 0.0) for side in ("left", "right")}
        found |= {f"{name}_{side}": weight for side, weight in sides.items()}
        found[name] = max(sides.values())
    for name, units in ONE_SIDED.items():
        found[name] = max(plain.get(unit, 0.0) for unit in units)
    found["AU25"] = sum(apart * plain.get(unit, 0.0) for unit, apart in PARTING.items()) / WIDE_APART
    return {name: STRONGEST * min(max(weight, 0.0), 1.0) for name, weight in found.items()}
