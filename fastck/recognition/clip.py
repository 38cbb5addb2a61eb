"""What the people of a clip show."""

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, cast, overload

from fastck.config import FaceConfig, PersonChoice, check_choice
from fastck.dataset.records import SequenceRecord
from fastck.faces.box import FaceBox, Gray
from fastck.messages import error_text, one_line
from fastck.pipeline.compiling import compile_on_first_call
from fastck.pipeline.frames import BadSequence, decode
from fastck.pipeline.stopwatch import Stopwatch
from fastck.recogniser import BUNDLED, TRAINED_ON, Recogniser, bundled
from fastck.recognition.follow import Follower, Reading, compile_reading
from fastck.recognition.footage import Footage, Frames, footage_of, frames_in_memory
from fastck.recognition.frame_columns import NO_COLUMNS, FrameColumns
from fastck.recognition.people import FEWEST, frame_rows, n_found, people_notes, read_people
from fastck.recognition.person import following
from fastck.recognition.photo import AtRest, look_at_photo, path_record, photo_at_rest
from fastck.recognition.prediction import Prediction, predict_footage, unanswered
from fastck.recognition.windows import answered_windows, motion_windows
from fastck.training.run import Run, open_run

if TYPE_CHECKING:
    from fastck.faces.units import UnitReader
    from fastck.recognition.judge import Judged
    from fastck.recognition.reading import Reference

log = logging.getLogger(__name__)

Paths = list[str | PathLike[str]] | list[Path] | list[str] | tuple[str | PathLike[str], ...]


@dataclass(frozen=True, kw_only=True, repr=False)
class ClipPrediction(Prediction):
    """What the bundled recogniser says about a clip.

    Attributes
    ----------
    readings : tuple of Reading
        One for each frame from the first face on; their flow is empty unless it was asked for.
    reference : {"onset", "median", "average", "neutral"} or None
        What the face was compared with: its own first frames, the median of those in which it rests, where it never
        rests the average of the rendered people, or the picture at rest that was named. None where flow alone answers.
    """

    readings: tuple[Reading, ...]
    reference: "Reference | None" = None

    def check_flow(self) -> None:
        """Raise ValueError where the flow of each frame, which pictures show, was not kept."""
        if not all(reading.moment.flow.size for reading in self.readings):
            raise ValueError("a picture shows the flow of frames, which was not kept: recognise with keep_flow=True")


@overload
def predict(
    clip: Paths,
    run: str | PathLike[str] | None = None,
    *,
    stride: int | None = None,
    person: PersonChoice = "all",
    fps: float | None = None,
    neutral: str | PathLike[str] | None = None,
    landmarks: bool = False,
    units: bool = False,
) -> list[Prediction]: ...
@overload
def predict(
    clip: str | PathLike[str] | Frames,
    run: str | PathLike[str] | None = None,
    *,
    stride: int | None = None,
    person: PersonChoice = "all",
    fps: float | None = None,
    neutral: str | PathLike[str] | None = None,
    landmarks: bool = False,
    units: bool = False,
) -> Prediction: ...
def predict(
    clip: str | PathLike[str] | Frames | Paths,
    run: str | PathLike[str] | None = None,
    *,
    stride: int | None = None,
    person: PersonChoice = "all",
    fps: float | None = None,
    neutral: str | PathLike[str] | None = None,
    landmarks: bool = False,
    units: bool = False,
) -> Prediction | list[Prediction]:
    """Say which emotion the people in a clip show.

    Parameters
    ----------
    clip : path-like, list of path-like, ndarray, or iterable of ndarray
        A folder of frames, a video file or a photo; several of them; or frames: an array of shape (T, H, W) or
        (T, H, W, 3), uint8, colour with red first, or an iterator of such frames.
    run : path-like, optional
        A training run, or the folder of one of its folds, whose network is used after its own preprocessing. By default
        the bundled recogniser answers: it was trained on rendered people, needs NumPy only, and finds onset and apex
        itself.
    stride : int, optional
        With a run only: frames between the windows of a clip that is longer than the network's `timesteps`; by default
        windows do not overlap, apart from the earliest one. The last window ends with the clip (the first one starts
        with it in a run that kept the first frames of long sequences), as the network was trained.
    person : {"all", "largest"}
        Answer for everyone, or only for the person whose face is the largest at first. A run's network knows only the
        largest face.
    fps : float, optional
        Frames a second, for the times in `Prediction.frames`; by default a video's own times, and none for the rest.
    neutral : path-like, optional
        A photo of the same person at rest, for photos, and for clips that do not begin at rest. Without it a photo has
        no emotion: one picture has no motion. In a clip it is of the person whose face is the largest.
    landmarks : bool
        Also the 68 points of each face and the head's turn, as further columns of `Prediction.frames`.
    units : bool
        Also how strong each facial action unit is, as further columns.

    Returns
    -------
    prediction : Prediction or list of Prediction
        Of one clip: the answer for the person whose face is the largest, the other people's in `others`. `emotion` is
        None where the answer would be unsure; `probabilities` has each emotion's, `table` a row for each window,
        `frames` one for each frame and face. Of a list of paths a list, in its order: one that cannot be answered is
        logged, and its `error` says why.

    Raises
    ------
    TypeError, ValueError
        If the only clip holds no face or fewer than two frames, the frames have another shape or dtype, or the run has
        no network or more than one.
    OSError
        If a file cannot be read.

    Examples
    --------
    >>> import fastck
    >>> fastck.predict(fastck.sample() / "cohn-kanade-images/S001/001").emotion
    'happy'
    """
    check_stride(stride, run)
    check_fps(fps)
    columns = FrameColumns(landmarks=landmarks, units=units)
    if run is not None and columns != NO_COLUMNS and isinstance(clip, Iterator):
        raise ValueError("a run looks at the frames twice for landmarks and units: name an array, not an iterator")
    ask = answering(
        None if run is None else open_run(run), stride=stride, person=person, neutral=neutral, columns=columns
    )
    if isinstance(clip, str | PathLike):
        return ask(footage_of(path_record(Path(clip)), source=fspath(clip), fps=fps))
    if isinstance(clip, list | tuple) and clip and all(isinstance(path, str | PathLike) for path in clip):
        return [_answer_or_error(ask, Path(path), fps) for path in clip]
    return ask(frames_in_memory(cast("Frames", clip), fps=fps))


def _answer_or_error(ask: Callable[[Footage], Prediction], path: Path, fps: float | None) -> Prediction:
    """Return the answer for one of several clips, or a prediction that says why there is none."""
    try:
        return ask(footage_of(path_record(path), source=str(path), fps=fps))
    except (ValueError, OSError) as error:
        text = one_line(error_text(error))
        log.warning("%s: %s", one_line(path), text)
        return unanswered(str(path), text)


def answering(
    run: Run | None = None,
    *,
    stride: int | None = None,
    person: PersonChoice = "all",
    neutral: str | PathLike[str] | None = None,
    keep_flow: bool = False,
    columns: FrameColumns = NO_COLUMNS,
) -> Callable[[Footage], Prediction]:
    """Return what answers for clips, with a run that is open or with the bundled recogniser; as for `predict`."""
    check_choice("person", person, PersonChoice)
    if run is not None and neutral is not None:
        raise ValueError("a run's network knows no picture at rest: leave that (--neutral) out, or the run (--run)")
    if run is not None:
        # Before any clip is looked at: a run without a model answers for none.
        run.model_path.stat()
        return partial(predict_footage, run, stride=stride, columns=columns)

    # Before any clip is looked at: a picture without a face is for none.
    rest = None if neutral is None else photo_at_rest(Path(neutral))

    def ask(footage: Footage) -> Prediction:
        compile_on_first_call(footage.decode_some, compile_reading)
        if footage.photo:
            return look_at_photo(footage, neutral=rest, columns=columns)
        return recognise_footage(footage, person=person, keep_flow=keep_flow, columns=columns, neutral=rest)

    return ask


def check_fps(fps: float | None) -> None:
    """Raise ValueError where frames a second are no number above 0."""
    if fps is not None and not (math.isfinite(fps) and fps > 0):
        raise ValueError(f"fps must be a number above 0, got {fps}")


def check_stride(stride: int | None, run: object) -> None:
    """Raise ValueError where a stride between windows is no number of frames, or there is no run to use it."""
    if stride is not None and run is None:
        raise ValueError("--stride is for --run: the bundled recogniser finds its windows itself")
    if stride is not None and stride < 1:
        raise ValueError(f"stride must be at least 1 frame, got {stride}")


def recognise(
    record: SequenceRecord,
    *,
    source: str = "",
    recogniser: Recogniser | None = None,
    keep_flow: bool = False,
    columns: FrameColumns = NO_COLUMNS,
) -> ClipPrediction:
    """Say what the people of a sequence show with the bundled recogniser; see `recognise_footage`."""
    footage = footage_of(record, source=source)
    return recognise_footage(footage, recogniser=recogniser, keep_flow=keep_flow, columns=columns)


def recognise_footage(
    footage: Footage,
    *,
    person: PersonChoice = "all",
    recogniser: Recogniser | None = None,
    keep_flow: bool = False,
    columns: FrameColumns = NO_COLUMNS,
    neutral: AtRest | None = None,
) -> ClipPrediction:
    """Say what the people of a clip show with the bundled recogniser.

    Parameters
    ----------
    footage : Footage
    person : {"all", "largest"}
        As for `fastck.predict`.
    recogniser : Recogniser, optional
        In place of the bundled one.
    keep_flow : bool
        Keep the flow of each frame, 9 kB, for a plot or a video of them.
    columns : FrameColumns
        What `Prediction.frames` has besides.
    neutral : AtRest, optional
        The first person at rest.

    Raises
    ------
    BadSequence
        If it holds no face, fewer than two frames, or a frame that cannot be read; a ValueError.
    """
    from fastck.faces.units import UnitReader
    from fastck.recognition.judge import judge_readings

    # The judge was fitted to what the bundled recogniser says.
    judged = recogniser is None
    look = UnitReader() if judged or columns != NO_COLUMNS else None
    recogniser = recogniser or bundled()
    rest = None if neutral is None else neutral.look
    frames = decode(footage.open(), Stopwatch())
    if person == "all":
        everyone, n_frames, n_missed = read_people(
            frames, recogniser, keep_flow=keep_flow, look=look, keep_marks=columns.landmarks
        )
    else:
        readings, n_frames, n_missed = read_frames(
            frames, recogniser, keep_flow=keep_flow, look=look, keep_marks=columns.landmarks
        )
        everyone = [list(readings)]
    if n_frames < 2:
        raise BadSequence(f"motion takes two frames, got {n_frames}")
    if not any(everyone):
        raise BadSequence(f"no face found in any of its {n_frames} frames")
    moving = [readings for readings in everyone if len(readings) > 1]
    if not moving:
        raise BadSequence(f"motion takes two frames from the first face on, which is in the last of {n_frames}")
    answered = [readings for readings in moving if n_found(readings) >= min(FEWEST, n_frames)] or moving[:1]
    left_out = [readings for readings in everyone if not any(readings is one for one in answered)]
    heard: list[Judged | None] = [None] * len(answered)
    if judged and look is not None:
        heard = [
            judge_readings(readings, recogniser, look.model, neutral=rest if number == 0 else None)
            for number, readings in enumerate(answered)
        ]
        answered = [one.readings for one in heard if one is not None]
    rows = frame_rows([*answered, *left_out], footage.seconds(n_frames), recogniser.classes, columns, rest)
    predictions: list[ClipPrediction] = []
    notes = people_notes(answered, len(left_out))
    for own, said, judgement in zip(answered, notes, heard, strict=True):
        reference: Reference | None = None
        if judgement is None:
            windows, strongest = answered_windows(motion_windows(own), recogniser)
        else:
            reference, parts = judgement.reference, judgement.windows
            windows, strongest = answered_windows(parts, recogniser, judgement.answering, judgement.apex)
        predictions.append(
            ClipPrediction(
                clip=footage.name,
                source=footage.source,
                windows=windows,
                n_frames=n_frames,
                n_missed=n_missed,
                model=BUNDLED,
                rows=rows,
                person=len(predictions) + 1,
                notes=(*said, *reference_notes(reference, neutral)),
                strongest=strongest,
                unsure_below=recogniser.unsure_below,
                trained_on=TRAINED_ON,
                readings=tuple(own),
                reference=reference,
            )
        )
    return replace(predictions[0], others=tuple(predictions[1:]))


def reference_notes(reference: "Reference | None", neutral: AtRest | None) -> tuple[str, ...]:
    """Return what has to be said about a face that is not compared with how it begins."""
    if reference == "neutral" and neutral is not None:
        return (f"compared with {neutral.name}",)
    if reference == "median":
        return ("does not begin at rest: compared with the frames in which the face rests",)
    if reference == "average":
        return ("never at rest: compared with the average of rendered people",)
    return ()


def read_frames(
    frames: Iterable[Gray],
    recogniser: Recogniser,
    *,
    keep_flow: bool = False,
    look: "UnitReader | None" = None,
    keep_marks: bool = False,
) -> tuple[tuple[Reading, ...], int, int]:
    """Return the readings of a clip, how many frames it has, and how many had no face."""
    follower = Follower(recogniser, look, keep_marks=keep_marks)
    readings: list[Reading] = []
    n_frames = n_missed = 0
    with following(FaceConfig()) as search:
        for gray in frames:
            found: FaceBox | None = search(gray)
            n_frames += 1
            n_missed += found is None
            reading = follower.push(gray, found)
            if reading is not None:
                readings.append(reading if keep_flow else reading.without_flow())
    return tuple(readings), n_frames, n_missed
