"""Motion masks as bits, 64 pixels in a machine word: one pass from frames to every feature of a store.

A frame is cut into strips of up to 56 columns. A word holds one row of a strip plus the columns that erosion needs
beside it, so no bit ever has to cross from word to word: overlapping loads are cheaper than carries.
`benchmarks/naive.py` has the plain loops that all this has to equal. The vector instructions stand first, the loops
over them follow in the same file: Numba's cache on disk does not notice edits in another one.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastck.kernels import kernel

BYTE, WORD = ir.IntType(8), ir.IntType(64)
ROWS = 32  # rows that `_count_rows` adds to its counters at a time: eight vectors of four words
PLANES = 8  # bits of a counter; so at most 255 rows in each of its four lanes
WRAP, ABSOLUTE, SATURATE, SIGN = 0, 1, 2, 3  # SIGN: wrap above 127, which is the highest bit
LARGEST_FOOTPRINT = 57  # leaves eight columns of a word: a strip has to be whole bytes


def _splat(builder, value, lanes):
    """Vector with the same value in every lane."""
    vector = ir.VectorType(value.type, lanes)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), ir.Constant(_mask(lanes), [0] * lanes))


def _mask(lanes):
    return ir.VectorType(ir.IntType(32), lanes)


def _element(context, builder, array_type, array, index):
    """Address of an array's element, counted from its first one."""
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [index])


def _load(builder, address, vector):
    """Load a vector from an address of any alignment."""
    return builder.load(builder.bitcast(address, vector.as_pointer()), align=1)


def _store(builder, value, address):
    builder.store(value, builder.bitcast(address, value.type.as_pointer()), align=1)


def _spread(builder, word):
    """64 bits as 64 bytes of 0 or 255, by repeating each byte and testing one bit of each copy."""
    eight, vector = ir.VectorType(BYTE, 8), ir.VectorType(BYTE, 64)
    parts = builder.bitcast(word, eight)
    copies = builder.shuffle_vector(parts, parts, ir.Constant(_mask(64), [i // 8 for i in range(64)]))
    bits = ir.Constant(vector, [ir.Constant(BYTE, 1 << (i % 8)) for i in range(64)])
    return builder.sext(builder.icmp_signed("==", builder.and_(copies, bits), bits), vector)


def _call(builder, name, vector, *values):
    """Call one of LLVM's intrinsics on vectors."""
    module = builder.module
    lanes = vector.count
    full = f"llvm.{name}.v{lanes}i{vector.element.width}"
    function = cgutils.get_or_insert_function(module, ir.FunctionType(vector, [vector] * len(values)), full)
    return builder.call(function, values)


@intrinsic
def _tune(typing):
    """Tune the function for x86-64-v3, not for the very processor, where that has AVX-512.

    Tuned for their own kind, AMD's unroll loops over a few words eight times and Intel's keep to 256 bits: the fused
    projections took 3.35 us a frame in place of 2.9.
    """

    def codegen(context, builder, signature, args):
        if "+avx512f" in context.codegen().magic_tuple()[2]:
            set.add(builder.function.attributes, '"tune-cpu"="x86-64-v3"')  # llvmlite's own add has a closed list
        return context.get_dummy_value()

    return types.none(), codegen


# Portable vector code: LLVM turns it into vpsubb and vpmovmskb on AVX2, mask registers on AVX-512, shifts and adds on
# NEON. x > level is the sign of x + (127 - level) or x - (level - 127), saturated: only the sign is read. Two
# differences at a time load the frame between them once.
def _compare(typing, frames, difference, *, sign=False):
    def codegen(context, builder, signature, args):
        frames, first, second, third, up, down = args
        vector = ir.VectorType(BYTE, 64)
        places = [_element(context, builder, signature.args[0], frames, index) for index in (first, second, third)]
        a, b, c = (_load(builder, place, vector) for place in places)
        words = []
        for apart in (difference(builder, vector, a, b), difference(builder, vector, b, c)):
            if not sign:
                apart = _call(builder, "uadd.sat", vector, apart, _splat(builder, up, 64))
                apart = _call(builder, "usub.sat", vector, apart, _splat(builder, down, 64))
            words.append(builder.bitcast(builder.icmp_signed("<", apart, ir.Constant(vector, [0] * 64)), WORD))
        return context.make_tuple(builder, signature.return_type, words)

    index = types.intp
    return types.UniTuple(types.uint64, 2)(frames, index, index, index, types.uint8, types.uint8), codegen


@intrinsic
def _above_wrap(typing, frames, first, second, third, up, down):
    """Where 64 pixels from `first` on, less those from `second` on, modulo 256, exceed a level; and second, third."""
    return _compare(typing, frames, lambda builder, vector, a, b: builder.sub(a, b))


@intrinsic
def _above_sign(typing, frames, first, second, third, up, down):
    """The same for the difference modulo 256 and level 127."""
    return _compare(typing, frames, lambda builder, vector, a, b: builder.sub(a, b), sign=True)


@intrinsic
def _above_absolute(typing, frames, first, second, third, up, down):
    """The same for the absolute difference."""

    def difference(builder, vector, a, b):
        return builder.or_(_call(builder, "usub.sat", vector, a, b), _call(builder, "usub.sat", vector, b, a))

    return _compare(typing, frames, difference)


@intrinsic
def _above_saturate(typing, frames, first, second, third, up, down):
    """The same for the difference that is 0 where negative."""
    return _compare(typing, frames, lambda builder, vector, a, b: _call(builder, "usub.sat", vector, a, b))


@intrinsic
def _popcount(typing, word):
    """Number of bits set."""

    def codegen(context, builder, signature, args):
        return builder.ctpop(args[0])

    return types.uint64(types.uint64), codegen


@intrinsic
def _reverse_bits(typing, word):
    """Order of the bits within each byte turned round: the first pixel in the highest one, as np.packbits has it."""

    def codegen(context, builder, signature, args):
        return builder.bswap(builder.bitreverse(args[0]))

    return types.uint64(types.uint64), codegen


@intrinsic
def _store_word(typing, out, index, word):
    """Eight bytes of out.flat from `index` on."""

    def codegen(context, builder, signature, args):
        out, index, word = args
        _store(builder, word, _element(context, builder, signature.args[0], out, index))
        return context.get_dummy_value()

    return types.void(out, types.intp, types.uint64), codegen


@intrinsic
def _store_bits(typing, out, index, word):
    """64 bytes of out.flat from `index` on: 0 or 1 for each bit."""

    def codegen(context, builder, signature, args):
        out, index, word = args
        ones = ir.Constant(ir.VectorType(BYTE, 64), [1] * 64)
        place = _element(context, builder, signature.args[0], out, index)
        _store(builder, builder.and_(_spread(builder, word), ones), place)
        return context.get_dummy_value()

    return types.void(out, types.intp, types.uint64), codegen


# Bit-sliced counters: bit b of planes 0, 1, 2, ... are the binary digits of column b's count, so one carry-save adder
# (five logical operations) adds two more words to 64 counters at once, and four lanes count every fourth row.
@intrinsic
def _count_rows(typing, words, index, planes):
    """Add words.flat[index : index + 32] to the counters in `planes` (PLANES, 4)."""

    def codegen(context, builder, signature, args):
        words, index, planes = args
        vector = ir.VectorType(WORD, 4)
        zero = ir.Constant(types_intp, 0)

        def add(x, y, z):
            both = builder.xor(x, y)
            return builder.xor(both, z), builder.or_(builder.and_(x, y), builder.and_(both, z))

        start = _element(context, builder, signature.args[0], words, index)
        rows = [_load(builder, builder.gep(start, [ir.Constant(types_intp, 4 * i)]), vector) for i in range(ROWS // 4)]
        base = _element(context, builder, signature.args[2], planes, zero)
        places = [builder.gep(base, [ir.Constant(types_intp, 4 * i)]) for i in range(PLANES)]
        held = [_load(builder, place, vector) for place in places]
        ones, twos, fours = held[:3]
        ones, a = add(ones, rows[0], rows[1])
        ones, b = add(ones, rows[2], rows[3])
        twos, c = add(twos, a, b)
        ones, a = add(ones, rows[4], rows[5])
        ones, b = add(ones, rows[6], rows[7])
        twos, d = add(twos, a, b)
        fours, carry = add(fours, c, d)
        held[:3] = ones, twos, fours
        for place in range(3, PLANES):
            held[place], carry = builder.xor(held[place], carry), builder.and_(held[place], carry)
        for value, place in zip(held, places, strict=True):
            _store(builder, value, place)
        return context.get_dummy_value()

    types_intp = WORD
    return types.void(words, types.intp, planes), codegen


@intrinsic
def _add_counts(typing, planes, counts, index):
    """Add the counters in `planes` (PLANES, 4) to counts.flat[index : index + 64], int32."""

    def codegen(context, builder, signature, args):
        planes, counts, index = args
        vector, wide = ir.VectorType(BYTE, 64), ir.VectorType(ir.IntType(16), 64)
        total = ir.Constant(wide, [0] * 64)
        base = _element(context, builder, signature.args[0], planes, ir.Constant(WORD, 0))
        for lane in range(4):
            count = ir.Constant(vector, [0] * 64)
            for plane in range(PLANES):
                word = builder.load(builder.gep(base, [ir.Constant(WORD, 4 * plane + lane)]))
                digit = ir.Constant(vector, [ir.Constant(BYTE, 1 << plane)] * 64)
                count = builder.or_(count, builder.and_(_spread(builder, word), digit))
            total = builder.add(total, builder.zext(count, wide))
        place = _element(context, builder, signature.args[1], counts, index)
        longer = ir.VectorType(ir.IntType(32), 64)
        _store(builder, builder.add(_load(builder, place, longer), builder.zext(total, longer)), place)
        return context.get_dummy_value()

    return types.void(planes, counts, types.intp), codegen


# 2^times rows of a strip lie one after another. Each byte holds 8 / 2^times windows: count the bits of each, add the
# rows' counts by folding the vector, and one multiplication gives the mean, exactly (a power of two).
def _pool(times):
    def codegen(context, builder, signature, args):
        words, index, line, at = args
        side = 2**times
        vector = ir.VectorType(BYTE, 8 * side)
        rows = _load(builder, _element(context, builder, signature.args[0], words, index), vector)
        fields = []
        for field in range(8 // side):
            shift = ir.Constant(vector, [field * side] * vector.count)
            keep = ir.Constant(vector, [ir.Constant(BYTE, 2**side - 1)] * vector.count)
            counts = _call(builder, "ctpop", vector, builder.and_(builder.lshr(rows, shift), keep))
            while counts.type.count > 8:
                half = counts.type.count // 2
                low = builder.shuffle_vector(counts, counts, ir.Constant(_mask(half), list(range(half))))
                high = builder.shuffle_vector(counts, counts, ir.Constant(_mask(half), list(range(half, 2 * half))))
                counts = builder.add(low, high)
            fields.append(counts)
        while len(fields) > 1:  # bring windows into the order of their columns
            n = fields[0].type.count
            order = ir.Constant(_mask(2 * n), [i // 2 + n * (i % 2) for i in range(2 * n)])
            half = len(fields) // 2
            fields = [builder.shuffle_vector(fields[i], fields[i + half], order) for i in range(half)]
        floats = ir.VectorType(ir.FloatType(), fields[0].type.count)
        scale = ir.Constant(floats, [1.0 / side**2] * floats.count)
        means = builder.fmul(builder.uitofp(fields[0], floats), scale)
        _store(builder, means, _element(context, builder, signature.args[2], line, at))
        return context.get_dummy_value()

    return codegen


@intrinsic
def _pool_1(typing, words, index, line, at):
    """Means of the 2x2 windows of two rows from words.flat[index] on, to line[at : at + 32]."""
    return types.void(words, types.intp, line, types.intp), _pool(1)


@intrinsic
def _pool_2(typing, words, index, line, at):
    """Means of the 4x4 windows of four rows from words.flat[index] on, to line[at : at + 16]."""
    return types.void(words, types.intp, line, types.intp), _pool(2)


@intrinsic
def _pool_3(typing, words, index, line, at):
    """Means of the 8x8 windows of eight rows from words.flat[index] on, to line[at : at + 8]."""
    return types.void(words, types.intp, line, types.intp), _pool(3)


@kernel
def _compare_rows(frames, onset, t, mode, level, starts, above, words):
    """Where frame t is above frame t + 1 by more than `level`, and t + 1 above t + 2, if there is one.

    64 columns from starts[j] on to words[t % 2, j, above + r] and words[1 - t % 2, j, above + r], uint64. With `onset`,
    where frame 0 is above frame t + 1; the second word then means nothing.
    """
    _tune()
    height, pitch = frames.shape[1], frames.shape[2]
    up, down = np.uint8(max(127 - level, 0)), np.uint8(max(level - 127, 0))
    step = height * pitch
    then = step if t + 2 < frames.shape[0] else 0
    now = t % 2
    for r in range(height):
        row = (t * height + r) * pitch
        for j in range(starts.size):
            second = row + starts[j] + step
            first = r * pitch + starts[j] if onset else second - step
            third = second + then
            if mode == SIGN:
                word, after = _above_sign(frames, first, second, third, up, down)
            elif mode == WRAP:
                word, after = _above_wrap(frames, first, second, third, up, down)
            elif mode == ABSOLUTE:
                word, after = _above_absolute(frames, first, second, third, up, down)
            else:
                word, after = _above_saturate(frames, first, second, third, up, down)
            words[now, j, above + r] = word
            words[1 - now, j, above + r] = after


@kernel
def _erode_strip(words, spare, size, tall, lift, drop, outside, keep, eroded):
    """Rows of a strip, eroded: words (height + tall - 1,) uint64 -> eroded (height,); tall <= size rows fit the frame.

    A word at the frame's edge was loaded from within the row: `lift` and `drop` move it into place, and the pixels
    `outside` are on, so never erode. `keep` are the strip's own columns.
    """
    _tune()
    one, two = np.uint64(1), np.uint64(2)
    height = words.size - tall + 1
    if size == 5 and tall == 5:  # the paper's footprint, in one go
        for r in range(height):
            word = words[r] & words[r + 1] & words[r + 2] & words[r + 3] & words[r + 4]
            word = ((word << lift) >> drop) | outside
            word &= word >> one
            word &= word >> two
            eroded[r] = word & (word >> one) & keep
        return
    # Windows of 1, 2, 4, ... rows, then columns; the last two overlap.
    reach = 1
    current, target, other = words, spare[0], spare[1]
    while 2 * reach <= tall:
        for r in range(height + tall - 2 * reach):
            target[r] = current[r] & current[r + reach]
        current, target, other = target, other, target
        reach *= 2
    for r in range(height):
        eroded[r] = (((current[r] & current[r + tall - reach]) << lift) >> drop) | outside
    reach = 1
    while 2 * reach <= size:
        for r in range(height):
            eroded[r] &= eroded[r] >> np.uint64(reach)
        reach *= 2
    for r in range(height):
        eroded[r] = eroded[r] & (eroded[r] >> np.uint64(size - reach)) & keep


@kernel
def _project(eroded, strip, planes, counts, rows, out):
    """Column and row means of one frame's bits: eroded (strips, multiple of ROWS) uint64 -> out (2, N) float32."""
    _tune()
    n = out.shape[1]
    padded = eroded.shape[1]
    total = np.float32(n)
    rows[:] = np.uint64(0)
    counts[:] = np.int32(0)
    for j in range(eroded.shape[0]):
        for r in range(n):
            rows[r] += _popcount(eroded[j, r])
        for first in range(0, n, 31 * ROWS):
            planes[:] = np.uint64(0)
            for r in range(first, min(first + 31 * ROWS, n), ROWS):
                _count_rows(eroded, j * padded + r, planes)
            _add_counts(planes, counts, j * strip)  # bits beyond the strip are 0
    for i in range(n):
        out[0, i] = np.float32(counts[i]) / total
        out[1, i] = np.float32(np.int32(rows[i])) / total


# Words are stored whole, one beginning where the one before it stops being valid; in the last rows of `out` that would
# reach past its end, so those are written element by element.
@kernel(inline="always")
def _whole_rows(out, t, reach):
    """Rows of frame t that leave room for `reach` elements from their start on."""
    _tune()
    return max(min((out.size - reach) // out.shape[2] + 1 - t * out.shape[1], out.shape[1]), 0)


@kernel
def _pack(eroded, strip, reverse, t, out):
    """Bits of one frame to packed rows: eroded (strips, .) uint64 -> out[t] (H, ceil(W/8)) uint8."""
    _tune()
    strips = eroded.shape[0]
    height, n = out.shape[1], out.shape[2]
    step = strip // 8
    for j in range(strips):
        for r in range(reverse.shape[1]):
            reverse[j, r] = _reverse_bits(eroded[j, r])
    whole = _whole_rows(out, t, (strips - 1) * step + 8)
    for r in range(whole):
        for j in range(strips):
            _store_word(out, (t * height + r) * n + j * step, reverse[j, r])
    for r in range(whole, height):
        for i in range(n):
            out[t, r, i] = np.uint8(reverse[i // step, r] >> np.uint64(8 * (i % step)))


@kernel
def _unpack(eroded, strip, t, out):
    """Bits of one frame to bytes of 0 and 1: eroded (strips, .) uint64 -> out[t] (H, W) uint8."""
    _tune()
    strips = eroded.shape[0]
    height, width = out.shape[1], out.shape[2]
    whole = _whole_rows(out, t, (strips - 1) * strip + 64)
    for r in range(whole):
        for j in range(strips):
            _store_bits(out, (t * height + r) * width + j * strip, eroded[j, r])
    for r in range(whole, height):
        for c in range(width):
            out[t, r, c] = np.uint8((eroded[c // strip, r] >> np.uint64(c % strip)) & np.uint64(1))


# A window cut by the edge averages the pixels it covers; repeating the last group of pixels once gives the same mean.
@kernel
def _extend(eroded, strip, height, width):
    """Repeat the last rows and columns so that 2x2, 4x4 and 8x8 windows are all full, in place."""
    _tune()
    last = (width - 1) // strip
    rows, columns = height, width
    for level in range(3):
        group = 1 << level
        if columns % 2:
            at = ((columns - 1) << level) - last * strip
            ones = (np.uint64(1) << np.uint64(group)) - np.uint64(1)
            for r in range(height):
                word = eroded[last, r]
                eroded[last, r] = word | (((word >> np.uint64(at)) & ones) << np.uint64(at + group))
        columns = (columns + 1) // 2
    for level in range(3):
        group = 1 << level
        if rows % 2:
            at = (rows - 1) << level
            for j in range(eroded.shape[0]):
                for r in range(at, at + group):
                    eroded[j, r + group] = eroded[j, r]
        rows = (rows + 1) // 2


@kernel(inline="always")
def _pool_row(eroded, strip, times, i, out, at):
    """Means of row i of windows, to out.flat from `at` on."""
    _tune()
    padded = eroded.shape[1]
    step = strip >> times
    for j in range(eroded.shape[0]):
        if times == 1:
            _pool_1(eroded, j * padded + 2 * i, out, at + j * step)
        elif times == 2:
            _pool_2(eroded, j * padded + 4 * i, out, at + j * step)
        else:
            _pool_3(eroded, j * padded + 8 * i, out, at + j * step)


@kernel
def _pool_frame(eroded, strip, times, line, t, out):
    """Means of the 2^times x 2^times windows of one frame's extended bits -> out[t] (h, w) float32."""
    _tune()
    rows, n = out.shape[1], out.shape[2]
    whole = _whole_rows(out, t, (eroded.shape[0] - 1) * (strip >> times) + (64 >> times))
    for i in range(whole):
        _pool_row(eroded, strip, times, i, out, (t * rows + i) * n)
    for i in range(whole, rows):
        _pool_row(eroded, strip, times, i, line, 0)
        for c in range(n):  # not a slice: its broadcasting checks take four seconds to compile
            out[t, i, c] = line[c]


@kernel
def motion_words(frames, width, onset, mode, level, size, work, projections, masks, packed, pools_1, pools_2, pools_3):
    """Motion masks of (T, H, W) uint8 frames in every form asked for; a form that is None is not even compiled.

    Frame t less frame t + 1, or, with `onset`, frame 0 less frame t + 1. Only the first `width` columns count; W is at
    least 64, which a word takes. `work` is scratch.
    Forms: projections (T-1, 2, N) float32, masks (T-1, H, W) uint8 of 0 and 1, packed (T-1, H, ceil(W/8)) uint8,
    pools_k (T-1, h, w) float32, pooled k = 1, 2 and 3 times; size up to LARGEST_FOOTPRINT.
    """
    _tune()
    starts, edges, words, spare, eroded, reverse, planes, counts, rows, line = work
    height = frames.shape[1]
    above, left = min(size // 2, height - 1), size // 2
    tall = above + min((size - 1) // 2, height - 1) + 1
    strip = (65 - size) // 8 * 8
    strips = (width + strip - 1) // strip
    full = ~np.uint64(0)
    for j in range(strips):
        begin = strip * j - left
        starts[j] = max(min(begin, width - 64), 0)
        edges[0, j] = np.uint64(max(starts[j] - begin, 0))  # lift
        edges[1, j] = np.uint64(max(begin - starts[j], 0))  # drop
        inside = min(64, width - begin)
        edges[2, j] = ((np.uint64(1) << edges[0, j]) - np.uint64(1)) | ~(full >> np.uint64(64 - inside))  # outside
        edges[3, j] = full >> np.uint64(64 - min(strip, width - strip * j))  # keep
    for t in range(frames.shape[0] - 1):
        if onset or t % 2 == 0:
            _compare_rows(frames, onset, t, mode, level, starts, above, words)
        for j in range(strips):
            lift, drop, outside, keep = edges[0, j], edges[1, j], edges[2, j], edges[3, j]
            _erode_strip(words[t % 2, j], spare, size, tall, lift, drop, outside, keep, eroded[j])
            eroded[j, height:] = np.uint64(0)
        if projections is not None:
            _project(eroded, strip, planes, counts, rows, projections[t])
        if masks is not None:
            _unpack(eroded, strip, t, masks)
        if packed is not None:
            _pack(eroded, strip, reverse, t, packed)
        if pools_1 is not None or pools_2 is not None or pools_3 is not None:
            _extend(eroded, strip, height, width)
        if pools_1 is not None:
            _pool_frame(eroded, strip, 1, line, t, pools_1)
        if pools_2 is not None:
            _pool_frame(eroded, strip, 2, line, t, pools_2)
        if pools_3 is not None:
            _pool_frame(eroded, strip, 3, line, t, pools_3)
