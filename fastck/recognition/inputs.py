"""Many inputs, one answer after another: a clip that is damaged keeps no other from its answer."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike
from pathlib import Path

from fastck.config import InputKind
from fastck.dataset.clip import clip_record
from fastck.dataset.inputs import is_photo, read_inputs
from fastck.dataset.records import SequenceRecord
from fastck.faces.box import Gray
from fastck.messages import Progress, error_text, one_line
from fastck.pipeline.detect import source_of
from fastck.recognition.footage import Footage, footage_of
from fastck.recognition.photo import path_record
from fastck.recognition.prediction import Prediction


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came of one clip.

    Attributes
    ----------
    source : str
        The clip's path.
    record : SequenceRecord or None
        Its frames; None where there are none.
    prediction : Prediction or None
        None where there is an error.
    error : str
        Why there is no prediction, one line; else empty.
    """

    source: str
    record: SequenceRecord | None = None
    prediction: Prediction | None = None
    error: str = ""

    def as_dicts(self) -> list[dict[str, object]]:
        """Return plain JSON values, one object per person."""
        if self.prediction is None:
            return [{"input": self.source, "emotion": None, "error": self.error}]
        return [one.as_dict() for one in self.prediction.people]


def list_clips(
    inputs: Sequence[str | PathLike[str]],
    *,
    kind: InputKind | None = None,
    on_note: Callable[[str], object] = lambda _: None,
) -> list[Answer]:
    """Return the clips that inputs stand for, in order, none of them answered yet.

    Parameters
    ----------
    inputs : sequence of path-like
        Folders of frames, videos, photos, and folders that hold several of them, such as CK+'s root.
    kind : {"photos", "sequence"}, optional
        What a folder of images is, in place of what its names say.
    on_note : callable, optional
        Called with a line for what a folder was taken for, and for every file that is left out.
    """
    clips: list[Answer] = []
    for path in map(Path, inputs):
        try:
            clips.extend(Answer(source=source, record=record) for source, record in clips_of(path, kind, on_note))
        except (ValueError, OSError) as error:
            clips.append(Answer(source=str(path), error=error_line(error)))
    return clips


def answer(
    clips: Sequence[Answer],
    *,
    ask: Callable[[Footage], Prediction],
    fps: float | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Iterator[Answer]:
    """Answer clip after clip.

    Parameters
    ----------
    clips : sequence of Answer
        From `list_clips`.
    ask : callable
        From `fastck.recognition.clip.answering`.
    fps : float, optional
        As for `fastck.predict`.
    on_progress : callable, optional
        Called with a `Progress` in frames.
    """
    progress = Progress(total=sum(clip.record.n_frames for clip in clips if clip.record is not None))
    done = 0
    for clip in clips:
        if clip.record is None:
            yield clip
            continue
        footage = footage_of(clip.record, source=clip.source, fps=fps)
        if on_progress is not None:
            footage = replace(footage, open=partial(_told, footage.open, done, progress, on_progress))
        try:
            prediction = ask(footage)
        except (ValueError, OSError) as error:
            yield replace(clip, error=error_line(error))
        else:
            yield replace(clip, prediction=prediction)
        done += clip.record.n_frames


def _told(
    open_frames: Callable[[], Iterator[Gray]], done: int, progress: Progress, tell: Callable[[Progress], None]
) -> Iterator[Gray]:
    """Yield frames and tell how many there were."""
    for number, gray in enumerate(open_frames()):
        tell(replace(progress, done=done + number))
        yield gray


def clips_of(path: Path, kind: InputKind | None, on_note: Callable[[str], object]) -> list[tuple[str, SequenceRecord]]:
    """Return the clips that an input stands for, each with its path."""
    if not path.is_dir():
        return [(str(path), path_record(path))]
    records, notes = read_inputs([path], kind=kind)
    for text in notes:
        on_note(text)
    if len(records) == 1 and not is_photo(records[0]):
        return [(str(path), clip_record(path))]
    return [(source_of(record), record) for record in records]


def error_line(error: Exception) -> str:
    """Return an error's text on one line; an operating system's error as "path: what is wrong"."""
    return one_line(" ".join(error_text(error).split()))
