"""Commands around a data set: render one, look at it, split its sequences into folds."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fastck.cli.console import console, fail, note, one_line_errors, progress_bar, say, show_logs
from fastck.cli.options import (
    READING,
    Jobs,
    Overwrite,
    Reading,
    Root,
    Verbose,
    note_formulas,
    with_reading,
)

if TYPE_CHECKING:
    from fastck.dataset.records import SequenceRecord


@one_line_errors
def render(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new or empty folder.")],
    subjects: Annotated[int, typer.Option(help="How many people, 1 to 999; 123 make a set of CK+'s size.")] = 12,
    seed: Annotated[int, typer.Option(help="Another seed, other people.")] = 0,
    sequences: Annotated[
        int | None, typer.Option(help="Sequences per person, 1 to 7.  [default: 3 to 7, as CK+ 4.8 on average]")
    ] = None,
    hard: Annotated[
        bool,
        typer.Option(
            "--hard",
            help="Far more varied: mixed action units, weak and one-sided expressions, several speeds, talking,"
            " moving heads, changing light, glasses, fringes.",
        ),
    ] = False,
    neutral: Annotated[
        int, typer.Option(help="Neutral sequences per person, labelled 0: still, blinking, turning, talking in turn.")
    ] = 0,
    jobs: Jobs = -1,
    quirks: Annotated[bool, typer.Option(help="Also plant CK+'s oddities, listed in OUT/rendered.json.")] = False,
    noise: Annotated[float | None, typer.Option(help="Sensor noise, gray levels.")] = None,
    blink: Annotated[float | None, typer.Option(help="Share of sequences with a blink, 0 to 1.")] = None,
    yaw: Annotated[float | None, typer.Option(help="Spread of the head's turn, degrees.")] = None,
) -> None:
    """Render people who go from neutral to an emotion, in CK+'s folder layout: images, labels, and nobody's face.

    Writes OUT/cohn-kanade-images, OUT/Emotion and OUT/rendered.json. The same options give the same bytes.
    """
    from fastck.render import EASY, HARD, render_dataset

    with progress_bar("render", "sequences") as update:
        made = render_dataset(
            out,
            subjects=subjects,
            seed=seed,
            sequences=sequences,
            neutral=neutral,
            n_jobs=jobs,
            quirks=quirks,
            variation=HARD if hard else EASY,
            noise=noise,
            blink=blink,
            yaw=yaw,
            on_progress=update,
        )
    text = f"{made.sequences} sequences, {made.frames} frames of {made.subjects} people"
    if made.neutral:
        text += f", {made.neutral} of them neutral"
    say(f"wrote {out}: {text}, {made.labelled} sequences labelled, {len(made.quirks)} quirks planted")


@with_reading
@one_line_errors
def check(
    root: Root,
    reading: Reading = READING,
    deep: Annotated[
        bool,
        typer.Option(
            "--deep", help="Also decode every image and look for faces: damaged files, mixed sizes, several people."
        ),
    ] = False,
    csv: Annotated[
        Path | None,
        typer.Option(help="Also write the sequences as a table, to edit and read with --layout table."),
    ] = None,
    verbose: Verbose = False,
    overwrite: Overwrite = False,
) -> None:
    """Say what the data set ROOT holds, what is odd in it, and what would be left out. Writes nothing but --csv."""
    from fastck.dataset.check import check as check_root
    from fastck.outputs import check_output
    from fastck.views.terminal import render_check

    count: Callable[[SequenceRecord], int] | None = None
    if deep:
        from fastck.pipeline.detect import count_people

        count = count_people
    show_logs(verbose)
    read = reading.of(root)
    if csv is not None:
        # Elsewhere a file of tables may lie in the folder that is read.
        named = [path for path in (root, reading.labels) if path is not None]
        check_output(csv, [path for path in named if path.is_file()], overwrite=overwrite)
    with progress_bar("check", "frames") as update:
        report = check_root(
            root,
            **read,
            deep=deep,
            count_people=count,
            on_progress=update,
        )
    console.print(render_check(report))
    if csv is not None:
        from fastck.dataset.table import write_table

        write_table(report.records, csv, until=reading.until)
        note_formulas(cell for record in report.records for cell in (record.subject, record.label, record.fold))
        say(f"wrote {csv}: {report.n_sequences} sequences (fastck preprocess {csv} STORE --layout table)")


@with_reading
@one_line_errors
def folds(
    source: Annotated[Path, typer.Argument(metavar="STORE|ROOT", help="A store, or a data set's folder.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The CSV file to write.")],
    protocol: Annotated[
        str, typer.Option(help="subject-10fold, loso, stratified-group (all subject-independent), random-folds, table.")
    ] = "subject-10fold",
    number: Annotated[int, typer.Option("--folds", help="Folds of random-folds and stratified-group.")] = 10,
    seed: Annotated[int, typer.Option(help="Of random-folds and stratified-group.")] = 1,
    reading: Reading = READING,
    overwrite: Overwrite = False,
) -> None:
    """Split the labelled sequences of STORE or ROOT into folds that others can repeat.

    Writes a CSV file of sequence, subject and fold (from 1), for `fastck train --folds-file`. Sequences that a store
    has in its quarantine have their fold too: what is damaged moves no other.
    """
    from fastck.outputs import check_output
    from fastck.training.data.foldfile import assign_folds, is_store, read_listing
    from fastck.training.files import write_run_table
    from fastck.training.settings.config import TrainConfig

    if is_store(source) and reading != Reading():
        fail(f"{source} is a store, which says how its data set was read: leave --labels, --layout and the like out")
    check_output(output, [source] if reading.labels is None else [source, reading.labels], overwrite=overwrite)
    config = TrainConfig.from_dict({"protocol": protocol, "folds": number, "seed": seed})
    assigned = assign_folds(read_listing(source, **({} if is_store(source) else reading.of(source))), config)
    write_run_table(output, assigned)
    people, parts = assigned["subject"].nunique(), assigned["fold"].nunique()
    say(f"wrote {output}: {len(assigned)} sequences of {people} subjects in {parts} folds")
    note_formulas(assigned["subject"])
    split = int((assigned.groupby("subject")["fold"].nunique() > 1).sum())
    if split:
        note(f"{split} of the subjects are in several folds: subject leakage")
