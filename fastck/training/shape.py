"""The dimensions of the paper's network, and what follows from them by arithmetic."""

from dataclasses import dataclass

from fastck.config import TIMESTEPS


@dataclass(frozen=True, kw_only=True)
class NetworkShape:
    """Dimensions of the network (paper, fig. 6, 7).

    Attributes
    ----------
    rows, columns : int
        Pixels of a frame; 2 and 267 for projections.
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

    Raises
    ------
    ValueError
        If a frame is smaller than the kernel.
    """

    rows: int
    columns: int
    n_classes: int
    kernel_size: tuple[int, int] = (1, 3)
    timesteps: int = TIMESTEPS
    filters: int = 64
    dense: int = 100

    def __post_init__(self) -> None:
        rows, columns = self.kernel_size
        if self.rows < rows or self.columns < columns:
            raise ValueError(f"frames of {self.rows}x{self.columns} are smaller than the kernel {rows}x{columns}")

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """Shape of one padded sequence: steps, rows, columns, channels."""
        return self.timesteps, self.rows, self.columns, 1

    @property
    def input_size(self) -> int:
        """Values of one padded sequence."""
        return self.timesteps * self.rows * self.columns

    @property
    def state_size(self) -> int:
        """Values of the recurrent layer's state for one sequence: the "valid" convolution's output."""
        rows, columns = self.kernel_size
        return (self.rows - rows + 1) * (self.columns - columns + 1) * self.filters

    @property
    def parameters(self) -> int:
        """Trainable parameters."""
        rows, columns = self.kernel_size
        recurrent = rows * columns * (1 + self.filters) * 4 * self.filters + 4 * self.filters
        hidden = self.state_size * self.dense + self.dense
        return recurrent + hidden + self.dense * self.n_classes + self.n_classes
