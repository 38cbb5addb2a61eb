"""Painting: everything about a person's colours that does not change from frame to frame, baked into one texture.

The paint is evaluated once per subject on the texels that the camera can see, so that a frame only has to look them up.
"""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from fastck.kernels.raster import EYE, SKIN, rasterise, vertex_normals
from fastck.render.model import load_model
from fastck.render.subject import Subject

SIZE = 1536  # texels per side: about one and a half per pixel of the face
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as OpenCV converts to gray
LIP_TINT = np.array([0.86, 0.52, 0.50], np.float32)  # relative to the skin
FRECKLE_TINT = np.array([0.6, 1.0, 1.2], np.float32)  # how much of each channel a freckle takes
MOUTH_INSIDE = np.array([0.25, 0.08, 0.07])
TEETH, TONGUE = np.array([0.85, 0.82, 0.74]), np.array([0.55, 0.25, 0.25])
SCLERA = np.array([0.74, 0.72, 0.70])
SKIN_GLOSS, LIP_GLOSS = 0.12, 0.15  # weights of the broad highlight; the lips' adds to the skin's
SHIRT_GLOSS = 0.15  # relative to skin
NOISE_OCTAVES = ((64, 0.5), (256, 0.6), (1024, 0.8))  # (cells per side, weight): blotches, mottling, pores
IRIS_ANGLE, PUPIL_ANGLE, RIM_ANGLE = 0.53, 0.22, 0.46  # radians off the eye's axis; the dark rim ends at the iris
EYE_TABLE = 512  # entries over the cosine off the eye's axis, 0.5 to 1
BACK_FACING = -0.35  # neutral normals below this z are never seen: the head turns by a few tens of degrees at most


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """The texels the camera can see, in one flat order (N texels); shared by all subjects.

    Attributes
    ----------
    where : tuple of ndarray of shape (N,), intp
        Row and column of each texel.
    noise, x, y, z : ndarray of shape (N,), float32
        Fixed skin noise, and the point on the model's own neutral face (decimetres; x without sign).
    lips, lids, ears : ndarray of shape (N,), float32
        Painting masks in 0..1.
    mouth, shirt : ndarray of shape (N,), bool
        Inside the mouth; below the neckline.
    brow_area, hair_area, beard_area : ndarray of shape (K,), intp
        The texels where that layer can cover anything; the rest need not be computed.
    texel : ndarray of shape (F, 3, 2), float32
        Texture column and row of every triangle's corners.
    """

    where: tuple[np.ndarray, np.ndarray]
    noise: np.ndarray
    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    lips: np.ndarray
    lids: np.ndarray
    ears: np.ndarray
    mouth: np.ndarray
    shirt: np.ndarray
    brow_area: np.ndarray
    hair_area: np.ndarray
    beard_area: np.ndarray
    texel: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Paint:
    """A subject's colours as `fastck.kernels.raster.shade` reads them; C is 1 (gray) or 3 (RGB).

    Attributes
    ----------
    texture : ndarray of shape (SIZE, SIZE, C + 2), uint8
        Square roots of linear colour and of gloss (255 is 1), and whether a texel is inside the mouth.
    eyes : ndarray of shape (EYE_TABLE, C), float32
        Colour of the eyeball over the cosine off its axis, 0.5 to 1.
    flat : ndarray of shape (2, C), float32
        Teeth and tongue.
    """

    texture: np.ndarray
    eyes: np.ndarray
    flat: np.ndarray


def soft_step(value: np.ndarray, edge: float | np.ndarray, width: float) -> np.ndarray:
    """Return 0 below `edge` and 1 above it, with a logistic ramp; a negative width turns it round."""
    return 1 / (1 + np.exp(np.clip((edge - value) / width, -30, 30)))


def mix(colour: np.ndarray, other: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    """Return (N, 3) `colour` covered by `other` with the opacity (N,)."""
    return colour + opacity[:, None] * (other - colour)


def skin_noise() -> np.ndarray:
    """Return the fixed texture noise (SIZE, SIZE) float32 that skin and hair share."""
    rng = np.random.default_rng(0)  # the same pores for everyone; their contrast is the subject's
    texture = np.zeros((SIZE, SIZE), np.float32)
    for cells, weight in NOISE_OCTAVES:
        coarse = rng.standard_normal((cells, cells)).astype(np.float32)
        texture += weight * cv2.resize(coarse, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    return texture


@cache
def canvas() -> Canvas:
    """Lay the model's skin out in texture space, once per process."""
    model = load_model()
    position = np.stack(
        [model.uv[:, 0] * SIZE - 0.5, (1 - model.uv[:, 1]) * SIZE - 0.5, np.zeros(len(model.uv))], axis=1
    )
    texel = np.ascontiguousarray(position[model.uv_triangles][..., :2], dtype=np.float32)

    normals = np.empty(model.vertices.shape, np.float32)
    vertex_normals(model.vertices, model.triangles, normals)
    seen = np.flatnonzero((model.material == SKIN) & (normals[model.triangles, 2].max(axis=1) > BACK_FACING))
    hit = np.empty((SIZE, SIZE), np.int32)
    weights = np.empty((SIZE, SIZE, 2), np.float32)
    rasterise(
        position,
        np.ascontiguousarray(model.uv_triangles[seen]),
        np.ones(len(seen), np.bool_),
        hit,
        weights,
        np.zeros_like(hit, np.float32),
    )
    # Bilinear look-ups read a little outside the triangles: repeat the nearest covered texel there.
    covered = hit >= 0
    distance, label = cv2.distanceTransformWithLabels(
        (~covered).astype(np.uint8), cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
    )
    source = np.zeros(label.max() + 1, np.intp)
    source[label[covered]] = np.flatnonzero(covered)
    rows, columns = np.nonzero(distance < 3)
    where = (rows, columns)
    nearest = source[label[where]]

    corners = model.triangles[seen][hit.ravel()[nearest]]
    first, second = weights.reshape(-1, 2)[nearest].T
    share = np.stack([first, second, 1 - first - second], axis=1)
    point = np.einsum("nk,nkd->nd", share, model.vertices[corners].astype(np.float32))

    x, y, z = np.abs(point[:, 0]), point[:, 1].copy(), point[:, 2].copy()

    def mask(name: str) -> np.ndarray:
        large = cv2.resize(model.masks[name], (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
        return large.ravel()[nearest].astype(np.float32) / 255

    return Canvas(
        where=where,
        noise=skin_noise()[where],
        x=x,
        y=y,
        z=z,
        lips=mask("lips"),
        lids=mask("eyelids"),
        ears=mask("ears"),
        mouth=mask("inside_mouth") > 0.5,
        shirt=y < 5.55 + 0.35 * np.clip(x, 0, 1.2),
        brow_area=np.flatnonzero((z > 0.9) & (np.abs(y - 7.5) < 0.4) & (x < 0.75)),
        hair_area=np.flatnonzero((y > 6.7) & ((y > 7.3) | (z < 0.9))),
        beard_area=np.flatnonzero((y > 6.1) & (y < 6.75) & (z > 0.5)),
        texel=texel,
    )


def brow_opacity(subject: Subject, canvas: Canvas, where: np.ndarray) -> np.ndarray:
    """Return how much brow covers each texel: an arch drawn on the neutral face, thinner towards the temple."""
    x, y, noise = canvas.x[where], canvas.y[where], canvas.noise[where]
    along = np.clip((x - 0.10) / 0.46, 0, 1)  # 0 at the nose, 1 at the temple
    middle = 7.47 + subject.brow_height + 0.055 * subject.brow_arch * np.sin(np.pi * 0.85 * along) - 0.03 * along
    thickness = 0.045 * (1 - 0.65 * along) * subject.brow_thickness
    across = np.exp(-(np.abs((y + 0.006 * noise - middle) / thickness) ** 3))
    ends = soft_step(x, 0.10, 0.012) * soft_step(x, 0.55, -0.015)
    return across * ends * np.clip(0.85 + 0.15 * noise, 0, 1) * subject.brow_opacity


def hair_opacity(
    subject: Subject, x: np.ndarray, y: np.ndarray, z: np.ndarray, noise: np.ndarray | float
) -> np.ndarray:
    """Return how much hair covers points of the model's neutral face: above the hairline, and behind the temples."""
    hairline = 8.0 + subject.hairline - 0.35 * np.clip(x - 0.45, 0, 1) ** 1.5
    crown = soft_step(y + 0.02 * noise, hairline, 0.02)  # the noise frays the edge
    side = soft_step(z - 0.03 * noise, 0.62, -0.03) * soft_step(y, 7.0, 0.06) * soft_step(x, 0.98, -0.02)
    return np.maximum(crown, side)


def beard_opacity(subject: Subject, canvas: Canvas, where: np.ndarray) -> np.ndarray:
    """Return the shade of a shaved beard on chin, jaw and upper lip."""
    y, z = canvas.y[where], canvas.z[where]
    below_nose, above_throat = np.clip((6.75 - y) / 0.1, 0, 1), np.clip((y - 6.1) / 0.1, 0, 1)
    shade = below_nose * above_throat * np.clip((z - 0.5) / 0.2, 0, 1) * (1 - canvas.lips[where])
    return np.clip(subject.beard * shade * (1 + 0.2 * canvas.noise[where]), 0, 1)


def to_channels(root: np.ndarray, subject: Subject) -> np.ndarray:
    """Return (N, C) float32 from the square roots of linear RGB (N, 3): themselves, or for gray files their luma.

    OpenCV weighs tone-mapped RGB when it reads colour as gray, and a square root is close to the film's tone curve.
    """
    return (root if subject.colour else root @ LUMA[:, None]).astype(np.float32)


def paint_skin(subject: Subject, canvas: Canvas) -> tuple[np.ndarray, np.ndarray]:
    """Return each texel's linear colour (N, 3) and gloss (N,), float32."""
    noise, lips = canvas.noise, canvas.lips
    skin, hair_colour = subject.skin.astype(np.float32), subject.hair.astype(np.float32)
    colour = skin * (1 + np.float32(subject.grain) * noise)[:, None]
    gloss = SKIN_GLOSS + LIP_GLOSS * lips
    if subject.freckles > 0:
        spots = np.clip(noise - 1.3, 0, 1) * (canvas.y > 6.7) * (canvas.y < 7.3)
        colour *= 1 - np.float32(subject.freckles) * spots[:, None] * FRECKLE_TINT
    marked = np.flatnonzero((lips > 0) | (canvas.lids > 0))
    colour[marked] = mix(colour[marked], skin * LIP_TINT, np.float32(subject.lip_strength) * lips[marked])
    colour[marked] *= (1 - np.float32(subject.lid_shadow) * canvas.lids[marked])[:, None]  # stands for lashes
    colour[canvas.mouth] = MOUTH_INSIDE

    where = canvas.brow_area
    colour[where] = mix(colour[where], hair_colour, brow_opacity(subject, canvas, where))
    where = canvas.hair_area
    fray = noise[where]
    hair = hair_opacity(subject, canvas.x[where], canvas.y[where], canvas.z[where], fray) * (1 - canvas.ears[where])
    colour[where] = mix(colour[where], hair_colour * (1 + np.float32(0.25) * fray[:, None]), hair)
    gloss[where] *= 1 - 0.6 * hair
    if subject.beard > 0:
        where = canvas.beard_area
        colour[where] = mix(colour[where], hair_colour, beard_opacity(subject, canvas, where))
    cloth = canvas.shirt
    colour[cloth] = subject.shirt.astype(np.float32) * (1 + np.float32(0.02) * noise[cloth])[:, None]
    gloss[cloth] *= SHIRT_GLOSS
    return colour, gloss


def eye_table(subject: Subject) -> np.ndarray:
    """Return the eyeball's colour over the cosine off its axis, (EYE_TABLE, 3)."""
    angle = np.arccos(np.linspace(0.5, 1, EYE_TABLE))
    colour = np.tile(SCLERA, (EYE_TABLE, 1))
    iris = 1.1 * subject.iris * (1.25 - 0.5 * soft_step(angle, RIM_ANGLE, 0.02))[:, None]
    colour = mix(colour, iris, soft_step(angle, IRIS_ANGLE, -0.012))
    return mix(colour, np.full(3, 0.02), soft_step(angle, PUPIL_ANGLE, -0.01))


def paint_subject(subject: Subject) -> Paint:
    """Bake a subject's colours."""
    layout = canvas()
    colour, gloss = paint_skin(subject, layout)
    root = to_channels(np.sqrt(np.clip(colour, 0, 1)), subject)
    # Zeros, not whatever was in memory: a stretched triangle's look-up can read a texel that no paint covers.
    texture = np.zeros((SIZE, SIZE, root.shape[1] + 2), np.uint8)
    values = np.column_stack([root, np.sqrt(gloss), layout.mouth])
    texture[layout.where] = values * np.float32(255) + np.float32(0.5)
    return Paint(
        texture=texture,
        eyes=np.ascontiguousarray(to_channels(np.sqrt(eye_table(subject)), subject) ** 2),
        flat=paint_flat(np.array([TEETH, TONGUE]), subject),
    )


def paint_flat(colours: np.ndarray, subject: Subject) -> np.ndarray:
    """Return linear RGB (N, 3) as the subject's channels (N, C) float32."""
    return np.ascontiguousarray(to_channels(np.sqrt(colours), subject) ** 2)


def hair_displacement(subject: Subject) -> np.ndarray:
    """Return how far the hair lifts each vertex of the mesh (V,), decimetres."""
    model = load_model()
    x, y, z = np.abs(model.vertices[:, 0]), model.vertices[:, 1], model.vertices[:, 2]
    eye = np.zeros(len(x), bool)
    eye[model.triangles[model.material >= EYE]] = True
    above_ears = soft_step(y, 7.75, 0.12)
    return subject.hair_volume * hair_opacity(subject, x, y, z, 0.0) * above_ears * ~eye
