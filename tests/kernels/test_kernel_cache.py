"""What kernels need of Numba's cache on disk, and arrays that share memory."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastck
from fastck import kernels

CODE = "import numpy as np, fastck; print(fastck.frame_difference(np.zeros((2, 9, 9), np.uint8)).sum())"


def run(before: str = "", **environment: str) -> str:
    command = f'{before} exec "{sys.executable}" -c "{CODE}"'
    done = subprocess.run(["bash", "-c", command], env={**os.environ, **environment}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_full_disk_under_the_cache_does_not_end_the_work(tmp_path: Path):
    assert run("ulimit -f 4;", NUMBA_CACHE_DIR=str(tmp_path)) == "0"


@pytest.mark.parametrize("pattern", ["*.nbi", "*.nbc"])
def test_damaged_cache_is_made_anew(tmp_path: Path, pattern: str):
    assert run(NUMBA_CACHE_DIR=str(tmp_path)) == "0"
    files = list(tmp_path.rglob(pattern))
    for path in files:
        path.write_bytes(b"")
    assert files
    assert run(NUMBA_CACHE_DIR=str(tmp_path)) == "0"
    assert all(path.stat().st_size for path in files)


def test_compiling_is_told_once_on_a_terminal(tmp_path: Path):
    code = (
        "import cv2, numpy as np; from fastck.cli import console; console.stderr._force_terminal = True\n"
        "from fastck import frame_difference, threshold\n"
        "@console.one_line_errors\n"
        "def work():\n    frames = np.zeros((2, 9, 9), np.uint8)\n    threshold(frame_difference(frames))\n"
        "work(); work()"
    )
    told = []
    for _ in range(2):
        command = [sys.executable, "-c", code]
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        told.append(done.stderr.count("compiling kernels, once on this machine: 10 to 20 s"))
    assert told == [1, 0]


def test_kernels_run_where_numba_is_told_not_to_compile():
    assert run(NUMBA_DISABLE_JIT="1") == "0"


def test_cache_depends_on_every_file_of_kernels(monkeypatch: pytest.MonkeyPatch):
    before = kernels._sources()
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read(path) + b"#" * (path.name == "vectors.py"))
    kernels._sources.cache_clear()
    try:
        assert kernels._sources() != before
    finally:
        kernels._sources.cache_clear()


@pytest.mark.parametrize("values", [[1e8 + 1, -1e8, 0, 0], [3e38] * 4])
def test_doubles_are_averaged_as_doubles(values: list[float]):
    frames = np.array(values).reshape(1, 2, 2)
    assert fastck.mean_pool_2x2(frames)[0, 0, 0] == np.float32(frames.mean())


@pytest.mark.parametrize("name", ["motion_masks", "frame_difference"])
@pytest.mark.parametrize("reference", ["previous", "onset"])
def test_out_that_shares_memory_with_the_frames_is_refused(name: str, reference: str):
    frames = np.zeros((3, 8, 8), np.uint8)
    with pytest.raises(ValueError, match="must not share memory"):
        getattr(fastck, name)(frames, reference=reference, out=frames[1:])


def test_threshold_may_work_in_place():
    frames = np.full((1, 2, 2), 200, np.uint8)
    assert (fastck.threshold(frames, out=frames) == 255).all()


def test_upsample_of_another_type_is_refused_and_keeps_the_detector():
    gray = np.zeros((90, 90), np.uint8)
    with pytest.raises(TypeError, match="upsample must be an integer"):
        fastck.detect_faces(gray, 1.0)  # type: ignore[arg-type]
    assert fastck.detect_faces(gray) == []


def test_a_kernel_imports_no_scipy_and_numbas_linear_algebra_still_works():
    code = (
        "import sys, numba, numpy as np, fastck\n"
        "fastck.threshold(np.zeros((1, 9, 9), np.uint8))\n"
        "print('scipy.linalg' in sys.modules, numba.njit(lambda a: np.dot(a, a))(np.eye(2) * 3)[1, 1])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "9.0"]


def test_compiling_leaves_the_collector_of_garbage_as_it_was():
    code = (
        "import gc, sys, numpy as np, fastck\n"
        "frames = np.zeros((1, 9, 9), np.uint8)\n"
        "fastck.threshold(frames)\n"
        "before = gc.isenabled(); gc.disable(); fastck.erode(frames); print(before, gc.isenabled())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names a processor of another kind")
def test_mask_kernels_are_not_tuned_for_a_processor_with_avx512(tmp_path: Path):
    code = (
        "from numba import types as t; from fastck.kernels import masks\n"
        "masks._extend.compile((t.Array(t.uint64, 2, 'C'), t.intp, t.intp, t.intp))\n"
        "[text] = masks._extend.inspect_llvm().values()\n"
        'print(\'"tune-cpu"="x86-64-v3"\' in text)'
    )
    for name, features, tuned in (("znver4", "+avx512f,+avx512bw,+avx2", "True"), ("haswell", "+avx2", "False")):
        environment = {
            **os.environ,
            "NUMBA_CPU_NAME": name,
            "NUMBA_CPU_FEATURES": features,
            "NUMBA_CACHE_DIR": str(tmp_path),
        }
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == tuned
