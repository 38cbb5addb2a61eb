"""Bulk preprocessing of a rendered set of CK+'s shape, in a process of its own; prints seconds per frame as JSON.

    python -m benchmarks.bulk ROOT N_JOBS

Everything is measured in one run on the same files: the paper's script on the first frames, both presets on all, a
second run with another level, the same from kept crops, and the bare sum of the parts of `stable`. Some sequences are
written as JPEG files and as videos as well. "processor: ..." is user and system time, which other work on the machine
does not lengthen as it does wall time.
"""

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from benchmarks import naive
from fastck import MotionConfig, SequenceRecord, preprocess, scan
from fastck.config import preset_faces
from fastck.faces.finder import find_faces
from fastck.images.image import read_gray

TURNS = 4  # of everything but the paper's ways; the best counts
SCRIPT_SEQUENCES = 2  # the paper's script is timed per frame: a few dozen frames tell
MEDIA_SEQUENCES = 24  # written as JPEG files and videos
QUALITY = 95  # of JPEG files, as OpenCV writes them
PROCESSOR = "processor: "


def seconds_of(work: Callable[[], object]) -> float:
    """Wall time of a call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def both_seconds_of(name: str, work: Callable[[], object]) -> dict[str, float]:
    """Wall and processor time of a call."""
    start = time.process_time()
    wall = seconds_of(work)
    return {name: wall, PROCESSOR + name: time.process_time() - start}


def write_media(records: Sequence[SequenceRecord], root: Path) -> None:
    """Write sequences again: as folders of JPEG files below "jpeg", as Motion JPEG below "video"."""
    for record in records:
        folder = root / "jpeg" / record.subject / record.sequence
        folder.mkdir(parents=True)
        (root / "video" / record.subject).mkdir(parents=True, exist_ok=True)
        grays = [read_gray(path) for path in record.frames]
        video = cv2.VideoWriter(
            str(root / "video" / record.subject / f"{record.sequence}.avi"),
            cv2.VideoWriter.fourcc(*"MJPG"),
            25,
            grays[0].shape[::-1],
        )
        for number, gray in enumerate(grays, start=1):
            cv2.imwrite(str(folder / f"{number:05d}.jpg"), gray, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
            video.write(cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR))
        video.release()


def media(records: Sequence[SequenceRecord], scratch: Path, n_jobs: int) -> dict[str, float]:
    """Seconds per frame of `stable` from JPEG files and from videos, whose frames are counted by decoding them."""
    write_media(records, scratch)
    n_frames = sum(record.n_frames for record in records)
    seconds = {}
    for folder, name in (("jpeg", "stable preset, JPEG files"), ("video", "stable preset, Motion JPEG videos")):
        run = partial(preprocess, scratch / folder, layout="folders", n_jobs=n_jobs, box_cache=False)
        turns = [seconds_of(partial(run, scratch / f"{folder}-{turn}")) for turn in range(TURNS)]
        seconds[name] = min(turns) / n_frames
    return seconds


WITH_FLOW = "stable preset, projections and flow"
BARE = "bare parts of stable: decode all, one search a sequence"


def parts(record: SequenceRecord) -> None:
    """Decode all frames and find the first one's face: what `stable` cannot do without."""
    grays = [read_gray(path) for path in record.frames]
    find_faces(iter(grays), preset_faces("stable"))


def turn_of(root: Path, stores: Path, records: Sequence[SequenceRecord], n_jobs: int) -> dict[str, float]:
    """Seconds of each way of `stable` over the whole set, with no boxes or crops known beforehand."""
    run, level = partial(preprocess, root, preset="stable", n_jobs=n_jobs), MotionConfig(level=100)
    os.environ["FASTCK_CACHE_DIR"] = str(stores / "boxes")
    seconds = {
        **both_seconds_of("stable preset", lambda: run(store=stores / "s")),
        "stable preset, again with another level": seconds_of(lambda: run(store=stores / "a", motion=level)),
    }
    os.environ["FASTCK_CACHE_DIR"] = str(stores / "flow")
    seconds |= both_seconds_of(WITH_FLOW, lambda: run(store=stores / "f", features=("projection", "flow")))
    os.environ["FASTCK_CACHE_DIR"] = str(stores / "crops")
    run = partial(run, keep_crops=True)
    seconds |= {
        "stable preset, crops kept (--keep-crops)": seconds_of(lambda: run(store=stores / "k")),
        "again with another level, from kept crops": seconds_of(lambda: run(store=stores / "c", motion=level)),
    }
    for name in ("projection.npy", "boxes.npy"):
        np.testing.assert_array_equal(np.load(stores / "c" / name), np.load(stores / "a" / name))
    with ThreadPoolExecutor(n_jobs) as threads:
        bare = both_seconds_of(BARE, lambda: list(threads.map(parts, records)))
    shutil.rmtree(stores)
    return seconds | bare


def measure(root: Path, n_jobs: int) -> dict[str, float]:
    """Seconds per frame of each way."""
    records = scan(root).records
    frames = sum(record.n_frames for record in records)
    few = records[:SCRIPT_SEQUENCES]
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["FASTCK_CACHE_DIR"] = scratch
        stores = Path(scratch)
        small = stores / "small" / "cohn-kanade-images"
        for record in few:
            (small / record.subject).mkdir(parents=True, exist_ok=True)
            (small / record.subject / record.sequence.split("_")[1]).symlink_to(record.frames[0].parent.resolve())
        warm = partial(preprocess, stores / "small", n_jobs=n_jobs, box_cache=False)
        for preset in ("paper", "stable"):  # compiles, fills the page cache with nothing of the set itself
            warm(store=stores / f"warm-{preset}", preset=preset)
        warm(store=stores / "warm-flow", features=("projection", "flow"))
        for record in records:  # every way reads the files from memory
            for path in record.frames:
                path.read_bytes()
        best: dict[str, float] = {}
        for turn in range(TURNS):
            for name, seconds in turn_of(root, stores / str(turn), records, n_jobs).items():
                best[name] = min(seconds, best.get(name, seconds))
        result: dict[str, float] = {"frames": frames, "sequences": len(records)}
        result |= {name: seconds / frames for name, seconds in best.items()}
        script = seconds_of(lambda: [naive.paper_features(list(record.frames)) for record in few])
        result["paper's script"] = script / sum(record.n_frames for record in few)
        result |= media(records[:MEDIA_SEQUENCES], stores / "media", n_jobs)
        paper = partial(preprocess, root, stores / "p", preset="paper", n_jobs=n_jobs)
        result |= {name: seconds / frames for name, seconds in both_seconds_of("paper preset", paper).items()}
        projections, row = np.load(stores / "p" / "projection.npy", mmap_mode="r"), 0
        for record in few:
            expected, _ = naive.paper_features(list(record.frames))
            # 1e-6: float32 means against float64 ones.
            np.testing.assert_allclose(projections[row : row + len(expected)], expected, rtol=0, atol=1e-6)
            row += len(expected)
    return result


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), int(sys.argv[2]))))
