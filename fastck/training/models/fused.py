"""Keras' layers computed faster, without work on padding.

ConvLSTM2D: one convolution for the four gates. Conv1D over whole frames: one matrix product.
"""

from typing import Any

import keras
from keras import ops

from fastck.training.models.backends import current_backend
from fastck.training.models.backends.waiting import Waiting


class FusedConvLSTM2D(keras.layers.ConvLSTM2D):
    """ConvLSTM2D with the same weights and outputs, for sequences that are padded with zero frames in front.

    Three things are done differently:

    - The four gates come out of one convolution instead of four.
    - As long as a sample has only seen zero frames its state does not depend on it. Sorted by their first non-zero
      frame, the samples that have begun are computed, and one more that stands for all that have not. That one is the
      same everywhere but near the edges, so that a part of a large frame stands for it. JAX compiles for fixed shapes:
      it computes the first half of the samples, or all.
    - With `remat` each step keeps its incoming state only and is recomputed in the backward pass (gradient
      checkpointing).

    For training only: the trained weights go into Keras' own layer, which is what is saved. Supports what the paper's
    network needs: "valid" padding, no strides or dilation, no dropout inside the cell, the last output.

    Parameters
    ----------
    remat : bool
        Recompute activations in the backward pass.
    **options
        Of keras.layers.ConvLSTM2D.
    """

    def __init__(self, *args: Any, remat: bool = False, **options: Any) -> None:
        super().__init__(*args, **options)
        self.remat = remat

    def call(self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False) -> Any:
        """Return the last output of every sample: (B, T, H, W, C) -> (B, H', W', filters)."""
        if initial_state is not None or mask is not None:
            raise ValueError("FusedConvLSTM2D starts from zero states and takes no mask")
        cell = self.cell
        frames = ops.cast(sequences, cell.compute_dtype)
        weights = [ops.cast(value, cell.compute_dtype) for value in (cell.kernel, cell.recurrent_kernel, cell.bias)]
        order, begun = _start_order(frames)
        frames = ops.take(frames, order, axis=0)
        step = keras.remat(self._step) if self.remat else self._step
        h = current_backend().last_state(step, frames, begun, weights, self._waiting(frames))
        return ops.take(h, ops.argsort(order), axis=0)

    def _waiting(self, frames: Any) -> Waiting:
        """Return the sample that has not begun.

        Each step carries the edge's influence by half a kernel inwards; what is farther from it is the same everywhere.
        """
        sides, positions = [], []
        for size, kernel in zip(frames.shape[2:4], self.kernel_size, strict=True):
            full, edge = size - kernel + 1, frames.shape[1] * (kernel // 2)
            side = min(full, 2 * edge + 1)
            sides.append(side)
            positions.append([min(at, edge) if at < full - edge else at - full + side for at in range(full)])
        frame = [side + kernel - 1 for side, kernel in zip(sides, self.kernel_size, strict=True)]
        kind = self.cell.compute_dtype
        return Waiting(
            frame=ops.zeros((1, *frame, frames.shape[-1]), kind),
            state=ops.zeros((1, *sides, self.filters), kind),
            positions=positions,
        )

    def _step(self, frame: Any, h: Any, c: Any, kernel: Any, recurrent_kernel: Any, bias: Any) -> tuple[Any, Any]:
        """One step; Keras keeps the gates in the order input, forget, candidate, output."""
        convolve = current_backend().convolve
        gates = convolve(frame, kernel, "valid") + convolve(h, recurrent_kernel, "same") + bias
        i, f, g, o = ops.split(gates, 4, axis=-1)
        gate, activation = self.cell.recurrent_activation, self.cell.activation
        c = gate(f) * c + gate(i) * activation(g)
        return gate(o) * activation(c), c


class FusedConv1D(keras.layers.Conv1D):
    """Conv1D with the same weights and outputs, for sequences that are padded with zero frames.

    Each frame is multiplied with the weights of all positions of the kernel at once, and the products are moved and
    added. A frame of zeros gives zeros and is left out, where the backend can compute a number of rows that changes.

    For training only: the trained weights go into Keras' own layer, which is what is saved. Supports what the temporal
    network needs: "same" padding, no strides, dilation or groups.
    """

    def call(self, inputs: Any) -> Any:
        """Return the activations of every step: (B, T, C) -> (B, T, filters)."""
        steps, channels = inputs.shape[1:]
        (size,) = self.kernel_size
        # Of each step, what it adds to the step behind it, to itself, to the one before it, ...
        kernel = ops.reshape(ops.transpose(self.kernel, (1, 0, 2)), (channels, size * self.filters))
        products = current_backend().row_products(ops.reshape(inputs, (-1, channels)), kernel)
        products = ops.reshape(products, (-1, steps, size, self.filters))
        products = ops.pad(products, ((0, 0), ((size - 1) // 2, size // 2), (0, 0), (0, 0)))
        total = self.bias
        for position in range(size):
            total = total + products[:, position : position + steps, position]
        return self.activation(total)


def _start_order(frames: Any) -> tuple[Any, Any]:
    """Order of samples by their first non-zero frame, and how many of them have begun at each step.

    At the last step all have, whether they hold anything or not.
    """
    samples, length = ops.shape(frames)[0], frames.shape[1]
    moving = ops.cast(ops.any(frames != 0, axis=(2, 3, 4)), "int32")
    first = ops.where(ops.any(moving > 0, axis=1), ops.cast(ops.argmax(moving, axis=1), "int32"), length - 1)
    # No two are alike, so that every backend's sort gives the same order.
    order = ops.argsort(first * samples + ops.arange(samples, dtype="int32"))
    begun = ops.sum(ops.cast(first[:, None] <= ops.arange(length, dtype="int32")[None, :], "int32"), axis=0)
    return order, begun
