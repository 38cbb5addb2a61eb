"""Pages in a browser, charts to scale, and a palette that people of all colour visions tell apart."""

import re
import shutil
from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pytest

import fastck
from fastck.cli.tour_page import Smile, find_best, write_page
from fastck.pages import palette, render_page
from fastck.pages.charts import curve_chart, matrix_chart
from fastck.training.settings.config import TrainConfig
from fastck.training.train import train
from fastck.views.animation import save_gif
from fastck.views.store_page import info_html
from tests.helpers.tinystore import make_store, make_table

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
# Machado, Oliveira and Fernandes (2009), severity 1: what is left of linear RGB without one kind of cone.
WITHOUT = {
    "nothing missing": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}


def linear(colour: str) -> np.ndarray:
    """sRGB's linear light of a colour such as "#0072b2"."""
    values = np.array(palette.bgr(colour)[::-1]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """WCAG's contrast of two colours."""
    low, high = sorted(float(linear(colour) @ [0.2126, 0.7152, 0.0722]) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("colours", [palette.CLASSES, palette.DARK_CLASSES], ids=["light", "dark"])
@pytest.mark.parametrize("missing", WITHOUT)
def test_classes_are_told_apart_without_one_kind_of_cone(colours: tuple[str, ...], missing: str):
    color = pytest.importorskip("skimage.color", reason="needs scikit-image")
    seen = [np.clip(np.asarray(WITHOUT[missing]) @ linear(colour), 0, 1) for colour in colours]
    stored = [np.where(value <= 0.0031308, value * 12.92, 1.055 * value ** (1 / 2.4) - 0.055) for value in seen]
    lab = color.rgb2lab(np.array([stored]))[0]
    assert min(color.deltaE_ciede2000(one, other) for one, other in combinations(lab, 2)) > 14


def test_colours_stand_out_from_the_page():
    for colours, classes in ((palette.LIGHT, palette.CLASSES), (palette.DARK, palette.DARK_CLASSES)):
        assert min(contrast(colour, colours["paper"]) for colour in classes) >= 3
        for ground in ("paper", "soft", "warn"):
            assert contrast(colours["ink"], colours[ground]) >= 7
        for text in ("faint", "mark", "bar"):
            assert contrast(colours[text], colours["paper"]) >= 4.5
        assert contrast(colours["faint"], colours["soft"]) >= 4.5


def test_a_matrix_shows_counts_on_shares_of_the_row():
    chart = matrix_chart(np.array([[3, 1], [0, 0]]), ["a<b", "a very long name"])
    assert re.findall(r'fill-opacity="([\d.]+)"', chart) == [
        f"{0.06 + 0.94 * share:.2f}" for share in (0.75, 0.25, 0, 0)
    ]
    assert re.findall(r">(\d+)</text>", chart) == ["3", "1", "0", "0"]
    assert "a&lt;b taken for a very long name: 25 %" in chart
    assert ">a very long\u2026<" in chart


def test_curves_are_drawn_to_scale():
    values = np.array([[0.0, 0.5], [0.5, 1.0], [1.0, np.nan]])
    chart = curve_chart({"training": (np.arange(1, 4), values)}, most=1.0)
    lines = re.findall(r'class="(curve0[ a-z]*)" points="([^"]*)"', chart)
    points = [[tuple(map(float, point.split(","))) for point in text.split()] for _, text in lines]
    assert [kind for kind, _ in lines][:3] == ["curve0 single", "curve0 single", "curve0"]
    assert [len(line) for line in points[:3]] == [3, 2, 3]
    (x1, y1), (x2, y2), (x3, y3) = points[0]
    assert x2 - x1 == pytest.approx(x3 - x2)
    assert y1 - y2 == pytest.approx(y2 - y3)
    assert [y for _, y in points[2]] == pytest.approx([(y1 + y2) / 2, (y2 + y3) / 2, y3])


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Addresses of a report, a store's page and the live page, with names longer than a phone is wide."""
    folder = tmp_path_factory.mktemp("pages")
    table = make_table(subjects=6, emotions=(1, 2, 3, 4, 5, 6, 7))
    named = table.assign(subject=table["subject"] + "x" * 60, sequence=table["sequence"] + "y" * 80)
    store = make_store(folder / ("store" * 20), named, flow=True, noise=0.6)
    boxes = np.tile(np.array([0, 0, 9, 9], np.int32), (int(table["n_frames"].sum()), 1))
    np.save(store.path / "boxes.npy", boxes)
    store.manifest["arrays"]["boxes"] = {"shape": boxes.shape, "dtype": "int32"}
    (store.path / "quarantine.csv").write_text(f"sequence,reason,folder\n{'q' * 90},{'w' * 300},x\n")
    config = TrainConfig(phase=3, model="linear", protocol="stratified-group", folds=2, timesteps=9, augment=False)
    train(store.path, folder / "run", config)
    info_html(store, folder / "store.html")
    words = {"title": "live", "source": "x", "classes": ["happy"] * 8, "stages": ["face"], "trained_on": "people"}
    words |= {"head": ["yaw", "confidence"], "units": ["AU01", "AU12"]}
    live = render_page("live.html", **words, lengthened=3, nonce="n", socket="ws://127.0.0.1:1/results")
    (folder / "live.html").write_bytes(live)
    picture = folder / "smile.gif"
    save_gif(iter([np.zeros((300, 300, 3), np.uint8)] * 2), picture, 6.0)
    smiles = [Smile(name=name, answer="happy 98 %", shares={"happy": 98}, trained_on="people", file=picture)
              for name in ("a", "b" * 60)]  # fmt: skip
    write_page(
        folder,
        smiles=smiles,
        best=find_best({"f" * 50: folder / "run"}),
        speed={"paper script": 871.2, "preset paper": 12.7, "preset stable": 2.8},
        shown=fastck.sample() / "cohn-kanade-images" / "L008" / "001",
        words={
            "title": "t" * 60,
            "disclaimer": "rendered",
            "chance": "14.3",
            "presets": [("", "paper", "stable"), ("preprocessing, seconds", "80.0", "4.0")],
            "findings": ["x" * 90],
            "places": [(store.path, "features")],
            "commands": ["fastck " + "y" * 300],
        },
    )
    files = {"report": "run/report.html", "store": "store.html", "live": "live.html", "demo": "index.html"}
    return {name: (folder / file).as_uri() for name, file in files.items()}


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield browser
    browser.quit()


@pytest.mark.skipif(BROWSER is None or DRIVER is None, reason="needs Chromium and its driver")
@pytest.mark.parametrize("name", ["report", "store", "live", "demo"])
def test_no_page_scrolls_sideways(pages: dict[str, str], browser, name: str):
    for width in (360, 500, 1200):
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 1000}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get(pages[name])
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        # Nor is anything cut off outside of a box that scrolls.
        wide = "!part.closest('.scroll, pre') && part.getBoundingClientRect().right > innerWidth + 1"
        assert parts(browser, "*", wide) == []
    if name == "report":
        # All rows of all tables are seen.
        assert parts(browser, ".scroll", "part.scrollHeight > part.clientHeight + 1") == []


def parts(browser, which: str, condition: str) -> list[str]:
    """Return the HTML of a page's parts for which a condition holds."""
    chosen = f"[...document.body.querySelectorAll('{which}')].filter((part) => {condition})"
    return browser.execute_script(f"return {chosen}.map((part) => part.outerHTML)")
