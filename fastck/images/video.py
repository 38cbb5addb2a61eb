"""One video file -> gray frames, decoded by FFmpeg through PyAV."""

import atexit
import math
import os
import threading
from collections.abc import Iterator, MutableSequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fastck.images.gif import check_gif
from fastck.images.header import MAX_PIXELS, ImageError
from fastck.images.image import is_image
from fastck.images.jpeg import decode_jpeg
from fastck.messages import one_line

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

VIDEO_SUFFIXES = frozenset(
    [
        ".3g2",
        ".3gp",
        ".asf",
        ".avi",
        ".divx",
        ".dv",
        ".f4v",
        ".flv",
        ".gif",
        ".m1v",
        ".m2ts",
        ".m2v",
        ".m4v",
        ".mkv",
        ".mov",
        ".mp4",
        ".mpe",
        ".mpeg",
        ".mpg",
        ".mts",
        ".mxf",
        ".ogv",
        ".qt",
        ".ts",
        ".vob",
        ".webm",
        ".wmv",
    ]
)
USUAL_FPS = 25.0
MOST_FPS = 1000.0  # a container that gives more gives its time base
# Formats that hold pictures. FFmpeg knows others that open more files (playlists) or draw text.
_FORMATS = (
    "mov,matroska,avi,asf,flv,ogg,mpeg,mpegts,mpegvideo,h264,hevc,m4v,mjpeg,dv,mxf,gif,nut,ivf,obu,yuv4mpegpipe,rm,vc1"
)
# Those whose header says how long they are; of others FFmpeg estimates it from the file.
_TIMED = frozenset({"mov", "matroska", "avi", "asf", "flv"})
# A decoder must not invent what is missing.
_STRICT = {"err_detect": "explode", "max_pixels": str(MAX_PIXELS)}
_LIMITED, _FULL = 1, 2  # AVCOL_RANGE_MPEG, AVCOL_RANGE_JPEG
_WIDEST_PIXEL = 16


def is_video(path: str | PathLike[str]) -> bool:
    """Return whether the name ends like a video's; the content is not looked at."""
    return os.path.splitext(path)[1].lower() in VIDEO_SUFFIXES  # noqa: PTH122


def holds_video(path: str | PathLike[str]) -> bool:
    """Return whether a file is named like a video, or is one under a name that says nothing, such as ``clip.dat``."""
    if is_video(path) or is_image(path):
        return is_video(path)
    try:
        with _opened(path):
            return True
    except (ImageError, OSError):
        return False


def read_video(
    path: str | PathLike[str], *, skip: int = 0, times: MutableSequence[float] | None = None
) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames of a video as gray levels, one after the other.

    Parameters
    ----------
    path : path-like
    skip : int
        Frames passed over at the beginning.
    times : mutable sequence of float, optional
        Receives the time in seconds of each frame that is yielded, as its container has it; NaN where it has none.

    Yields
    ------
    gray : ndarray of shape (H, W), uint8
        The luma of the decoded frame, 0 to 255, as players show it: upright and with square pixels. Frames without
        luma go through ``cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)``.

    Raises
    ------
    ImageError
        If the file is no video that FFmpeg can decode, is damaged, or ends before the length that its header says.
    OSError
        If the file cannot be read.
    """
    # Seeking by number lands elsewhere in many files; every frame is decoded, and only those wanted are converted.
    reader = _take_reader(path, skip)
    for frame, stream in reader.frames:
        reader.n_read += 1
        if reader.n_read > skip:
            try:
                if times is not None:
                    times.append(math.nan if frame.time is None else frame.time)
                yield _as_shown(_gray(frame), frame, stream)
            except GeneratorExit:
                _paused.reader = reader
                raise


@dataclass(kw_only=True)
class _Reader:
    """A video whose first `n_read` frames were decoded."""

    file: tuple[object, ...]
    frames: Iterator[tuple["VideoFrame", "VideoStream"]]
    n_read: int = 0


# Where a thread stopped reading last: the clips of one long video follow each other.
_paused = threading.local()
# Before PyAV's own parts are taken down.
atexit.register(lambda: _paused.__dict__.clear())


def _take_reader(path: str | PathLike[str], skip: int) -> _Reader:
    """Return the reader that stopped before the frames wanted, or a new one."""
    status = os.stat(path)  # noqa: PTH116 - a missing or forbidden file is the system's error, not the decoder's
    # A forked process shares the place in the file with its parent.
    file = (os.getpid(), os.fspath(path), status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
    reader: _Reader | None = _paused.__dict__.pop("reader", None)
    if reader is None or reader.file != file or reader.n_read > skip:
        reader = _Reader(file=file, frames=_read(path))
    return reader


def _read(path: str | PathLike[str]) -> Iterator[tuple["VideoFrame", "VideoStream"]]:
    with _opened(path) as (container, stream):
        if container.format.name == "gif":
            check_gif(path)
        for frame in _decoded(container, stream):
            yield frame, stream
        _check_index(path, container, stream)


def video_rate(path: str | PathLike[str]) -> float:
    """Return how many frames a second a video is made for; 25 where its container does not say.

    Raises
    ------
    ImageError
        If the file is no video that FFmpeg can decode.
    OSError
        If the file cannot be read.
    """
    with _opened(path) as (_, stream):
        rate = float(stream.guessed_rate or 0)
    return rate if 0 < rate <= MOST_FPS else USUAL_FPS


def count_video_frames(path: str | PathLike[str]) -> int:
    """Count the frames that `read_video` yields, by decoding them: a container's own count is often an estimate.

    Raises
    ------
    ImageError
        If the file is no video that FFmpeg can decode, is damaged, or ends before the length that its header says.
    OSError
        If the file cannot be read.
    """
    return sum(1 for _ in _read(path))


@contextmanager
def _opened(path: str | PathLike[str]) -> Iterator[tuple["InputContainer", "VideoStream"]]:
    # Only for those who have videos.
    import av
    import av.logging

    name = one_line(os.fspath(path))
    with Path(path).open("rb"):  # a missing or forbidden file is the system's error, not the decoder's
        pass
    # What FFmpeg says is in the exceptions.
    av.logging.set_level(None)
    # The protocol is named, so that a colon in the name is no other one.
    url = os.fsdecode(b"file:" + os.fsencode(path))
    # Names of titles and tracks that are no UTF-8: PyAV 19 replaces by itself what cannot be read.
    lenient: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}
    try:
        with av.open(url, options={"format_whitelist": _FORMATS, "protocol_whitelist": "file"}, **lenient) as container:
            stream: Any = container.streams.best("video")
            if stream is None or stream.codec_context is None:
                raise ImageError(f"{name}: not a video that can be decoded")
            stream.codec_context.options = _STRICT
            # Sequences are spread over processes.
            stream.codec_context.thread_count = 1
            try:
                yield container, stream
            except ImageError as error:
                raise ImageError(f"{name}: {error}") from None
    except av.FFmpegError as error:
        raise ImageError(f"{name}: not a video that can be decoded") from error


def _decoded(container: "InputContainer", stream: "VideoStream") -> Iterator["VideoFrame"]:
    """Yield the decoded frames; every packet and frame has to be whole, and the last where the header says."""
    import av

    formats = set(container.format.name.split(","))
    said = container.duration if formats & _TIMED else None
    start = (container.start_time or 0) / av.time_base
    end, has_length, n_frames = 0.0, False, 0
    times: list[float] = []
    try:
        for packet in container.demux():
            time = packet.pts if packet.pts is not None else packet.dts
            if time is not None and packet.time_base is not None:
                begin = float(time * packet.time_base) - start
                end = max(end, begin + float((packet.duration or 0) * packet.time_base))
                if packet.stream_index == stream.index:
                    times.append(begin)
                    has_length = bool(packet.duration)
            if packet.stream_index != stream.index:
                continue
            if packet.is_corrupt:
                raise ImageError(f"the video is damaged or cut off after frame {n_frames}")
            if packet.size and stream.codec_context.name == "mjpeg":
                # FFmpeg passes over damage that libjpeg warns of.
                try:
                    decode_jpeg(bytes(packet))
                except ImageError as error:
                    raise ImageError(f"frame {n_frames + 1} of the video is damaged: {error}") from None
            frames: Any = packet.decode()
            for frame in frames:
                if frame.is_corrupt:
                    raise ImageError(f"frame {n_frames + 1} of the video is damaged")
                n_frames += 1
                yield frame
    except av.FFmpegError as error:
        text = f"the video is damaged after frame {n_frames} ({error.strerror})"
        raise ImageError(text if n_frames else f"not a video that can be decoded ({error.strerror})") from None
    # Containers round, and the last frame's own length is often not told. Matroska's is exact, and nothing else tells
    # that such a file is cut off between two frames.
    exact = "matroska" in formats and has_length
    longest = np.diff(np.sort(times) if exact else times).max(initial=0.0)
    if said is not None and said / av.time_base - end > max((0.5 if exact else 2) * longest, 2 / MOST_FPS):
        raise ImageError(
            f"the video is cut off: its header says {said / av.time_base:.2f} seconds, and it ends after {end:.2f}"
            f" ({n_frames} frames): copy it again"
        )


def _check_index(path: str | PathLike[str], container: "InputContainer", stream: "VideoStream") -> None:
    """Refuse a file that was read to its end, and whose index or header names more."""
    entries: Any = stream.index_entries
    formats = set(container.format.name.split(","))
    cut_off = "mov" in formats and any(entry.pos + entry.size > container.size for entry in entries)
    if "avi" in formats and len(entries):
        # Frames that only repeat are counted, and are not there: a whole file may end with them.
        cut_off = entries[-1].timestamp + 1 < stream.frames and _riff_ends_early(path, container.size)
    if cut_off:
        n_frames = stream.frames or len(entries)
        raise ImageError(f"the video is cut off: its header names {n_frames} frames: copy it again")


def _riff_ends_early(path: str | PathLike[str], size: int) -> bool:
    """Return whether an AVI file is shorter than its chunks say; a large one has several, one behind the other."""
    end = 0
    with Path(path).open("rb") as file:
        while end < size:
            file.seek(end)
            head = file.read(8)
            if head[:4] != b"RIFF" or len(head) < 8:
                return False
            end += 8 + int.from_bytes(head[4:], "little")
            end += end % 2
    return end > size + 1


def _gray(frame: "VideoFrame") -> NDArray[np.uint8]:
    """Return the gray levels of a frame as stored, 0 to 255."""
    form = frame.format
    luma = form.components[0]
    planar = all(part.plane != luma.plane for part in form.components[1:])
    if form.is_rgb or form.has_palette or form.is_bit_stream or form.is_bayer or not planar:
        # FFmpeg's converter refuses what it cannot do, such as some interlaced frames.
        return cv2.cvtColor(frame.to_ndarray(format="bgr24"), cv2.COLOR_BGR2GRAY).astype(np.uint8, copy=False)
    plane: Any = frame.planes[luma.plane]
    order = ">" if form.is_big_endian else "<"
    kind = np.dtype(np.uint8 if luma.bits <= 8 else f"{order}u2")
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: frame.height]
    levels = rows[:, : frame.width * kind.itemsize].view(kind)
    # Formats that keep their values in the upper bits have ten of sixteen.
    shift = 16 - luma.bits if form.name.startswith(("p0", "p2", "p4")) and luma.bits > 8 else 0
    gray = form.name.startswith("gray")
    limited = frame.color_range == _LIMITED or not (gray or form.name.startswith("yuvj") or frame.color_range == _FULL)
    table = _expansion(luma.bits, limited)
    if kind.itemsize == 1:
        # A copy: the decoder uses its memory again.
        return cv2.LUT(levels, table).astype(np.uint8, copy=False) if limited else levels.copy()
    return table[np.minimum(levels >> shift, len(table) - 1)]


@cache
def _expansion(bits: int, limited: bool) -> NDArray[np.uint8]:
    """Return the gray level of each value of `bits` bits; black is 16 and white 235 of 255 in limited range."""
    values = np.arange(1 << bits, dtype=np.float64) / (1 << max(bits - 8, 0))
    levels = (values - 16) * (255 / 219) if limited else np.arange(1 << bits) * (255 / ((1 << bits) - 1))
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)


def _as_shown(gray: NDArray[np.uint8], frame: "VideoFrame", stream: "VideoStream") -> NDArray[np.uint8]:
    """Return a frame with square pixels, turned and mirrored as the container's display matrix says."""
    ratio = stream.sample_aspect_ratio
    if ratio and ratio != 1 and 1 / _WIDEST_PIXEL <= ratio <= _WIDEST_PIXEL:
        height, width = gray.shape
        # The longer side grows: nothing that was seen is lost.
        size = (round(width * ratio), height) if ratio > 1 else (width, round(height / ratio))
        if size[0] * size[1] > MAX_PIXELS:
            raise ImageError(f"{size[0]} x {size[1]} square pixels; more than {MAX_PIXELS:,} are refused")
        gray = cv2.resize(gray, size, interpolation=cv2.INTER_LINEAR).astype(np.uint8, copy=False)
    matrix = _display_matrix(frame)
    return gray if matrix is None else upright(gray, matrix)


def upright(gray: NDArray[np.uint8], matrix: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Turn and mirror a frame as a container's display matrix, nine numbers, says."""
    # A point (x, y) is shown at (ax + cy, bx + dy); a turn by less than a quarter is taken as the nearest quarter.
    a, b, c, d = (int(matrix[at]) for at in (0, 1, 3, 4))
    if abs(b) > abs(a):
        gray, a, d = gray.T, c, b
    return np.ascontiguousarray(gray[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])


def _display_matrix(frame: "VideoFrame") -> Any:
    from av.sidedata.sidedata import Type

    sides: Any = frame.side_data
    data = sides.get(Type.DISPLAYMATRIX)
    return None if data is None else np.frombuffer(data, np.int32)
