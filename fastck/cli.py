"""The command line: each command reads its arguments, calls one library function and prints what came of it.

Imports stand inside the commands, so that `--help` answers at once.
"""

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from fastck import __version__
from fastck.config import CropPolicy, ExportFormat, Layout, Mode, Preset, Search, Until
from fastck.console import (
    INTERRUPTED,
    USER_ERROR,
    PreprocessView,
    console,
    fail,
    note,
    one_line_errors,
    progress_bar,
    safe,
    say,
    show_logs,
    stderr,
)
from fastck.training.options import SettingsCommand, with_settings

app = typer.Typer(
    name="fastck",
    help="Folders of face-image sequences to memory-mapped motion features, fast, and a ConvLSTM2D trained on them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

MOST_PROBLEMS = 20  # lines; the rest is counted


Root = Annotated[
    Path,
    typer.Argument(metavar="ROOT", help="The data set: a folder as --layout says, or a table."),
]
StorePath = Annotated[Path, typer.Argument(metavar="STORE", help="A store that `fastck preprocess` made.")]
Labels = Annotated[Path | None, typer.Option(help="Folder of label files.  [default: ROOT/Emotion]")]
LayoutOption = Annotated[
    Layout,
    typer.Option(
        help="ckplus: SUBJECT/SEQUENCE/frames. folders: every folder of images and every video is a sequence. "
        "labelled-folders: the same, and the top folder's name is the emotion. table: a CSV file with the columns path "
        "and subject and, where you like, label, sequence, onset, apex, offset, fold."
    ),
]
UntilOption = Annotated[
    Until, typer.Option(help="With a table: the last frame used of each clip; the first is its onset.")
]
Jobs = Annotated[int, typer.Option("--jobs", "-j", help="Workers; -1 for one per core. Never changes the result.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say what is being done.")]


def show_version(wanted: bool) -> None:
    """Print the version and leave."""
    if wanted:
        print(f"fastck {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """Folders of face-image sequences to memory-mapped motion features, and a ConvLSTM2D trained on them."""


def whole_numbers(text: str, option: str) -> tuple[int, ...]:
    """Return the numbers of a comma-separated list."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"{option} takes whole numbers separated by commas, got {text!r}") from None


@app.command()
@one_line_errors
def preprocess(
    root: Root,
    store: Annotated[Path, typer.Argument(metavar="STORE", help="Folder to write; an unfinished run is continued.")],
    preset: Annotated[
        Preset,
        typer.Option(
            help="stable: one box per sequence, faster and without motion that is only crop jitter. "
            "paper: every frame searched by itself, as the paper's scripts do."
        ),
    ] = "stable",
    features: Annotated[
        str,
        typer.Option(help="Any of projection,mask,pool134,pool67,pool34,flow,flow_projection, separated by commas."),
    ] = "projection",
    labels: Labels = None,
    layout: LayoutOption = "ckplus",
    until: UntilOption = "apex",
    jobs: Jobs = -1,
    scheduler: Annotated[
        str | None,
        typer.Option(metavar="tcp://HOST:PORT", help="A Dask scheduler to send the work to (extra `dask`)."),
    ] = None,
    mode: Annotated[Mode, typer.Option(help="Difference of successive crops; the paper's scripts wrap.")] = "wrap",
    level: Annotated[int, typer.Option(help="Gray levels; a pixel is on where the difference is above it.")] = 127,
    size: Annotated[int, typer.Option(help="Side of the erosion's footprint in pixels.")] = 5,
    crop: Annotated[
        CropPolicy | None,
        typer.Option(help="In place of the preset's: a box per frame, one per sequence, or median-filtered in time."),
    ] = None,
    upsample: Annotated[
        str | None,
        typer.Option(help="In place of the preset's: how often the image is doubled before the search, e.g. 1 or 0,1."),
    ] = None,
    search: Annotated[
        Search | None,
        typer.Option(
            help="tracked: fastck's compiled search, only as much as the largest face needs. full: dlib's own. "
            "The boxes are the same; fastck compare-boxes checks it on your data.  [default: tracked]"
        ),
    ] = None,
    boxes: Annotated[
        Path | None,
        typer.Option(
            help="CSV of boxes in place of detection, as `fastck detect` writes it: "
            "sequence,frame,top,left,bottom,right (frames from 1)."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace a store of other settings or input.")] = False,
    retry: Annotated[
        bool, typer.Option("--retry", help="Look at the sequences in quarantine again: their files were mended.")
    ] = False,
    box_cache: Annotated[
        bool, typer.Option(help="Keep detections for later runs in the cache folder (FASTCK_CACHE_DIR).")
    ] = True,
    keep_crops: Annotated[
        bool,
        typer.Option(
            "--keep-crops",
            help="Keep the cut-out faces there too, 71 kB a frame, and use those kept: another mode, level, footprint "
            "or feature then decodes nothing.",
        ),
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Turn the data set ROOT into STORE, a folder of memory-mapped motion features.

    Writes STORE/: manifest.json, sequences.csv, quarantine.csv, boxes.npy and one .npy per feature. A sequence that
    cannot be used goes to the quarantine with its reason, and the run goes on. Interrupt it as you like: the same
    command continues where it was.
    """
    from fastck import pipeline
    from fastck.config import MotionConfig, preset_faces

    show_logs(verbose)
    numbers = whole_numbers(upsample, "--upsample") if upsample else None
    faces = preset_faces(preset, crop=crop, upsample=numbers, search=search)
    # The cluster comes first: without it no work may start.
    if scheduler:
        from fastck.pipeline.cluster import dask_cluster
    with progress_bar("preprocess", "frames") as update, dask_cluster(scheduler) if scheduler else nullcontext():
        view = PreprocessView(update)
        try:
            made = pipeline.preprocess(
                root,
                store,
                features=[name.strip() for name in features.split(",")],
                labels=labels,
                layout=layout,
                until=until,
                faces=faces,
                motion=MotionConfig(mode=mode, level=level, size=size),
                boxes=boxes,
                n_jobs=jobs,
                overwrite=overwrite,
                retry=retry,
                box_cache=box_cache,
                keep_crops=keep_crops,
                on_progress=view,
            )
        except KeyboardInterrupt:
            stderr.print(view.stopped())
            raise typer.Exit(INTERRUPTED) from None
    if view.last is None:
        console.print("complete already, nothing to do")
    else:
        console.print(view.summary(view.last))
        if view.last.reasons:
            from fastck.views.terminal import reasons_table

            console.print(reasons_table(view.last.reasons))
    say(f"store: {store} (fastck info {store})")
    if made.table.empty:
        fail(f"no sequence of {root} could be used: {made.path / 'quarantine.csv'} says why")


@app.command()
@one_line_errors
def check(
    root: Root,
    labels: Labels = None,
    layout: LayoutOption = "ckplus",
    until: UntilOption = "apex",
    deep: Annotated[bool, typer.Option(help="Decode every frame too: finds damaged files and mixed sizes.")] = False,
    csv: Annotated[
        Path | None,
        typer.Option(help="Also write the sequences as a table, to edit and read with --layout table."),
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Say what the data set ROOT holds, what is odd in it, and what would be left out. Writes nothing but --csv."""
    from fastck.dataset.check import check as check_root
    from fastck.views.terminal import render_check

    show_logs(verbose)
    with progress_bar("check", "sequences") as update:
        report = check_root(
            root,
            labels=labels,
            layout=layout,
            until=until,
            deep=deep,
            on_progress=update,
        )
    console.print(render_check(report))
    if csv is not None:
        from fastck.dataset.table import write_table

        write_table(report.records, csv, until=until)
        say(f"wrote {csv}: {report.n_sequences} sequences (fastck preprocess {csv} STORE --layout table)")


@app.command()
@one_line_errors
def info(
    store: StorePath,
    verify: Annotated[bool, typer.Option(help="Check every array's shape and every sequence's checksum.")] = False,
    html: Annotated[Path | None, typer.Option(help="Also write all of it as one self-contained HTML page.")] = None,
    root: Annotated[Path | None, typer.Option(help="The data set, for thumbnails of quarantined sequences.")] = None,
) -> None:
    """Say what STORE holds: counts, lengths, missed frames, how much of the motion is crop jitter."""
    from fastck.store.reader import open_store
    from fastck.views.terminal import describe_store

    opened = open_store(store)
    console.print(describe_store(opened))
    if html is not None:
        from fastck.views.store_page import info_html

        say(f"wrote {info_html(opened, html, root=root)}")
    if verify:
        problems = list(opened.verify())
        for problem in problems[:MOST_PROBLEMS]:
            note(problem)
        if problems:
            fail(f"{store} has {len(problems)} problems: make it again with fastck preprocess --overwrite")
        console.print("verified: every shape and checksum is right")


@app.command()
@one_line_errors
def preview(
    source: Annotated[
        Path, typer.Argument(metavar="STORE|FOLDER|VIDEO", help="A store, or a folder of frames, or a video.")
    ],
    sequence: Annotated[
        str | None, typer.Argument(metavar="[SEQUENCE]", help="With a store: which one, e.g. S005_001.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The sheet of all stages, a PNG.")] = None,
    gif: Annotated[Path | None, typer.Option(help="Also the stages as they move, a GIF.")] = None,
    mp4: Annotated[Path | None, typer.Option(help="Also the stages as they move, an MP4.")] = None,
    root: Annotated[
        Path | None, typer.Option(help="With a store: the data set it was made from, to show frames and crops.")
    ] = None,
    preset: Annotated[Preset, typer.Option(help="Without a store: how faces are cropped.")] = "stable",
    compare: Annotated[bool, typer.Option(help="Both presets side by side: crop jitter is seen at a glance.")] = False,
    columns: Annotated[int, typer.Option(help="Frames shown at most.")] = 8,
) -> None:
    """Draw every stage of one sequence: frame, box, crop, difference, mask, eroded mask, pooled, flow, projections."""
    from fastck.store.reader import open_store
    from fastck.views.animation import save_animation
    from fastck.views.preview import preview_clip, preview_store
    from fastck.views.sheet import save_sheet

    if out is None and gif is None and mp4 is None:
        fail("nothing to write: name a file with -o FILE.png, --gif FILE.gif or --mp4 FILE.mp4")
    if sequence is None:
        drawn = preview_clip(source, preset=preset, compare=compare, columns=columns)
    else:
        drawn = preview_store(open_store(source), sequence, root=root, compare=compare, columns=columns)
    if drawn.note:
        note(drawn.note)
    if out is not None:
        say(f"wrote {save_sheet(drawn, out)}")
    for path in (gif, mp4):
        if path is not None:
            say(f"wrote {save_animation(drawn, path)}")


@app.command()
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


@app.command(cls=SettingsCommand)
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
    *,
    settings: dict[str, Any],
) -> None:
    """Train a network on one STORE or several together, test it, and write all about it to the run's folder.

    Writes RUN/: predictions.csv (of the test part), training_predictions.csv, history.csv, baselines.csv, report.html,
    .json and .txt, classification_report.txt and .json, confusion_matrix.png, accuracy.png, loss.png, model.keras,
    model_summary.txt and run.json. Runs with several folds keep each fold's files under RUN/folds.
    """
    from fastck.training.config import TrainConfig, parsed, read_settings
    from fastck.training.report import report_text
    from fastck.training.train import train as train_run

    if folds_file is not None and "protocol" in settings:
        fail("--folds-file and --protocol both say how to split: give one of them")
    chosen = TrainConfig.from_dict((read_settings(config) if config else {}) | parsed(settings))
    verbose = 1 if sys.stdout.isatty() else 2
    made = train_run(
        stores, output, chosen, folds_file=folds_file, resume=resume, verbose=verbose, on_message=typer.echo
    )
    typer.echo(report_text(made.report))
    typer.echo(f"written to {output}")


@app.command()
@one_line_errors
def folds(
    source: Annotated[Path, typer.Argument(metavar="STORE|ROOT", help="A store, or a data set's folder.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The CSV file to write.")],
    protocol: Annotated[
        str, typer.Option(help="subject-10fold, loso, stratified-group (all subject-independent), random-folds, table.")
    ] = "subject-10fold",
    number: Annotated[int, typer.Option("--folds", help="Folds of random-folds and stratified-group.")] = 10,
    seed: Annotated[int, typer.Option(help="Of random-folds and stratified-group.")] = 1,
    labels: Labels = None,
    layout: LayoutOption = "ckplus",
) -> None:
    """Deal the labelled sequences of STORE or ROOT out into folds that others can repeat.

    Writes a CSV file of sequence, subject and fold (from 1), for `fastck train --folds-file`. Sequences that a store
    has in its quarantine have their fold too: what is damaged moves no other.
    """
    from fastck.training.config import TrainConfig
    from fastck.training.foldfile import deal_folds, read_listing
    from fastck.training.run import write_table

    config = TrainConfig.from_dict({"protocol": protocol, "folds": number, "seed": seed})
    dealt = deal_folds(read_listing(source, labels=labels, layout=layout), config)
    write_table(output, dealt)
    people, parts = dealt["subject"].nunique(), dealt["fold"].nunique()
    say(f"wrote {output}: {len(dealt)} sequences of {people} subjects in {parts} folds")
    split = int((dealt.groupby("subject")["fold"].nunique() > 1).sum())
    if split:
        note(f"{split} of the subjects are in several folds: subject leakage")


@app.command()
@one_line_errors
def predict(
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="INPUT...", help="Folders of frames, videos, folders of such, CK+'s root."),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="A training run, or one of its folds.  [default: the bundled recogniser]"),
    ] = None,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", metavar="FILE", help="Also write a list with one object per clip; - for stdout alone."),
    ] = None,
    csv_file: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="Also write a table, one row per window; - for stdout alone."),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="OUT", help="Also draw the probabilities over time: a PNG, for several clips a folder."),
    ] = None,
    video: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT", help="Also draw box, flow and bars over the clip: an MP4, for several clips a folder."
        ),
    ] = None,
    stride: Annotated[
        int | None, typer.Option(help="With --run: frames between windows of a clip longer than the network's.")
    ] = None,
    about: Annotated[bool, typer.Option("--about", help="Print the bundled recogniser's model card.")] = False,
) -> None:
    """Say which emotion each INPUT shows.

    Prints one line per clip: emotion or unsure, its probability, the frames from onset to apex. Without --run the
    bundled recogniser answers, which was trained on rendered people. A clip that cannot be used gets a line on stderr,
    the others are answered all the same, and the exit code is 2.
    """
    from fastck.recognition.inputs import answer, list_clips
    from fastck.views.prediction import card_lines, prediction_line
    from fastck.views.prediction_files import check_outputs, draw, write_json, write_table

    if about:
        from fastck.recognition.model import bundled

        for line in card_lines(bundled()):
            say(line)
        return
    if not inputs:
        fail("nothing to look at: name a folder of frames, a video or a data set, or ask for --about")
    check_outputs(json_file, csv_file, plot=plot, video=video, stride=stride, run=run)
    opened = None
    if run is not None:
        from fastck.training.run import open_run

        opened = open_run(run)
    clips = list_clips(inputs or [])
    to_stdout = Path("-") in (json_file, csv_file)
    answers = []
    for answered in answer(clips, run=opened, stride=stride):
        answers.append(answered)
        if answered.prediction is None:
            note(f"error: {answered.source}: {answered.error}")
            continue
        if not to_stdout:
            say(prediction_line(answered.prediction))
        for text in answered.prediction.notes:
            note(text)
        for drawn in draw(answered, plot=plot, video=video, several=len(clips) > 1):
            note(f"wrote {drawn}")
    trained_on = next((given.prediction.trained_on for given in answers if given.prediction), "")
    if trained_on and not to_stdout:
        say(trained_on)
    for path, write in ((json_file, write_json), (csv_file, write_table)):
        if path is not None:
            write(answers, path)
            if path != Path("-"):
                note(f"wrote {path}")
    if any(given.error for given in answers):
        raise typer.Exit(USER_ERROR)


@app.command()
@one_line_errors
def live(
    source: Annotated[
        str, typer.Argument(metavar="[SOURCE]", help="A camera's number, or a video or a folder of frames.")
    ] = "0",
    headless: Annotated[
        bool, typer.Option("--headless", help="Print lines of text in place of the page; needs no extra.")
    ] = False,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Where the page is, on 127.0.0.1; 0 for any free port.")
    ] = 8765,
    loop: Annotated[bool, typer.Option("--loop", help="Play a video or folder again and again, until Ctrl-C.")] = False,
) -> None:
    """Say what a face shows while it shows it: a camera, or a video played in real time.

    Prints the address of a page that any browser on this machine shows, and no other machine: the picture with face box
    and flow, probabilities, milliseconds per stage, delay, dropped frames. Needs the extra `live`. The newest frame is
    looked at; frames that came meanwhile are dropped and counted. Ctrl-C stops it. The bundled recogniser answers: it
    was trained on rendered people.
    """
    from fastck.live.run import run_live

    run_live(source, headless=headless, port=port, loop=loop, on_line=say, on_note=note)


@app.command()
@one_line_errors
def report(run: Annotated[Path, typer.Argument(metavar="RUN", help="A finished training run's folder.")]) -> None:
    """Write RUN's report again: report.html (one file), .txt, .json, the tables and the pictures; print the text."""
    from fastck.training.report import report_text, write_report

    console.print(report_text(write_report(run)), markup=False, highlight=False)
    say(f"wrote {run / 'report.html'}")


@app.command()
@one_line_errors
def demo(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new or empty folder.")],
    subjects: Annotated[int, typer.Option(help="People to render, at least 4.")] = 12,
    seed: Annotated[int, typer.Option(help="Another seed, other people.")] = 0,
    epochs: Annotated[int | None, typer.Option(help="Per training run; there are four.  [default: a few]")] = None,
    jobs: Jobs = -1,
) -> None:
    """Show the whole way in minutes: render faces, preprocess with both presets, train, report, compare.

    Needs the extra `train`. Writes OUT/: the rendered set, a store and two training runs per preset, README.md.
    """
    from fastck.demo import EPOCHS, run_demo

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


@app.command()
@one_line_errors
def detect(
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT...", help="Images, folders of them, videos.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE.csv", help="The table to write.")],
    largest: Annotated[
        bool, typer.Option("--largest", help="Only the largest face of each frame: several times as fast.")
    ] = False,
    upsample: Annotated[
        int, typer.Option(help="How often a frame is doubled first; the smallest face has 80 pixels / 2^upsample.")
    ] = 1,
    draw: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Also write every frame there, with its boxes drawn.")
    ] = None,
    layout: Annotated[
        Layout | None,
        typer.Option(help="Of the folders.  [default: ckplus where there is a cohn-kanade-images, else folders]"),
    ] = None,
    jobs: Jobs = -1,
) -> None:
    """Find faces: what dlib's frontal face detector finds, in a fraction of its time.

    Writes FILE.csv, one row per face and the surest face of a frame first: sequence,frame,top,left,bottom,right,score.
    Frames count from 1, edges are pixels, half-open. `fastck preprocess --boxes FILE.csv` takes it in place of its own
    search, and the largest face where a frame has several.
    """
    import csv
    import io

    from fastck.pipeline.detect import COLUMNS, find_all_faces, input_records
    from fastck.store.files import write_atomically

    if not out.absolute().parent.is_dir():
        fail(f"the folder of {out} does not exist: make it first")
    records = input_records(inputs, layout=layout)
    if draw is not None:
        draw.mkdir(parents=True, exist_ok=True)
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(COLUMNS)
    n_frames = n_faces = n_with_faces = 0
    with progress_bar("detect", "frames") as update:
        found = find_all_faces(
            records,
            upsample=upsample,
            largest_only=largest,
            draw=draw,
            n_jobs=jobs,
            on_progress=update,
        )
        failed = []
        for result in found:
            writer.writerows(row.cells() for row in result.faces)
            n_frames += result.n_frames
            n_faces += len(result.faces)
            n_with_faces += len({row.frame for row in result.faces})
            if result.reason:
                failed.append(f"{result.sequence}: {result.reason}")
    for line in failed[:MOST_PROBLEMS]:
        stderr.print(f"cut short: {safe(line)}", highlight=False, soft_wrap=True)
    if len(failed) > MOST_PROBLEMS:
        stderr.print(f"and {len(failed) - MOST_PROBLEMS} more", highlight=False)
    if not n_frames:
        fail("no frame could be read: nothing is written")
    write_atomically(out, table.getvalue().encode())
    say(f"wrote {out}: {n_faces} faces in {n_with_faces} of {n_frames} frames")
    if draw is not None:
        say(f"wrote {n_frames} pictures to {draw}")


@app.command()
@one_line_errors
def compare_boxes(
    root: Root,
    labels: Labels = None,
    layout: LayoutOption = "ckplus",
    until: UntilOption = "apex",
    jobs: Jobs = 1,
    limit: Annotated[int | None, typer.Option(help="Only so many sequences, spread evenly over all.")] = None,
) -> None:
    """Search every frame of ROOT with dlib and with --search tracked, and list each frame whose box differs.

    Writes nothing. With one worker, the default, the times of both are cleanest.
    """
    from fastck.pipeline.compare import compare_boxes as compare
    from fastck.views.terminal import data_table

    with progress_bar("compare", "sequences") as update:
        result = compare(
            root,
            labels=labels,
            layout=layout,
            until=until,
            n_jobs=jobs,
            limit=limit,
            on_progress=update,
        )
    if result.n_different:
        console.print(data_table(result.differences))
    text = f"{result.n_different} of {result.n_frames} frames differ, {result.n_faces} have a face"
    console.print(f"{text}; dlib takes {result.speedup:.1f} times as long")


@app.command()
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


@app.command()
@one_line_errors
def export(
    store: StorePath,
    to: Annotated[
        ExportFormat,
        typer.Option(
            help="zarr: one chunked, compressed group. tfrecord: sharded files. parquet: files with a row per "
            "sequence, for pandas and Hugging Face's datasets."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write; must not exist yet.")],
    shards: Annotated[int, typer.Option(help="Number of files for tfrecord and parquet.")] = 16,
) -> None:
    """Write a store in a format for other systems: Zarr, TFRecord or Parquet."""
    from fastck.store.export import export_store
    from fastck.store.reader import open_store

    with progress_bar("export", "sequences") as update:
        export_store(open_store(store), out, to=to, shards=shards, on_progress=update)
    say(f"wrote {out}")


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
