"""The newest frame is the one that is taken, whatever the source and whoever looks."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from fastck.recognition.live import sources
from fastck.recognition.live.capture import NewestFrame
from fastck.recognition.live.sources import Camera, Frame, PlayedClip, fitted, open_source

PATIENCE = 60.0  # seconds; only a test that fails waits so long


class Scripted:
    """A source whose frames come when the test says so."""

    name = "scripted"

    def __init__(self, error: Exception | None = None) -> None:
        self.wanted = threading.Semaphore(0)
        self.came = threading.Semaphore(0)
        self.released = Event()
        self._error = error

    def frames(self, stop: Event) -> Iterator[Frame]:
        number = 0
        try:
            while not stop.is_set():
                if not self.wanted.acquire(timeout=0.01):
                    continue
                if self._error is not None:
                    raise self._error
                yield Frame(gray=np.zeros((4, 4), np.uint8), number=number, turn=0, captured=time.perf_counter())
                self.came.release()
                number += 1
        finally:
            self.released.set()

    def give(self, count: int) -> None:
        for _ in range(count):
            self.wanted.release()
            assert self.came.acquire(timeout=PATIENCE)


def test_newest_frame_is_taken_and_the_others_are_counted():
    source = Scripted()
    with NewestFrame(source) as newest:
        source.give(5)
        assert newest.take().number == 4
        assert newest.dropped == 4
        source.give(1)
        assert newest.take().number == 5
        source.give(3)
        assert newest.take().number == 8
        assert newest.dropped == 6
    assert source.released.wait(PATIENCE)


def test_who_waits_for_a_frame_is_let_go_when_stopped():
    source = Scripted()
    taken = []
    with NewestFrame(source) as newest:
        looking = threading.Thread(target=lambda: taken.append(newest.take()))
        looking.start()
        newest.stop()
        looking.join(PATIENCE)
    assert taken == [None]


def test_a_source_that_fails_is_heard_of_by_who_takes():
    source = Scripted(OSError("camera 3 gives no more frames"))
    with NewestFrame(source) as newest:
        source.wanted.release()
        with pytest.raises(OSError, match="camera 3 gives no more"):
            newest.take()
    assert source.released.is_set()


def test_a_slow_look_drops_frames_and_does_not_fall_behind(smile: Path):
    clip = PlayedClip(smile, loop=True, fps=100)
    ages, numbers = [], []
    with NewestFrame(clip) as newest:
        for _ in range(8):
            frame = newest.take()
            ages.append(time.perf_counter() - frame.captured)
            numbers.append(frame.number)
            # Ten frames come meanwhile.
            time.sleep(0.1)
        dropped = newest.dropped
    assert dropped >= 7
    # Every frame up to the last one taken was either taken or counted.
    assert numbers[-1] + 1 - len(numbers) <= dropped
    # In the order of frames waiting, the last one would be as old as all looks together.
    assert min(ages[1:]) < 0.3


def test_a_clip_is_played_by_the_clock_once(smile: Path):
    begin = time.perf_counter()
    frames = list(PlayedClip(smile, fps=20).frames(Event()))
    assert [frame.number for frame in frames] == [0, 1, 2, 3, 4]
    for frame in frames:
        assert frame.captured - begin >= frame.number / 20


def test_a_looped_clip_begins_anew(smile: Path):
    frames = PlayedClip(smile, fps=1000, loop=True).frames(Event())
    assert [next(frames).turn for _ in range(11)] == [0] * 5 + [1] * 5 + [2]


def test_a_video_keeps_its_own_rate(smile_video: Path):
    assert PlayedClip(smile_video).fps == pytest.approx(20)


@pytest.mark.parametrize(
    ("shape", "expected"), [((480, 640), (480, 640)), ((1080, 1920), (360, 640)), ((60, 80), (60, 80))]
)
def test_large_frames_are_shrunk(shape, expected):
    assert fitted(np.zeros(shape, np.uint8)).shape == expected


def test_sources_that_cannot_be_opened(tmp_path: Path):
    with pytest.raises(ValueError, match="camera 97 cannot be opened: expected the number of a camera"):
        open_source("97")
    with pytest.raises(ValueError, match=r"none.mp4 does not exist: expected a camera's number, or"):
        open_source(str(tmp_path / "none.mp4"))
    with pytest.raises(ValueError, match="no image and no video"):
        open_source(str(tmp_path))
    with pytest.raises(ValueError, match="a camera does not end"):
        open_source("0", loop=True)


class Device:
    """OpenCV's camera with three frames in it."""

    def __init__(self, number: int) -> None:
        self.number, self.left, self.released = number, 3, False
        self.settings: dict[int, float] = {}

    def isOpened(self) -> bool:
        return True

    def set(self, name: int, value: float) -> bool:
        self.settings[name] = value
        return True

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.left -= 1
        return (True, np.full((480, 640, 3), 7, np.uint8)) if self.left >= 0 else (False, None)

    def release(self) -> None:
        self.released = True


def test_a_camera_that_is_unplugged_is_released_and_said(monkeypatch: pytest.MonkeyPatch):
    devices = []
    monkeypatch.setattr(sources.cv2, "VideoCapture", lambda number: devices.append(Device(number)) or devices[-1])
    camera = Camera(2)
    shapes = []
    with pytest.raises(OSError, match="camera 2 gives no more frames"):
        shapes.extend(frame.gray.shape for frame in camera.frames(Event()))
    assert shapes == [(480, 640)] * 3
    assert devices[0].released
    assert devices[0].number == 2
    assert devices[0].settings[sources.cv2.CAP_PROP_FRAME_WIDTH] == 640
