"""What people wear on the face: glasses, and hair that hangs over the forehead. Both follow the head, not the skin.

Lengths are decimetres in the face model's axes: x to the subject's left, y up, z out of the face.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from fastck.kernels.raster import TONGUE, rasterise
from fastck.render.model import load_model
from fastck.render.subject import Subject

# Materials beside the model's own: their colours follow those of teeth and tongue.
FRAME, STRANDS = TONGUE + 1, (TONGUE + 2, TONGUE + 3, TONGUE + 4)
STRAND_SHADES = (0.75, 1.0, 1.3)
FRAME_COLOURS = ((0.02, 0.02, 0.02), (0.10, 0.05, 0.03), (0.30, 0.24, 0.16), (0.25, 0.26, 0.28), (0.06, 0.07, 0.14))
LENS_CENTRE = 0.045  # a lens' middle lies this much further out than the eye's
CLEARANCE = 0.05  # between skin and the back of the frame
TUBE_SIDES, RIM_POINTS = 8, 40
TEMPLE_LENGTH = 0.9
RELIEF_STEP = 0.02  # a cell of the relief
RELIEF_SPAN = (1.2, 1.4)  # half its width; its reach above and below the eyes
N_STRANDS, STRAND_POINTS = 150, 9
STRAND_WIDTH = (0.035, 0.006)  # at the root and at the tip
FRINGE_SPAN = 0.62  # the fringe reaches this far to each side
FRINGE_ROOT = (0.02, 0.16)  # strands begin this far above the hairline
FRINGE_DEPTH = 0.35  # strands that hang further behind the eyes than this would stand off the temples


@dataclass(frozen=True, kw_only=True)
class Glasses:
    """A pair of glasses.

    Attributes
    ----------
    width, height : float
        Of one lens, decimetres.
    squareness : float
        2 is an ellipse, more is closer to a rectangle.
    thickness : float
        Radius of the rim, decimetres.
    colour : tuple of float
        Linear RGB of the frame.
    veil, glare : float
        Linear brightness of the lenses' reflection all over, and of the streak.
    streak : float
        Where the streak lies across a lens, -1 to 1.
    """

    width: float
    height: float
    squareness: float
    thickness: float
    colour: tuple[float, float, float]
    veil: float
    glare: float
    streak: float


@dataclass(frozen=True, kw_only=True)
class Fringe:
    """Hair over the forehead.

    Attributes
    ----------
    reach : float
        Height of the longest strands' tips above the eyes' middle, decimetres; brows lie at about 0.2.
    sweep : float
        How far the tips are combed to one side, decimetres.
    seed : int
        Of the single strands.
    """

    reach: float
    sweep: float
    seed: int


@dataclass(frozen=True, kw_only=True)
class Worn:
    """What one person wears on the face; None is nothing."""

    glasses: Glasses | None = None
    fringe: Fringe | None = None


@dataclass(frozen=True, kw_only=True)
class WornMesh:
    """Geometry to add to a head: vertices (V, 3), triangles (F, 3) from 0, materials (F,), outlines of the lenses."""

    vertices: np.ndarray
    triangles: np.ndarray
    material: np.ndarray
    lenses: tuple[np.ndarray, ...]


def draw_worn(rng: np.random.Generator, *, glasses: float, fringe: float) -> Worn:
    """Draw what a person wears: glasses with the one probability, a fringe with the other; always the same draws."""
    frames, hair = rng.spawn(2)
    has_glasses, has_fringe = frames.random() < glasses, hair.random() < fringe
    pair = Glasses(
        width=float(frames.uniform(0.44, 0.56)),
        height=float(frames.uniform(0.30, 0.42)),
        squareness=float(frames.uniform(2.0, 4.5)),
        thickness=float(frames.uniform(0.010, 0.024)),
        colour=FRAME_COLOURS[frames.integers(len(FRAME_COLOURS))],
        veil=float(frames.uniform(0.0, 0.04)),
        glare=float(frames.uniform(0.0, 0.25)),
        streak=float(frames.uniform(-0.8, 0.8)),
    )
    cut = Fringe(
        reach=float(hair.uniform(0.08, 0.26)), sweep=float(hair.normal(0, 0.18)), seed=int(hair.integers(2**31))
    )
    return Worn(glasses=pair if has_glasses else None, fringe=cut if has_fringe else None)


def build_worn(worn: Worn, subject: Subject, vertices: np.ndarray) -> WornMesh:
    """Fit what a person wears to their neutral head (V, 3), hair included."""
    eyes = np.unique(load_model().triangles[load_model().material == 1])
    left_eye = eyes[vertices[eyes, 0] > 0]
    eye = vertices[left_eye].mean(axis=0)
    relief = make_relief(vertices, eye[1])
    parts: list[tuple[np.ndarray, np.ndarray, int]] = []
    lenses: list[np.ndarray] = []
    if worn.glasses is not None:
        parts, lenses = glasses_parts(worn.glasses, eye, vertices, relief)
    if worn.fringe is not None:
        parts += fringe_parts(worn.fringe, subject, eye, vertices, relief)
    start, points, triangles, materials = 0, [], [], []
    for part, faces, material in parts:
        points.append(part)
        triangles.append(faces + start)
        materials.append(np.full(len(faces), material, np.uint8))
        start += len(part)
    outlines = []
    for lens in lenses:
        points.append(lens)
        outlines.append(np.arange(start, start + len(lens)))
        start += len(lens)
    return WornMesh(
        vertices=np.concatenate(points) if points else np.empty((0, 3)),
        triangles=np.concatenate(triangles).astype(np.int32) if triangles else np.empty((0, 3), np.int32),
        material=np.concatenate(materials) if materials else np.empty(0, np.uint8),
        lenses=tuple(outlines),
    )


def worn_colours(worn: Worn, subject: Subject) -> np.ndarray:
    """Return the linear RGB of the worn materials, (4, 3): frame and three shades of hair."""
    frame = (0.0, 0.0, 0.0) if worn.glasses is None else worn.glasses.colour
    return np.array([frame, *(np.clip(shade * subject.hair, 0, 1) for shade in STRAND_SHADES)])


@dataclass(frozen=True, kw_only=True)
class Relief:
    """How far out the face reaches over a grid: `depth` (rows, columns), its left edge and its top."""

    depth: np.ndarray
    left: float
    top: float

    def at(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the depth at points of the face, decimetres."""
        column = np.clip(np.rint((x - self.left) / RELIEF_STEP).astype(int), 0, self.depth.shape[1] - 1)
        row = np.clip(np.rint((self.top - y) / RELIEF_STEP).astype(int), 0, self.depth.shape[0] - 1)
        return self.depth[row, column]


def make_relief(vertices: np.ndarray, eye_height: float) -> Relief:
    """Measure the face's relief from the front, smoothed over half a centimetre."""
    model = load_model()
    half, reach = RELIEF_SPAN
    rows, columns = round(2 * reach / RELIEF_STEP), round(2 * half / RELIEF_STEP)
    top = eye_height + reach
    screen = np.stack(
        [(vertices[:, 0] + half) / RELIEF_STEP, (top - vertices[:, 1]) / RELIEF_STEP, vertices[:, 2]], axis=1
    )
    hit = np.empty((rows, columns), np.int32)
    depth = np.zeros((rows, columns), np.float32)
    rasterise(
        screen,
        model.triangles,
        np.zeros(len(model.triangles), np.bool_),
        hit,
        np.zeros((rows, columns, 2), np.float32),
        depth,
    )
    smooth = cv2.GaussianBlur(cv2.dilate(depth, np.ones((3, 3), np.uint8)), (0, 0), 1.5)
    return Relief(depth=smooth.astype(np.float64), left=-half, top=top)


def tube(path: np.ndarray, radius: float, across: np.ndarray, *, closed: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return vertices and triangles of a round tube along a path (n, 3); `across` is never along the path."""
    along = np.roll(path, -1, axis=0) - np.roll(path, 1, axis=0) if closed else np.gradient(path, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    first = np.cross(along, across)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second = np.cross(along, first)
    angle = 2 * np.pi * np.arange(TUBE_SIDES) / TUBE_SIDES
    ring = np.cos(angle)[:, None, None] * first + np.sin(angle)[:, None, None] * second
    vertices = (path + radius * ring).transpose(1, 0, 2).reshape(-1, 3)
    count = len(path)
    here = np.arange(count if closed else count - 1)[:, None]
    beyond = (here + 1) % count
    side = np.arange(TUBE_SIDES)[None, :]
    after = (side + 1) % TUBE_SIDES
    a, b = here * TUBE_SIDES + side, here * TUBE_SIDES + after
    c, d = beyond * TUBE_SIDES + side, beyond * TUBE_SIDES + after
    # Counter-clockwise from outside: `second` lies a quarter turn after `first`, seen along the path.
    triangles = np.concatenate([np.stack([a, b, d], -1).reshape(-1, 3), np.stack([a, d, c], -1).reshape(-1, 3)])
    return vertices, triangles


def glasses_parts(
    glasses: Glasses, eye: np.ndarray, vertices: np.ndarray, relief: Relief
) -> tuple[list[tuple[np.ndarray, np.ndarray, int]], list[np.ndarray]]:
    """Return the frame's parts (vertices, triangles, material), and the outlines of both lenses."""
    angle = 2 * np.pi * np.arange(RIM_POINTS) / RIM_POINTS
    power = 2 / glasses.squareness
    cosine, sine = np.cos(angle), np.sin(angle)
    x = eye[0] + LENS_CENTRE + glasses.width / 2 * np.sign(cosine) * np.abs(cosine) ** power
    y = eye[1] - 0.02 + glasses.height / 2 * np.sign(sine) * np.abs(sine) ** power
    # The frame bends a little round the face, and stands off the skin wherever it is nearest.
    bend = -0.16 * x**2
    upper = y > eye[1] - 0.05
    stand = float(np.max(relief.at(x, y)[upper] - bend[upper])) + CLEARANCE + glasses.thickness
    z = stand + bend
    forwards, upwards = np.array([0.0, 0.0, 1.0]), np.array([0.0, 1.0, 0.0])
    parts, lenses = [], []
    for side in (1.0, -1.0):
        rim = np.stack([side * x, y, z], axis=1)
        parts.append((*tube(rim, glasses.thickness, forwards, closed=True), FRAME))
        lenses.append(rim)
        hinge = np.array([side * x.max(), eye[1] + 0.25 * glasses.height, z[np.argmax(x)]])
        # The ears lie further back, and would push the temples out.
        temple = np.abs(vertices[(np.abs(vertices[:, 1] - eye[1]) < 0.15) & (vertices[:, 2] > eye[2] - 0.45), 0]).max()
        end = np.array([side * temple, eye[1] + 0.1, hinge[2] - TEMPLE_LENGTH])
        share = np.linspace(0, 1, 9)[:, None]
        # It runs outwards first, past the temple, and then straight back.
        path = hinge + (end - hinge) * np.concatenate([share**0.7, share, share], axis=1)
        parts.append((*tube(path, 0.8 * glasses.thickness, upwards, closed=False), FRAME))
    inner = float(x.min())
    across = np.linspace(-inner, inner, 9)
    arch = 1 - (across / inner) ** 2
    bridge = np.stack([across, eye[1] + 0.05 + 0.04 * arch, z[np.argmin(x)] + 0.03 * arch], axis=1)
    parts.append((*tube(bridge, glasses.thickness, forwards, closed=False), FRAME))
    return parts, lenses


def fringe_parts(
    fringe: Fringe, subject: Subject, eye: np.ndarray, vertices: np.ndarray, relief: Relief
) -> list[tuple[np.ndarray, np.ndarray, int]]:
    """Return the strands' parts (vertices, triangles, material): narrow strips that hang over the forehead."""
    neutral = load_model().vertices
    line = 8.0 + subject.hairline
    near = (np.abs(neutral[:, 0]) < 0.3) & (np.abs(neutral[:, 1] - line) < 0.12) & (neutral[:, 2] > 0.6)
    hairline = float(vertices[near, 1].mean()) if near.any() else eye[1] + 0.75
    rng = np.random.default_rng(fringe.seed)
    parts = []
    along = np.linspace(0, 1, STRAND_POINTS)
    for _ in range(N_STRANDS):
        root_x = rng.uniform(-FRINGE_SPAN, FRINGE_SPAN)
        root_y = hairline + rng.uniform(*FRINGE_ROOT) - 0.35 * max(abs(root_x) - 0.45, 0.0)
        tip_y = eye[1] + fringe.reach + rng.gamma(2.0, 0.035)
        lean = fringe.sweep + rng.normal(0, 0.04) + 0.06 * root_x
        x = root_x + lean * along**1.5
        y = root_y + (tip_y - root_y) * along
        lift = rng.uniform(0.03, 0.06) * np.sin(np.pi * np.clip(along + 0.1, 0, 0.75)) + 0.01
        ground = relief.at(x, y)
        if ground.min() < eye[2] - FRINGE_DEPTH:
            continue
        z = ground + lift
        width = STRAND_WIDTH[0] + (STRAND_WIDTH[1] - STRAND_WIDTH[0]) * along**1.5
        middle = np.stack([x, y, z], axis=1)
        # Strands lie flat on a forehead that is rounder towards the temples.
        across = np.stack([width / 2, np.zeros_like(width), -0.4 * root_x * width], axis=1)
        points = np.concatenate([middle - across, middle + across])
        a = np.arange(STRAND_POINTS - 1)
        b, c, d = a + 1, a + STRAND_POINTS, a + STRAND_POINTS + 1
        triangles = np.concatenate([np.stack([a, b, d], axis=1), np.stack([a, d, c], axis=1)])
        parts.append((points, triangles, STRANDS[rng.integers(len(STRANDS))]))
    return parts


def add_glare(image: np.ndarray, outline: np.ndarray, glasses: Glasses, *, yaw: float) -> None:
    """Lay a lens' reflection over an image (H, W, C) float32, in place.

    Parameters
    ----------
    image : ndarray of shape (H, W, C), float32
        Linear brightness, 0 to 1.
    outline : ndarray of shape (n, 2)
        Pixel columns and rows of the lens' edge.
    glasses : Glasses
        How it reflects.
    yaw : float
        The head's turn, radians; the streak slides with it.
    """
    left, top = np.maximum(np.floor(outline.min(axis=0)).astype(int), 0)
    right, bottom = np.minimum(np.ceil(outline.max(axis=0)).astype(int) + 1, (image.shape[1], image.shape[0]))
    if right <= left or bottom <= top:
        return
    inside = np.zeros((bottom - top, right - left), np.uint8)
    # Eight fractional bits keep the edge from jumping by whole pixels.
    cv2.fillPoly(inside, [np.rint((outline - (left, top)) * 256).astype(np.int32)], 255, cv2.LINE_AA, 8)
    rows, columns = np.mgrid[0 : bottom - top, 0 : right - left]
    height, width = inside.shape
    slant = (columns / width + 0.6 * rows / height - 0.8) * 2
    streak = np.exp(-(((slant - glasses.streak - 8.0 * yaw) / 0.22) ** 4))
    brightness = (glasses.veil + glasses.glare * streak) * (inside / 255.0)
    cut = image[top:bottom, left:right]
    cut += (brightness[..., None] * (1 - cut)).astype(np.float32)
