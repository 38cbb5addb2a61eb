"""Commands that say what a face shows: of clips, and live."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from fastck.cli.console import USER_ERROR, error_text, fail, note, one_line_errors, progress_bar, say
from fastck.cli.options import KindOption, Overwrite, note_formulas
from fastck.config import PersonChoice


@one_line_errors
def predict(
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="INPUT", help="Folders of frames, videos, photos, folders of such, CK+'s root."),
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
    frames: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write a table, one row per frame and face: a .csv or .parquet."),
    ] = None,
    landmarks: Annotated[
        bool,
        typer.Option("--landmarks", help="In --frames and --video: 68 points of each face and the head's turn, too."),
    ] = False,
    units: Annotated[
        bool,
        typer.Option("--units", help="In --frames and --plot: the strength of each facial action unit, 0 to 5, too."),
    ] = False,
    person: Annotated[
        PersonChoice, typer.Option(help="Answer for everyone, or for the face that is the largest at first.")
    ] = "all",
    fps: Annotated[
        float | None, typer.Option(help="Frames a second, for the seconds in --frames.  [default: a video's own times]")
    ] = None,
    neutral: Annotated[
        Path | None,
        typer.Option(
            metavar="PHOTO", help="The same person at rest: for photos, and for clips that begin in an expression."
        ),
    ] = None,
    kind: KindOption = None,
    stride: Annotated[
        int | None, typer.Option(help="With --run: frames between windows of a clip longer than the network's.")
    ] = None,
    overwrite: Overwrite = False,
    about: Annotated[bool, typer.Option("--about", help="Print the bundled recogniser's model card.")] = False,
) -> None:
    """Say which emotion each INPUT shows.

    Prints one line per clip and person: emotion or unsure, its probability, the frames from onset to apex. Without
    --run the bundled recogniser answers, which was trained on rendered people. A clip that cannot be used gets a line
    on stderr, the others are answered all the same, and the exit code is 2. Each answer is written when it is there.
    """
    from fastck.recogniser import bundled
    from fastck.recognition.clip import answering, check_fps, check_stride
    from fastck.recognition.frame_columns import FrameColumns
    from fastck.recognition.inputs import answer, list_clips
    from fastck.views.frames_file import check_frames_file
    from fastck.views.prediction import card_lines, prediction_line
    from fastck.views.prediction_files import AnswerFiles, Drawings, check_outputs, draw, name_drawings

    if about:
        from fastck.faces.units import bundled_units
        from fastck.recognition.judge import bundled_judge

        for line in card_lines(bundled(), bundled_units(), bundled_judge()):
            say(line)
        return
    if not inputs:
        fail("nothing to look at: name a folder of frames, a video or a data set, or ask for --about")
    drawings = Drawings(plot=plot, video=video)
    files = (json_file, csv_file, frames)
    check_outputs(files, drawings.places)
    check_stride(stride, run)
    check_fps(fps)
    if frames is not None:
        check_frames_file(frames)
    if landmarks and frames is None and video is None:
        fail("--landmarks adds to --frames FILE and --video OUT: name one of them, too")
    if units and frames is None and plot is None:
        fail("--units adds to --frames FILE and --plot OUT: name one of them, too")
    if run is not None and video is not None:
        fail("--video shows what the bundled recogniser sees: leave --run out")
    opened = None
    if run is not None:
        from fastck.training.run import open_run

        opened = open_run(run)
    clips = list_clips(inputs or [], kind=kind, on_note=note)
    called = Counter(clip.record.sequence for clip in clips if clip.record is not None)
    names = name_drawings(clips, drawings.places, files=files, overwrite=overwrite)
    to_stdout = Path("-") in files
    ask = answering(
        opened,
        stride=stride,
        person=person,
        neutral=neutral,
        keep_flow=any(drawings.places),
        columns=FrameColumns(landmarks=landmarks, units=units),
    )
    classes = bundled().classes if opened is None else opened.classes
    written = AnswerFiles(*files, classes=classes)
    trained_on = ""
    told: set[str] = set()
    failed = False
    try:
        with progress_bar("predict", "frames", transient=True) as bar:
            for answered in answer(clips, ask=ask, fps=fps, on_progress=bar):
                bar.stop()
                written.add(answered)
                if answered.prediction is None:
                    failed = True
                    note(f"error: {answered.source}: {answered.error}")
                    continue
                trained_on = answered.prediction.trained_on
                for one in answered.prediction.people:
                    if not to_stdout:
                        say(prediction_line(one, by_path=called[one.clip] > 1))
                    # What holds for every photo is said once.
                    for text in (text for text in one.notes if text not in told):
                        note(text)
                        told.add(text)
                try:
                    for drawn in draw(answered, drawings, several=len(clips) > 1, name=names.get(answered.source)):
                        note(f"wrote {drawn}")
                except (ValueError, OSError) as error:
                    failed = True
                    note(f"error: {answered.source} is answered but not drawn: {error_text(error)}")
        if trained_on and not to_stdout:
            say(trained_on)
    finally:
        # After Ctrl-C or an error too.
        for path in written.close():
            note(f"wrote {path}")
        if csv_file is not None:
            note_formulas(classes)
    if failed:
        raise typer.Exit(USER_ERROR)


@one_line_errors
def live(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A camera's number, or a video or a folder of frames.")
    ] = "0",
    headless: Annotated[
        bool, typer.Option("--headless", help="Print lines of text in place of the page; needs no extra.")
    ] = False,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Where the page is, on 127.0.0.1; 0 for any free port.")
    ] = 8765,
    loop: Annotated[bool, typer.Option("--loop", help="Play a video or folder again and again, until Ctrl-C.")] = False,
    landmarks: Annotated[
        bool, typer.Option("--landmarks", help="Also show 68 points of the face and the head's turn.")
    ] = False,
    units: Annotated[
        bool, typer.Option("--units", help="Also show the strength of each facial action unit, 0 to 5.")
    ] = False,
) -> None:
    """Say what a face shows while it shows it: a camera, or a video played in real time.

    Prints the address of a page that any browser on this machine shows, and no other machine: the picture with face box
    and flow, probabilities, milliseconds per stage, delay, dropped frames. Needs the extra `live`. The newest frame is
    looked at; frames that came meanwhile are dropped and counted. Ctrl-C stops it. The bundled recogniser answers: it
    was trained on rendered people.
    """
    from fastck.recognition.live.run import run_live
    from fastck.recognition.live.stages import Extras

    extras = Extras(landmarks=landmarks, units=units)
    run_live(source, port=None if headless else port, loop=loop, extras=extras, on_line=say, on_note=note)
