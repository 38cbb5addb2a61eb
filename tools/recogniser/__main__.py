"""Make the bundled recogniser: ``python -m tools.recogniser FOLDER`` in the source tree."""

import argparse
from pathlib import Path

from threadpoolctl import threadpool_limits

from fastck.recogniser import BUNDLED
from tools.recogniser.ablation import ablation_text
from tools.recogniser.make import SEED, Plan, make
from tools.recogniser.modelfile import write_model


def main() -> None:
    """Read the arguments, make the model and write it, or write the table of the ablation."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.recogniser",
        description="Render people, train the recogniser on them, calibrate and check it, and write its file.",
    )
    parser.add_argument("folder", type=Path, help="keeps the rendered people's flow; what is there is used again")
    parser.add_argument("--out", type=Path, default=BUNDLED, help="model file to write (default: the package's)")
    parser.add_argument("--seed", type=int, default=SEED, help=f"another seed, other people (default: {SEED})")
    parser.add_argument("--jobs", type=int, default=-1, help="processes; never changes the file (default: all cores)")
    parser.add_argument(
        "--ablation", type=Path, metavar="TABLE.md", help="train without each kind of variation instead; write a table"
    )
    parser.add_argument("--people", type=int, default=24, help="with --ablation: people to train on (default: 24)")
    parser.add_argument("--real", type=Path, help="with --ablation: a folder of real clips in CK+'s layout")
    given = parser.parse_args()
    plan = Plan(folder=given.folder, seed=given.seed, n_jobs=given.jobs)
    # The order in which a library's threads add up changes the last digits.
    with threadpool_limits(1):
        if given.ablation is not None:
            given.ablation.write_text(ablation_text(plan, people=given.people, real=given.real, say=print))
            print(f"wrote {given.ablation}")
            return
        made = make(plan, say=print)
    write_model(given.out, made.weights, made.about)
    for name, value in made.about.items():
        print(f"{name}: {value}")
    print(f"wrote {given.out}, {given.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
