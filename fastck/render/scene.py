"""One frame: pose the head, project, rasterise, shade and expose.

All that depends on the subject alone is prepared once (`Scene`); a frame runs compiled loops and a few small blurs.
"""

import cv2
import numpy as np

from fastck.kernels.raster import TEETH, expose, rasterise, shade, vertex_normals
from fastck.render.model import deform, load_model
from fastck.render.motion import Pose
from fastck.render.paint import canvas, hair_displacement, paint_flat, paint_subject
from fastck.render.subject import WIDTH, Subject
from fastck.render.worn import Worn, add_glare, build_worn, worn_colours

CAMERA_DISTANCE = 12.0  # decimetres: a portrait distance, mild perspective
AIM = np.array([0.0, -0.25, 0.6])  # the camera's target: x and z in the model, y from the middle of the eyes
CENTRE_ROW = 0.52  # the target's row as a fraction of the height
NECK = np.array([0.0, 6.2, 0.0])  # the head turns about the top of the spine
NECK_RANGE = (5.6, 6.55)  # height + NECK_SLOPE * depth, decimetres: below it nothing turns, above it all
NECK_SLOPE = 0.35
EYE_CENTRE = np.array([0.3078, 7.284, 1.245], np.float32)  # mean of the left eyeball's neutral vertices; x flips right
BACKGROUND_DEPTH = -2.0  # decimetres behind the target
OCCLUSION_BLUR = (2.5, 6.5, 15.5)  # pixels: creases, eye sockets, chin on neck
OCCLUSION_STRENGTH = np.array([4.8, 3.3, 1.5], np.float32)  # light lost per decimetre
OCCLUSION_REDUCTION = (2, 4, 8)  # each blur runs on a picture this much smaller
LENS_BLUR = 0.7  # pixels
CURVE = 4096  # entries of the tone curve
BACKDROP_TINT = np.array([0.95, 0.97, 1.0])
BARE = Worn()


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Return the 3x3 matrix that turns the head by yaw, then pitch, then roll (radians)."""
    turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    nod = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    lean = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    return lean @ nod @ turn


def turned_light(direction: np.ndarray, angle: float) -> np.ndarray:
    """Return a light's direction (3,) float32 after it went round the head's upright axis by an angle in radians."""
    x, y, z = direction
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return np.array([cosine * x + sine * z, y, cosine * z - sine * x], np.float32)


def blur_depth(depth: np.ndarray, out: np.ndarray) -> None:
    """Fill `out` (K, H, W) float32 with blurred copies of `depth`, made on smaller pictures: they are smooth anyway."""
    height, width = depth.shape
    for level, (sigma, reduction) in enumerate(zip(OCCLUSION_BLUR, OCCLUSION_REDUCTION, strict=True)):
        small = cv2.resize(depth, (width // reduction, height // reduction), interpolation=cv2.INTER_AREA)
        small = cv2.GaussianBlur(small, (0, 0), sigma / reduction)
        cv2.resize(small, (width, height), dst=out[level], interpolation=cv2.INTER_LINEAR)


class Buffers:
    """The pictures that a frame is made in, kept from frame to frame: fresh memory costs as much as the shading."""

    def __init__(self, height: int, channels: int) -> None:
        shape = (height, WIDTH)
        self.hit = np.empty(shape, np.int32)
        self.weights = np.empty((*shape, 2), np.float32)
        self.depth = np.empty(shape, np.float32)
        self.blurred = np.empty((len(OCCLUSION_BLUR), *shape), np.float32)
        self.image = np.empty((*shape, channels), np.float32)
        self.sharp = np.empty((*shape, channels), np.float32)


class Scene:
    """A subject in front of the camera, ready to render frames; safe to share between threads.

    Parameters
    ----------
    subject : Subject
        Who, and how they are lit and recorded.
    noise : float
        Standard deviation of the sensor noise in gray levels, scaled by the subject's own factor.
    worn : Worn
        What the subject wears on the face.

    Attributes
    ----------
    shape : tuple of int
        (H, W) of gray frames, (H, W, 3) of colour ones.
    backdrop : ndarray of shape (H, W, C), float32
        Linear brightness behind the head, C is 1 or 3; another picture may take its place.
    """

    def __init__(self, subject: Subject, *, noise: float, worn: Worn = BARE) -> None:
        self.subject = subject
        self.shape = (subject.height, WIDTH, 3) if subject.colour else (subject.height, WIDTH)
        self._model = load_model()
        self._paint = paint_subject(subject)
        self._noise = noise * subject.noise
        neutral = self._model.vertices
        reach = (neutral[:, 1] + NECK_SLOPE * neutral[:, 2] - NECK_RANGE[0]) / (NECK_RANGE[1] - NECK_RANGE[0])
        reach = np.clip(reach, 0, 1)
        self._head_share = (reach * reach * (3 - 2 * reach))[:, None]
        self._neutral = neutral.astype(np.float32)
        normals = np.empty_like(self._neutral)
        vertex_normals(subject.vertices, self._model.triangles, normals)
        self._vertices = subject.vertices + normals * hair_displacement(subject)[:, None]
        self._worn, self._mesh = worn, build_worn(worn, subject, self._vertices)
        self._triangles = np.concatenate([self._model.triangles, self._mesh.triangles + len(neutral)])
        self._material = np.concatenate([self._model.material, self._mesh.material])
        self._two_sided = self._material >= TEETH
        self._flat = np.concatenate([self._paint.flat, paint_flat(worn_colours(worn, subject), subject)])
        self._target = AIM + np.array([0.0, subject.eye_height, 0.0])
        levels = np.linspace(0, 1, CURVE)
        self._curve = (255 * levels ** (1 / subject.gamma)).astype(np.float32)
        self.backdrop = self._make_backdrop()

    def buffers(self) -> Buffers:
        """Return the working memory for this scene's frames."""
        return Buffers(self.subject.height, 3 if self.subject.colour else 1)

    def _make_backdrop(self) -> np.ndarray:
        """Return the empty picture (H, W, C) float32: a slanted gradient."""
        corners = np.array(self.subject.backdrop, np.float64).reshape(2, 2)
        rows = np.linspace(0, 1, self.subject.height)[:, None]
        columns = np.linspace(0, 1, WIDTH)[None, :]
        left = corners[0, 0] + rows * (corners[1, 0] - corners[0, 0])
        right = corners[0, 1] + rows * (corners[1, 1] - corners[0, 1])
        gray = left + columns * (right - left)
        tint = BACKDROP_TINT if self.subject.colour else np.ones(1)
        return np.ascontiguousarray(gray[..., None] * tint, dtype=np.float32)

    def pose(self, pose: Pose) -> np.ndarray:
        """Return the vertices (V, 3) of a pose, decimetres: the head's, then those of what it wears."""
        vertices = deform(self._model, self._vertices, pose.weights)
        turn = rotation(pose.yaw, pose.pitch, pose.roll)
        turned = (vertices - NECK) @ turn.T + NECK
        turned[:, :2] += pose.shift
        head = vertices + self._head_share * (turned - vertices)
        worn = (self._mesh.vertices - NECK) @ turn.T + NECK
        worn[:, :2] += pose.shift
        return np.concatenate([head, worn])

    def project(self, vertices: np.ndarray) -> np.ndarray:
        """Return (V, 3): pixel column, pixel row, and depth in decimetres, larger is nearer."""
        subject = self.subject
        x, y, z = (vertices - self._target).T
        perspective = subject.scale * CAMERA_DISTANCE / (CAMERA_DISTANCE - z)
        column = WIDTH / 2 + subject.shift[0] + x * perspective
        row = subject.height * CENTRE_ROW + subject.shift[1] - y * perspective
        return np.stack([column, row, z], axis=1)

    def render(self, pose: Pose, *, key: int, buffers: Buffers | None = None) -> np.ndarray:
        """Render one frame.

        Parameters
        ----------
        pose : Pose
            Expression and head turn.
        key : int
            Seeds the sensor noise, 0 to 2**63 - 1.
        buffers : Buffers, optional
            From `buffers()`, to be used again for the next frame; not by two threads at once.

        Returns
        -------
        frame : ndarray of shape (H, W) or (H, W, 3), uint8
            Gray, or RGB for a subject recorded in colour.
        """
        subject, paint = self.subject, self._paint
        vertices = self.pose(pose)
        screen = self.project(vertices)
        normals = np.empty(vertices.shape, np.float32)
        vertex_normals(vertices, self._triangles, normals)
        light = turned_light(subject.key, pose.light_turn)

        kept = self.buffers() if buffers is None else buffers
        kept.depth.fill(BACKGROUND_DEPTH)
        rasterise(screen, self._triangles, self._two_sided, kept.hit, kept.weights, kept.depth)
        blur_depth(kept.depth, kept.blurred)
        np.copyto(kept.sharp, self.backdrop)
        powers = (subject.key_power * pose.light_gain, subject.fill_power, subject.ambient)
        shade(
            (kept.hit, kept.weights, kept.depth, kept.blurred, OCCLUSION_STRENGTH),
            normals,
            (self._triangles, self._material, canvas().texel, self._neutral, EYE_CENTRE),
            (paint.texture, paint.eyes, self._flat),
            (light, subject.fill, *map(np.float32, powers)),
            kept.sharp,
        )
        if self._worn.glasses is not None:
            for outline in self._mesh.lenses:
                edge = screen[len(self._vertices) + outline, :2]
                add_glare(kept.sharp, edge, self._worn.glasses, yaw=pose.yaw)
        image = kept.image
        cv2.GaussianBlur(kept.sharp, (0, 0), LENS_BLUR, dst=image)
        frame = np.empty(image.shape, np.uint8)
        expose(image.ravel(), self._curve, np.float32(self._noise), np.uint64(key), frame.ravel())
        return frame if subject.colour else frame[..., 0]
