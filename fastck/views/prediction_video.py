"""A clip with what the bundled recogniser sees and says drawn over it, as MP4."""

from collections.abc import Iterator
from os import PathLike
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fastck.dataset.records import SequenceRecord
from fastck.faces.box import FaceBox
from fastck.images.video import video_rate
from fastck.pages.palette import LIGHT, bgr, person_colour
from fastck.pipeline.frames import record_frames
from fastck.recognition.clip import ClipPrediction
from fastck.recognition.follow import Reading
from fastck.views.animation import save_mp4
from fastck.views.flow import LEAST, flow_rim

FPS = 12.0  # CK+'s 30 frames a second show an expression in half a second
LEAST_WIDTH = 480  # pixels; smaller frames are enlarged until the words fit
PANEL, ROW, BAR = 190, 20, 90  # pixels: the bars' panel, a bar's row and its full length
INK, PALE = bgr(LIGHT["ink"]), bgr(LIGHT["line"])
STRENGTH = 0.75  # of the flow's colours at the rim, over the face

Picture = NDArray[np.uint8]


def save_prediction_video(
    prediction: ClipPrediction,
    record: SequenceRecord,
    path: str | PathLike[str],
    *,
    fps: float | None = None,
) -> None:
    """Write a clip with the box, the flow and the bars of every person drawn over it, and the landmarks if it has them.

    Parameters
    ----------
    prediction : ClipPrediction
        Of `record`, with the flow of each frame: from ``recognise(record, keep_flow=True)``.
    record : SequenceRecord
        Its frames are read again.
    path : path-like
        ``.mp4``.
    fps : float, optional
        Frames shown a second; by default a video's own, 12 for a folder of frames.

    Raises
    ------
    ValueError
        If the suffix is another, or the prediction has no flow.
    OSError
        If the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".mp4":
        raise ValueError(f"a video is written as .mp4, got {path.name!r}")
    prediction.check_flow()
    if fps is None:
        fps = video_rate(record.video) if record.video else FPS
    save_mp4(iter_pictures(prediction, record), path, fps)


def iter_pictures(prediction: ClipPrediction, record: SequenceRecord) -> Iterator[Picture]:
    """Yield one picture per frame, (H, W, 3) uint8 in OpenCV's order of colours, even height and width."""
    people = [one for one in prediction.people if isinstance(one, ClipPrediction)]
    readings = [{reading.moment.frame: reading for reading in one.readings} for one in people]
    rim = flow_rim(reading.moment.flow for own in readings for reading in own.values())
    names = tuple(prediction.probabilities)
    for frame, gray in enumerate(record_frames(record)):
        shown = cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR)
        panels: list[Picture] = []
        # The largest face is drawn last, over the others.
        for one, own in reversed(list(zip(people, readings, strict=True))):
            reading = own.get(frame)
            if reading is not None:
                lay_flow(shown, reading.box, reading.moment.flow, rim)
                top, left, bottom, right = reading.box
                cv2.rectangle(shown, (left, top), (right - 1, bottom - 1), bgr(person_colour(one.person)), 2)
                if reading.marks is not None:
                    from fastck.recognition.marks import draw_marks

                    draw_marks(shown, reading.marks)
            panels.insert(0, draw_panel(one, reading, names))
        _write(panels[0], prediction.trained_on, ROW * (len(names) + 3), size=0.36)
        factor = max(1.0, LEAST_WIDTH / shown.shape[1])
        shown = cv2.resize(shown, None, fx=factor, fy=factor)
        # One panel below the other as far as the frame reaches, then beside them.
        rows = max(1, shown.shape[0] // panels[0].shape[0])
        columns = [np.concatenate(panels[start : start + rows]) for start in range(0, len(panels), rows)]
        height = max(part.shape[0] for part in (shown, *columns))
        picture = np.concatenate([_taller(part, height) for part in (shown, *columns)], axis=1)
        height, width = picture.shape[:2]
        yield np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), constant_values=255)


def _taller(part: Picture, height: int) -> Picture:
    return np.pad(part, ((0, height - part.shape[0]), (0, 0), (0, 0)), constant_values=255)


def lay_flow(picture: Picture, box: FaceBox, flow: NDArray[np.float32], rim: float) -> None:
    """Lay the flow's colours over the face, in place: hue is the direction, strength the distance."""
    top, left, bottom, right = box
    length = np.minimum(np.hypot(flow[0], flow[1]) / max(rim, LEAST), 1)
    hue = np.rad2deg(np.arctan2(flow[1], flow[0])) % 360
    hsv = np.stack([hue, np.ones_like(hue), np.ones_like(hue)], axis=-1).astype(np.float32)
    colours = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR) * 255
    size = (right - left, bottom - top)
    # Colours are mixed, never hues: half way from red to red is not green.
    colours = cv2.resize(colours, size, interpolation=cv2.INTER_LINEAR)
    share = STRENGTH * cv2.resize(length, size, interpolation=cv2.INTER_LINEAR)[..., None]
    face = picture[top:bottom, left:right]
    face[:] = np.round(face * (1 - share) + colours * share).astype(np.uint8)


def draw_panel(prediction: ClipPrediction, reading: Reading | None, names: tuple[str, ...]) -> Picture:
    """Return a person's bars beside the frame, (ROW * (len(names) + 4), PANEL, 3)."""
    panel = np.full((ROW * (len(names) + 4), PANEL, 3), 255, np.uint8)
    several, colour = prediction.others or prediction.person > 1, bgr(person_colour(prediction.person))
    if several:
        cv2.rectangle(panel, (0, 0), (3, ROW * (len(names) + 3)), colour, cv2.FILLED)
    who = f"{prediction.person}: " if several else ""
    if reading is None:
        _write(panel, f"{who}no face", ROW)
        return panel
    _write(panel, f"{who}{reading.emotion or 'unsure'}   frame {reading.moment.frame + 1}", ROW)
    for row, (name, share) in enumerate(zip(names, reading.probabilities, strict=True)):
        y = ROW * (row + 2)
        left = PANEL - BAR - 8
        _write(panel, name, y)
        cv2.rectangle(panel, (left, y - 11), (left + BAR, y), PALE, cv2.FILLED)
        cv2.rectangle(panel, (left, y - 11), (left + round(BAR * float(share)), y), colour, cv2.FILLED)
    if reading.marks is not None:
        from fastck.recognition.marks import said_turn

        _write(panel, said_turn(reading.marks), ROW * (len(names) + 2), size=0.36)
    return panel


def _write(panel: Picture, text: str, y: int, *, size: float = 0.45) -> None:
    cv2.putText(panel, text, (8, y), cv2.FONT_HERSHEY_SIMPLEX, size, INK, 1, cv2.LINE_AA)
