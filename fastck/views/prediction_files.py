"""Answers as files: JSON, a table, plots and videos."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fastck.messages import one_line
from fastck.outputs import GrowingFile, check_output
from fastck.recognition.clip import ClipPrediction
from fastck.recognition.inputs import Answer
from fastck.views.frames_file import FramesFile, answers_csv
from fastck.views.prediction import answer_table

STDOUT = Path("-")


def check_outputs(files: Sequence[Path | None], drawings: Sequence[Path | None]) -> None:
    """Raise ValueError where two outputs are one, or a folder to write to is missing."""
    named = [path for path in (*files, *drawings) if path is not None]
    if named.count(STDOUT) > 1:
        raise ValueError("--json and --csv cannot both go to stdout: name a file for one of them")
    if twice := [path for path in files if path is not None and named.count(path) > 1]:
        raise ValueError(f"{one_line(twice[0])} is named twice: each output needs a file of its own")
    for path in named:
        if not path.absolute().parent.is_dir():
            raise ValueError(f"the folder of {path} does not exist: make it first")


def name_drawings(
    clips: Sequence[Answer],
    drawings: Sequence[Path | None],
    *,
    files: Sequence[Path | None] = (),
    overwrite: bool = True,
) -> dict[str, str]:
    """Return a name for each clip's drawings, by its source; clips called alike are told apart by a number.

    Parameters
    ----------
    clips : sequence of Answer
    drawings, files : sequence of Path or None
        Where drawings go, and the other files to write.
    overwrite : bool
        Whether files that are there already may be replaced.

    Raises
    ------
    ValueError
        If a file that is to be written is one of the clips' own, or is there already without `overwrite`.
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
    places = [out for out in files if out is not None]
    for out in drawings:
        if out is not None and (len(clips) > 1 or out.is_dir()):
            places += [out / f"{name}{suffix}" for name in names.values() for suffix in (".png", ".mp4")]
        elif out is not None:
            places.append(out)
    for place in places:
        check_output(place, read, overwrite=overwrite)
    return names


class AnswerFiles:
    """The answers as JSON and CSV, each written when it is there: nothing is lost when the next one fails.

    Parameters
    ----------
    json_file, csv_file, frames_file : Path or None
        Files to write; of the first two `STDOUT` for stdout; None for none.
    classes : sequence of str
        Names whose probabilities the table has.
    """

    def __init__(
        self,
        json_file: Path | None,
        csv_file: Path | None,
        frames_file: Path | None,
        *,
        classes: Sequence[str],
    ) -> None:
        self._json = None if json_file is None else _open(json_file)
        self._csv = None if csv_file is None else _open(csv_file)
        self._frames = None if frames_file is None else FramesFile(frames_file)
        self._classes = classes
        self._n_answers = 0

    def add(self, answer: Answer) -> None:
        """Write what came of the next clip."""
        if self._json is not None:
            before = "[" if self._n_answers == 0 else ","
            self._json.add(_encoded(before + json.dumps(answer.as_dicts(), indent=2)[1:-2]), b"\n]\n")
        if self._csv is not None:
            table = answer_table(answer, self._classes)
            self._csv.add(_encoded(answers_csv(table, header=self._n_answers == 0)))
        if self._frames is not None and answer.prediction is not None:
            self._frames.add(answer.prediction.frames)
        self._n_answers += 1

    def close(self) -> list[Path]:
        """Close the files and return those that were written."""
        written = [file for file in (self._json, self._csv) if file is not None and self._n_answers]
        for file in written:
            file.close()
        paths = [file.path for file in written if isinstance(file, GrowingFile)]
        return paths if self._frames is None else [*paths, *self._frames.close()]


class _Stdout:
    """What grows on stdout: the end is printed when nothing more comes."""

    def __init__(self) -> None:
        self._end = b""

    def add(self, data: bytes, end: bytes = b"") -> None:
        self._end = end
        _print(data)

    def close(self) -> None:
        _print(self._end)


def _print(data: bytes) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.flush()


def _open(path: Path) -> GrowingFile | _Stdout:
    return _Stdout() if path == STDOUT else GrowingFile(path)


def _encoded(text: str) -> bytes:
    # A name that is not UTF-8 is written as the bytes it is made of.
    return text.encode(errors="surrogateescape")


@dataclass(frozen=True, kw_only=True)
class Drawings:
    """What is drawn of answers: plots and videos, None for none."""

    plot: Path | None = None
    video: Path | None = None

    @property
    def places(self) -> tuple[Path | None, Path | None]:
        """Where drawings go."""
        return self.plot, self.video


def draw(answer: Answer, wanted: Drawings, *, several: bool, name: str | None = None) -> list[Path]:
    """Draw what is wanted and return the files; of several clips each goes into the folder that is named."""
    prediction, record = answer.prediction, answer.record
    plot, video = wanted.places
    written: list[Path] = []
    if prediction is None or record is None or (plot is None and video is None):
        return []
    if not prediction.probabilities:
        raise ValueError("one picture has no motion to draw")
    if video is not None and not isinstance(prediction, ClipPrediction):
        raise ValueError("a photo is no clip to make a video of: leave --video out")
    name = name or prediction.clip
    if plot is not None:
        from fastck.views.prediction_plot import plot_prediction

        path = _place(plot, f"{name}.png", several=several)
        plot_prediction(prediction, path, record=record)
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
