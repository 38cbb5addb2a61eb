"""A contact sheet of rendered faces: one row per subject, one column per emotion, at the peak."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from fastck.outputs import write_atomically
from fastck.render.dataset import draw_person, subject_rng
from fastck.render.expression import perform
from fastck.render.model import load_model
from fastck.render.recipes import EMOTION_CODES
from fastck.render.scene import CENTRE_ROW, Scene
from fastck.render.subject import WIDTH
from fastck.render.variation import EASY, Variation

TILE = 150  # pixels per side
CAPTION = 18  # pixels above a column
REACH = 1.3  # decimetres that a tile shows on each side of the face's middle
N_FRAMES = 18  # the sheet shows the last frame of a sequence of mean length


def contact_sheet(
    path: str | Path,
    *,
    subjects: Sequence[int] = (1,),
    seed: int = 0,
    emotions: Sequence[str] = tuple(EMOTION_CODES),
    variation: Variation = EASY,
) -> Path:
    """Render subjects at the peak of each emotion into one small picture.

    Parameters
    ----------
    path : path
        PNG file to write; its folder is made where it is missing.
    subjects : sequence of int
        Numbers of the subjects as `render_dataset` gives them, one row each.
    seed : int
        The data set's.
    emotions : sequence of str
        Names, one column each.
    variation : Variation
        How varied they are; the sensor noise is left out.

    Returns
    -------
    path : Path
        The file, without sensor noise so that it is small: about 15 kB a face.

    Raises
    ------
    ValueError
        If there are no subjects or emotions, a number is below 1 or a name is unknown.
    OSError
        If the file cannot be written.
    """
    unknown = [emotion for emotion in emotions if emotion not in EMOTION_CODES]
    if unknown or not emotions:
        raise ValueError(f"emotions must be some of {', '.join(EMOTION_CODES)}, got {list(emotions)}")
    if not subjects or min(subjects) < 1:
        raise ValueError(f"subjects must be numbers from 1, got {list(subjects)}")
    rows = [np.hstack([caption(emotion) for emotion in emotions])]
    rows += [np.hstack([apex(number, emotion, seed, variation) for emotion in emotions]) for number in subjects]
    sheet = np.vstack(rows)
    if (sheet[..., 0] == sheet[..., 1]).all() and (sheet[..., 1] == sheet[..., 2]).all():
        sheet = sheet[..., 0]
    good, encoded = cv2.imencode(".png", sheet, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    if not good:
        raise OSError(f"could not encode {path} as PNG")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, encoded.tobytes())
    return path


def caption(text: str) -> np.ndarray:
    """Return an emotion's name, dark on white, (CAPTION, TILE, 3) uint8."""
    image = np.full((CAPTION, TILE, 3), 255, np.uint8)
    (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)
    where = ((TILE - width) // 2, CAPTION - 5)
    return cv2.putText(image, text, where, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (40, 40, 40), 1, cv2.LINE_AA)


def apex(number: int, emotion: str, seed: int, variation: Variation) -> np.ndarray:
    """Return a subject at the peak of an emotion, the face's surroundings cut off, (TILE, TILE, 3) BGR uint8."""
    subject, manner, worn = draw_person(subject_rng(seed, number), variation)
    scene = Scene(subject, noise=0.0, worn=worn)
    acting = np.random.default_rng([seed, number, EMOTION_CODES[emotion]])
    poses = perform(load_model(), manner, emotion, acting, n_frames=N_FRAMES, variation=variation)
    frame = scene.render(poses[-1], key=0)
    if frame.ndim == 2:
        frame = np.repeat(frame[..., None], 3, axis=2)
    reach = round(REACH * subject.scale)
    centre_row = round(subject.height * CENTRE_ROW + subject.shift[1] - 0.15 * subject.scale)
    centre_column = round(WIDTH / 2 + subject.shift[0])
    top, left = max(centre_row - reach, 0), max(centre_column - reach, 0)
    cut = frame[top : centre_row + reach, left : centre_column + reach, ::-1]
    return cv2.resize(cut, (TILE, TILE), interpolation=cv2.INTER_AREA)
