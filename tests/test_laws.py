"""Laws that hold for any input: motion, padding, boxes, ids, tables, the journal, whose rows are whose in a store.

One file across the rooms, because several laws cross them: a step's features, its place in the store and the journal
that counts on it. What a reader may rely on stands in one place.
"""

import io
import os
import string
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.lib.format import open_memmap
from rich.console import Console

import fastck
from fastck.batches.padding import pad_sequence
from fastck.config import FaceConfig, MotionConfig, PreprocessConfig
from fastck.dataset.files import look_at_files
from fastck.dataset.records import FramePaths, SequenceRecord
from fastck.dataset.walk import safe_name
from fastck.faces.box import FaceBox, clip_box, crop_boxes, fill_missing, largest
from fastck.ops.motion import (
    erode,
    frame_difference,
    motion_features,
    motion_masks,
    motion_pools,
    motion_projections,
    threshold,
    unpack_masks,
)
from fastck.store.builder import StoreBuilder
from fastck.store.finished import Entries, append_journal, journal_line, read_journal
from fastck.store.plan import Plan
from fastck.store.reader import BOXES, open_array, open_store, read_store_table
from fastck.training.data.folds import Split
from fastck.training.data.selection import select
from fastck.views.terminal import MOST_REASONS, reasons_table
from tests.helpers.tinystore import make_store, make_table

FRAMES = hnp.arrays(np.uint8, st.tuples(st.integers(2, 5), st.integers(1, 20), st.integers(1, 20)))
LEVELS = st.integers(0, 254)
SIZES = st.integers(1, 4)
MODES = st.sampled_from(["wrap", "absolute", "saturate"])
quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


# -- Motion -----------------------------------------------------------------------------------------------------------
@given(FRAMES, st.integers(0, 255), LEVELS, SIZES)
@quick
def test_wrapped_motion_does_not_see_the_brightness_of_the_whole(frames, offset, level, size):
    brighter = frames + np.uint8(offset)
    options = {"mode": "wrap", "level": level, "size": size}
    np.testing.assert_array_equal(motion_masks(brighter, **options), motion_masks(frames, **options))


@given(FRAMES, LEVELS, SIZES)
@quick
def test_absolute_motion_is_the_same_backwards(frames, level, size):
    options = {"mode": "absolute", "level": level, "size": size}
    backwards = motion_masks(np.ascontiguousarray(frames[::-1]), **options)
    np.testing.assert_array_equal(backwards[::-1], motion_masks(frames, **options))


@given(FRAMES, MODES, LEVELS, SIZES)
@quick
def test_a_higher_level_or_a_wider_footprint_never_adds(frames, mode, level, size):
    mask = motion_masks(frames, mode=mode, level=level, size=size)
    assert (motion_masks(frames, mode=mode, level=level + 1, size=size) <= mask).all()
    assert (motion_masks(frames, mode=mode, level=level, size=size + 2) <= mask).all()


@given(FRAMES, MODES, LEVELS, st.sampled_from([1, 3, 5]))
@quick
def test_rows_and_columns_are_treated_alike(frames, mode, level, size):
    turned = np.ascontiguousarray(frames.transpose(0, 2, 1))
    options = {"mode": mode, "level": level, "size": size}
    np.testing.assert_array_equal(motion_masks(turned, **options), motion_masks(frames, **options).transpose(0, 2, 1))


@given(hnp.arrays(np.uint8, st.tuples(st.integers(3, 6), st.just(16), st.just(16))), st.data())
@quick
def test_a_part_of_a_sequence_gives_a_part_of_its_rows(frames, data):
    first = data.draw(st.integers(0, len(frames) - 2))
    last = data.draw(st.integers(first + 2, len(frames)))
    names = ("projection", "mask", "pool34")
    whole = motion_features(frames, features=names, level=30, size=2)
    part = motion_features(frames[first:last], features=names, level=30, size=2)
    for name in names:
        np.testing.assert_array_equal(part[name], whole[name][first : last - 1])


@given(st.integers(0, 12), st.integers(0, 9))
@quick
def test_padding_adds_zeros_on_both_sides_and_nothing_else(length, rest):
    features = np.arange(1, length * 2 + 1, dtype=np.float32).reshape(length, 2)
    padded = pad_sequence(features, timesteps=length + rest) if length + rest else features
    left = (rest + 1) // 2
    assert padded.shape == (length + rest, 2)
    np.testing.assert_array_equal(padded[left : left + length], features)
    assert not padded[:left].any()
    assert not padded[left + length :].any()


def test_defaults_are_the_papers():
    frames = np.random.default_rng(0).integers(0, 256, (3, 30, 30), np.uint8)
    mask = (frame_difference(frames) > 127).astype(np.uint8) * 255
    np.testing.assert_array_equal(threshold(frame_difference(frames)), mask)
    still = np.ones((1, 9, 9), np.uint8)
    still[0, 4, 4] = 0
    assert erode(still).sum() == 81 - 25
    with pytest.raises(ValueError, match="T >= 2"):
        frame_difference(frames[:1])
    with pytest.raises(ValueError, match="T >= 2"):
        motion_features(frames[:1])


@pytest.mark.parametrize("operation", [motion_masks, motion_projections, motion_pools, motion_features])
def test_defaults_of_the_fused_operations_are_the_papers(operation):
    steps = np.arange(256, dtype=np.uint8)
    ramp = np.stack([np.tile(steps, (256, 1)), np.zeros((256, 256), np.uint8)])  # differences of 0 to 255
    ramp[0, ::6, 200] = 0  # gaps that footprints of 5 and of 6 leave standing apart
    np.testing.assert_equal(operation(ramp), operation(ramp, mode="wrap", level=127, size=5))


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.float32, bool])
def test_packed_masks_are_bytes(dtype):
    with pytest.raises(TypeError, match="packed must be a NumPy array of uint8"):
        unpack_masks(np.zeros((3, 34), dtype))


# -- Boxes ------------------------------------------------------------------------------------------------------------
@st.composite
def inside(draw) -> FaceBox:
    top, left = draw(st.integers(0, 90)), draw(st.integers(0, 90))
    return FaceBox(top, left, draw(st.integers(top + 1, 100)), draw(st.integers(left + 1, 100)))


@given(*[st.integers(-30, 130)] * 4)
@quick
def test_a_clipped_box_holds_the_pixels_that_both_hold(top, left, bottom, right):
    canvas = np.zeros((200, 200), bool)
    canvas[max(top + 50, 0) : max(bottom + 50, 0), max(left + 50, 0) : max(right + 50, 0)] = True
    box = clip_box(top, left, bottom, right, (100, 100))
    expected = canvas[50:150, 50:150]
    found = np.zeros((100, 100), bool)
    if box is not None:
        found[box.top : box.bottom, box.left : box.right] = True
        assert box.area == found.sum() > 0
        assert clip_box(*box, (100, 100)) == box
    np.testing.assert_array_equal(found, expected)


@given(st.lists(st.none() | inside(), max_size=12))
@quick
def test_every_frame_gets_the_nearest_face_before_it(found):
    filled = fill_missing(found)
    if not any(found):
        assert filled == []
        return
    assert len(filled) == len(found)
    first = next(box for box in found if box)
    for number, box in enumerate(filled):
        seen = [box for box in found[: number + 1] if box]
        assert box == (seen[-1] if seen else first)
    assert fill_missing(filled) == filled
    assert crop_boxes(found, "sequence") == [first] * len(found)
    assert crop_boxes(found, "frame") == filled


@given(st.lists(inside(), min_size=1, max_size=6))
@quick
def test_the_largest_is_not_smaller_than_any_and_comes_first(boxes):
    best = largest(boxes)
    assert all(best.area >= box.area for box in boxes)
    assert boxes.index(best) == min(n for n, box in enumerate(boxes) if box.area == best.area)


# -- Names and tables -------------------------------------------------------------------------------------------------
# What a folder may be called: any bytes but these two, undecodable ones as os.fsdecode gives them.
NAMES = st.binary(min_size=1, max_size=60).map(lambda data: os.fsdecode(data.replace(b"/", b"_").replace(b"\0", b"\r")))


@given(st.lists(NAMES, min_size=1, max_size=3))
@quick
def test_an_id_is_a_harmless_file_name(parts):
    name = safe_name(tuple(parts))
    assert name
    assert Path(name).name == name
    assert name[0] not in ".-"
    assert not set(name) & set("/\\\0\n\r\t *?\"'<>|;&$`")
    assert len(name.encode()) <= 120
    assert safe_name((name,)) == name


def test_an_id_is_as_long_as_it_may_be():
    assert safe_name(("x" * 120,)) == "x" * 120
    assert len(safe_name(("x" * 121,))) == 120


def test_folds_are_counted_from_one():
    assert Split(test=("a",)).name == "repeat1-fold01"
    assert Split(repeat=2, fold=11, test=("a",)).name == "repeat3-fold12"


def test_a_sequence_as_long_as_the_window_is_not_too_long():
    table = make_table(subjects=2, frames=(8, 8))
    for too_long in ("error", "skip"):
        assert len(select(table, classes=(1, 3), timesteps=7, too_long=too_long)) == 4


@given(st.lists(st.tuples(NAMES, NAMES), min_size=1, max_size=5))
@quick
def test_tables_bring_back_any_text(tmp_path, rows):
    from fastck.store.tables import has_returns, table_parts

    path = tmp_path / "table.csv"
    path.write_bytes(b"".join(table_parts(("sequence", "folder"), rows, quoted=has_returns(chain.from_iterable(rows)))))
    read = read_store_table(path, {"sequence": "str", "folder": "str"})
    assert read.to_numpy().tolist() == list(map(list, rows))


@given(st.dictionaries(st.text(string.ascii_lowercase, min_size=1), NAMES, min_size=1, max_size=60))
@quick
def test_the_table_of_reasons_is_short_and_shows_any_text(reasons):
    out = io.StringIO()
    table = reasons_table(reasons)
    Console(file=out, width=100).print(table)
    assert table.row_count <= min(len(reasons), MOST_REASONS + 1)
    assert all(letter.isprintable() or letter == "\n" for letter in out.getvalue())


@given(
    st.builds(
        PreprocessConfig,
        faces=st.builds(
            FaceConfig,
            crop=st.sampled_from(["frame", "sequence", "smooth"]),
            upsample=st.lists(st.integers(0, 2), min_size=1, max_size=3).map(tuple),
            side=st.integers(8, 4096),
        ),
        motion=st.builds(MotionConfig, mode=MODES, level=st.integers(0, 255), size=st.integers(1, 99)),
    )
)
@quick
def test_a_configuration_comes_back_from_its_values(config):
    again = PreprocessConfig.from_dict(config.as_dict())
    assert again == config
    assert again.hash() == config.hash()


# -- Journal ----------------------------------------------------------------------------------------------------------
JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3))
LINES = st.lists(st.dictionaries(st.text(max_size=8), JSON, min_size=1, max_size=3), min_size=1, max_size=6)


@given(LINES, st.data())
@quick
def test_a_torn_journal_keeps_its_whole_lines_and_takes_new_ones(tmp_path, lines, data):
    path = tmp_path / "journal.jsonl"
    path.unlink(missing_ok=True)
    for line in lines:
        append_journal(path, journal_line(line))
    content = path.read_bytes()
    keep = data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:keep])
    whole = content[:keep].count(b"\n")
    assert list(read_journal(path))[:whole] == lines[:whole]
    assert len(list(read_journal(path))) <= whole + 1  # a line that lacks its line break only is whole
    append_journal(path, journal_line({"new": 1}))
    assert list(read_journal(path))[-1] == {"new": 1}
    assert list(read_journal(path))[:whole] == lines[:whole]


@given(LINES, st.data())
@quick
def test_a_damaged_byte_costs_the_lines_it_touches(tmp_path, lines, data):
    path = tmp_path / "journal.jsonl"
    path.unlink(missing_ok=True)
    for line in lines:
        append_journal(path, journal_line(line))
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    read = list(read_journal(path))
    assert len(read) >= len(lines) - 2  # a line break that is gone joins two
    assert all(line in lines for line in read)


# -- The store's rows -------------------------------------------------------------------------------------------------
class Killed(BaseException):
    """Stands for a kill."""


ROW = {"height": 9, "width": 9, "n_missed": 0, "n_box_changes": 0, "motion": 0.5, "motion_at_box_changes": float("nan")}


@given(
    st.lists(st.tuples(st.integers(1, 6), st.booleans()), min_size=1, max_size=7),
    st.randoms(use_true_random=False),
    st.integers(0, 7),
)
@settings(max_examples=25, deadline=None)
def test_every_sequence_finds_its_own_rows(tmp_path_factory, sequences, random, killed_after):
    """Whatever their lengths, whichever fail, in whatever order they are done, and with a kill in between."""
    path = tmp_path_factory.mktemp("laws") / "store"
    config = PreprocessConfig(faces=FaceConfig(side=8), features=("projection", "mask"))
    generator = np.random.default_rng(random.randint(0, 2**32))
    records, rows, good = [], {}, []
    for number, (n_frames, sound) in enumerate(sequences):
        name = f"S{number:03d}"
        frames = FramePaths(path / name, tuple(f"{frame}.png" for frame in range(n_frames)))
        emotion = None if number % 2 else number
        records.append(SequenceRecord(sequence=name, subject=name, emotion=emotion, frames=frames))
        if sound and n_frames > 1:
            good.append(name)
        rows[name] = {
            "projection": generator.random((n_frames - 1, 2, 8)).astype(np.float32),
            "mask": generator.integers(0, 256, (n_frames - 1, 8, 1), np.uint8),
            BOXES: generator.integers(0, 9, (n_frames, 4)).astype(np.int32),
        }
    plan = Plan(records, path, look_at_files(records)[0])
    order = random.sample(range(len(plan)), len(plan))

    versions = {"fastck": fastck.__version__}

    def work(builder: StoreBuilder, most: int) -> None:
        todo = [place for place in order if plan[place].sequence not in builder.done]
        for count, place in enumerate(todo):
            if count == most:
                raise Killed
            planned = plan[place]
            writer = builder.target.writer(planned)
            for name, values in rows[planned.sequence].items():
                for part in np.array_split(values, 2):
                    writer.write({name: part})
            entry = writer.entry(ROW) if planned.sequence in good else {"reason": "bad"}
            builder.record(Entries.of([(place, planned.sequence, entry)], builder.target.arrays))

    try:
        with StoreBuilder(path, config, plan, versions=versions) as builder:
            work(builder, killed_after)
    except Killed:
        pass
    with StoreBuilder(path, config, plan, versions=versions) as builder:
        assert len(builder.done) == min(killed_after, len(plan))
        work(builder, len(plan))
        builder.finish()
    store = open_store(path)
    assert list(store.table["sequence"]) == good
    assert list(store.quarantine["sequence"]) == [planned.sequence for planned in plan if planned.sequence not in good]
    assert list(store.verify()) == []
    for name in good:
        row = store.row(name)
        np.testing.assert_array_equal(store.sequence(name, "projection"), rows[name]["projection"])
        np.testing.assert_array_equal(store.feature("mask")[row.start : row.start + row.length], rows[name]["mask"])
        np.testing.assert_array_equal(store.boxes[row.frame_start : row.frame_start + row.n_frames], rows[name][BOXES])
    assert len(store.boxes) == sum(len(rows[name][BOXES]) for name in good)


@pytest.fixture(scope="module")
def small_store(tmp_path_factory):
    path = tmp_path_factory.mktemp("small") / "store"
    return make_store(path, make_table(subjects=2, emotions=(1, 3)), side=8)


def test_a_header_that_says_it_is_shorter_is_noticed(small_store):
    """It would move all values by as many bytes."""
    altered = bytearray((small_store.path / "mask.npy").read_bytes())
    altered[8] -= 1
    damaged = small_store.path / "damaged.npy"
    damaged.write_bytes(bytes(altered))
    with pytest.raises(ValueError, match=r"damaged\.npy is damaged"):
        open_array(damaged)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_damage_to_an_array_s_header_is_noticed_or_harmless(small_store, data):
    path = small_store.path / "mask.npy"
    content = path.read_bytes()
    right = np.array(open_memmap(path, mode="r"))
    altered = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        altered[data.draw(st.integers(0, 127))] = data.draw(st.integers(0, 255))
    keep = data.draw(st.sampled_from([len(content), 0, 5, 9, 60, 128, len(content) - 1]))
    damaged = path.with_name("damaged.npy")
    damaged.write_bytes(bytes(altered[:keep]))
    try:
        found = open_array(damaged)
    except ValueError as error:
        said = str(error)
    else:
        # What opens is right, or of another shape or dtype, which `Store.feature` refuses.
        other = found.shape != right.shape or found.dtype != right.dtype
        said = "damaged.npy" if other or (found == right).all() else "other values"
    assert "damaged.npy" in said
