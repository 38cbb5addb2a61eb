"""What a store holds, as one HTML page that needs no other file, no script and no network."""

import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import cv2

from fastck.dataset.clip import clip_record
from fastck.faces.box import Gray
from fastck.images.image import read_gray
from fastck.images.video import read_video
from fastck.outputs import write_atomically
from fastck.pages import data_url, render_page, safe_html
from fastck.pages.charts import bar_chart, histogram, strip_chart
from fastck.store.reader import Store, folder_below
from fastck.views.store import StoreSummary, box_moves, count_emotions, describe_settings, label_names, summarise

log = logging.getLogger(__name__)

THUMBNAIL = 72  # pixels high
MOST_THUMBNAILS = 100  # quarantined sequences with pictures: 600 would make a page of 6 MB
MOST_ROWS = 12  # of a table of the worst sequences


@dataclass(frozen=True, kw_only=True)
class Card:
    """One box of the page: a chart, a table, sentences, each where there is one."""

    title: str
    chart: str = ""
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    numbers: Collection[int] = ()
    notes: Sequence[str] = ()
    wide: bool = False


def info_html(store: Store, path: str | PathLike[str], *, root: str | PathLike[str] | None = None) -> Path:
    """Write the page that `fastck info --html` writes.

    Parameters
    ----------
    store : Store
    path : path-like
        The file to write.
    root : path-like, optional
        The data set's folder; with it the quarantined sequences are shown in pictures.

    Returns
    -------
    path : Path

    Raises
    ------
    OSError
        If the file cannot be written, or the root does not exist.
    """
    if root is not None and not Path(root).is_dir():
        raise NotADirectoryError(f"root must be the data set's folder, {root} is none")
    path = Path(path)
    write_atomically(path, page_text(store, root=root).encode())
    return path


def page_text(store: Store, *, root: str | PathLike[str] | None = None) -> str:
    """Return the whole HTML document; see `info_html`."""
    summary = summarise(store)
    name = store.path.resolve().name
    cards = [
        _emotions(summary),
        _lengths(store, summary),
        _boxes(store, summary),
        _motion(store),
        _missed(store),
        _per_subject(store),
        _subjects(store),
    ]
    return render_page(
        "store.html",
        title=f"{name} - fastck store",
        name=name,
        tiles=_tiles(summary),
        cards=[card for card in cards if card is not None],
        quarantine=_quarantine(store, None if root is None else Path(root)),
        settings=describe_settings(store),
    ).decode()


def _tiles(summary: StoreSummary) -> list[tuple[str, str]]:
    return [
        (f"{summary.sequences}", "sequences"),
        (f"{summary.subjects}", "subjects"),
        (f"{summary.labelled}", "labelled"),
        (f"{summary.frames}", "frames"),
        (f"{summary.missed}", "frames without a face"),
        (f"{summary.quarantined}", "quarantined"),
        (f"{100 * summary.motion_moved:.0f} %", "of motion on box changes"),
    ]


def _emotions(summary: StoreSummary) -> Card:
    if not summary.emotions:
        return Card(title="Sequences per emotion", notes=["No sequence."])
    return Card(title="Sequences per emotion", chart=safe_html(bar_chart(summary.emotions)))


def _lengths(store: Store, summary: StoreSummary) -> Card:
    lengths = store.table["length"].to_numpy(float)
    if not len(lengths):
        return Card(title="Lengths", notes=["No sequence."])
    window = summary.window
    chart = histogram(lengths, axis="steps (frames - 1) per sequence", whole=True, mark=(window, f"window of {window}"))
    beyond = f"{100 * summary.cut:.1f} % of all steps lie beyond the window."
    text = (
        f"{summary.n_cut or 'No'} sequences have more than {window} steps{'; ' + beyond if summary.n_cut else '.'} "
        f"{100 * summary.padded:.0f} % of what the network sees is padding."
    )
    return Card(title=f"Lengths and the {window}-step window", chart=safe_html(chart), notes=[text])


def _boxes(store: Store, summary: StoreSummary) -> Card:
    moves = box_moves(store)
    if not len(moves):
        text = "The box never changes within a sequence: no motion is due to the crop."
        return Card(title="Box jitter", notes=[text])
    chart = histogram(moves, axis="largest move of a box edge, % of the box's height")
    text = (
        f"The box changes at {100 * summary.moved:.1f} % of the steps. These hold {100 * summary.motion_moved:.0f} % "
        "of all motion, and much of that is the crop's, not the face's."
    )
    return Card(title="Box jitter", chart=safe_html(chart), notes=[text])


def _motion(store: Store) -> Card:
    names, order = label_names(store.table), count_emotions(store.table)
    groups = {name: 100 * store.table.loc[names == name, "motion"].to_numpy(float) for name in order}
    if not groups:
        return Card(title="Motion", notes=["No sequence."])
    chart = strip_chart(groups, axis="mask pixels that are on, mean over a sequence, %")
    text = "One dot per sequence; the line is the median."
    return Card(title="Motion per emotion", chart=safe_html(chart), notes=[text])


def _missed(store: Store) -> Card:
    title = "Frames without a face"
    rows = store.table[store.table["n_missed"] > 0].sort_values("n_missed", ascending=False, kind="stable")
    if rows.empty:
        return Card(title=title, notes=["Every frame that was searched has a face."])
    columns = (rows.head(MOST_ROWS)[name].tolist() for name in ("sequence", "n_missed", "n_frames"))
    cells = [
        (name, f"{missed}", f"{100 * missed / frames:.0f} %") for name, missed, frames in zip(*columns, strict=True)
    ]
    more = [f"And {len(rows) - MOST_ROWS} more sequences."] if len(rows) > MOST_ROWS else []
    notes = [*more, "Such a frame is cropped with the box of the frame before."]
    return Card(title=title, header=["sequence", "frames", "share"], rows=cells, numbers=(1, 2), notes=notes)


def _per_subject(store: Store) -> Card:
    counts = store.table.groupby("subject").size().astype(float).tolist()
    if not counts:
        return Card(title="Sequences per subject", notes=["No sequence."])
    chart = histogram(counts, axis="sequences", whole=True)
    return Card(title="Sequences per subject", chart=safe_html(chart))


def _subjects(store: Store) -> Card | None:
    table = store.table
    if table.empty:
        return None
    names, order = label_names(table), count_emotions(table)
    rows = []
    for subject, own in table.groupby("subject", sort=True):
        counts = names[own.index].value_counts()
        found = [str(counts[name]) if name in counts else "" for name in order]
        missed, changes = own["n_missed"].sum(), own["n_box_changes"].sum()
        rows.append((str(subject), f"{len(own)}", *found, f"{own['n_frames'].sum()}", f"{missed}", f"{changes}"))
    header = ["subject", "sequences", *order, "frames", "missed", "box changes"]
    return Card(title="Subjects", header=header, rows=rows, numbers=range(1, len(header)), wide=True)


def _quarantine(store: Store, root: Path | None) -> dict[str, Any]:
    """Return what the page shows of the sequences that were left out."""
    left_out = store.quarantine
    if left_out.empty:
        return {"title": "Quarantine", "rows": [], "pictured": False, "notes": ["No sequence was left out."]}
    rows = [
        {
            "sequence": row.sequence,
            "reason": row.reason,
            "pictures": _thumbnails(root, str(row.folder)) if root is not None and number < MOST_THUMBNAILS else [],
        }
        for number, row in enumerate(left_out.itertuples())
    ]
    hint = [] if root else ["Given the data set's folder as root, this table shows frames."]
    title = f"Quarantine: {len(left_out)} sequences left out"
    return {"title": title, "rows": rows, "pictured": root is not None, "notes": hint}


def _thumbnails(root: Path, folder: str) -> list[str]:
    """Return the first, middle and last frame of a sequence as embedded pictures, those that decode."""
    pictures = []
    for gray in _some_frames(root, folder):
        width = max(1, round(gray.shape[1] * THUMBNAIL / gray.shape[0]))
        small = cv2.resize(gray, (min(width, 4 * THUMBNAIL), THUMBNAIL), interpolation=cv2.INTER_AREA)
        good, data = cv2.imencode(".jpg", small)
        if good:
            pictures.append(data_url(data.tobytes(), "jpeg"))
    return pictures


def _some_frames(root: Path, folder: str) -> Iterable[Gray]:
    try:
        record = clip_record(folder_below(root, folder))
        if record.video is not None:
            return [gray for gray, _ in zip(read_video(record.video), range(1), strict=False)]
    except (ValueError, OSError) as error:
        log.info("no thumbnail: %s", error)
        return []
    frames = []
    for number in sorted({0, record.n_frames // 2, record.n_frames - 1}):
        try:
            frames.append(read_gray(record.frames[number]))
        except (ValueError, OSError) as error:
            log.info("no thumbnail: %s", error)
    return frames
