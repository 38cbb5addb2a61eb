"""Preprocess a number of linked copies of real frames in a process of its own; print seconds and peak memory as JSON.

    python -m benchmarks.scaling FRAMES N_JOBS PRESET SOURCE

A process of its own because peak memory is a process's, not a call's.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

LENGTH = 20  # frames of a sequence: about CK+'s mean of 18


def link_frames(source: Path, root: Path, frames: int) -> None:
    """Fill `root` with sequences of LENGTH frames, symbolic links to those of the first sequence in `source`."""
    images = sorted(source.glob("*.png"))[:LENGTH]
    for number in range(frames // LENGTH):
        folder = root / f"{number:05d}"
        folder.mkdir(parents=True)
        for image in images:
            (folder / image.name).symlink_to(image)


def peak_mb() -> float:
    """Return this process's peak memory in MB; getrusage would count what its parent held before it began."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def measure(frames: int, n_jobs: int, preset: str, source: Path) -> dict[str, float]:
    """Seconds of a whole `preprocess` after a warm-up, and the process's peak memory in MB before and after."""
    from fastck import preprocess

    with tempfile.TemporaryDirectory() as scratch:
        link_frames(source, Path(scratch) / "one", LENGTH)
        link_frames(source, Path(scratch) / "all", frames)
        options = {"preset": preset, "layout": "folders", "n_jobs": n_jobs, "box_cache": False}
        preprocess(Path(scratch) / "one", Path(scratch) / "warm", **options)  # type: ignore[arg-type]
        before = peak_mb()
        start = time.perf_counter()
        preprocess(Path(scratch) / "all", Path(scratch) / "store", **options)  # type: ignore[arg-type]
        seconds = time.perf_counter() - start
    return {"seconds": seconds, "warm_mb": before, "peak_mb": peak_mb()}


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))))
