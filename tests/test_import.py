"""What importing costs, and what it does not load."""

import subprocess
import sys

import pytest

import fastck

HEAVY = ("tensorflow", "keras", "dlib", "matplotlib")


def loaded_after(code: str, names: tuple[str, ...]) -> list[str]:
    program = f"import sys\n{code}\nprint(*[name for name in {names!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_importing_the_package_loads_nothing_heavy():
    assert loaded_after("import fastck", (*HEAVY, "numba", "pandas", "cv2")) == []


@pytest.mark.parametrize(
    "code", ["import fastck; [getattr(fastck, n) for n in fastck.__all__]", "import fastck.cli", "import train"]
)
def test_using_every_name_loads_nothing_heavy(code):
    assert loaded_after(code, HEAVY) == []


def test_importing_every_name_is_quick():
    program = (
        "import time; t = time.perf_counter(); import fastck; "
        "[getattr(fastck, n) for n in fastck.__all__]; print(time.perf_counter() - t)"
    )
    times = []
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        times.append(float(done.stdout))
    # Numba and pandas alone take about 0.6 s; the package itself 0.01 s. A generous bound, for a busy machine.
    assert min(times) < 4


def test_every_public_name_is_there_and_documented():
    for name in fastck.__all__:
        assert getattr(fastck, name).__doc__, name
    assert set(fastck.__all__) <= set(dir(fastck))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        fastck.nothing  # noqa: B018
