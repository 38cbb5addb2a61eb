"""Answers as files: JSON, a table, plots and videos."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from fastck.outputs import check_output, write_atomically
from fastck.recognition.clip import ClipPrediction, check_stride
from fastck.recognition.inputs import Answer
from fastck.views.prediction import prediction_table

STDOUT = Path("-")


def check_outputs(
    json_file: Path | None,
    csv_file: Path | None,
    *,
    plot: Path | None,
    video: Path | None,
    stride: int | None,
    run: Path | None,
) -> None:
    """Raise ValueError where options do not go together, or a folder to write to is missing."""
    if json_file == csv_file == STDOUT:
        raise ValueError("--json and --csv cannot both go to stdout: name a file for one of them")
    check_stride(stride, run)
    if run is not None and video is not None:
        raise ValueError("--video shows what the bundled recogniser sees: leave --run out")
    for path in (json_file, csv_file, plot, video):
        if path is not None and not path.absolute().parent.is_dir():
            raise ValueError(f"the folder of {path} does not exist: make it first")


def name_drawings(clips: Sequence[Answer], outputs: Sequence[Path | None]) -> dict[str, str]:
    """Return a name for each clip's drawings, by its source; clips called alike are told apart by a number.

    Raises
    ------
    ValueError
        If a file that is to be written is one of the clips' own.
    """
    names: dict[str, str] = {}
    used: set[str] = set()
    records = {clip.source: clip.record for clip in clips if clip.record is not None}
    for source, record in records.items():
        name, number = record.sequence, 1
        while name.casefold() in used:
            number += 1
            name = f"{record.sequence}-{number}"
        used.add(name.casefold())
        names[source] = name
    read = [path for record in records.values() for path in record.files()]
    for out in outputs:
        places = [out] if out is not None else []
        if out is not None and out.is_dir():
            places = [out / f"{name}{suffix}" for name in names.values() for suffix in (".png", ".mp4")]
        for place in places:
            check_output(place, read)
    return names


def write_json(answers: Sequence[Answer], path: Path) -> None:
    """Write a list with one object per clip; to stdout for `STDOUT`."""
    _write(json.dumps([answer.as_dict() for answer in answers], indent=2) + "\n", path)


def write_table(answers: Sequence[Answer], path: Path) -> None:
    """Write a CSV table with one row per window; to stdout for `STDOUT`."""
    table = prediction_table(answer.prediction for answer in answers if answer.prediction is not None)
    _write(table.to_csv(index=False, lineterminator="\n"), path)


def _write(text: str, path: Path) -> None:
    if path == STDOUT:
        sys.stdout.write(text)
    else:
        # A name that is not UTF-8 is written as the bytes it is made of.
        write_atomically(path, text.encode(errors="surrogateescape"))


def draw(
    answer: Answer, *, plot: Path | None, video: Path | None, several: bool, name: str | None = None
) -> list[Path]:
    """Draw what is asked for and return the files; of several clips each goes into the folder that is named."""
    prediction, record = answer.prediction, answer.record
    written = []
    if prediction is None or record is None:
        return []
    name = name or prediction.clip
    if plot is not None:
        from fastck.views.prediction_plot import plot_prediction

        path = _place(plot, f"{name}.png", several=several)
        plot_prediction(prediction, path)
        written.append(path)
    if video is not None and isinstance(prediction, ClipPrediction):
        from fastck.views.prediction_video import save_prediction_video

        path = _place(video, f"{name}.mp4", several=several)
        save_prediction_video(prediction, record, path)
        written.append(path)
    return written


def _place(out: Path, name: str, *, several: bool) -> Path:
    if several:
        out.mkdir(exist_ok=True)
    return out / name if several or out.is_dir() else out
