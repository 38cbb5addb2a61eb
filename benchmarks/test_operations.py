"""Every operation, every method: the same result first, then the time."""

from collections.abc import Callable

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
pytest.importorskip("skimage")
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)

from benchmarks import baselines_other  # noqa: E402, F401  (registers its methods)
from benchmarks.baselines import FLOW_FLOOR, OPERATIONS, flow_floor, inputs  # noqa: E402
from fastck.bench import FLOOR, LOOPS, METHODS, OWN, Operation, memory_copy, sample_frames  # noqa: E402

SIDES = (64, 267, 512)
PAIRS = [(operation, name) for operation in OPERATIONS for name in METHODS[operation.name]]
IDS = [f"{operation.name}-{name}" for operation, name in PAIRS]
SLOW = 2  # frames that the plain loops are given
FEW = 3  # frames where nothing is timed


def check(operation: Operation, result: np.ndarray, expected: np.ndarray) -> None:
    """Compare a result with fastck's, of which it may be the beginning."""
    assert result.shape[1:] == expected.shape[1:]
    np.testing.assert_allclose(result, expected[: len(result)], rtol=0, atol=operation.tolerance)


@pytest.mark.parametrize(("operation", "name"), PAIRS, ids=IDS)
@pytest.mark.parametrize("side", [1, 35])
def test_methods_agree(operation: Operation, name: str, side: int) -> None:
    data = inputs(operation.stage, sample_frames(3, side=side))
    check(operation, METHODS[operation.name][name](data)(), METHODS[operation.name][OWN](data)())


@pytest.mark.parametrize(("operation", "name"), PAIRS, ids=IDS)
@pytest.mark.parametrize("side", SIDES)
def test_speed(
    benchmark: Callable[..., np.ndarray],
    frames_of: Callable[[int], np.ndarray],
    operation: Operation,
    name: str,
    side: int,
) -> None:
    if name == LOOPS and side > 64 and benchmark.disabled:  # type: ignore[attr-defined]
        pytest.skip("the plain loops take seconds there; 64 pixels keep them working")
    data = inputs(operation.stage, frames_of(side)[: FEW if benchmark.disabled else None])  # type: ignore[attr-defined]
    few = data[:SLOW] if name == LOOPS else data
    run = METHODS[operation.name][name](few)
    result = run()  # compiles, and fills the caches
    check(operation, result, METHODS[operation.name][OWN](data)())
    describe(benchmark, operation.name, side, name, len(result))
    if name == LOOPS:
        benchmark.pedantic(run, rounds=2, iterations=1)  # type: ignore[attr-defined]
    else:
        benchmark(run)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(
    "operation",
    [operation for operation in OPERATIONS if "flow" not in operation.name],
    ids=lambda operation: operation.name,
)
def test_floor(
    benchmark: Callable[..., np.ndarray], frames_of: Callable[[int], np.ndarray], operation: Operation, side: int
) -> None:
    data = frames_of(side)[1:]
    describe(benchmark, operation.name, side, FLOOR, len(data))
    np.testing.assert_array_equal(benchmark(memory_copy(data)), data)


@pytest.mark.parametrize("side", SIDES)
def test_flow_floor(benchmark: Callable[..., np.ndarray], frames_of: Callable[[int], np.ndarray], side: int) -> None:
    frames = frames_of(side)
    describe(benchmark, "optical_flow", side, FLOW_FLOOR, len(frames) - 1)
    assert benchmark(flow_floor(frames)).shape == (len(frames) - 1, 128, 128, 2)


def describe(benchmark: Callable[..., np.ndarray], operation: str, side: int, name: str, results: int) -> None:
    """Note what the report needs: pytest-benchmark knows the time of a call only."""
    benchmark.group = f"{operation} {side}"  # type: ignore[attr-defined]
    benchmark.extra_info.update(  # type: ignore[attr-defined]
        kind="operation", operation=operation, side=side, method=name, results=results
    )
