"""OpenCV's own messages, silenced while it decodes."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import cv2

_log_lock = threading.Lock()
_log_users = 0
_log_level = 0

# The function moved in OpenCV 5; both return the level before.
_set_log_level = getattr(cv2.utils, "logging", cv2).setLogLevel
_SILENT = 0


@contextmanager
def quiet_opencv() -> Iterator[None]:
    """Silence OpenCV's own messages while any thread is in here: what they say is in the exception."""
    global _log_users, _log_level
    with _log_lock:
        if _log_users == 0:
            _log_level = _set_log_level(_SILENT)
        _log_users += 1
    try:
        yield
    finally:
        with _log_lock:
            _log_users -= 1
            if _log_users == 0:
                _set_log_level(_log_level)
