"""What the commands print as tables: a data set's check, a store, quarantined sequences, data frames, measured times.

Whatever comes from files or folder names goes through `cell`, so that it can neither break a line nor move the cursor.
"""

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from fastck.dataset.check import CheckReport, Lengths
from fastck.dataset.labels import EMOTIONS
from fastck.messages import one_line, some_names
from fastck.store.reader import Store
from fastck.views.store import describe_numbers, describe_settings, label_names, summarise

if TYPE_CHECKING:
    import pandas as pd

    from fastck.bench import Measurement

EXAMPLES = 3  # of findings or sequences that share a reason
MOST_REASONS = 25  # rows
MOST_QUARANTINED = 20  # rows


def cell(value: object) -> Text:
    """Return a value as text that a terminal shows as it is: no markup, no control characters; three decimal places."""
    return Text(f"{value:.3f}" if isinstance(value, float) else one_line(value))


def table_of(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """Return a table whose long words are folded."""
    table = Table(*(Column(name, overflow="fold") for name in columns))
    for row in rows:
        table.add_row(*map(cell, row))
    return table


def pairs_table(rows: Iterable[tuple[str, str]]) -> Table:
    """Return names and what belongs to them, without lines around."""
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, text in rows:
        table.add_row(name, cell(text))
    return table


def data_table(data: "pd.DataFrame") -> Table:
    """Return a data frame as a table."""
    return table_of([str(name) for name in data.columns], data.itertuples(index=False))


def reasons_table(reasons: dict[str, str]) -> Table:
    """Return why sequences were left out, one row per reason however many share it."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for sequence, reason in sorted(reasons.items()):
        # "S005_001_00000003.png: truncated" and its neighbours are one reason, and so is what differs in numbers only.
        reason = re.sub(r"^[^:]*\.\w+: ", "", reason)
        groups.setdefault(re.sub(r"\d+", "N", reason), []).append((sequence, reason))
    rows: list[tuple[object, ...]] = []
    for shape, members in sorted(groups.items(), key=lambda item: -len(item[1]))[:MOST_REASONS]:
        sequences, texts = zip(*members, strict=True)
        text = texts[0] if len(set(texts)) == 1 else shape
        rows.append((text, len(members), ", ".join(sequences[:EXAMPLES])))
    if len(groups) > MOST_REASONS:
        rows.append((f"and {len(groups) - MOST_REASONS} other reasons, all in quarantine.csv", "", ""))
    return table_of(("quarantined because", "sequences", "for example"), rows)


def bench_table(measurements: "Sequence[Measurement]") -> Table:
    """Return measured times by operation, compared with fastck's; cases where fastck is slower say so."""
    from fastck.bench import FLOOR, OWN

    rows = []
    for entry in measurements:
        ratio = "" if entry.method == OWN else f"{entry.ratio:,.1f} times"
        # A copy computes nothing: it is the floor, not a baseline.
        faster = " (faster)" if entry.ratio < 1 and entry.method != FLOOR else ""
        rows.append((entry.operation, entry.method, f"{entry.microseconds:,.1f}", ratio + faster))
    return table_of(("operation", "method", "µs", "against fastck"), rows)


def describe_store(store: Store) -> Group:
    """Return what a store holds as tables.

    Parameters
    ----------
    store : Store

    Returns
    -------
    description : rich.console.Group
    """
    summary = summarise(store)
    numbers = [(name, text) for name, text in describe_numbers(summary) if text]
    table = store.table.assign(name=label_names(store.table))
    rows = []
    for name in summary.emotions:
        group = table[table["name"] == name]
        means = f"{group['n_frames'].mean():.1f}", f"{100 * group['motion'].mean():.1f}"
        rows.append((name, len(group), group["subject"].nunique(), *means))
    parts = [
        pairs_table([*numbers, *describe_settings(store)]),
        table_of(("emotion", "sequences", "subjects", "mean frames", "motion, %"), rows),
    ]
    if summary.quarantined:
        first = store.quarantine.head(MOST_QUARANTINED)
        left_out = list(zip(first["sequence"], first["reason"], strict=True))
        if summary.quarantined > MOST_QUARANTINED:
            left_out.append(("...", f"and {summary.quarantined - MOST_QUARANTINED} more: quarantine.csv in the store"))
        parts.append(table_of(("quarantined", "reason"), left_out))
    return Group(*parts)


def render_check(report: CheckReport, *, examples: int = EXAMPLES) -> RenderableType:
    """Lay a report out for `rich.console.Console.print`.

    Parameters
    ----------
    report : CheckReport
    examples : int
        Findings shown of each kind; the rest is counted.

    Returns
    -------
    renderable
        Tables of counts, of lengths, and of findings by what becomes of them.
    """
    parts: list[RenderableType] = [Text(one_line(report.root), style="bold"), _counts_table(report)]
    if report.lengths is not None:
        parts.append(_lengths_text(report.lengths))
    if report.sizes is not None:
        shown = ", ".join(f"{count} of {width} x {height}" for (width, height), count in report.sizes.items())
        parts.append(Text(f"Image sizes: {shown or 'none'}"))
    parts.extend(_group_table(report, outcome, examples) for outcome in ("left out", "not labelled", "kept"))
    parts.append(_verdict(report))
    return Group(*parts)


def _counts_table(report: CheckReport) -> Table:
    table = Table()
    table.add_column("")
    table.add_column("here", justify="right")
    expected = {what: (ckplus, here) for what, ckplus, here in report.comparison}
    if expected:
        table.add_column("CK+ has", justify="right")
    n_subjects = len({record.subject for record in report.records if record.label})
    rows = [
        ("sequences", report.n_sequences),
        ("subjects", len(report.subjects)),
        ("labelled sequences", report.n_labelled),
        ("labelled subjects", n_subjects),
        ("frames", report.n_frames),
        *((name, report.emotions[code]) for code, name in EMOTIONS.items()),
        *report.other_labels.items(),
    ]
    for what, here in rows:
        if what == "neutral" and here == 0:
            continue
        cells = [what, f"{here:,}"]
        if expected:
            cells.append(f"{expected[what][0]:,}" if what in expected else "")
        table.add_row(*map(cell, cells), style="yellow" if what in expected and expected[what][0] != here else "")
    return table


def _lengths_text(lengths: Lengths) -> Text:
    return Text(
        f"Lengths: {lengths.shortest} to {lengths.longest} frames, median {lengths.median:g}, mean {lengths.mean:.1f}. "
        f"Of a window of {lengths.timesteps} steps, {lengths.padded} sequences leave some empty, "
        f"{lengths.full} fill it, {lengths.cut} are longer and would be cut."
    )


def _group_table(report: CheckReport, outcome: str, examples: int) -> RenderableType:
    groups = [group for group in report.groups if group.outcome == outcome]
    titles = {"left out": "Left out", "not labelled": "Not labelled", "kept": "Odd, but kept"}
    if not groups:
        return Text(f"{titles[outcome]}: nothing")
    table = Table(title=titles[outcome], title_justify="left", title_style="bold", show_lines=True)
    table.add_column("count", justify="right")
    table.add_column("what", ratio=2)
    table.add_column("examples", ratio=3, overflow="fold")
    for group in groups:
        shown = [finding.text.removeprefix(one_line(report.root) + "/") for finding in group.findings[:examples]]
        if len(group.findings) > examples:
            shown.append(f"and {len(group.findings) - examples} more")
        table.add_row(str(len(group.findings)), group.meaning, Text("\n".join(shown)))
    return table


def _verdict(report: CheckReport) -> Text:
    n_bad = len(report.left_out)
    usable = report.n_sequences - n_bad
    text = (
        f"{usable} of {report.n_sequences} sequences can be preprocessed, as far as is known without looking for faces"
    )
    if n_bad:
        text += f"; these would be quarantined: {some_names(report.left_out)}"
    if report.comparison:
        differing = [what for what, expected, here in report.comparison if expected != here]
        if not differing:
            text += ". The counts are those of a complete CK+"
        elif len(differing) < len(report.comparison):
            text += f". Unlike a complete CK+ in: {', '.join(differing)}"
        else:
            text += ". This is not a complete CK+"
    return Text(text + ".", style="bold")
