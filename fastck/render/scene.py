"""One frame: pose the head, project, rasterise, shade and expose.

All that depends on the subject alone is prepared once (`Scene`); a frame runs compiled loops and a few small blurs.
"""

import cv2
import numpy as np

from fastck.kernels.raster import TEETH, TONGUE, expose, rasterise, shade, vertex_normals
from fastck.render.expression import Pose
from fastck.render.model import deform, load_model
from fastck.render.paint import canvas, hair_displacement, paint_subject
from fastck.render.subject import WIDTH, Subject

CAMERA_DISTANCE = 12.0  # decimetres: a portrait distance, mild perspective
AIM = np.array([0.0, -0.25, 0.6])  # the camera's target: x and z in the model, y from the middle of the eyes
CENTRE_ROW = 0.52  # the target's row as a fraction of the height
NECK = np.array([0.0, 6.2, 0.0])  # the head turns about the top of the spine
NECK_RANGE = (5.6, 6.55)  # height + NECK_SLOPE * depth, decimetres: below it nothing turns, above it all
NECK_SLOPE = 0.35
EYE_CENTRE = np.array([0.3078, 7.284, 1.245], np.float32)  # mean of the left eyeball's neutral vertices; x flips right
EYE_GLOSS, MOUTH_POWER = 0.5, 1.8  # the mouth's inside gets less light than the depth test alone says
BACKGROUND_DEPTH = -2.0  # decimetres behind the target
OCCLUSION = ((2.5, 4.8), (6.5, 3.3), (15.5, 1.5))  # (blur in pixels, strength): creases, sockets, chin on neck
OCCLUSION_BIAS, OCCLUSION_LIMIT = 0.004, 0.55
OCCLUSION_REDUCTIONS = (1, 2, 4)  # each blur runs on a picture this much smaller
LENS_BLUR = 0.7  # pixels
CURVE = 4096  # entries of the tone curve
BACKDROP_TINT = np.array([0.95, 0.97, 1.0])


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Return the 3x3 matrix that turns the head by yaw, then pitch, then roll (radians)."""
    turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    nod = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    lean = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    return lean @ nod @ turn


def occlusion(depth: np.ndarray) -> np.ndarray:
    """Return how open each pixel is to ambient light (H, W) float32: less where the surroundings lie nearer."""
    height, width = depth.shape
    openness = np.ones_like(depth)
    for (sigma, strength), reduction in zip(OCCLUSION, OCCLUSION_REDUCTIONS, strict=True):
        small = depth
        if reduction > 1:
            small = cv2.resize(depth, (width // reduction, height // reduction), interpolation=cv2.INTER_AREA)
        blurred = cv2.GaussianBlur(small, (0, 0), sigma / reduction)
        if reduction > 1:
            blurred = cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR)
        sunk = np.clip(strength * (blurred - depth - OCCLUSION_BIAS), 0, OCCLUSION_LIMIT)
        openness *= 1 - sunk
    return openness


class Scene:
    """A subject in front of the camera, ready to render frames; safe to share between threads.

    Parameters
    ----------
    subject : Subject
        Who, and how they are lit and recorded.
    noise : float
        Standard deviation of the sensor noise in grey levels, scaled by the subject's own factor.

    Attributes
    ----------
    shape : tuple of int
        (H, W) of gray frames, (H, W, 3) of colour ones.
    """

    def __init__(self, subject: Subject, *, noise: float) -> None:
        self.subject = subject
        self.shape = (subject.height, WIDTH, 3) if subject.colour else (subject.height, WIDTH)
        self._model = load_model()
        self._paint = paint_subject(subject)
        self._noise = noise * subject.noise
        neutral = self._model.vertices
        reach = (neutral[:, 1] + NECK_SLOPE * neutral[:, 2] - NECK_RANGE[0]) / (NECK_RANGE[1] - NECK_RANGE[0])
        reach = np.clip(reach, 0, 1)
        self._head_share = (reach * reach * (3 - 2 * reach))[:, None]
        self._two_sided = (self._model.material == TEETH) | (self._model.material == TONGUE)
        self._neutral = neutral.astype(np.float32)
        normals = np.empty_like(self._neutral)
        vertex_normals(subject.vertices, self._model.triangles, normals)
        self._vertices = subject.vertices + normals * hair_displacement(subject)[:, None]
        self._target = AIM + np.array([0.0, subject.eye_height, 0.0])
        levels = np.linspace(0, 1, CURVE)
        self._curve = (255 * levels ** (1 / subject.gamma)).astype(np.float32)
        self._backdrop = self._make_backdrop()

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
        """Return the vertices (V, 3) of a pose, decimetres."""
        vertices = deform(self._model, self._vertices, pose.weights)
        turned = (vertices - NECK) @ rotation(pose.yaw, pose.pitch, pose.roll).T + NECK
        turned[:, :2] += pose.shift
        return vertices + self._head_share * (turned - vertices)

    def project(self, vertices: np.ndarray) -> np.ndarray:
        """Return (V, 3): pixel column, pixel row, and depth in decimetres, larger is nearer."""
        subject = self.subject
        x, y, z = (vertices - self._target).T
        perspective = subject.scale * CAMERA_DISTANCE / (CAMERA_DISTANCE - z)
        column = WIDTH / 2 + subject.shift[0] + x * perspective
        row = subject.height * CENTRE_ROW + subject.shift[1] - y * perspective
        return np.stack([column, row, z], axis=1)

    def render(self, pose: Pose, *, key: int) -> np.ndarray:
        """Render one frame.

        Parameters
        ----------
        pose : Pose
            Expression and head turn.
        key : int
            Seeds the sensor noise, 0 to 2**63 - 1.

        Returns
        -------
        frame : ndarray of shape (H, W) or (H, W, 3), uint8
            Gray, or RGB for a subject recorded in colour.
        """
        subject, model, paint = self.subject, self._model, self._paint
        vertices = self.pose(pose)
        screen = self.project(vertices)
        normals = np.empty(vertices.shape, np.float32)
        vertex_normals(vertices, model.triangles, normals)

        hit = np.empty(self.shape[:2], np.int32)
        weights = np.empty((*self.shape[:2], 2), np.float32)
        depth = np.full(self.shape[:2], BACKGROUND_DEPTH, np.float32)
        rasterise(screen, model.triangles, self._two_sided, hit, weights, depth)

        image = self._backdrop.copy()
        shade(
            hit, weights, occlusion(depth), model.triangles, model.material, canvas().texel, normals, self._neutral,
            paint.texture, paint.eyes, paint.flat, subject.key, subject.fill, np.float32(subject.key_power),
            np.float32(subject.fill_power), np.float32(subject.ambient), EYE_CENTRE, np.float32(EYE_GLOSS),
            np.float32(MOUTH_POWER), image,
        )  # fmt: skip
        image = cv2.GaussianBlur(image, (0, 0), LENS_BLUR).reshape(image.shape)  # OpenCV drops a channel axis of 1
        frame = np.empty(image.shape, np.uint8)
        expose(image, self._curve, np.float32(self._noise), np.uint64(key), frame)
        return frame if subject.colour else frame[..., 0]
