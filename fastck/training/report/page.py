"""The report as one HTML page that needs no other file."""

from typing import Any

import numpy as np
import pandas as pd

from fastck.messages import one_line
from fastck.pages import render_page, safe_html
from fastck.pages.charts import curve_chart, matrix_chart
from fastck.training.report.wording import (
    METRICS,
    calibration_line,
    headline,
    leakage_line,
    maximum_lines,
    network_name,
    setting_text,
    validation_name,
)


def html_page(report: dict[str, Any], history: pd.DataFrame) -> bytes:
    """Return the page.

    Parameters
    ----------
    report : dict
        What report.json holds.
    history : DataFrame
        Columns repeat, fold, epoch, accuracy, loss, val_accuracy, val_loss.

    Returns
    -------
    page : bytes
        A whole HTML document in UTF-8.
    """
    evaluation = report["evaluation"]
    people = f"{evaluation['n']:g} test sequences of {evaluation['subjects']} people"
    return render_page(
        "run.html",
        title=report["title"],
        protocol=report["protocol"],
        protocol_text=report["protocol_text"],
        people=people,
        figures=[_figure(entry) for entry in _trained_and_baseline(report)],
        # A line of its own only where the trained model is not the best one.
        beaten=headline(report) if report["best"]["baseline"] else "",
        maximum="".join(maximum_lines(report)),
        leaks=report["leakage"] > 0,
        leakage=leakage_line(report),
        models=_models(report),
        repeats=_repeats(evaluation["repeats"]),
        calibration=calibration_line(report),
        emotions=_emotions(report),
        datasets=_datasets(report["datasets"]),
        charts=run_charts(report, history, people),
        paper=_paper(report),
        notes=report["notes"],
        settings=[
            *((name, setting_text(value)) for name, value in report["arguments"].items()),
            *report["versions"].items(),
            *(("store", store["path"]) for store in report["stores"]),
            *(("store config", store["config_hash"]) for store in report["stores"]),
        ],
    )


def _trained_and_baseline(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the trained model, and the best baseline where there is one."""
    trained = {"name": network_name(report), "accuracy": report["evaluation"]["accuracy"]}
    best = max(report["baselines"], key=lambda entry: float(entry["accuracy"]["value"]), default=None)
    return [trained] if best is None else [trained, {**best, "name": f"the best baseline, {best['name']}"}]


def _figure(entry: dict[str, Any]) -> dict[str, str]:
    value, low, high = (100 * entry["accuracy"][name] for name in ("value", "low", "high"))
    return {"name": entry["name"], "value": f"{value:.1f} %", "range": f"{low:.1f} to {high:.1f} %"}


def run_charts(report: dict[str, Any], history: pd.DataFrame, people: str) -> list[dict[str, Any]]:
    """Return a run's confusion matrix and curves, each with its title and a note, for a template."""
    counts = np.array(report["evaluation"]["confusion"])
    matrix = safe_html(matrix_chart(counts, [one_line(name) for name in report["classes"]]))
    curves = []
    for quantity, most in (("accuracy", 1.0), ("loss", 0.0)):
        drawn = {}
        for name, column in (("training", quantity), (validation_name(report), f"val_{quantity}")):
            table = history.pivot_table(index="epoch", columns=["repeat", "fold"], values=column, dropna=True)
            if table.size:
                drawn[f"{quantity}, {name}"] = table.index.to_numpy(np.int64), table.to_numpy(np.float64)
        if drawn:
            curves.append(safe_html(curve_chart(drawn, most=most)))
    fits = report["training"]["fits"]
    note = "One fit." if fits == 1 else f"Thick: the mean of {fits} fits, each of which is a thin line."
    return [
        {"title": "Confusion matrix", "charts": [matrix], "note": people},
        *([{"title": "Accuracy and loss over the epochs", "charts": curves, "note": note}] if curves else []),
    ]


def _with_range(entry: dict[str, float]) -> Any:
    """Return a figure and its interval, which goes to a line of its own where there is no room."""
    return safe_html(f'{entry["value"]:.3f} <span class="range">[{entry["low"]:.3f}, {entry["high"]:.3f}]</span>')


def _models(report: dict[str, Any]) -> dict[str, Any]:
    entries = [{"name": network_name(report), **report["evaluation"]}, *report["baselines"]]
    return {
        "header": ["model", *METRICS.values()],
        "rows": [[entry["name"], *(_with_range(entry[key]) for key in METRICS)] for entry in entries],
    }


def _datasets(datasets: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Each data set's figures, where several were trained together."""
    if not datasets:
        return None
    return {
        "header": ["data set", "sequences", "people", *METRICS.values()],
        "rows": [
            [entry["name"], f"{entry['n']:g}", entry["subjects"], *(_with_range(entry[key]) for key in METRICS)]
            for entry in datasets
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
            *(_with_range(row[key]) for key in ("precision", "recall", "f1")),
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
