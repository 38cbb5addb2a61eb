"""Commands that train and report."""

import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastck.cli.console import (
    INTERRUPTED,
    console,
    fail,
    note,
    one_line_errors,
    progress_bar,
    say,
    stderr,
)
from fastck.cli.options import Jobs, Overwrite, Scheduler
from fastck.cli.training_options import with_settings

if TYPE_CHECKING:
    from fastck.training.run import Run
    from fastck.training.settings.config import TrainConfig


@with_settings
@one_line_errors
def train(
    stores: Annotated[
        list[Path], typer.Argument(metavar="STORE", help="A store that `fastck preprocess` made; or several.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The run's folder; new, unless --resume.")],
    config: Annotated[Path | None, typer.Option(help="TOML file of settings; options win over it.")] = None,
    folds_file: Annotated[
        Path | None, typer.Option(help="CSV of sequence and fold, as `fastck folds` writes it, in place of --protocol.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that was stopped, or put together what --fold fitted.")
    ] = False,
    jobs: Jobs = 1,
    scheduler: Scheduler = None,
    fold: Annotated[
        int | None,
        typer.Option(metavar="K", help="Fit this fold alone, from 1, into the run: one task of a cluster's array."),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show Keras' own lines in place of a bar.")] = False,
    sweep: Annotated[
        Path | None,
        typer.Option(
            help="TOML file of settings with lists of values: a run for each combination, chosen among by fold."
        ),
    ] = None,
    *,
    settings: dict[str, Any],
) -> None:
    """Train a network on one STORE or several together, test it, and write all about it to the run's folder.

    Writes RUN/: predictions.csv (of the test part), training_predictions.csv, history.csv, baselines.csv, report.html,
    .json and .txt, classification_report.txt and .json, confusion_matrix.png, accuracy.png, loss.png, model.keras,
    model_summary.txt and run.json. Runs with several folds keep each fold's files under RUN/folds. RUN/final holds a
    model that was fitted on all sequences. Interrupt it as you like: with --resume the same command goes on.
    """
    from fastck.training.report.write import report_text
    from fastck.training.settings.config import TrainConfig, parsed, read_settings
    from fastck.training.sweep import read_grid
    from fastck.training.train import train as train_run
    from fastck.training.train import train_fold

    if folds_file is not None and "protocol" in settings:
        fail("--folds-file and --protocol both say how to split: give one of them")
    if fold is not None and (scheduler or sweep or jobs != 1):
        fail("--fold fits one fold in this process: leave --jobs, --scheduler and --sweep out")
    given = (read_settings(config) if config else {}) | parsed(settings)
    if scheduler:
        from fastck.cluster import dask_cluster
    bar = progress_bar("train", "folds") if stderr.is_terminal and not verbose else nullcontext()
    # The cluster comes first: without it no work may start.
    with bar as update, dask_cluster(scheduler) if scheduler else nullcontext():
        options: dict[str, Any] = {
            "folds_file": folds_file,
            "verbose": (1 if sys.stdout.isatty() else 2) if verbose else 0,
            "on_message": typer.echo,
            "on_progress": update,
        }

        def fit(path: Path, chosen: TrainConfig, resume: bool) -> "Run":
            return train_run(stores, path, chosen, resume=resume, n_jobs=jobs, **options)

        try:
            if sweep is not None:
                _sweep(read_grid(sweep, given), output, fit, resume=resume)
            elif fold is not None:
                folder = train_fold(stores, output, TrainConfig.from_dict(given), fold, **options)
            else:
                made = fit(output, TrainConfig.from_dict(given), resume)
        except KeyboardInterrupt:
            begun = any(output.rglob("run.json"))
            note("stopped; the same command with --resume goes on" if begun else "stopped before anything was fitted")
            raise typer.Exit(INTERRUPTED) from None
    if sweep is not None:
        return
    if fold is not None:
        say(f"written to {folder}; when all folds are there, --resume in place of --fold puts them together")
        return
    typer.echo(report_text(made.report))
    typer.echo(f"written to {output}")


def _sweep(
    configs: "dict[str, TrainConfig]",
    output: Path,
    train_one: "Callable[[Path, TrainConfig, bool], Run]",
    *,
    resume: bool,
) -> None:
    """Train every run of a grid and print what each fold chose."""
    from fastck.training.sweep import SWEEP_TEXT, sweep

    if output.exists() and any(output.iterdir()) and not resume:
        fail(f"{output} is not empty: choose another folder, or --resume a sweep that was stopped")
    output.mkdir(parents=True, exist_ok=True)
    sweep(configs, output, train_one)
    typer.echo((output / SWEEP_TEXT).read_text(encoding="utf-8"))
    typer.echo(f"written to {output}")


@one_line_errors
def report(run: Annotated[Path, typer.Argument(metavar="RUN", help="A finished training run's folder.")]) -> None:
    """Write RUN's report again: report.html (one file), .txt, .json, the tables and the pictures; print the text."""
    from fastck.training.report.write import report_text, write_report

    console.print(report_text(write_report(run)), markup=False, highlight=False)
    say(f"wrote {run / 'report.html'}")


@one_line_errors
def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="Finished training runs; the first is compared with.")
    ],
    html: Annotated[Path | None, typer.Option(help="Also write a page with the table and a picture.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Compare training runs on the sequences that all of them tested: scores, and differences from the first RUN.

    The intervals resample people, the same ones for all runs. A difference whose interval holds zero is none.
    """
    from fastck.outputs import check_output, write_atomically
    from fastck.training.report.compare import compare_runs, comparison_page, comparison_text
    from fastck.training.run import open_run

    if html is not None:
        check_output(html, runs, overwrite=overwrite)
    comparison = compare_runs([open_run(run) for run in runs])
    console.print(comparison_text(comparison), markup=False, highlight=False, soft_wrap=True)
    if html is not None:
        write_atomically(html, comparison_page(comparison))
        say(f"wrote {html}")
