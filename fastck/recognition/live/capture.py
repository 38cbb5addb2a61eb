"""The newest frame of a source: a thread takes every frame, and who looks gets the last one."""

from threading import Condition, Event, Thread
from types import TracebackType

from fastck.recognition.live.sources import Frame, Source

JOIN = 2.0  # seconds; a camera that hangs in its driver must not keep the program from ending


class NewestFrame:
    """A place for one frame, filled by a thread while the context lasts.

    Parameters
    ----------
    source : Source

    Attributes
    ----------
    dropped : int
        Frames that a newer one replaced before anyone took them.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._stop = Event()
        self._changed = Condition()
        self._frame: Frame | None = None
        self._error: Exception | None = None
        self._ended = False
        self.dropped = 0
        self._thread = Thread(target=self._fill, name="capture", daemon=True)

    def __enter__(self) -> "NewestFrame":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        self._thread.join(JOIN)

    def stop(self) -> None:
        """Take no more frames; `take` returns None from now on."""
        self._stop.set()
        with self._changed:
            self._ended = True
            self._frame = None
            self._changed.notify_all()

    def take(self) -> Frame | None:
        """Wait for a frame that was not taken yet; None when the source has ended.

        Raises
        ------
        ValueError, OSError
            If the source failed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._frame is not None or self._ended)
            frame, self._frame = self._frame, None
            if frame is None and self._error is not None:
                raise self._error
            return frame

    def _fill(self) -> None:
        try:
            for frame in self._source.frames(self._stop):
                with self._changed:
                    if self._ended:
                        return
                    self.dropped += self._frame is not None
                    self._frame = frame
                    self._changed.notify_all()
        # Raised again in the thread that takes the frames.
        except Exception as error:
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()
