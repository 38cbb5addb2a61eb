"""Fuzz the video reader with mutated, cut and mixed files.

    python -m tests.campaigns.fuzz_video --executions 5000 --seed 0

Every file must either be refused with `ImageError` in one line, or give frames: as many as were counted. Of a cut-off
file with a length in its header all frames must come, or the file is refused.
Anything else is a finding: it is counted, and the first files are written to --keep.
"""

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from random import Random

import av
import numpy as np

from fastck.images.header import ImageError
from fastck.images.video import count_video_frames, read_video
from tests.campaigns.fuzz_png import mutate_bytes
from tests.campaigns.outcome import Outcome, campaign

# Name, codec, pixels, whether the header says how long it is.
SORTS = (
    ("a.mp4", "mpeg4", "yuv420p", True),
    ("b.avi", "mjpeg", "yuvj420p", True),
    ("c.webm", "vp8", "yuv420p", True),
    ("d.mkv", "ffv1", "yuv420p", True),
    ("e.mov", "h264", "yuv420p", True),
    ("f.mpg", "mpeg2video", "yuv420p", False),
    ("g.gif", "gif", "rgb8", True),
    ("h.ts", "h264", "yuv420p", False),
)
MOST_FRAMES = 200


@dataclass(frozen=True, kw_only=True)
class Seed:
    """A sound video, and what it holds."""

    name: str
    content: bytes
    frames: tuple[bytes, ...]
    timed: bool


def fuzz(executions: int, seed: int) -> Outcome:
    """Run that many mutations, the same ones for the same seed."""
    random = Random(seed)
    outcome = Outcome()
    with tempfile.TemporaryDirectory() as folder:
        seeds = video_seeds(Path(folder))
        for _ in range(executions):
            one, other = random.choice(seeds), random.choice(seeds)
            action = random.choice(("mutated", "cut", "hole", "mixed"))
            path = Path(folder) / one.name
            path.write_bytes(mutate(action, one, other, random))
            outcome.counts[f"{action}: {try_video(path, action, one, outcome)}"] += 1
            outcome.executions += 1
    return outcome


def mutate(action: str, one: Seed, other: Seed, random: Random) -> bytes:
    content = one.content
    at = random.randrange(len(content))
    if action == "cut":
        return content[:at]
    if action == "hole":
        length = random.choice((8, 100, 512, len(content) // 3))
        return content[:at] + bytes(len(content[at : at + length])) + content[at + length :]
    if action == "mixed":
        return content[:at] + other.content[random.randrange(len(other.content)) :]
    return mutate_bytes(content, random)


def try_video(path: Path, action: str, seed: Seed, outcome: Outcome) -> str:
    def found(what: str) -> str:
        outcome.findings.append((f"{seed.name}, {action}: {what}", path.read_bytes()))
        return what.split(":")[0]

    try:
        frames = [gray.tobytes() for gray, _ in zip(read_video(path), range(MOST_FRAMES), strict=False)]
        n_frames = count_video_frames(path)
    except ImageError as error:
        if not str(error).startswith(str(path)) or not str(error).isprintable():
            return found(f"odd message: {error!r}")
        return "refused"
    except Exception as error:
        return found(f"crashed: {type(error).__name__}: {error}")
    if len(frames) != min(n_frames, MOST_FRAMES):
        return found(f"other count: {len(frames)} frames, counted {n_frames}")
    if frames == list(seed.frames):
        return "whole"
    if action == "cut" and seed.timed and n_frames < len(seed.frames):
        return found(f"cut off in silence: {n_frames} of {len(seed.frames)} frames")
    return "other frames"


def video_seeds(folder: Path) -> list[Seed]:
    """Return short clips of all sorts whose encoder is there."""
    noise = np.random.default_rng(0).integers(0, 256, (48, 80), np.uint8)
    frames = [np.roll(noise, 2 * n, axis=1) for n in range(12)]
    seeds = []
    for name, codec, pixels, timed in SORTS:
        path = folder / name
        # A header at the end of the file would be gone in any that is cut off.
        options = {"movflags": "faststart"} if name == "a.mp4" else {}
        with av.open(str(path), "w", options=options) as container:
            stream = container.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
            stream.gop_size = 5
            for gray in frames:
                image = av.VideoFrame.from_ndarray(np.ascontiguousarray(gray[:, :64]), format="gray")
                container.mux(stream.encode(image.reformat(format=pixels)))
            container.mux(stream.encode())
        shown = tuple(gray.tobytes() for gray in read_video(path))
        assert len(shown) == len(frames), name
        seeds.append(Seed(name=name, content=path.read_bytes(), frames=shown, timed=timed))
    return seeds


def main() -> int:
    return campaign(__doc__, 2_000, fuzz, lambda number, what: f"{number}-{what.split(',')[0]}")


if __name__ == "__main__":
    sys.exit(main())
