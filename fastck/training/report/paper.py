"""The paper's published tables, and what keeps a run from being compared with them."""

from typing import Any

from fastck.training.report.evaluation import wilson_interval
from fastck.training.settings.config import TrainConfig

# (precision, recall, f1, support) by emotion, as printed in the paper's classification reports. Phase 3 numbers
# its classes 0 to 6 (fig. 15); they are read as CK+'s codes 1 to 7 in order. Phase 4: fig. 19.
PUBLISHED: dict[int, dict[str, Any]] = {
    3: {
        "figure": "fig. 15, 16",
        "accuracy": 0.71,
        "n": 52,
        "macro_f1": 0.70,
        "per_class": {
            "anger": (0.56, 0.71, 0.63, 7),
            "contempt": (0.43, 0.50, 0.46, 6),
            "disgust": (0.75, 0.67, 0.71, 9),
            "fear": (1.00, 1.00, 1.00, 3),
            "happy": (0.80, 0.89, 0.84, 9),
            "sadness": (0.40, 0.29, 0.33, 7),
            "surprise": (1.00, 0.91, 0.95, 11),
        },
    },
    4: {
        "figure": "fig. 19, 20",
        "accuracy": 0.88,
        "n": 42,
        "macro_f1": None,
        "per_class": {
            "anger": (1.00, 0.83, 0.91, 12),
            "disgust": (0.77, 1.00, 0.87, 10),
            "happy": (0.80, 0.89, 0.84, 9),
            "surprise": (1.00, 0.82, 0.90, 11),
        },
    },
}

# Settings whose defaults are the paper's values.
_COMPARED = (
    "model",
    "timesteps",
    "filters",
    "dense",
    "dropout",
    "learning_rate",
    "epochs",
    "batch_size",
    "test_size",
    "seed",
)


def warnings(run: dict[str, Any], n_test: float) -> list[str]:
    """Return which differences make a run's figures and the paper's incomparable.

    Parameters
    ----------
    run : dict
        Values of run.json.
    n_test : float
        Test sequences of the run.

    Returns
    -------
    lines : list of str
        One sentence each; never empty, since the paper's own split cannot be rebuilt.
    """
    arguments, store = run["arguments"], run["store"]["config"]
    published = PUBLISHED[arguments["phase"]]
    lines = ["the paper chose its sequences by hand and names neither them nor its library versions"]
    if arguments["phase"] == 3:
        lines.append(
            "the paper contradicts itself on phase 3: 52 test sequences at 30 % need about 173, it states 7 x 15; and "
            "its classes 0 to 6 are read here as emotions 1 to 7"
        )
    protocol = "file" if "folds_file" in run else arguments["protocol"]
    if protocol == "random":
        lines.append(
            "as in the paper, the test part also served as validation set, and its subjects train too: "
            "the figure flatters"
        )
    else:
        lines.append(f"the protocol is {protocol}; the paper tested on one random 30 % that was its validation set")
    faces, motion = store["faces"], store["motion"]
    if faces["crop"] != "frame":
        lines.append(f"faces are cropped per {faces['crop']}; the paper cropped each frame by its own box")
    if (motion["mode"], motion["level"], motion["size"]) != ("wrap", 127, 5):
        lines.append("the motion masks use another difference, level or footprint than the paper's wrap, 127, 5x5")
    paper = TrainConfig().as_dict()
    changed = [
        f"{name} {arguments[name]} (paper {paper[name]})" for name in _COMPARED if arguments[name] != paper[name]
    ]
    if changed:
        lines.append("other settings: " + ", ".join(changed))
    low, high = wilson_interval(published["accuracy"] * published["n"], published["n"])
    lines.append(
        f"{n_test:.0f} test sequences here, {published['n']} in the paper: its accuracy alone is uncertain by "
        f"{50 * (high - low):.0f} points either way"
    )
    lines.append("fastck does not know whether the store was made from CK+")
    return lines
