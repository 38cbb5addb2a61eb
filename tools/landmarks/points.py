"""Where the 68 points of the field (iBUG's order) lie on the head model, and where they are seen in a picture.

Points 0 to 16 are the outline from the subject's right ear over the chin to the left ear, 17 to 26 the brows, 27 to 35
the nose, 36 to 47 the eyes, 48 to 67 the mouth. All are carried by the triangles of the model's neutral face, so they
follow shapes and expressions. The outline's points are the ones of a line each that reach furthest out in the view.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from fastck.faces.mirror import MIRRORED
from fastck.kernels.raster import SKIN, rasterise
from fastck.render.model import load_model
from fastck.render.subject import Subject

Floats = NDArray[np.float64]

POINTS, OUTLINE = 68, 17
RESOLUTION = 0.0016  # decimetres to a pixel of the picture that the points are looked up in
REACH = (1.35, 1.35)  # that picture's half width and half height, decimetres
MIDDLE = 7.1  # the height of its middle
# The left half's points on the neutral face as seen from the front, x and y in decimetres; the right half mirrors it.
INNER = {
    33: (0.0, 6.816), 34: (0.081, 6.825), 35: (0.154, 6.844),
    42: (0.163, 7.277), 43: (0.270, 7.322), 44: (0.348, 7.327), 45: (0.441, 7.290), 46: (0.352, 7.239),
    47: (0.273, 7.2415),
    51: (0.0, 6.697), 52: (0.081, 6.720), 53: (0.179, 6.686), 54: (0.248, 6.610),
    55: (0.185, 6.543), 56: (0.085, 6.501), 57: (0.0, 6.490),
    62: (0.0, 6.614), 63: (0.0975, 6.614), 64: (0.228, 6.618), 65: (0.0975, 6.599), 66: (0.0, 6.597),
}  # fmt: skip
BRIDGE = (27, 30)  # from the height of the eyes to the tip
EYE_LEVEL = 7.284
BROW_SPAN = (0.115, 0.535)  # the painted brow from the nose to the temple, decimetres off the middle
OUTLINE_CENTRE = (0.0, 6.95)  # the outline's lines run outwards from here
# Degrees below the horizontal of the left half's lines, from the ear (point 16) to the chin (point 8).
OUTLINE_ANGLES = (-22.0, -8.0, 6.0, 19.0, 32.0, 45.0, 60.0, 75.0, 90.0)
OUTLINE_FROM, OUTLINE_STEPS = 0.72, 15  # a line begins at this share of its length
EDGE = 0.12  # a step in depth, decimetres: the outline ends there
OUTLINE_DEPTH = 0.6  # and where the face lies further back than this: before the ear
OUTLINE_NEAREST = 0.5  # decimetres off the centre: nearer steps in depth are the mouth's
EDGE_INSET = 0.008  # decimetres that a line ends before it


@cache
def _front() -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
    """Return the neutral face from the front: the skin's triangle, its corner weights and the depth of each pixel."""
    model = load_model()
    width, height = (round(2 * reach / RESOLUTION) for reach in REACH)
    x, y, z = model.vertices.T
    screen = np.stack([(x + REACH[0]) / RESOLUTION, (MIDDLE + REACH[1] - y) / RESOLUTION, z], axis=1)
    hit, weights = np.empty((height, width), np.int32), np.zeros((height, width, 2), np.float32)
    depth = np.full((height, width), -5.0, np.float32)
    skin = np.flatnonzero(model.material == SKIN)
    # The mouth's and the lids' insides are skin as well, but lie further back.
    rasterise(screen, np.ascontiguousarray(model.triangles[skin]), np.zeros(len(skin), np.bool_), hit, weights, depth)
    return np.where(hit >= 0, skin[hit], -1).astype(np.int32), weights, depth


def carried(x: Floats, y: Floats) -> tuple[NDArray[np.intp], Floats]:
    """Return what carries points of the neutral face: three vertices each (n, 3), and their weights (n, 3)."""
    hit, weights, _ = _front()
    column = np.clip(np.rint((x + REACH[0]) / RESOLUTION).astype(int), 0, hit.shape[1] - 1)
    row = np.clip(np.rint((MIDDLE + REACH[1] - y) / RESOLUTION).astype(int), 0, hit.shape[0] - 1)
    if (hit[row, column] < 0).any():
        raise ValueError(f"expected points on the face, got {np.column_stack([x, y])[hit[row, column] < 0]}")
    first = weights[row, column].astype(np.float64)
    return load_model().triangles[hit[row, column]].astype(np.intp), np.column_stack([first, 1 - first.sum(axis=1)])


@cache
def _inner() -> tuple[NDArray[np.intp], Floats]:
    """Return what carries the points from 27 on, (41, 3) each."""
    place = dict(INNER)
    _, _, depth = _front()
    middle = depth[:, depth.shape[1] // 2]
    rows = MIDDLE + REACH[1] - RESOLUTION * np.arange(len(middle))
    tip = float(rows[np.argmax(np.where((rows > 6.5) & (rows < 7.2), middle, -9))])
    for number, y in zip(range(BRIDGE[0], BRIDGE[1] + 1), np.linspace(EYE_LEVEL, tip, 4), strict=True):
        place[number] = (0.0, float(y))
    for number, (x, y) in list(place.items()):
        place[int(MIRRORED[number])] = (-x if MIRRORED[number] != number else x, y)
    x, y = np.array([place[number] for number in range(27, POINTS)]).T
    return carried(x, y)


@cache
def _outline() -> tuple[NDArray[np.intp], Floats, Floats]:
    """Return what carries the outline's lines, (17, STEPS, 3) each, and their directions (17, 2), rows upwards."""
    _, _, depth = _front()
    corners, shares, directions = [], [], []
    for angle in np.deg2rad(OUTLINE_ANGLES):
        outwards = np.array([np.cos(angle), -np.sin(angle)])
        steps = np.arange(OUTLINE_NEAREST, 1.3, RESOLUTION)
        x, y = OUTLINE_CENTRE[0] + steps * outwards[0], OUTLINE_CENTRE[1] + steps * outwards[1]
        column = np.rint((x + REACH[0]) / RESOLUTION).astype(int)
        row = np.rint((MIDDLE + REACH[1] - y) / RESOLUTION).astype(int)
        z = depth[np.clip(row, 0, len(depth) - 1), np.clip(column, 0, depth.shape[1] - 1)]
        end = int(np.argmax((np.diff(z) < -EDGE) | (z[1:] < OUTLINE_DEPTH)))
        along = np.linspace(OUTLINE_FROM, 1, OUTLINE_STEPS) * (steps[end] - EDGE_INSET)
        carriers, weights = carried(OUTLINE_CENTRE[0] + along * outwards[0], OUTLINE_CENTRE[1] + along * outwards[1])
        corners.append(carriers)
        shares.append(weights)
        directions.append(outwards)
    mirrored = []
    for angle, line in zip(np.deg2rad(OUTLINE_ANGLES[:-1]), range(len(corners) - 1), strict=True):
        place = np.einsum("nk,nkd->nd", shares[line], load_model().vertices[corners[line]])
        carriers, weights = carried(-place[:, 0], place[:, 1])
        mirrored.append((carriers, weights, np.array([-np.cos(angle), -np.sin(angle)])))
    lines = [*mirrored, *zip(corners[::-1], shares[::-1], directions[::-1], strict=True)]
    return np.stack([a for a, _, _ in lines]), np.stack([b for _, b, _ in lines]), np.stack([c for _, _, c in lines])


def brows(subject: Subject) -> tuple[NDArray[np.intp], Floats]:
    """Return what carries the points 17 to 26: the middle of the brows as they are painted on this subject."""
    x = np.linspace(BROW_SPAN[1], BROW_SPAN[0], 5)
    along = np.clip((x - 0.10) / 0.46, 0, 1)
    y = 7.47 + subject.brow_height + 0.055 * subject.brow_arch * np.sin(np.pi * 0.85 * along) - 0.03 * along
    return carried(np.concatenate([-x, x[::-1]]), np.concatenate([y, y[::-1]]))


class Carriers:
    """What carries a subject's 68 points.

    Parameters
    ----------
    subject : Subject
        Their brows are painted where nobody else's are.
    """

    def __init__(self, subject: Subject) -> None:
        parts = [brows(subject), _inner()]
        self._corners = np.concatenate([corners for corners, _ in parts])
        self._shares = np.concatenate([shares for _, shares in parts])

    def seen(self, screen: Floats, roll: float) -> Floats:
        """Return where the points are in a picture.

        Parameters
        ----------
        screen : ndarray of shape (V, 3), float64
            Column, row and depth of the posed vertices, as `Scene.project` gives them.
        roll : float
            The head's lean, radians; the outline's lines turn with it.

        Returns
        -------
        points : ndarray of shape (68, 2), float64
            Column and row.
        """
        inner = np.einsum("nk,nkd->nd", self._shares, screen[self._corners, :2])
        corners, shares, directions = _outline()
        lines = np.einsum("lnk,lnkd->lnd", shares, screen[corners, :2])
        cosine, sine = np.cos(roll), np.sin(roll)
        outwards = np.stack(
            [
                cosine * directions[:, 0] - sine * directions[:, 1],
                -(sine * directions[:, 0] + cosine * directions[:, 1]),
            ],
            axis=1,
        )
        furthest = np.argmax(np.einsum("lnd,ld->ln", lines, outwards), axis=1)
        return np.concatenate([lines[np.arange(OUTLINE), furthest], inner])


@cache
def neutral_points() -> Floats:
    """Return the 68 points of the model's own neutral face from the front, (68, 3) decimetres."""
    vertices = load_model().vertices
    x = np.linspace(BROW_SPAN[1], BROW_SPAN[0], 5)
    along = np.clip((x - 0.10) / 0.46, 0, 1)
    y = 7.47 + 0.05 * np.sin(np.pi * 0.85 * along) - 0.03 * along
    brow = carried(np.concatenate([-x, x[::-1]]), np.concatenate([y, y[::-1]]))
    inner = [np.einsum("nk,nkd->nd", shares, vertices[corners]) for corners, shares in (brow, _inner())]
    corners, shares, directions = _outline()
    lines = np.einsum("lnk,lnkd->lnd", shares, vertices[corners])
    furthest = np.argmax(np.einsum("lnd,ld->ln", lines[..., :2], directions), axis=1)
    return np.concatenate([lines[np.arange(OUTLINE), furthest], *inner])
