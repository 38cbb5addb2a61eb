"""The label parser: one emotion code or one clear sentence, whatever the bytes."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fastck.dataset.labelfiles import parse_label
from fastck.dataset.labels import EMOTIONS, emotion_of_name


@given(st.sampled_from(sorted(EMOTIONS)), st.text(" \t\r\n", max_size=5), st.text(" \t\r\n", max_size=5))
def test_ckplus_notation(code: int, before: str, after: str):
    assert parse_label(f"{before}{code:.7e}{after}".encode()) == code
    assert parse_label(f"{before}{code}{after}".encode()) == code
    assert parse_label(b"\xef\xbb\xbf" + f"{before}{code}.0{after}".encode()) == code


@given(st.binary(max_size=40) | st.text("0123456789.eE+-_ \nnaif", max_size=12).map(str.encode))
@example(b"1_0")
@example("٣".encode())
@example(b"0x3")
@example(b"3e")
@example(b"1e999999999")
@example(b"\x003\x00")
def test_any_bytes_give_a_code_or_one_line(content: bytes):
    try:
        code = parse_label(content)
    except ValueError as error:
        message = str(error)
    else:
        assert code in EMOTIONS
        assert float(content.decode("utf-8-sig")) == code
        return
    assert message.isprintable()
    assert 10 < len(message) < 250


@given(st.floats())
def test_only_whole_codes_pass(value: float):
    if value in EMOTIONS:
        assert parse_label(repr(value).encode()) == value
    else:
        with pytest.raises(ValueError, match=r"must (be a whole number from 0 to 7|hold one number), got"):
            parse_label(repr(value).encode())


def test_messages_show_what_was_there():
    with pytest.raises(ValueError, match="the label file is empty"):
        parse_label(b"")
    with pytest.raises(ValueError, match=r"must be a whole number from 0 to 7, got 9\.0"):
        parse_label(b" 9.0\n")
    with pytest.raises(ValueError, match=r"must hold one number, got '3\\n5'"):
        parse_label(b"3\n5\n")
    with pytest.raises(ValueError, match=r"got 'x{40}\.\.\.'"):
        parse_label(b"x" * 1000)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("anger", 1),
        ("ANGER", 1),
        ("Happy", 5),
        ("happiness", 5),
        ("sad", 6),
        ("angry", 1),
        ("contemptuous", 2),
        ("disgusted", 3),
        ("fearful", 4),
        ("joy", 5),
        ("surprised", 7),
        (" surprise ", 7),
        ("0", 0),
        ("03", 3),
        ("neutral", 0),
        ("8", None),
        ("999999", None),
        ("٣", None),
        ("", None),
        ("S005", None),
        ("anger2", None),
    ],
)
def test_folder_names(name: str, code: int | None):
    assert emotion_of_name(name) == code
