"""Write BENCHMARKS.md and its chart from the JSON that pytest-benchmark left.

python -m benchmarks.report bench.json [BENCHMARKS.md]
"""

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.backends import section as backends_section
from benchmarks.baselines import FLOW_FLOOR
from benchmarks.bulk import WITH_FLOW
from benchmarks.dispatch import section as dispatch_section
from benchmarks.feeding import section as feeding_section
from benchmarks.folds import section as folds_section
from benchmarks.gpu import section as gpu_section
from benchmarks.machine import machine_line, versions
from fastck.bench import FLOOR, LOOPS, OPENCV, OWN

FLOORS = (FLOOR, FLOW_FLOOR)
COLOURS = {OWN: "#d1495b", FLOOR: "#b0b0b0"}
GPU = Path(__file__).with_name("gpu.json")
TRAINING = Path(__file__).with_name("training.json")  # hours of training, kept: see benchmarks.training
# What limits the kernels, instruction by instruction.
BOUNDS = Path(__file__).with_name("bounds.md")
# The targets beside what was measured: a page of the documentation, for those who work on the speed.
SPEED = Path("docs/explanation/speed.md")


@dataclass(frozen=True)
class Row:
    """One method's time."""

    kind: str
    operation: str
    side: int
    method: str
    seconds: float  # for one result: a frame, a batch, a step
    unit: str
    note: str


def read_rows(document: dict[str, Any]) -> list[Row]:
    """Take the best time of each benchmark, divided by the results it made."""
    rows = []
    for entry in document["benchmarks"]:
        info = entry["extra_info"]
        rows += bulk_rows(info.get("bulk", {}))
        if "kind" not in info:
            continue
        seconds = info.get("measured", entry["stats"]["min"]) / info["results"]
        rows.append(
            Row(
                kind=info["kind"],
                operation=info["operation"],
                side=info.get("side", 0),
                method=info["method"],
                seconds=seconds,
                unit=info.get("unit", "frame"),
                note=info.get("note", ""),
            )
        )
    return rows


def bulk_rows(bulk: dict[str, float]) -> list[Row]:
    """Take the rows of the bulk run apart: one per way, seconds per frame."""
    ways = {name: value for name, value in bulk.items() if name not in ("frames", "sequences")}
    if not ways:
        return []
    frames, sequences = bulk["frames"], bulk["sequences"]
    stage = f"bulk: {sequences:,.0f} rendered sequences, {frames:,.0f} frames, 2 jobs"
    notes = {
        "paper's script": "one process, as printed: its loops know no jobs",
        "stable preset": f"{frames * ways['stable preset']:.0f} s in all, the best of four",
        "paper preset": f"{frames * ways['paper preset']:.0f} s in all; projections checked against the script's",
    }
    for name, seconds in ways.items():
        if name.startswith("stable preset, ") and name.endswith(("files", "videos")):
            notes[name] = f"{1 / seconds:,.0f} frames a second, of some of the sequences; the best of four"
        if name.startswith("processor: "):
            notes[name] = "user and system time of all threads"
    return [
        Row("stage", stage, 0, name, seconds, "frame", notes.get(name, "the best of four"))
        for name, seconds in ways.items()
    ]


def bulk_stage(rows: list[Row]) -> str:
    """Return the stage of the bulk run; empty where it was not measured."""
    return next((row.operation for row in rows if row.operation.startswith("bulk: ")), "")


def unique(values: Iterable[Any]) -> list[Any]:
    """Values in order of first appearance."""
    return list(dict.fromkeys(values))


def duration(seconds: float) -> str:
    """Three digits and a unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def ratio(value: float) -> str:
    """How many times fastck's time."""
    return f"{value:,.0f}x" if value >= 100 else f"{value:.2g}x" if value < 10 else f"{value:.0f}x"


def table_row(cells: Iterable[str]) -> str:
    """One line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def operation_table(rows: list[Row]) -> list[str]:
    """One operation: methods down, sizes across; where another is faster than fastck, the cell says so."""
    sides = sorted({row.side for row in rows})
    times = {(row.method, row.side): row.seconds for row in rows}
    lines = ["| | " + " | ".join(f"{side}x{side}" for side in sides) + " |", "|---|" + "---:|" * len(sides)]
    methods = sorted(
        unique(row.method for row in rows), key=lambda name: times.get((name, 267), times.get((name, sides[-1]), 0))
    )
    for name in methods:
        cells = []
        for side in sides:
            if (name, side) not in times:
                cells.append("")
                continue
            against = times[name, side] / times[OWN, side]
            mark = " **faster**" if against < 1 and name not in FLOORS else ""
            cells.append(duration(times[name, side]) + ("" if name == OWN else f" ({ratio(against)}{mark})"))
        label = f"**{name}**" if name == OWN else f"_{name}_" if name in FLOORS else name
        lines.append(table_row([label, *cells]))
    return lines


def stage_table(rows: list[Row]) -> list[str]:
    """One stage: time per unit, against the slowest."""
    slowest = max(row.seconds for row in rows)
    lines = [f"| | time per {rows[0].unit} | times as fast as the slowest | |", "|---|---:|---:|---|"]
    for row in sorted(rows, key=lambda row: row.seconds):
        lines.append(table_row([row.method, duration(row.seconds), ratio(slowest / row.seconds), row.note]))
    return lines


def gains(rows: list[Row]) -> list[str]:
    """Return what a user gains: fastck beside what it takes the place of; empty where bulk runs were not measured."""
    at = {(row.operation, row.method): row.seconds for row in rows if row.side == 267 or row.kind == "stage"}
    bulk = bulk_stage(rows)
    pairs = [
        (bulk, "stable preset", "paper's script", "a whole data set, preset `stable`"),
        (bulk, "paper preset", "paper's script", "the same, preset `paper`: bit for bit the script's"),
        ("all faces of 640x480 pixels, upsample 1", "fastck, 1 thread(s)", "dlib, 1 thread(s)", "all faces of a frame"),
        ("decode a gray PNG", OWN, "OpenCV", "reading a gray PNG"),
        ("motion_projections", OWN, "OpenCV", "motion projections of a step"),
        ("motion_projections", OWN, LOOPS, "the same"),
    ]
    lines = ["| | fastck | instead of | times as fast |", "|---|---:|---:|---:|"]
    for operation, method, baseline, text in pairs:
        if (operation, method) in at and (operation, baseline) in at:
            ours, theirs = at[operation, method], at[operation, baseline]
            where = f"{text} ({operation[6:]})" if operation == bulk and method == "stable preset" else text
            lines.append(
                table_row(
                    [f"{where}, per frame", duration(ours), f"{baseline}: {duration(theirs)}", ratio(theirs / ours)]
                )
            )
    return lines if len(lines) > 2 else []


def speed_page(document: dict[str, Any]) -> str:
    """Return the page of the project's own targets, the bounds and what was tried."""
    lines = [
        "# What bounds the speed",
        "",
        "Written by `make bench`. The project's own targets beside what was measured, at 267x267 pixels and in one",
        f"thread, and why some are out of reach. Machine: {machine_line(document)}.",
        "",
        *essentials(read_rows(document)),
        "",
    ]
    return "\n".join([*lines, BOUNDS.read_text()])


def essentials(rows: list[Row]) -> list[str]:
    """The project's targets and what was measured, at 267x267 pixels and in one thread."""
    at = {(row.operation, row.method): row.seconds for row in rows if row.side == 267 or row.kind == "stage"}

    def over(operation: str, name: str) -> float:
        return at[operation, name] / at[operation, OWN]

    pools = "motion_pools x3"
    others = [seconds for (operation, name), seconds in at.items() if operation == pools and name not in (OWN, FLOOR)]
    threads = "threads: motion_projections 267"
    claims = [
        ("projections: times as fast as OpenCV's chain", 7, over("motion_projections", OPENCV), True),
        ("projections: times as fast as the paper's loops", 4000, over("motion_projections", LOOPS), True),
        ("projections: copies of the frames", 1.2, 1 / over("motion_projections", FLOOR), False),
        (
            "packed masks: times as fast as OpenCV's masks",
            7,
            at["motion_masks", OPENCV] / at["motion_masks packed", OWN],
            True,
        ),
        ("pooled to 34: times as fast as the paper's loops", 5000, over(pools, LOOPS), True),
        ("pooled to 34: times as fast as the next best", 1, min(others) / at[pools, OWN], True),
        (
            "absolute difference, level 15: times of the paper's",
            1.5,
            at["motion_projections absolute", OWN] / at["motion_projections", OWN],
            False,
        ),
    ]
    if (threads, "2 thread(s)") in at:
        claims.append(
            ("two threads: throughput of one", 1.8, at[threads, "1 thread(s)"] / at[threads, "2 thread(s)"], True)
        )
    if ("optical_flow", FLOW_FLOOR) in at:
        alone, after = at["optical_flow", OWN] / at["optical_flow", FLOW_FLOOR], "optical_flow after DIS"
        claims += [
            ("optical flow: times of OpenCV's DIS alone", 0.4, alone, False),
            ("optical flow after DIS: times as fast as NumPy", 10, over(after, "NumPy"), True),
        ]
    bulk = bulk_stage(rows)
    if (bulk, WITH_FLOW) in at:
        share = at[bulk, WITH_FLOW] / at[bulk, "stable preset"]
        claims.append(("a whole data set with flow: times of projections alone", 1.35, share, False))
    feed = "feed: batches of 32 sequences"
    if (feed, "PyTorch: fastck") in at:
        for workers in ("", ", 4 workers"):
            plain = at[feed, f"PyTorch: np.load per item{workers}"] / at[feed, f"PyTorch: fastck{workers}"]
            claims.append((f"PyTorch{workers}: times as fast as np.load per item", 5, plain, True))
    lines = ["| | target | measured | |", "|---|---:|---:|---|"]
    for name, target, measured, least in claims:
        held = measured >= target if least else measured <= target
        sign = "at least" if least else "at most"
        lines.append(table_row([name, f"{sign} {target:,}", f"{measured:,.3g}", "held" if held else "**missed**"]))
    return lines


def chart(rows: list[Row], path: Path) -> None:
    """Draw the fused operations at 267x267 pixels, one bar for each method, on a log scale."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    shown = [row for row in rows if row.side == 267 and row.operation.startswith("motion_")]
    operations = unique(row.operation for row in shown)
    figure, axes = plt.subplots(len(operations), 1, figsize=(8, 1.5 * len(operations)), sharex=True, squeeze=False)
    for axis, operation in zip(axes[:, 0], operations, strict=True):
        bars = sorted((row for row in shown if row.operation == operation), key=lambda row: -row.seconds)
        colours = [COLOURS.get(row.method, "#30638e") for row in bars]
        drawn = axis.barh([row.method for row in bars], [row.seconds * 1e6 for row in bars], color=colours)
        axis.bar_label(drawn, [duration(row.seconds) for row in bars], padding=3, fontsize=7)
        axis.set_xscale("log")
        axis.set_title(operation, fontsize=9, loc="left")
        axis.tick_params(labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
        axis.margins(x=0.1)
    axes[-1, 0].set_xlabel(
        "microseconds per frame of 267x267 pixels, one thread (log scale; shorter is better)", fontsize=8
    )
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)


def training_tables(document: dict[str, Any]) -> list[str]:
    """What `benchmarks.training` left: memory against plan, input, loss; accuracy by protocol and preset."""
    trials = document["trials"]
    lines = [
        "## Training",
        "",
        f"Written by `python -m benchmarks.training` on {document['subjects']} rendered subjects (seed 0). Accuracy on",
        "rendered faces says nothing about people; the table compares presets and protocols.",
        "",
        f"Machine: {document['machine']}.",
        "",
        "### Memory, input and loss",
        "",
        "Whole processes. Input is gathered beside the network's work: waiting takes at most the share of time given.",
        "Other trials ran at the same time, so the times of steps are rough.",
        "",
        *memory_table([trial for trial in trials if trial["kind"] == "memory"]),
        "",
    ]
    tested = [trial for trial in trials if trial["kind"] == "accuracy"]
    if tested:
        network = tested[0]["arguments"]
        lines += [
            "### Accuracy by protocol and preset",
            "",
            f"A smaller network than the paper's ({network['filters']} filters, {network['epochs']} epochs): all folds",
            "then fit into hours on two cores. 95 % intervals: Wilson's for accuracy, bootstrap over subjects for the",
            "rest. Leakage is the share of tested sequences whose subject is in the training part.",
            "",
            *accuracy_table(tested),
            "",
        ]
    features = [trial for trial in trials if trial["kind"] == "features"]
    if features:
        lines += [
            "### Features and models on people never seen",
            "",
            "subject-10fold, seven emotions, all sequences. Easy: `fastck render --subjects 60 --seed 11`; hard:",
            "`--hard --seed 3`. The linear model has its defaults, the networks the filters and epochs given; all are",
            "augmented. The baseline is logistic regression without augmentation; bold where it is better. UAR is the",
            "mean recall of the emotions. Many other processes ran at the same time, so that",
            "processor time (all folds, baselines, report) says more than time.",
            "",
            f"Machine: {document['machine_of_features']}.",
            "",
            *feature_table(features),
            "",
        ]
    if "feature_times" in document:
        lines += ["Processor time of each feature, one thread, crops of 267x267 pixels, best of ten calls:", ""]
        lines += ["| feature | per frame |", "|---|---:|"]
        lines += [table_row([entry["feature"], duration(entry["seconds"])]) for entry in document["feature_times"]]
        lines += [""]
    if "same" in document:
        outcome = "byte for byte the same" if document["same"]["equal"] else "**different**"
        name = document["same"]["name"]
        lines += [f"The same seed twice ({name}): report, predictions and history are {outcome}.", ""]
    return lines


def memory_table(trials: list[dict[str, Any]]) -> list[str]:
    """Planned against measured peak memory, share of time for input, and the loss."""
    titles = "| parameters | batch (at once) | peak planned | measured | ratio | input | steps | per step | loss |"
    lines = [f"| {titles}", "|---|" + 9 * "---:|"]
    for trial in trials:
        plan, arguments = trial["plan"], trial["arguments"]
        first, last = trial["loss"]
        cells = [
            f"phase {arguments['phase']}, {arguments['frame']}",
            f"{plan['parameters']:,}",
            f"{arguments['batch_size']} ({plan['micro_batch']}{', recomputed' if plan['remat'] else ''})",
            f"{plan['total'] / 2**30:.2f} GiB",
            f"{trial['peak'] / 2**30:.2f} GiB",
            f"{plan['total'] / trial['peak']:.2f}",
            f"{100 * trial['input_share']:.2f} %",
            str(trial["steps"]),
            duration(trial["seconds"] / trial["steps"]),
            f"{first:.3f} to {last:.3f}",
        ]
        lines.append(table_row(cells))
    return lines


def accuracy_table(trials: list[dict[str, Any]]) -> list[str]:
    """Scores with intervals, baselines beside them."""
    titles = "tested (subjects) | leakage | accuracy | balanced accuracy | macro F1 | logistic regression | majority |"
    lines = [f"| phase | protocol | preset | {titles}", "|---|---|---|" + 7 * "---:|"]
    for trial in trials:
        arguments, others = trial["arguments"], trial["baselines"]
        cells = [
            str(arguments["phase"]),
            arguments["protocol"],
            trial["preset"],
            f"{trial['n']:g} ({trial['subjects']})",
            f"{100 * trial['leakage']:.0f} %",
            *(f"{value['value']:.2f} [{value['low']:.2f}, {value['high']:.2f}]" for value in trial["scores"].values()),
            f"{others['logistic regression']:.2f}",
            f"{others['majority class']:.2f}",
        ]
        lines.append(table_row(cells))
    return lines


def feature_table(trials: list[dict[str, Any]]) -> list[str]:
    """Features, presets and models: scores, calibration and time; where the baseline is better, it is bold."""
    titles = "accuracy | UAR | calibration error | baseline | epochs (filters) | time | processor time |"
    lines = [f"| people | feature | preset | model | {titles}", "|---|---|---|---|" + 7 * "---:|"]
    for trial in sorted(
        trials, key=lambda trial: (trial["preset"].split("-")[0], -trial["scores"]["accuracy"]["value"])
    ):
        arguments, other = trial["arguments"], trial["intervals"]["logistic regression"]
        people, preset = trial["preset"].split("-")
        network = arguments["model"] != "linear"
        scores = [trial["scores"][key] for key in ("accuracy", "balanced_accuracy")]
        baseline = interval(other)
        cells = [
            people,
            arguments["frame"],
            preset,
            arguments["model"],
            *map(interval, scores),
            f"{trial['calibration']:.3f}",
            f"**{baseline}**" if other["value"] > scores[0]["value"] else baseline,
            f"{arguments['epochs']} ({arguments['filters']})" if network else "",
            f"{trial['seconds']:.0f} s",
            "" if trial["processor"] is None else f"{trial['processor']:.0f} s",
        ]
        lines.append(table_row(cells))
    return lines


def interval(value: dict[str, float]) -> str:
    """Write a share and its 95 % interval."""
    return f"{value['value']:.3f} [{value['low']:.3f}, {value['high']:.3f}]"


def report(document: dict[str, Any], picture: str, training: dict[str, Any] | None = None) -> str:
    """Whole text of BENCHMARKS.md."""
    rows = read_rows(document)
    operations = [row for row in rows if row.kind == "operation"]
    stages = [row for row in rows if row.kind == "stage"]
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench` (`benchmarks/report.py`); do not edit.",
        "",
        f"Machine: {machine_line(document)}.",
        f"Versions: {versions()}.",
        "",
        *gains(rows),
        "",
        f"![Fused operations, log scale]({picture})",
        "",
        "Times are the best of many calls, per frame, in one thread, with buffers made beforehand and results checked",
        "to be equal before timing. In brackets: how many times fastck's time. `memory copy` copies the frames: the",
        "floor. In the chains of the paper's loops, difference, threshold and erosion are NumPy's and OpenCV's, as in",
        'the paper. Cases where fastck is slower are marked. Compile time is apart, under "start of a process".',
        f"Targets and bounds are on a page of their own: {SPEED}.",
        "",
    ]
    if operations:
        lines += ["## Operations", ""]
    for operation in unique(row.operation for row in operations):
        lines += [f"### {operation}", ""]
        lines += [*operation_table([row for row in operations if row.operation == operation]), ""]
    if stages:
        lines += ["## Stages", ""]
    for stage in unique(row.operation for row in stages):
        lines += [f"### {stage}", "", *stage_table([row for row in stages if row.operation == stage]), ""]
    if training:
        lines += training_tables(training)
    lines += feeding_section()
    lines += folds_section()
    lines += dispatch_section()
    lines += backends_section()
    lines += gpu_section(GPU)
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Read the JSON, write the report and the chart beside it."""
    if not 1 <= len(arguments) <= 2:
        print("usage: python -m benchmarks.report BENCH.json [BENCHMARKS.md]", file=sys.stderr)
        return 2
    document = json.loads(Path(arguments[0]).read_text())
    target = Path(arguments[1] if len(arguments) > 1 else "BENCHMARKS.md")
    picture = target.parent / "docs" / "images" / "benchmarks.png"
    picture.parent.mkdir(parents=True, exist_ok=True)
    chart(read_rows(document), picture)
    training = json.loads(TRAINING.read_text()) if TRAINING.exists() else None
    target.write_text(report(document, picture.relative_to(target.parent).as_posix(), training))
    if any(row.kind == "operation" for row in read_rows(document)):
        (target.parent / SPEED).parent.mkdir(parents=True, exist_ok=True)
        (target.parent / SPEED).write_text(speed_page(document))
    print(f"wrote {target} and {picture}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
