"""The compiled loops as the Python they are written in, with the vector instructions as plain loops that check bounds.

Numba reads and writes past an array's end without a word; here such an index is an error.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from unittest import mock

import numpy as np
from numba.core.dispatcher import Dispatcher

from fastck.kernels import hog, masks, patches, resize

Instruction = Callable[..., object]


@contextmanager
def in_plain_python(*modules: ModuleType) -> Iterator[None]:
    """Run the kernels of these modules in Python, whatever they call included."""
    with (
        mock.patch.multiple(hog, **_HOG),
        mock.patch.multiple(resize, **_RESIZE),
        mock.patch.multiple(masks, **_WORDS),
        mock.patch.object(patches, "patch_sums", _patch_sums),
        np.errstate(over="ignore"),
    ):
        replaced = [
            mock.patch.object(module, name, value.py_func)
            for module in modules
            for name, value in vars(module).items()
            if isinstance(value, Dispatcher)
        ]
        for patch in replaced:
            patch.start()
        try:
            yield
        finally:
            for patch in replaced:
                patch.stop()


def _part(array: np.ndarray, start: int, count: int) -> np.ndarray:
    """`count` elements from `start` on of an array taken as flat: a view."""
    assert array.flags.c_contiguous
    start = int(start)
    assert 0 <= start <= start + count <= array.size, f"{start} to {start + count} of {array.size}"
    return array.reshape(-1)[start : start + count]


def _bits(word: int) -> np.ndarray:
    return (int(word) >> np.arange(64, dtype=object) & 1).astype(np.uint8)


def _word(bits: np.ndarray) -> np.uint64:
    return np.uint64(sum(1 << i for i in np.flatnonzero(bits).tolist()))


def _gradients8(image, at, stride, index, length, to):
    dx, dy = (_part(image, at + step, 8).astype(int) - _part(image, at - step, 8) for step in (np.uint64(1), stride))
    _part(index, to, 8)[:] = 512 * (dy + 255) + dx + 255
    _part(length, to, 8)[:] = np.hypot(dx, dy)


def _vote8(blocks, first, orientations, index, length, at, weights, start):
    for block in range(8):
        for pixel in range(2):
            place = int(at) + 8 * block + pixel
            bin_ = int(first) + hog.BLOCK * block + int(orientations[index[place]])
            _part(blocks, bin_, 4)[:] += length[place] * _part(weights, int(start) + 4 * pixel, 4)


def _features31(cells, at, below, above, corner, step, texture, out, to):
    orientations = _part(cells, at, 20)
    assert not orientations[18:].any()
    low, high = (np.stack([_part(side, corner + more, 2) for more in (0, step)]) for side in (below, above))
    clips, scales = np.stack([low[:, 1], high[:, 1], low[:, 0], high[:, 0]]).T
    scaled = np.minimum(orientations[:18, None], clips) * scales
    both = np.minimum((orientations[:9] + orientations[9:18])[:, None], clips) * scales
    _part(out, to, 31)[:] = np.concatenate([scaled.sum(axis=1), both.sum(axis=1), texture * scaled.sum(axis=0)])


def _reduce4(cells, at, basis, guard, planes, to):
    for cell in range(4):
        values = _part(cells, int(at) + 32 * cell, 32)
        sums = values[:31] @ basis[:31]
        left = (values[:24] ** 2).sum() + values[24:] ** 2 @ basis[31, :8] - (sums**2).sum()
        _part(planes, int(to) + 16 * cell, 16)[:] = np.append(sums[:15], np.sqrt(max(left, 0) + guard))


def _transform(lanes: int, count: int) -> Instruction:
    def transform(source, at, step, target, to, step_to):
        values = [
            _part(source, int(at + step * k), lanes) + 1j * _part(source, int(at + step * k) + lanes, lanes)
            for k in np.arange(32, dtype=np.uint64)
        ]
        for k, value in enumerate(np.fft.fft(values, axis=0)[:count]):
            _part(target, int(to) + int(step_to) * k, lanes)[:] = value.real
            _part(target, int(to) + int(step_to) * k + lanes, lanes)[:] = value.imag

    return transform


def _filter_frequencies(tile, at, opposite, spectra, start, other, scores, to, to_opposite):
    def products(at, start):
        cell, filters = _part(tile, at, 16).reshape(2, 8), _part(spectra, start, 80).reshape(5, 2, 8)
        return (filters[:, 0] + 1j * filters[:, 1]) @ (cell[0] + 1j * cell[1])

    total = products(at, start) + np.conj(products(opposite, other))
    firsts, partners = np.append(total[::2], 0), np.append(total[1::2], [0, 0])
    for place, values in ((to, np.conj(firsts) + 1j * np.conj(partners)), (to_opposite, firsts + 1j * partners)):
        _part(scores, place, 8)[:] = np.append(values.real, values.imag)


def _dot320(cells, at, weights, start):
    return np.float32(_part(cells, at, 320) @ _part(weights, start, 320))


def _reaching8(scores, at, lowest):
    return _word(_part(scores, at, 8) >= _part(lowest, 0, 8))


def _copy(skip: int) -> Instruction:
    def copy16(target, at, source, start):
        pixels = _part(source, start, 16)
        _part(target, at, 16)[:] = [pixels[min(i + (i // (skip - 1) if skip else 0), 15)] for i in range(16)]

    return copy16


def _interpolate16(left, right, fractions, at, out):
    first, second = (_part(side, at, 16).astype(np.float32) for side in (left, right))
    _part(out, at, 16)[:] = first + _part(fractions, at, 16) * (second - first)


def _mix16(above, below, at, high, low, shift, tie, out, to):
    total = _part(above, at, 16).astype(float) * high + shift + _part(below, at, 16) * float(low)
    units = np.round(total).astype(np.int64) - 2**23
    _part(out, to, 16)[:] = units >> 15
    return _word((units & 0x7FFF) < tie)


def _above(difference: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Instruction:
    def above(frames, first, second, third, up, down):
        level = 127 - int(up) + int(down)
        a, b, c = (_part(frames, start, 64).astype(int) for start in (first, second, third))
        return _word(difference(a, b) > level), _word(difference(b, c) > level)

    return above


def _store_word(out, index, word):
    _part(out, index, 8)[:] = np.frombuffer(int(word).to_bytes(8, "little"), np.uint8)


def _store_bits(out, index, word):
    _part(out, index, 64)[:] = _bits(word)


def _reverse_bits(word):
    return _word(_bits(word).reshape(8, 8)[:, ::-1].ravel())


def _count_rows(rows, index, planes):
    for i, word in enumerate(_part(rows, index, 32)):
        counts = _lane_counts(planes, i % 4) + _bits(word)
        assert counts.max() < 256
        planes[:, i % 4] = [_word(counts >> bit & 1) for bit in range(8)]


def _lane_counts(planes, lane):
    return sum(_bits(planes[bit, lane]).astype(int) << bit for bit in range(8))


def _add_counts(planes, counts, index):
    _part(counts, index, 64)[:] += sum(_lane_counts(planes, lane) for lane in range(4))


def _pool(times: int) -> Instruction:
    def pool(rows, index, line, at):
        side = 2**times
        bits = np.stack([_bits(word) for word in _part(rows, index, side)])
        means = bits.reshape(side, 64 // side, side).mean(axis=(0, 2))
        _part(line, at, 64 // side)[:] = means

    return pool


def _patch_sums(crop, at, stride, across, down, planes, start, step, plane, out):
    rows = np.stack([_part(crop, at + row * stride, 9) for row in range(9)])
    between = rows[:, :-1] + across * np.diff(rows, axis=1)
    between = between[:-1] + down * np.diff(between, axis=0)
    reference, dx, dy = (
        np.stack([_part(planes, start + number * plane + row * step, 8) for row in range(8)]) for number in range(3)
    )
    apart = between - reference
    out[:] = apart.sum(), (apart**2).sum(), (apart * dx).sum(), (apart * dy).sum()


_RESIZE: dict[str, Instruction] = {
    "copy_all": _copy(0),
    "copy_five_of_six": _copy(6),
    "interpolate16": _interpolate16,
    "mix16": _mix16,
}
_HOG: dict[str, Instruction] = {
    "gradients8": _gradients8,
    "vote8": _vote8,
    "features31": _features31,
    "reduce4": _reduce4,
    "dot320": _dot320,
    "reaching8": _reaching8,
    "transform_cells": _transform(8, 32),
    "transform_scores": _transform(4, 23),
    "filter_frequencies": _filter_frequencies,
}
_WORDS: dict[str, Instruction] = {
    "_tune": lambda: None,
    "_above_sign": _above(lambda a, b: (a - b) % 256),
    "_above_wrap": _above(lambda a, b: (a - b) % 256),
    "_above_absolute": _above(lambda a, b: abs(a - b)),
    "_above_saturate": _above(lambda a, b: a - b),
    "_popcount": lambda word: np.uint64(int(word).bit_count()),
    "_reverse_bits": _reverse_bits,
    "_store_word": _store_word,
    "_store_bits": _store_bits,
    "_count_rows": _count_rows,
    "_add_counts": _add_counts,
    "_pool_1": _pool(1),
    "_pool_2": _pool(2),
    "_pool_3": _pool(3),
}
