"""Which of several runs is better: their scores on the same sequences, and differences over people."""

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
import pandas as pd

from fastck.messages import one_line, some_names
from fastck.pages import data_url, render_page
from fastck.training.report.evaluation import CONFIDENCE, RESAMPLES, metrics
from fastck.training.report.plots import new_figure
from fastck.training.report.wording import METRICS, interval_text
from fastck.training.run import Run

FEWEST = 6  # people: of fewer, even the same sign in all of them has a probability above 5 % by chance


def compare_runs(runs: Sequence[Run], *, seed: int = 0) -> dict[str, Any]:
    """Compare each run with the first one on the sequences that all of them tested.

    People are resampled, the same ones for all runs: how easy a person is cancels out. The percentiles are those of
    Hesterberg (2015), "What teachers should know about the bootstrap", section 3.3, which are wide enough for few
    people, too.

    Parameters
    ----------
    runs : sequence of Run
        Two or more, of the same classes.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    comparison : dict
        Plain JSON values: "sequences", "subjects"; "runs", each with "name" and the scores of METRICS, each {"value",
        "low", "high"}; all but the first have "differences" of the same form and a "verdict" on the accuracy:
        "no difference", "better" or "worse"; "notes".

    Raises
    ------
    ValueError
        If the runs cannot be compared.
    """
    names = _names(runs)
    if len(runs) < 2:
        raise ValueError(f"two runs or more can be compared, got {len(runs)}")
    classes = runs[0].classes
    for name, run in zip(names, runs, strict=True):
        if set(run.classes) != set(classes):
            raise ValueError(f"{name} tells {', '.join(run.classes)} apart, {names[0]} {', '.join(classes)}")
    common = set.intersection(*(set(run.predictions["sequence"]) for run in runs))
    if not common:
        raise ValueError(f"{', '.join(names)} tested no sequence in common")
    tables = [run.predictions[run.predictions["sequence"].isin(common)] for run in runs]
    known = tables[0].drop_duplicates("sequence").set_index("sequence")[["subject", "true"]]
    for name, table in zip(names, tables, strict=True):
        other = table[["subject", "true"]].to_numpy() != known.loc[table["sequence"]].to_numpy()
        if other.any():
            first = table["sequence"].iloc[int(np.flatnonzero(other.any(axis=1))[0])]
            raise ValueError(f"{name} has another subject or label for {first} than {names[0]}")
    subjects = sorted(known["subject"].unique())
    counts = np.stack([_counts(table, subjects, classes) for table in tables])
    entries = _entries(counts, seed=seed)
    for name, entry in zip(names, entries, strict=True):
        entry["name"] = name
    return {
        "sequences": len(common),
        "subjects": len(subjects),
        "runs": entries,
        "notes": _notes(runs, names, common, len(subjects)),
    }


def _names(runs: Sequence[Run]) -> list[str]:
    """Return the runs' folder names, or their paths where two are alike."""
    names = [run.path.name for run in runs]
    return names if len(set(names)) == len(names) else [str(run.path) for run in runs]


def _counts(table: pd.DataFrame, subjects: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """Confusion matrix of each subject, the mean of the repeats: (S, C, C)."""
    places = [pd.Index(subjects).get_indexer(pd.Index(table["subject"]))]
    places += [pd.Index(classes).get_indexer(pd.Index(table[column])) for column in ("true", "predicted")]
    counts = np.zeros((len(subjects), len(classes), len(classes)))
    np.add.at(counts, tuple(places), 1)
    return counts / table["repeat"].nunique()


def _entries(counts: np.ndarray, *, seed: int) -> list[dict[str, Any]]:
    """Return each run's scores and its differences from the first, of (R, S, C, C) confusion matrices."""
    runs, subjects, classes = counts.shape[:3]
    draws = np.random.default_rng(seed).multinomial(subjects, np.full(subjects, 1 / subjects), size=RESAMPLES)
    resampled = (draws @ counts.reshape(runs, subjects, -1)).reshape(runs, RESAMPLES, classes, classes)
    values, drawn = metrics(counts.sum(axis=1)), metrics(resampled)
    ends = percentiles(subjects)
    entries: list[dict[str, Any]] = []
    for run in range(runs):
        entry: dict[str, Any] = {key: _interval(values[key][run], drawn[key][run], ends) for key in METRICS}
        if run:
            entry["differences"] = {
                key: _interval(values[key][run] - values[key][0], drawn[key][run] - drawn[key][0], ends)
                for key in METRICS
            }
            entry["verdict"] = _verdict(entry["differences"]["accuracy"], subjects)
        entries.append(entry)
    return entries


def percentiles(people: int) -> tuple[float, float]:
    """Return which percentiles of the resamples end an interval, 0 to 1: farther out for few people."""
    from scipy.stats import norm, t

    if people < 2:
        return 0.0, 1.0
    widened = np.sqrt(people / (people - 1)) * t.ppf((1 + CONFIDENCE) / 2, people - 1)
    return float(norm.cdf(-widened)), float(norm.cdf(widened))


def _interval(value: float, drawn: np.ndarray, ends: tuple[float, float]) -> dict[str, float]:
    low, high = np.quantile(drawn, ends)
    return {"value": float(value), "low": float(low), "high": float(high)}


def _verdict(difference: dict[str, float], people: int) -> str:
    # A rounding error is no difference.
    if people < FEWEST or (difference["low"] <= 1e-9 and difference["high"] >= -1e-9):
        return "no difference"
    return "better" if difference["low"] > 0 else "worse"


def _notes(runs: Sequence[Run], names: Sequence[str], common: set[str], people: int) -> list[str]:
    notes = []
    for name, run in zip(names, runs, strict=True):
        alone = sorted(set(run.predictions["sequence"]) - common)
        if alone:
            notes.append(f"{name}: {len(alone)} sequences are left out, which others did not test: {some_names(alone)}")
    if people < FEWEST:
        notes.append(f"{people} people are too few to show a difference: {FEWEST} or more are needed")
    if len(runs) > 2:
        notes.append(f"each of the {len(runs) - 1} intervals holds by itself: among many, one in twenty misses zero")
    if any(run.record["leakage"] for run in runs if run.record.get("leakage") is not None):
        notes.append("some of the tested people were trained on: the scores say nothing about new people")
    return notes


def comparison_text(comparison: dict[str, Any]) -> str:
    """Return a comparison as text for a terminal."""
    rows = comparison_rows(comparison)
    widths = [max(len(one_line(row[column])) for row in rows) for column in range(len(rows[0]))]
    lines = [
        f"{comparison['sequences']} sequences of {comparison['subjects']} people, 95 % intervals over people",
        "",
        *("  ".join(one_line(cell).ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows),
        "",
        *comparison["notes"],
    ]
    return "\n".join(line.rstrip() for line in lines).rstrip() + "\n"


def comparison_rows(comparison: dict[str, Any]) -> list[list[str]]:
    """Return the table: a header, and a row for each run."""
    first = comparison["runs"][0]["name"]
    rows = [["run", *METRICS.values(), f"accuracy against {first}", ""]]
    for entry in comparison["runs"]:
        against = _signed(entry["differences"]["accuracy"]) if "differences" in entry else ""
        scores = [interval_text(entry[key]) for key in METRICS]
        rows.append([entry["name"], *scores, against, entry.get("verdict", "")])
    return rows


def _signed(entry: dict[str, float]) -> str:
    return f"{entry['value']:+.3f} [{entry['low']:+.3f}, {entry['high']:+.3f}]"


def comparison_page(comparison: dict[str, Any]) -> bytes:
    """Return a comparison as an HTML page that needs no other file."""
    header, *rows = comparison_rows(comparison)
    return render_page(
        "compare.html",
        title=f"{len(rows)} runs compared",
        about=f"{comparison['sequences']} sequences of {comparison['subjects']} people",
        header=header,
        rows=rows,
        picture=data_url(_picture(comparison), "png"),
        notes=comparison["notes"],
    )


def _picture(comparison: dict[str, Any]) -> bytes:
    """Draw the differences in accuracy from the first run as a PNG file's bytes."""
    first, *others = comparison["runs"]
    figure, axes = new_figure(7, 1.2 + 0.35 * len(others))
    for row, entry in enumerate(others):
        value = entry["differences"]["accuracy"]
        axes.plot([value["low"], value["high"]], [row, row], color="tab:blue")
        axes.plot(value["value"], row, "o", color="tab:blue")
    axes.axvline(0, color="gray", linewidth=1)
    # A dollar sign in a name is no formula.
    axes.set_yticks(range(len(others)), [entry["name"] for entry in others], parse_math=False)
    axes.set_ylim(len(others) - 0.5, -0.5)
    axes.set_xlabel(f"accuracy, difference from {first['name']}", parse_math=False)
    out = BytesIO()
    figure.savefig(out, dpi=120, format="png")
    return out.getvalue()
