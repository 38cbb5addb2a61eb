"""Train the paper's network on a fastck store, and report what it is worth."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from fastck.console import quiet_tensorflow
from fastck.training.config import Precision, Protocol, TooLong, TrainConfig, parse_bytes, read_settings

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    store: Annotated[Path, typer.Argument(help="A store made by fastck preprocess.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The run's folder; new, unless --resume.")],
    phase: Annotated[
        int | None, typer.Option(help="1 masks, 2 pooled, 3 projections, 4 four emotions. (default 3)")
    ] = None,
    size: Annotated[
        int | None, typer.Option(help="Phase 2: pixels of a pooled frame, 34, 67 or 134. (default 34)")
    ] = None,
    protocol: Annotated[Protocol | None, typer.Option(help="How to split. (default random)")] = None,
    folds: Annotated[int | None, typer.Option(help="Folds of random-folds and stratified-group. (default 10)")] = None,
    repeats: Annotated[int | None, typer.Option(help="Repeat with other seeds. (default 1)")] = None,
    per_emotion: Annotated[int | None, typer.Option(help="Sequences per emotion; 0: all. (default paper's)")] = None,
    mean_frames: Annotated[float | None, typer.Option(help="Frames per sequence to balance to; 0: any.")] = None,
    test_size: Annotated[float | None, typer.Option(help="Tested share under random (default 0.3)")] = None,
    validation_size: Annotated[
        float | None, typer.Option(help="Validating share of training subjects, other protocols (default 0.15)")
    ] = None,
    timesteps: Annotated[int | None, typer.Option(help="Frames a sequence is padded to. (default 39)")] = None,
    too_long: Annotated[TooLong | None, typer.Option(help="Sequences beyond --timesteps. (default last)")] = None,
    filters: Annotated[int | None, typer.Option(help="Channels of the recurrent layer. (default 64)")] = None,
    dense: Annotated[int | None, typer.Option(help="Units of the hidden layer (default 100)")] = None,
    dropout: Annotated[float | None, typer.Option(help="Dropped share. (default 0.5)")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Adam's step. (default 0.001)")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training part. (default 100)")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Sequences per optimiser step. (default 64)")] = None,
    max_steps: Annotated[int | None, typer.Option(help="Stop after so many optimiser steps.")] = None,
    early_stopping: Annotated[int | None, typer.Option(help="Stop after so many epochs without progress.")] = None,
    seed: Annotated[int | None, typer.Option(help="Decides everything random. (default 1)")] = None,
    memory: Annotated[str | None, typer.Option(help="Allowed memory, such as 12GiB. (default the device's)")] = None,
    micro_batch: Annotated[int | None, typer.Option(help="Sequences in memory at once. (default planned)")] = None,
    remat: Annotated[bool | None, typer.Option(help="Recompute time steps to save memory (default planned)")] = None,
    precision: Annotated[Precision | None, typer.Option(help="Keras' dtype policy. (default float32)")] = None,
    deterministic: Annotated[bool | None, typer.Option(help="Bit for bit repeatable. (default yes)")] = None,
    fused: Annotated[bool | None, typer.Option(help="Train with the fused recurrent layer. (default yes)")] = None,
    tensorboard: Annotated[bool | None, typer.Option(help="Write TensorBoard logs. (default no)")] = None,
    checkpoint_every: Annotated[
        int | None, typer.Option(help="Epochs between checkpoints; 0: none (default 1)")
    ] = None,
    keep_models: Annotated[bool | None, typer.Option(help="Keep each fold's model. (default yes)")] = None,
    baselines: Annotated[bool | None, typer.Option(help="Fit scikit-learn baselines too. (default yes)")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file of settings; options win over it.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")] = False,
) -> None:
    """Train the paper's network on STORE and write to the run's folder:

    predictions.csv (of the test part), training_predictions.csv, history.csv, classification_report.txt and .json,
    confusion_matrix.png, accuracy.png, loss.png, report.html, report.json, report.txt, baselines.csv, model.keras,
    model_summary.txt and run.json. Runs with several folds keep each fold's files under folds/.
    """
    options = {name: value for name, value in locals().items() if name not in ("store", "output", "config", "resume")}
    try:
        settings = read_settings(config) if config else {}
        settings |= {name: value for name, value in options.items() if value is not None}
        if isinstance(settings.get("memory"), str):
            settings["memory"] = parse_bytes(settings["memory"])
        chosen = TrainConfig.from_dict(settings)
        quiet_tensorflow()
        report = _train(store, output, chosen, resume=resume)
    except (ValueError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None
    typer.echo(report)
    typer.echo(f"written to {output}")


def _train(store: Path, output: Path, config: TrainConfig, *, resume: bool) -> str:
    """Train, and return the report as text."""
    from fastck.training.report import report_text
    from fastck.training.train import train

    verbose = 1 if sys.stdout.isatty() else 2
    return report_text(train(store, output, config, resume=resume, verbose=verbose, say=typer.echo).report)


if __name__ == "__main__":
    app()
