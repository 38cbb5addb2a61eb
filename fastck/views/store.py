"""What a store holds, in numbers: for `fastck info` on the terminal and for its page."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fastck.config import TIMESTEPS, WHOLE_FRAME
from fastck.dataset.labels import EMOTIONS
from fastck.messages import several_people
from fastck.store.reader import Store

if TYPE_CHECKING:
    import pandas as pd

UNLABELLED = "not labelled"


@dataclass(frozen=True, kw_only=True)
class StoreSummary:
    """A store in numbers.

    Attributes
    ----------
    sequences, subjects, labelled, frames, quarantined : int
        Sequences that are good; how many have a label; frames of the good ones; sequences left out.
    emotions : dict of str to int
        Sequences of each label that occurs, emotions in the order of their codes, those without a label last.
    window : int
        Steps the network sees.
    n_cut : int
        Sequences with more steps than the window.
    cut, padded : float
        Share of all steps beyond the window; share of zeros in what the network sees. 0 to 1.
    missed : int
        Frames without a face of their own.
    several_people : int
        Sequences whose first frame with a face shows another one that is at least half as wide.
    moved : float
        Share of the steps at which the box changed, 0 to 1.
    motion_moved : float
        Share of all motion that falls on these steps, 0 to 1: what is not the face's but the crop's.
    megabytes : float
        Size of the store's arrays.
    """

    sequences: int
    subjects: int
    labelled: int
    frames: int
    quarantined: int
    emotions: dict[str, int]
    window: int
    n_cut: int
    cut: float
    padded: float
    missed: int
    several_people: int
    moved: float
    motion_moved: float
    megabytes: float


CROPS = {
    "frame": "one box per frame",
    "sequence": "one box per sequence",
    "smooth": "box per frame, median-filtered",
    "aligned": "by eyes and mouth, steady over the sequence",
}


def summarise(store: Store, *, window: int = TIMESTEPS) -> StoreSummary:
    """Return a store in numbers.

    Parameters
    ----------
    store : Store
    window : int
        Steps the network sees.

    Returns
    -------
    summary : StoreSummary
    """
    table = store.table
    length = table["length"].to_numpy(float)
    changes = table["n_box_changes"].to_numpy(float)
    at_changes = table["motion_at_box_changes"].fillna(0).to_numpy(float) * changes
    steps = length.sum()
    return StoreSummary(
        sequences=len(table),
        subjects=table["subject"].nunique(),
        labelled=int((label_names(table) != UNLABELLED).sum()),
        frames=int(table["n_frames"].sum()),
        quarantined=len(store.quarantine),
        emotions=count_emotions(table),
        window=window,
        n_cut=int((length > window).sum()),
        cut=_share(np.maximum(length - window, 0).sum(), steps),
        padded=_share(np.maximum(window - length, 0).sum(), window * len(table)),
        missed=int(table["n_missed"].sum()),
        several_people=int((table["n_people"] > 1).sum()),
        moved=_share(changes.sum(), steps),
        motion_moved=_share(at_changes.sum(), (table["motion"].to_numpy(float) * length).sum()),
        megabytes=sum(_bytes(array) for array in store.manifest["arrays"].values()) / 1e6,
    )


def emotion_name(code: object) -> str:
    """Return an emotion's name: of EMOTIONS, "emotion 9" for another code, `UNLABELLED` for none."""
    import pandas as pd

    if pd.isna(code):  # type: ignore[call-overload]
        return UNLABELLED
    number = int(str(code))
    return EMOTIONS.get(number, f"emotion {number}")


def count_emotions(table: "pd.DataFrame") -> dict[str, int]:
    """Return how many sequences each label has: emotions in the order of their codes, other labels, those without."""
    names = label_names(table)
    codes = dict(zip(names, table["emotion"].fillna(len(EMOTIONS)).astype(int), strict=True))
    order = sorted(codes, key=lambda name: (name == UNLABELLED, codes[name], name))
    return {name: int((names == name).sum()) for name in order}


def label_names(table: "pd.DataFrame") -> "pd.Series":
    """Return each sequence's label: a table's own text, or the name of its emotion."""
    names = table["emotion"].map(emotion_name, na_action=None).astype("str")
    return names.where(table["label"] == "", table["label"])


def box_moves(store: Store) -> NDArray[np.float64]:
    """Return how far the box moved at each step where it did, in per cent of the box's height before.

    Returns
    -------
    moves : ndarray of shape (n,), float64
        The largest move of one of the four edges.
    """
    boxes = np.asarray(store.boxes, np.float64)
    within = np.ones(len(boxes), bool)
    within[store.table["frame_start"]] = False  # from one sequence's last frame to the next one's first is no step
    moves = np.abs(np.diff(boxes, axis=0)).max(axis=1, initial=0)
    heights = boxes[:-1, 2] - boxes[:-1, 0]
    chosen = within[1:] & (moves > 0)
    return 100 * moves[chosen] / heights[chosen]


def describe_settings(store: Store) -> list[tuple[str, str]]:
    """Return the store's settings and versions as pairs of name and value."""
    faces, motion = store.config.faces, store.config.motion
    shapes = store.manifest["arrays"]
    arrays = [f"{name} {tuple(shapes[name]['shape'])} {np.dtype(shapes[name]['dtype'])}" for name in shapes]
    boxes = f"from a CSV file ({faces.boxes})" if faces.boxes else f"{faces.search} search"
    if faces.boxes == WHOLE_FRAME:
        boxes = "the whole frame"
    return [
        ("crop", CROPS[faces.crop]),
        ("boxes", f"{boxes}, upsample {', then '.join(map(str, faces.upsample))}"),
        ("motion", f"{motion.mode}, level {motion.level}, footprint {motion.size}x{motion.size}"),
        *([("flow", describe_flow(store))] if store.config.flow else []),
        ("arrays", "; ".join(arrays)),
        ("config hash", str(store.manifest["config_hash"])),
        ("versions", ", ".join(f"{name} {number}" for name, number in store.manifest["versions"].items())),
    ]


def describe_flow(store: Store) -> str:
    """Return how a store's optical flow was computed and, where it keeps cells, how large it is at the last frames."""
    config = store.config.flow
    if config is None:
        raise ValueError(f"{store.path} holds no optical flow: make it with the feature flow or flow_projection")
    since = "onset to frame" if config.reference == "onset" else "frame to frame"
    taken = "head's motion taken out" if config.compensate else "head's motion left in"
    search = "search on patches" if config.preset == "patches" else f"DIS {config.preset}"
    text = f"{since}, {search} on {config.size}x{config.size} pixels, {taken}"
    if "flow" not in store.features or store.table.empty:
        return text
    ends = store.feature("flow")[(store.table["start"] + store.table["length"] - 1).to_numpy()]
    moved, strain = np.hypot(ends[:, 0], ends[:, 1]).mean(), ends[:, 2].mean()
    return f"{text}; at the last frames cells are displaced by {100 * moved:.2f} % of the side, strain {strain:.3f}"


def describe_numbers(summary: StoreSummary) -> list[tuple[str, str]]:
    """Return the summary as pairs of name and sentence; the sentence is empty where there is nothing to say."""
    window, moved, cut = summary.window, summary.moved, f"{100 * summary.cut:.1f} %"
    return [
        ("sequences", f"{summary.sequences} of {summary.subjects} subjects, {summary.labelled} labelled"),
        ("frames", f"{summary.frames}, {summary.missed} without a face of their own; {summary.megabytes:.1f} MB"),
        ("people", several_people(summary.several_people)),
        ("quarantine", f"{summary.quarantined} sequences" if summary.quarantined else ""),
        (
            f"{window}-step window",
            (f"{summary.n_cut} sequences are longer ({cut} of all steps would be cut), " if summary.n_cut else "")
            + f"{100 * summary.padded:.0f} % of what the network sees is padding",
        ),
        (
            "box changes",
            f"at {100 * moved:.1f} % of the steps, which hold {100 * summary.motion_moved:.0f} % of all motion"
            if moved
            else "none: every sequence has one box",
        ),
    ]


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0


def _bytes(array: dict[str, object]) -> int:
    shape: list[int] = array["shape"]  # type: ignore[assignment]
    return int(np.prod(shape, dtype=np.int64)) * np.dtype(str(array["dtype"])).itemsize
