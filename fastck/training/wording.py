"""What the report says in words, the same in every format."""

from typing import Any

METRICS = {"accuracy": "accuracy", "balanced_accuracy": "UAR (balanced accuracy)", "macro_f1": "UF1 (macro F1)"}
NETWORKS = {"convlstm": "ConvLSTM2D", "temporal": "temporal convolution"}


def network_name(report: dict[str, Any]) -> str:
    """Return how tables call the run's network."""
    return NETWORKS[report["arguments"]["model"]]


def leakage_line(report: dict[str, Any]) -> str:
    """Return how many test sequences have their subject in training."""
    share = report["leakage"]
    verdict = "accuracy on new people is not measured" if share > 0 else "subject-independent"
    return f"{100 * share:.0f} % of the test sequences have their subject in the training part: {verdict}"


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
