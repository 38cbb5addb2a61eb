"""The command line: each command reads its arguments, calls one library function and prints what came of it.

Imports stand inside the commands, so that `--help` answers at once.
"""

from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fastck import __version__
from fastck.console import (
    INTERRUPTED,
    PreprocessView,
    console,
    fail,
    one_line_errors,
    progress_bar,
    reasons_table,
    show_logs,
    stderr,
)

app = typer.Typer(
    name="fastck",
    help="Folders of face-image sequences to memory-mapped motion features, fast, and a ConvLSTM2D trained on them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Layout(StrEnum):
    """How a data set's folders are organised."""

    ckplus = "ckplus"
    folders = "folders"
    labelled_folders = "labelled-folders"


class Preset(StrEnum):
    """How faces are found and cut out."""

    paper = "paper"
    stable = "stable"


class Mode(StrEnum):
    """How two crops are subtracted."""

    wrap = "wrap"
    absolute = "absolute"
    saturate = "saturate"


class Crop(StrEnum):
    """Which box a frame is cropped with."""

    frame = "frame"
    sequence = "sequence"
    smooth = "smooth"


class Search(StrEnum):
    """Who searches for faces."""

    full = "full"
    tracked = "tracked"


class ExportFormat(StrEnum):
    """What a store is exported to."""

    zarr = "zarr"
    tfrecord = "tfrecord"


Root = Annotated[
    Path, typer.Argument(metavar="ROOT", help="The data set: the folder that holds cohn-kanade-images and Emotion.")
]
StorePath = Annotated[Path, typer.Argument(metavar="STORE", help="A store that `fastck preprocess` made.")]
Labels = Annotated[Path | None, typer.Option(help="Folder of label files.  [default: ROOT/Emotion]")]
LayoutOption = Annotated[
    Layout,
    typer.Option(
        help="ckplus: SUBJECT/SEQUENCE/frames. folders: every folder of images and every video is a sequence. "
        "labelled-folders: the same, and the top folder's name is the emotion."
    ),
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
            help="paper: every frame searched by itself, bit for bit the paper's scripts. "
            "stable: one box per sequence, faster and without motion that is only crop jitter."
        ),
    ] = Preset.paper,
    features: Annotated[
        str, typer.Option(help="Any of projection,mask,pool134,pool67,pool34, separated by commas.")
    ] = "projection",
    labels: Labels = None,
    layout: LayoutOption = Layout.ckplus,
    jobs: Jobs = -1,
    scheduler: Annotated[
        str | None,
        typer.Option(metavar="tcp://HOST:PORT", help="A Dask scheduler to send the work to (extra `dask`)."),
    ] = None,
    mode: Annotated[Mode, typer.Option(help="Difference of successive crops; the paper's scripts wrap.")] = Mode.wrap,
    level: Annotated[int, typer.Option(help="Grey levels; a pixel is on where the difference is above it.")] = 127,
    size: Annotated[int, typer.Option(help="Side of the erosion's footprint in pixels.")] = 5,
    crop: Annotated[
        Crop | None,
        typer.Option(help="In place of the preset's: a box per frame, one per sequence, or median-filtered in time."),
    ] = None,
    upsample: Annotated[
        str | None,
        typer.Option(help="In place of the preset's: how often the image is doubled before the search, e.g. 1 or 0,1."),
    ] = None,
    search: Annotated[
        Search | None,
        typer.Option(help="full: dlib's search of the whole image. tracked: fastck's, around the last box."),
    ] = None,
    boxes: Annotated[
        Path | None,
        typer.Option(help="CSV of boxes in place of detection: sequence,frame,top,left,bottom,right (frames from 1)."),
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace a store of other settings or input.")] = False,
    box_cache: Annotated[
        bool, typer.Option(help="Keep detections for later runs in the cache folder (FASTCK_CACHE_DIR).")
    ] = True,
    verbose: Verbose = False,
) -> None:
    """Turn the data set ROOT into STORE, a folder of memory-mapped motion features.

    Writes STORE/: manifest.json, sequences.csv, quarantine.csv, boxes.npy and one .npy per feature. A sequence that
    cannot be used goes to the quarantine with its reason, and the run goes on. Interrupt it as you like: the same
    command continues where it was.
    """
    from fastck import pipeline
    from fastck.config import MotionConfig

    show_logs(verbose)
    # The cluster comes first: without it no work may start.
    if scheduler:
        from fastck.cluster import dask_cluster
    with progress_bar("preprocess", "frames") as update, dask_cluster(scheduler) if scheduler else nullcontext():
        view = PreprocessView(update)
        try:
            made = pipeline.preprocess(
                root,
                store,
                preset=preset.value,
                features=[name.strip() for name in features.split(",")],
                labels=labels,
                layout=layout.value,
                motion=MotionConfig(mode=mode.value, level=level, size=size),
                crop=crop.value if crop else None,
                upsample=whole_numbers(upsample, "--upsample") if upsample else None,
                search=search.value if search else None,
                boxes=boxes,
                n_jobs=jobs,
                overwrite=overwrite,
                box_cache=box_cache,
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
            console.print(reasons_table(view.last.reasons))
    console.print(f"store: {store} (fastck info {store})")
    if made.table.empty:
        fail(f"no sequence of {root} could be used: {made.path / 'quarantine.csv'} says why")


@app.command()
@one_line_errors
def export(
    store: StorePath,
    to: Annotated[ExportFormat, typer.Option(help="zarr: one chunked, compressed group. tfrecord: sharded files.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write; must not exist yet.")],
    shards: Annotated[int, typer.Option(help="Number of files for tfrecord.")] = 16,
) -> None:
    """Write a store in a format for larger systems: Zarr or TFRecord."""
    from fastck.export import export_store
    from fastck.store import open_store

    with progress_bar("export", "sequences") as update:
        export_store(open_store(store), out, to=to.value, shards=shards, on_progress=lambda n, of: update(n, of, ""))
    console.print(f"wrote {out}")


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
