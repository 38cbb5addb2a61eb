"""What importing costs, and what it does not load."""

import subprocess
import sys

import pytest

import fastck

# What Numba loads before it compiles, or would load before it reads what it compiled.
COMPILING = ("numba.np.linalg", "scipy.linalg")
HEAVY = ("tensorflow", "keras", "torch", "dlib", "matplotlib")


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


def test_help_loads_none_of_the_libraries_that_only_the_work_needs():
    shown = "import sys; sys.argv = ['fastck', '--help']\nfrom fastck.cli import app\napp(standalone_mode=False)"
    quiet = "import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()):\n    exec({code!r})"
    assert loaded_after(quiet.format(code=shown), (*HEAVY, "numba", "pandas", "cv2", "joblib", "sklearn")) == []


def test_preprocessing_loads_neither_pandas_nor_dlibs_detector(rendered, tmp_path):
    """Half a second of each start; dlib's filters are in the cache folder after the first run."""
    code = f"""
import dlib, fastck.cli
def constructed():
    raise AssertionError("constructed")
if {{there}}:
    dlib.get_frontal_face_detector = constructed
fastck.cli.app(["preprocess", {str(rendered)!r}, {str(tmp_path)!r} + "/{{there}}", "-j", "1"], standalone_mode=False)
"""
    for there in (0, 1):
        assert "pandas" not in loaded_after(code.format(there=there), ("pandas",))
    # Kernels that are on disk need nothing that compiling needs.
    assert not {*COMPILING} & {*loaded_after(code.format(there=2), COMPILING)}


def test_predicting_loads_neither_tables_nor_workers_nor_what_compiling_needs():
    clip = fastck.sample() / "cohn-kanade-images/L008/001"
    code = f"import fastck.cli; fastck.cli.app(['predict', {str(clip)!r}], standalone_mode=False)"
    loaded_after(code, ())
    unwanted = {"pandas", "pyarrow", "joblib", "PIL", "sklearn", "torch", "tensorflow", "keras", *COMPILING}
    assert not unwanted & {*loaded_after(code, tuple(unwanted))}


def test_importing_every_name_costs_little_more_than_the_libraries_it_needs():
    own = "import fastck; [getattr(fastck, n) for n in fastck.__all__]"
    libraries = "import numba, pandas, joblib, cv2, sklearn.base, sklearn.utils"
    # Processor time, and both in turns: a busy machine slows both of them down.
    times = {code: [] for code in (own, libraries)}
    for _ in range(2):
        for code, taken in times.items():
            program = f"import time; {code}; print(time.process_time())"
            done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
            taken.append(float(done.stdout))
    assert min(times[own]) < 1.5 * min(times[libraries]), times


def test_every_public_name_is_there_and_documented():
    for name in fastck.__all__:
        assert getattr(fastck, name).__doc__, name
    assert set(fastck.__all__) <= set(dir(fastck))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        fastck.nothing  # noqa: B018
