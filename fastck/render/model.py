"""The face model: mesh, shapes and painting masks, read from the packaged face_model.npz (CC0, see face_model.md).

Lengths are decimetres: x to the subject's left, y up, z out of the face; the origin is the whole body's.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from fastck.kernels.raster import add_shape

MODEL_PATH = Path(__file__).parent / "face_model.npz"
DELTA_UNIT = 0.001  # decimetres; shapes are stored as int16 thousandths

Shape = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class FaceModel:
    """The neutral mesh, its shapes and the painting masks; arrays are shared and read-only.

    Attributes
    ----------
    vertices : ndarray of shape (V, 3), float64
        Neutral head, neck and shoulder top, decimetres.
    triangles, uv_triangles : ndarray of shape (F, 3), int32
        Corners in `vertices` and in `uv`, counter-clockwise from outside.
    material : ndarray of shape (F,), uint8
        0 skin, 1 eye, 2 teeth, 3 tongue.
    uv : ndarray of shape (U, 2), float64
        Texture coordinates in 0..1, v up.
    shapes : dict of str to (index, delta)
        "unit/jawOpen" and the like: vertex indices (k,) and displacements (k, 3) in decimetres at weight 1.
    identity_names : tuple of str
        Names of the local sliders without the leading "identity/".
    masks : dict of str to ndarray of shape (1024, 1024), uint8
        Painting masks in texture space, 255 is full; row = (1 - v) * 1024.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    material: np.ndarray
    uv: np.ndarray
    uv_triangles: np.ndarray
    shapes: dict[str, Shape]
    identity_names: tuple[str, ...]
    masks: dict[str, np.ndarray]


@cache
def load_model() -> FaceModel:
    """Read the packaged model; nothing in it is pickled."""
    with np.load(MODEL_PATH, allow_pickle=False) as archive:
        arrays = {key: archive[key] for key in archive.files}
    shapes = {}
    for key in arrays:
        if key.endswith("/index"):
            name = key.removesuffix("/index")
            shapes[name] = (arrays[key].astype(np.int32), (arrays[f"{name}/delta"] * DELTA_UNIT).astype(np.float32))
    model = FaceModel(
        vertices=arrays["vertices"].astype(np.float64),
        triangles=arrays["triangles"].astype(np.int32),
        material=arrays["material"],
        uv=arrays["uv"].astype(np.float64),
        uv_triangles=arrays["uv_triangles"].astype(np.int32),
        shapes=shapes,
        identity_names=tuple(str(name) for name in arrays["identity_names"]),
        masks={key.removeprefix("mask/"): array for key, array in arrays.items() if key.startswith("mask/")},
    )
    for array in (model.vertices, model.triangles, model.material, model.uv, model.uv_triangles, *model.masks.values()):
        array.flags.writeable = False
    return model


def deform(model: FaceModel, vertices: np.ndarray, weights: dict[str, float]) -> np.ndarray:
    """Return `vertices` (V, 3) plus the weighted sum of the named shapes."""
    result = vertices.copy()
    for name, weight in weights.items():
        add_shape(*model.shapes[name], weight, result)
    return result
