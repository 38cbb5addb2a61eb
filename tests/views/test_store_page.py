"""What `fastck info` tells about a store: numbers against sums done by hand, and a page that is safe and alone."""

import os
import re
import shutil
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from fastck.pages.charts import bar_chart, histogram, strip_chart
from fastck.pipeline.dispatch import preprocess
from fastck.store.reader import Store, open_store
from fastck.views.preview import preview_store
from fastck.views.store import (
    box_moves,
    describe_flow,
    describe_numbers,
    describe_settings,
    summarise,
)
from fastck.views.store_page import info_html, page_text
from fastck.views.terminal import describe_store

EVIL = "<img src=x onerror=alert(1)> [bold]\"'&"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three good sequences of two subjects with boxes, one without a box, one that does not decode, oddly named."""
    root = tmp_path_factory.mktemp("info")
    rng = np.random.default_rng(0)
    lines = ["sequence,frame,top,left,bottom,right"]
    for subject, sequence, n_frames, emotion in [("S1", "1", 4, 5), ("S1", "2", 6, None), ("S2", "1", 45, 5)]:
        folder = root / "cohn-kanade-images" / subject / sequence
        folder.mkdir(parents=True)
        for number in range(1, n_frames + 1):
            cv2.imwrite(str(folder / f"{number:03d}.png"), rng.integers(0, 256, (60, 80), np.uint8))
            left = 10 + 4 * (subject == "S1" and sequence == "2" and number >= 3)
            lines.append(f"{subject}_{sequence},{number},5,{left},45,{left + 40}")
        if emotion:
            labels = root / "Emotion" / subject / sequence
            labels.mkdir(parents=True)
            (labels / f"{n_frames:03d}_emotion.txt").write_text(f"   {emotion:.7e}\n")
    for name, data in [("1", None), (EVIL.replace("/", "_"), b"nothing")]:
        folder = root / "cohn-kanade-images" / "S3" / name
        folder.mkdir(parents=True)
        for number in range(3):
            if data is None:
                cv2.imwrite(str(folder / f"{number}.png"), rng.integers(0, 256, (60, 80), np.uint8))
            else:
                (folder / f"{number}.png").write_bytes(data)
    (root / "boxes.csv").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="module")
def store(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    path = tmp_path_factory.mktemp("stores") / EVIL.replace("/", "_")
    return preprocess(root, path, preset="paper", boxes=root / "boxes.csv", n_jobs=1, box_cache=False)


def test_a_table_from_elsewhere_puts_no_foreign_picture_on_the_page(root: Path, store: Store, tmp_path: Path):
    made = Path(shutil.copytree(store.path, tmp_path / "store"))
    secret = tmp_path / "secret"
    secret.mkdir()
    cv2.imwrite(str(secret / "1.png"), np.zeros((60, 80), np.uint8))
    quarantine = pd.read_csv(made / "quarantine.csv")
    quarantine["folder"] = os.path.relpath(secret, root)
    quarantine.to_csv(made / "quarantine.csv", index=False)
    text = page_text(open_store(made), root=root)
    assert "no picture" in text
    assert "data:image/jpeg" not in text
    table = pd.read_csv(made / "sequences.csv")
    table["folder"] = os.path.relpath(secret, root)
    table.to_csv(made / "sequences.csv", index=False)
    with pytest.raises(ValueError, match="must lie below the data set's root"):
        preview_store(open_store(made), table["sequence"][0], root=root)


class Tags(HTMLParser):
    """Collects tags and checks that they close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_summary_is_the_sum_of_the_table(store: Store):
    summary = summarise(store)
    assert (summary.sequences, summary.subjects, summary.labelled, summary.quarantined) == (3, 2, 2, 2)
    assert summary.frames == 4 + 6 + 45
    assert summary.emotions == {"happy": 2, "not labelled": 1}
    assert summary.n_cut == 1
    assert summary.cut == pytest.approx(5 / (3 + 5 + 44))
    assert summary.padded == pytest.approx((36 + 34) / (3 * 39))
    assert summary.moved == pytest.approx(1 / 52)
    # All the projections at hand say the same: the step onto frame 3 of the sequence whose box moves.
    density = store.feature("projection")[:, 0].mean(axis=1, dtype=np.float64)
    row = store.row("S1_2")
    assert summary.motion_moved == pytest.approx(density[row.start + 1] / density.sum(), rel=1e-5)
    assert summarise(store, window=44).n_cut == 0


def test_box_moves_leave_out_steps_between_sequences(store: Store):
    assert box_moves(store).tolist() == [pytest.approx(100 * 4 / 40)]


def test_terminal_shows_names_as_they_are(store: Store):
    console = Console(width=200, record=True, file=StringIO())
    console.print(describe_store(store))
    text = console.export_text()
    assert "3 of 2 subjects, 2 labelled" in text
    assert "1 sequences are longer (9.6 % of all steps would be cut)" in text
    assert "S3_1" in text
    assert "are longer" not in "".join(text for _, text in describe_numbers(summarise(store, window=44)))
    assert re.search(r"happy\W+2\W+2\W+24\.5", text)


def test_flow_is_described_where_there_is_some(store: Store, root: Path, tmp_path: Path):
    assert "flow" not in dict(describe_settings(store))
    with pytest.raises(ValueError, match="holds no optical flow: make it with the feature flow"):
        describe_flow(store)
    options = {"boxes": root / "boxes.csv", "n_jobs": 1, "box_cache": False}
    made = preprocess(root, tmp_path / "flow", features=("flow",), **options)
    text = dict(describe_settings(made))["flow"]
    assert text.startswith(
        "onset to frame, search on patches on 128x128 pixels, head's motion taken out; at the last frames"
    )
    lasts = [made.sequence(name, "flow")[-1] for name in made.table["sequence"]]
    assert f"displaced by {100 * np.mean([np.hypot(*last[:2]) for last in lasts]):.2f} % of the side" in text
    assert text.endswith(f"strain {np.mean([last[2] for last in lasts]):.3f}")
    assert "onset to frame" in page_text(made)
    output = StringIO()
    Console(file=output, width=300).print(describe_store(made))
    assert text in output.getvalue()
    projected = preprocess(root, tmp_path / "projection", features=("flow_projection",), **options)
    assert describe_flow(projected) == text[: text.index(";")]


def test_page_is_whole_escaped_and_loads_nothing(store: Store, root: Path, tmp_path: Path):
    path = info_html(store, tmp_path / "page.html", root=root)
    text = path.read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    assert "script" not in {tag for tag, _ in tags.seen}
    assert not any(name.startswith("on") for _, attributes in tags.seen for name in attributes)
    links = [
        value or "" for _, attributes in tags.seen for name, value in attributes.items() if name in ("src", "href")
    ]
    assert links
    assert all(link.startswith("data:image/jpeg;base64,") for link in links)
    assert "url(" not in text
    assert "Content-Security-Policy" in text
    assert len(links) == 3  # three frames of the sequence without a face; none of the one that does not decode
    assert "&lt;img src=x" in text
    assert "the file of boxes has no box for any of its 3 frames" in text
    assert "No sequences have more" not in text


def test_page_without_root_and_of_an_empty_store(store: Store, root: Path, tmp_path: Path):
    assert "<img" not in page_text(store)
    (tmp_path / "none.csv").write_text("sequence,frame,top,left,bottom,right\n")
    empty = preprocess(root, tmp_path / "s", boxes=tmp_path / "none.csv", n_jobs=1, box_cache=False)
    assert len(empty.table) == 0
    tags = Tags()
    tags.feed(page_text(empty))
    assert tags.open == []
    Console(file=StringIO()).print(describe_store(empty))
    with pytest.raises(NotADirectoryError):
        info_html(store, tmp_path / "page.html", root=tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError):
        info_html(store, tmp_path / "no" / "page.html")


@pytest.mark.parametrize("values", [[0.0], [3.0, 3.0, 4.0], [0.001, 1e6], list(map(float, range(200)))])
def test_histogram_counts_every_value(values: list[float]):
    for whole in (False, True):
        chart = histogram(values, axis="x", whole=whole)
        assert sum(int(count) for count in re.findall(r": (\d+)</title>", chart)) == len(values)
        inside = [float(x) for x in re.findall(r'rect class="bar" x="([\d.]+)"', chart)]
        assert all(0 <= x <= 430 for x in inside)


def test_charts_draw_to_scale_and_escape():
    chart = bar_chart({"a<b": 10, "c": 5})
    lengths = [float(width) for width in re.findall(r'width="([\d.]+)"', chart)]
    assert lengths[0] == pytest.approx(2 * lengths[1], abs=0.2)
    assert "a&lt;b" in chart
    strip = strip_chart({"x": np.array([1.0, 2.0, 9.0])}, axis="%")
    first, second, third = (float(x) for x in re.findall(r'circle class="dot" cx="([\d.]+)"', strip))
    assert third - first == pytest.approx(8 * (second - first), abs=0.5)
    median = re.search(r'class="median" x1="([\d.]+)"', strip)
    assert median is not None
    assert float(median[1]) == pytest.approx(second, abs=0.1)
