"""What the report says in words, the same in every format."""

from typing import Any

METRICS = {"accuracy": "accuracy", "balanced_accuracy": "UAR (balanced accuracy)", "macro_f1": "UF1 (macro F1)"}
NETWORKS = {
    "convlstm": "ConvLSTM2D",
    "temporal": "temporal convolution",
    "ststnet": "STSTNet",
    "linear": "linear model",
}


def network_name(report: dict[str, Any]) -> str:
    """Return how tables call the model that the run trained."""
    return NETWORKS[report["arguments"]["model"]]


def best_model(report: dict[str, Any]) -> dict[str, Any]:
    """Return name and accuracy of the run's most accurate model; the trained one where a baseline is just as good."""
    trained = {"name": network_name(report), "accuracy": report["evaluation"]["accuracy"], "baseline": False}
    others = [{"name": entry["name"], "accuracy": entry["accuracy"], "baseline": True} for entry in report["baselines"]]
    return max([trained, *others], key=lambda entry: float(entry["accuracy"]["value"]))


def headline(report: dict[str, Any]) -> str:
    """Return which model is the best of the run; where it is a baseline, that the trained model loses to it."""
    best = report["best"]
    line = f"best model: {best['name']}, accuracy {interval_text(best['accuracy'])}"
    if not best["baseline"]:
        return line
    accuracy = interval_text(report["evaluation"]["accuracy"])
    return f"{line}: a baseline beats the trained {network_name(report)}, accuracy {accuracy}"


def maximum_lines(report: dict[str, Any]) -> list[str]:
    """Return, as one line, that the best of several models was chosen by test accuracy; nothing for a single model."""
    count = 1 + len(report["baselines"])
    return [] if count == 1 else [f"(the maximum of {count} models by test accuracy: it flatters the one it names)"]


def stops_on_test(run: dict[str, Any]) -> bool:
    """Return whether early stopping chose a network's epoch on the part that tests it."""
    arguments = run["arguments"]
    stops = arguments["model"] != "linear" and arguments.get("early_stopping") is not None
    return stops and any(set(split["validation"]) & set(split["test"]) for split in run["splits"])


def validation_name(report: dict[str, Any]) -> str:
    """Return how curves call the part that validates."""
    return "validation (the test part)" if report["protocol"] == "random" else "validation"


def leakage_line(report: dict[str, Any]) -> str:
    """Return how many test sequences have their subject in training or validation."""
    share = report["leakage"]
    verdict = "accuracy on new people is not measured" if share > 0 else "subject-independent"
    known = "have their subject in the training part or its validation"
    return f"{100 * share:.0f} % of the test sequences {known}: {verdict}"


def calibration_line(report: dict[str, Any]) -> str:
    """Return how far the probabilities are off, before and after the temperature."""
    calibration = report["evaluation"]["calibration"]
    error = f"expected calibration error {calibration['error']:.3f}"
    if calibration["temperatures"] is None:
        return f"{error}: no temperature was fitted, since no sequence validates without being tested"
    low, high = min(calibration["temperatures"]), max(calibration["temperatures"])
    fitted = f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}"
    return f"{error}; {calibration['uncalibrated_error']:.3f} before the temperature ({fitted}, from validation)"


def interval_text(entry: dict[str, float]) -> str:
    """Write a value and its interval as "0.880 [0.750, 0.950]"."""
    return f"{entry['value']:.3f} [{entry['low']:.3f}, {entry['high']:.3f}]"


def setting_text(value: Any) -> str:
    """Write a setting's value as people give it: "happy,surprise", "negative=anger,disgust positive=happy"."""
    if isinstance(value, dict):
        return " ".join(f"{name}={setting_text(labels)}" for name, labels in value.items())
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
