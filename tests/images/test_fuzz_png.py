"""A short run of the fuzz target, so that it stays working code."""

import pytest

from tests.campaigns.fuzz_png import fuzz


@pytest.mark.parametrize("seed", [1, 2])
def test_mutated_files_break_no_promise(seed: int):
    outcome = fuzz(1500, seed)
    assert outcome.findings == []
    assert outcome.executions == 1500
    # Mutations that are all refused at the door would test nothing.
    assert outcome.counts["PNG: as OpenCV"] > 200
    assert outcome.counts["PNG: refused"] > 200
    assert outcome.counts["label: accepted"] > 5
