"""Commands that train and report."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastck.cli.console import console, fail, one_line_errors, say
from fastck.cli.training_options import with_settings

if TYPE_CHECKING:
    from fastck.training.run import Run
    from fastck.training.settings.config import TrainConfig


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
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")] = False,
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
    model_summary.txt and run.json. Runs with several folds keep each fold's files under RUN/folds.
    """
    from fastck.training.report.write import report_text
    from fastck.training.settings.config import TrainConfig, parsed, read_settings
    from fastck.training.sweep import read_grid
    from fastck.training.train import train as train_run

    if folds_file is not None and "protocol" in settings:
        fail("--folds-file and --protocol both say how to split: give one of them")
    given = (read_settings(config) if config else {}) | parsed(settings)
    verbose = 1 if sys.stdout.isatty() else 2
    if sweep is not None:
        _sweep(
            read_grid(sweep, given),
            output,
            lambda path, chosen, begun: train_run(
                stores, path, chosen, folds_file=folds_file, resume=begun, verbose=verbose, on_message=typer.echo
            ),
            resume=resume,
        )
        return
    chosen = TrainConfig.from_dict(given)
    made = train_run(
        stores, output, chosen, folds_file=folds_file, resume=resume, verbose=verbose, on_message=typer.echo
    )
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
        list[Path], typer.Argument(metavar="RUN...", help="Finished training runs; the first is compared with.")
    ],
    html: Annotated[Path | None, typer.Option(help="Also write a page with the table and a picture.")] = None,
) -> None:
    """Compare training runs on the sequences that all of them tested: scores, and differences from the first RUN.

    The intervals resample people, the same ones for all runs. A difference whose interval holds zero is none.
    """
    from fastck.outputs import write_atomically
    from fastck.training.report.compare import compare_runs, comparison_page, comparison_text
    from fastck.training.run import open_run

    comparison = compare_runs([open_run(run) for run in runs])
    console.print(comparison_text(comparison), markup=False, highlight=False, soft_wrap=True)
    if html is not None:
        write_atomically(html, comparison_page(comparison))
        say(f"wrote {html}")
