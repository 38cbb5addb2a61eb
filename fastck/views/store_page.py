"""What a store holds, as one HTML page that needs no other file, no script and no network."""

import base64
import logging
from collections.abc import Iterable, Sequence
from html import escape
from os import PathLike
from pathlib import Path

import cv2

from fastck.dataset.clip import clip_record
from fastck.faces.box import Gray
from fastck.images.image import read_gray
from fastck.images.video import read_video
from fastck.messages import one_line
from fastck.store.files import write_atomically
from fastck.store.reader import Store, folder_below
from fastck.views.charts import bar_chart, histogram, strip_chart
from fastck.views.store import StoreSummary, box_moves, count_emotions, describe_settings, label_names, summarise

log = logging.getLogger(__name__)

THUMBNAIL = 72  # pixels high
MOST_THUMBNAILS = 100  # quarantined sequences with pictures: 600 would make a page of 6 MB
MOST_ROWS = 12  # of a table of the worst sequences

# Nothing is loaded from anywhere, whatever a file's name holds.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_STYLE = """
:root { --ink: #1f2328; --faint: #59636e; --line: #d8dee4; --paper: #ffffff; --soft: #f6f8fa; --bar: #3b7ddd;
  --mark: #c2410c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --faint: #9aa4af; --line: #30363d; --paper: #0d1117;
  --soft: #161b22; --bar: #5b9cf5; --mark: #f2884b; } }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem 3rem;
  color: var(--ink); background: var(--paper); }
h1 { font-size: 1.5rem; margin: 0 0 .2rem; overflow-wrap: anywhere; } h2 { font-size: 1.1rem; margin: 0 0 .6rem; }
p { margin: .4rem 0; } .faint { color: var(--faint); fill: var(--faint); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(7.4rem, 1fr)); gap: .75rem; margin: 1.2rem 0; }
.tile { background: var(--soft); border: 1px solid var(--line); border-radius: 8px; padding: .6rem .8rem; }
.tile b { display: block; font-size: 1.45rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
.tile span { color: var(--faint); font-size: .85rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); gap: 1rem; }
section { border: 1px solid var(--line); border-radius: 8px; padding: 1rem; min-width: 0; }
.wide { grid-column: 1 / -1; }
.scroll { overflow-x: auto; max-height: 26rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%; font-size: .92rem; }
th, td { padding: .25rem .6rem; text-align: left; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; position: sticky; top: 0; background: var(--paper); }
td.n, th.n { text-align: right; } td.text { overflow-wrap: anywhere; min-width: 9rem; }
td.pictures { white-space: nowrap; }
td.pictures img { height: 72px; margin-right: 4px; border-radius: 3px; }
svg { display: block; width: 100%; max-width: 34rem; height: auto; }
svg text { font: 13px system-ui, sans-serif; fill: var(--ink); }
svg .bar { fill: var(--bar); } svg .axis, svg .grid { stroke: var(--line); } svg text.faint { fill: var(--faint); }
svg .mark { stroke: var(--mark); stroke-dasharray: 4 3; } svg text.marked { fill: var(--mark); }
svg .dot { fill: var(--bar); fill-opacity: .45; } svg .median { stroke: var(--mark); stroke-width: 2.5; }
"""


def info_html(store: Store, path: str | PathLike[str], *, root: str | PathLike[str] | None = None) -> Path:
    """Write a page about a store: counts, lengths, missed frames, box changes, motion, quarantine, settings.

    Parameters
    ----------
    store : Store
    path : path-like
        HTML file to write.
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
    name = one_line(store.path.resolve().name)
    cards = [_emotions(summary), _lengths(store, summary), _boxes(store, summary), _motion(store), _missed(store)]
    cards += [
        _per_subject(store),
        _subjects(store),
        _quarantine(store, None if root is None else Path(root)),
        _settings(store),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(name)} - fastck store</title><style>{_STYLE}</style></head><body>\n"
        f'<h1>{escape(name)}</h1><p class="faint">A fastck store: motion features of face-image sequences.</p>\n'
        f"{_tiles(summary)}\n" + '<div class="cards">\n' + "\n".join(cards) + "\n</div>\n</body></html>\n"
    )


def _tiles(summary: StoreSummary) -> str:
    values = [
        (f"{summary.sequences}", "sequences"),
        (f"{summary.subjects}", "subjects"),
        (f"{summary.labelled}", "labelled"),
        (f"{summary.frames}", "frames"),
        (f"{summary.missed}", "frames without a face"),
        (f"{summary.quarantined}", "quarantined"),
        (f"{100 * summary.motion_moved:.0f} %", "of motion on box changes"),
    ]
    return (
        '<div class="tiles">'
        + "".join(f'<div class="tile"><b>{n}</b><span>{t}</span></div>' for n, t in values)
        + "</div>"
    )


def _card(title: str, *content: str, wide: bool = False) -> str:
    return f"<section{' class=wide' if wide else ''}><h2>{escape(title)}</h2>{''.join(content)}</section>"


def _note(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def _emotions(summary: StoreSummary) -> str:
    chart = bar_chart(summary.emotions) if summary.emotions else _note("No sequence.")
    return _card("Sequences per emotion", chart)


def _lengths(store: Store, summary: StoreSummary) -> str:
    lengths = store.table["length"].to_numpy(float)
    if not len(lengths):
        return _card("Lengths", _note("No sequence."))
    window = summary.window
    chart = histogram(lengths, axis="steps (frames - 1) per sequence", whole=True, mark=(window, f"window of {window}"))
    beyond = f"{100 * summary.cut:.1f} % of all steps lie beyond the window."
    text = (
        f"{summary.n_cut or 'No'} sequences have more than {window} steps{'; ' + beyond if summary.n_cut else '.'} "
        f"{100 * summary.padded:.0f} % of what the network sees is padding."
    )
    return _card(f"Lengths and the {window}-step window", chart, _note(text))


def _boxes(store: Store, summary: StoreSummary) -> str:
    moves = box_moves(store)
    if not len(moves):
        return _card("Box jitter", _note("The box never changes within a sequence: no motion is due to the crop."))
    chart = histogram(moves, axis="largest move of a box edge, % of the box's height")
    text = (
        f"The box changes at {100 * summary.moved:.1f} % of the steps. These hold {100 * summary.motion_moved:.0f} % "
        "of all motion, and much of that is the crop's, not the face's."
    )
    return _card("Box jitter", chart, _note(text))


def _motion(store: Store) -> str:
    names, order = label_names(store.table), count_emotions(store.table)
    groups = {name: 100 * store.table.loc[names == name, "motion"].to_numpy(float) for name in order}
    if not groups:
        return _card("Motion", _note("No sequence."))
    chart = strip_chart(groups, axis="mask pixels that are on, mean over a sequence, %")
    return _card("Motion per emotion", chart, _note("One dot per sequence; the line is the median."))


def _missed(store: Store) -> str:
    rows = store.table[store.table["n_missed"] > 0].sort_values("n_missed", ascending=False, kind="stable")
    if rows.empty:
        return _card("Frames without a face", _note("Every frame that was searched has a face."))
    listed = rows.head(MOST_ROWS)
    columns = (listed[name].tolist() for name in ("sequence", "n_missed", "n_frames"))
    cells = [
        (name, f"{missed}", f"{100 * missed / frames:.0f} %") for name, missed, frames in zip(*columns, strict=True)
    ]
    more = _note(f"And {len(rows) - MOST_ROWS} more sequences.") if len(rows) > MOST_ROWS else ""
    text = "Such a frame is cropped with the box of the frame before."
    return _card(
        "Frames without a face", _table(["sequence", "frames", "share"], cells, numbers=(1, 2)), more, _note(text)
    )


def _per_subject(store: Store) -> str:
    counts = store.table.groupby("subject").size().astype(float).tolist()
    chart = histogram(counts, axis="sequences", whole=True) if counts else _note("No sequence.")
    return _card("Sequences per subject", chart)


def _subjects(store: Store) -> str:
    table = store.table
    if table.empty:
        return ""
    names, order = label_names(table), count_emotions(table)
    rows = []
    for subject, own in table.groupby("subject", sort=True):
        counts = names[own.index].value_counts()
        found = [str(counts[name]) if name in counts else "" for name in order]
        missed, changes = own["n_missed"].sum(), own["n_box_changes"].sum()
        rows.append((str(subject), f"{len(own)}", *found, f"{own['n_frames'].sum()}", f"{missed}", f"{changes}"))
    header = ["subject", "sequences", *order, "frames", "missed", "box changes"]
    return _card("Subjects", _table(header, rows, numbers=range(1, len(header))), wide=True)


def _quarantine(store: Store, root: Path | None) -> str:
    if store.quarantine.empty:
        return _card("Quarantine", _note("No sequence was left out."), wide=True)
    header = ["sequence", "reason", *(["frames"] if root else [])]
    lines = []
    for number, row in enumerate(store.quarantine.itertuples()):
        cells = f'<td class="text">{_safe(row.sequence)}</td><td class="text">{_safe(row.reason)}</td>'
        if root is not None:
            shown = _thumbnails(root, str(row.folder)) if number < MOST_THUMBNAILS else ""
            cells += f'<td class="pictures">{shown or _safe("no picture")}</td>'
        lines.append(f"<tr>{cells}</tr>")
    top = "".join(f"<th>{name}</th>" for name in header)
    hint = "" if root else _note("Given the data set's folder as root, this table shows frames.")
    body = f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'
    return _card(f"Quarantine: {len(store.quarantine)} sequences left out", body, hint, wide=True)


def _thumbnails(root: Path, folder: str) -> str:
    """Return the first, middle and last frame of a sequence as embedded pictures, those that decode."""
    pictures = []
    for gray in _some_frames(root, folder):
        width = max(1, round(gray.shape[1] * THUMBNAIL / gray.shape[0]))
        small = cv2.resize(gray, (min(width, 4 * THUMBNAIL), THUMBNAIL), interpolation=cv2.INTER_AREA)
        good, data = cv2.imencode(".jpg", small)
        if good:
            pictures.append(
                f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode("ascii")}">'
            )
    return "".join(pictures)


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


def _settings(store: Store) -> str:
    return _card("Settings and versions", _table(["", ""], describe_settings(store)), wide=True)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Iterable[int] = ()) -> str:
    kinds = ["n" if at in set(numbers) else "text" for at in range(len(header))]

    def line(tag: str, cells: Sequence[str]) -> str:
        pairs = zip(kinds, cells, strict=True)
        return "<tr>" + "".join(f"<{tag} class={kind}>{_safe(cell)}</{tag}>" for kind, cell in pairs) + "</tr>"

    head = f"<thead>{line('th', header)}</thead>" if any(header) else ""
    return f'<div class="scroll"><table>{head}<tbody>{"".join(line("td", row) for row in rows)}</tbody></table></div>'


def _safe(text: object) -> str:
    return escape(one_line(text))
