"""Which kind of variation in rendering carries over: networks trained without one kind each."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from fastck.dataset.layouts import scan
from fastck.pipeline.frames import record_frames
from fastck.recogniser import bundled
from fastck.recognition.clip import read_frames
from fastck.recognition.windows import near_apex, strongest_window
from fastck.render.variation import ASPECTS, EASY, Variation, with_aspect
from tools.recogniser.clips import Clips
from tools.recogniser.fit import fit
from tools.recogniser.make import (
    Plan,
    calibrating_windows,
    check,
    checking_clips,
    smaller,
    temperature_of,
    training_windows,
)
from tools.recogniser.modelfile import rounded
from tools.recogniser.people import mixed_variation

NOTHING, EVERYTHING = "none of them", "all"


def ablation_text(plan: Plan, *, people: int, real: Path | None, say: Callable[[str], None]) -> str:
    """Train once with all variation, once with none, and once without each aspect; return a Markdown table.

    Parameters
    ----------
    plan : Plan
        Its folder and seed.
    people : int
        To train each network on.
    real : Path, optional
        Real clips with labels in CK+'s layout; a column without it less.
    say : callable
        Is told what is being done.
    """
    plan.folder.mkdir(parents=True, exist_ok=True)
    small = smaller(plan, people)
    calibrating, checked = calibrating_windows(plan), checking_clips(plan)
    seen = real_clips(real) if real is not None else None
    rows = []
    for left_out in (EVERYTHING, *ASPECTS, NOTHING):
        say(f"train with {variation_name(left_out)}")
        windows = training_windows(small, partial(without, left_out), name=file_name(left_out))
        weights = rounded(fit(windows, small.config, seed=plan.seed, n_jobs=plan.n_jobs))
        temperature = temperature_of(weights, calibrating)
        figures = check(checked.probabilities(weights, temperature), checked)
        cells = [variation_name(left_out), f"{100 * figures['accuracy']:.1f} %"]
        if seen is not None:
            chances = seen.probabilities(weights, temperature)
            right = chances.argmax(axis=1) == seen.code
            mean = chances[np.arange(len(seen.code)), seen.code].mean()
            cells += [f"{right.sum()} of {len(right)}", f"{mean:.2f}"]
        rows.append(cells)
    names = ["trained with", "rendered people of another seed, right"]
    if seen is not None:
        names += ["real clips, right", "mean probability of the true emotion"]
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def variation_name(left_out: str) -> str:
    """Return what the first column says."""
    if left_out == EVERYTHING:
        return "all kinds of variation"
    return "no variation" if left_out == NOTHING else f"all but {left_out}"


def file_name(left_out: str) -> str:
    """Return a part of a file's name."""
    return "mixed" if left_out == EVERYTHING else "without-" + left_out.replace(" ", "-")


def without(left_out: str, number: int) -> Variation:
    """Return a training person's variation, the aspect as in the easy set."""
    if left_out == NOTHING:
        return EASY
    full = mixed_variation(number)
    return full if left_out == EVERYTHING else with_aspect(left_out, source=EASY, target=full)


def real_clips(root: Path) -> Clips:
    """Return the flow at the apex of the labelled clips below a folder in CK+'s layout."""
    flows, codes, names = [], [], []
    for record in scan(root, layout="ckplus").records:
        if record.emotion is None:
            continue
        readings, _, _ = read_frames(record_frames(record), bundled(), keep_flow=True)
        flows.append(np.stack([reading.moment.flow for reading in near_apex(strongest_window(readings))]))
        codes.append(record.emotion)
        names.append(record.sequence)
    return Clips(
        flow=np.concatenate(flows).astype(np.float16),
        clip=np.repeat(np.arange(len(flows), dtype=np.int32), [len(flow) for flow in flows]),
        code=np.array(codes, np.int16),
        act=np.array(names),
    )
