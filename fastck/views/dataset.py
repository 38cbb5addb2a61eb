"""A `CheckReport` as tables for the terminal."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fastck.dataset.check import CheckReport, Lengths
from fastck.dataset.labels import EMOTIONS
from fastck.messages import one_line


def render_check(report: CheckReport, *, examples: int = 3) -> RenderableType:
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
    n_subjects = len({record.subject for record in report.records if record.emotion is not None})
    rows = [
        ("sequences", report.n_sequences),
        ("subjects", len(report.subjects)),
        ("labelled sequences", report.n_labelled),
        ("labelled subjects", n_subjects),
        ("frames", report.n_frames),
        *((name, report.emotions[code]) for code, name in EMOTIONS.items()),
    ]
    for what, here in rows:
        if what == "neutral" and here == 0:
            continue
        cells = [what, f"{here:,}"]
        if expected:
            cells.append(f"{expected[what][0]:,}" if what in expected else "")
        table.add_row(*cells, style="yellow" if what in expected and expected[what][0] != here else "")
    return table


def _lengths_text(lengths: Lengths) -> Text:
    return Text(
        f"Lengths: {lengths.shortest} to {lengths.longest} frames, median {lengths.median:g}, mean {lengths.mean:.1f}. "
        f"Of a window of {lengths.timesteps} differences, {lengths.padded} sequences leave some empty, "
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
        text += f"; these would be quarantined: {', '.join(report.left_out[:5])}" + (", ..." if n_bad > 5 else "")
    if report.comparison:
        differing = [what for what, expected, here in report.comparison if expected != here]
        if not differing:
            text += ". The counts are those of a complete CK+"
        elif len(differing) < len(report.comparison):
            text += f". Unlike a complete CK+ in: {', '.join(differing)}"
        else:
            text += ". This is not a complete CK+"
    return Text(text + ".", style="bold")
