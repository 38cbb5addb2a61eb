"""The paper's computation as plain loops, one pixel at a time: the specification, and the slowest baseline.

Nothing here comes from the package, which has to equal it. NumPy's scalars become Python's first, so that arithmetic
means what it says; nothing here is written to be slow.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np


def wrap(a: int, b: int) -> int:
    """Difference modulo 256, as two uint8 images give it (paper, fig. 3)."""
    return (a - b) % 256


def absolute(a: int, b: int) -> int:
    """Distance of two gray levels."""
    return abs(a - b)


def saturate(a: int, b: int) -> int:
    """Difference, 0 where negative."""
    return max(a - b, 0)


MODES: dict[str, Callable[[int, int], int]] = {"wrap": wrap, "absolute": absolute, "saturate": saturate}


def frame_difference(frames: np.ndarray, *, mode: str = "wrap") -> np.ndarray:
    """Every frame less the one after it (paper, fig. 3)."""
    count, height, width = frames.shape
    out = np.zeros((count - 1, height, width), np.uint8)
    for t in range(count - 1):
        for r in range(height):
            for c in range(width):
                out[t, r, c] = MODES[mode](int(frames[t, r, c]), int(frames[t + 1, r, c]))
    return out


def threshold(frames: np.ndarray, *, level: int = 127, value: int = 255) -> np.ndarray:
    """`value` above `level`, else 0 (paper, fig. 4)."""
    out = np.zeros_like(frames)
    for t in range(frames.shape[0]):
        for r in range(frames.shape[1]):
            for c in range(frames.shape[2]):
                if frames[t, r, c] > level:
                    out[t, r, c] = value
    return out


def erode(frames: np.ndarray, *, size: int = 5) -> np.ndarray:
    """Minimum over a size x size footprint anchored at size // 2; pixels outside never erode (paper, fig. 4)."""
    count, height, width = frames.shape
    out = np.zeros_like(frames)
    for t in range(count):
        for r in range(height):
            for c in range(width):
                least = 255
                for row in range(max(r - size // 2, 0), min(r - size // 2 + size, height)):
                    for column in range(max(c - size // 2, 0), min(c - size // 2 + size, width)):
                        least = min(least, int(frames[t, row, column]))
                out[t, r, c] = least
    return out


def mean_pool_2x2(frames: np.ndarray) -> np.ndarray:
    """Mean of the pixels that each 2x2 window covers (paper, fig. 13A and 13B)."""
    count, height, width = frames.shape
    out = np.zeros((count, (height + 1) // 2, (width + 1) // 2), np.float32)
    for t in range(count):
        for i in range(out.shape[1]):
            for j in range(out.shape[2]):
                total, pixels = 0.0, 0
                for r in range(2 * i, min(2 * i + 2, height)):
                    for c in range(2 * j, min(2 * j + 2, width)):
                        total += float(frames[t, r, c])
                        pixels += 1
                out[t, i, j] = total / pixels
    return out


def project(frames: np.ndarray) -> np.ndarray:
    """Row 0: the mean of each column; row 1: the mean of each row (paper, fig. 14)."""
    count, size = frames.shape[:2]
    out = np.zeros((count, 2, size), np.float32)
    for t in range(count):
        for i in range(size):
            column, row = 0.0, 0.0
            for j in range(size):
                column += float(frames[t, j, i])
                row += float(frames[t, i, j])
            out[t, 0, i] = column / size
            out[t, 1, i] = row / size
    return out


def motion_masks(frames: np.ndarray, *, mode: str = "wrap", level: int = 127, size: int = 5) -> np.ndarray:
    """Difference, threshold and erosion, one after the other, as 0 and 1."""
    return erode(threshold(frame_difference(frames, mode=mode), level=level, value=1), size=size)


def motion_projections(frames: np.ndarray, *, mode: str = "wrap", level: int = 127, size: int = 5) -> np.ndarray:
    """Projections of the motion masks."""
    return project(motion_masks(frames, mode=mode, level=level, size=size))


def motion_pools(
    frames: np.ndarray, *, times: int = 1, mode: str = "wrap", level: int = 127, size: int = 5
) -> np.ndarray:
    """The motion masks pooled `times` times."""
    pools = motion_masks(frames, mode=mode, level=level, size=size)
    for _ in range(times):
        pools = mean_pool_2x2(pools)
    return pools


def pack(masks: np.ndarray) -> np.ndarray:
    """Eight pixels in a byte, the first one in the highest bit, as `np.packbits` does."""
    count, height, width = masks.shape
    out = np.zeros((count, height, (width + 7) // 8), np.uint8)
    for t in range(count):
        for r in range(height):
            for c in range(width):
                out[t, r, c // 8] |= int(masks[t, r, c]) << (7 - c % 8)
    return out


def fit_affine(flow: np.ndarray, *, step: int = 5, rounds: int = 10, least: float = 1e-4) -> np.ndarray:
    """Affine motion that most of a flow follows, (S, S, 2) pixels -> (2, 3): constant, along x and y from the middle.

    Least squares over every fifth pixel, then rounds with the weight 1 / (1 + r^2 / scale), where r is a residual's
    length and `scale` the weighted mean of r^2 in the round before.
    """
    side = len(flow)
    places = np.arange(min(3 * (side - 1) % step, (side - 1) // 2), side, step)
    moved = flow[np.ix_(places, places)].reshape(-1, 2).astype(np.float64)
    y, x = (axis.ravel() - (side - 1) / 2 for axis in np.meshgrid(places, places, indexing="ij"))
    terms = np.stack([np.ones_like(x), x, y], axis=1)
    if len(places) == 1:
        return np.array([[moved[0, 0], 0, 0], [moved[0, 1], 0, 0]])
    fit = np.linalg.solve(terms.T @ terms, terms.T @ moved)
    squares = ((moved - terms @ fit) ** 2).sum(axis=1)
    weight = np.ones(len(terms))
    for _ in range(rounds):
        scale = max((weight * squares).sum() / weight.sum(), least)
        squares = ((moved - terms @ fit) ** 2).sum(axis=1)
        weight = 1 / (1 + squares / scale)
        weighted = terms.T * weight
        fit = np.linalg.solve(weighted @ terms, weighted @ moved)
    return np.asarray(fit.T)


def patch_flow(reference: np.ndarray, crop: np.ndarray) -> np.ndarray:
    """Inverse search on patches that agree with their neighbours: two (S, S) uint8 -> (S, S, 2) pixels.

    Patches of 8x8 pixels, every 4 pixels; levels down to less than 32 pixels, ten rounds on the coarsest and three on
    the others.
    """
    levels: list[tuple[np.ndarray, np.ndarray]] = [(reference.astype(np.float64), crop.astype(np.float64))]
    while len(levels[-1][0]) >= 32:
        levels.append((_halved(levels[-1][0]), _halved(levels[-1][1])))
    coarsest = (len(levels[-1][0]) - 4) // 4
    motion = np.zeros((2, coarsest, coarsest))
    for one, other in reversed(levels):
        first = one is levels[-1][0]
        if not first:
            motion = 2 * _sampled(motion, (np.arange(0, len(one) - 7, 4) + 3) / 2)
        for _ in range(10 if first else 3):
            motion = _agreed(motion, *_compared(one, other, motion))
    return _sampled(motion, np.arange(len(reference))).transpose(1, 2, 0)


def _halved(image: np.ndarray) -> np.ndarray:
    side = len(image) // 2
    return np.asarray(image[: 2 * side, : 2 * side].reshape(side, 2, side, 2).mean(axis=(1, 3)))


def _sampled(motion: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Motions (2, n, n) of patches, whose middles are 3.5, 7.5, ..., at each pair of places: (2, m, m), bilinear."""
    n = motion.shape[1]
    weights = np.stack([np.interp((places - 3.5) / 4, np.arange(n), row) for row in np.eye(n)], axis=1)
    return np.asarray(weights @ motion @ weights.T)


def _compared(reference: np.ndarray, crop: np.ndarray, motion: np.ndarray) -> tuple[np.ndarray, ...]:
    """Hessian (n, n, 2, 2) and gradient (n, n, 2) of each patch where it is now, both weighted; the weights (n, n)."""
    side, n = len(reference), motion.shape[1]
    padded, around = np.pad(reference, 1, mode="edge"), np.pad(crop, 16, mode="edge")
    derivatives = (padded[1:-1, 2:] - padded[1:-1, :-2]) / 2, (padded[2:, 1:-1] - padded[:-2, 1:-1]) / 2
    hessians, gradients, weights = np.empty((n, n, 2, 2)), np.empty((n, n, 2)), np.empty((n, n))
    for i in range(n):
        for j in range(n):
            cut = np.s_[4 * i : 4 * i + 8, 4 * j : 4 * j + 8]
            y, x = (np.clip(4 * at + m, -15, side + 6) + 16 for at, m in ((i, motion[1, i, j]), (j, motion[0, i, j])))
            top, left = int(y), int(x)
            seen = around[top : top + 9, left : left + 9]
            seen = seen[:, :-1] + (x - left) * np.diff(seen, axis=1)
            seen = seen[:-1] + (y - top) * np.diff(seen, axis=0)
            residual = seen - reference[cut]
            residual -= residual.mean()
            slopes = np.stack([plane[cut] - plane[cut].mean() for plane in derivatives]).reshape(2, -1)
            weights[i, j] = 1 / (np.mean(residual**2) + 1)
            hessians[i, j] = weights[i, j] * slopes @ slopes.T
            gradients[i, j] = weights[i, j] * slopes @ residual.ravel()
    return hessians, gradients, weights


def _agreed(
    motion: np.ndarray, hessians: np.ndarray, gradients: np.ndarray, weights: np.ndarray, *, tie: float = 50
) -> np.ndarray:
    """Each patch's own step, then four sweeps over the rows in which neighbours, tied to each other, agree."""
    n = motion.shape[1]
    inside = np.pad(np.ones((n, n)), 1)
    neighbours = inside[:-2, 1:-1] + inside[2:, 1:-1] + inside[1:-1, :-2] + inside[1:-1, 2:]
    aims = np.einsum("ijab,bij->ija", hessians, motion) - gradients
    inverse = np.linalg.inv(hessians + tie * neighbours[..., None, None] * np.eye(2))
    alone = np.linalg.inv(hessians + weights[..., None, None] * np.eye(2))
    moved = np.pad(motion - np.einsum("ijab,ijb->aij", alone, gradients), ((0, 0), (1, 1), (1, 1)))
    for sweep in range(4):
        for i in range(n) if sweep % 2 == 0 else reversed(range(n)):
            around = moved[:, i, 1:-1] + moved[:, i + 2, 1:-1] + moved[:, i + 1, :-2] + moved[:, i + 1, 2:]
            moved[:, i + 1, 1:-1] = np.einsum("jab,jb->aj", inverse[i], aims[i] + tie * around.T)
    return moved[:, 1:-1, 1:-1]


def cell_shares(side: int, cells: int) -> np.ndarray:
    """Share of each of `side` pixels in each of `cells` equal parts of an axis: (cells, side), rows sum to 1."""
    edges = np.arange(cells + 1)[:, None] * side / cells
    inside = np.clip(np.minimum(edges[1:], np.arange(1, side + 1)) - np.maximum(edges[:-1], np.arange(side)), 0, None)
    return np.asarray(inside * cells / side)


def flow_planes(flow: np.ndarray, *, compensate: bool = True) -> np.ndarray:
    """Displacements in pixels, the head's motion taken out, then strain magnitude: (S, S, 2) -> (3, S, S)."""
    moved = flow.astype(np.float64)
    if compensate:
        fit = fit_affine(flow)
        y, x = np.indices(flow.shape[:2]) - (len(flow) - 1) / 2
        moved = moved - fit[:, 0] - fit[:, 1] * x[..., None] - fit[:, 2] * y[..., None]
    if len(flow) == 1:
        return np.stack([moved[..., 0], moved[..., 1], np.zeros((1, 1))])
    (u_y, u_x), (v_y, v_x) = np.gradient(moved[..., 0]), np.gradient(moved[..., 1])
    xy = (u_y + v_x) / 2
    return np.stack([moved[..., 0], moved[..., 1], np.sqrt(u_x**2 + v_y**2 + 2 * xy**2)])


def flow_cells(flow: np.ndarray, *, side: int = 28, compensate: bool = True) -> np.ndarray:
    """Means of u and v in shares of S, and of strain, in side x side cells: (S, S, 2) pixels -> (3, side, side)."""
    planes, shares = flow_planes(flow, compensate=compensate), cell_shares(len(flow), side)
    planes[:2] /= len(flow)
    return np.asarray((shares @ planes @ shares.T).astype(np.float32))


def flow_projection(flow: np.ndarray, *, columns: int = 64, compensate: bool = True) -> np.ndarray:
    """Column means and row means of u, then of v, in shares of S: (S, S, 2) pixels -> (4, columns)."""
    planes, shares = flow_planes(flow, compensate=compensate)[:2] / len(flow), cell_shares(len(flow), columns)
    means = [plane.mean(axis=axis) for plane in planes for axis in (0, 1)]
    return np.stack([shares @ line for line in means]).astype(np.float32)


def paper_crop(path: Path, *, side: int = 267) -> np.ndarray | None:
    """One frame as the paper's script reads it: a new detector for every frame (fig. 2); None without a face."""
    import cv2
    import dlib

    detector = dlib.get_frontal_face_detector()
    gray = np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
    for face in detector(gray, 1):
        crop = gray[max(face.top(), 0) : face.bottom(), max(face.left(), 0) : face.right()]
        return np.asarray(cv2.resize(crop, (side, side)))
    return None


def paper_masks(paths: list[Path], *, side: int = 267) -> np.ndarray:
    """The `binary` images of one sequence: crop, uint8 difference, threshold, erosion (fig. 2 to 4), as 0 and 255."""
    import cv2

    masks: list[np.ndarray] = []
    previous = None
    for path in paths:
        crop = paper_crop(path, side=side)
        if crop is None:
            continue
        if previous is not None:
            _, mask = cv2.threshold(previous - crop, 127, 255, cv2.THRESH_BINARY)
            masks.append(cv2.erode(mask, np.ones((5, 5), np.uint8)))
        previous = crop
    return np.array(masks, np.uint8).reshape(-1, side, side)


def paper_features(paths: list[Path], *, pooled: bool = False) -> tuple[np.ndarray, np.ndarray | None]:
    """The paper's whole script for one sequence: projections by plain loops, and 34-pixel frames where asked for."""
    ones = (paper_masks(paths) / 255 >= 0.2).astype(np.uint8)
    pools = None
    if pooled:
        pools = ones
        for _ in range(3):
            pools = mean_pool_2x2(pools)
    return project(ones), pools
