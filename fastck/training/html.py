"""The report as one HTML page that needs no other file."""

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #1b1f24; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .5rem 0; }
th, td { padding: .25rem .8rem; text-align: right; border-bottom: 1px solid #d8dee4; }
th:first-child, td:first-child { text-align: left; }
.headline { font-size: 2rem; font-weight: 600; } .range { color: #59636e; }
.warning { background: #fff8e1; border-left: 4px solid #d9a300; padding: .6rem 1rem; margin: 1rem 0; }
img { max-width: 100%; height: auto; } pre { overflow-x: auto; background: #f6f8fa; padding: .8rem; }
"""


def html_page(report: dict[str, Any], pictures: Sequence[Path]) -> str:
    """Return the page.

    Parameters
    ----------
    report : dict
        What report.json holds.
    pictures : sequence of Path
        PNG files, put into the page itself.

    Returns
    -------
    page : str
        A whole HTML document.
    """
    evaluation = report["evaluation"]
    share = 100 * report["leakage"]
    people = "accuracy on new people is not measured" if share > 0 else "no subject is on both sides"
    accuracy = evaluation["accuracy"]
    body = [
        f"<h1>{escape(report['title'])}</h1>",
        f"<p>Protocol <b>{escape(report['protocol'])}</b>: {escape(report['protocol_text'])}.</p>",
        f'<p><span class="headline">{100 * accuracy["value"]:.1f} %</span> accuracy '
        f'<span class="range">(95 % interval {100 * accuracy["low"]:.1f} to {100 * accuracy["high"]:.1f} %, '
        f"{evaluation['n']:g} test sequences of {evaluation['subjects']} subjects)</span></p>",
        f'<p class="warning">{share:.0f} % of the test sequences have their subject in the training part: '
        f"{people}.</p>",
        "<h2>Network and baselines</h2>",
        _models(report),
        _repeats(evaluation["repeats"]),
        "<h2>Emotions</h2>",
        _table(
            ["emotion", "precision", "recall", "F1", "support"],
            (
                [
                    report["classes"][code],
                    *(_range(row[key]) for key in ("precision", "recall", "f1")),
                    f"{row['support']:g}",
                ]
                for code, row in evaluation["per_class"].items()
            ),
        ),
        *(_picture(path) for path in pictures),
        _paper(report),
        "<h2>Data and settings</h2>",
        _list(report["notes"]),
        "<details><summary>Settings, store and versions</summary><pre>"
        + escape(
            "\n".join(f"{name} = {value}" for part in ("arguments", "versions") for name, value in report[part].items())
            + f"\nstore = {report['store']['path']}\nstore config = {report['store']['config_hash']}"
        )
        + "</pre></details>",
        '<p class="range">Accuracy: Wilson interval. All others: percentile bootstrap over subjects.</p>',
    ]
    head = f'<meta charset="utf-8"><title>{escape(report["title"])}</title><style>{_STYLE}</style>'
    viewport = '<meta name="viewport" content="width=device-width, initial-scale=1">'
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}{viewport}</head><body>\n'
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def _models(report: dict[str, Any]) -> str:
    entries = [{"name": "ConvLSTM2D", **report["evaluation"]}, *report["baselines"]]
    keys = ("accuracy", "balanced_accuracy", "macro_f1")
    rows = ([entry["name"], *(_range(entry[key]) for key in keys)] for entry in entries)
    return _table(["model", "accuracy", "balanced accuracy", "macro F1"], rows)


def _repeats(repeats: dict[str, Any]) -> str:
    if repeats["count"] < 2:
        return ""
    cells = (
        [name.replace("_", " "), f"{repeats[name]['mean']:.3f}", f"{repeats[name]['sd']:.3f}"]
        for name in ("accuracy", "balanced_accuracy", "macro_f1")
    )
    return f"<h2>{repeats['count']} repeats</h2>" + _table(["metric", "mean", "standard deviation"], cells)


def _paper(report: dict[str, Any]) -> str:
    if "paper" not in report:
        return ""
    paper, evaluation = report["paper"], report["evaluation"]
    rows = []
    for code, (precision, recall, f1, support) in paper["per_class"].items():
        ours = evaluation["per_class"][code]
        pairs = ((precision, "precision"), (recall, "recall"), (f1, "f1"))
        cells = [f"{theirs:.2f} / {ours[key]['value']:.2f}" for theirs, key in pairs]
        rows.append([report["classes"][code], *cells, f"{support} / {ours['support']:g}"])
    accuracy = f"{paper['accuracy']:.2f} / {evaluation['accuracy']['value']:.2f}"
    rows.append(["accuracy", accuracy, "", "", f"{paper['n']} / {evaluation['n']:g}"])
    return (
        f"<h2>Beside the paper ({escape(paper['figure'])})</h2>"
        + _table(["paper / this run", "precision", "recall", "F1", "support"], rows)
        + '<div class="warning"><b>Not comparable:</b>'
        + _list(paper["warnings"])
        + "</div>"
    )


def _range(entry: dict[str, float]) -> str:
    return f"{entry['value']:.3f} [{entry['low']:.3f}, {entry['high']:.3f}]"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _list(items: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>"


def _picture(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    title = path.stem.replace("_", " ")
    return f'<p><img alt="{escape(title)}" src="data:image/png;base64,{data}"></p>'
