"""Commands that search faces: in any pictures, and with both searches to compare them."""

from pathlib import Path
from typing import Annotated

import typer

from fastck.cli.console import console, fail, note, one_line_errors, progress_bar, safe, say, stderr
from fastck.cli.options import (
    MOST_PROBLEMS,
    READING,
    Jobs,
    KindOption,
    Overwrite,
    Reading,
    Root,
    with_reading,
)
from fastck.config import Layout


@one_line_errors
def detect(
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT", help="Images, folders of them, videos.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE.csv", help="The table of boxes to write.")
    ] = None,
    frames: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also or instead: a table with seconds and people, a .csv or .parquet."),
    ] = None,
    fps: Annotated[
        float | None, typer.Option(help="Frames a second, for the seconds in --frames.  [default: a video's own times]")
    ] = None,
    largest: Annotated[
        bool, typer.Option("--largest", help="Only the largest face of each frame: several times as fast.")
    ] = False,
    upsample: Annotated[
        int, typer.Option(help="How often a frame is doubled first; the smallest face has 80 pixels / 2^upsample.")
    ] = 1,
    landmarks: Annotated[
        bool, typer.Option("--landmarks", help="Also 68 points of each face and the head's turn, in further columns.")
    ] = False,
    units: Annotated[
        bool, typer.Option("--units", help="In --frames: how strong each facial action unit is, 0 to 5, too.")
    ] = False,
    draw: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Also write every frame, with its boxes drawn, to a new or empty folder."),
    ] = None,
    layout: Annotated[
        Layout | None,
        typer.Option(help="Of INPUTs that are data sets.  [default: ckplus where there is a cohn-kanade-images]"),
    ] = None,
    kind: KindOption = None,
    jobs: Jobs = -1,
    overwrite: Overwrite = False,
) -> None:
    """Find faces: what dlib's frontal face detector finds, in a fraction of its time.

    -o writes one row per face and the surest face of a frame first: sequence,frame,top,left,bottom,right,score. The
    sequence of a photo is its file's name. Frames count from 1, edges are pixels, half-open. `fastck preprocess --boxes
    FILE.csv` takes it in place of its own search, and the largest face where a frame has several. --frames adds seconds
    and links faces into people. With --landmarks the table goes on with landmark_confidence, pose_yaw, pose_pitch,
    pose_roll (degrees), and x_0,y_0 to x_67,y_67 (pixels, iBUG's order).
    """
    import csv
    import io
    import os

    from fastck.dataset.inputs import read_inputs
    from fastck.outputs import check_output, write_atomically
    from fastck.pipeline.detect import COLUMNS, LANDMARK_COLUMNS, find_all_faces
    from fastck.recognition.clip import check_fps
    from fastck.views.frames_file import FramesFile, check_frames_file

    outputs = [path for path in (out, frames) if path is not None]
    if not outputs:
        fail("nothing to write: name a table with -o FILE.csv or --frames FILE.csv")
    check_fps(fps)
    if frames is not None:
        check_frames_file(frames)
    elif units:
        fail("--units adds columns to --frames FILE: name that file, too")
    if units:
        from fastck.recognition.frame_columns import unit_columns
    for path in outputs:
        if not path.absolute().parent.is_dir():
            fail(f"the folder of {path} does not exist: make it first")
    records, notes = read_inputs(inputs, layout=layout, kind=kind)
    for line in notes[:MOST_PROBLEMS]:
        note(line)
    if len(notes) > MOST_PROBLEMS:
        note(f"and {len(notes) - MOST_PROBLEMS} more")
    read = [path for record in records for path in record.files()]
    for path in outputs:
        check_output(path, read, overwrite=overwrite)
    if draw is not None:
        # Names that CK+'s own frames have, where it is their folder.
        if draw.resolve() in {Path(folder).resolve() for folder in set(map(os.path.dirname, read))}:
            fail(f"{draw} holds frames that are read: name a new folder for --draw")
        if draw.is_dir() and any(draw.iterdir()) and not overwrite:
            fail(f"{draw} is not empty: name a new folder for --draw, or give --overwrite to replace pictures in it")
        draw.mkdir(parents=True, exist_ok=True)
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow((*COLUMNS, *LANDMARK_COLUMNS) if landmarks else COLUMNS)
    per_frame = None if frames is None else FramesFile(frames)
    n_frames = n_faces = n_with_faces = 0
    with progress_bar("detect", "frames") as update:
        found = find_all_faces(
            records,
            upsample=upsample,
            largest_only=largest,
            landmarks=landmarks,
            units=units,
            draw=draw,
            n_jobs=jobs,
            on_progress=update,
        )
        failed = []
        try:
            for result in found:
                writer.writerows(row.cells() for row in result.faces)
                n_frames += result.n_frames
                n_faces += len(result.faces)
                n_with_faces += len({row.frame for row in result.faces})
                if per_frame is not None and result.n_frames:
                    rows = result.frames(fps=fps)
                    if units:
                        columns = unit_columns(rows["person"].to_numpy(), [row.seen for row in result.by_person()])
                        rows = rows.assign(**columns)
                    per_frame.add(rows)
                if result.reason:
                    failed.append(f"{result.sequence}: {result.reason}")
        finally:
            # After Ctrl-C or an error too.
            if per_frame is not None:
                per_frame.close()
    for line in failed[:MOST_PROBLEMS]:
        stderr.print(f"cut short: {safe(line)}", highlight=False, soft_wrap=True)
    if len(failed) > MOST_PROBLEMS:
        stderr.print(f"and {len(failed) - MOST_PROBLEMS} more", highlight=False)
    if not n_frames:
        fail("no frame could be read: nothing is written")
    if out is not None:
        write_atomically(out, table.getvalue().encode())
    for path in outputs:
        say(f"wrote {path}: {n_faces} faces in {n_with_faces} of {n_frames} frames")
    if draw is not None:
        say(f"wrote {n_frames} pictures to {draw}")


@with_reading
@one_line_errors
def compare_boxes(
    root: Root,
    reading: Reading = READING,
    jobs: Jobs = 1,
    limit: Annotated[int | None, typer.Option(help="Only so many sequences, spread evenly over all.")] = None,
) -> None:
    """Search every frame of ROOT with dlib and with --search tracked, and list each frame whose box differs.

    Writes nothing. With one worker, the default, the times of both are cleanest.
    """
    from fastck.pipeline.compare import compare_boxes as compare
    from fastck.views.terminal import data_table

    read = reading.of(root)
    with progress_bar("compare", "sequences") as update:
        result = compare(
            root,
            **read,
            n_jobs=jobs,
            limit=limit,
            on_progress=update,
        )
    if result.n_different:
        console.print(data_table(result.differences))
    text = f"{result.n_different} of {result.n_frames} frames differ, {result.n_faces} have a face"
    console.print(f"{text}; dlib takes {result.speedup:.1f} times as long")
