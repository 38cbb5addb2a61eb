"""Predictions as lines for a terminal and as rows of a table; the model card in short."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fastck.recogniser import TRAINED_ON, Recogniser
from fastck.recognition.inputs import Answer
from fastck.recognition.prediction import UNSURE, Prediction
from fastck.training.settings.config import probability_columns

if TYPE_CHECKING:
    import pandas as pd

    from fastck.faces.units import UnitModel
    from fastck.recognition.judge import Judge

NAME, BAR, WIDTH = 24, 18, 80  # characters


def prediction_line(prediction: Prediction, *, by_path: bool = False) -> str:
    """Return a clip's name, its emotion, the probability as a bar and in per cent, and the frames from onset to apex.

    The path stands in the name's place where it is asked for. Where there are several people the name ends with the
    person's number. A line has at most 80 columns.
    """
    name = _short_name(prediction, prediction.source if by_path else prediction.clip)
    if (box := prediction.box) is not None and not prediction.probabilities:
        return f"{name:<{NAME}} face at top {box.top}, left {box.left}, bottom {box.bottom}, right {box.right}"[:WIDTH]
    share = max(prediction.probabilities.values())
    bar = ("█" * round(BAR * share)).ljust(BAR, "░")
    first, last = prediction.span
    text = f"{name:<{NAME}} {prediction.emotion or UNSURE:<8} {bar} {100 * share:3.0f} %  frames {first} to {last}"
    return text[:WIDTH]


def _short_name(prediction: Prediction, name: str) -> str:
    who = f" #{prediction.person}" if prediction.others or prediction.person > 1 else ""
    most = NAME - len(who)
    return (name if len(name) <= most else "..." + name[3 - most :]) + who


def answer_table(answer: Answer, classes: Sequence[str]) -> "pd.DataFrame":
    """Return `Prediction.to_frame()` of a clip, or a row that says in `note` why there is no answer."""
    import pandas as pd

    if answer.prediction is not None:
        return answer.prediction.to_frame()
    names = ["input", "person", "window", "first_frame", "last_frame", "emotion", *probability_columns(classes), "note"]
    # Strings of Arrow refuse a path that is not UTF-8.
    row = pd.Series({"input": answer.source, "note": f"error: {answer.error}"}, dtype=object)
    return pd.DataFrame([row.reindex(names)])


def _percents(figures: list[dict[str, float]], name: str) -> str:
    return ", ".join(f"{100 * one[name]:.0f}" for one in figures) + " %"


def card_lines(recogniser: Recogniser, units: "UnitModel", judge: "Judge") -> list[str]:
    """Return the bundled models' card, at most 80 columns wide."""
    about, of_units, of_judge = recogniser.about, units.about, judge.about["figures"]
    worlds = ("easy", "hard", "compressed")
    read = [of_units["figures"]["rest"][world]["mean"] for world in worlds]
    answered = [of_judge[world]["judge"] for world in worlds]
    rows = [
        ("what it says", f"{', '.join(recogniser.classes[1:])}, or neutral; unsure below "
         f"{100 * recogniser.unsure_below:.0f} %"),
        ("looks at", "action units, their course over time, and optical flow of the face from onset to apex; "
         "never at a single picture"),
        (TRAINED_ON, f"none of them real: {of_units['people']} people for action units, {about['people']} for flow; "
         f"seeds {of_units['seed']} and {about['seed']}"),
        (f"rendered people of another seed ({', '.join(worlds)})", "of clips cut anywhere, at every "
         f"strength and among speech, winks and chewing, {_percents(answered, 'all_right')} are right; "
         f"of what it says with 90 %, {_percents(answered, 'sure_right')}; "
         f"of clips that begin with the expression, {_percents(answered, 'begun_right')}"),
        ("their action units", "beside the face's own rest, correlation of intensities "
         f"{', '.join(f'{correlation:.2f}' for correlation, _ in read)}; "
         f"F1 of presence {', '.join(f'{presence:.2f}' for _, presence in read)}"),
        ("the flow alone, onset to apex, hard", f"{100 * about['accuracy']:.0f} % right, calibration error "
         f"{about['calibration_error']:.3f}; of what it says with 90 %, {100 * about['sure_right']:.0f} % is right"),
        ("real people", "verified on smiles and faces at rest only: 12 of 14 smiles of the Face Research Lab London "
         "Set are called happy, and 30 people at rest neutral; the documentation lists each one"),
        ("unknown", "all other emotions of real people; children, profiles, masks, hands over the face"),
        ("sensitive to", "a first frame that is not neutral, fast turns of the head, a face below about 80 pixels, "
         "hard changes of light"),
        ("not for", "decisions about people: what a face shows is not what a person feels"),
    ]  # fmt: skip
    lines = []
    for name, text in rows:
        lines.extend(textwrap.wrap(f"{name}: {text}", WIDTH, subsequent_indent="    "))
    return lines
