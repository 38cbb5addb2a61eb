"""Ending a run whose threads are at work."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Condition
from types import TracebackType

from fastck.faces.box import Gray


class Cancelled(Exception):
    """The run is over: this sequence's work is not wanted any more."""


class Cancellation:
    """Cooperative cancellation: the threads of a run end at their next frame, and the run waits for them.

    A thread that is inside dlib while the interpreter shuts down aborts the process. As a context manager it cancels
    when the context ends. A copy in another process never cancels: nobody there waits.
    """

    def __init__(self) -> None:
        self._cancelled = False
        self._working = 0
        self._idle = Condition()

    def __enter__(self) -> "Cancellation":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cancelled = True
        with self._idle:
            self._idle.wait_for(lambda: self._working == 0)

    def __reduce__(self) -> tuple[type["Cancellation"], tuple[()]]:
        return Cancellation, ()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Count this thread as working while the context is open."""
        with self._idle:
            if self._cancelled:
                raise Cancelled
            self._working += 1
        try:
            yield
        finally:
            with self._idle:
                self._working -= 1
                self._idle.notify_all()

    def watch(self, frames: Iterable[Gray]) -> Iterator[Gray]:
        """Pass frames on until the run is over."""
        for gray in frames:
            if self._cancelled:
                raise Cancelled
            yield gray
