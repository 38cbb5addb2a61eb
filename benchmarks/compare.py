"""Compare this checkout's speed with another commit's, in turns on one machine: what changed by more than noise.

    python -m benchmarks.compare [COMMIT]

COMMIT is the last tag, else main, else the commit before this one. Both run the same probes, in processes of their own
that take turns, and processor time counts: other work on the machine disturbs both alike. A change is told where every
turn of one is faster than every turn of the other and the medians differ by more than LEAST.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median

TURNS = 5
LEAST = 0.03
REPEATS = 3  # of a probe in one process; the best counts
SUBJECTS = 2  # of the rendered set
TINY_SEQUENCES, TINY_SIDE = 300, 48  # pixels

Times = dict[str, list[float]]


# -- Probes: run with either commit's package, so they keep to what is public in both ---------------------------------
def probes(root: Path, scratch: Path) -> dict[str, Callable[[], object]]:
    """Return what is measured, by name; each is called several times."""
    import cv2
    import numpy as np

    import fastck

    paths = sorted((root / "set").rglob("*.png"))[:20]
    frames = np.random.default_rng(0).integers(0, 256, (40, 267, 267), np.uint8)
    gray = np.asarray(cv2.imread(str(paths[0]), cv2.IMREAD_GRAYSCALE))
    numbers = iter(range(1_000_000))

    def run(folder: str, **options: object) -> object:
        store = scratch / f"store{next(numbers)}"
        return fastck.preprocess(root / folder, store, n_jobs=2, box_cache=False, **options)  # type: ignore[arg-type]

    def decode() -> object:
        from fastck.images import read_gray

        return [read_gray(path) for path in paths]

    crops = frames[:20]
    face = fastck.detect_faces(gray, 1)[:1]

    def flow() -> object:
        from fastck import optical_flow

        return optical_flow(crops)

    def landmarks() -> object:
        from fastck import detect_landmarks

        return detect_landmarks(gray, face)

    return {
        "preprocess, stable": lambda: run("set", preset="stable"),
        "preprocess, stable, with flow": lambda: run("set", preset="stable", features=("projection", "flow")),
        "preprocess, paper": lambda: run("set", preset="paper"),
        f"preprocess, {TINY_SEQUENCES} tiny sequences": lambda: run("tiny", layout="folders"),
        "decode 20 PNG files": decode,
        "all faces of a frame": lambda: fastck.detect_faces(gray, 1),
        "motion features of 40 frames": lambda: fastck.motion_features(frames, features=("mask", "projection")),
        "flow of 19 pairs": flow,
        "landmarks of a face": landmarks,
    }


def process_probes(root: Path, scratch: Path) -> dict[str, float]:
    """Return the processor seconds of processes of their own: what people wait for before the first frame."""
    clip = one_clip(root)
    commands = {
        "start: preprocess of one clip": ["preprocess", str(clip), "--layout", "folders", "--no-box-cache"],
        "start: predict of one clip": ["predict", str(clip)],
    }
    found = {}
    for name, command in commands.items():
        seconds = []
        for number in range(REPEATS):
            store = [str(scratch / f"start{number}")] if command[0] == "preprocess" else []
            seconds.append(children_seconds([*command, *store], {}))
        found[name] = min(seconds)
    return found


def first_call(root: Path, scratch: Path) -> dict[str, float]:
    """Return the processor seconds of a call that finds no kernel on disk."""
    empty = {"NUMBA_CACHE_DIR": str(scratch / "kernels"), "FASTCK_CACHE_DIR": str(scratch / "cache")}
    command = ["preprocess", str(one_clip(root)), str(scratch / "first"), "--layout", "folders"]
    return {"first call: preprocess, compiles": children_seconds(command, empty)}


def one_clip(root: Path) -> Path:
    """Return the folder of the first rendered sequence."""
    return min(path.parent for path in (root / "set").rglob("*.png"))


def children_seconds(arguments: Sequence[str], environment: dict[str, str]) -> float:
    """Return the processor seconds of `fastck` with some arguments; raise ValueError with its own words on failure."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "fastck.cli", *arguments]
    # Python looks for a module in the working folder before all others: that must not be a checkout.
    with tempfile.TemporaryDirectory() as elsewhere:
        done = subprocess.run(
            command, env=os.environ | environment, cwd=elsewhere, capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise ValueError(f"fastck {' '.join(arguments)}: {done.stderr.strip()[-300:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def probe(root: Path) -> dict[str, float]:
    """Return the processor seconds of each probe, of those that the package on the path has."""
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, action in probes(root, Path(scratch)).items():
            try:
                action()  # compiles and fills buffers
            except (AttributeError, ImportError, TypeError):
                continue
            seconds = []
            for _ in range(REPEATS):
                start = time.process_time()
                action()
                seconds.append(time.process_time() - start)
            found[name] = min(seconds)
        for more in (process_probes, first_call):
            with suppress(ValueError):  # another version's command line may differ
                found |= more(root, Path(scratch))
    return found


def make_input(root: Path) -> None:
    """Render a few subjects, and write many sequences of three tiny frames."""
    import cv2
    import numpy as np

    from fastck.render import render_dataset

    render_dataset(root / "set", subjects=SUBJECTS, sequences=2)
    noise = np.random.default_rng(0).integers(0, 256, (3, TINY_SIDE, TINY_SIDE), np.uint8)
    for number in range(TINY_SEQUENCES):
        folder = root / "tiny" / f"S{number:03d}"
        folder.mkdir(parents=True)
        for place, gray in enumerate(noise, start=1):
            cv2.imwrite(str(folder / f"{place}.png"), gray)


# -- Turns -----------------------------------------------------------------------------------------------------------
def git(repository: Path, *arguments: str) -> str:
    """Return what a git command prints; raise ValueError with its own words where it fails."""
    done = subprocess.run(["git", *arguments], cwd=repository, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()


def default_commit(repository: Path) -> str:
    """Return the last tag, else main where it is another commit, else the commit before this one."""
    tags = git(repository, "tag", "--sort=-creatordate").splitlines()
    main = git(repository, "branch", "--list", "main")
    if tags:
        return tags[0]
    if main and git(repository, "rev-parse", "main") != git(repository, "rev-parse", "HEAD"):
        return "main"
    return "HEAD~1"


@contextmanager
def checkout(repository: Path, commit: str) -> Iterator[Path]:
    """Lend a folder with the files of another commit."""
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch) / "tree"
        git(repository, "worktree", "add", "--detach", str(tree), commit)
        try:
            yield tree
        finally:
            git(repository, "worktree", "remove", "--force", str(tree))


def in_turns(trees: Sequence[Path], command: Sequence[str], turns: int) -> list[Times]:
    """Run a command that prints {name: seconds} with each tree's package, one after the other, several times."""
    times: list[Times] = [{} for _ in trees]
    with tempfile.TemporaryDirectory() as cache:
        for turn in range(turns):
            # Who comes first changes from turn to turn.
            for place in sorted(range(len(trees)), reverse=bool(turn % 2)):
                own = {"PYTHONPATH": str(trees[place]), "NUMBA_CACHE_DIR": f"{cache}/{place}"}
                done = subprocess.run(command, env=os.environ | own, capture_output=True, text=True)
                if done.returncode:
                    raise ValueError(f"{trees[place]}: the probes failed: {done.stderr.strip()[-500:]}")
                for name, seconds in json.loads(done.stdout.splitlines()[-1]).items():
                    times[place].setdefault(name, []).append(seconds)
    return times


def verdict(now: Sequence[float], before: Sequence[float]) -> str:
    """Return "faster", "slower" or "" for no more than noise."""
    apart = max(now) < min(before) or max(before) < min(now)
    ratio = median(now) / median(before)
    if not apart or abs(ratio - 1) <= LEAST:
        return ""
    return "faster" if ratio < 1 else "slower"


def comparison(now: Times, before: Times) -> list[str]:
    """Return the lines that are printed."""
    width = max(map(len, {**now, **before}), default=0)
    lines = [f"{'':{width}}   before      now   now/before"]
    for name in {**now, **before}:
        if name not in now or name not in before:
            lines.append(f"{name:{width}}   {'only before' if name in before else 'only now'}")
            continue
        new, old = median(now[name]), median(before[name])
        said = verdict(now[name], before[name])
        lines.append(f"{name:{width}} {old * 1e3:6.1f} ms {new * 1e3:6.1f} ms   {new / old:6.2f}  {said}".rstrip())
    return lines


def main(arguments: Sequence[str]) -> int:
    """Compare, or with --probe measure the package on the path."""
    if arguments[:1] == ["--probe"]:
        print(json.dumps(probe(Path(arguments[1]))))
        return 0
    repository = Path(__file__).resolve().parents[1]
    try:
        commit = arguments[0] if arguments else default_commit(repository)
        with tempfile.TemporaryDirectory() as scratch, checkout(repository, commit) as other:
            make_input(Path(scratch))
            command = [sys.executable, str(Path(__file__).resolve()), "--probe", scratch]
            before, now = in_turns((other, repository), command, TURNS)
    except ValueError as error:
        print(f"benchmarks.compare: {error}", file=sys.stderr)
        return 2
    print(f"before: {commit}; now: this checkout; processor time, medians of {TURNS} turns")
    print("\n".join(comparison(now, before)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
