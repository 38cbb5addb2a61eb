import numpy as np
import pytest

from fastck.config import FaceConfig
from fastck.faces.box import FaceBox, crop
from fastck.faces.finder import find_faces
from fastck.ops.flow import optical_flow
from fastck.recogniser import bundled
from fastck.recognition.clip import read_frames
from fastck.recognition.segments import BoxKeeper, OnsetTracker, overlap
from fastck.recognition.windows import motion_windows
from fastck.render.dataset import Person
from fastck.render.expression import compose
from fastck.render.motion import HeadPath, ease, light_course
from fastck.render.variation import EASY

REST, RISE, HOLD = 40, 12, 6


def smile_course() -> np.ndarray:
    """A long clip: rest, a smile that rises, holds and falls, rest, and a second one that stays."""
    rise = ease(np.arange(1, RISE + 1) / RISE)
    once = np.concatenate([np.zeros(REST), rise, np.ones(HOLD), rise[::-1]])
    return np.concatenate([once, np.zeros(REST), rise, np.ones(HOLD)])


@pytest.fixture(scope="module")
def film() -> tuple[list[np.ndarray], np.ndarray]:
    """A rendered person who smiles twice in a long clip."""
    scene, _ = Person(5, 1, EASY).get()
    course = smile_course()
    n = len(course)
    units = ("mouthSmileLeft", "mouthSmileRight", "cheekSquintLeft", "cheekSquintRight")
    curves = {f"unit/{unit}": course for unit in units}
    path = HeadPath(angles=np.zeros((3, n)), shift=np.zeros((2, n)), look=np.zeros((2, n)))
    poses = compose(curves, path, light_course(np.random.default_rng(0), n, stops=0), n)
    frames = [scene.render(pose, key=key) for key, pose in enumerate(poses)]
    return [frame if frame.ndim == 2 else frame[..., 1].copy() for frame in frames], course


def test_windows_of_a_long_clip_are_its_two_smiles(film: tuple[list[np.ndarray], np.ndarray]):
    frames, _ = film
    readings, n_frames, n_missed = read_frames(frames, bundled())
    assert (n_frames, n_missed, len(readings)) == (len(frames), 0, len(frames))
    windows = motion_windows(readings)
    assert len(windows) == 2
    for window, begin in zip(windows, (REST, 2 * REST + 2 * RISE + HOLD), strict=True):
        sizes = [reading.moment.displacement for reading in window]
        apex = window[int(np.argmax(sizes))].moment.frame
        # The first third of a smile that eases in is within the noise of the camera.
        assert begin - 1 <= window[0].moment.frame <= begin + RISE // 2
        assert begin + RISE - 3 <= apex <= begin + RISE + HOLD
        assert np.mean([reading.emotion == "happy" for reading in window[-4:]]) == 1 or sizes[-1] < max(sizes)


def test_flow_is_that_of_onset_and_frame(film: tuple[list[np.ndarray], np.ndarray]):
    frames, _ = film
    box = find_faces(frames[:1], FaceConfig())[0]
    assert box is not None
    crops = np.stack([crop(frame, box) for frame in frames[: REST + RISE]])
    tracker = OnsetTracker()
    moments = [tracker.push(number, one) for number, one in enumerate(crops)]
    last = moments[-1]
    assert 0 < last.onset < REST, "the onset follows a face at rest, and stays when it moves"
    np.testing.assert_array_equal(last.flow, optical_flow(crops[[last.onset, -1]])[0])
    assert not last.resting
    assert all(moment.resting for moment in moments[: REST - 1])


def test_a_held_pose_becomes_the_rest():
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 256, (40, 40)).astype(np.uint8).repeat(4, axis=0).repeat(4, axis=1)
    other = texture.copy()
    other[80:130, 30:130] = np.roll(texture, 8, axis=0)[80:130, 30:130]
    tracker = OnsetTracker(settled=4, held=6)
    onsets = [tracker.push(t, texture if t < 3 else other).onset for t in range(14)]
    assert onsets[:9] == [0] * 9
    assert onsets[-1] > 3
    tracker.reset()
    assert tracker.push(99, texture).onset == 99


def test_a_box_stays_while_the_face_is_in_it():
    keeper = BoxKeeper()
    assert not keeper.update(None)
    assert keeper.box is None
    first = FaceBox(100, 100, 200, 200)
    assert keeper.update(first)
    assert not keeper.update(FaceBox(105, 95, 205, 195))
    assert not keeper.update(None)
    assert keeper.box == first
    assert keeper.update(FaceBox(100, 170, 200, 270))
    for _ in range(20):
        keeper.update(None)
    assert keeper.update(FaceBox(100, 170, 200, 270)), "a face that was lost is a new beginning"
    assert overlap(first, FaceBox(100, 150, 200, 250)) == pytest.approx(1 / 3)
    assert overlap(first, FaceBox(300, 300, 400, 400)) == 0
