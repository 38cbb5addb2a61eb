"""Many inputs, one answer after another: a clip that is damaged keeps no other from its answer."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

from fastck.dataset.clip import clip_record
from fastck.dataset.records import SequenceRecord
from fastck.messages import error_text, one_line
from fastck.pipeline.detect import input_records
from fastck.recognition.clip import recognise
from fastck.recognition.prediction import Prediction, predict_record
from fastck.training.run import Run


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

    def as_dict(self) -> dict[str, object]:
        """Return plain JSON values."""
        if self.prediction is None:
            return {"input": self.source, "emotion": None, "error": self.error}
        return self.prediction.as_dict()


def list_clips(inputs: Sequence[str | PathLike[str]]) -> list[Answer]:
    """Return the clips that inputs stand for, in order, none of them answered yet.

    Parameters
    ----------
    inputs : sequence of path-like
        Folders of frames, videos, and folders that hold several of them, such as CK+'s root.
    """
    clips: list[Answer] = []
    for path in map(Path, inputs):
        try:
            clips.extend(Answer(source=source, record=record) for source, record in clips_of(path))
        except (ValueError, OSError) as error:
            clips.append(Answer(source=str(path), error=error_line(error)))
    return clips


def answer(
    clips: Iterable[Answer], *, run: Run | None = None, stride: int | None = None, keep_flow: bool = False
) -> Iterator[Answer]:
    """Answer clip after clip.

    Parameters
    ----------
    clips : iterable of Answer
        From `list_clips`.
    run : Run, optional
        An open training run; by default the bundled recogniser answers.
    stride : int, optional
        As for `fastck.predict`; with a run only.
    keep_flow : bool
        As for `fastck.recognition.clip.recognise`.
    """
    for clip in clips:
        if clip.record is None:
            yield clip
            continue
        try:
            if run is None:
                prediction: Prediction = recognise(clip.record, source=clip.source, keep_flow=keep_flow)
            else:
                prediction = predict_record(run, clip.record, source=clip.source, stride=stride)
        except (ValueError, OSError) as error:
            yield replace(clip, error=error_line(error))
        else:
            yield replace(clip, prediction=prediction)


def clips_of(path: Path) -> list[tuple[str, SequenceRecord]]:
    """Return the clips that an input stands for, each with its path."""
    if not path.is_dir():
        return [(str(path), clip_record(path))]
    records = input_records([path])
    if len(records) == 1:
        return [(str(path), clip_record(path))]
    return [(str(record.video or record.frames[0].parent), record) for record in records]


def error_line(error: Exception) -> str:
    """Return an error's text on one line; an operating system's error as "path: what is wrong"."""
    return one_line(" ".join(error_text(error).split()))
