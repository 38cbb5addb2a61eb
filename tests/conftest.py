import os
import shutil
import signal
from pathlib import Path

import pytest
from filelock import FileLock

SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_configure() -> None:
    """Let Ctrl-C reach what tests start: a shell that puts the tests in the background has it ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with a slow test first, then those that train: at the end no process waits long for another one."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in slow, item.path.parent.name not in ("backends", "training")))


@pytest.fixture(scope="session")
def real_faces() -> Path:
    """Root of the real-face set in CK+'s layout; tests that want it skip where it is not there."""
    root = SHARED / "real-faces"
    if not root.is_dir():
        pytest.skip("real-faces is not beside this checkout")
    return root


@pytest.fixture(scope="session")
def sample() -> Path:
    """Root of the real faces that come with the package: three smiles in CK+'s layout."""
    import fastck

    return fastck.sample()


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Root of a small rendered set: two subjects, three short sequences each. Not to be changed; copy it first."""
    from fastck.render import render_dataset

    # The folder above that of one of pytest-xdist's processes is for all of them.
    own = tmp_path_factory.getbasetemp()
    folder = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    root = folder / "rendered" / "set"
    with FileLock(folder / "rendered.lock"):
        if not root.is_dir():
            made = tmp_path_factory.mktemp("rendered") / "set"
            with pytest.MonkeyPatch.context() as patch:
                # Of CK+'s length, 18 frames on average, everything that reads them would take twice the time.
                patch.setattr("fastck.render.dataset.draw_length", lambda rng: int(rng.integers(10, 13)))
                render_dataset(made, subjects=2, sequences=3, seed=1)
            root.parent.mkdir()
            made.rename(root)
    return root


@pytest.fixture(scope="session")
def small_faces(rendered: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four people with seven emotions each: the last three frames of rendered sequences, taken in turns."""
    from fastck.dataset.labels import EMOTIONS

    root = tmp_path_factory.mktemp("docs") / "small"
    sources = sorted((rendered / "cohn-kanade-images").glob("*/*"))
    codes = [code for code in EMOTIONS if code]
    for number in range(4 * len(codes)):
        subject, sequence = f"S{number // 7 + 1:03d}", f"{number % 7 + 1:03d}"
        frames = root / "cohn-kanade-images" / subject / sequence
        labels = root / "Emotion" / subject / sequence
        frames.mkdir(parents=True)
        labels.mkdir(parents=True)
        for place, path in enumerate(sorted(sources[number % len(sources)].iterdir())[-3:], start=1):
            shutil.copy(path, frames / f"{subject}_{sequence}_{place:08d}.png")
        (labels / f"{subject}_{sequence}_00000003_emotion.txt").write_text(f"   {codes[number % 7]:.7e}\n")
    return root


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep every test's detections out of the user's cache and out of other tests."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("FASTCK_CACHE_DIR", str(folder))
    return folder
