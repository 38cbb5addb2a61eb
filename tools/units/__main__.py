"""Make the model of the action units: ``python -m tools.units FOLDER`` in the source tree."""

import argparse
from pathlib import Path

from threadpoolctl import threadpool_limits

from fastck.faces.units import BUNDLED, UnitModel
from tools.units.make import PEOPLE, SEED, Plan, make


def main() -> None:
    """Read the arguments, make the model and write it."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.units",
        description="Render people, fit the action units' networks to them, calibrate and check, and write the file.",
    )
    parser.add_argument("folder", type=Path, help="keeps the rendered frames; what is there is used again")
    parser.add_argument("--out", type=Path, default=BUNDLED, help="model file to write (default: the package's)")
    parser.add_argument("--seed", type=int, default=SEED, help=f"another seed, other people (default: {SEED})")
    parser.add_argument("--people", type=int, default=PEOPLE, help=f"to learn from (default: {PEOPLE})")
    parser.add_argument("--jobs", type=int, default=-1, help="processes; never changes the file (default: all cores)")
    given = parser.parse_args()
    plan = Plan(folder=given.folder, seed=given.seed, people=given.people, n_jobs=given.jobs)
    # The order in which a library's threads add up changes the last digits.
    with threadpool_limits(1):
        given.out.write_bytes(make(plan, say=print))
    about = UnitModel(given.out).about
    for name, worlds in about["figures"].items():
        for world, found in worlds.items():
            correlation, presence = found["mean"]
            print(f"{name}, {world}: correlation {correlation:.3f}, F1 {presence:.3f}")
    print(f"wrote {given.out}, {given.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
