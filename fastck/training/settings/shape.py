"""The dimensions of a network, and what follows from them by arithmetic."""

from dataclasses import dataclass
from typing import Literal

from fastck.config import TIMESTEPS

Model = Literal["convlstm", "temporal", "ststnet", "linear"]

TEMPORAL_KERNEL = 3  # steps that the temporal convolution sees at once

# Liong et al. (2019), "Shallow Triple Stream Three-dimensional CNN (STSTNet) for Micro-expression Recognition", FG.
STREAMS = (3, 5, 8)  # filters of the three streams
STREAM_KERNEL = 3  # rows and columns of a filter, and of the window whose maximum is kept, without overlap
STREAM_MEAN = 2  # rows and columns of the window whose mean is kept, without overlap


@dataclass(frozen=True, kw_only=True)
class NetworkShape:
    """Dimensions of a network (paper, fig. 6, 7).

    Attributes
    ----------
    rows, columns, channels : int
        Of one step's feature; 2, 267 and 1 for projections, 2, 64 and 2 for flow projections.
    n_classes : int
        Emotions told apart.
    kernel_size : (int, int)
        Rows and columns of the recurrent layer's convolutions; (1, 3) for projections, (3, 3) for square frames.
    timesteps : int
        Steps of a sequence.
    filters : int
        Channels of the recurrent layer.
    dense : int
        Units of the hidden dense layer.
    model : {"convlstm", "temporal", "ststnet", "linear"}
        The paper's network; one convolution over time and the maximum over all steps; STSTNet, which sees the last step
        only; logistic regression, of which only the input's shape counts.

    Raises
    ------
    ValueError
        If a frame is smaller than the recurrent layer's kernel, or than what STSTNet takes a mean of.
    """

    rows: int
    columns: int
    n_classes: int
    channels: int = 1
    kernel_size: tuple[int, int] = (1, 3)
    timesteps: int = TIMESTEPS
    filters: int = 64
    dense: int = 100
    model: Model = "convlstm"

    def __post_init__(self) -> None:
        rows, columns = self.kernel_size
        if self.model == "convlstm" and (self.rows < rows or self.columns < columns):
            raise ValueError(f"frames of {self.rows}x{self.columns} are smaller than the kernel {rows}x{columns}")
        if self.model == "ststnet" and not self.pooled_size:
            raise ValueError(f"ststnet needs frames of 4x4 or more, got {self.rows}x{self.columns}")

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """Shape of one padded sequence: steps, rows, columns, channels."""
        return self.timesteps, self.rows, self.columns, self.channels

    @property
    def frame_size(self) -> int:
        """Values of one frame."""
        return self.rows * self.columns * self.channels

    @property
    def input_size(self) -> int:
        """Values of one padded sequence."""
        return self.timesteps * self.frame_size

    @property
    def worked_steps(self) -> int:
        """Steps of a sequence that the network works on."""
        return 1 if self.model == "ststnet" else self.timesteps

    @property
    def pooled_size(self) -> int:
        """Values that STSTNet's streams give for one sequence: 400 for the paper's 28x28."""
        rows, columns = (-(-side // STREAM_KERNEL) // STREAM_MEAN for side in (self.rows, self.columns))
        return rows * columns * sum(STREAMS)

    @property
    def state_size(self) -> int:
        """Values that a step gives for one sequence: the recurrent state, or a convolution's output."""
        if self.model == "temporal":
            return self.filters
        if self.model == "ststnet":
            return self.rows * self.columns * sum(STREAMS)
        rows, columns = self.kernel_size
        return (self.rows - rows + 1) * (self.columns - columns + 1) * self.filters

    @property
    def parameters(self) -> int:
        """Trainable parameters."""
        if self.model == "temporal":
            temporal = TEMPORAL_KERNEL * self.frame_size * self.filters + self.filters
            return temporal + self.filters * self.n_classes + self.n_classes
        if self.model == "ststnet":
            streams = (STREAM_KERNEL**2 * self.channels + 1) * sum(STREAMS)
            return streams + (self.pooled_size + 1) * self.n_classes
        rows, columns = self.kernel_size
        recurrent = rows * columns * (self.channels + self.filters) * 4 * self.filters + 4 * self.filters
        hidden = self.state_size * self.dense + self.dense
        return recurrent + hidden + self.dense * self.n_classes + self.n_classes
