"""`fastck live` as a user starts it: a clip as a camera, lines, the page in a browser, Ctrl-C."""

import asyncio
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner

from fastck.cli import app
from fastck.recognition import bundled
from tests.helpers import processes

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")


def live(*arguments: str) -> "subprocess.Popen[str]":
    return processes.start([sys.executable, "-m", "fastck.cli", "live", *arguments])


@contextmanager
def page_of(source: Path) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """Start a page for a looped clip; yields its address and its process."""
    process = live(str(source), "--loop", "--port", "0")
    try:
        line = process.stdout.readline()
        assert "trained on rendered people" in line, process.stderr.read()
        yield line.split()[0], process
    finally:
        process.kill()
        process.wait()


def refused(host: str, port: int) -> bool:
    """Return whether nobody listens there."""
    try:
        socket.create_connection((host, port)).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.fixture(scope="module")
def page(smile_video: Path) -> Iterator[str]:
    pytest.importorskip("aiohttp", reason="needs the extra live")
    with page_of(smile_video) as (address, _):
        yield address


def test_lines_of_text(smile_video: Path):
    result = CliRunner().invoke(app, ["live", str(smile_video), "--headless"])
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == "trained on rendered people"
    assert "happy" in result.stdout
    assert "frames looked at" in result.stderr


def test_a_page_ends_with_its_video(smile: Path):
    pytest.importorskip("aiohttp", reason="needs the extra live")
    result = CliRunner().invoke(app, ["live", str(smile), "--port", "0"])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("http://127.0.0.1:")
    assert "frames looked at" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.mp4"], "nowhere.mp4 does not exist: expected a camera's number"),
        (["97"], "camera 97 cannot be opened"),
        (["0", "--loop"], "a camera does not end"),
    ],
)
@pytest.mark.parametrize("how", [[], ["--headless"]])
def test_a_source_that_is_none_gives_one_line(arguments: list[str], said: str, how: list[str]):
    result = CliRunner().invoke(app, ["live", *arguments, *how])
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("how", [["--port", "0"], ["--headless"]])
def test_a_clip_that_does_not_decode_gives_one_line(tmp_path: Path, how: list[str]):
    for number in range(3):
        (tmp_path / f"a{number}.png").write_text("no picture")
    result = CliRunner().invoke(app, ["live", str(tmp_path), *how])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "a0.png: the content must be PNG" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_port_that_is_taken_gives_one_line(smile: Path):
    pytest.importorskip("aiohttp", reason="needs the extra live")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(app, ["live", str(smile), "--port", str(port)])
    assert result.exit_code == 2
    assert f"port {port} of 127.0.0.1 cannot be used" in result.stderr
    assert result.stderr.count("\n") == 1


def test_without_the_library_there_is_one_line(smile: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    result = CliRunner().invoke(app, ["live", str(smile)])
    assert result.exit_code == 2
    assert "pip install 'fastck[live]'" in result.stderr


def test_ctrl_c_stops_lines(smile_video: Path):
    process = live(str(smile_video), "--loop", "--headless")
    assert process.stdout.readline().startswith("frame ")
    process.send_signal(signal.SIGINT)
    stdout, stderr = processes.finish(process)
    assert process.returncode == 130
    assert stdout.splitlines()[-1] == "trained on rendered people"
    assert "Traceback" not in stderr


def test_ctrl_c_stops_the_page_with_tabs_open(smile_video: Path):
    aiohttp = pytest.importorskip("aiohttp", reason="needs the extra live")
    with page_of(smile_video) as (address, process):

        async def watch_it_stop() -> list[aiohttp.WSMsgType]:
            async with aiohttp.ClientSession() as session, session.ws_connect(f"{address}results") as tab:
                await tab.receive_json()
                process.send_signal(signal.SIGINT)
                return [message.type async for message in tab] + [(await tab.receive()).type]

        assert asyncio.run(asyncio.wait_for(watch_it_stop(), 60))[-1] == aiohttp.WSMsgType.CLOSED
        _, stderr = processes.finish(process)
        assert process.returncode == 130
        assert stderr.strip().splitlines()[-1] == "stopped"
        assert "Traceback" not in stderr
        with (
            pytest.raises(ConnectionRefusedError),
            socket.create_connection((urlsplit(address).hostname, urlsplit(address).port)),
        ):
            pass


def test_the_page_is_on_no_other_address(page: str):
    # Loopback, but another address than 127.0.0.1: a server on all addresses would answer.
    assert refused("127.0.0.2", urlsplit(page).port)
    assert not refused("127.0.0.1", urlsplit(page).port)


def test_frames_move_and_a_tab_that_leaves_stops_nothing(page: str):
    import aiohttp

    async def numbers_of(tab: aiohttp.ClientWebSocketResponse, count: int) -> list[int]:
        numbers, pictures = [], 0
        while len(numbers) < count or not pictures:
            message = await tab.receive()
            if message.type == aiohttp.WSMsgType.TEXT:
                numbers.append(message.json()["frame"])
            else:
                assert message.data.startswith(b"\xff\xd8")
                pictures += 1
        return numbers

    async def test() -> None:
        async with aiohttp.ClientSession() as session:
            async with session.ws_connect(f"{page}results") as first:
                before = await numbers_of(first, 3)
            async with session.ws_connect(f"{page}results") as second:
                after = await numbers_of(second, 3)
        assert before == sorted(set(before))
        assert after == sorted(set(after))
        # A new tab first gets what is there.
        assert after[0] >= before[-1]

    asyncio.run(asyncio.wait_for(test(), 60))


@pytest.mark.skipif(BROWSER is None or DRIVER is None, reason="needs Chromium and its driver")
def test_a_browser_shows_it_moving_in_two_tabs(page: str, tmp_path: Path):
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1100,1250"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        browser.get(page)
        wait_until_moving(browser)
        wait_for_picture(browser)
        emotion = browser.find_element("id", "emotion").text
        assert emotion in {*bundled().classes, "unsure"}
        assert "trained on rendered people" in browser.find_element("tag name", "body").text
        first = browser.current_window_handle
        browser.switch_to.new_window("tab")
        browser.get(page)
        wait_until_moving(browser)
        browser.close()
        browser.switch_to.window(first)
        wait_until_moving(browser)
        browser.save_screenshot(str(tmp_path / "live.png"))
        # No resource refused, no script failed.
        assert [entry for entry in browser.get_log("browser") if "favicon" not in entry["message"]] == []
    finally:
        browser.quit()


def wait_for_picture(browser) -> None:
    """Wait until a picture is decoded: each new source has no width until then."""
    end = time.monotonic() + 60
    while browser.execute_script("return document.getElementById('picture').naturalWidth") == 0:
        assert time.monotonic() < end, "no picture is shown"
        time.sleep(0.01)


def wait_until_moving(browser) -> None:
    """Wait until the page's picture and frame number have changed."""

    def seen() -> tuple[str, str]:
        return browser.find_element("id", "frame").text, browser.find_element("id", "picture").get_attribute("src")

    before, end = seen(), time.monotonic() + 60
    while any(a == b or not b for a, b in zip(before, seen(), strict=True)):
        assert time.monotonic() < end, f"the page stands still at {before}"
        time.sleep(0.1)
