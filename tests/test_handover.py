"""Arrays from a worker process to its parent: the same values, in memory that is used again, never too early."""

import multiprocessing
import os
from collections.abc import Iterator
from multiprocessing.connection import Connection

import numpy as np
import pytest

from fastck import handover

pytestmark = pytest.mark.skipif(not handover.SUPPORTED, reason="blocks of memory are handed over on Linux only")
LENGTH = 5_000


def work(pipe: Connection) -> None:
    """Send as many arrays as asked for, each filled with its number, and say how many blocks there are."""
    number = 0
    while (wanted := pipe.recv()) is not None:
        for _ in range(wanted):
            array = handover.empty((LENGTH, 2), np.float32)
            array[:] = number
            number += 1
            pipe.send(handover.parcel(array))
            del array
        pipe.send(len(handover._blocks))


@pytest.fixture(params=["fork", "spawn"])
def worker(request: pytest.FixtureRequest) -> Iterator[Connection]:
    context = multiprocessing.get_context(request.param)
    pipe, other = context.Pipe()
    process = context.Process(target=work, args=(other,))
    process.start()
    yield pipe
    pipe.send(None)
    process.join(20)
    assert process.exitcode == 0


def receive(pipe: Connection, wanted: int) -> tuple[list[np.ndarray], int]:
    pipe.send(wanted)
    return [handover.opened(pipe.recv()) for _ in range(wanted)], pipe.recv()


def test_memory_is_used_again_when_nobody_needs_it(worker: Connection) -> None:
    (first,), blocks = receive(worker, 1)
    assert (first.shape, first.dtype, blocks) == ((LENGTH, 2), np.float32, 1)
    kept = first[10:20]
    del first
    for number in range(1, 6):
        (array,), blocks = receive(worker, 1)
        # The view keeps the first array's block, the last array's goes round.
        assert np.all(array == number)
        del array
        assert blocks == 2
    assert np.all(kept == 0)
    del kept
    many, blocks = receive(worker, 12)
    assert [array[0, 0] for array in many] == list(range(6, 18))
    assert blocks == 12
    many.clear()
    _, blocks = receive(worker, 1)
    assert blocks == handover._SPARE


def test_what_a_forked_process_lets_go_of_is_still_needed(worker: Connection) -> None:
    (array,), _ = receive(worker, 1)
    child = os.fork()
    if not child:
        del array
        os._exit(0)
    os.waitpid(child, 0)
    others, _ = receive(worker, 3)
    assert np.all(array == 0)
    assert [other[0, 0] for other in others] == [1, 2, 3]


def test_larger_arrays_take_larger_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "_blocks", [])
    array = handover.empty((3,), np.float32)
    sent = handover.parcel(array)
    assert sent is not None
    got = handover.opened(sent)
    array[:] = (1, 2, 3)
    assert got.tolist() == [1, 2, 3]
    del array
    # The receiver needs it still: another block, and then the larger one for both.
    handover.empty((30,), np.float32)
    assert len(handover._blocks) == 2
    del got
    handover.empty((30,), np.float32)
    assert len(handover._blocks) == 1
    assert handover.empty((2, 3), np.int64).shape == (2, 3)
    assert len(handover._blocks) == 1


def test_other_arrays_are_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "_blocks", [])
    array = handover.empty((4, 4), np.float32)
    for other in (np.zeros((4, 4), np.float32), array[:2], array[1:], array.T, array.view(np.int32)):
        assert handover.parcel(other) is None
    assert handover.parcel(array[:]) is not None
