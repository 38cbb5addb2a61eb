"""Print what aligned crops do for projections, for flow and for the bundled recogniser: docs/explanation/landmarks.md.

python -m tools.docs.alignment FOLDER

FOLDER keeps the rendered people and their stores. Each person's sequences are answered by linear models that were
fitted to others, and by the bundled recogniser, which was fitted to none of them.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from sklearn.model_selection import GroupKFold

import fastck
from fastck.config import PRESETS, MotionConfig, PreprocessConfig, Preset
from fastck.images import read_gray
from fastck.recogniser import Recogniser
from fastck.render.dataset import render_dataset
from fastck.render.variation import EASY, HARD
from fastck.store.reader import Store
from fastck.training.models.linear import sequence_vectors
from fastck.training.models.linear_fitting import fit_linear_model
from fastck.training.settings.config import TrainConfig

WORLDS = {"easy": EASY, "hard": HARD}
SUBJECTS, SEED, FOLDS = 40, 33, 10
NOISE, STILL_FRAMES, STILL_FACES = 3.0, 12, 40  # gray levels of a camera's noise
LEVEL = 8  # gray levels that motion is, for still faces


def linear_share(store: Store, phase: int) -> float:
    """Return the share of sequences that linear models of other people get right."""
    config = TrainConfig.from_dict({"phase": phase, "model": "linear", "timesteps": 80, "per_emotion": 0})
    table = store.table[store.table["label"] != ""]
    people, labels = (table[name].to_numpy(dtype=str) for name in ("subject", "label"))
    vectors = sequence_vectors(store, table["sequence"].tolist(), config)
    right = []
    for learnt, asked in GroupKFold(FOLDS).split(vectors, groups=people):
        model, _ = fit_linear_model(store, vectors[learnt], labels[learnt], people[learnt], config)
        said = np.array(config.class_names)[model.probabilities(vectors[asked]).argmax(axis=1)]
        right += (said == labels[asked]).tolist()
    return float(np.mean(right))


def bundled_share(store: Store) -> float:
    """Return the share of sequences whose apex the bundled recogniser names rightly."""
    recogniser = Recogniser()
    table = store.table[store.table["label"] != ""]
    apex = np.stack([store.sequence(name, feature="flow")[-1] for name in table["sequence"]])
    said = np.array(recogniser.classes)[recogniser.probabilities(apex).argmax(axis=1)]
    return float((said == table["label"].to_numpy(dtype=str)).mean())


def false_motion(root: Path, preset: Preset) -> float:
    """Return the share of the masks' pixels that a camera's noise sets in pictures of faces that do not move."""
    config = PreprocessConfig(faces=PRESETS[preset], motion=MotionConfig(mode="absolute", level=LEVEL))
    rng, found = np.random.default_rng(SEED), []
    for record in fastck.scan(root).records[:STILL_FACES]:
        picture = read_gray(record.frames[0])
        noise = rng.normal(0, NOISE, (STILL_FRAMES, *picture.shape))
        still = np.clip(np.rint(picture + noise), 0, 255).astype(np.uint8)
        found.append(fastck.process_frames(still, config).motion)
    return float(np.mean(found))


def main(arguments: list[str]) -> int:
    """Print the table."""
    if len(arguments) != 1:
        print("usage: python -m tools.docs.alignment FOLDER", file=sys.stderr)
        return 2
    folder = Path(arguments[0])
    print("| people | crops | projections | flow | bundled recogniser | false motion |\n|---|---|---:|---:|---:|---:|")
    for world, variation in WORLDS.items():
        root = folder / world
        if not root.exists():
            render_dataset(root, subjects=SUBJECTS, seed=SEED, variation=variation)
        for preset in PRESETS:
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                store = fastck.preprocess(root, f"{scratch}/store", preset=preset, features=("projection", "flow"))
                shares = [linear_share(store, phase) for phase in (3, 5)] + [bundled_share(store)]
            right = " | ".join(f"{100 * share:.1f} %" for share in shares)
            print(f"| {world} | `{preset}` | {right} | {100 * false_motion(root, preset):.3f} % |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
