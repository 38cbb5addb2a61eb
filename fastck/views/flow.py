"""Optical flow in colours: hue is the direction, saturation the distance, white is at rest; and the wheel for it."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastck.config import FlowConfig

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WHEEL = 65  # pixels across
LEAST = 1e-3  # share of the side: a rim below it would colour the noise of a still face


def flow_colours(flow: NDArray[np.float32], rim: float) -> NDArray[np.float64]:
    """Colour displacements as the wheel of Baker et al. (2011) does: hue for direction, saturation for distance.

    Parameters
    ----------
    flow : ndarray of shape (2 or more, H, W), float32
        Horizontal and vertical displacement, in shares of the side; further planes are not looked at.
    rim : float
        Distance that is fully saturated, more included.

    Returns
    -------
    colours : ndarray of shape (H, W, 3), float64
        Red, green and blue, 0 to 1; white for no displacement.
    """
    from matplotlib.colors import hsv_to_rgb

    hue = np.arctan2(flow[1], flow[0]) / (2 * np.pi) % 1
    saturation = np.minimum(np.hypot(flow[0], flow[1]) / rim, 1)
    return np.asarray(hsv_to_rgb(np.stack([hue, saturation, np.ones_like(hue)], axis=-1)), np.float64)


def flow_rim(pictures: Iterable[NDArray[Any] | None]) -> float:
    """Return the largest displacement of several flows (3, H, W), for all of them to share a scale."""
    lengths = [float(np.hypot(flow[0], flow[1]).max()) for flow in pictures if flow is not None]
    return max([*lengths, LEAST])


def draw_wheel(axes: "Axes") -> None:
    """Draw the wheel: where a point of it lies is where the face has moved."""
    y, x = np.mgrid[-1 : 1 : WHEEL * 1j, -1 : 1 : WHEEL * 1j]
    colours = np.ones((WHEEL, WHEEL, 4))
    colours[..., :3] = flow_colours(np.stack([x, y]).astype(np.float32), 1.0)
    colours[..., 3] = np.hypot(x, y) <= 1
    axes.imshow(colours, extent=(-1, 1, 1, -1), interpolation="antialiased")
    axes.set_axis_off()


def describe_colours(config: FlowConfig, rim: float) -> str:
    """Say in one line what the colours mean."""
    since = "since the onset" if config.reference == "onset" else "since the frame before"
    taken = ", head's motion taken out" if config.compensate else ""
    return f"Flow: displacement {since}{taken}; the wheel's rim is {100 * rim:.1f} % of the crop's side"
