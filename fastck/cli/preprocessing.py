"""The command that turns a data set into a store."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from fastck.cli.console import (
    INTERRUPTED,
    PreprocessView,
    console,
    fail,
    one_line_errors,
    progress_bar,
    say,
    show_logs,
    stderr,
)
from fastck.cli.options import READING, Jobs, Reading, Root, Scheduler, Verbose, with_reading
from fastck.config import CropPolicy, FlowPreset, Mode, Preset, Search


def whole_numbers(text: str, option: str) -> tuple[int, ...]:
    """Return the numbers of a comma-separated list."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"{option} takes whole numbers separated by commas, got {text!r}") from None


@with_reading
@one_line_errors
def preprocess(
    root: Root,
    store: Annotated[Path, typer.Argument(metavar="STORE", help="Folder to write; an unfinished run is continued.")],
    preset: Annotated[
        Preset,
        typer.Option(
            help="stable: one box per sequence, faster and without motion that is only crop jitter. "
            "paper: every frame searched by itself, as the paper's scripts do. aligned: eyes and mouth stay in place."
        ),
    ] = "stable",
    features: Annotated[
        str,
        typer.Option(
            help="Any of projection, mask, pool134, pool67, pool34, flow, flow_projection, units; with commas between."
        ),
    ] = "projection",
    reading: Reading = READING,
    jobs: Jobs = -1,
    scheduler: Scheduler = None,
    mode: Annotated[Mode, typer.Option(help="Difference of successive crops; the paper's scripts wrap.")] = "wrap",
    level: Annotated[int, typer.Option(help="Gray levels; a pixel is on where the difference is above it.")] = 127,
    size: Annotated[int, typer.Option(help="Side of the erosion's footprint in pixels.")] = 5,
    crop: Annotated[
        CropPolicy | None,
        typer.Option(
            help="In place of the preset's: a box per frame, one per sequence, median-filtered in time, or laid "
            "upright by eyes and mouth."
        ),
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
    flow_preset: Annotated[
        FlowPreset,
        typer.Option(help="How flow is computed: patches is fastck's own search, the others are OpenCV's (DIS)."),
    ] = "patches",
    boxes: Annotated[
        Path | None,
        typer.Option(
            help="CSV of boxes in place of detection, as `fastck detect` writes it: "
            "sequence,frame,top,left,bottom,right (frames from 1)."
        ),
    ] = None,
    cropped: Annotated[
        bool, typer.Option("--cropped", help="The frames are cut to the face already: search none.")
    ] = False,
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
    from fastck.config import WHOLE_FRAME, FlowConfig, MotionConfig, preset_faces
    from fastck.pipeline import dispatch

    show_logs(verbose)
    read = reading.of(root)
    numbers = whole_numbers(upsample, "--upsample") if upsample else None
    faces = preset_faces(preset, crop=crop, upsample=numbers, search=search)
    if cropped and boxes is not None:
        raise ValueError("--cropped takes whole frames for boxes: leave --boxes out")
    if cropped:
        faces = replace(faces, boxes=WHOLE_FRAME)
    # The cluster comes first: without it no work may start.
    if scheduler:
        from fastck.cluster import dask_cluster
    with progress_bar("preprocess", "frames") as update, dask_cluster(scheduler) if scheduler else nullcontext():
        view = PreprocessView(update)
        try:
            made = dispatch.preprocess(
                root,
                store,
                features=[name.strip() for name in features.split(",")],
                **read,
                faces=faces,
                motion=MotionConfig(mode=mode, level=level, size=size),
                flow=FlowConfig(preset=flow_preset),
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
    if not made.manifest["counts"]["sequences"]:
        fail(f"no sequence of {root} could be used: {made.path / 'quarantine.csv'} says why")
