"""How often files are decoded, and what is kept of them meanwhile."""

import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import fastck
from fastck.config import FaceConfig, PreprocessConfig
from fastck.dataset.clip import clip_record
from fastck.dataset.records import SequenceRecord
from fastck.pipeline import frames as reading
from fastck.pipeline.frames import BadSequence, ReadOnce
from fastck.pipeline.sequence import process_record
from tests.helpers.stores import assert_same_store


@pytest.fixture
def decodes(monkeypatch):
    """Count how often each file is decoded."""
    count: Counter[str] = Counter()
    real = reading.read_gray

    def counted(path):
        count[str(path)] += 1
        return real(path)

    monkeypatch.setattr(reading, "read_gray", counted)
    return count


@pytest.mark.parametrize("preset", ["stable", "paper", "aligned"])
def test_every_file_is_decoded_once(sample, tmp_path, decodes, preset):
    fastck.preprocess(sample, tmp_path / "store", preset=preset, box_cache=False)
    assert set(decodes) == {str(path) for record in fastck.scan(sample).records for path in record.frames}
    assert set(decodes.values()) == {1}


def test_more_frames_than_are_kept_are_decoded_twice_to_the_same_bytes(sample, tmp_path, decodes, monkeypatch):
    faces = FaceConfig(crop="frame", upsample=(0,), search="tracked")
    once = fastck.preprocess(sample, tmp_path / "once", faces=faces, box_cache=False)
    decodes.clear()
    monkeypatch.setattr(reading, "KEPT_BYTES", 2 * 640 * 480)
    twice = fastck.preprocess(sample, tmp_path / "twice", faces=faces, box_cache=False)
    assert set(decodes.values()) == {2}
    assert_same_store(twice.path, once.path)


def numbered(n):
    return (np.full((4, 5), number, np.uint8) for number in range(n))


@pytest.mark.parametrize("seen", [0, 1, 3, 5])
@pytest.mark.parametrize("kept", [0, 20, 60, 1000])
def test_the_second_pass_has_all_frames_wherever_the_first_one_stopped(monkeypatch, seen, kept):
    monkeypatch.setattr(reading, "KEPT_BYTES", kept)
    opened = []
    source = ReadOnce(lambda: opened.append(1) or numbered(5))
    first = source.first()
    assert [int(next(first)[0, 0]) for _ in range(seen)] == list(range(seen))
    assert [int(gray[0, 0]) for gray in source.again()] == [0, 1, 2, 3, 4]
    assert len(opened) == (2 if 20 * seen > kept else 1)


@pytest.mark.parametrize("kept", [0, 20, 60, 1000])
@pytest.mark.parametrize("seen", [(0, 3), (3, 0), (2, 4), (5, 2), (5, 5)])
def test_a_pass_between_sees_the_same_frames(monkeypatch, seen, kept):
    monkeypatch.setattr(reading, "KEPT_BYTES", kept)
    opened = []
    source = ReadOnce(lambda: opened.append(1) or numbered(5))
    for n in seen:
        frames = source.first()
        assert [int(next(frames)[0, 0]) for _ in range(n)] == list(range(n))
    assert [int(gray[0, 0]) for gray in source.again()] == [0, 1, 2, 3, 4]
    assert len(opened) == 1 or kept < 1000


def test_files_that_change_while_they_are_read_still_go_to_the_quarantine(sample, tmp_path, monkeypatch):
    real = reading.read_gray

    def touching(path):
        os.utime(path)
        return real(path)

    root = shutil.copytree(sample, tmp_path / "set")
    monkeypatch.setattr(reading, "read_gray", touching)
    store = fastck.preprocess(root, tmp_path / "store", box_cache=False)
    assert set(store.quarantine["reason"]) == {"its files have changed since they were listed"}


def test_frames_of_two_sizes_are_told_apart_across_the_passes():
    def frames():
        yield np.zeros((4, 5), np.uint8)
        yield np.zeros((5, 4), np.uint8)

    source = ReadOnce(lambda: reading.decode(frames(), reading.Stopwatch()))
    next(source.first())
    with pytest.raises(BadSequence, match="frame 2 is 4x5 pixels, those before 5x4"):
        list(source.again())


FAULTS = """
import resource, sys
import numpy as np
from fastck.pipeline.worker import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(100):
        bytearray(600_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
fresh = faults()
keep_freed_memory()
faults()
print(fresh, faults())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
def test_freed_memory_is_used_again_where_dask_would_return_it():
    environment = os.environ | {"MALLOC_TRIM_THRESHOLD_": "65536"}
    done = subprocess.run(
        [sys.executable, "-c", FAULTS], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    fresh, kept = map(int, done.stdout.split())
    # 600,000 bytes are 147 pages.
    assert fresh > 100 * 140
    assert kept < 100


@pytest.mark.parametrize(
    ("n_frames", "reason"),
    [(0, "a difference takes two frames, got none that could be read"), (5, "none of its 5 frames can be read")],
)
def test_a_video_that_opens_and_gives_no_frame_says_so(monkeypatch, n_frames, reason):
    monkeypatch.setattr("fastck.pipeline.frames.read_video", lambda path, **_: iter(()))
    record = SequenceRecord(sequence="a", subject="a", video=Path("a.avi"), video_frames=n_frames)
    with pytest.raises(BadSequence, match=f"^{reason}$"):
        process_record(record, PreprocessConfig())


def test_a_folder_with_a_video_that_does_not_open_is_no_clip(tmp_path):
    (tmp_path / "a.avi").write_bytes(b"RIFF")
    with pytest.raises(ValueError, match=r"a\.avi: not a video that can be decoded"):
        clip_record(tmp_path)
