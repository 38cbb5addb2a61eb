"""Print what each kind of variation is worth to the landmark model, for docs/explanation/landmarks.md.

python -m tools.landmarks.ablation FOLDER

FOLDER keeps the rendered pictures of `python -m tools.landmarks`. Each model is fitted to the first people and asked
about the others. What people wear and do is left out with the pictures that show it, and the model beside it is fitted
to as many pictures of all kinds; what cameras and files do is left out of how the same pictures are shown.
"""

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from fastck.faces.landmarks import LandmarkFinder, LandmarkModel
from tools.landmarks.fit import SHARES, FitConfig, errors_of, fit, show
from tools.landmarks.make import PICTURES, SEED
from tools.landmarks.pictures import Pictures, draw_sitter, render_pictures

PEOPLE, LEARNT_FROM = 850, 600  # the others are asked about
CONFIG = FitConfig(versions=1)
BEARD = 0.3  # opacity from which a beard is one
TURNED, NODDED, TILTED = 20.0, 12.0, 15.0  # degrees
GAPE, SHUT = 0.2, 0.1  # lips apart in shares of the eye corners' distance; lids apart in shares of an eye's width


def distance(points: NDArray[np.float32], one: int, other: int) -> NDArray[np.float32]:
    """Return how far two points are apart in each picture."""
    return np.asarray(np.linalg.norm(points[:, one] - points[:, other], axis=1))


def kinds_of(pictures: Pictures, seed: int) -> dict[str, NDArray[np.bool_]]:
    """Return which pictures show each kind of what people wear and do."""
    points, turned = pictures.points, np.abs(pictures.pose)
    numbers, place = np.unique(pictures.person, return_inverse=True)
    sitters = [draw_sitter(seed, int(number))[0] for number in numbers]

    def sat(shown: list[bool]) -> NDArray[np.bool_]:
        return np.array(shown)[place]

    lids = (distance(points, 37, 41) + distance(points, 44, 46)) / (distance(points, 36, 39) + distance(points, 42, 45))
    return {
        "beards": sat([sitter.subject.beard > BEARD for sitter in sitters]),
        "glasses": sat([sitter.worn.glasses is not None for sitter in sitters]),
        "a fringe": sat([sitter.worn.fringe is not None for sitter in sitters]),
        "long hair": sat([sitter.long_haired for sitter in sitters]),
        "mouths wide open": distance(points, 62, 66) > GAPE * distance(points, 36, 45),
        "shut eyes": lids < SHUT,
        f"yaw beyond {TURNED:.0f} degrees": turned[:, 0] > TURNED,
        f"pitch beyond {NODDED:.0f} degrees": turned[:, 1] > NODDED,
        f"roll beyond {TILTED:.0f} degrees": turned[:, 2] > TILTED,
    }


def fitted(pictures: Pictures, shares: Mapping[str, float] = SHARES) -> LandmarkModel:
    """Return a model of pictures that are shown so."""
    return fit(pictures, replace(CONFIG, shares=shares), seed=SEED, say=lambda _: None)


def mean_error(model: LandmarkModel, asked: Pictures, shares: Mapping[str, float] = SHARES) -> float:
    """Return a model's mean error on pictures that are shown so."""
    finder = LandmarkFinder(model)
    shown = show(asked, replace(CONFIG, shares=shares), np.random.default_rng([SEED, 2]))
    found = [finder.in_picture(picture, box)[0] for picture, box in zip(shown.picture, shown.box, strict=True)]
    return float(errors_of(np.stack(found), shown.points).mean())


def print_row(kind: str, count: int, without: float, with_it: float) -> None:
    """Print a row of the table."""
    print(f"| {kind} | {count:,} | {without:.4f} | {with_it:.4f} |", flush=True)


def main(arguments: list[str]) -> int:
    """Print the table."""
    if len(arguments) != 1:
        print("usage: python -m tools.landmarks.ablation FOLDER", file=sys.stderr)
        return 2
    cv2.setNumThreads(1)
    rng = np.random.default_rng(SEED)
    with threadpool_limits(1):
        pictures = render_pictures(Path(arguments[0]), SEED, PEOPLE, PICTURES, n_jobs=-1)
        own = pictures.person <= LEARNT_FROM
        print("| left out | pictures asked about | error without | with |\n|---|---:|---:|---:|")
        for kind, rows in kinds_of(pictures, SEED).items():
            asked = pictures.pick(rows & ~own)
            without = np.flatnonzero(own & ~rows)
            others = np.sort(rng.choice(np.flatnonzero(own), len(without), replace=False))
            errors = [mean_error(fitted(pictures.pick(learnt)), asked) for learnt in (without, others)]
            print_row(kind, len(asked), *errors)
        learnt, asked = pictures.pick(own), pictures.pick(~own)
        whole = fitted(learnt)
        for kind in SHARES:
            alone = {**dict.fromkeys(SHARES, 0.0), kind: 1.0}
            left_out = fitted(learnt, {**SHARES, kind: 0.0})
            print_row(kind, len(asked), mean_error(left_out, asked, alone), mean_error(whole, asked, alone))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
