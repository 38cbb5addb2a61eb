"""Render a data set in CK+'s folder layout: frames, label files and a note of what was rendered."""

import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from joblib import Parallel, delayed

from fastck.render.expression import EMOTION_CODES, Manner, draw_length, draw_manner, perform
from fastck.render.model import load_model
from fastck.render.quirks import Quirk, longer_lengths, plant_quirks, quirk_plan
from fastck.render.scene import Scene
from fastck.render.subject import Subject, draw_subject

logger = logging.getLogger(__name__)

IMAGES, LABELS, NOTE = "cohn-kanade-images", "Emotion", "rendered.json"
MOST_SUBJECTS = 999  # CK+'s names have three digits
SEQUENCE_COUNTS, COUNT_SHARES = (3, 4, 5, 6, 7), (0.12, 0.30, 0.30, 0.20, 0.08)  # mean 4.82, as CK+'s 593 / 123
NOISE, BLINK, YAW = 2.0, 0.0, 3.0  # grey levels; share of sequences; degrees


@dataclass(frozen=True, kw_only=True)
class RenderSummary:
    """What `render_dataset` wrote.

    Attributes
    ----------
    out : Path
        Its root, holding cohn-kanade-images/, Emotion/ and rendered.json.
    subjects, sequences, frames, labelled : int
        How many; `labelled` counts the sequences with a label file.
    quirks : tuple of Quirk
        What was planted with `quirks=True`, in order of their paths.
    """

    out: Path
    subjects: int
    sequences: int
    frames: int
    labelled: int
    quirks: tuple[Quirk, ...]


@dataclass(frozen=True, kw_only=True)
class Take:
    """One sequence to render."""

    subject: int
    position: int
    emotion: str
    n_frames: int

    @property
    def name(self) -> str:
        """CK+'s name of the sequence: "S005_001"."""
        return f"S{self.subject:03d}_{self.position:03d}"


class Person:
    """A subject who is drawn and painted when first needed, by whichever thread comes first."""

    def __init__(self, seed: int, number: int, *, noise: float) -> None:
        self._identity = subject_rng(seed, number)
        self._noise = noise
        self._lock = threading.Lock()
        self._ready: tuple[Scene, Manner] | None = None

    def get(self) -> tuple[Scene, Manner]:
        """Return the subject's scene and manner."""
        with self._lock:
            if self._ready is None:
                subject, manner = draw_person(self._identity)
                self._ready = Scene(subject, noise=self._noise), manner
            return self._ready


def subject_rng(seed: int, number: int) -> np.random.Generator:
    """Return the generator that a subject's looks and manner are drawn from."""
    return np.random.default_rng([seed, number])


def draw_person(rng: np.random.Generator) -> tuple[Subject, Manner]:
    """Draw a subject and how they show emotions."""
    looks, manner = rng.spawn(2)
    return draw_subject(load_model(), looks), draw_manner(manner)


def plan_subject(seed: int, number: int, sequences: int | None) -> list[Take]:
    """Choose a subject's emotions and lengths; they depend on the seed and the subject's own number only."""
    rng = np.random.default_rng([seed, number, 0])
    count = int(rng.choice(SEQUENCE_COUNTS, p=COUNT_SHARES)) if sequences is None else sequences
    emotions = rng.permutation(list(EMOTION_CODES))[:count]
    return [
        Take(subject=number, position=position, emotion=str(emotion), n_frames=draw_length(rng))
        for position, emotion in enumerate(emotions, start=1)
    ]


def render_take(take: Take, person: Person, *, seed: int, blink: float, yaw: float) -> Iterator[np.ndarray]:
    """Yield the frames of a sequence, (H, W) or (H, W, 3) RGB uint8."""
    scene, manner = person.get()
    rng = np.random.default_rng([seed, take.subject, take.position])
    acting, film = rng.spawn(2)
    poses = perform(load_model(), manner, take.emotion, acting, n_frames=take.n_frames, blink=blink, yaw=yaw)
    buffers = scene.buffers()
    for pose in poses:
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
    label.write_text(f"   {EMOTION_CODES[take.emotion]:.7e}\n")  # CK+'s own number format
    return label


def check_options(
    out: Path, *, subjects: int, seed: int, sequences: int | None, noise: float, blink: float, yaw: float
) -> None:
    """Raise ValueError for an option out of range, or where `out` already holds something."""
    if not 1 <= subjects <= MOST_SUBJECTS:
        raise ValueError(f"subjects must be 1 to {MOST_SUBJECTS}, got {subjects}")
    if seed < 0:
        raise ValueError(f"seed must be 0 or more, got {seed}")
    if sequences is not None and not 1 <= sequences <= len(EMOTION_CODES):
        raise ValueError(f"sequences must be 1 to {len(EMOTION_CODES)} per subject, got {sequences}")
    if not 0 <= noise <= 64:
        raise ValueError(f"noise must be 0 to 64 grey levels, got {noise}")
    if not 0 <= blink <= 1:
        raise ValueError(f"blink must be a share of the sequences, 0 to 1, got {blink}")
    if not 0 <= yaw <= 45:
        raise ValueError(f"yaw must be 0 to 45 degrees, got {yaw}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} must be a new or empty folder: choose another, or delete it first")


def render_dataset(
    out: str | Path,
    *,
    subjects: int = 12,
    seed: int = 0,
    sequences: int | None = None,
    n_jobs: int = -1,
    quirks: bool = False,
    noise: float = NOISE,
    blink: float = BLINK,
    yaw: float = YAW,
    progress: Callable[[int, int], None] | None = None,
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
    n_jobs : int
        Threads, as joblib counts them: -1 is one per core.
    quirks : bool
        Also plant CK+'s oddities: see `fastck.render.quirks`.
    noise : float
        Standard deviation of the sensor noise, grey levels; each subject's own camera has 0.6 to 1.4 times that.
    blink : float
        Share of the sequences with a blink, 0 to 1.
    yaw : float
        Standard deviation of the head's turn at the first frame, degrees; a quarter as much is added during a sequence.
        Above about 15 dlib's frontal detector starts to miss faces.
    progress : callable, optional
        Called in this thread as ``progress(done, total)`` after every sequence.

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
    check_options(out, subjects=subjects, seed=seed, sequences=sequences, noise=noise, blink=blink, yaw=yaw)
    out.mkdir(parents=True, exist_ok=True)
    takes = [take for number in range(1, subjects + 1) for take in plan_subject(seed, number, sequences)]
    plan = quirk_plan([take.name for take in takes], seed) if quirks else {}
    lengths = longer_lengths(plan, seed)
    takes = [Take(**{**asdict(take), "n_frames": lengths.get(take.name, take.n_frames)}) for take in takes]
    people = {number: Person(seed, number, noise=noise) for number in range(1, subjects + 1)}
    left = {number: sum(take.subject == number for take in takes) for number in people}

    def work(take: Take) -> Take:
        frames = render_take(take, people[take.subject], seed=seed, blink=blink, yaw=yaw)
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
            if progress is not None:
                progress(done, len(takes))
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
        quirks=planted,
    )
    options = {"subjects": subjects, "seed": seed, "sequences": sequences, "noise": noise, "blink": blink, "yaw": yaw}
    write_note(summary, options)
    logger.info("rendered %d sequences, %d frames into %s", summary.sequences, summary.frames, out)
    return summary


def write_note(summary: RenderSummary, options: Mapping[str, object]) -> None:
    """Write rendered.json: what this folder is, how it was made, and what was planted."""
    note = {
        "about": "Rendered faces, not people; CC0 data, free to use and share. Accuracy here says nothing about CK+.",
        "options": options,
        "sequences": summary.sequences,
        "frames": summary.frames,
        "labelled": summary.labelled,
        "quirks": [asdict(quirk) for quirk in summary.quirks],
    }
    (summary.out / NOTE).write_text(json.dumps(note, indent=2) + "\n")
