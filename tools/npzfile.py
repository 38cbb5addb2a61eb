"""NumPy's archives with the same bytes for the same values."""

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the earliest time a ZIP archive can hold: a file must not tell when it was made


def npz_bytes(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return an .npz file of the arrays, by name."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, values in sorted(arrays.items()):
            content = io.BytesIO()
            np.lib.format.write_array(content, values, allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", LONG_AGO)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content.getvalue())
    return buffer.getvalue()
