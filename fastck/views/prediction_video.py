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
from fastck.pages.palette import LIGHT, bgr
from fastck.pipeline.frames import record_frames
from fastck.recognition.clip import ClipPrediction
from fastck.recognition.follow import Reading
from fastck.views.animation import save_mp4
from fastck.views.flow import LEAST, flow_rim

FPS = 12.0  # CK+'s 30 frames a second show an expression in half a second
LEAST_WIDTH = 480  # pixels; smaller frames are enlarged until the words fit
PANEL, ROW, BAR = 190, 20, 90  # pixels: the bars' panel, a bar's row and its full length
INK, PALE = bgr(LIGHT["ink"]), bgr(LIGHT["line"])
BOX = FULL = bgr(LIGHT["bar"])
STRENGTH = 0.75  # of the flow's colours at the rim, over the face

Picture = NDArray[np.uint8]


def save_prediction_video(
    prediction: ClipPrediction, record: SequenceRecord, path: str | PathLike[str], *, fps: float | None = None
) -> None:
    """Write a clip with box, flow and bars drawn over it.

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
    readings = {reading.moment.frame: reading for reading in prediction.readings}
    rim = flow_rim(reading.moment.flow for reading in prediction.readings)
    names = tuple(prediction.probabilities)
    for frame, gray in enumerate(record_frames(record)):
        reading = readings.get(frame)
        shown = cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR)
        if reading is not None:
            lay_flow(shown, reading.box, reading.moment.flow, rim)
            top, left, bottom, right = reading.box
            cv2.rectangle(shown, (left, top), (right - 1, bottom - 1), BOX, 2)
        factor = max(1.0, LEAST_WIDTH / shown.shape[1])
        shown = cv2.resize(shown, None, fx=factor, fy=factor)
        panel = draw_panel(reading, names, max(shown.shape[0], ROW * (len(names) + 4)), prediction.trained_on)
        rest = panel.shape[0] - shown.shape[0]
        shown = np.pad(shown, ((0, rest), (0, 0), (0, 0)), constant_values=255)
        picture = np.concatenate([shown, panel], axis=1)
        height, width = picture.shape[:2]
        yield np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), constant_values=255)


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


def draw_panel(reading: Reading | None, names: tuple[str, ...], height: int, line: str) -> Picture:
    """Return the bars beside the frame, (height, PANEL, 3)."""
    panel = np.full((height, PANEL, 3), 255, np.uint8)
    if reading is None:
        _write(panel, "no face yet", ROW)
        return panel
    _write(panel, f"{reading.emotion or 'unsure'}   frame {reading.moment.frame + 1}", ROW)
    for row, (name, share) in enumerate(zip(names, reading.probabilities, strict=True)):
        y = ROW * (row + 2)
        left = PANEL - BAR - 8
        _write(panel, name, y)
        cv2.rectangle(panel, (left, y - 11), (left + BAR, y), PALE, cv2.FILLED)
        cv2.rectangle(panel, (left, y - 11), (left + round(BAR * float(share)), y), FULL, cv2.FILLED)
    _write(panel, line, ROW * (len(names) + 3), size=0.36)
    return panel


def _write(panel: Picture, text: str, y: int, *, size: float = 0.45) -> None:
    cv2.putText(panel, text, (8, y), cv2.FONT_HERSHEY_SIMPLEX, size, INK, 1, cv2.LINE_AA)
