"""Compile the kernels that most tests need: render, preprocess, recognise and look at landmarks, once and small.

python -m tests.helpers.compiling
"""

import tempfile
from pathlib import Path

import fastck
from fastck.images import read_gray
from fastck.ops.motion import STORE_FEATURES
from fastck.render import render_dataset


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "set"
        render_dataset(root, subjects=1, sequences=1, seed=1)
        fastck.preprocess(root, Path(folder) / "store", features=STORE_FEATURES, n_jobs=1, box_cache=False)
        clip = next(root.glob("cohn-kanade-images/*/*"))
        fastck.predict(clip)
        fastck.detect_landmarks(read_gray(min(clip.iterdir())))


if __name__ == "__main__":
    main()
