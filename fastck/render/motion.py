"""Courses over time: how units, head, gaze, lids, mouth and light move during a sequence."""

from dataclasses import dataclass

import numpy as np

FEWEST, MOST = 10, 30  # frames from onset to apex
FRAME_BETA = (1.3, 1.8)  # beta distribution over that range: mean 18, as CK+ has
FRAME_RATE = 30  # frames a second, as CK+ was recorded
BLINK_FRAMES = 7  # a blink takes about 0.25 s
PITCH, ROLL = 2.5, 1.5  # degrees, standard deviation at the first frame: CK+ is frontal, not rigid
DRIFT = 0.25  # turn from first to last frame, relative to the starting turn's spread
SWAY = 0.12  # degrees, standard deviation of the slow sway on top
SHIFT = 0.003  # decimetres, the same of the head as a whole
GAZE, GAZE_DRIFT = 0.06, 0.02  # 1 is as far as the eyes turn: off the camera, and during a sequence
TURN_SHARES = (1.0, 0.7, 0.5)  # yaw, pitch and roll of a moving head, relative to its yaw
SHIFT_PER_DEGREE = 0.01  # decimetres that a moving head shifts for each degree
WANDER = np.deg2rad(25.0)  # radians that the key light wanders for each stop it changes
COURSES = ("quick", "stepped", "fading")
SYLLABLES = (3.0, 6.0)  # a second
SPEECH_RAMP = 4  # frames after a neutral first frame until the mouth speaks fully
VISEMES: tuple[dict[str, float], ...] = (
    {"jawOpen": 0.45, "mouthLowerDown": 0.25},
    {"jawOpen": 0.25, "mouthFunnel": 0.55},
    {"jawOpen": 0.1, "mouthPucker": 0.65},
    {"jawOpen": 0.15, "mouthStretch": 0.35, "mouthLowerDown": 0.3},
    {"mouthPress": 0.4, "mouthRollLower": 0.3, "mouthRollUpper": 0.2},
    {"mouthRollLower": 0.5, "mouthUpperUp": 0.2},
    {"jawOpen": 0.05},
)  # as in "ah", "oh", "oo", "ee", "m", "f", and the rest between; set by hand


@dataclass(frozen=True, kw_only=True)
class Pose:
    """One frame: what the face does, and the light on it.

    Attributes
    ----------
    weights : dict of str to float
        Unit weights, "unit/jawOpen" and the like.
    yaw, pitch, roll : float
        Head turn, radians.
    shift : tuple of float
        Head shift to the subject's left and up, decimetres.
    light_gain : float
        Factor on the key light's power.
    light_turn : float
        How far the key light has wandered round the head, radians.
    """

    weights: dict[str, float]
    yaw: float
    pitch: float
    roll: float
    shift: tuple[float, float]
    light_gain: float = 1.0
    light_turn: float = 0.0


@dataclass(frozen=True, kw_only=True)
class HeadPath:
    """Where the head goes.

    `angles` (3, T) are yaw, pitch and roll in radians, `shift` (2, T) is in decimetres, `look` (2, T) is the gaze.
    """

    angles: np.ndarray
    shift: np.ndarray
    look: np.ndarray


def ease(t: np.ndarray | float) -> np.ndarray:
    """Map 0..1 to 0..1, slow at both ends, as a face moves; constant outside."""
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)


def draw_length(rng: np.random.Generator) -> int:
    """Return a number of frames from onset to apex: 10 to 30, mean 18."""
    return FEWEST + int((MOST - FEWEST + 1) * rng.beta(*FRAME_BETA))


def unit_time(n_frames: int) -> np.ndarray:
    """Return the frames' times (n_frames,), 0 to 1."""
    return np.arange(n_frames) / max(n_frames - 1, 1)


def sway(rng: np.random.Generator, n_frames: int, spread: float) -> np.ndarray:
    """Return a slow random wobble (n_frames,) that starts at 0: two sines of about one period a second."""
    time = np.arange(n_frames) / FRAME_RATE
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
    return blink_at(start, n_frames)


def blink_at(start: float, n_frames: int) -> np.ndarray:
    """Return how far the lids are shut (n_frames,) by a blink that begins at the frame `start`."""
    return np.clip(1.4 * np.sin(np.pi * np.clip((np.arange(n_frames) - start) / BLINK_FRAMES, 0, 1)), 0, 1)


def head_path(rng: np.random.Generator, n_frames: int, *, yaw: float) -> HeadPath:
    """Return the path of a head that is held still, as people hold it: a small turn, drift and sway."""
    turn = np.deg2rad([yaw, PITCH, ROLL])
    first, drift = rng.normal(0, turn), rng.normal(0, DRIFT * turn)
    wobble = np.stack([sway(rng, n_frames, np.deg2rad(SWAY)) for _ in range(3)])
    angles = first[:, None] + drift[:, None] * ease(unit_time(n_frames)) + wobble
    shift = np.stack([sway(rng, n_frames, SHIFT) for _ in range(2)])
    look = rng.normal(0, GAZE, 2)[:, None] + np.stack([sway(rng, n_frames, GAZE_DRIFT) for _ in range(2)])
    return HeadPath(angles=angles, shift=shift, look=look)


def head_turn(rng: np.random.Generator, n_frames: int, *, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """Return how a head moves on top of its path: angles (3, T) in radians and shift (2, T) in decimetres.

    One turn at its own time in the sequence, and a nod or a shake at half its size; all are 0 in the first frame.
    """
    begin, span = rng.uniform(0, 0.5), rng.uniform(0.3, 1.0)
    course = ease((unit_time(n_frames) - begin) / span)
    course = course / max(float(course[-1]), 1e-9) if n_frames > 1 else course
    sizes = np.deg2rad(degrees) * np.array(TURN_SHARES)
    target, shake = rng.normal(0, sizes), rng.normal(0, 0.5 * sizes)
    period = rng.uniform(12, 30)
    swing = np.sin(2 * np.pi * np.arange(n_frames) / period)
    angles = target[:, None] * course + shake[:, None] * swing
    shift = rng.normal(0, degrees * SHIFT_PER_DEGREE, 2)[:, None] * course
    return angles, shift


def time_course(rng: np.random.Generator, n_frames: int, *, share: float) -> np.ndarray:
    """Return the time (n_frames,) that the units follow, 0 to 1: the clock's own, or with `share` another course.

    "quick" is a short onset, then held; "stepped" two pushes with a pause; "fading" an apex before the end that has
    begun to relax. The number of draws is always the same.
    """
    time = unit_time(n_frames)
    other = rng.random() < share
    course = str(rng.choice(COURSES))
    first, second, third = rng.random(3)
    if not other:
        return time
    if course == "quick":
        span = 0.2 + 0.3 * first
        return np.clip((time - 0.1 - (0.8 - span) * second) / span, 0, 1)
    if course == "stepped":
        begin = 0.2 + 0.2 * first
        end = begin + 0.2 + 0.2 * second
        level = 0.35 + 0.3 * third
        return np.interp(time, [0, begin, end, 1], [0, level, level, 1])
    # ease(0.55) is 0.57 and ease(0.75) is 0.84 of the apex.
    return np.interp(time, [0, 0.45 + 0.25 * first, 1], [0, 1, 0.55 + 0.2 * second])


def light_course(rng: np.random.Generator, n_frames: int, *, stops: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the key light's factor and its wandering in radians, (n_frames,) each; 1 and 0 in the first frame."""
    change, turn = rng.normal(0, stops), rng.normal(0, WANDER * stops)
    begin, span = rng.uniform(0, 0.6), rng.uniform(0.1, 1.0)
    course = ease((unit_time(n_frames) - begin) / span)
    return 2.0 ** (change * course), turn * course


def speech(rng: np.random.Generator, n_frames: int, *, from_rest: bool) -> dict[str, np.ndarray]:
    """Return the units of a talking mouth: unit -> weight (n_frames,); syllables glide into one another.

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws rate, loudness and syllables.
    n_frames : int
        At least 1.
    from_rest : bool
        Whether the mouth is still in the first frame.
    """
    step = FRAME_RATE / rng.uniform(*SYLLABLES)
    offset, loudness = rng.uniform(0, step), rng.uniform(0.5, 1.1)
    syllable = (np.arange(n_frames) + offset) / step
    before = syllable.astype(int)
    count = int(before[-1]) + 2
    chosen = rng.integers(len(VISEMES), size=count)
    strength = loudness * rng.uniform(0.5, 1.0, count)
    units = sorted({unit for viseme in VISEMES for unit in viseme})
    targets = np.array([[VISEMES[kind].get(unit, 0.0) for unit in units] for kind in chosen]) * strength[:, None]
    part = ease(syllable - before)[:, None]
    curves = (1 - part) * targets[before] + part * targets[before + 1]
    if from_rest:
        curves *= np.clip(np.arange(n_frames) / SPEECH_RAMP, 0, 1)[:, None]
    return dict(zip(units, curves.T, strict=True))
