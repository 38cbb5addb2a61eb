"""What the backends share: the sample that stands for all that have seen zero frames only, and the convolution."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from keras import ops


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A zero frame and zero states of one sample, as small as the layer's steps allow.

    Attributes
    ----------
    frame, state : tensor of shape (1, rows, columns, channels)
        What the layer reads, and where each of its states starts.
    positions : sequence of sequence of int
        Which row and which column of the small state each one of a full state is.
    """

    frame: Any
    state: Any
    positions: Sequence[Sequence[int]]

    def widen(self, state: Any) -> Any:
        """Lay a small state out to the full size."""
        rows, columns = (ops.convert_to_tensor(side, dtype="int32") for side in self.positions)
        return ops.take(ops.take(state, rows, axis=1), columns, axis=2)


def convolve(values: Any, kernel: Any, padding: str) -> Any:
    """Convolve (B, H, W, C) with (rows, columns, C, filters) as most backends do well; padding is "valid" or "same"."""
    return ops.conv(values, kernel, 1, padding, "channels_last")
