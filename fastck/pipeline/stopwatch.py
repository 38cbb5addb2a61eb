"""Where the time of a sequence goes."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


def add_times(total: dict[str, float], times: Mapping[str, float]) -> None:
    """Add each stage's time to what `total` has of it."""
    for stage, taken in times.items():
        total[stage] = total.get(stage, 0.0) + taken


class Stopwatch:
    """Adds up the time of each stage; while a stage runs inside of another one, the outer one's clock stands still.

    Attributes
    ----------
    seconds : dict of str to float
        Wall time of each stage.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._stages: list[str] = []
        self._since = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time until the context ends as that stage's."""
        self._book()
        self._stages.append(name)
        try:
            yield
        finally:
            self._book()
            self._stages.pop()

    def _book(self) -> None:
        now = time.perf_counter()
        if self._stages:
            self.seconds[self._stages[-1]] = self.seconds.get(self._stages[-1], 0.0) + now - self._since
        self._since = now
