"""Instructions for the kernels of the face search that Numba does not find by itself: a few values as one vector.

Each writes LLVM instructions where it is called. Arrays are taken as flat, positions are uint64 and unchecked. LLVM
splits vectors that are wider than the processor's. What each one computes stands in plain NumPy in
tests/helpers/plain_kernels.py, which the tests run in its place. Numba does not see changes in this file: clear its
cache after one.
"""

import math

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

BLOCK = 72  # values of a block: 18 orientations times the 4 cells around it
SIDE = 32  # cells per side of a tile
VALID = 23  # rows and columns of windows of 10x10 cells in a tile
DETECTORS = 5
PAIRS = 8  # pairs of reduced planes, each one complex value
SCORES = 4  # complex values per frequency of a tile's scores: two detectors' scores each, or one's
# Where a detector's scores lie among a window's 8: real parts, then imaginary ones.
PLACES = (0, 4, 1, 5, 2)
# A float32 from here to twice as much has no fraction: adding this rounds, and the bits then hold the whole number.
WHOLE = 2.0**23
WHOLE_BITS = 0x4B000000

_FLOAT = ir.FloatType()
_I64 = ir.IntType(64)
_FUSE = ("contract",)  # a product and a sum may become one instruction


def _floats(n):
    return ir.VectorType(_FLOAT, n)


def _integers(bits, n):
    return ir.VectorType(ir.IntType(bits), n)


def _all(vector, value):
    return ir.Constant(vector, [value] * vector.count)


def _shuffle(builder, a, b, lanes):
    return builder.shuffle_vector(a, b, ir.Constant(_integers(32, len(lanes)), lanes))


def _broadcast(builder, value, count=4):
    kind = ir.VectorType(value.type, count)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    return _shuffle(builder, one, one, [0] * count)


class _Array:
    """An array argument of an instruction: vectors from and to any element, aligned to single elements only."""

    def __init__(self, context, builder, signature, args, number):
        self.builder = builder
        self.data = context.make_array(signature.args[number])(context, builder, args[number]).data
        self.align = signature.args[number].dtype.bitwidth // 8

    def _pointer(self, at, more, kind):
        if more:
            at = self.builder.add(at, ir.Constant(_I64, more))
        return self.builder.bitcast(self.builder.gep(self.data, [at]), kind.as_pointer())

    def load(self, at, kind, more=0):
        return self.builder.load(self._pointer(at, more, kind), align=self.align)

    def store(self, value, at, more=0):
        self.builder.store(value, self._pointer(at, more, value.type), align=self.align)


def _copy16(skip):
    """Make the instruction that copies 16 uint8 values as one vector, leaving out each `skip`-th source value."""
    # The last few lanes lie behind the vector's end and repeat its last value.
    lanes = [min(lane + (lane // (skip - 1) if skip else 0), 15) for lane in range(16)]

    @intrinsic
    def copy16(typingctx, target, at, source, start):
        def codegen(context, builder, signature, args):
            to, of = (_Array(context, builder, signature, args, number) for number in (0, 2))
            values = of.load(args[3], _integers(8, 16))
            to.store(_shuffle(builder, values, values, lanes), args[1])
            return context.get_dummy_value()

        return types.void(target, at, source, start), codegen

    return copy16


copy_all = _copy16(0)
copy_five_of_six = _copy16(6)  # the pixels that a resize to 5/6 reads, until its rounding skips another one


def _whole_floats(builder, values):
    """Turn uint8 values into float32 ones plus WHOLE, for which putting bits together is enough."""
    words = _integers(32, values.type.count)
    bits = builder.or_(builder.zext(values, words), _all(words, WHOLE_BITS))
    return builder.bitcast(bits, _floats(values.type.count))


@intrinsic
def interpolate16(typingctx, left, right, fractions, at, out):
    """16 columns' left + fraction * (right - left): uint8 -> float32."""

    def codegen(context, builder, signature, args):
        lefts, rights, parts, result = (_Array(context, builder, signature, args, number) for number in (0, 1, 2, 4))
        bytes16, floats = _integers(8, 16), _floats(16)
        first, second = (_whole_floats(builder, pixels.load(args[3], bytes16)) for pixels in (lefts, rights))
        step = builder.fmul(parts.load(args[3], floats), builder.fsub(second, first), flags=_FUSE)
        result.store(builder.fadd(builder.fsub(first, _all(floats, WHOLE)), step, flags=_FUSE), args[3])
        return context.get_dummy_value()

    return types.void(left, right, fractions, at, out), codegen


@intrinsic
def mix16(typingctx, above, below, at, high, low, shift, tie, out, to):
    """16 pixels high * above + low * below, in units of 2**-15 after `shift` is added: their whole parts to `out`.

    `shift` has WHOLE in it, which makes the sums whole units. Returns a bit for each pixel whose fraction is less than
    `tie`.
    """

    def codegen(context, builder, signature, args):
        tops, bottoms, pixels = (_Array(context, builder, signature, args, number) for number in (0, 1, 7))
        floats, words = _floats(16), _integers(32, 16)

        high, low, shift = (_broadcast(builder, value, 16) for value in args[3:6])
        first = builder.fadd(builder.fmul(tops.load(args[2], floats), high, flags=_FUSE), shift, flags=_FUSE)
        total = builder.fadd(builder.fmul(bottoms.load(args[2], floats), low, flags=_FUSE), first, flags=_FUSE)
        # The lowest bit of WHOLE's exponent lies above the 23 bits of the units.
        units = builder.bitcast(total, words)
        whole = builder.lshr(units, _all(words, 15))
        pixels.store(builder.trunc(whole, _integers(8, 16)), args[8])
        fractions = builder.and_(units, _all(words, 2**15 - 1))
        close = builder.icmp_signed("<", builder.trunc(fractions, _integers(16, 16)), _broadcast(builder, args[6], 16))
        return builder.zext(builder.bitcast(close, ir.IntType(16)), _I64)

    return types.uint64(above, below, at, high, low, shift, tie, out, to), codegen


@intrinsic
def gradients8(typingctx, image, at, stride, index, length, to):
    """Gradients of 8 pixels of an image: 512 dy + dx counted from -255 to `index`, int32; their lengths to `length`."""

    def codegen(context, builder, signature, args):
        pixels, indices, lengths = (_Array(context, builder, signature, args, number) for number in (0, 3, 4))
        words, floats = _integers(32, 8), _floats(8)

        def difference(step):
            after = pixels.load(builder.add(args[1], step), _integers(8, 8))
            before = pixels.load(builder.sub(args[1], step), _integers(8, 8))
            halves = (builder.zext(values, _integers(16, 8)) for values in (after, before))
            return builder.sext(builder.sub(*halves), words)

        dx, dy = difference(ir.Constant(_I64, 1)), difference(args[2])
        number = builder.add(builder.shl(dy, _all(words, 9)), dx)
        indices.store(builder.add(number, _all(words, 255 * 512 + 255)), args[5])
        x, y = builder.sitofp(dx, floats), builder.sitofp(dy, floats)
        squares = builder.fadd(builder.fmul(x, x, flags=_FUSE), builder.fmul(y, y, flags=_FUSE), flags=_FUSE)
        root = cgutils.get_or_insert_function(builder.module, ir.FunctionType(floats, [floats]), "llvm.sqrt.v8f32")
        lengths.store(builder.call(root, [squares]), args[5])
        return context.get_dummy_value()

    return types.void(image, at, stride, index, length, to), codegen


@intrinsic
def vote8(typingctx, blocks, first, orientations, index, length, at, weights, start):
    """Add the lengths of 2 pixels of each of 8 blocks, times 4 weights each, to the blocks' histograms.

    Votes for one bin wait for each other, so the blocks take turns.
    """

    def codegen(context, builder, signature, args):
        sums, bins, indices, lengths, factors = (
            _Array(context, builder, signature, args, number) for number in (0, 2, 3, 4, 6)
        )
        votes, places = [], []
        for block in range(8):
            votes.append(lengths.load(args[5], _floats(2), 8 * block))
            # Two indices per load: loads are what these loops wait for.
            pair = indices.load(args[5], _I64, 8 * block)
            places.append((builder.and_(pair, ir.Constant(_I64, 2**32 - 1)), builder.lshr(pair, ir.Constant(_I64, 32))))
        for pixel in range(2):
            weight = factors.load(args[7], _floats(4), 4 * pixel)
            for block in range(8):
                orientation = builder.zext(bins.load(places[block][pixel], ir.IntType(8)), _I64)
                place = builder.add(args[1], orientation)
                vote = _shuffle(builder, votes[block], votes[block], [pixel] * 4)
                before = sums.load(place, _floats(4), BLOCK * block)
                after = builder.fadd(before, builder.fmul(vote, weight, flags=_FUSE), flags=_FUSE)
                sums.store(after, place, BLOCK * block)
        return context.get_dummy_value()

    return types.void(blocks, first, orientations, index, length, at, weights, start), codegen


def _lane_sums(builder, a, b, c, d):
    """Return the sums over the lanes of four vectors, as one vector."""
    ab, cd = (
        builder.fadd(_shuffle(builder, x, y, [0, 1, 4, 5]), _shuffle(builder, x, y, [2, 3, 6, 7]), flags=_FUSE)
        for x, y in ((a, b), (c, d))
    )
    evens, odds = (_shuffle(builder, ab, cd, lanes) for lanes in ([0, 2, 4, 6], [1, 3, 5, 7]))
    return builder.fadd(evens, odds, flags=_FUSE)


@intrinsic
def features31(typingctx, cells, at, below, above, corner, step, texture, out, to):
    """Fill 31 features of a cell from its 20 orientations, the last two of which are 0.

    `below` and `above` hold, for the corners below and above a row of cells, what is clipped at and, `step` further on,
    what is multiplied with then; `corner` is the one to the left of the cell.
    """

    def codegen(context, builder, signature, args):
        orientations, low, high, result = (_Array(context, builder, signature, args, number) for number in (0, 2, 3, 7))
        order = ((low, 1), (high, 1), (low, 0), (high, 0))
        clips, scales = (
            [_broadcast(builder, array.load(first, _FLOAT, more)) for array, more in order]
            for first in (args[4], builder.add(args[4], args[5]))
        )

        def clipped(value):
            return [builder.select(builder.fcmp_ordered("<", value, clip), value, clip) for clip in clips]

        def combined(values):
            total = builder.fmul(values[0], scales[0], flags=_FUSE)
            for value, scale in zip(values[1:], scales[1:], strict=True):
                total = builder.fadd(builder.fmul(value, scale, flags=_FUSE), total, flags=_FUSE)
            return total

        sums = None
        for o in range(0, 20, 4):
            values = clipped(orientations.load(args[1], _floats(4), o))
            result.store(combined(values), args[8], o)
            sums = values if sums is None else [builder.fadd(*pair) for pair in zip(sums, values, strict=True)]
        for o in range(0, 12, 4):
            one, other = (orientations.load(args[1], _floats(4), o + more) for more in (0, 9))
            values = combined(clipped(builder.fadd(one, other)))
            if o == 8:
                result.store(builder.extract_element(values, ir.Constant(ir.IntType(32), 0)), args[8], 26)
            else:
                result.store(values, args[8], 18 + o)
        totals = _lane_sums(builder, *(builder.fmul(*pair) for pair in zip(sums, scales, strict=True)))
        result.store(builder.fmul(totals, _broadcast(builder, args[6])), args[8], 27)
        return context.get_dummy_value()

    return types.void(cells, at, below, above, corner, step, texture, out, to), codegen


@intrinsic
def reduce4(typingctx, cells, at, basis, guard, planes, to):
    """Reduce 4 cells of 32 values to 15 sums by the columns of `basis` (32, 16), and the length of what is left.

    The last row of `basis` is no direction: its first 8 values weigh the last 8 squares in a cell's length. `guard` is
    added to the square of what is left, for the rounding of the rest.
    """

    def codegen(context, builder, signature, args):
        values, factors, out = (_Array(context, builder, signature, args, number) for number in (0, 2, 4))
        eight = _floats(8)

        def square(value, more, flip=False):
            product = builder.fmul(value, value, flags=_FUSE)
            return (builder.fsub if flip else builder.fadd)(more, product, flags=_FUSE)

        sums = [[_all(eight, 0.0)] * 2 for _ in range(4)]
        for plane in range(31):
            rows = [factors.load(ir.Constant(_I64, 16 * plane), eight, 8 * half) for half in range(2)]
            for cell in range(4):
                one = _broadcast(builder, values.load(args[1], _FLOAT, 32 * cell + plane), 8)
                for half in range(2):
                    product = builder.fmul(one, rows[half], flags=_FUSE)
                    sums[cell][half] = builder.fadd(sums[cell][half], product, flags=_FUSE)
        weigh = factors.load(ir.Constant(_I64, 16 * 31), eight)
        squares = []
        for cell in range(4):
            last = values.load(args[1], eight, 32 * cell + 24)
            left = builder.fmul(builder.fmul(last, weigh, flags=_FUSE), last, flags=_FUSE)
            for lane in range(0, 24, 8):
                left = square(values.load(args[1], eight, 32 * cell + lane), left)
            for half in range(2):
                left = square(sums[cell][half], left, flip=True)
            parts = [_shuffle(builder, left, left, list(range(first, first + 4))) for first in (0, 4)]
            squares.append(builder.fadd(*parts, flags=_FUSE))
        total = _lane_sums(builder, *squares)
        zero = _all(_floats(4), 0.0)
        total = builder.select(builder.fcmp_ordered(">", total, zero), total, zero)
        total = builder.fadd(total, _broadcast(builder, args[3]))
        root = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_floats(4), [_floats(4)]), "llvm.sqrt.v4f32"
        )
        lengths = builder.call(root, [total])
        for cell in range(4):
            length = builder.extract_element(lengths, ir.Constant(ir.IntType(32), cell))
            out.store(sums[cell][0], args[5], 16 * cell)
            out.store(
                builder.insert_element(sums[cell][1], length, ir.Constant(ir.IntType(32), 7)), args[5], 16 * cell + 8
            )
        return context.get_dummy_value()

    return types.void(cells, at, basis, guard, planes, to), codegen


def _transform(builder, values):
    """Discrete Fourier transform of (real, imaginary) vectors, in groups of four; the number is a power of two."""
    n = len(values)
    kind = values[0][0].type

    def plus(a, b):
        return tuple(builder.fadd(*pair, flags=_FUSE) for pair in zip(a, b, strict=True))

    def minus(a, b):
        return tuple(builder.fsub(*pair, flags=_FUSE) for pair in zip(a, b, strict=True))

    def turned(a, k):
        """Multiply by exp(-2 pi i k / n)."""
        if k == 0:
            return a
        cosine, sine = (_all(kind, f(2 * math.pi * k / n)) for f in (math.cos, math.sin))
        products = [[builder.fmul(part, factor, flags=_FUSE) for factor in (cosine, sine)] for part in a]
        (real_cosine, real_sine), (imaginary_cosine, imaginary_sine) = products
        return (
            builder.fadd(real_cosine, imaginary_sine, flags=_FUSE),
            builder.fsub(imaginary_cosine, real_sine, flags=_FUSE),
        )

    if n == 1:
        return values
    if n == 2:
        return [plus(*values), minus(*values)]
    parts = [_transform(builder, values[first::4]) for first in range(4)]
    out = [None] * n
    for k in range(n // 4):
        a, b, c, d = (turned(part[k], number * k) for number, part in enumerate(parts))
        even, odd, sums, (real, imaginary) = plus(a, c), minus(a, c), plus(b, d), minus(b, d)
        out[k], out[k + n // 2] = plus(even, sums), minus(even, sums)
        # Times -i: (real, imaginary) becomes (imaginary, -real).
        first = builder.fadd(odd[0], imaginary, flags=_FUSE), builder.fsub(odd[1], real, flags=_FUSE)
        third = builder.fsub(odd[0], imaginary, flags=_FUSE), builder.fadd(odd[1], real, flags=_FUSE)
        out[k + n // 4], out[k + 3 * n // 4] = first, third
    return out


def _transform32(lanes, count):
    """Make the transform of 32 positions, `step` apart; the first `count` results are kept.

    A position holds `lanes` real and then as many imaginary parts, which are transformed at once.
    """

    @intrinsic
    def transform(typingctx, source, at, step, target, to, step_to):
        def codegen(context, builder, signature, args):
            of, into = (_Array(context, builder, signature, args, number) for number in (0, 3))

            def position(begin, step, k):
                return builder.add(begin, builder.mul(step, ir.Constant(_I64, k)))

            values = [
                tuple(of.load(position(args[1], args[2], k), _floats(lanes), part) for part in (0, lanes))
                for k in range(SIDE)
            ]
            for k, (real, imaginary) in enumerate(_transform(builder, values)[:count]):
                into.store(real, position(args[4], args[5], k))
                into.store(imaginary, position(args[4], args[5], k), lanes)
            return context.get_dummy_value()

        return types.void(source, at, step, target, to, step_to), codegen

    return transform


transform_cells = _transform32(PAIRS, SIDE)
transform_scores = _transform32(SCORES, VALID)


@intrinsic
def filter_frequencies(typingctx, tile, at, opposite, spectra, start, other, scores, to, to_opposite):
    """The detectors' filters at one frequency and at the opposite one.

    At each, complex products with PAIRS values are summed to P, whose transform's real part is a detector's scores. So
    the scores' own transform is half of H = P + conj(P of the opposite frequency), and H is conj(H) there. Two
    detectors' scores are the real and the imaginary part of one transform back, that of conj(H) + i conj(H').
    """

    def codegen(context, builder, signature, args):
        cells, filters, out = (_Array(context, builder, signature, args, number) for number in (0, 3, 6))
        four = _floats(4)

        def add(total, a, b):
            return builder.fadd(total, builder.fmul(a, b, flags=_FUSE), flags=_FUSE)

        def subtract(total, a, b):
            return builder.fsub(total, builder.fmul(a, b, flags=_FUSE), flags=_FUSE)

        values = [
            [tuple(cells.load(at, four, lane + part) for part in (0, PAIRS)) for lane in range(0, PAIRS, 4)]
            for at in args[1:3]
        ]
        zero = _all(four, 0.0)
        reals, imaginaries = [], []
        for detector in range(DETECTORS):
            real = imaginary = zero
            for lane in range(0, PAIRS, 4):
                for begin, pairs, turn in ((args[4], values[0], add), (args[5], values[1], subtract)):
                    x, y = pairs[lane // 4]
                    u, v = (filters.load(begin, four, 2 * PAIRS * detector + part + lane) for part in (0, PAIRS))
                    real = subtract(add(real, x, u), y, v)
                    imaginary = turn(turn(imaginary, x, v), y, u)
            reals.append(real)
            imaginaries.append(imaginary)
        real = _lane_sums(builder, *reals[::2], zero)
        imaginary = _lane_sums(builder, *imaginaries[::2], zero)
        partners = _lane_sums(builder, *reals[1::2], *imaginaries[1::2])
        partner_real, partner_imaginary = (
            _shuffle(builder, partners, zero, lanes) for lanes in ([0, 1, 4, 5], [2, 3, 4, 5])
        )
        out.store(builder.fadd(real, partner_imaginary), args[7])
        out.store(builder.fsub(partner_real, imaginary), args[7], SCORES)
        out.store(builder.fsub(real, partner_imaginary), args[8])
        out.store(builder.fadd(partner_real, imaginary), args[8], SCORES)
        return context.get_dummy_value()

    return types.void(tile, at, opposite, spectra, start, other, scores, to, to_opposite), codegen


@intrinsic
def dot320(typingctx, cells, at, weights, start):
    """The sum of 320 products."""

    def codegen(context, builder, signature, args):
        values, factors = (_Array(context, builder, signature, args, number) for number in (0, 2))
        eight = _floats(8)
        sums = [_all(eight, 0.0)] * 4
        for k in range(0, 320, 8):
            product = builder.fmul(values.load(args[1], eight, k), factors.load(args[3], eight, k), flags=_FUSE)
            sums[k // 8 % 4] = builder.fadd(sums[k // 8 % 4], product, flags=_FUSE)
        total = builder.fadd(builder.fadd(*sums[:2]), builder.fadd(*sums[2:]))
        for half in (4, 2, 1):
            parts = (_shuffle(builder, total, total, list(range(first, first + half))) for first in (0, half))
            total = builder.fadd(*parts)
        return builder.extract_element(total, ir.Constant(ir.IntType(32), 0))

    return types.float32(cells, at, weights, start), codegen


@intrinsic
def reaching8(typingctx, scores, at, lowest):
    """A bit for each of 8 scores that is at least as high as its value of `lowest`."""

    def codegen(context, builder, signature, args):
        values, limits = (_Array(context, builder, signature, args, number) for number in (0, 2))
        pair = values.load(args[1], _floats(8)), limits.load(ir.Constant(_I64, 0), _floats(8))
        return builder.zext(builder.bitcast(builder.fcmp_ordered(">=", *pair), ir.IntType(8)), _I64)

    return types.uint64(scores, at, lowest), codegen


@intrinsic
def patch_sums(typingctx, crop, at, stride, across, down, planes, start, step, plane, out):
    """Sums over 8x8 pixels of r, r^2, r dx and r dy, r a crop between its pixels less the reference, to `out` (4,).

    `across` and `down` are the fractions of a pixel from `at` on. From `start` on, rows of `step`, the reference and
    its derivatives dx and dy stand one `plane` after another.
    """

    def codegen(context, builder, signature, args):
        pixels, reference, sums = (_Array(context, builder, signature, args, number) for number in (0, 5, 9))
        _, at, stride, across, down, _, start, step, plane, _ = args
        eight = _floats(8)
        across, down = _broadcast(builder, across, 8), _broadcast(builder, down, 8)

        def fused(a, b, c):
            return builder.fadd(a, builder.fmul(b, c, flags=_FUSE), flags=_FUSE)

        def between(first, second, part):
            return fused(first, part, builder.fsub(second, first))

        def row_of(place):
            return between(pixels.load(place, eight), pixels.load(place, eight, 1), across)

        totals = [_all(eight, 0.0)] * 4
        above = row_of(at)
        for _ in range(8):
            at = builder.add(at, stride)
            below = row_of(at)
            values = [reference.load(start, eight)]
            for place in (builder.add(start, plane), builder.add(start, builder.add(plane, plane))):
                values.append(reference.load(place, eight))
            apart = builder.fsub(between(above, below, down), values[0])
            totals[0] = builder.fadd(totals[0], apart)
            for number, factor in enumerate((apart, *values[1:]), start=1):
                totals[number] = fused(totals[number], apart, factor)
            above, start = below, builder.add(start, step)
        for number, total in enumerate(totals):
            for half in (4, 2, 1):
                parts = (_shuffle(builder, total, total, list(range(first, first + half))) for first in (0, half))
                total = builder.fadd(*parts)
            value = builder.extract_element(total, ir.Constant(ir.IntType(32), 0))
            sums.store(value, ir.Constant(_I64, number))
        return context.get_dummy_value()

    return types.void(crop, at, stride, across, down, planes, start, step, plane, out), codegen
