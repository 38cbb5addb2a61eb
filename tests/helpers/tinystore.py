"""Small stores whose motion depends on the emotion, for the tests of training."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from fastck import __version__
from fastck.config import FaceConfig, PreprocessConfig
from fastck.ops.motion import feature_dtype, feature_shape, mean_pool_2x2, project
from fastck.store.reader import FORMAT, TABLE_DTYPES, Store, open_store


def make_table(
    *, subjects: int = 12, emotions: tuple[int, ...] = (1, 3, 5, 7), frames: tuple[int, int] = (4, 9), seed: int = 0
) -> pd.DataFrame:
    """One sequence per subject and emotion, of random length, as a store's table."""
    rng = np.random.default_rng(seed)
    rows = []
    start = frame_start = 0
    for subject in range(subjects):
        for emotion in emotions:
            n_frames = int(rng.integers(*frames, endpoint=True))
            rows.append(
                {
                    "sequence": f"S{subject:03d}_{emotion:03d}",
                    "subject": f"S{subject:03d}",
                    "emotion": emotion,
                    "n_frames": n_frames,
                    "start": start,
                    "length": n_frames - 1,
                    "frame_start": frame_start,
                    "height": 48,
                    "width": 64,
                    "n_missed": 0,
                    "n_box_changes": 0,
                    "motion": 0.1,
                    "motion_at_box_changes": float("nan"),
                    "folder": f"S{subject:03d}/{emotion:03d}",
                }
            )
            start += n_frames - 1
            frame_start += n_frames
    return pd.DataFrame(rows).astype(TABLE_DTYPES)


def make_store(
    path: Path, table: pd.DataFrame, *, side: int = 16, seed: int = 0, noise: float = 0.15, flow: bool = False
) -> Store:
    """Write a store of all mask features: each emotion moves another band of rows, with noise over everything.

    With `flow` the features of optical flow too: each emotion moves another band, further with every step.
    """
    rng = np.random.default_rng(seed)
    total = int(table["length"].sum())
    masks = rng.random((total, side, side)) < noise
    for row in table.itertuples():
        band = (int(row.emotion) if pd.notna(row.emotion) else 0) * side // 8
        masks[row.start : row.start + row.length, band : band + 2, side // 4 :] = 1
    masks = np.ascontiguousarray(masks, dtype=np.uint8)
    pooled = masks.astype(np.float32)
    arrays = {"mask": np.packbits(masks, axis=-1), "projection": project(masks)}
    for name in ("pool134", "pool67", "pool34"):
        pooled = mean_pool_2x2(pooled)
        arrays[name] = pooled
    if flow:
        cells = rng.normal(0, 0.05 * noise, (total, 3, 28, 28)).astype(np.float32)
        for row in table.itertuples():
            band = 3 * (int(row.emotion) if pd.notna(row.emotion) else 0)
            steps = np.linspace(1 / row.length, 1, row.length, dtype=np.float32)
            cells[row.start : row.start + row.length, :, band : band + 4] += 0.05 * steps[:, None, None, None]
        means = [np.repeat(cells[:, plane].mean(axis=axis), 3, axis=1)[:, :64] for plane in (0, 1) for axis in (1, 2)]
        arrays |= {"flow": cells, "flow_projection": np.stack(means, axis=1)}
    path.mkdir(parents=True)
    config = PreprocessConfig(faces=FaceConfig(side=side), features=tuple(arrays))
    for name, array in arrays.items():
        assert array.shape[1:] == feature_shape(name, side)
        assert array.dtype == feature_dtype(name)
        np.save(path / f"{name}.npy", array)
    table.to_csv(path / "sequences.csv", index=False)
    (path / "quarantine.csv").write_text("sequence,reason,folder\n")
    manifest = {
        "format": FORMAT,
        "fastck": __version__,
        "config": config.as_dict(),
        "config_hash": config.hash(),
        "input_hash": f"{seed:016x}",
        "versions": {},
        "counts": {"sequences": len(table), "quarantined": 0},
        "arrays": {name: {"shape": array.shape, "dtype": str(array.dtype)} for name, array in arrays.items()},
    }
    (path / "manifest.json").write_text(json.dumps(manifest))
    return open_store(path)
