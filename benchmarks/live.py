"""Measure what a live frame of 640x480 pixels takes on one core, stage by stage, in processor time.

``taskset -c 0 python -m benchmarks.live``: the smile of the repository's sample, to and fro, with camera noise, and the
same without a face. Processor time, so that other programs on the machine change it little.
"""

import time
from collections.abc import Iterator
from itertools import pairwise
from statistics import median

import cv2
import numpy as np
from numpy.typing import NDArray

import fastck
from fastck.faces.finder import searching
from fastck.recognition.follow import Follower
from fastck.recognition.live.judging import LiveJudge
from fastck.recognition.live.picture import jpeg
from fastck.recognition.live.sources import HEIGHT, WIDTH
from fastck.recognition.live.stages import FACES, Extras, LiveResult, warm_up

FRAMES = 100
NOISE = 2.0  # gray levels


def frames(*, face: bool) -> Iterator[NDArray[np.uint8]]:
    """Yield FRAMES frames of 640x480 pixels, with a face or with what is left of it after blurring."""
    folder = sorted((fastck.sample() / "cohn-kanade-images").glob("*/*"))[0]
    smile = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in sorted(folder.glob("*.png"))]
    shown = [cv2.resize(gray, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) for gray in smile]
    if not face:
        shown = [cv2.GaussianBlur(gray, (0, 0), 25) for gray in shown]
    rng = np.random.default_rng(0)
    there_and_back = [*shown, *shown[-2:0:-1]]
    for number in range(FRAMES):
        gray = there_and_back[number % len(there_and_back)]
        yield np.clip(gray + rng.normal(0, NOISE, gray.shape), 0, 255).astype(np.uint8)


def measure(*, face: bool) -> dict[str, list[float]]:
    """Return milliseconds of processor time for each frame, by stage; with landmarks drawn."""
    stages = ("face search", "crop, flow, landmarks, units", "judge", "picture")
    taken: dict[str, list[float]] = {stage: [] for stage in stages}
    judge = LiveJudge()
    follower = Follower(look=judge.look, keep_marks=True)
    with searching(FACES) as search:
        for number, gray in enumerate(frames(face=face)):
            begin = time.process_time()
            found = search(gray)
            searched = time.process_time()
            reading = follower.push(gray, found)
            read = time.process_time()
            reading = None if reading is None else judge.judge(reading)
            judged = time.process_time()
            jpeg(
                LiveResult(
                    number=number, gray=gray, reading=reading, milliseconds={}, delay=0.0, dropped=0, rate=0.0,
                    marks=None if reading is None else reading.marks,
                )
            )  # fmt: skip
            drawn = time.process_time()
            if (found is not None) != face:
                raise ValueError(f"frame {number}: a face was {'not ' if face else ''}found")
            for stage, (before, after) in zip(stages, pairwise((begin, searched, read, judged, drawn)), strict=True):
                taken[stage].append(1000 * (after - before))
    return taken


def main() -> None:
    """Print a table."""
    cv2.setNumThreads(1)
    warm_up(extras=Extras(landmarks=True, units=True))
    for face in (True, False):
        taken = measure(face=face)
        print(f"{WIDTH}x{HEIGHT} pixels, {FRAMES} frames {'with' if face else 'without'} a face, one thread")
        for stage, times in [*taken.items(), ("all", [sum(each) for each in zip(*taken.values(), strict=True)])]:
            print(f"  {stage:<28} median {median(times):5.1f} ms   19 of 20 below {np.quantile(times, 0.95):5.1f} ms")


if __name__ == "__main__":
    main()
