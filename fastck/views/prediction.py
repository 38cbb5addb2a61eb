"""A prediction as lines for a terminal."""

from fastck.training.predict import Prediction

BAR = 30  # characters


def prediction_lines(prediction: Prediction) -> list[str]:
    """Return one line for each window: its frames, the class, its probability as a bar and in per cent.

    A line has at most 80 columns.
    """
    table = prediction.table
    digits = len(str(int(table["last_frame"].max())))
    names = max(len(name) for name in prediction.probabilities)
    lines = []
    for row in table.to_dict("records"):
        share = float(row[f"p_{row['predicted']}"])
        bar = ("█" * round(BAR * share)).ljust(BAR, "░")
        frames = f"frames {row['first_frame']:>{digits}} to {row['last_frame']:>{digits}}"
        lines.append(f"{frames}  {row['predicted']:<{names}}  {bar} {100 * share:3.0f} %")
    return lines
