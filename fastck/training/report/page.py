"""The report as one HTML page that needs no other file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastck.pages import data_url, render_page
from fastck.training.report.wording import (
    METRICS,
    calibration_line,
    headline,
    interval_text,
    leakage_line,
    maximum_lines,
    network_name,
    setting_text,
)


def html_page(report: dict[str, Any], pictures: Sequence[Path]) -> bytes:
    """Return the page.

    Parameters
    ----------
    report : dict
        What report.json holds.
    pictures : sequence of Path
        PNG files, put into the page itself.

    Returns
    -------
    page : bytes
        A whole HTML document in UTF-8.
    """
    evaluation = report["evaluation"]
    best = report["best"]
    accuracy = best["accuracy"]
    return render_page(
        "run.html",
        title=report["title"],
        protocol=report["protocol"],
        protocol_text=report["protocol_text"],
        headline=f"{100 * accuracy['value']:.1f} %",
        headline_range=f"95 % interval {100 * accuracy['low']:.1f} to {100 * accuracy['high']:.1f} %, "
        f"{evaluation['n']:g} test sequences of {evaluation['subjects']} subjects",
        best=best["name"],
        # A line of its own only where the trained model is not the best one.
        beaten=headline(report) if best["baseline"] else "",
        maximum="".join(maximum_lines(report)),
        leakage=leakage_line(report),
        models=_models(report),
        repeats=_repeats(evaluation["repeats"]),
        calibration=calibration_line(report),
        emotions=_emotions(report),
        datasets=_datasets(report["datasets"]),
        pictures=[
            {"title": path.stem.replace("_", " "), "url": data_url(path.read_bytes(), "png")} for path in pictures
        ],
        paper=_paper(report),
        notes=report["notes"],
        settings=[
            *((name, setting_text(value)) for name, value in report["arguments"].items()),
            *report["versions"].items(),
            *(("store", store["path"]) for store in report["stores"]),
            *(("store config", store["config_hash"]) for store in report["stores"]),
        ],
    )


def _models(report: dict[str, Any]) -> dict[str, Any]:
    entries = [{"name": network_name(report), **report["evaluation"]}, *report["baselines"]]
    return {
        "header": ["model", *METRICS.values()],
        "rows": [[entry["name"], *(interval_text(entry[key]) for key in METRICS)] for entry in entries],
    }


def _datasets(datasets: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Each data set's figures, where several were trained together."""
    if not datasets:
        return None
    return {
        "header": ["data set", "sequences", *METRICS.values()],
        "rows": [
            [entry["name"], f"{entry['n']:g}", *(interval_text(entry[key]) for key in METRICS)] for entry in datasets
        ],
    }


def _repeats(repeats: dict[str, Any]) -> dict[str, Any] | None:
    if repeats["count"] < 2:
        return None
    return {
        "title": f"{repeats['count']} repeats",
        "header": ["metric", "mean", "standard deviation"],
        "rows": [[text, f"{repeats[key]['mean']:.3f}", f"{repeats[key]['sd']:.3f}"] for key, text in METRICS.items()],
    }


def _emotions(report: dict[str, Any]) -> dict[str, Any]:
    rows = [
        [
            name,
            *(interval_text(row[key]) for key in ("precision", "recall", "f1")),
            f"{row['support']:g}",
        ]
        for name, row in report["evaluation"]["per_class"].items()
    ]
    return {"header": ["class", "precision", "recall", "F1", "support"], "rows": rows}


def _paper(report: dict[str, Any]) -> dict[str, Any] | None:
    """The paper's table beside this run's, where there is one."""
    if "paper" not in report:
        return None
    paper, evaluation = report["paper"], report["evaluation"]
    rows = []
    for name, (precision, recall, f1, support) in paper["per_class"].items():
        ours = evaluation["per_class"][name]
        pairs = ((precision, "precision"), (recall, "recall"), (f1, "f1"))
        cells = [f"{theirs:.2f} / {ours[key]['value']:.2f}" for theirs, key in pairs]
        rows.append([name, *cells, f"{support} / {ours['support']:g}"])
    accuracy = f"{paper['accuracy']:.2f} / {evaluation['accuracy']['value']:.2f}"
    rows.append(["accuracy", accuracy, "", "", f"{paper['n']} / {evaluation['n']:g}"])
    return {
        "title": f"Beside the paper ({paper['figure']})",
        "header": ["paper / this run", "precision", "recall", "F1", "support"],
        "rows": rows,
        "warnings": paper["warnings"],
    }
