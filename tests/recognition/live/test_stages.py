"""What comes of live frames: the same as of a clip, with the time of each stage."""

import time
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest

import fastck
from fastck.config import FaceConfig
from fastck.faces.people import LOST
from fastck.images.image import read_gray
from fastck.recogniser import bundled
from fastck.recognition.live import stages
from fastck.recognition.live.picture import BOX, draw, jpeg
from fastck.recognition.live.sources import Frame
from fastck.recognition.live.stages import Extras, LiveResult, Totals, watch
from fastck.recognition.live.text import lines, totals_line
from fastck.recognition.reading import FEWEST_CALM
from fastck.recognition.windows import SHORTEST_REST
from tests.helpers.acted import acted


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
        assert set(result.milliseconds) == {"face", "flow", "model", "units", "judge"}
        assert all(taken > 0 for taken in result.milliseconds.values())
        assert sum(result.milliseconds.values()) <= result.delay
    assert results[-1].rate > 0


def photographed() -> list[np.ndarray]:
    """A real smile from the sample, to and fro."""
    folder = fastck.sample() / "cohn-kanade-images" / "L008" / "001"
    smile = [read_gray(path) for path in sorted(folder.glob("*.png"))]
    return [smile[0], *smile, smile[-1], *smile[::-1]]


def rendered() -> list[np.ndarray]:
    surprise = acted(2, "surprise", 8)
    return [*surprise, *surprise[::-1]]


@pytest.mark.parametrize("shown", [photographed, rendered])
def test_the_answers_are_those_of_the_clip_so_far(shown: Callable[[], list[np.ndarray]]):
    clip = shown()
    clip += [clip[0]] * SHORTEST_REST
    for result, end in zip(live_results(clip), range(1, len(clip) + 1), strict=True):
        if end > 1 and end % 3 == len(clip) % 3:
            expected = fastck.predict(clip[:end])
            np.testing.assert_allclose(result.reading.probabilities, expected.readings[-1].probabilities, atol=1e-3)
            assert (result.reading.emotion, result.reference) == (expected.readings[-1].emotion, expected.reference)
    # Back at rest after the window has ended.
    assert result.reading.moment.resting
    assert result.reading.emotion == "neutral"


def test_a_clip_that_begins_in_an_expression_is_answered_as_it_comes_to_rest():
    surprise = acted(2, "surprise", 8)
    clip = [surprise[-1], *surprise[::-1], *[surprise[0]] * FEWEST_CALM]
    results = live_results(clip)
    for result, end in list(zip(results, range(1, len(clip) + 1), strict=True))[1:]:
        expected = fastck.predict(clip[:end])
        assert (result.reading.emotion, result.reference) == (expected.readings[-1].emotion, expected.reference)
    assert {result.reference for result in results} == {"average", "median"}
    assert fastck.predict(clip).emotion == "surprise"


def live_results(grays: list[np.ndarray]) -> list[LiveResult]:
    """Return the results, with the boxes that `predict` finds: here small faces are not searched for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "FACES", FaceConfig())
        return list(watch(Given(grays), extras=Extras(units=True)))


def test_another_person_has_another_rest(smile_frames: list[np.ndarray]):
    rest, smiling = smile_frames[0], smile_frames[-1]
    empty = np.zeros_like(rest)

    def last(absent: int) -> LiveResult:
        return live_results([rest, *[empty] * absent, smiling])[-1]

    short, long = last(LOST - 1), last(LOST)
    assert short.units["AU12"] > 1
    assert short.reference == "onset"
    # The newcomer's smile is not compared with the rest of the face before.
    alone = live_results([smiling])[-1]
    assert (long.units, long.reference) == (alone.units, alone.reference)
    assert long.units["AU12"] != short.units["AU12"]


def test_who_brings_a_recogniser_hears_it_alone(smile_frames: list[np.ndarray]):
    results = list(watch(Given(smile_frames), recogniser=bundled()))
    assert {result.reference for result in results} == {None}
    assert set(results[-1].milliseconds) == {"face", "flow", "model"}


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
    assert "reference onset" in said[-1]
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
