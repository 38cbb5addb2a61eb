"""Make the models of the action units and of the judge on top: ``python -m tools.units FOLDER`` in the source tree."""

import argparse
from pathlib import Path

from threadpoolctl import threadpool_limits

from fastck.faces.units import BUNDLED as UNITS
from fastck.faces.units import UnitModel
from fastck.recognition.judge import BUNDLED as JUDGE
from fastck.recognition.judge import Judge
from tools.units.judging import judging_data, make_judge
from tools.units.make import CHECKED, SEED, Plan, finished, fitted, render


def main() -> None:
    """Read the arguments, make the models and write them."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.units",
        description="Render people, fit the networks to them, calibrate and check, and write the files.",
    )
    parser.add_argument("folder", type=Path, help="keeps the rendered frames; what is there is used again")
    parser.add_argument("--units", type=Path, default=UNITS, help="model file to write (default: the package's)")
    parser.add_argument("--judge", type=Path, default=JUDGE, help="the judge's, the same way")
    parser.add_argument("--seed", type=int, default=SEED, help=f"another seed, other people (default: {SEED})")
    parser.add_argument("--jobs", type=int, default=-1, help="processes; never changes the file (default: all cores)")
    given = parser.parse_args()
    plan = Plan(folder=given.folder, seed=given.seed, n_jobs=given.jobs)
    print(f"render {plan.people + plan.judge_people} people to learn from, and others to calibrate and to check on")
    data = render(plan)
    # The order in which a library's threads add up changes the last digits.
    with threadpool_limits(1):
        print(f"fit the units' networks to {plan.people} people")
        arrays, model = fitted(plan, data)
        given.units.write_bytes(finished(plan, model, arrays, data))
        print(f"fit the judge to the other {plan.judge_people}")
        shown = judging_data(plan, model, data)
        checked = {name: shown[name] for name in CHECKED}
        given.judge.write_bytes(make_judge(shown["train"], shown["turned"], checked, seed=plan.seed))
    about = UnitModel(given.units).about
    for name, worlds in about["figures"].items():
        for world, found in worlds.items():
            correlation, presence = found["mean"]
            print(f"{name}, {world}: correlation {correlation:.3f}, F1 {presence:.3f}")
    for world, answered in Judge(given.judge).about["figures"].items():
        new, old = answered["judge"]["all_right"], answered["flow"]["all_right"]
        print(f"judge, {world}: right {new:.3f}, flow alone {old:.3f}")
    print(f"wrote {given.units} and {given.judge}")


if __name__ == "__main__":
    main()
