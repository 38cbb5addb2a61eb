"""Commands that look at a store, or write it in another format."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from fastck.cli.console import console, fail, note, one_line_errors, progress_bar, say
from fastck.cli.options import MOST_PROBLEMS, Overwrite, StorePath
from fastck.config import ExportFormat, PictureFeature, PictureOrder, Preset


@one_line_errors
def info(
    store: StorePath,
    verify: Annotated[bool, typer.Option(help="Check every array's shape and every sequence's checksum.")] = False,
    html: Annotated[Path | None, typer.Option(help="Also write all of it as one self-contained HTML page.")] = None,
    root: Annotated[Path | None, typer.Option(help="The data set, for thumbnails of quarantined sequences.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Say what STORE holds: counts, lengths, missed frames, how much of the motion is crop jitter."""
    from fastck.outputs import check_output
    from fastck.store.reader import open_store
    from fastck.views.terminal import describe_store

    opened = open_store(store)
    if html is not None:
        check_output(html, [store] if root is None else [store, root], overwrite=overwrite)
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


@one_line_errors
def preview(
    source: Annotated[
        Path, typer.Argument(metavar="STORE|FOLDER|VIDEO", help="A store, or a folder of frames, or a video.")
    ],
    sequence: Annotated[
        str | None, typer.Argument(metavar="SEQUENCE", help="With a store: which one, e.g. S005_001.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The sheet of all stages, a PNG.")] = None,
    gif: Annotated[Path | None, typer.Option(help="Also the stages as they move, a GIF.")] = None,
    mp4: Annotated[Path | None, typer.Option(help="Also the stages as they move, an MP4.")] = None,
    root: Annotated[
        Path | None, typer.Option(help="With a store: the data set it was made from, to show frames and crops.")
    ] = None,
    preset: Annotated[Preset, typer.Option(help="Without a store: how faces are cropped.")] = "stable",
    compare: Annotated[bool, typer.Option(help="Presets paper and stable: crop jitter is seen at a glance.")] = False,
    landmarks: Annotated[
        bool, typer.Option("--landmarks", help="On the sheet: 68 points of the face and the head's turn, too.")
    ] = False,
    units: Annotated[
        bool, typer.Option("--units", help="On the sheet: the strongest facial action units of each frame, too.")
    ] = False,
    columns: Annotated[int, typer.Option(help="Frames shown at most.")] = 8,
    overwrite: Overwrite = False,
) -> None:
    """Draw every stage of one sequence: frame, box, crop, difference, mask, eroded mask, pooled, flow, projections."""
    from fastck.outputs import check_output
    from fastck.store.reader import open_store
    from fastck.views.animation import save_animation
    from fastck.views.preview import preview_clip, preview_store, with_landmarks, with_units
    from fastck.views.sheet import save_sheet

    if out is None and gif is None and mp4 is None:
        fail("nothing to write: name a file with -o FILE.png, --gif FILE.gif or --mp4 FILE.mp4")
    if (landmarks or units) and out is None:
        fail("--landmarks and --units are for the sheet: name a file with -o FILE.png")
    for path in (out, gif, mp4):
        if path is not None:
            check_output(path, [source] if root is None else [source, root], overwrite=overwrite)
    if sequence is None:
        drawn = preview_clip(source, preset=preset, compare=compare, columns=columns)
    else:
        drawn = preview_store(open_store(source), sequence, root=root, compare=compare, columns=columns)
    if drawn.note:
        note(drawn.note)
    if landmarks:
        drawn = with_landmarks(drawn)
    if units:
        drawn = with_units(drawn)
    if out is not None:
        say(f"wrote {save_sheet(drawn, out)}")
    for path in (gif, mp4):
        if path is not None:
            say(f"wrote {save_animation(drawn, path)}")


@one_line_errors
def export(
    store: StorePath,
    to: Annotated[
        Literal[ExportFormat, "png"],
        typer.Option(
            help="zarr: one chunked, compressed group. tfrecord: sharded files. parquet: files with a row per "
            "sequence, for pandas and Hugging Face's datasets. png: a folder of pictures per sequence, as the paper "
            "keeps its masks."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write; must not exist yet.")],
    shards: Annotated[int, typer.Option(help="Number of files for tfrecord and parquet.")] = 16,
    feature: Annotated[
        PictureFeature, typer.Option(help="With png: masks are 0 and 255, flow in colours; crops need --root.")
    ] = "mask",
    by: Annotated[
        PictureOrder | None, typer.Option(help="With png: one folder per emotion, named by its code.")
    ] = None,
    root: Annotated[
        Path | None, typer.Option(help="With png: the data set that the store was made from, for its crops.")
    ] = None,
) -> None:
    """Write a store in a format for other systems: Zarr, TFRecord, Parquet, or as pictures."""
    from fastck.store.export import export_store
    from fastck.store.reader import open_store

    with progress_bar("export", "sequences") as update:
        if to == "png":
            from fastck.views.pictures import export_pictures

            left_out = export_pictures(open_store(store), out, feature=feature, by=by, root=root, on_progress=update)
            if left_out:
                note(f"{left_out} sequences have no label: no folder of an emotion takes them")
        else:
            export_store(open_store(store), out, to=to, shards=shards, on_progress=update)
    say(f"wrote {out}")
