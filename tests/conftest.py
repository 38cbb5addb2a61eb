from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def real_faces() -> Path:
    """Root of the real-face set in CK+'s layout; tests that want it skip where it is not there."""
    root = SHARED / "real-faces"
    if not root.is_dir():
        pytest.skip("real-faces is not beside this checkout")
    return root
