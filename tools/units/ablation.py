"""Print what each kind of act is worth to the judge, how strong an expression must be that a clip begins with, and
what a picture of the face at rest is worth.

python -m tools.units.ablation FOLDER

FOLDER is that of `python -m tools.units`: its frames and its units' networks are used again. The judge is fitted
without the clips of a kind, and asked about those of other people. The tables stand in
docs/explanation/recogniser.md.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from fastck.faces.dense import Dense, read_dense
from fastck.faces.units import UnitModel
from fastck.recogniser import Recogniser
from fastck.recognition.judge import Course, Judge
from fastck.recognition.reading import FaceUnits, read_units
from tools.units.fit import as_bytes
from tools.units.frames import Frames
from tools.units.judging import (
    CONFIG,
    FEWEST_FRAMES,
    UNSURE_BELOW,
    Stretches,
    fit_judge,
    heard,
    judging_data,
    temperature_of,
)
from tools.units.learn import looks_at_rest, looks_of
from tools.units.make import CHECKED, SEED, Plan, render

FIFTHS = 5


def of(*names: str) -> Callable[[str], bool]:
    """Return what tells acts of these names."""
    return lambda act: act in names


KINDS: dict[str, Callable[[str], bool]] = {
    "speech": lambda act: act.startswith("talk"),
    "expressions with speech": lambda act: act.endswith("talking"),
    "blinks and winks": of("blinks", "slow blink", "wink", "squint"),
    "chewing, licked and rolled lips": of("chew", "lick lips", "roll lips"),
    "pouts, an O, the mouth aside": of("pout", "o", "mouth aside"),
    "yawns, mouths agape": of("yawn", "gape"),
    "turns and glances": of("turn", "look"),
    "raised brows": of("brows up"),
    "expressions that are held": lambda act: " held" in act,
    "that are released": lambda act: " released" in act and "begun" not in act,
    "that a clip begins with": lambda act: " begun" in act,
}


def picked(data: Stretches, kind: Callable[[str], bool], *, shown: bool) -> Stretches:
    """Return the stretches that show a kind of act, or those that do not."""
    return data.pick(np.array([kind(str(act)) for act in data.act]) == shown)


def judge_of(learnt: Stretches, calibrating: Stretches) -> tuple[Dense, float]:
    """Return a network of the judge and its temperature."""
    network = read_dense(as_bytes(fit_judge(learnt, CONFIG, seed=SEED), "judge"), "judge")
    return network, temperature_of([network], calibrating)


def share_right(judge: tuple[Dense, float], asked: Stretches) -> str:
    """Return the share of whole clips that are answered rightly; for clips without emotion unsure is right, too."""
    network, temperature = judge
    chances = heard([network], temperature, asked)
    best = chances.argmax(axis=1)
    best[chances.max(axis=1) < UNSURE_BELOW] = 0
    return f"{100 * (best == asked.code)[asked.whole].mean():.0f} %"


def begun_rows(judge: tuple[Dense, float], asked: Stretches) -> list[str]:
    """Return a table's rows of the clips that begin with an expression, in fifths from the weakest to the strongest."""
    network, temperature = judge
    begun = asked.pick(asked.whole & (asked.code > 0) & np.array([" begun" in str(act) for act in asked.act]))
    best = heard([network], temperature, begun).argmax(axis=1)
    limits = np.quantile(begun.begins, np.linspace(0, 1, FIFTHS + 1))
    fifth = np.clip(np.searchsorted(limits, begun.begins, side="right") - 1, 0, FIFTHS - 1)
    rows = []
    for place in range(FIFTHS):
        own = fifth == place
        named, neutral = (100 * float(part[own].mean()) for part in (best == begun.code, best == 0))
        span = f"{limits[place]:.1f} to {limits[place + 1]:.1f}"
        rows.append(f"| {span} | {own.sum()} | {named:.0f} % | {neutral:.0f} % |")
    return rows


def picture_rows(worlds: dict[str, Frames], model: UnitModel) -> list[str]:
    """Return a table's rows of clips by themselves, and of the same beside a picture of the face at rest."""
    judge, recogniser = Judge(), Recogniser()

    def right(own: Frames, found: FaceUnits) -> bool:
        flow = recogniser.probabilities(own.flow.astype(np.float32))
        (chances,) = judge.probabilities([Course(found.intensities, found.level, own.pose, flow, own.moved)])
        return bool(own.code[0] == (chances.argmax() if chances.max() >= UNSURE_BELOW else 0))

    rows = []
    for world, frames in worlds.items():
        found: dict[str, list[tuple[bool, ...]]] = {"begun": [], "other": [], "everyday": []}
        for clip in np.unique(frames.clip[~np.isin(frames.act, ("rest", "random"))]):
            own = frames.pick(frames.clip == clip)
            at_rest = looks_at_rest(frames, own.person[0])
            if len(own) < FEWEST_FRAMES or not at_rest:
                continue
            looks = looks_of(own)
            both = (right(own, read_units(model, looks, neutral=rest)) for rest in (None, at_rest[0]))
            kind = "begun" if " begun" in str(own.act[0]) else "other" if own.code[0] > 0 else "everyday"
            found[kind].append(tuple(both))
        shares = (f"{100 * share:.0f} %" for answers in found.values() for share in np.mean(answers, axis=0))
        rows.append(f"| {world} | {' | '.join(shares)} |")
    return rows


def main(arguments: list[str]) -> int:
    """Print the tables."""
    if len(arguments) != 1:
        print("usage: python -m tools.units.ablation FOLDER", file=sys.stderr)
        return 2
    plan = Plan(folder=Path(arguments[0]))
    frames = render(plan)
    model = UnitModel(plan.folder / "fitted.npz")
    with threadpool_limits(1):
        data = judging_data(plan, model, frames)
        checked = Stretches.join(data[name] for name in CHECKED)
        whole = judge_of(data["train"], data["turned"])
        print("| left out | clips asked about | right without | with |\n|---|---:|---:|---:|")
        for name, kind in KINDS.items():
            asked = picked(checked, kind, shown=True)
            without = judge_of(picked(data["train"], kind, shown=False), data["turned"])
            shares = f"{share_right(without, asked)} | {share_right(whole, asked)}"
            print(f"| {name} | {asked.whole.sum()} | {shares} |", flush=True)
        print("\n| units of the first frame, sum | clips | named | neutral |\n|---|---:|---:|---:|")
        print("\n".join(begun_rows(whole, Stretches.join([checked, data["turned"]]))))
        print("\n| | begun: alone | with a picture | other emotions: alone | with a picture |", end="")
        print(" everyday acts: alone | with a picture |\n|---|---:|---:|---:|---:|---:|---:|")
        print("\n".join(picture_rows({**frames.checked, "turned": frames.calibrating}, model)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
