"""The stages around the kernels: decode, detect, preprocess, feed, train, import, compile, scale."""

import importlib.util
import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks import naive
from benchmarks.feeding import BATCH, CLASSES, LONGEST, PASSES, SEQUENCES, FilledStore, ckplus_steps, padded
from benchmarks.scaling import LENGTH
from fastck import images
from fastck.batches.padding import padding_before
from fastck.bench import FLOOR, METHODS, memory_copy, sample_frames
from fastck.faces.detector import Detector
from fastck.faces.tracking import TrackedDetector
from fastck.ops import motion as ops
from fastck.training.settings.config import TrainConfig
from fastck.training.settings.shape import Model

FEED = f"feed: batches of {BATCH} sequences"


def describe(benchmark: Any, stage: str, method: str, unit: str, units: int, note: str = "") -> None:
    """Note what the report needs."""
    benchmark.group = stage
    benchmark.extra_info.update(kind="stage", operation=stage, method=method, unit=unit, results=units, note=note)


@pytest.fixture(scope="module")
def clip(real_root: Path) -> list[Path]:
    """Frames of one real sequence in which the box jumps."""
    return sorted((real_root / "cohn-kanade-images").glob("P*/*/*.png"))[:LENGTH]


def by_pillow(path: Path) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(path).convert("L"))


DECODERS: dict[str, Callable[[Path], np.ndarray]] = {
    "fastck": images.read_gray,
    "OpenCV": lambda path: np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)),
    "Pillow": by_pillow,
}


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("kind", ["colour", "gray"])
def test_decode(benchmark: Any, real_root: Path, name: str, kind: str) -> None:
    person = "P*" if kind == "colour" else "L*"
    path = min((real_root / "cohn-kanade-images").glob(f"{person}/*/*.png"))
    describe(benchmark, f"decode a {kind} PNG", name, "frame", 1)
    result = benchmark(DECODERS[name], path)
    # Pillow weighs red, green and blue a little differently
    np.testing.assert_allclose(result.astype(int), DECODERS["OpenCV"](path), atol=2 if name == "Pillow" else 0)


def by_new_detectors(grays: list[np.ndarray]) -> object:
    """Do as the paper's script: one detector for each frame."""
    import dlib

    return [dlib.get_frontal_face_detector()(gray, 1) for gray in grays]


SEARCHES: dict[str, Callable[[list[np.ndarray]], object]] = {
    "paper (a new detector for every frame)": by_new_detectors,
    "fastck (one detector)": lambda grays: list(map(Detector(1), grays)),
    "fastck (tracked search)": lambda grays: list(map(TrackedDetector(1), grays)),
}


@pytest.mark.parametrize("name", SEARCHES)
def test_detect(benchmark: Any, clip: list[Path], name: str) -> None:
    grays = [images.read_gray(path) for path in clip[: 2 if benchmark.disabled else 10]]
    describe(benchmark, "detect, upsample 1", name, "frame", len(grays))
    found = benchmark.pedantic(SEARCHES[name], args=(grays,), rounds=1 if benchmark.disabled else 3)
    assert all(found)


@pytest.mark.parametrize("name", ["paper's script", "paper preset", "stable preset"])
def test_preprocess(benchmark: Any, clip: list[Path], name: str) -> None:
    if name == "paper's script":
        few = clip[: 2 if benchmark.disabled else 6]
        describe(benchmark, "preprocess: files to projections", name, "frame", len(few))
        projections, _ = benchmark.pedantic(naive.paper_features, args=(few,), rounds=1)
        assert projections.shape == (len(few) - 1, 2, 267)
        return
    if benchmark.disabled and name == "paper preset":
        pytest.skip("detects twenty frames; the pipeline's own tests do that")
    frames = LENGTH if name == "paper preset" else 10 * LENGTH
    for n_jobs in (1,) if benchmark.disabled else (1, 2):
        measured = scaled(frames if not benchmark.disabled else LENGTH, n_jobs, name.split()[0], clip[0].parent)
        benchmark.extra_info[f"seconds_{n_jobs}_jobs"] = measured["seconds"]
    describe(benchmark, "preprocess: files to projections", name, "frame", frames, "a process of its own, 1 job")
    report_seconds(benchmark, benchmark.extra_info["seconds_1_jobs"])


def scaled(frames: int, n_jobs: int, preset: str, source: Path) -> dict[str, float]:
    """Run `benchmarks.scaling` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.scaling", str(frames), str(n_jobs), preset, str(source)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    measured: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return measured


def report_seconds(benchmark: Any, seconds: float) -> None:
    """Give pytest-benchmark a time that was measured elsewhere: `measured` is what the report reads."""
    benchmark.extra_info["measured"] = seconds
    benchmark.pedantic(lambda: None, rounds=1)


BULK_SUBJECTS = 24  # FASTCK_BENCH_ROOT names a larger set: `fastck render ROOT --subjects 123` has CK+'s size


def test_bulk(benchmark: Any, tmp_path: Path) -> None:
    if benchmark.disabled:
        pytest.skip("minutes; test_preprocess runs the same code")
    from fastck.render import render_dataset

    root = Path(os.environ.get("FASTCK_BENCH_ROOT", tmp_path / "set"))
    if not root.exists():
        render_dataset(root, subjects=BULK_SUBJECTS)
    command = [sys.executable, "-m", "benchmarks.bulk", str(root), "2"]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    benchmark.extra_info["bulk"] = json.loads(result.stdout.splitlines()[-1])
    benchmark.pedantic(lambda: None, rounds=1)


@pytest.mark.parametrize(("frames", "n_jobs"), [(100, 1), (1_000, 1), (1_000, 2), (10_000, 1), (10_000, 2)])
def test_scaling(benchmark: Any, clip: list[Path], frames: int, n_jobs: int) -> None:
    if benchmark.disabled:
        pytest.skip("minutes; test_preprocess runs the same code")
    measured = scaled(frames, n_jobs, "stable", clip[0].parent)
    note = f"{n_jobs} job(s); peak memory {measured['peak_mb']:.0f} MB, {measured['warm_mb']:.0f} MB after warming up"
    describe(benchmark, "scaling: stable preset", f"{frames} frames, {n_jobs} job(s)", "frame", frames, note)
    report_seconds(benchmark, measured["seconds"])
    assert measured["peak_mb"] < measured["warm_mb"] + 300


@pytest.mark.parametrize("name", ["fastck", "OpenCV", FLOOR])
def test_from_memory(benchmark: Any, name: str) -> None:
    frames = np.resize(sample_frames(50), (50 if benchmark.disabled else 1_500, 267, 267))
    run = memory_copy(frames[1:]) if name == FLOOR else METHODS["motion_projections"][name](frames)
    note = "1,500 frames, 107 MB: more than a cache holds"
    describe(benchmark, "motion_projections 267, from memory", name, "frame", len(frames) - 1, note)
    result = benchmark.pedantic(run, rounds=1 if benchmark.disabled else 7)
    expected = frames[1:] if name == FLOOR else ops.motion_projections(frames)
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-6)  # float32 means, in another order


@pytest.mark.parametrize("threads", [1, 2])
def test_threads(benchmark: Any, frames_of: Callable[[int], np.ndarray], threads: int) -> None:
    sequences = [frames_of(267).copy() for _ in range(threads)]
    outs = [ops.motion_projections(frames) for frames in sequences]
    rounds = 1 if benchmark.disabled else 150

    def work(frames: np.ndarray, out: np.ndarray) -> None:
        for _ in range(rounds):
            ops.motion_projections(frames, out=out)

    def run() -> None:
        workers = [threading.Thread(target=work, args=pair) for pair in zip(sequences, outs, strict=True)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    units = rounds * sum(map(len, outs))
    describe(benchmark, "threads: motion_projections 267", f"{threads} thread(s)", "frame", units)
    # Short and many, because two cores are seldom left alone at the same moment.
    benchmark.pedantic(run, rounds=1 if benchmark.disabled else 150)
    for out in outs:
        np.testing.assert_array_equal(out, outs[0])


@pytest.mark.parametrize("name", ["fastck", "from_generator", "from_tensor_slices"])
def test_feed(benchmark: Any, tmp_path: Path, name: str) -> None:
    tf = pytest.importorskip("tensorflow")
    from fastck.tfdata import batches

    store = FilledStore(tmp_path)
    one_hot = np.eye(4, dtype=np.float32)[np.arange(SEQUENCES) % 4]
    if name == "fastck":
        names = list(store.table["sequence"])
        dataset = batches(store, names, feature="projection", classes=CLASSES, batch_size=BATCH, epochs=PASSES)
    elif name == "from_generator":
        kinds = (tf.TensorSpec((39, 2, 267, 1), tf.float32), tf.TensorSpec((4,), tf.float32))
        dataset = tf.data.Dataset.from_generator(
            lambda: ((padded(store, i), one_hot[i]) for i in range(SEQUENCES)), output_signature=kinds
        )
        dataset = dataset.batch(BATCH).repeat(PASSES).prefetch(1)
    else:
        every = np.stack([padded(store, i) for i in range(SEQUENCES)])
        dataset = tf.data.Dataset.from_tensor_slices((every, one_hot)).batch(BATCH).repeat(PASSES).prefetch(1)
    note = "whole set in memory and in the graph; at most 2 GB" if name == "from_tensor_slices" else ""
    describe(benchmark, FEED, f"tf.data: {name}", "batch", PASSES * SEQUENCES // BATCH, note)
    got = benchmark(lambda: [features for features, _ in dataset])
    np.testing.assert_array_equal(got[0][0].numpy(), padded(store, 0))
    assert len(got) == PASSES * SEQUENCES // BATCH


@pytest.fixture(scope="module")
def torch_feed(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> dict[str, Any]:
    """All ways into PyTorch, measured in one process: in the environment of `make test-torch`, or in this one."""
    project = Path(__file__).parents[1]
    own = project / ".venv-torch" / "bin" / "python"
    if not own.exists() and importlib.util.find_spec("torch") is None:
        pytest.skip("PyTorch is not installed (make test-torch)")
    passes = "1" if request.config.getoption("benchmark_disable") else "12"
    command = [str(own) if own.exists() else sys.executable, "-m", "benchmarks.torchfeed"]
    command += [str(tmp_path_factory.mktemp("torchfeed")), passes]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=project)
    measured: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return measured


@pytest.mark.parametrize(
    ("name", "workers"),
    [("fastck", 0), ("np.load per item", 0), ("fastck", 4), ("np.load per item", 4), ("ready tensors", 4)],
)
def test_feed_torch(benchmark: Any, torch_feed: dict[str, Any], name: str, workers: int) -> None:
    method = f"PyTorch: {name}" + (f", {workers} workers" if workers else "")
    describe(benchmark, FEED, method, "batch", 1, f"torch {torch_feed['torch']}")
    report_seconds(benchmark, torch_feed["ways"][method])


@pytest.mark.parametrize(("phase", "model", "size"), [(4, "convlstm", 8), (5, "temporal", 32)])
@pytest.mark.parametrize("name", ["Keras' own layer", "fastck (fused)"])
def test_training_step(benchmark: Any, name: str, phase: int, model: Model, size: int) -> None:
    pytest.importorskip("tensorflow")
    from fastck.training.models.network import build_network, compile_network

    stage = f"train: one step of {size} sequences of CK+'s lengths, phase {phase}, {model}"
    size, timesteps = (2, 4) if benchmark.disabled else (size, LONGEST - 1)
    filters = 4 if benchmark.disabled else 64
    config = TrainConfig(phase=phase, model=model, timesteps=timesteps, filters=filters)
    shape = config.network_shape(ops.feature_shape(config.feature, 267))
    features, rng = np.zeros((size, *shape.input_shape), np.float32), np.random.default_rng(0)
    for sequence, length in zip(features, ckplus_steps(size, timesteps=timesteps), strict=True):
        begin = int(padding_before(np.array([length]), shape.timesteps, config.padding)[0])
        sequence[begin : begin + length] = rng.random((length, *shape.input_shape[1:]))
    labels = np.eye(shape.n_classes, dtype=np.float32)[np.arange(size) % shape.n_classes]
    network = compile_network(build_network(shape, fused=name.startswith("fastck")))
    network.train_on_batch(features, labels)
    describe(benchmark, stage, name, "step", 1)
    loss = benchmark.pedantic(network.train_on_batch, args=(features, labels), rounds=1 if benchmark.disabled else 3)
    assert np.isfinite(np.asarray(loss)).all()


STARTS = {
    "import fastck": "import fastck",
    "import fastck.ops.motion": "import fastck.ops.motion",
    "fastck preprocess of one clip": "import tempfile, fastck, fastck.cli as cli;"
    "clip = sorted(fastck.sample().glob('cohn-kanade-images/*/*'))[0];"
    "cli.app(['preprocess', str(clip), tempfile.mkdtemp() + '/store', '--layout', 'folders', '--no-box-cache'])",
    "fastck predict of one clip": "import fastck, fastck.cli as cli;"
    "cli.app(['predict', str(sorted(fastck.sample().glob('cohn-kanade-images/*/*'))[0])])",
    "first result, kernels on disk": "import numpy, fastck.ops.motion as ops;"
    "ops.motion_features(numpy.zeros((2, 267, 267), numpy.uint8), features=ops.FEATURES)",
}


@pytest.mark.parametrize("name", [*STARTS, "first result ever (compiles)"])
def test_start(benchmark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    if name not in STARTS:
        if benchmark.disabled:
            pytest.skip("compiles everything anew")
        monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    script = STARTS.get(name, STARTS["first result, kernels on disk"])
    if not benchmark.disabled:
        # Files come into the memory, and kernels onto the disk.
        subprocess.run([sys.executable, "-c", STARTS["import fastck"] if name not in STARTS else script], check=True)
    seconds = []
    used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    for _ in range(1 if benchmark.disabled or name not in STARTS else 5):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", script], check=True)
        seconds.append(time.perf_counter() - start)
    describe(benchmark, "start of a process", name, "start", 1, "with the interpreter's own start")
    report_seconds(benchmark, min(seconds))
    used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - used
    # Processor time: the wall clock depends on who else is working. Twice what a busy machine took.
    assert used / len(seconds) < (8 if name in STARTS else 25)
