"""The convolution that most backends compute well."""

from typing import Any

from keras import ops


def convolve(values: Any, kernel: Any, padding: str) -> Any:
    """Convolve (B, H, W, C) with (rows, columns, C, filters); padding is "valid" or "same"."""
    return ops.conv(values, kernel, 1, padding, "channels_last")
