"""Face boxes and crop policies; the oracle for detection and crops is dlib and OpenCV themselves."""

import cv2
import dlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastck.faces.box import FaceBox, clip_box, crop, crop_boxes, fill_missing, largest, smooth_boxes
from fastck.faces.detector import Detector, box_from_dlib

A, B, C = FaceBox(0, 0, 10, 10), FaceBox(5, 5, 30, 30), FaceBox(1, 2, 11, 12)

boxes = st.builds(
    lambda top, left, height, width: FaceBox(top, left, top + height, left + width),
    st.integers(0, 300),
    st.integers(0, 300),
    st.integers(1, 300),
    st.integers(1, 300),
)


def test_detector_gives_dlibs_faces_and_the_papers_crop(sample):
    gray = cv2.imread(str(sample / "cohn-kanade-images/L008/001/L008_001_00000001.png"), 0)
    (rectangle,) = dlib.get_frontal_face_detector()(gray, 1)
    (box,) = Detector(upsample=1)(gray)
    cut = gray[rectangle.top() : rectangle.bottom(), rectangle.left() : rectangle.right()]
    np.testing.assert_array_equal(crop(gray, box), cv2.resize(cut, (267, 267)))


def test_detector_finds_nothing_in_an_empty_frame():
    assert Detector(upsample=0)(np.zeros((120, 120), np.uint8)) == []


@pytest.mark.parametrize(
    ("gray", "error"),
    [
        ([[1]], TypeError),
        (np.zeros((8, 8), np.float32), TypeError),
        (np.zeros((0, 8), np.uint8), ValueError),
        (np.zeros((8, 8, 3), np.uint8), ValueError),
    ],
)
def test_detector_refuses_what_is_not_a_gray_frame(gray, error):
    with pytest.raises(error, match="gray must"):
        Detector(upsample=0)(gray)


def test_detector_refuses_a_strange_upsample():
    with pytest.raises(ValueError, match="upsample must be 0, 1 or 2, got 7"):
        Detector(upsample=7)


@given(st.integers(-50, 150), st.integers(-50, 150), st.integers(-50, 150), st.integers(-50, 150))
def test_a_dlib_rectangle_becomes_the_part_inside_the_image(left, top, right, bottom):
    box = box_from_dlib(dlib.rectangle(left, top, right, bottom), (100, 80))
    covered = np.zeros((300, 300), bool)
    if bottom > top and right > left:
        covered[top + 100 : bottom + 100, left + 100 : right + 100] = True
    inside = covered[100:200, 100:180]
    if box is None:
        assert not inside.any()
    else:
        expected = np.zeros_like(inside)
        expected[box.top : box.bottom, box.left : box.right] = True
        np.testing.assert_array_equal(inside, expected)


def test_crop_refuses_a_box_outside_of_the_image():
    with pytest.raises(ValueError, match="box must lie inside the 20x10 image"):
        crop(np.zeros((10, 20), np.uint8), FaceBox(0, 0, 11, 5))


def test_crop_fills_out():
    gray = np.random.default_rng(0).integers(0, 256, (50, 60), np.uint8)
    out = np.zeros((3, 16, 16), np.uint8)
    returned = crop(gray, FaceBox(5, 5, 45, 45), side=16, out=out[1])
    np.testing.assert_array_equal(out[1], returned)
    np.testing.assert_array_equal(out[1], cv2.resize(gray[5:45, 5:45], (16, 16)))
    assert not out[[0, 2]].any()


def test_largest_is_the_first_of_equals():
    assert largest([A, B, C]) == B
    assert largest([A, C]) == A
    assert largest([]) is None


def test_missing_boxes_come_from_the_last_face_and_leading_ones_from_the_first():
    assert fill_missing([None, None, A, None, B, None]) == [A, A, A, A, B, B]
    assert fill_missing([None, None]) == []


def test_policies():
    found = [None, A, B, A, A, A]
    assert crop_boxes(found, "frame") == [A, A, B, A, A, A]
    assert crop_boxes(found, "sequence") == [A] * 6
    assert crop_boxes(found, "smooth") == [A] * 6  # a one-frame jump is gone
    assert crop_boxes([None], "smooth") == []


@given(st.lists(boxes, min_size=1, max_size=12))
def test_smoothed_boxes_are_boxes_whose_edges_were_there(found):
    smoothed = smooth_boxes(found)
    assert len(smoothed) == len(found)
    for edge in range(4):
        assert {box[edge] for box in smoothed} <= {box[edge] for box in found}
    assert all(clip_box(*box, shape=(600, 600)) == box for box in smoothed)


@given(boxes, st.integers(1, 10))
def test_a_still_box_stays_as_it_is(box, length):
    for policy in ("frame", "sequence", "smooth"):
        assert crop_boxes([box] * length, policy) == [box] * length
