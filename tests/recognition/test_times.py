"""Seconds of a video's frames are those of its container, as ffprobe reads them."""

import shutil
import subprocess
from array import array
from pathlib import Path

import numpy as np
import pytest

import fastck
from fastck.dataset.clip import clip_record
from fastck.images.video import read_video
from fastck.pipeline.frames import record_frames

FRAMES = fastck.sample() / "cohn-kanade-images/L008/001"
# Each frame later than the last by another step; a second pass at the end.
VARIABLE = "setpts='(N*N+3*N)/50/TB',scale=320:-2"


@pytest.fixture(scope="module", params=["mp4", "mkv", "avi", "mpg"])
def video(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not shutil.which("ffprobe"):
        pytest.skip("ffmpeg is not installed")
    path = tmp_path_factory.mktemp("videos") / f"clip.{request.param}"
    kind = {"avi": ["-c:v", "mpeg4"], "mpg": ["-c:v", "mpeg2video", "-bf", "2"]}.get(request.param, ["-c:v", "libx264"])
    rate = ["-vf", "scale=320:-2"] if request.param in ("avi", "mpg") else ["-vf", VARIABLE, "-fps_mode", "vfr"]
    source = ["-framerate", "25", "-pattern_type", "glob", "-i", str(FRAMES / "*.png")]
    command = ["ffmpeg", "-v", "error", *source, *kind, *rate, "-pix_fmt", "yuv420p", str(path)]
    subprocess.run(command, check=True)
    return path


def probed(path: Path) -> list[float]:
    entries = ["-select_streams", "v:0", "-show_entries", "frame=best_effort_timestamp_time", "-of", "csv=p=0"]
    done = subprocess.run(["ffprobe", "-v", "error", *entries, str(path)], capture_output=True, text=True, check=True)
    return [float(line.split(",")[0]) for line in done.stdout.split()]


def test_times_are_the_containers(video: Path):
    times: list[float] = []
    frames = list(read_video(video, times=times))
    assert len(frames) == len(times) == 5
    np.testing.assert_allclose(times, probed(video), atol=1e-6)


def test_times_begin_anew_with_each_reading(video: Path):
    times = array("d")
    for _ in range(2):
        assert len(list(record_frames(clip_record(video), times))) == len(times) == 5


def test_predicted_frames_have_them(video: Path, tmp_path: Path):
    frames = fastck.predict(video).frames
    np.testing.assert_allclose(frames["seconds"], probed(video), atol=1e-6)
    assert frames["frame"].tolist() == [1, 2, 3, 4, 5]
    assert fastck.predict(video, fps=4).frames["seconds"].tolist() == [0, 0.25, 0.5, 0.75, 1]


def test_image_files_have_no_times_of_their_own():
    assert fastck.predict(FRAMES).frames["seconds"].isna().all()
    for fps in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="fps must be a number above 0"):
            fastck.predict(FRAMES, fps=fps)
