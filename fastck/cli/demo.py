"""Commands that show fastck at work on this machine: the whole way, and how fast it is."""

from pathlib import Path
from typing import Annotated

import typer

from fastck.cli.console import console, one_line_errors, progress_bar, stderr
from fastck.cli.options import Jobs


@one_line_errors
def demo(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new or empty folder.")],
    subjects: Annotated[int, typer.Option(help="People to render, at least 4.")] = 12,
    seed: Annotated[int, typer.Option(help="Another seed, other people.")] = 0,
    epochs: Annotated[int | None, typer.Option(help="Per training run; there are four.  [default: a few]")] = None,
    jobs: Jobs = -1,
) -> None:
    """Show the whole way in minutes: render faces, preprocess with paper and stable, train, report, compare.

    Needs the extra `train`. Writes OUT/: the rendered set, a store and two training runs per preset, and one
    page with everything, index.html.
    """
    from fastck.cli.tour import EPOCHS, run_demo

    with progress_bar("demo", "sequences") as update:
        result = run_demo(
            out,
            subjects=subjects,
            seed=seed,
            epochs=EPOCHS if epochs is None else epochs,
            n_jobs=jobs,
            on_message=lambda line: stderr.print(line, markup=False),
            on_progress=update,
        )
    console.print(result.text, markup=False, highlight=False, soft_wrap=True)


@one_line_errors
def bench(
    quick: Annotated[bool, typer.Option("--quick", help="At 267x267 pixels only: under a minute.")] = False,
) -> None:
    """Measure fastck's kernels on this machine against OpenCV, the paper's loops and a plain copy of the frames.

    The full comparison, with more baselines and stages, is `make bench` in the source tree.
    """
    from fastck.bench import quick as measure
    from fastck.views.terminal import bench_table

    for side in (267,) if quick else (64, 267, 512):
        console.print(f"frames of {side}x{side} pixels, one thread; times per frame")
        console.print(bench_table(measure(side=side)))
