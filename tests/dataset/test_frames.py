"""The order of frames by their file names."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from fastck.dataset.frames import order_frames

prefixes, digits = st.sampled_from(["", "f", "S005_001_"]), st.text("0123456789", max_size=4)
file_names = st.tuples(prefixes, digits, st.sampled_from([".png", ".jpg"])).map("".join)
names = st.lists(file_names, min_size=1, max_size=12, unique=True)


@given(names)
def test_no_file_is_dropped_silently(files: list[str]):
    order = order_frames(files)
    accounted = [*order.names, *order.unnumbered, *(name for _, _, rest in order.duplicates for name in rest)]
    assert sorted(accounted) == sorted(files)


@given(names, st.randoms())
def test_order_does_not_depend_on_the_listing(files: list[str], random: object):
    shuffled = list(files)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert order_frames(shuffled) == order_frames(files)


@given(st.lists(st.integers(0, 10**12), min_size=1, unique=True), st.booleans())
def test_order_is_numeric(numbers: list[int], padded: bool):
    files = [f"S005_001_{number:08d}.png" if padded else f"frame{number}.png" for number in numbers]
    expected = [name for _, name in sorted(zip(numbers, files, strict=True))]
    assert list(order_frames(files).names) == expected


def test_without_padding():
    assert order_frames(["10.png", "9.png", "1.png"]).names == ("1.png", "9.png", "10.png")


def test_number_that_differs_is_the_frame_number():
    order = order_frames([f"clip{n}_30fps_2.png" for n in (10, 9, 8)])
    assert order.names == ("clip8_30fps_2.png", "clip9_30fps_2.png", "clip10_30fps_2.png")
    assert order.duplicates == ()


def test_duplicates_prefer_lossless_then_the_usual_name_then_more_digits():
    assert order_frames(["1.jpg", "1.png", "2.jpg"]).duplicates == ((1, "1.png", ("1.jpg",)),)
    assert order_frames(["001.png", "01.png", "1.png"]).names == ("001.png",)
    order = order_frames(["b1.png", "b2.png", "a2.png", "b3.png"])
    assert order.names == ("b1.png", "b2.png", "b3.png")
    assert order.duplicates == ((2, "b2.png", ("a2.png",)),)


def test_the_frame_number_is_found_whichever_number_it_is():
    for names in (["a1_30_2.png", "a2_30_2.png"], ["a1_30.png", "a2_30.png"], ["7_1.png", "7_2.png"]):
        order = order_frames(names)
        assert order.names == tuple(names)
        assert order.duplicates == ()


def test_lossless_types_have_their_ranks():
    ranked = ["1.png", "1.tif", "1.bmp", "1.jpg"]
    for better, worse in pairwise(ranked):
        assert order_frames([worse, better]).names == (better,)
        assert order_frames([better, worse]).names == (better,)


def test_names_without_numbers():
    order = order_frames(["b.png", "a.png"])
    assert (order.names, order.numbered) == (("a.png", "b.png"), False)
    assert order_frames(["apex.png"]).numbered is False
    mixed = order_frames(["2.png", "apex.png", "1.png"])
    assert (mixed.names, mixed.unnumbered) == (("1.png", "2.png"), ("apex.png",))


def test_gaps():
    assert order_frames([f"{n}.png" for n in (1, 2, 3, 7, 8, 20)]).gaps == ((3, 7), (8, 20))
    assert order_frames([f"{n}.png" for n in range(0, 50, 5)]).gaps == ()
    assert order_frames([f"{n}.png" for n in (0, 5, 10, 20, 25)]).gaps == ((10, 20),)
    assert order_frames(["3.png"]).gaps == ()


def test_times_are_ordered_by_all_their_numbers():
    clock = [f"RGB-11-{s // 1000 + 26:02d}-{s % 1000:03d}.png" for s in range(765, 4000, 33)]
    assert list(order_frames(sorted(clock, key=lambda name: name[-7:])).names) == clock
    assert order_frames(clock).open_order is False
    seconds = [f"t{0.765 + 0.033 * n:.3f}.png" for n in range(60)]
    assert list(order_frames(seconds[::-1]).names) == seconds
    mixed = ["t0.5.png", "t0.75.png", "t1.0.png", "t1.25.png"]
    assert list(order_frames(mixed[::-1]).names) == mixed
    counted = [f"clip1.{n}.png" for n in range(1, 13)]
    assert list(order_frames(counted[::-1]).names) == counted


def test_names_that_leave_the_order_open_are_told():
    assert order_frames(["9_1.png", "4_2.png", "7_3.png"]).open_order
    assert not order_frames(["1_4.png", "2_7.png", "3_9.png"]).open_order
