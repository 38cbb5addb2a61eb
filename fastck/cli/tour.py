"""The demo: rendered people, both presets, the paper's feature beside optical flow, and what the numbers mean."""

import logging
import shlex
import textwrap
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from fastck.cli.tour_page import answer_smiles, find_best, measure_speed, speed_line, write_page
from fastck.config import Preset
from fastck.messages import Progress
from fastck.pipeline.dispatch import preprocess
from fastck.render import render_dataset
from fastck.store.reader import open_store
from fastck.training.models.startup import chosen_backend
from fastck.training.settings.config import PHASES, TrainConfig

logger = logging.getLogger(__name__)

PRESET_NAMES: tuple[Preset, ...] = ("paper", "stable")
# The paper's projections, and what they are compared with: a phase's settings beside those that all have.
DEMO_PHASES: dict[int, dict[str, Any]] = {3: {"filters": 16}, 5: {"model": "temporal", "augment": True}}
# The paper has 100 epochs and 64 filters; four runs of two folds fit into the minutes that a demo may take.
EPOCHS = 12
# A dozen people give about 50 training sequences: the paper's 64 would be one step an epoch.
BATCH_SIZE = 8
FOLDS = 2
FEATURES = {3: "the paper's projections", 5: "optical flow from the onset"}
SMILES = "smiles"
DISCLAIMER = (
    "The faces are rendered, not photographed: everybody shows an emotion by the same recipe, which is far easier than "
    "life. Accuracy on them says nothing about accuracy on CK+ or on people."
)
CAVEATS = (
    f"Accuracies are subject-independent: {FOLDS} folds, and nobody is in the training and the test part of one.",
    f"The paper trains 100 epochs of 64 filters with batches of 64; the demo takes fewer epochs, batches of "
    f"{BATCH_SIZE} and 16 filters for projections.",
)


@dataclass(frozen=True, kw_only=True)
class PresetResult:
    """What one preset made of the rendered faces.

    Attributes
    ----------
    preset : str
        "paper" or "stable".
    store : Path
        The features.
    seconds : float
        Time that preprocessing took.
    box_changes : float
        Mean share of frames whose face box differs from the one before.
    motion : float
        Mean share of mask pixels that are on.
    accuracy, baseline : dict of phase to float
        Of the network and of the best baseline, on the test sequences.
    interval : dict of phase to (float, float)
        The 95 % confidence interval of the network's accuracy.
    runs : dict of phase to Path
        The training runs.
    """

    preset: str
    store: Path
    seconds: float
    box_changes: float
    motion: float
    accuracy: dict[int, float]
    baseline: dict[int, float]
    interval: dict[int, tuple[float, float]]
    runs: dict[int, Path]


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """What the demo made.

    Attributes
    ----------
    out : Path
        Its folder: faces/, smiles/, store-PRESET/, run-PRESET-phaseN/ and index.html.
    faces : Path
        The rendered data set.
    presets : tuple of PresetResult
    page : Path
        index.html: the smiles, the comparison, what the numbers mean and where everything is.
    seconds : float
        Time that everything took.
    text : str
        What was found, for a terminal.
    """

    out: Path
    faces: Path
    presets: tuple[PresetResult, ...]
    page: Path
    seconds: float
    text: str


def check_demo(out: Path) -> None:
    """Raise ValueError where the demo cannot run, before it has taken minutes."""
    chosen_backend()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} must be a new or empty folder: choose another, or delete it first")


def run_demo(
    out: str | Path,
    *,
    subjects: int = 12,
    seed: int = 0,
    epochs: int = EPOCHS,
    n_jobs: int = -1,
    on_message: Callable[[str], None] = logger.info,
    on_progress: Callable[[Progress], None] | None = None,
) -> DemoResult:
    """Render people, preprocess them with paper and stable, train on projections and on flow briefly, and compare.

    Parameters
    ----------
    out : path-like
        A new or empty folder.
    subjects : int
        People to render, each showing all seven emotions; at least 4, so that every emotion is in the test part.
    seed : int
        Of the rendered people.
    epochs : int
        Per training run; there are four.
    n_jobs : int
        Workers of rendering and preprocessing; -1 for one per core.
    on_message : callable
        Is given a line for people at every step.
    on_progress : callable, optional
        Called with a `Progress` in sequences, while rendering and preprocessing.

    Returns
    -------
    result : DemoResult
        Its `text` is for the terminal.

    Raises
    ------
    ValueError
        If an option is out of range, `out` is not empty, or Keras' backend is missing.
    OSError
        If a file cannot be written.
    """
    out = Path(out)
    if subjects < 4:
        raise ValueError(f"subjects must be at least 4, so that every emotion can be tested, got {subjects}")
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1, got {epochs}")
    check_demo(out)
    start = time.perf_counter()

    def count(step: str) -> Callable[[Progress], None]:
        report = on_progress or (lambda _: None)
        return lambda progress: report(Progress(done=progress.done, total=progress.total, step=step))

    on_message(f"rendering {subjects} people, seven emotions each: {DISCLAIMER}")
    faces = out / "faces"
    summary = render_dataset(
        faces, subjects=subjects, seed=seed, sequences=7, n_jobs=n_jobs, on_progress=count("rendering")
    )
    on_message(
        f"{summary.sequences} sequences, {summary.frames} frames in {time.perf_counter() - start:.0f} s: {faces}"
    )
    presets = tuple(
        try_preset(out, preset, epochs=epochs, n_jobs=n_jobs, on_message=on_message, count=count)
        for preset in PRESET_NAMES
    )
    seconds = time.perf_counter() - start
    on_message("answering the real smiles of the sample, and timing the paper's script on one of them")
    smiles, speed = answer_smiles(out / SMILES), measure_speed(PRESET_NAMES)
    best = find_best(
        {f"{FEATURES[phase]}, preset {entry.preset}": path for entry in presets for phase, path in entry.runs.items()}
    )
    jumpy = presets[0]
    table = open_store(jumpy.store).table.sort_values("n_box_changes", kind="stable")
    title = f"fastck demo: {subjects} rendered people, {epochs} epochs, {FOLDS} folds of people"
    chance = 100 / len(PHASES[max(DEMO_PHASES)].classes)
    page = write_page(
        out,
        smiles=smiles,
        best=best,
        speed=speed,
        shown=faces / table["folder"].iloc[-1],
        words={
            "title": title,
            "disclaimer": DISCLAIMER,
            "chance": f"{chance:.1f}",
            "presets": comparison(presets),
            "findings": [*headline(presets[-1]), *findings(presets), *CAVEATS],
            "places": places_of(out, faces, presets),
            "commands": commands(faces, presets),
        },
    )
    seconds = time.perf_counter() - start
    said = [
        f"Accuracy {best.text} models.",
        f"{title}, in {seconds:.0f} s.",
        f"Real smiles: {', '.join(f'{smile.name} {smile.answer}' for smile in smiles)} ({smiles[0].trained_on}).",
        f"{speed_line(speed)}.",
    ]
    text = demo_text(page, presets, said)
    return DemoResult(out=out, faces=faces, presets=presets, page=page, seconds=seconds, text=text)


def try_preset(
    out: Path,
    preset: Preset,
    *,
    epochs: int,
    n_jobs: int,
    on_message: Callable[[str], None],
    count: Callable[[str], Callable[[Progress], None]],
) -> PresetResult:
    """Preprocess `out`/faces with a preset, train both phases on the store, and collect what to compare."""
    from fastck.training.train import train  # brings scikit-learn: only when there is something to train

    step = f"preprocessing, preset {preset}"
    on_message(step)
    start = time.perf_counter()
    store = preprocess(
        out / "faces",
        out / f"store-{preset}",
        preset=preset,
        features=("projection", "flow"),
        n_jobs=n_jobs,
        box_cache=False,  # so that the time shown is the preset's own
        on_progress=count(step),
    )
    seconds = time.perf_counter() - start
    on_message(f"{len(store.table)} sequences in {seconds:.0f} s: {store.path}")
    accuracy, baseline, interval, runs = {}, {}, {}, {}
    for phase, settings in DEMO_PHASES.items():
        on_message(f"training phase {phase} on preset {preset}: {PHASES[phase].text}, {epochs} epochs")
        config = TrainConfig(
            phase=phase,
            protocol="stratified-group",
            folds=FOLDS,
            epochs=epochs,
            batch_size=BATCH_SIZE,
            checkpoint_every=0,
            # The run that the commands at the end name predicts with it.
            final=(preset, phase) == (PRESET_NAMES[-1], max(DEMO_PHASES)),
            **settings,
        )
        run = train(store.path, out / f"run-{preset}-phase{phase}", config, verbose=0)
        measured = run.report["evaluation"]["accuracy"]
        accuracy[phase] = float(measured["value"])
        interval[phase] = float(measured["low"]), float(measured["high"])
        baseline[phase] = max(float(entry["accuracy"]["value"]) for entry in run.report["baselines"])
        runs[phase] = run.path
        on_message(f"accuracy {accuracy[phase]:.2f}, best baseline {baseline[phase]:.2f}: {run.path / 'report.html'}")
    changes, motion = jitter(store.table)
    return PresetResult(
        preset=preset,
        store=store.path,
        seconds=seconds,
        box_changes=changes,
        motion=motion,
        accuracy=accuracy,
        baseline=baseline,
        interval=interval,
        runs=runs,
    )


def jitter(table: pd.DataFrame) -> tuple[float, float]:
    """Return the share of frames whose box changed, and the mean share of mask pixels that are on."""
    steps = float((table["n_frames"] - 1).sum())
    motion = float((table["motion"] * table["length"]).sum() / table["length"].sum())
    return float(table["n_box_changes"].sum()) / steps, motion


def findings(presets: tuple[PresetResult, ...]) -> list[str]:
    """Return what the numbers show, one sentence each, whatever they are."""
    first, last = presets
    slower, faster = sorted(presets, key=lambda entry: -entry.seconds)
    ratio = slower.seconds / faster.seconds
    lines = [f'Preset "{faster.preset}" preprocessed {ratio:.1f} times as fast as "{slower.preset}".']
    if first.box_changes > last.box_changes:
        lines.append(f'The box changed at {100 * first.box_changes:.1f} % of the frames under "{first.preset}".')
    for phase in DEMO_PHASES:
        chance = 1 / len(PHASES[phase].classes)
        for entry in presets:
            accuracy, baseline, (low, high) = entry.accuracy[phase], entry.baseline[phase], entry.interval[phase]
            name = f"Phase {phase}, {entry.preset}: accuracy {accuracy:.2f} [{low:.2f}, {high:.2f}]"
            if low <= chance <= high:
                text = f"its 95 % interval holds chance, {chance:.2f}: this test shows no learning."
            elif high < chance:
                text = f"the network is worse than chance, {chance:.2f}."
            else:
                text = f"the network is better than chance, {chance:.2f}."
            # Seldom equal; where they are, neither is called better.
            if baseline > accuracy:
                text += f" The best baseline is more accurate: {baseline:.2f}."
            elif baseline < accuracy:
                text += f" The network is more accurate than the best baseline, {baseline:.2f}."
            lines.append(f"{name}; {text}")
    return lines


def headline(entry: PresetResult) -> list[str]:
    """Return what the features reach on people the network never saw, and why they differ."""
    reached = ", ".join(
        f"{FEATURES[phase]} {entry.accuracy[phase]:.2f}" for phase in sorted(entry.accuracy, reverse=True)
    )
    chance = 1 / len(PHASES[max(entry.accuracy)].classes)
    return [
        f'On people the network never saw, preset "{entry.preset}": {reached}; chance is {chance:.2f}.',
        "Projections count pixels whose gray level changed sign from frame to frame. Flow tells how far, and in which "
        "direction, each part of the face has moved since the onset.",
    ]


def comparison(presets: tuple[PresetResult, ...]) -> list[tuple[str, ...]]:
    """Return the rows of a table that has the presets side by side, its header first."""
    rows = [
        ("", *(entry.preset for entry in presets)),
        ("preprocessing, seconds", *(f"{entry.seconds:.1f}" for entry in presets)),
        ("frames whose box changed", *(f"{100 * entry.box_changes:.1f} %" for entry in presets)),
        ("mask pixels that are on", *(f"{100 * entry.motion:.1f} %" for entry in presets)),
    ]
    for phase in DEMO_PHASES:
        chance = 1 / len(PHASES[phase].classes)
        rows.append((f"{FEATURES[phase]}: network", *(f"{entry.accuracy[phase]:.2f}" for entry in presets)))
        rows.append((f"  best baseline (chance {chance:.2f})", *(f"{entry.baseline[phase]:.2f}" for entry in presets)))
    return rows


def demo_text(page: Path, presets: tuple[PresetResult, ...], said: Sequence[str]) -> str:
    """Return what the demo found, for a terminal of 80 columns, at most 25 lines: the page has the rest."""
    table = [f"    {name:<40}" + "".join(f"{cell:>10}" for cell in cells) for name, *cells in comparison(presets)]
    texts = [*said, headline(presets[-1])[0], DISCLAIMER]
    lines = [line for text in texts for line in textwrap.wrap(text, 80, subsequent_indent="    ")]
    return "\n".join([*lines, "", *table, "", f"Everything, with pictures: {page}"])


def places_of(out: Path, faces: Path, presets: tuple[PresetResult, ...]) -> list[tuple[Path, str]]:
    """Return what the demo made and what each of it is."""
    return [
        (faces, "the images and labels, laid out as CK+"),
        (out / SMILES, "the real smiles with box and flow, as GIF"),
        *((entry.store, f"features, preset {entry.preset}") for entry in presets),
        *(
            (path / "report.html", f"report: {FEATURES[phase]}, preset {entry.preset}")
            for entry in presets
            for phase, path in entry.runs.items()
        ),
    ]


def commands(faces: Path, presets: tuple[PresetResult, ...]) -> list[str]:
    """Return what to type next."""
    clip = faces / "cohn-kanade-images" / "S001" / "001"
    run = presets[-1].runs[max(presets[-1].runs)]
    lines = [
        ["check", faces],
        ["info", presets[0].store],
        ["preview", presets[0].store, "S001_001", "--root", faces, "-o", "preview.png"],
        ["predict", clip, "--run", run],
        ["train", presets[-1].store, "--phase", 5, "--model", "temporal", "--protocol", "subject-10fold", "-o", "run"],
    ]
    return [shlex.join(["fastck", *map(str, line)]) for line in lines]
