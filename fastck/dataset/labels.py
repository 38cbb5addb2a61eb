"""Emotion labels: codes, names, and the words that stand for them."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

EMOTIONS = {
    0: "neutral",
    1: "anger",
    2: "contempt",
    3: "disgust",
    4: "fear",
    5: "happy",
    6: "sadness",
    7: "surprise",
}  # CK+'s codes (Lucey et al., 2010)

_OTHER_NAMES = {
    "angry": 1,
    "contemptuous": 2,
    "disgusted": 3,
    "fearful": 4,
    "happiness": 5,
    "joy": 5,
    "sad": 6,
    "surprised": 7,
}


def emotion_of_name(name: str) -> int | None:
    """Return the emotion code that a folder's name stands for, or None.

    Digits are codes ("3", "03", "3.0"); words are the names of `EMOTIONS` in any case, or their common relatives
    ("happiness", "sad").
    """
    word = name.strip().lower()
    # pandas writes a column of codes with an empty cell as 5.0.
    if re.fullmatch(r"[0-9]{1,3}(\.0*)?", word):
        return int(float(word)) if int(float(word)) in EMOTIONS else None
    codes = {emotion: code for code, emotion in EMOTIONS.items()}
    return codes.get(word, _OTHER_NAMES.get(word))


def label_name(label: str | int) -> str:
    """Return the name that stands for a label: "happy" for 5, "5" or "happiness", any other text as it is.

    Raises
    ------
    ValueError
        If a number is no code of `EMOTIONS`, or a text is empty.
    """
    if not isinstance(label, str):
        if label not in EMOTIONS:
            raise ValueError(f"a label's code must be one of {', '.join(map(str, EMOTIONS))}, got {label!r}")
        return EMOTIONS[label]
    code = emotion_of_name(label)
    name = label.strip() if code is None else EMOTIONS[code]
    if not name:
        raise ValueError("a label must not be empty")
    return name


def emotion_names(codes: "pd.Series") -> "pd.Series":
    """Return the names of emotion codes, "" for none."""
    return codes.map(EMOTIONS, na_action="ignore").fillna("").astype("str")
