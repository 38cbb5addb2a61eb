"""Time training on this machine's GPU beside its CPU, for whichever backend Keras has here.

    KERAS_BACKEND=jax python -m benchmarks.gpu -o gpu.json

Needs TensorFlow, JAX or PyTorch, and nothing else: sequences are random, faces are rendered. Each measurement is a
process of its own. No further one begins after six minutes, and each is ended after one and a half. Without a GPU it
says so and measures small shapes on the CPU. Copied to benchmarks/gpu.json the results are shown in BENCHMARKS.md.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fastck import preprocess
from fastck.batches.gather import Gather
from fastck.config import PreprocessConfig
from fastck.ops.motion import feature_dtype, feature_shape
from fastck.render import render_dataset
from fastck.training.models.startup import chosen_backend, start_keras
from fastck.training.settings.config import TrainConfig

BUDGET, LONGEST = 360, 90  # seconds: until the last measurement begins, and of one measurement
STEPS = 8
PHASES = (1, 2, 3, 4, 5)
SAMPLES = {1: 4, 2: 32}  # sequences of a step; 64 elsewhere
SMALL: dict[str, Any] = {"filters": 2, "dense": 8, "timesteps": 8}


class RandomStore:
    """Sequences of random values in a memory-mapped file, as a store has them."""

    def __init__(self, folder: Path, feature: str, classes: tuple[str, ...], *, sequences: int, steps: int) -> None:
        rng = np.random.default_rng(0)
        lengths = rng.integers(max(steps // 3, 1), steps, size=sequences, endpoint=True)
        self.table = pd.DataFrame(
            {
                "sequence": [f"S{number:03d}" for number in range(sequences)],
                "label": [classes[number % len(classes)] for number in range(sequences)],
                "start": np.cumsum(lengths) - lengths,
                "length": lengths,
            }
        )
        shape, kind = feature_shape(feature, PreprocessConfig().faces.side), feature_dtype(feature)
        values = rng.integers(0, 2, size=(int(lengths.sum()), *shape)).astype(kind)
        np.save(folder / "values.npy", values)
        self._values = np.load(folder / "values.npy", mmap_mode="r")

    def feature(self, name: str) -> np.ndarray:
        """Return the memory-mapped values."""
        return self._values


def measure(
    phase: int, *, small: bool, precision: str, compiled: bool | None, samples: int | None = None
) -> dict[str, Any]:
    """Train some steps in this process; compiled as the backend usually is if that is None."""
    start_keras()
    import keras

    from fastck.training.models.backends import current_backend
    from fastck.training.models.feed import in_order
    from fastck.training.models.memory import Room, plan_memory
    from fastck.training.models.network import build_network, compile_network

    backend = current_backend()
    config = TrainConfig(phase=phase, **(SMALL if small else {}))
    samples = samples or (4 if small else SAMPLES.get(phase, 64))
    compiled = backend.COMPILED if compiled is None else compiled
    keras.mixed_precision.set_global_policy(precision)
    with tempfile.TemporaryDirectory() as folder:
        store = RandomStore(
            Path(folder), config.feature, config.class_names, sequences=STEPS * samples, steps=config.timesteps
        )
        gather = Gather(
            store,
            store.table["sequence"].tolist(),
            feature=config.feature,
            classes=config.class_names,
            timesteps=config.timesteps,
            padding=config.padding,
        )
        shape = config.network_shape(store.feature(config.feature).shape[1:])
        plan = plan_memory(shape, Room(budget=2**62, backend=keras.backend.backend()), batch_size=samples)
        # XLA under TensorFlow cannot compile the fused layer, whose number of samples changes: there it is Keras' own.
        fused = not (compiled and keras.backend.backend() == "tensorflow")
        network = build_network(shape, dropout=0.0, fused=fused)
        rng = np.random.default_rng(1)
        network.set_weights([rng.normal(0, 0.05, entry.shape).astype(np.float32) for entry in network.get_weights()])
        compile_network(network, learning_rate=1e-4)
        network.jit_compile = compiled
        feed = in_order(gather, samples)
        batches = iter(feed) if backend.FEED == "tf.data" else (feed[number] for number in range(len(feed)))
        losses, steps, waits = [], [], []
        for _ in range(STEPS):
            began = time.perf_counter()
            batch = next(batches)
            waits.append(time.perf_counter() - began)
            network.reset_metrics()
            losses.append(float(network.train_on_batch(*batch, return_dict=True)["loss"]))
            steps.append(time.perf_counter() - began)
    peak = backend.peak_bytes() or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "backend": keras.backend.backend(),
        "version": backend.version(),
        "device": backend.device_name() or "CPU",
        "default": backend.COMPILED,
        "samples": samples,
        "first_step": steps[0],
        "step": float(np.median(steps[1:])),
        "waiting": sum(waits[1:]) / sum(steps[1:]),
        "losses": losses,
        "peak": int(peak),
        "plan": plan.total,
    }


def in_process(arguments: list[str], *, device: str) -> dict[str, Any]:
    """Return what a measurement in a process of its own gave, or its last line where it failed."""
    hidden = {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"} if device == "CPU" else {}
    command = [sys.executable, "-m", "benchmarks.gpu", "--measure", *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=LONGEST, env={**os.environ, **hidden}, check=False
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"took more than {LONGEST} s"}
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or ["without a word"])[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def preprocessing(until: float) -> list[dict[str, float]]:
    """Frames a second of the whole preprocessing with 1, 2, 4, ... processes."""
    entries: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FASTCK_CACHE_DIR"] = f"{folder}/cache"
        render_dataset(f"{folder}/faces", subjects=4, sequences=3, seed=0)
        frames = len(list(Path(folder, "faces").rglob("*.png")))
        jobs = 1
        while jobs <= (os.cpu_count() or 1) and time.monotonic() < until:
            began = time.perf_counter()
            preprocess(f"{folder}/faces", f"{folder}/store-{jobs}", n_jobs=jobs, box_cache=False)
            entries.append({"jobs": jobs, "frames_per_second": frames / (time.perf_counter() - began)})
            jobs *= 2
    return entries


def trials(device: str, default: bool) -> list[tuple[int, str, str, bool]]:
    """Phase, device, precision and whether compiled, the most telling first."""
    plain = [
        (phase, where, "float32", default) for where in dict.fromkeys((device, "CPU")) for phase in (3, 5, 4, 2, 1)
    ]
    more = [(phase, device, "mixed_float16", default) for phase in (3, 5, 4, 2, 1)] if device != "CPU" else []
    return [*plain, *more, *((phase, device, "float32", not default) for phase in (3, 5, 4, 2, 1))]


def run(*, budget: float) -> dict[str, Any]:
    """Measure what the budget in seconds allows."""
    until = time.monotonic() + budget
    probe = in_process(["3", "--small"], device="any")
    if "failed" in probe:
        raise SystemExit(f"training does not run here: {probe['failed']}")
    device = probe["device"]
    if device == "CPU":
        print("no GPU is seen: small shapes on the CPU only", flush=True)
    entries: list[dict[str, Any]] = []
    left_out = []
    for phase, where, precision, compiled in trials(device, probe["default"]):
        name = {"phase": phase, "on": where, "precision": precision, "compiled": compiled}
        if time.monotonic() > until:
            left_out.append(name)
            continue
        options = [str(phase), "--precision", precision]
        options += ["--compiled" if compiled else "--no-compiled"] + ["--small"] * (device == "CPU")
        entries.append({**name, **in_process(options, device=where)})
        print(json.dumps({key: entries[-1].get(key) for key in (*name, "step", "failed")}), flush=True)
    return {
        "device": device,
        "backend": probe["backend"],
        "default": probe["default"],
        "version": probe["version"],
        "small": device == "CPU",
        "trials": entries,
        "left_out": left_out,
        "preprocessing": preprocessing(until + LONGEST),
    }


def table(document: dict[str, Any]) -> list[str]:
    """Return the results as a Markdown table's lines."""
    lines = [
        "| Phase | on | precision | compiled | sequences | first step, s | step, s | waiting | peak, GiB | plan, GiB "
        "| losses' distance from the CPU's |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    usual = ("CPU", "float32", document["default"])
    plain = {
        entry["phase"]: entry["losses"]
        for entry in document["trials"]
        if "losses" in entry and (entry["on"], entry["precision"], entry["compiled"]) == usual
    }
    for entry in document["trials"]:
        head = f"| {entry['phase']} | {entry['on']} | {entry['precision']} | {'yes' if entry['compiled'] else 'no'} |"
        if "failed" in entry:
            lines.append(f"{head} failed: {entry['failed'].replace('|', ' ')} | | | | | | |")
            continue
        apart = "not measured"
        if entry["phase"] in plain:
            apart = f"{np.abs(np.subtract(entry['losses'], plain[entry['phase']])).max():.1e}"
        lines.append(
            f"{head} {entry['samples']} | {entry['first_step']:.2f} | {entry['step']:.4f} | {entry['waiting']:.1%} "
            f"| {entry['peak'] / 2**30:.2f} | {entry['plan'] / 2**30:.2f} | {apart} |"
        )
    lines += ["", f"{len(document['left_out'])} trials were left out for want of time.", ""]
    speeds = ", ".join(f"{entry['jobs']}: {entry['frames_per_second']:.0f}" for entry in document["preprocessing"])
    return [*lines, f"Preprocessing, frames a second by processes: {speeds or 'not measured'}."]


def section(path: Path) -> list[str]:
    """Return BENCHMARKS.md's section on GPUs, from a file of results or without one."""
    if not path.exists():
        missing = "Figures are missing: no GPU could be reached. `python -m benchmarks.gpu` measures them."
        return ["## GPU", "", missing, ""]
    document = json.loads(path.read_text())
    small = " No GPU was seen: small shapes on the CPU." if document["small"] else ""
    about = f"Device: {document['device']}; {document['backend']} {document['version']}.{small}"
    return ["## GPU", "", about, "", *table(document), ""]


def main() -> int:
    """Measure, print the table, write the results."""
    parser = argparse.ArgumentParser(description="Time training on a GPU beside the CPU.")
    parser.add_argument("-o", "--out", type=Path, default=Path("gpu.json"), help="file of results")
    parser.add_argument("--budget", type=float, default=BUDGET, help="seconds until the last measurement begins")
    parser.add_argument("--measure", type=int, choices=PHASES, help="measure one phase in this process")
    parser.add_argument("--precision", default="float32")
    parser.add_argument(
        "--compiled", action=argparse.BooleanOptionalAction, help="by default as the backend usually is"
    )
    parser.add_argument("--samples", type=int, help="sequences of a step, with --measure")
    parser.add_argument("--small", action="store_true", help="small shapes, for a CPU")
    options = parser.parse_args()
    if options.measure:
        values = measure(
            options.measure,
            small=options.small,
            precision=options.precision,
            compiled=options.compiled,
            samples=options.samples,
        )
        print(json.dumps(values))
        return 0
    try:
        chosen_backend()
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    document = run(budget=options.budget)
    options.out.write_text(json.dumps(document, indent=1) + "\n")
    print("\n".join(table(document)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
