"""What comes of live frames: the same as of a clip, with the time of each stage."""

import time
from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from fastck.recognition.live.picture import BOX, draw, jpeg
from fastck.recognition.live.sources import Frame
from fastck.recognition.live.stages import LiveResult, Totals, watch
from fastck.recognition.live.text import lines, totals_line


class Given:
    """Frames one after the other, none of them dropped."""

    dropped = 0

    def __init__(self, grays: list[np.ndarray], turns: list[int] | None = None) -> None:
        self._frames = self._stamp(grays, turns or [0] * len(grays))

    def take(self) -> Frame | None:
        return next(self._frames, None)

    @staticmethod
    def _stamp(grays: list[np.ndarray], turns: list[int]) -> Iterator[Frame]:
        for number, (gray, turn) in enumerate(zip(grays, turns, strict=True)):
            yield Frame(gray=gray, number=number, turn=turn, captured=time.perf_counter())


@pytest.fixture(scope="module")
def results(smile_frames: list[np.ndarray]) -> list[LiveResult]:
    return list(watch(Given([np.zeros_like(smile_frames[0]), *smile_frames])))


def test_a_smile_is_seen(results: list[LiveResult]):
    assert results[0].reading is None
    assert set(results[0].milliseconds) == {"face"}
    assert results[1].reading.emotion == "neutral"
    assert results[-1].reading.emotion == "happy"
    assert [result.number for result in results] == list(range(6))


def test_every_stage_is_timed_within_the_delay(results: list[LiveResult]):
    for result in results[1:]:
        assert set(result.milliseconds) == {"face", "flow", "model"}
        assert all(taken > 0 for taken in result.milliseconds.values())
        assert sum(result.milliseconds.values()) <= result.delay
    assert results[-1].rate > 0


def test_another_turn_is_another_onset(smile_frames: list[np.ndarray]):
    first, last = smile_frames[0], smile_frames[-1]
    again = list(watch(Given([first, last, last], [0, 0, 1])))
    assert again[1].reading.moment.displacement > 0
    assert not again[2].reading.moment.flow.any()


def test_lines_say_what_changes(results: list[LiveResult]):
    totals = Totals()
    said = list(lines(iter(results), totals))
    assert "no face" in said[0]
    assert "neutral" in said[1]
    assert "happy" in said[-1]
    assert "delay" in said[-1]
    assert "dropped 0" in said[-1]
    assert totals_line(totals).startswith("6 frames looked at, 5 with a face, 0 dropped; face ")


def test_one_line_a_second_while_nothing_changes(results: list[LiveResult]):
    assert len(list(lines(iter([results[0]] * 60), Totals()))) == 3


def test_the_picture_shows_box_and_arrows(results: list[LiveResult]):
    blank, still, smiling = draw(results[0]), draw(results[1]), draw(results[-1])
    assert (blank[..., 0] == blank[..., 1]).all()
    box = results[1].reading.box
    assert tuple(still[box.top, (box.left + box.right) // 2]) == BOX

    def coloured(picture: np.ndarray) -> int:
        return np.count_nonzero(picture.max(axis=2) - picture.min(axis=2) > 60)

    # The arrows come on top of the box.
    assert coloured(smiling) > coloured(still) + 50
    decoded = cv2.imdecode(np.frombuffer(jpeg(results[-1]), np.uint8), cv2.IMREAD_COLOR)
    assert decoded.shape == smiling.shape
    assert np.abs(decoded.astype(int) - smiling).mean() < 6
