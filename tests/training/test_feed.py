from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("keras")

from fastck.batches.gather import Gather
from fastck.training.models.feed import Feed
from tests.helpers.tinystore import make_store, make_table


@pytest.fixture(scope="module")
def gather(tmp_path_factory: pytest.TempPathFactory) -> Gather:
    store = make_store(tmp_path_factory.mktemp("feed") / "store", make_table(subjects=3), side=16)
    return Gather(store, store.table["sequence"].to_list(), feature="projection", classes=(1, 3, 5, 7), timesteps=9)


def test_a_feed_gives_pass_after_pass_and_starts_again(gather: Gather):
    pieces = [np.array(piece) for piece in ([0, 1], [2], [3, 4], [5])]
    weights = [np.full(len(piece), number, np.float32) for number, piece in enumerate(pieces)]
    feed = Feed(gather, pieces, weights, seeds=[10, 11, 12, 13], steps=2)
    assert len(feed) == 2
    for step, number in enumerate([0, 1, 2, 3, 0, 1]):
        feed.start_pass(step // 2)
        feed.on_epoch_end()
        values, targets, weight = feed[number % 2]
        np.testing.assert_array_equal(values, gather.augmented(pieces[number], 10 + number))
        np.testing.assert_array_equal(targets, gather.targets[pieces[number]])
        np.testing.assert_array_equal(weight, weights[number])


def test_asking_twice_gives_the_same(gather: Gather):
    feed = Feed(gather, [np.array([0]), np.array([1]), np.array([2])])
    for index in (0, 0, 1, 2, 1):
        values, targets = feed[index]
        np.testing.assert_array_equal(values, gather(np.array([index])))
        assert targets.shape == (1, 4)


def test_batches_are_gathered_ahead(gather: Gather):
    class Noting:
        def __init__(self) -> None:
            self.targets = gather.targets
            self.asked: list[int] = []

        def __call__(self, positions: np.ndarray) -> np.ndarray:
            self.asked.append(int(positions[0]))
            return gather(positions)

    noting = Noting()
    feed = Feed(noting, [np.array([number]) for number in range(6)])  # type: ignore[arg-type]
    feed[0]
    feed._thread.shutdown(wait=True)
    assert noting.asked == [0, 1, 2]


def test_what_gathering_raises_reaches_the_network(gather: Gather, tmp_path: Path):
    with pytest.raises(IndexError):
        Feed(gather, [np.array([10_000])])[0]
