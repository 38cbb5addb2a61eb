"""How varied rendered people are: one number for each kind of variation, and the easy and the hard set."""

from dataclasses import dataclass, fields, replace

# Field -> (smallest value, largest value, unit).
RANGES = {
    "mixed": (0.0, 1.0, "share of the sequences"),
    "blend": (0.0, 1.0, "weight of a second emotion"),
    "weakest": (0.05, 1.0, "share of the full expression"),
    "asymmetry": (0.0, 1.0, "relative difference between the sides"),
    "speed": (0.0, 1.0, "share of the sequences"),
    "talking": (0.0, 1.0, "share of the sequences"),
    "head_motion": (0.0, 20.0, "degrees"),
    "yaw": (0.0, 45.0, "degrees"),
    "light": (0.0, 2.0, "stops"),
    "noise": (0.0, 64.0, "gray levels"),
    "blink": (0.0, 1.0, "share of the sequences"),
    "glasses": (0.0, 1.0, "share of the people"),
    "fringe": (0.0, 1.0, "share of the people"),
}


@dataclass(frozen=True, kw_only=True)
class Variation:
    """What differs between rendered sequences beside the person and the emotion.

    The defaults are the easy set. Every field is drawn from a generator of its own: to change one leaves what the
    others draw as it was.

    Parameters
    ----------
    mixed : float
        Share of the sequences shown by another recipe of action units than the emotion's prototype, 0 to 1: variants
        after the FACS Investigator's Guide (Ekman, Friesen and Hager, 2002) and CK+'s criteria for a label (Lucey et
        al., 2010), and parts of the prototypes.
    blend : float
        Largest weight of a second emotion's action units, 0 to 1; each sequence draws its weight evenly from 0 to this.
    weakest : float
        Strength of the weakest apex, as a share of the full expression, above 0 to 1; strengths are spread evenly from
        it to 1. FACS intensities A (trace) to E (maximum) span that range. At 1 all are full.
    asymmetry : float
        Standard deviation of the relative difference between left and right, 0 to 1, cut at 0.9, which leaves one side
        almost still. Deliberate expressions are often lopsided (Ekman, Hager and Friesen, 1981).
    speed : float
        Share of the sequences with another time course than one slow rise, 0 to 1: a quick onset that is held, two
        pushes with a pause, or an apex before the end that has begun to fade. Onsets differ in speed, deliberate ones
        are faster (Schmidt et al., 2006), and a clip seldom ends at the apex.
    talking : float
        Share of the sequences in which the mouth also speaks, 0 to 1. It moves at 3 to 6 syllables a second; speech
        opens the mouth 2 to 7 times a second (Chandrasekaran et al., 2009).
    head_motion : float
        Standard deviation of the head's turn (yaw) from the first frame to the last, degrees; pitch gets 0.7 of it and
        roll 0.5, and the head shifts with them.
    yaw : float
        Standard deviation of the head's turn at the first frame, degrees; a quarter as much is added during a sequence.
        Above about 15 dlib's frontal detector starts to miss faces.
    light : float
        Standard deviation of the key light's change from the first frame to the last, stops (factors of two); it also
        wanders round the face, by 25 degrees for each stop.
    noise : float
        Standard deviation of the sensor noise, gray levels; each subject's own camera has 0.6 to 1.4 times that.
    blink : float
        Share of the sequences with a blink, 0 to 1.
    glasses, fringe : float
        Share of the people who wear glasses, and whose hair hangs over forehead and brows, 0 to 1.

    Raises
    ------
    ValueError
        If a number is out of its range.
    """

    mixed: float = 0.0
    blend: float = 0.0
    weakest: float = 1.0
    asymmetry: float = 0.0
    speed: float = 0.0
    talking: float = 0.0
    head_motion: float = 0.0
    yaw: float = 3.0
    light: float = 0.0
    noise: float = 2.0
    blink: float = 0.0
    glasses: float = 0.0
    fringe: float = 0.0

    def __post_init__(self) -> None:
        for name, (low, high, unit) in RANGES.items():
            value = getattr(self, name)
            # A NaN fails the comparison as well.
            if not low <= value <= high:
                raise ValueError(f"{name} must be {low:g} to {high:g} ({unit}), got {value}")


EASY = Variation()
HARD = Variation(
    mixed=0.3,
    blend=0.1,
    weakest=0.5,
    asymmetry=0.2,
    speed=0.4,
    talking=0.2,
    head_motion=1.2,
    yaw=4.0,
    light=0.1,
    noise=3.0,
    blink=0.2,
    glasses=0.25,
    fringe=0.2,
)
# What is switched together in an ablation -> fields.
ASPECTS: dict[str, tuple[str, ...]] = {
    "mixed action units": ("mixed", "blend"),
    "intensity": ("weakest",),
    "asymmetry": ("asymmetry",),
    "speed": ("speed",),
    "talking": ("talking",),
    "head motion": ("head_motion", "yaw"),
    "light": ("light",),
    "camera noise": ("noise",),
    "blinks": ("blink",),
    "occlusion": ("glasses", "fringe"),
}


def with_aspect(aspect: str, *, source: Variation = HARD, target: Variation = EASY) -> Variation:
    """Return `target` with one aspect of `source`, for an ablation.

    Parameters
    ----------
    aspect : str
        A key of `ASPECTS`.
    source : Variation
        Where the aspect's values come from. ``source=EASY, target=HARD`` switches the aspect off instead.
    target : Variation
        Where all other values come from.

    Raises
    ------
    ValueError
        If there is no such aspect.
    """
    if aspect not in ASPECTS:
        raise ValueError(f"aspect must be one of {', '.join(ASPECTS)}, got {aspect!r}")
    return replace(target, **{name: getattr(source, name) for name in ASPECTS[aspect]})


def differences(variation: Variation) -> dict[str, float]:
    """Return the fields that differ from the easy set, with their values."""
    values = {field.name: getattr(variation, field.name) for field in fields(variation)}
    return {name: value for name, value in values.items() if value != getattr(EASY, name)}
