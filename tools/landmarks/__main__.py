"""Make the bundled landmark model: ``python -m tools.landmarks FOLDER`` in the source tree."""

import argparse
from pathlib import Path

import cv2
from threadpoolctl import threadpool_limits

from fastck.faces.landmarks import BUNDLED
from tools.landmarks.make import PEOPLE, SEED, Plan, make, model_bytes


def main() -> None:
    """Read the arguments, make the model and write it."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.landmarks",
        description="Render people, fit the landmark model to them, calibrate and check it, and write its file.",
    )
    parser.add_argument("folder", type=Path, help="keeps the rendered pictures; what is there is used again")
    parser.add_argument("--out", type=Path, default=BUNDLED, help="model file to write (default: the package's)")
    parser.add_argument("--seed", type=int, default=SEED, help=f"another seed, other people (default: {SEED})")
    parser.add_argument("--people", type=int, default=PEOPLE, help=f"to fit to (default: {PEOPLE})")
    parser.add_argument("--jobs", type=int, default=-1, help="processes; never changes the file (default: all cores)")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    # The order in which a library's threads add up changes the last digits.
    with threadpool_limits(1):
        model = make(Plan(folder=given.folder, seed=given.seed, people=given.people, n_jobs=given.jobs), say=print)
    given.out.write_bytes(model_bytes(model))
    for name, value in model.about.items():
        print(f"{name}: {value}")
    print(f"wrote {given.out}, {given.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
