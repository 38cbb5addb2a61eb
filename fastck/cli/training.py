"""Commands that train and report."""

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

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
from fastck.cli.options import Jobs, Scheduler
from fastck.cli.training_options import with_settings


@with_settings
@one_line_errors
def train(
    stores: Annotated[
        list[Path], typer.Argument(metavar="STORE...", help="A store that `fastck preprocess` made; or several.")
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
    from fastck.training.train import train as train_run
    from fastck.training.train import train_fold

    if folds_file is not None and "protocol" in settings:
        fail("--folds-file and --protocol both say how to split: give one of them")
    if fold is not None and (scheduler or jobs != 1):
        fail("--fold fits one fold in this process: leave --jobs and --scheduler out")
    chosen = TrainConfig.from_dict((read_settings(config) if config else {}) | parsed(settings))
    if scheduler:
        from fastck.cluster import dask_cluster
    # The cluster comes first: without it no work may start.
    with progress_bar("train", "folds") as update, dask_cluster(scheduler) if scheduler else nullcontext():
        options: dict[str, Any] = {
            "folds_file": folds_file,
            "verbose": (1 if sys.stdout.isatty() else 2) if verbose else 0,
            "on_message": typer.echo,
            "on_progress": update if stderr.is_terminal and not verbose else None,
        }
        try:
            if fold is not None:
                folder = train_fold(stores, output, chosen, fold, **options)
            else:
                made = train_run(stores, output, chosen, resume=resume, n_jobs=jobs, **options)
        except KeyboardInterrupt:
            begun = (output / "run.json").exists()
            note("stopped; the same command with --resume goes on" if begun else "stopped before anything was fitted")
            raise typer.Exit(INTERRUPTED) from None
    if fold is not None:
        say(f"written to {folder}; when all folds are there, --resume in place of --fold puts them together")
        return
    typer.echo(report_text(made.report))
    typer.echo(f"written to {output}")


@one_line_errors
def report(run: Annotated[Path, typer.Argument(metavar="RUN", help="A finished training run's folder.")]) -> None:
    """Write RUN's report again: report.html (one file), .txt, .json, the tables and the pictures; print the text."""
    from fastck.training.report.write import report_text, write_report

    console.print(report_text(write_report(run)), markup=False, highlight=False)
    say(f"wrote {run / 'report.html'}")
