"""The page through an HTTP client: who gets it, who does not, and tabs that come and go."""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator

import pytest

pytest.importorskip("aiohttp", reason="needs the extra live")
from aiohttp import WSMsgType, WSServerHandshakeError
from aiohttp.test_utils import TestClient, TestServer

from fastck.recognition.live import server
from fastck.recognition.live.server import ADDRESS, Board, Shown, make_app, serve
from fastck.recognition.live.sources import Frame

PICTURE = b"\xff\xd8 a picture"


def with_page(test: Callable[[TestClient, Board], Awaitable[None]], source: str = "camera 0") -> None:
    async def run() -> None:
        board = Board()
        async with TestClient(TestServer(make_app(board, source), host=ADDRESS)) as client:
            await asyncio.wait_for(test(client, board), 60)
            board.end()

    asyncio.run(run())


def shown(number: int) -> Shown:
    return Shown(text=json.dumps({"frame": number}), picture=PICTURE)


def test_the_page_needs_nothing_from_elsewhere_and_says_whom_it_knows():
    async def test(client: TestClient, board: Board) -> None:
        answer = await client.get("/")
        text = await answer.text()
        assert answer.status == 200
        assert "trained on rendered people" in text
        assert "default-src &#39;none&#39;" in text or "default-src 'none'" in text
        assert f"ws://127.0.0.1:{client.port}/results" in text
        assert not [word for word in ("http://", "https://", 'src="//') if word in text]
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Frame-Options"] == "DENY"

    with_page(test)


def test_a_source_s_name_is_text():
    async def test(client: TestClient, board: Board) -> None:
        text = await (await client.get("/")).text()
        assert "<img src=x>" not in text
        assert "&lt;img src=x&gt;.mp4" in text

    with_page(test, source="<img src=x>.mp4")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8765", "localhost.evil.example", "[::1]:80"])
def test_a_foreign_host_is_refused(host: str):
    async def test(client: TestClient, board: Board) -> None:
        for path in ("/", "/results"):
            answer = await client.get(path, headers={"Host": host})
            assert answer.status == 403
            assert "trained" not in await answer.text()

    with_page(test)


def test_localhost_is_the_same_page():
    async def test(client: TestClient, board: Board) -> None:
        answer = await client.get("/", headers={"Host": f"localhost:{client.port}"})
        assert answer.status == 200
        assert f"ws://localhost:{client.port}/results" in await answer.text()

    with_page(test)


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:1", "null", "http://localhost"])
def test_a_script_of_another_site_is_refused(origin: str):
    async def test(client: TestClient, board: Board) -> None:
        with pytest.raises(WSServerHandshakeError) as refused:
            await client.ws_connect("/results", headers={"Origin": origin})
        assert refused.value.status == 403
        assert board.tabs == 0

    with_page(test)


def test_two_tabs_get_results_and_a_closed_one_stops_nobody():
    async def test(client: TestClient, board: Board) -> None:
        own = {"Origin": f"http://127.0.0.1:{client.port}"}
        first = await client.ws_connect("/results", headers=own)
        second = await client.ws_connect("/results", headers=own)
        board.put(shown(1))
        for tab in (first, second):
            assert (await tab.receive_json())["frame"] == 1
            assert await tab.receive_bytes() == PICTURE
        assert board.tabs == 2
        await first.close()
        board.put(shown(2))
        assert (await second.receive_json())["frame"] == 2
        assert await second.receive_bytes() == PICTURE
        while board.tabs != 1:
            await asyncio.sleep(0.01)
        third = await client.ws_connect("/results")
        # What was there before it came.
        assert (await third.receive_json())["frame"] == 2

    with_page(test)


def test_a_tab_that_breaks_off_stops_nobody():
    async def test(client: TestClient, board: Board) -> None:
        broken = await client.ws_connect("/results")
        other = await client.ws_connect("/results")
        while board.tabs != 2:
            await asyncio.sleep(0.01)
        broken._response.connection.transport.abort()
        for number in range(3):
            board.put(shown(number))
            assert (await other.receive_json())["frame"] == number
            await other.receive_bytes()
        while board.tabs != 1:
            await asyncio.sleep(0.01)

    with_page(test)


def test_a_tab_that_takes_nothing_any_more_is_let_go(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(server, "ALIVE", 0.2)

    async def test(client: TestClient, board: Board) -> None:
        reader, writer = await asyncio.open_connection(ADDRESS, client.port, limit=1024)
        words = ["GET /results HTTP/1.1", f"Host: {ADDRESS}:{client.port}", "Upgrade: websocket", "Connection: Upgrade"]
        words += ["Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {'A' * 22}==", "", ""]
        writer.write("\r\n".join(words).encode())
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.pause_reading()
        board.put(Shown(text="{}", picture=bytes(2**24)))
        while board.tabs != 1:
            await asyncio.sleep(0.01)
        while board.tabs or server_connections(client):
            await asyncio.sleep(0.01)
        writer.close()

    with_page(test)


def server_connections(client: TestClient) -> list[object]:
    """Return the connections that the server holds."""
    return client.server.runner.server.connections


def test_a_tab_that_comes_late_gets_the_newest_result_alone():
    async def test(client: TestClient, board: Board) -> None:
        for number in range(9):
            board.put(shown(number))
        tab = await client.ws_connect("/results")
        assert (await tab.receive_json())["frame"] == 8

    with_page(test)


def test_tabs_are_told_of_the_end():
    async def test(client: TestClient, board: Board) -> None:
        tab = await client.ws_connect("/results")
        board.end()
        assert await tab.receive_json() == {"ended": True}
        assert (await tab.receive()).type == WSMsgType.CLOSE

    with_page(test)


class Unplugged:
    """A camera that gives nothing."""

    name = "camera 0"

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        raise OSError("camera 0 gives no more frames")
        yield


def test_a_source_that_fails_ends_the_page_and_its_threads():
    before = threading.active_count()
    addresses: list[str] = []
    with pytest.raises(OSError, match="camera 0 gives no more frames"):
        serve(Unplugged(), port=0, on_address=addresses.append)
    assert addresses[0].startswith("http://127.0.0.1:")
    assert threading.active_count() == before
