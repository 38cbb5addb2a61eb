"""Keras' Conv1D over whole frames computed faster: one matrix product, and no work on frames of zeros."""

from typing import Any

import keras
from keras import ops

from fastck.training.models.backends import current_backend


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
