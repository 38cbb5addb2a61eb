"""A short run of the fuzz target, so that it stays working code."""

from tests.campaigns.fuzz_video import fuzz


def test_mutated_videos_break_no_promise():
    outcome = fuzz(200, 1)
    assert outcome.findings == []
    assert outcome.executions == 200
    # Mutations that are all refused at the door would test nothing.
    assert sum(count for name, count in outcome.counts.items() if name.endswith("other frames")) > 10
    assert outcome.counts["cut: refused"] > 20
