"""The page on 127.0.0.1: one WebSocket for each tab, which gets the newest result when it can take one.

Another site that is open in the same browser must not see the picture. A name of its own that leads here (DNS
rebinding) is refused by the header Host, a script on its page by the header Origin.
"""

import asyncio
import json
import re
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from threading import Thread

from aiohttp import WSCloseCode, WSMsgType, web

from fastck.pages import render_page
from fastck.pipeline.stopwatch import Stopwatch
from fastck.recogniser import TRAINED_ON, bundled
from fastck.recognition.live.capture import NewestFrame
from fastck.recognition.live.picture import LENGTHENED, jpeg
from fastck.recognition.live.sources import Source
from fastck.recognition.live.stages import NOTHING, STAGES, Extras, LiveResult, Totals, watch
from fastck.recognition.live.text import said_emotion

ADDRESS = "127.0.0.1"
OWN_HOST = re.compile(r"(127\.0\.0\.1|localhost)(:\d{1,5})?")
HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
ALIVE = 20.0  # seconds between two signs of life asked of a tab
LARGEST_MESSAGE = 1024  # bytes from a tab, which has nothing to say
PATIENCE = 2.0  # seconds for tabs to close at the end

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A result as tabs get it.

    Attributes
    ----------
    text : str
        JSON.
    picture : bytes
        JPEG; empty while no tab was open.
    """

    text: str
    picture: bytes


class Board:
    """The newest result, for any number of tabs; used in the server's thread, but for `tabs`, which any may read."""

    def __init__(self) -> None:
        self.tabs = 0
        self.shown: Shown | None = None
        self.ended = False
        self._news = asyncio.Event()

    def put(self, shown: Shown) -> None:
        """Show a newer result."""
        self.shown = shown
        self._wake()

    def end(self) -> None:
        """Let all tabs know that nothing newer comes."""
        self.ended = True
        self._wake()

    async def newer(self, than: Shown | None) -> Shown | None:
        """Wait for another result than this one; None when nothing newer comes."""
        while not self.ended and self.shown is than:
            await self._news.wait()
        return None if self.ended else self.shown

    async def end_of_it(self) -> None:
        """Wait until nothing newer comes."""
        while not self.ended:
            await self._news.wait()

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


def serve(source: Source, *, port: int, on_address: Callable[[str], None], extras: Extras = NOTHING) -> Totals:
    """Show a source on a page until it ends or Ctrl-C stops it.

    Parameters
    ----------
    source : Source
    port : int
        On 127.0.0.1; 0 for any free one.
    on_address : callable
        Called with the page's address once it can be opened.
    extras : Extras
        What is shown besides.

    Returns
    -------
    totals : Totals

    Raises
    ------
    ValueError
        If the port is taken, or the source failed.
    OSError
        If the source failed.
    KeyboardInterrupt
        After Ctrl-C, with camera, threads and port released.
    """
    return asyncio.run(_serve(source, port, on_address, extras))


async def _serve(source: Source, port: int, on_address: Callable[[str], None], extras: Extras) -> Totals:
    board, totals = Board(), Totals()
    app = make_app(board, source.name, extras=extras)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=PATIENCE)
    await runner.setup()
    try:
        site = web.TCPSite(runner, ADDRESS, port)
        try:
            await site.start()
        except OSError as error:
            raise ValueError(
                f"port {port} of {ADDRESS} cannot be used ({error.strerror or error}): name another one with --port, "
                "or 0 for any that is free"
            ) from error
        on_address(f"http://{ADDRESS}:{runner.addresses[0][1]}/")
        await _follow(source, board, totals, extras)
    finally:
        board.end()
        await runner.cleanup()
    return totals


async def _follow(source: Source, board: Board, totals: Totals, extras: Extras) -> None:
    """Look at a source's frames in a thread of their own, and put what comes of them on the board."""
    loop = asyncio.get_running_loop()
    errors: list[Exception] = []

    def work() -> None:
        try:
            for result in watch(newest, extras=extras):
                totals.add(result)
                loop.call_soon_threadsafe(board.put, show(result, drawn=board.tabs > 0))
        # Raised again by the server's thread, after this one has ended.
        except Exception as error:
            errors.append(error)
        finally:
            loop.call_soon_threadsafe(board.end)

    with NewestFrame(source) as newest:
        thread = Thread(target=work, name="stages")
        thread.start()
        try:
            await board.end_of_it()
        finally:
            newest.stop()
            # Not for longer than one frame takes.
            thread.join()
    if errors:
        raise errors[0]


def show(result: LiveResult, *, drawn: bool) -> Shown:
    """Return a result as tabs get it, with the picture where it is `drawn`."""
    stopwatch = Stopwatch()
    with stopwatch.stage("picture"):
        picture = jpeg(result) if drawn else b""
    reading, marks = result.reading, result.marks
    milliseconds = {**dict.fromkeys(STAGES, 0.0), **result.milliseconds, "picture": 1000 * stopwatch.seconds["picture"]}
    values = {
        "frame": result.number,
        "emotion": said_emotion(result),
        "probabilities": None if reading is None else [round(float(share), 4) for share in reading.probabilities],
        "reference": result.reference,
        "milliseconds": {stage: round(taken, 2) for stage, taken in milliseconds.items()},
        "delay": round(result.delay, 1),
        "dropped": result.dropped,
        "rate": round(result.rate, 1),
        "units": None if result.units is None else [round(result.units[name], 2) for name in shown_units()],
        "head": None
        if marks is None
        else [*(round(angle) for angle in marks.pose[:3]), round(marks.landmarks.confidence, 2)],
    }
    return Shown(text=json.dumps(values), picture=picture)


def shown_units() -> tuple[str, ...]:
    """Return the names of the action units that have a bar: one with two sides is as strong as its stronger side."""
    from fastck.faces.units import UNITS

    return tuple(name for name in UNITS if "_" not in name)


def make_app(board: Board, source: str, *, extras: Extras = NOTHING) -> web.Application:
    """Return the application: the page and its WebSocket.

    Parameters
    ----------
    board : Board
    source : str
        Name of the source, shown on the page.
    extras : Extras
        What results have besides.
    """

    async def page(request: web.Request) -> web.StreamResponse:
        nonce = secrets.token_urlsafe(16)
        body = render_page(
            "live.html",
            title=f"fastck live: {source}",
            source=source,
            classes=bundled().classes,
            stages=(*STAGES, "picture"),
            head=("yaw, degrees", "pitch, degrees", "roll, degrees", "landmark confidence") if extras.landmarks else (),
            units=shown_units() if extras.units else (),
            trained_on=TRAINED_ON,
            lengthened=LENGTHENED,
            nonce=nonce,
            socket=f"ws://{request.host}/results",
        )
        return web.Response(body=body, content_type="text/html", charset="utf-8")

    async def results(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(heartbeat=ALIVE, max_msg_size=LARGEST_MESSAGE, timeout=PATIENCE, compress=False)
        await socket.prepare(request)
        board.tabs += 1
        sender = asyncio.create_task(send(socket, board))
        try:
            # Nothing is expected; this ends when the tab is closed.
            while (await socket.receive()).type not in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED):
                pass
        finally:
            board.tabs -= 1
            sender.cancel()
            with suppress(asyncio.CancelledError):
                await sender
            # A tab that takes nothing any more would hold its connection until what was sent to it is taken.
            if socket.close_code == WSCloseCode.ABNORMAL_CLOSURE and request.transport is not None:
                request.transport.abort()
        return socket

    app = web.Application(middlewares=[own_pages_only])
    app.add_routes([web.get("/", page), web.get("/results", results)])
    return app


async def send(socket: web.WebSocketResponse, board: Board) -> None:
    """Send the newest result, again and again; a slow tab passes results over and holds up nobody."""
    shown: Shown | None = None
    # The tab may be closed at any moment.
    with suppress(ConnectionError):
        while (shown := await board.newer(shown)) is not None:
            await socket.send_str(shown.text)
            if shown.picture:
                await socket.send_bytes(shown.picture)
        await socket.send_str(json.dumps({"ended": True}))
        await socket.close()


@web.middleware
async def own_pages_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer what this page asks, and nobody else's."""
    origin = request.headers.get("Origin")
    if not OWN_HOST.fullmatch(request.host) or origin not in (None, f"http://{request.host}"):
        return web.Response(status=403, text=f"fastck live answers to {ADDRESS} and localhost only\n", headers=HEADERS)
    response = await handler(request)
    # A WebSocket's headers are on their way already.
    if not response.prepared:
        response.headers.update(HEADERS)
    return response
