"""Keras' ConvLSTM2D computed faster: one convolution for the four gates, and no work on leading padding."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf


class FusedConvLSTM2D(keras.layers.ConvLSTM2D):
    """ConvLSTM2D with the same weights and outputs, for sequences that are padded with zero frames in front.

    Three things are done differently:

    - The four gates come out of one convolution instead of four.
    - As long as a sample has only seen zero frames its state does not depend on it. Sorted by their first non-zero
      frame, the samples that have begun are computed, and one more that stands for all that have not. That one is the
      same everywhere but near the edges, so that a part of a large frame stands for it.
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

    def call(
        self,
        sequences: tf.Tensor,
        initial_state: Any = None,
        mask: Any = None,
        training: bool = False,
    ) -> tf.Tensor:
        """Return the last output of every sample: (B, T, H, W, C) -> (B, H', W', filters)."""
        if initial_state is not None or mask is not None:
            raise ValueError("FusedConvLSTM2D starts from zero states and takes no mask")
        cell = self.cell
        frames = tf.cast(sequences, cell.compute_dtype)
        weights = [tf.cast(value, frames.dtype) for value in (cell.kernel, cell.recurrent_kernel, cell.bias)]
        steps = tf.shape(frames)[1]
        order, begun = _start_order(frames)
        frames = tf.gather(frames, order)
        step = keras.remat(self._step) if self.remat else self._step
        states = [state[:0] for state in cell.get_initial_state(batch_size=1)]
        waiting_frame, waiting_states, place = self._waiting(frames, states)

        def body(
            t: tf.Tensor, h: tf.Tensor, c: tf.Tensor, waiting_h: tf.Tensor, waiting_c: tf.Tensor
        ) -> tuple[tf.Tensor, ...]:
            starting = begun[t] - tf.shape(h)[0]
            h = tf.concat([h, tf.repeat(place(waiting_h), starting, axis=0)], axis=0)
            c = tf.concat([c, tf.repeat(place(waiting_c), starting, axis=0)], axis=0)
            h, c = step(frames[: begun[t], t], h, c, *weights)
            # No row at all once everybody has begun.
            needed = tf.cast(begun[t] < tf.shape(frames)[0], tf.int32)
            waiting = step(waiting_frame[:needed], waiting_h[:needed], waiting_c[:needed], *weights)
            return t + 1, h, c, *waiting

        free = tf.TensorShape([None, *states[0].shape[1:]])
        few = tf.TensorShape([None, *waiting_states[0].shape[1:]])
        _, h, *_ = tf.while_loop(
            lambda t, *_: t < steps,
            body,
            (tf.constant(0), *states, *waiting_states),
            shape_invariants=(tf.TensorShape([]), free, free, few, few),
            maximum_iterations=frames.shape[1],
        )
        return tf.gather(h, tf.math.invert_permutation(order))

    def _waiting(
        self, frames: tf.Tensor, states: list[tf.Tensor]
    ) -> tuple[tf.Tensor, list[tf.Tensor], Callable[[tf.Tensor], tf.Tensor]]:
        """Return a zero frame, zero states, and how such a state is laid out to the full size.

        Each step carries the edge's influence by half a kernel inwards; what is farther from it is the same everywhere.
        """
        sides, positions = [], []
        for full, kernel in zip(states[0].shape[1:3], self.kernel_size, strict=True):
            edge = frames.shape[1] * (kernel // 2)
            side = min(full, 2 * edge + 1)
            sides.append(side)
            positions.append([min(at, edge) if at < full - edge else at - full + side for at in range(full)])
        frame = tf.zeros(
            (1, *(side + k - 1 for side, k in zip(sides, self.kernel_size, strict=True)), frames.shape[-1])
        )
        zeros = [tf.zeros((1, *sides, self.filters), frames.dtype) for _ in states]

        def place(state: tf.Tensor) -> tf.Tensor:
            return tf.gather(tf.gather(state, positions[0], axis=1), positions[1], axis=2)

        return tf.cast(frame, frames.dtype), zeros, place

    def _step(
        self,
        frame: tf.Tensor,
        h: tf.Tensor,
        c: tf.Tensor,
        kernel: tf.Tensor,
        recurrent_kernel: tf.Tensor,
        bias: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """One step; Keras keeps the gates in the order input, forget, candidate, output."""
        gates = tf.nn.conv2d(frame, kernel, 1, "VALID") + tf.nn.conv2d(h, recurrent_kernel, 1, "SAME")
        i, f, g, o = tf.split(tf.nn.bias_add(gates, bias), 4, axis=-1)
        gate, activation = self.cell.recurrent_activation, self.cell.activation
        c = gate(f) * c + gate(i) * activation(g)
        return gate(o) * activation(c), c


def _start_order(frames: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Order of samples by their first non-zero frame, and how many of them have begun at each step.

    At the last step all have, whether they hold anything or not.
    """
    length = tf.shape(frames)[1]
    moving = tf.cast(tf.reduce_any(frames != 0, axis=(2, 3, 4)), tf.int32)
    first = tf.where(tf.reduce_any(moving > 0, axis=1), tf.argmax(moving, axis=1, output_type=tf.int32), length - 1)
    order = tf.argsort(first, stable=True)
    begun = tf.reduce_sum(tf.cast(first[:, None] <= tf.range(length)[None, :], tf.int32), axis=0)
    return order, begun
