"""The files of a training run: what they are called, and how they are read and written."""

import csv
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastck.outputs import replacing, write_atomically
from fastck.store.files import sync

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 2  # raised when an older fastck could no longer read what a newer one writes

# Files of a run. Those of a fold lie in the run's own folder where there is one fold only, else below FOLDS.
RECORD, BASELINES, FOLDS = "run.json", "baselines.csv", "folds"
REPORT, REPORT_TEXT, REPORT_PAGE = "report.json", "report.txt", "report.html"
CLASSIFICATION, CLASSIFICATION_TEXT = "classification_report.json", "classification_report.txt"
CONFUSION_PICTURE, ACCURACY_PICTURE, LOSS_PICTURE = "confusion_matrix.png", "accuracy.png", "loss.png"
# Files of a fold; FIT is the last to be written and says that the others are there.
FIT, MODEL, LINEAR_MODEL, SUMMARY = "fold.json", "model.keras", "model.npz", "model_summary.txt"
HISTORY, PREDICTIONS, TRAINING_PREDICTIONS = "history.csv", "predictions.csv", "training_predictions.csv"
CHECKPOINTS, TENSORBOARD, EPOCH = "checkpoint", "tensorboard", "epoch"
# The folder of the model that was fitted on all sequences, and the file that says what it is.
FINAL, CARD = "final", "card.md"

# Columns that are not numbers: whatever they hold is text, "NA", "None" and "001" too.
_TEXT = ("sequence", "subject", "baseline", "true", "predicted")
_WHOLE = ("repeat", "fold", "epoch")


def read_json(path: Path) -> dict[str, Any]:
    """Return the object that a JSON file holds.

    Raises
    ------
    ValueError
        If the file is damaged, or holds something else.
    OSError
        If it cannot be read.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} was not written by fastck")
    return values


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write an object as JSON, the whole file or nothing."""
    write_atomically(path, (json.dumps(values, indent=1) + "\n").encode())


def read_run_table(path: Path) -> "pd.DataFrame":
    """Read one of a run's CSV files; names stay text, whatever they look like.

    Raises
    ------
    ValueError
        If the file is damaged.
    OSError
        If it cannot be read.
    """
    import pandas as pd

    kinds = {**dict.fromkeys(_TEXT, "str"), **dict.fromkeys(_WHOLE, "int64")}
    try:
        columns = pd.read_csv(path, nrows=0, encoding_errors="surrogateescape").columns
        return pd.read_csv(
            path,
            dtype={name: kinds.get(str(name), "float64") for name in columns},
            keep_default_na=False,
            # An epoch without validation has empty cells.
            na_values={name: [""] for name in columns if name not in _TEXT},
            encoding_errors="surrogateescape",
            float_precision="round_trip",
        )
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}): train again into another folder") from error


def write_run_table(path: Path, table: "pd.DataFrame") -> None:
    """Write a CSV file, the whole file or nothing; the same bytes for the same values."""
    # The csv module leaves a lone carriage return unquoted, which would end a line on reading.
    returns = any("\r" in str(name) for column in _TEXT if column in table for name in table[column])
    text = table.to_csv(
        index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL
    )
    # A folder's name, and so a sequence's, may be bytes that are no text.
    write_atomically(path, text.encode(errors="surrogateescape"))


def write_text(path: Path, text: str) -> None:
    """Write a text file, the whole file or nothing."""
    write_atomically(path, text.encode(errors="backslashreplace"))


def write_file(path: Path, save: Callable[[Path], object]) -> None:
    """Have `save` write a file under another name, then give it its own: the whole file or nothing.

    The other name ends alike: Keras knows the format by it.
    """
    with replacing(path) as temporary:
        save(temporary)
        sync(temporary)
