"""Render a data set in CK+'s folder layout: frames, label files and a note of what was rendered."""

import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from joblib import Parallel, delayed

from fastck.messages import Progress
from fastck.render.expression import NEUTRAL_ACTS, Manner, draw_manner, perform, perform_neutral
from fastck.render.model import load_model
from fastck.render.motion import Pose, draw_length
from fastck.render.quirks import Quirk, longer_lengths, plant_quirks, quirk_plan
from fastck.render.recipes import EMOTION_CODES
from fastck.render.scene import Scene
from fastck.render.subject import Subject, draw_subject
from fastck.render.variation import EASY, Variation, differences
from fastck.render.worn import Worn, draw_worn

logger = logging.getLogger(__name__)

IMAGES, LABELS, NOTE = "cohn-kanade-images", "Emotion", "rendered.json"
MOST_SUBJECTS = 999  # CK+'s names have three digits
SEQUENCE_COUNTS, COUNT_SHARES = (3, 4, 5, 6, 7), (0.12, 0.30, 0.30, 0.20, 0.08)  # mean 4.82, as CK+'s 593 / 123
NEUTRAL = 0  # CK+'s code of a face without emotion
MOST_NEUTRAL = 99  # sequences per person


@dataclass(frozen=True, kw_only=True)
class RenderSummary:
    """What `render_dataset` wrote.

    Attributes
    ----------
    out : Path
        Its root, holding cohn-kanade-images/, Emotion/ and rendered.json.
    subjects, sequences, frames, labelled : int
        How many; `labelled` counts the sequences with a label file.
    neutral : int
        How many of the sequences show no emotion.
    quirks : tuple of Quirk
        What was planted with `quirks=True`, in order of their paths.
    """

    out: Path
    subjects: int
    sequences: int
    frames: int
    labelled: int
    neutral: int
    quirks: tuple[Quirk, ...]


@dataclass(frozen=True, kw_only=True)
class Take:
    """One sequence to render: `shows` is an emotion, or one of `NEUTRAL_ACTS`."""

    subject: int
    position: int
    shows: str
    n_frames: int

    @property
    def name(self) -> str:
        """CK+'s name of the sequence: "S005_001"."""
        return f"S{self.subject:03d}_{self.position:03d}"

    @property
    def code(self) -> int:
        """CK+'s code of what the sequence shows, 0 for neutral."""
        return EMOTION_CODES.get(self.shows, NEUTRAL)


class Person:
    """A subject who is drawn and painted when first needed, by whichever thread comes first."""

    def __init__(self, seed: int, number: int, variation: Variation) -> None:
        self._identity = subject_rng(seed, number)
        self._variation = variation
        self._lock = threading.Lock()
        self._ready: tuple[Scene, Manner] | None = None

    def get(self) -> tuple[Scene, Manner]:
        """Return the subject's scene and manner."""
        with self._lock:
            if self._ready is None:
                subject, manner, worn = draw_person(self._identity, self._variation)
                self._ready = Scene(subject, noise=self._variation.noise, worn=worn), manner
            return self._ready


def subject_rng(seed: int, number: int) -> np.random.Generator:
    """Return the generator that a subject's looks and manner are drawn from."""
    return np.random.default_rng([seed, number])


def draw_person(rng: np.random.Generator, variation: Variation = EASY) -> tuple[Subject, Manner, Worn]:
    """Draw a subject, how they show emotions, and what they wear on the face."""
    looks, manner, wears = rng.spawn(3)
    worn = draw_worn(wears, glasses=variation.glasses, fringe=variation.fringe)
    return draw_subject(load_model(), looks), draw_manner(manner), worn


def plan_subject(seed: int, number: int, sequences: int | None, neutral: int = 0) -> list[Take]:
    """Choose a subject's sequences and lengths; they depend on the seed and the subject's own number only.

    Neutral sequences follow the emotions. Their acts go round from person to person, so that one each makes them equal.
    """
    rng = np.random.default_rng([seed, number, 0])
    count = int(rng.choice(SEQUENCE_COUNTS, p=COUNT_SHARES)) if sequences is None else sequences
    emotions = rng.permutation(list(EMOTION_CODES))[:count]
    acts = [NEUTRAL_ACTS[(number - 1 + turn) % len(NEUTRAL_ACTS)] for turn in range(neutral)]
    return [
        Take(subject=number, position=position, shows=str(shows), n_frames=draw_length(rng))
        for position, shows in enumerate([*emotions, *acts], start=1)
    ]


def act(take: Take, manner: Manner, rng: np.random.Generator, variation: Variation) -> list[Pose]:
    """Return the poses of a sequence."""
    perform_it = perform if take.shows in EMOTION_CODES else perform_neutral
    return perform_it(load_model(), manner, take.shows, rng, n_frames=take.n_frames, variation=variation)


def render_take(take: Take, person: Person, *, seed: int, variation: Variation) -> Iterator[np.ndarray]:
    """Yield the frames of a sequence, (H, W) or (H, W, 3) RGB uint8."""
    scene, manner = person.get()
    rng = np.random.default_rng([seed, take.subject, take.position])
    acting, film = rng.spawn(2)
    buffers = scene.buffers()
    for pose in act(take, manner, acting, variation):
        yield scene.render(pose, key=int(film.integers(2**63)), buffers=buffers)


def write_take(out: Path, take: Take, frames: Iterator[np.ndarray]) -> Path:
    """Write a sequence's frames and its label file, named after the last frame; return the label file's path."""
    subject, position = take.name.split("_")
    image_dir, label_dir = (out / kind / subject / position for kind in (IMAGES, LABELS))
    image_dir.mkdir(parents=True)
    label_dir.mkdir(parents=True)
    for number, frame in enumerate(frames, start=1):
        path = image_dir / f"{take.name}_{number:08d}.png"
        stored = frame if frame.ndim == 2 else np.ascontiguousarray(frame[..., ::-1])
        good, encoded = cv2.imencode(".png", stored)
        if not good:
            raise OSError(f"could not encode {path} as PNG")
        path.write_bytes(encoded.tobytes())
    label = label_dir / f"{path.stem}_emotion.txt"
    label.write_text(f"   {take.code:.7e}\n")  # CK+'s own number format
    return label


def check_options(out: Path, *, subjects: int, seed: int, sequences: int | None, neutral: int) -> None:
    """Raise ValueError for an option out of range, or where `out` already holds something."""
    if not 1 <= subjects <= MOST_SUBJECTS:
        raise ValueError(f"subjects must be 1 to {MOST_SUBJECTS}, got {subjects}")
    if seed < 0:
        raise ValueError(f"seed must be 0 or more, got {seed}")
    if sequences is not None and not 1 <= sequences <= len(EMOTION_CODES):
        raise ValueError(f"sequences must be 1 to {len(EMOTION_CODES)} per subject, got {sequences}")
    if not 0 <= neutral <= MOST_NEUTRAL:
        raise ValueError(f"neutral must be 0 to {MOST_NEUTRAL} sequences per subject, got {neutral}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} must be a new or empty folder: choose another, or delete it first")


def render_dataset(
    out: str | Path,
    *,
    subjects: int = 12,
    seed: int = 0,
    sequences: int | None = None,
    neutral: int = 0,
    n_jobs: int = -1,
    quirks: bool = False,
    variation: Variation = EASY,
    noise: float | None = None,
    blink: float | None = None,
    yaw: float | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> RenderSummary:
    """Render people who go from a neutral face to one of seven emotions, in CK+'s folder layout.

    Every frame is a rendered head, not a photograph. The same options give the same bytes for any number of jobs on the
    same library versions, and asking for more subjects does not change the earlier ones.

    Parameters
    ----------
    out : path
        A new or empty folder; receives cohn-kanade-images/, Emotion/ and rendered.json.
    subjects : int
        How many people, 1 to 999. 123 with seed 0 make a set of CK+'s size.
    seed : int
        0 or more; another seed, other people.
    sequences : int, optional
        Sequences per subject, 1 to 7, each another emotion. By default every subject shows a seeded choice of 3 to 7
        emotions, 4.8 on average as in CK+ (593 sequences of 123 people). Each has 10 to 30 frames, 18 on average.
    neutral : int
        Sequences per subject that show no emotion, labelled 0; 0 to 99, after the others. Still faces, blinks, turning
        heads and talking mouths take turns.
    n_jobs : int
        Threads, as joblib counts them: -1 is one per core.
    quirks : bool
        Also plant CK+'s oddities: see `fastck.render.quirks`.
    variation : Variation
        How varied the sequences are: `EASY`, `HARD`, or any other.
    noise, blink, yaw : float, optional
        Take the place of `variation`'s own, in its units.
    on_progress : callable, optional
        Called in this thread with a `Progress` in sequences after every sequence.

    Returns
    -------
    summary : RenderSummary
        The same is written to rendered.json.

    Raises
    ------
    ValueError
        If an option is out of range or `out` is not empty.
    OSError
        If a file cannot be written.
    """
    out = Path(out)
    given = {"noise": noise, "blink": blink, "yaw": yaw}
    variation = replace(variation, **{name: value for name, value in given.items() if value is not None})
    check_options(out, subjects=subjects, seed=seed, sequences=sequences, neutral=neutral)
    out.mkdir(parents=True, exist_ok=True)
    takes = [take for number in range(1, subjects + 1) for take in plan_subject(seed, number, sequences, neutral)]
    plan = quirk_plan([take.name for take in takes], seed) if quirks else {}
    lengths = longer_lengths(plan, seed)
    takes = [replace(take, n_frames=lengths.get(take.name, take.n_frames)) for take in takes]
    people = {number: Person(seed, number, variation) for number in range(1, subjects + 1)}
    left = {number: sum(take.subject == number for take in takes) for number in people}

    def work(take: Take) -> Take:
        frames = render_take(take, people[take.subject], seed=seed, variation=variation)
        write_take(out, take, frames)
        return take

    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # one parallel layer: joblib's, over sequences
    try:
        # Threads share the model and each subject's texture; the loops and OpenCV release the GIL.
        jobs = Parallel(n_jobs=n_jobs, require="sharedmem", return_as="generator_unordered")
        for done, take in enumerate(jobs(delayed(work)(take) for take in takes), start=1):
            left[take.subject] -= 1
            if left[take.subject] == 0:
                del people[take.subject]  # a painted subject holds up to twelve megabytes
            if on_progress is not None:
                on_progress(Progress(done=done, total=len(takes)))
    finally:
        cv2.setNumThreads(threads)

    planted = plant_quirks(out, plan, images=IMAGES, labels=LABELS) if quirks else ()
    unlabelled = {quirk.sequence for quirk in planted if quirk.removes_label}
    summary = RenderSummary(
        out=out,
        subjects=subjects,
        sequences=len(takes),
        frames=sum(take.n_frames for take in takes),
        labelled=sum(take.name not in unlabelled for take in takes),
        neutral=sum(take.code == NEUTRAL for take in takes),
        quirks=planted,
    )
    options = {"subjects": subjects, "seed": seed, "sequences": sequences}
    options |= {name: getattr(variation, name) for name in given}
    write_note(summary, options, variation, {take.name: take.shows for take in takes if take.code == NEUTRAL})
    logger.info("rendered %d sequences, %d frames into %s", summary.sequences, summary.frames, out)
    return summary


def write_note(
    summary: RenderSummary, options: Mapping[str, object], variation: Variation, neutral: Mapping[str, str]
) -> None:
    """Write rendered.json: what this folder is, how it was made, and what was planted.

    `variation` is there where it differs from the easy set's, `neutral` (sequence -> act) where there is any.
    """
    note = {
        "about": "Rendered faces, not people; CC0 data, free to use and share. Accuracy here says nothing about CK+.",
        "options": options,
        "sequences": summary.sequences,
        "frames": summary.frames,
        "labelled": summary.labelled,
        "quirks": [asdict(quirk) for quirk in summary.quirks],
    }
    if differences(variation):
        note["variation"] = asdict(variation)
    if neutral:
        note["neutral"] = dict(neutral)
    (summary.out / NOTE).write_text(json.dumps(note, indent=2) + "\n")
