"""What a run is worth, from its own files: report.json, report.txt, report.html, scikit-learn's report and pictures."""

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fastck.messages import one_line
from fastck.outputs import write_atomically
from fastck.training import files
from fastck.training.files import write_json, write_text
from fastck.training.models.calibration import calibration_error, with_temperature
from fastck.training.report.evaluation import evaluate
from fastck.training.report.page import html_page
from fastck.training.report.paper import PUBLISHED, warnings
from fastck.training.report.plots import plot_confusion, plot_curves
from fastck.training.report.wording import (
    METRICS,
    best_model,
    calibration_line,
    headline,
    interval_text,
    leakage_line,
    maximum_lines,
    network_name,
    stops_on_test,
    validation_name,
)
from fastck.training.run import Run, open_run
from fastck.training.settings.config import PHASES, SUBJECT_INDEPENDENT, probability_columns

logger = logging.getLogger(__name__)


def write_report(run_path: str | Path) -> dict[str, Any]:
    """Write a run's report from its run.json, history.csv, predictions.csv and baselines.csv.

    Writes report.json, report.txt, report.html (one file, charts inside), classification_report.txt and .json,
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
    write_atomically(run.path / files.REPORT_PAGE, html_page(report, run.history))
    _draw(run, report)
    return report


def _draw(run: Run, report: dict[str, Any]) -> None:
    """Draw the report's pictures, those that can be drawn."""
    label = validation_name(report)
    counts = np.array(report["evaluation"]["confusion"])
    names = [one_line(name) for name in run.classes]
    drawings: dict[str, Callable[[Path], None]] = {
        files.CONFUSION_PICTURE: lambda path: plot_confusion(counts, names, path),
        files.ACCURACY_PICTURE: lambda path: plot_curves(run.history, "accuracy", path, validation=label),
        files.LOSS_PICTURE: lambda path: plot_curves(run.history, "loss", path, validation=label),
    }
    for name, draw in drawings.items():
        try:
            draw(run.path / name)
        except Exception as error:  # whatever Matplotlib raises: the figures are worth more than their pictures
            logger.warning("%s could not be drawn: %s", run.path / name, one_line(error))


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
    evaluation["calibration"] = _calibration(predictions, classes, run["fits"])
    compared = []
    if baselines is not None:
        for name, rows in baselines.groupby("baseline", sort=False):
            values = evaluate(rows, classes=classes, seed=arguments["seed"])
            compared.append({"name": name, **{key: values[key] for key in METRICS}})
    datasets = []
    if len(run["stores"]) > 1:
        for name in (store["name"] for store in run["stores"]):
            rows = predictions[predictions["sequence"].str.startswith(f"{name}/")]
            if len(rows):
                values = evaluate(rows, classes=classes, seed=arguments["seed"])
                datasets.append(
                    {
                        "name": name,
                        "n": values["n"],
                        "subjects": values["subjects"],
                        **{key: values[key] for key in METRICS},
                    }
                )
    published = PUBLISHED.get(arguments["phase"])
    if published is not None and (set(published["per_class"]) != set(classes) or arguments["merge"]):
        published = None
    fits = run["fits"]
    report: dict[str, Any] = {
        "title": _title(run),
        "protocol": _protocol(run),
        "protocol_text": _protocol_text(run),
        "phase": arguments["phase"],
        "feature": run["feature"],
        "classes": list(classes),
        "evaluation": evaluation,
        "leakage": run["leakage"],
        "baselines": compared,
        "datasets": datasets,
        "notes": run["notes"],
        "training": {
            "fits": len(fits),
            "epochs": [fit["epochs"] for fit in fits],
            "optimizer_steps": sum(fit["optimizer_steps"] for fit in fits),
        },
        "arguments": arguments,
        "stores": run["stores"],
        "versions": run["versions"],
    }
    report["best"] = best_model(report)
    if published is not None:
        report["paper"] = {
            **published,
            "per_class": {name: list(row) for name, row in published["per_class"].items()},
            "warnings": warnings(run, evaluation["n"]),
        }
    return report


def _title(run: dict[str, Any]) -> str:
    """Return the phase in words, with the classes where they are not the phase's."""
    phase = PHASES[run["arguments"]["phase"]]
    if tuple(run["classes"]) == phase.classes:
        return f"Phase {phase.number}: {phase.text}"
    return f"Phase {phase.number} ({run['feature']}): {one_line(', '.join(run['classes']))}"


def _calibration(predictions: pd.DataFrame, classes: list[str], fits: list[dict[str, Any]]) -> dict[str, Any]:
    """The expected calibration error with and without the temperatures, which are None where none was fitted."""
    probabilities = predictions[probability_columns(classes)].to_numpy()
    true = np.array([classes.index(name) for name in predictions["true"]])
    fitted = {(fit["repeat"], fit["fold"]): fit["temperature"] for fit in fits if fit["temperature"] is not None}
    temperatures = [fitted.get(key, 1.0) for key in zip(predictions["repeat"], predictions["fold"], strict=True)]
    # softmax(logits / T) with the temperature 1 / T is softmax(logits) again.
    before = with_temperature(probabilities, 1 / np.array(temperatures)[:, None])
    return {
        "error": calibration_error(probabilities, true),
        "uncalibrated_error": calibration_error(before, true),
        "temperatures": list(fitted.values()) or None,
    }


def _protocol(run: dict[str, Any]) -> str:
    """Return the protocol's name; "file" for folds that were given."""
    return "file" if "folds_file" in run else str(run["arguments"]["protocol"])


def _protocol_text(run: dict[str, Any]) -> str:
    """One sentence on how the figures came about."""
    arguments = run["arguments"]
    protocol, folds = _protocol(run), len(run["splits"]) // arguments["repeats"]
    if protocol == "file":
        file = run["folds_file"]
        return f"{folds} folds of {one_line(file['name'])} (SHA-256 {file['sha256']}), predictions pooled"
    if protocol == "random":
        share, count = 100 * arguments["test_size"], len(run["splits"])
        splits = "one random" if count == 1 else f"{count} random"
        text = (
            f"{splits} {100 - share:.0f}/{share:.0f} split{'s' if count > 1 else ''} of balanced sequences; the test "
            "part was the validation set as well (the paper's protocol)"
        )
        if stops_on_test(run):
            text += "; early stopping chose the epoch on the test part: the accuracy flatters"
        return text
    if protocol == "table":
        return f"{folds} folds of the table's column fold, predictions pooled"
    if run["leakage"] > 0 and protocol in SUBJECT_INDEPENDENT:
        return f"{folds} folds by {protocol}, predictions pooled; the same people are in several stores"
    if protocol == "leave-one-dataset-out":
        return f"each of {folds} data sets tested on a network that never saw it, predictions pooled"
    if protocol in SUBJECT_INDEPENDENT:
        return (
            f"{folds} folds, subject-independent, predictions pooled; validation on training subjects, each test part "
            "touched once"
        )
    return f"{folds} random folds of balanced sequences, predictions pooled; with subject leakage"


def report_text(report: dict[str, Any]) -> str:
    """Return the report as text for a terminal."""
    evaluation = report["evaluation"]
    lines = [
        report["title"],
        f"protocol {report['protocol']}: {report['protocol_text']}",
        leakage_line(report),
        headline(report),
        *maximum_lines(report),
        "",
    ]
    lines.append(
        f"{network_name(report)}: {evaluation['n']:g} test sequences of {evaluation['subjects']} subjects, "
        "95 % intervals:"
    )
    lines += [f"  {text:<24} {interval_text(evaluation[key])}" for key, text in METRICS.items()]
    repeats = evaluation["repeats"]
    if repeats["count"] > 1:
        lines.append(f"over {repeats['count']} repeats (mean, standard deviation):")
        lines += [f"  {text:<24} {repeats[key]['mean']:.3f}, {repeats[key]['sd']:.3f}" for key, text in METRICS.items()]
    # Names of labels are as long as somebody made them.
    width = max(12, *(len(name) + 2 for name in evaluation["per_class"]))
    lines += ["", f"  {'class':<{width}}{'precision':<19}{'recall':<19}{'f1':<19}support"]
    for name, row in evaluation["per_class"].items():
        cells = _cells(row, ("precision", "recall", "f1"))
        lines.append(f"  {one_line(name):<{width}}{cells}{row['support']:g}")
    lines += ["", calibration_line(report)]
    if report["baselines"]:
        lines += ["", f"  {'model':<21}{_TITLES}"]
        for entry in [{"name": network_name(report), **evaluation}, *report["baselines"]]:
            lines.append(f"  {entry['name']:<21}{_cells(entry, METRICS)}")
    if report["datasets"]:
        width = max(21, *(len(entry["name"]) + 2 for entry in report["datasets"]))
        lines += ["", f"  {'data set':<{width}}{_TITLES}"]
        for entry in report["datasets"]:
            lines.append(f"  {one_line(entry['name']):<{width}}{_cells(entry, METRICS)}")
    if "paper" in report:
        lines += ["", *_paper_lines(report)]
    lines += ["", *report["notes"]]
    return "\n".join(line.rstrip() for line in lines) + "\n"


# Of the columns of METRICS; with names of up to 19 letters a line has at most 80.
_TITLES = f"{'accuracy':<19}{'UAR':<19}UF1"


def _cells(row: dict[str, Any], keys: Iterable[str]) -> str:
    """Write values and their intervals in columns, as "0.88 [0.75, 0.95]"."""
    texts = (f"{row[key]['value']:.2f} [{row[key]['low']:.2f}, {row[key]['high']:.2f}]" for key in keys)
    return "".join(f"{text:<19}" for text in texts)


def _paper_lines(report: dict[str, Any]) -> list[str]:
    """The paper's table beside this run's, and why they cannot be compared."""
    paper, evaluation = report["paper"], report["evaluation"]
    lines = [
        f"the paper ({paper['figure']}): accuracy {paper['accuracy']:.2f} on {paper['n']} test sequences; "
        f"this run {evaluation['accuracy']['value']:.2f} on {evaluation['n']:g}",
        f"  {'class':<12}{'precision':<16}{'recall':<16}{'f1':<16}support (paper / this run)",
    ]
    for name, (precision, recall, f1, support) in paper["per_class"].items():
        row = evaluation["per_class"][name]
        pairs = ((precision, row["precision"]), (recall, row["recall"]), (f1, row["f1"]))
        cells = "".join(f"{theirs:.2f} / {ours['value']:.2f}".ljust(16) for theirs, ours in pairs)
        lines.append(f"  {name:<12}{cells}{support} / {row['support']:g}")
    return [*lines, "not comparable:", *[f"  - {warning}" for warning in paper["warnings"]]]


def _write_classification(run: Run) -> None:
    """Scikit-learn's classification report, as the paper prints it."""
    from sklearn.metrics import classification_report

    values: dict[str, Any] = {
        "y_true": run.predictions["true"],
        "y_pred": run.predictions["predicted"],
        "labels": list(run.classes),
        "zero_division": 0,
    }
    write_text(run.path / files.CLASSIFICATION_TEXT, classification_report(**values))
    write_json(run.path / files.CLASSIFICATION, classification_report(**values, output_dict=True))
