"""Onset and apex in a stream of crops, found from the flow: nothing is assumed about where a clip begins or ends."""

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastck.config import FlowConfig
from fastck.faces.box import FaceBox, overlap
from fastck.faces.people import LOST
from fastck.ops.flow import FLOW_SHAPES, FlowPass, working_crop

# Root mean squares of the displacement, shares of the crop's side. Nine in ten expressions of the hard set reach more
# than twice the first at their apex.
RESTING = 0.003
CALM = 0.0012  # of one step
SETTLED = 12  # frames of rest after which the onset moves on
HELD = 75  # frames for which a face may hold still away from its onset; then that is its rest
SAME_FACE = 0.55  # overlap of the box found with the one that crops are cut with, below it the box is set again


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """What a frame shows against its onset.

    Attributes
    ----------
    frame, onset : int
        Numbers in the clip, counted from 0.
    flow : ndarray of shape (3, 28, 28), float32
        From the onset to this crop, as `optical_flow` has it; zeros where the crop is its own onset. Empty where it was
        not kept.
    displacement : float
        Root mean square of the flow's displacement, in shares of the crop's side.
    """

    frame: int
    onset: int
    flow: NDArray[np.float32]
    displacement: float

    @property
    def resting(self) -> bool:
        """Whether the face is as it was at the onset."""
        return self.displacement < RESTING


class OnsetTracker:
    """Keeps the crop that the flow is measured from: the last one at rest before the face moved.

    Each crop is compared with the onset. While the face rests, the onset moves on behind it, so slow drift and changing
    light do not add up. When the face moves, the onset stays where it is until the face is back, or until it has held
    still so long that this is its rest.

    Parameters
    ----------
    settled, held : int
        Frames: after so long at rest the onset moves on; after so long still elsewhere it is set anew.
    """

    def __init__(self, *, settled: int = SETTLED, held: int = HELD) -> None:
        self._settled, self._held = settled, held
        self._config = FlowConfig()
        self.reset()

    def reset(self) -> None:
        """Begin anew: the next crop is an onset."""
        self._onset = -1
        self._pass = FlowPass(self._config)
        self._reference: NDArray[np.uint8] | None = None
        self._recent: deque[tuple[int, NDArray[np.uint8]]] = deque(maxlen=self._settled)
        self._before: NDArray[np.float32] | None = None
        self._rested = self._still = 0

    def push(self, frame: int, crop: NDArray[np.uint8]) -> Moment:
        """Take in the next crop.

        Parameters
        ----------
        frame : int
            Its number in the clip.
        crop : ndarray of shape (N, N), uint8
            Gray levels, always of the same place in the frame until `reset`.

        Returns
        -------
        moment : Moment
        """
        small = working_crop(crop, self._config.size).copy()
        flow = np.zeros((1, *FLOW_SHAPES["flow"]), np.float32)
        if self._reference is None:
            self._start(frame, small)
        else:
            self._pass.fill(np.stack([self._reference, small]), {"flow": flow})
        moment = Moment(frame=frame, onset=self._onset, flow=flow[0], displacement=size_of(flow[0]))
        self._move_on(moment, small)
        return moment

    def _start(self, frame: int, small: NDArray[np.uint8]) -> None:
        """Let a crop be the onset."""
        self._onset, self._reference = frame, small
        self._pass = FlowPass(self._config)
        self._before = None
        self._rested = self._still = 0

    def _move_on(self, moment: Moment, small: NDArray[np.uint8]) -> None:
        """Set the onset for the next crop."""
        self._recent.append((moment.frame, small))
        step = size_of(moment.flow - self._before) if self._before is not None else 0.0
        self._before = moment.flow
        self._rested = self._rested + 1 if moment.resting else 0
        self._still = self._still + 1 if step < CALM and not moment.resting else 0
        if self._rested >= 2 * self._settled:
            # Not the newest crop: an expression that rises slowly must not be taken for rest.
            self._start(*self._recent[0])
        elif self._still >= self._held:
            self._start(moment.frame, small)


class BoxKeeper:
    """One box for as long as the face stays in it: a box that follows every detection makes motion of its own."""

    def __init__(self) -> None:
        self.box: FaceBox | None = None
        self._missed = 0

    def update(self, found: FaceBox | None) -> bool:
        """Take in the face of the next frame, None for none; return whether the box is a new one."""
        if found is None:
            self._missed += 1
            return False
        moved = self.box is None or self._missed >= LOST or overlap(self.box, found) < SAME_FACE
        self._missed = 0
        if moved:
            self.box = found
        return moved


def size_of(flow: NDArray[np.float32]) -> float:
    """Return the root mean square displacement of a flow (3, 28, 28), in shares of the crop's side."""
    return float(np.sqrt(np.mean(np.square(flow[:2])) * 2))
