"""One live run, as the command line starts it: on a page, or as lines of text."""

from collections.abc import Callable

import cv2

from fastck.pipeline.compiling import compile_on_first_call
from fastck.recogniser import TRAINED_ON
from fastck.recognition.follow import compile_reading
from fastck.recognition.live.capture import NewestFrame
from fastck.recognition.live.sources import Source, open_source
from fastck.recognition.live.stages import Extras, Totals, warm_up, watch
from fastck.recognition.live.text import lines, totals_line

Say = Callable[[str], None]


def run_live(source: str, *, port: int | None, loop: bool, extras: Extras, on_line: Say, on_note: Say) -> None:
    """Look at a source until it ends or Ctrl-C stops it.

    Parameters
    ----------
    source : str
        A camera's number, or a path.
    port : int or None
        Of the page; 0 for any free one, None for lines of text in place of the page.
    loop : bool
        Play a clip again and again.
    extras : Extras
        What is shown besides.
    on_line, on_note : callable
        Called with lines of results, and with lines about the run.

    Raises
    ------
    ValueError, OSError
        If the source or the port cannot be used, or aiohttp is missing.
    KeyboardInterrupt
        After Ctrl-C, with everything released.
    """
    if port is not None:
        # Before the camera is opened: without the library nothing else is of use.
        check_server()
    opened = open_source(source, loop=loop)
    # One core does it all: OpenCV's threads would only take another one from the browser.
    cv2.setNumThreads(1)
    compile_on_first_call(compile_reading)
    warm_up(extras=extras)
    if port is None:
        _print_lines(opened, extras, on_line, on_note)
        return
    from fastck.recognition.live.server import serve

    totals = serve(
        opened,
        port=port,
        extras=extras,
        on_address=lambda address: on_line(f"{address} ({TRAINED_ON}; Ctrl-C stops it)"),
    )
    on_note(totals_line(totals))


def check_server() -> None:
    """Raise ValueError where the library that serves the page is missing."""
    try:
        import aiohttp  # noqa: F401
    except ImportError:
        raise ValueError(
            "the page needs aiohttp, which is not installed: pip install 'fastck[live]', or ask for --headless"
        ) from None


def _print_lines(source: Source, extras: Extras, on_line: Say, on_note: Say) -> None:
    totals = Totals()
    try:
        with NewestFrame(source) as newest:
            for line in lines(watch(newest, extras=extras), totals):
                on_line(line)
    finally:
        on_line(TRAINED_ON)
        on_note(totals_line(totals))
