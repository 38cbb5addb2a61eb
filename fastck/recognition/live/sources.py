"""Where live frames come from: a camera, or a clip played at its own speed."""

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Protocol

import cv2

from fastck.dataset.clip import clip_record
from fastck.faces.box import Gray
from fastck.images.quiet import quiet_opencv
from fastck.images.video import video_rate
from fastck.messages import one_line
from fastck.pipeline.frames import record_frames

FPS = 25.0  # of a folder of frames, and what is asked of a camera
MOST_CAMERAS = 99  # the largest number; OpenCV takes what is above as another driver and a camera of it
WIDTH, HEIGHT = 640, 480  # pixels asked of a camera; larger frames are shrunk to fit


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One frame as it came.

    Attributes
    ----------
    gray : ndarray of shape (H, W), uint8
    number : int
        Counted from 0 over all frames that came, those nobody looked at included.
    turn : int
        How often a played clip had begun anew; the face of another turn is another beginning.
    captured : float
        When it came, by ``time.perf_counter``.
    """

    gray: Gray
    number: int
    turn: int
    captured: float


class Source(Protocol):
    """Anything that gives frames when it is their time."""

    name: str

    def frames(self, stop: Event) -> Iterator[Frame]:
        """Yield frame after frame until the source ends or `stop` is set, and release it then."""


class Camera:
    """A camera by its number.

    Raises
    ------
    ValueError
        If there is no such camera, or another program holds it.
    """

    def __init__(self, number: int) -> None:
        self.name = f"camera {number}"
        if number > MOST_CAMERAS:
            raise ValueError(
                f"expected a camera's number from 0 to {MOST_CAMERAS}, or the path of a video or a folder of frames, "
                f"got {number}"
            )
        with quiet_opencv():
            self._capture = cv2.VideoCapture(number)
        if not self._capture.isOpened():
            raise ValueError(
                f"{self.name} cannot be opened: expected the number of a camera that no other program uses, "
                "or the path of a video or a folder of frames"
            )
        settings = {cv2.CAP_PROP_FRAME_WIDTH: WIDTH, cv2.CAP_PROP_FRAME_HEIGHT: HEIGHT, cv2.CAP_PROP_FPS: FPS}
        # One frame waiting in the driver, where the driver can: a longer queue is delay.
        for name, value in {**settings, cv2.CAP_PROP_BUFFERSIZE: 1}.items():
            self._capture.set(name, value)

    def frames(self, stop: Event) -> Iterator[Frame]:
        """Yield frames as the camera gives them.

        Raises
        ------
        OSError
            If it gives no more.
        """
        try:
            for number in itertools.count():
                good, picture = self._capture.read()
                if stop.is_set():
                    return
                if not good:
                    raise OSError(f"{self.name} gives no more frames: see that it is plugged in")
                gray = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
                yield Frame(gray=fitted(gray), number=number, turn=0, captured=time.perf_counter())
        finally:
            self._capture.release()


class PlayedClip:
    """A video or a folder of frames, played by the clock: nobody who is late makes it wait.

    Parameters
    ----------
    path : Path
    loop : bool
        Begin anew at the end, until stopped.
    fps : float, optional
        Frames a second; by default the video's own, 25 for a folder.

    Raises
    ------
    ValueError, OSError
        If it holds no frames or cannot be read.
    """

    def __init__(self, path: Path, *, loop: bool = False, fps: float | None = None) -> None:
        self.name = one_line(path.name or path)
        self._record, self._loop = clip_record(path), loop
        # What cannot be decoded at all is told before anything else is begun.
        if next(record_frames(self._record), None) is None:
            raise ValueError(f"{self.name} holds no frame that can be decoded: expected a video or a folder of frames")
        self.fps = fps or (video_rate(self._record.video) if self._record.video else FPS)

    def frames(self, stop: Event) -> Iterator[Frame]:
        """Yield each frame when it is due."""
        begin = time.perf_counter()
        number = 0
        for turn in itertools.count():
            for gray in record_frames(self._record):
                small = fitted(gray)
                if stop.wait(max(begin + number / self.fps - time.perf_counter(), 0)):
                    return
                yield Frame(gray=small, number=number, turn=turn, captured=time.perf_counter())
                number += 1
            if not self._loop:
                return


def open_source(source: str, *, loop: bool = False) -> Source:
    """Return the camera of a number, or the clip of a path.

    Raises
    ------
    ValueError, OSError
        If there is none, or it cannot be read; one line that says what was expected.
    """
    if not source.strip():
        raise ValueError('got "": expected a camera\'s number, or the path of a video or a folder of frames')
    if source.isdecimal():
        if loop:
            raise ValueError("--loop is for a video or a folder of frames: a camera does not end")
        return Camera(int(source))
    path = Path(source)
    if not path.exists():
        raise ValueError(
            f"{one_line(source)} does not exist: expected a camera's number, or the path of a video or a folder of "
            "frames"
        )
    return PlayedClip(path, loop=loop)


def fitted(gray: Gray) -> Gray:
    """Return a frame that fits into 640x480 pixels; a smaller one as it is."""
    factor = min(WIDTH / gray.shape[1], HEIGHT / gray.shape[0])
    if factor >= 1:
        return gray
    size = (max(1, round(gray.shape[1] * factor)), max(1, round(gray.shape[0] * factor)))
    return cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
