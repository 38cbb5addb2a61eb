"""Where the time of dlib's search, compiled, goes: prints a Markdown table of processor time, beside dlib's own.

    python -m benchmarks.detection_parts [ROUNDS]

All columns are measured in turns, so that other work on the machine lengthens all alike; the best of the rounds counts.
Gradients and votes are timed over a level's pixels by themselves, reducing cells over its cells, and what is left of
the features is the collecting and normalising of cells.
"""

import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np

from fastck.dataset.sample import sample
from fastck.faces.detector import Detector
from fastck.faces.search import FrameSearch
from fastck.faces.weights import frontal_bank
from fastck.images import read_gray
from fastck.kernels import hog, kernel

SIZES = [(320, 240), (640, 480), (1280, 720), (1920, 1080)]
ROUNDS = 5


@kernel
def gradients_only(image: Any, height: int, pitch: int, index: Any, length: Any) -> None:
    """The gradients of all pixels, a chunk of 128 columns at a time."""
    for y in range(4, height - 8, 8):
        for x in range(4, pitch - 8 * hog.CHUNK - 40, 8 * hog.CHUNK):
            for p in range(8):
                hog._gradients(image, (y + p) * pitch + x, pitch, 8 * hog.CHUNK, index, length, p * hog.GRADIENTS)


@kernel
def gradients_and_votes(
    image: Any, height: int, pitch: int, index: Any, length: Any, orientations: Any, weights: Any, blocks: Any
) -> None:
    """The same, and their votes."""
    for y in range(4, height - 8, 8):
        for x in range(4, pitch - 8 * hog.CHUNK - 40, 8 * hog.CHUNK):
            for p in range(8):
                hog._gradients(image, (y + p) * pitch + x, pitch, 8 * hog.CHUNK, index, length, p * hog.GRADIENTS)
            hog._vote(index, length, orientations, weights, blocks, 0, hog.CHUNK)


def parts(search: FrameSearch, gray: np.ndarray) -> dict[str, Callable[[], object]]:
    """Return what is timed, by name."""
    index, length, blocks, *_ = search._work
    orientations, weights, basis = search._tables
    levels = [
        row for row, windows in zip(search.pyramid.layout.tolist(), search.pyramid.windows, strict=True) if windows[0]
    ]
    windows = [pair for pair in search.pyramid.windows if pair[0]]

    def over_levels(action: Callable[..., object], *arguments: object) -> None:
        for offset, height, _, pitch in levels:
            action(search.pyramid.pixels[offset : offset + height * pitch], height, pitch, *arguments)

    def features() -> None:
        for (offset, height, width, pitch), (rows, columns) in zip(levels, windows, strict=True):
            image = search.pyramid.pixels[offset : offset + height * pitch]
            stride = -(-columns // hog.VALID) * hog.VALID + hog.WINDOW - 1
            area = 0, 0, rows + hog.WINDOW - 1, columns + hog.WINDOW - 1, stride
            hog.extract(image, height, width, *area, search._tables, search._work, search._cells, search._planes)

    def reduced() -> None:
        for rows, columns in windows:
            hog._reduce(search._cells, 0, (rows + 1) * (columns + 1), basis, search._planes)

    return {
        "pyramid": partial(search.load, gray),
        "gradients": partial(over_levels, gradients_only, index, length),
        "votes": partial(over_levels, gradients_and_votes, index, length, orientations, weights, blocks[0]),
        "features": features,
        "reduced": reduced,
        "windows": lambda: search.search({level: search.whole(level) for level in range(search.levels)}),
        "whole": partial(search.everything, gray),
        "dlib": partial(Detector(search.upsample), gray),
    }


def measure(search: FrameSearch, gray: np.ndarray, rounds: int) -> dict[str, float]:
    """Return the milliseconds of each part and of the whole."""
    actions = parts(search, gray)
    for action in actions.values():
        action()
    best: dict[str, float] = {}
    for _ in range(rounds):
        for name, action in actions.items():
            start = time.process_time()
            action()
            spent = 1e3 * (time.process_time() - start)
            best[name] = min(spent, best.get(name, spent))
    votes = best["votes"] - best["gradients"]
    return {
        "pyramid": best["pyramid"],
        "gradients": best["gradients"],
        "votes": votes,
        "collecting and normalising cells": best["features"] - best["votes"] - best["reduced"],
        "reducing cells": best["reduced"],
        "filters, and windows scored plainly": best["windows"] - best["features"],
        "whole search": best["whole"],
        "dlib": best["dlib"],
        "times as fast as dlib": best["dlib"] / best["whole"],
    }


def main(arguments: list[str]) -> None:
    """Print the table."""
    rounds = int(arguments[0]) if arguments else ROUNDS
    frame = read_gray(min((sample() / "cohn-kanade-images").glob("*/*/*.png")))
    table: dict[str, list[str]] = {}
    heads = []
    for upsample in (0, 1):
        for width, height in SIZES:
            gray = cv2.resize(frame, (width, height), interpolation=cv2.INTER_CUBIC)
            search = FrameSearch(gray.shape, upsample, frontal_bank())
            heads.append(f"{width}x{height}, {upsample}")
            for name, value in measure(search, gray, rounds).items():
                table.setdefault(name, []).append(f"{value:.2g}" if value < 10 else f"{value:.0f}")
    print("| | " + " | ".join(heads) + " |\n|---|" + "---:|" * len(heads))
    for name, cells in table.items():
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main(sys.argv[1:])
