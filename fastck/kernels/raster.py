"""Rendering loops: vertex normals, the z-buffered triangle rasteriser, per-pixel shading and the film.

Image rows grow downwards, depth grows towards the camera. Everything is serial and releases the GIL.
"""

import numpy as np

from fastck.kernels import kernel

SKIN, EYE, TEETH, TONGUE = 0, 1, 2, 3  # per-triangle materials, as the face model numbers them
MIN_DOUBLED_AREA = 1e-6  # square pixels: below it the division for the corner weights is unstable
EDGE_TOLERANCE = 1e-6  # corner weight; closes hairline gaps between neighbouring triangles
BROAD_POWER_SQUARINGS = 5  # the broad highlight is facing ** 32
GLINT_SQUARINGS = 8  # the glint of a wet eye is facing ** 256
GLINT = 0.9
EYE_GLOSS, MOUTH_GLOSS = 0.5, 0.12  # weights of the broad highlight on eyeballs, and on teeth and tongue
OCCLUSION_BIAS, OCCLUSION_LIMIT = 0.004, 0.55  # decimetres of relief without shadow; the darkest one blur can make
MOUTH_POWER = 1.8  # the mouth's inside gets less light than the depth test alone says
BYTE_SUM_MEAN = 510.0  # of four bytes; each has mean 127.5 and variance (256**2 - 1) / 12
BYTE_SUM_DEVIATION = 147.8
WRAP = 0.25  # lets the key light reach round the terminator: a cheap stand-in for light scattered in skin


@kernel
def add_shape(index, delta, weight, vertices):
    """Add a weighted shape in place: (k,) int32, (k, 3) float32, scalar -> (V, 3) float64."""
    for n in range(index.shape[0]):
        v = index[n]
        for axis in range(3):
            vertices[v, axis] += weight * delta[n, axis]


@kernel
def vertex_normals(vertices, triangles, out):
    """Unit normals, each triangle weighted by its area: (V, 3) float64, (F, 3) int32 -> (V, 3) float32."""
    out[:] = 0
    for f in range(triangles.shape[0]):
        i, j, k = triangles[f, 0], triangles[f, 1], triangles[f, 2]
        ax, ay, az = (vertices[j, 0] - vertices[i, 0], vertices[j, 1] - vertices[i, 1], vertices[j, 2] - vertices[i, 2])
        bx, by, bz = (vertices[k, 0] - vertices[i, 0], vertices[k, 1] - vertices[i, 1], vertices[k, 2] - vertices[i, 2])
        nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
        for corner in range(3):
            v = triangles[f, corner]
            out[v, 0] += np.float32(nx)
            out[v, 1] += np.float32(ny)
            out[v, 2] += np.float32(nz)
    for v in range(out.shape[0]):
        length = np.sqrt(out[v, 0] ** 2 + out[v, 1] ** 2 + out[v, 2] ** 2)
        scale = np.float32(1 / max(length, np.float32(1e-9)))
        out[v, 0] *= scale
        out[v, 1] *= scale
        out[v, 2] *= scale


@kernel
def rasterise(screen, triangles, two_sided, triangle, weights, depth):
    """Nearest triangle per pixel: (V, 3) float64 column, row, depth; (F, 3) int32; (F,) bool -> three images.

    `triangle` (H, W) int32 is -1 where nothing is hit; `weights` (H, W, 2) float32 are the first two corner weights;
    `depth` (H, W) float32 stays as the caller filled it where nothing is hit.
    """
    height, width = triangle.shape
    triangle[:] = -1
    for f in range(triangles.shape[0]):
        i, j, k = triangles[f, 0], triangles[f, 1], triangles[f, 2]
        x0, y0, z0 = screen[i, 0], screen[i, 1], screen[i, 2]
        x1, y1, z1 = screen[j, 0], screen[j, 1], screen[j, 2]
        x2, y2, z2 = screen[k, 0], screen[k, 1], screen[k, 2]
        doubled = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        # Rows grow downwards, so a triangle that faces the camera has a negative area.
        if abs(doubled) <= MIN_DOUBLED_AREA or (doubled > 0 and not two_sided[f]):
            continue
        left = max(int(np.ceil(min(x0, x1, x2) - EDGE_TOLERANCE)), 0)
        right = min(int(np.floor(max(x0, x1, x2) + EDGE_TOLERANCE)), width - 1)
        top = max(int(np.ceil(min(y0, y1, y2) - EDGE_TOLERANCE)), 0)
        bottom = min(int(np.floor(max(y0, y1, y2) + EDGE_TOLERANCE)), height - 1)
        if left > right or top > bottom:
            continue
        # The corner weights are linear over the picture: value at the box's corner, step right, step down.
        w0_right, w0_down = (y1 - y2) / doubled, (x2 - x1) / doubled
        w1_right, w1_down = (y2 - y0) / doubled, (x0 - x2) / doubled
        w0_corner = ((x1 - left) * (y2 - top) - (x2 - left) * (y1 - top)) / doubled
        w1_corner = ((x2 - left) * (y0 - top) - (x0 - left) * (y2 - top)) / doubled
        for r in range(top, bottom + 1):
            w0 = w0_corner + (r - top) * w0_down
            w1 = w1_corner + (r - top) * w1_down
            for c in range(left, right + 1):
                w2 = 1.0 - w0 - w1
                if w0 >= -EDGE_TOLERANCE and w1 >= -EDGE_TOLERANCE and w2 >= -EDGE_TOLERANCE:
                    z = np.float32(w0 * z0 + w1 * z1 + w2 * z2)
                    if triangle[r, c] < 0 or z > depth[r, c]:
                        triangle[r, c] = f
                        depth[r, c] = z
                        weights[r, c, 0] = np.float32(w0)
                        weights[r, c, 1] = np.float32(w1)
                w0 += w0_right
                w1 += w1_right


@kernel
def _power_of_two(value, squarings):
    """Raise a float32 in 0..1 to the power 2 ** squarings."""
    for _ in range(squarings):
        value *= value
    return value


@kernel
def shade(covered, normals, mesh, paint, lamps, image):
    """Light every covered pixel of the (H, W, C) float32 image; the others keep the background.

    `covered` is the triangle of each pixel (H, W), its corner weights (H, W, 2), its depth (H, W), blurred copies of
    that (K, H, W) float32 and the strength of each (K,): a point deeper than its surroundings gets less light. `mesh`
    is the triangles (F, 3), their material (F,), texture columns and rows of their corners (F, 3, 2) float32, the
    neutral vertices and the eyeball's centre. `paint` is the texture (S, S, C + 2) uint8, which holds the square roots
    of colour and gloss (bytes stay in the processor's cache) and "inside the mouth"; the eyeball's colour over the
    cosine off its axis, 0.5 to 1, (A, C); and the colours of teeth and tongue (2, C). `lamps` is the directions of key
    and fill light, their powers, and the power of ambient light.
    """
    triangle, weights, depth, blurred, occlusion = covered
    triangles, material, texel, neutral, eye_centre = mesh
    texture, eye_table, flat = paint
    key, fill, key_power, fill_power, ambient = lamps
    height, width, channels = image.shape
    one, zero, byte = np.float32(1), np.float32(0), np.float32(1 / 255)
    half_x, half_y, half_z = key[0], key[1], key[2] + one
    half_scale = one / np.sqrt(half_x * half_x + half_y * half_y + half_z * half_z)
    half_x, half_y, half_z = half_x * half_scale, half_y * half_scale, half_z * half_scale
    wrap = np.float32(WRAP)
    last = np.float32(texture.shape[0] - 1.001)
    for r in range(height):
        for c in range(width):
            f = triangle[r, c]
            if f < 0:
                continue
            w0, w1 = weights[r, c, 0], weights[r, c, 1]
            w2 = one - w0 - w1
            i, j, k = triangles[f, 0], triangles[f, 1], triangles[f, 2]
            nx = w0 * normals[i, 0] + w1 * normals[j, 0] + w2 * normals[k, 0]
            ny = w0 * normals[i, 1] + w1 * normals[j, 1] + w2 * normals[k, 1]
            nz = w0 * normals[i, 2] + w1 * normals[j, 2] + w2 * normals[k, 2]
            scale = one / max(np.sqrt(nx * nx + ny * ny + nz * nz), np.float32(1e-6))
            nx, ny, nz = nx * scale, ny * scale, nz * scale

            lit = key_power * max(zero, (nx * key[0] + ny * key[1] + nz * key[2] + wrap) / (one + wrap))
            lit += fill_power * max(zero, nx * fill[0] + ny * fill[1] + nz * fill[2]) + ambient
            facing = max(zero, nx * half_x + ny * half_y + nz * half_z)
            broad = _power_of_two(facing, BROAD_POWER_SQUARINGS)
            light = one
            for level in range(blurred.shape[0]):
                sunk = occlusion[level] * (blurred[level, r, c] - depth[r, c] - np.float32(OCCLUSION_BIAS))
                light *= one - min(max(sunk, zero), np.float32(OCCLUSION_LIMIT))

            kind = material[f]
            if kind == SKIN:
                u = w0 * texel[f, 0, 0] + w1 * texel[f, 1, 0] + w2 * texel[f, 2, 0]
                v = w0 * texel[f, 0, 1] + w1 * texel[f, 1, 1] + w2 * texel[f, 2, 1]
                u, v = min(max(u, zero), last), min(max(v, zero), last)
                column, row = int(u), int(v)
                fu, fv = u - np.float32(column), v - np.float32(row)
                a, b = (one - fu) * (one - fv), fu * (one - fv)
                d, e = (one - fu) * fv, fu * fv
                root = byte * np.float32(texture[row, column, channels])
                gloss = root * root
                if texture[row, column, channels + 1] > 0:
                    light = light ** np.float32(MOUTH_POWER)
                shine = gloss * broad
                for channel in range(channels):
                    root = byte * (
                        a * np.float32(texture[row, column, channel])
                        + b * np.float32(texture[row, column + 1, channel])
                        + d * np.float32(texture[row + 1, column, channel])
                        + e * np.float32(texture[row + 1, column + 1, channel])
                    )
                    colour = root * root
                    image[r, c, channel] = min(one, (colour * lit + shine) * light)
            elif kind == EYE:
                px = w0 * neutral[i, 0] + w1 * neutral[j, 0] + w2 * neutral[k, 0]
                py = w0 * neutral[i, 1] + w1 * neutral[j, 1] + w2 * neutral[k, 1] - eye_centre[1]
                pz = w0 * neutral[i, 2] + w1 * neutral[j, 2] + w2 * neutral[k, 2] - eye_centre[2]
                px -= eye_centre[0] if px > 0 else -eye_centre[0]
                cosine = pz / (np.sqrt(px * px + py * py + pz * pz) + np.float32(1e-9))
                step = max(zero, (cosine - np.float32(0.5)) * np.float32(2 * (eye_table.shape[0] - 1)))
                entry = min(int(step), eye_table.shape[0] - 2)
                part = step - np.float32(entry)
                shine = np.float32(EYE_GLOSS) * broad + np.float32(GLINT) * _power_of_two(facing, GLINT_SQUARINGS)
                for channel in range(channels):
                    colour = (one - part) * eye_table[entry, channel] + part * eye_table[entry + 1, channel]
                    image[r, c, channel] = min(one, (colour * lit + shine) * light)
            else:
                light = light ** np.float32(MOUTH_POWER)
                shine = np.float32(MOUTH_GLOSS) * broad
                for channel in range(channels):
                    image[r, c, channel] = min(one, (flat[kind - TEETH, channel] * lit + shine) * light)


@kernel
def expose(image, curve, noise, key, out):
    """Film: (N,) float32 in 0..1 -> (N,) uint8 through the tone curve (A,) float32 in gray levels, plus noise.

    The noise is counter-based: splitmix64 of key + n serves two pixels, each the sum of four of its bytes, which is
    nearly a bell curve. No state is carried, so a frame's bytes depend on its key only.
    """
    size = image.shape[0]
    zero, half, one, white = np.float32(0), np.float32(0.5), np.float32(1), np.float32(255)
    top = np.float32(curve.shape[0] - 1)
    scale = np.float32(noise / BYTE_SUM_DEVIATION)
    counter = np.uint64(key)
    for pair in range((size + 1) // 2):
        counter += np.uint64(0x9E3779B97F4A7C15)
        z = counter
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
        # Add neighbouring bytes in 16-bit lanes, then neighbouring lanes: two sums of four, in lanes 0 and 2.
        z = (z & np.uint64(0x00FF00FF00FF00FF)) + ((z >> np.uint64(8)) & np.uint64(0x00FF00FF00FF00FF))
        z = z + (z >> np.uint64(16))
        for part in range(2):
            n = 2 * pair + part
            if n < size:
                total = np.int32((z >> np.uint64(32 * part)) & np.uint64(0xFFFF))
                value = min(max(image[n], zero), one)
                level = curve[np.int32(value * top + half)]
                level += scale * (np.float32(total) - np.float32(BYTE_SUM_MEAN)) + half
                out[n] = np.uint8(np.int32(min(max(level, zero), white)))
