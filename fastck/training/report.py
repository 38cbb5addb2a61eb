"""What a run is worth, from its own files: report.json, report.txt, report.html, scikit-learn's report and pictures."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fastck.dataset.labels import EMOTIONS
from fastck.training import run as files
from fastck.training.config import PHASES, SUBJECT_INDEPENDENT
from fastck.training.evaluation import evaluate
from fastck.training.html import html_page
from fastck.training.plots import plot_confusion, plot_curves
from fastck.training.published import PUBLISHED, warnings
from fastck.training.run import Run, open_run, write_json, write_text

_NAMES = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "macro_f1": "macro F1"}


def write_report(run_path: str | Path) -> dict[str, Any]:
    """Write a run's report from its run.json, history.csv, predictions.csv and baselines.csv.

    Writes report.json, report.txt, report.html (one file, pictures inside), classification_report.txt and .json,
    confusion_matrix.png, accuracy.png and loss.png.

    Parameters
    ----------
    run_path : path-like
        A finished run's folder.

    Returns
    -------
    report : dict
        What report.json holds.

    Raises
    ------
    ValueError
        If the folder is not a finished run.
    OSError
        If a file cannot be read or written.
    """
    run = open_run(run_path)
    report = build_report(run.record, run.predictions, run.baselines)
    write_json(run.path / files.REPORT, report)
    write_text(run.path / files.REPORT_TEXT, report_text(report))
    _write_classification(run)
    pictures = [run.path / name for name in (files.CONFUSION_PICTURE, files.ACCURACY_PICTURE, files.LOSS_PICTURE)]
    names = [EMOTIONS[code] for code in run.classes]
    plot_confusion(np.array(report["evaluation"]["confusion"]), names, pictures[0])
    label = "validation (the test part)" if run.settings.protocol == "random" else "validation"
    for quantity, picture in zip(("accuracy", "loss"), pictures[1:], strict=True):
        plot_curves(run.history, quantity, picture, validation=label)
    write_text(run.path / files.REPORT_PAGE, html_page(report, pictures))
    return report


def build_report(run: dict[str, Any], predictions: pd.DataFrame, baselines: pd.DataFrame | None) -> dict[str, Any]:
    """Put the report's values together.

    Parameters
    ----------
    run : dict
        Values of run.json.
    predictions : DataFrame
        Of all folds and repeats.
    baselines : DataFrame, optional
        Predictions of the baselines.

    Returns
    -------
    report : dict
        Plain JSON values.
    """
    arguments, classes = run["arguments"], run["classes"]
    evaluation = evaluate(predictions, classes=classes, seed=arguments["seed"])
    compared = []
    if baselines is not None:
        for name, rows in baselines.groupby("baseline", sort=False):
            values = evaluate(rows, classes=classes, seed=arguments["seed"])
            compared.append({"name": name, **{key: values[key] for key in _NAMES}})
    published = PUBLISHED.get(arguments["phase"])
    fits = run["fits"]
    report: dict[str, Any] = {
        "title": f"Phase {arguments['phase']}: {PHASES[arguments['phase']].text}",
        "protocol": arguments["protocol"],
        "protocol_text": _protocol_text(run),
        "phase": arguments["phase"],
        "feature": run["feature"],
        "classes": {str(code): EMOTIONS[code] for code in classes},
        "evaluation": evaluation,
        "leakage": run["leakage"],
        "baselines": compared,
        "notes": run["notes"],
        "training": {
            "fits": len(fits),
            "epochs": [fit["epochs"] for fit in fits],
            "optimizer_steps": sum(fit["optimizer_steps"] for fit in fits),
        },
        "arguments": arguments,
        "store": run["store"],
        "versions": run["versions"],
    }
    if published is not None:
        report["paper"] = {
            **published,
            "per_class": {str(code): list(row) for code, row in published["per_class"].items()},
            "warnings": warnings(run, evaluation["n"]),
        }
    return report


def _protocol_text(run: dict[str, Any]) -> str:
    """One sentence on how the figures came about."""
    arguments = run["arguments"]
    protocol, folds = arguments["protocol"], len(run["splits"]) // arguments["repeats"]
    if protocol == "random":
        share = 100 * arguments["test_size"]
        return (
            f"one random {100 - share:.0f}/{share:.0f} split of balanced sequences; the test part was the validation "
            "set as well (the paper's protocol)"
        )
    if protocol in SUBJECT_INDEPENDENT:
        return (
            f"{folds} folds without common subjects, predictions pooled; validation on training subjects, "
            "each test part touched once"
        )
    return f"{folds} random folds of balanced sequences, predictions pooled; subjects are on both sides"


def leakage_line(report: dict[str, Any]) -> str:
    """Say how many test sequences have their subject in training."""
    share = report["leakage"]
    verdict = "accuracy on new people is not measured" if share > 0 else "no subject is on both sides"
    return f"{100 * share:.0f} % of the test sequences have their subject in the training part: {verdict}"


def interval_text(entry: dict[str, float]) -> str:
    """Write a value and its interval as "0.880 [0.750, 0.950]"."""
    return f"{entry['value']:.3f} [{entry['low']:.3f}, {entry['high']:.3f}]"


def report_text(report: dict[str, Any]) -> str:
    """Return the report as text for a terminal."""
    evaluation = report["evaluation"]
    lines = [report["title"], f"protocol {report['protocol']}: {report['protocol_text']}", leakage_line(report), ""]
    lines.append(f"{evaluation['n']:g} test sequences of {evaluation['subjects']} subjects; 95 % intervals:")
    lines += [f"  {text:<20} {interval_text(evaluation[key])}" for key, text in _NAMES.items()]
    repeats = evaluation["repeats"]
    if repeats["count"] > 1:
        lines.append(f"over {repeats['count']} repeats (mean, standard deviation):")
        lines += [f"  {text:<20} {repeats[key]['mean']:.3f}, {repeats[key]['sd']:.3f}" for key, text in _NAMES.items()]
    lines += ["", f"  {'emotion':<12}{'precision':<24}{'recall':<24}{'f1':<24}support"]
    for code, row in evaluation["per_class"].items():
        cells = "".join(f"{interval_text(row[key]):<24}" for key in ("precision", "recall", "f1"))
        lines.append(f"  {report['classes'][code]:<12}{cells}{row['support']:g}")
    if report["baselines"]:
        lines += ["", f"  {'model':<22}{'accuracy':<24}{'balanced accuracy':<24}macro F1"]
        for entry in [{"name": "ConvLSTM2D", **evaluation}, *report["baselines"]]:
            lines.append(f"  {entry['name']:<22}" + "".join(f"{interval_text(entry[key]):<24}" for key in _NAMES))
    if "paper" in report:
        lines += ["", *_paper_lines(report)]
    lines += ["", *report["notes"]]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _paper_lines(report: dict[str, Any]) -> list[str]:
    """The paper's table beside this run's, and why they cannot be compared."""
    paper, evaluation = report["paper"], report["evaluation"]
    lines = [
        f"the paper ({paper['figure']}): accuracy {paper['accuracy']:.2f} on {paper['n']} test sequences; "
        f"this run {evaluation['accuracy']['value']:.2f} on {evaluation['n']:g}",
        f"  {'emotion':<12}{'precision':<16}{'recall':<16}{'f1':<16}support (paper / this run)",
    ]
    for code, (precision, recall, f1, support) in paper["per_class"].items():
        row = evaluation["per_class"][code]
        pairs = ((precision, row["precision"]), (recall, row["recall"]), (f1, row["f1"]))
        cells = "".join(f"{theirs:.2f} / {ours['value']:.2f}".ljust(16) for theirs, ours in pairs)
        lines.append(f"  {report['classes'][code]:<12}{cells}{support} / {row['support']:g}")
    return [*lines, "not comparable:", *[f"  - {warning}" for warning in paper["warnings"]]]


def _write_classification(run: Run) -> None:
    """Scikit-learn's classification report, as the paper prints it."""
    from sklearn.metrics import classification_report

    values: dict[str, Any] = {
        "y_true": run.predictions["true"],
        "y_pred": run.predictions["predicted"],
        "labels": list(run.classes),
        "target_names": [f"{code} {EMOTIONS[code]}" for code in run.classes],
        "zero_division": 0,
    }
    write_text(run.path / files.CLASSIFICATION_TEXT, classification_report(**values))
    write_json(run.path / files.CLASSIFICATION, classification_report(**values, output_dict=True))
