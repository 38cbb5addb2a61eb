"""A `Preview` in motion: frame, crop and mask side by side, one picture per frame, as GIF or MP4."""

import os
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from os import PathLike
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fastck.images.video import video_rate
from fastck.outputs import check_output, replacing
from fastck.pages.palette import FIRST, LIGHT, MISSED, MOVED, bgr
from fastck.views.preview import Preview, View, record_stages

FPS = 8.0  # CK+'s 30 frames a second show an expression in half a second: too quick to see a crop jump
SIDE, GAP, HEAD = 240, 8, 26  # pixels: a picture's height, the space between, the line of text above
GIF_COLOURS = 64
# OpenCV's order: blue first.
WHITE, INK, BOX = bgr(LIGHT["paper"]), bgr(LIGHT["ink"]), bgr(FIRST)

Picture = NDArray[np.uint8]


def save_animation(preview: Preview, path: str | PathLike[str], *, fps: float | None = None) -> Path:
    """Write every frame of a sequence with its crop and mask; a second view below the first.

    Parameters
    ----------
    preview : Preview
        Of a clip, or of a store's sequence with its root.
    path : path-like
        ``.gif`` or ``.mp4``.
    fps : float, optional
        Frames shown a second; by default a video's own, 8 for a folder of frames.

    Returns
    -------
    path : Path

    Raises
    ------
    ValueError
        If the suffix is another, `fps` is not above 0, the preview has no frames to read, or `path` is one of them.
    OSError
        If the file cannot be written.
    """
    path = Path(path)
    record = preview.record
    if record is not None:
        check_output(path, record.files())
    if fps is None:
        fps = FPS if record is None or record.video is None else video_rate(record.video)
    if not fps > 0:
        raise ValueError(f"fps must be above 0, got {fps}")
    if path.suffix.lower() == ".gif":
        save_gif(iter_pictures(preview), path, fps)
    elif path.suffix.lower() == ".mp4":
        save_mp4(iter_pictures(preview), path, fps)
    else:
        raise ValueError(f"an animation is written as .gif or .mp4, got {path.name!r}")
    return path


def iter_pictures(preview: Preview) -> Iterator[Picture]:
    """Yield one picture per frame, (H, W, 3) uint8 in OpenCV's order of colours, even height and width.

    Raises
    ------
    ValueError
        If the preview was made from a store without its root.
    """
    record = preview.record
    if record is None:
        raise ValueError("an animation shows the frames: give the data set's folder as root")
    views = zip(preview.views, preview.configs, strict=True)
    runs = [record_stages(record, view.boxes, view.missed, config) for view, config in views]
    for frame, stages in enumerate(zip(*runs, strict=True)):
        rows = [_row(preview, view, frame, pictures) for view, pictures in zip(preview.views, stages, strict=True)]
        picture = np.concatenate(rows)
        height, width = picture.shape[:2]
        yield np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), constant_values=255)  # MP4 wants even sizes


def _row(preview: Preview, view: View, number: int, stages: dict[str, NDArray[np.uint8]]) -> Picture:
    frame = cv2.cvtColor(stages["frame"], cv2.COLOR_GRAY2BGR)
    top, left, bottom, right = map(int, view.boxes[number])
    colour = bgr(MISSED) if view.missed[number] else bgr(MOVED) if view.moved[number] else BOX
    thickness = max(2, frame.shape[0] // 160)
    cv2.rectangle(frame, (left, top), (right - 1, bottom - 1), colour, thickness)
    wide = max(1, round(SIDE * frame.shape[1] / frame.shape[0]))
    mask = stages.get("mask", np.zeros_like(stages["crop"])) * np.uint8(255)
    small = [cv2.resize(part, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for part in (stages["crop"], mask)]
    pictures = [
        cv2.resize(frame, (wide, SIDE), interpolation=cv2.INTER_AREA),
        *(cv2.cvtColor(part, cv2.COLOR_GRAY2BGR) for part in small),
    ]
    canvas = np.full((HEAD + SIDE + GAP, wide + 2 * SIDE + 4 * GAP, 3), WHITE, np.uint8)
    x = GAP
    for picture in pictures:
        canvas[HEAD : HEAD + SIDE, x : x + picture.shape[1]] = picture
        x += picture.shape[1] + GAP
    said = "no face found" if view.missed[number] else "box moved" if view.moved[number] else ""
    texts = ((f"{view.name}   frame {number + 1}/{preview.n_frames}", INK, GAP), (said, colour, wide + 2 * GAP))
    for text, ink, left in texts:
        cv2.putText(canvas, text, (left, HEAD - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.5, ink, 1, cv2.LINE_AA)
    return canvas


def save_gif(pictures: Iterator[Picture], path: Path, fps: float, *, colours: int = GIF_COLOURS) -> None:
    """Write pictures of one size, (H, W, 3) uint8 with blue first, at least one, as a GIF that begins again."""
    from PIL import Image

    # Fewer colours than GIF's 256: gray faces look the same, and the file is half as large.
    reduced = (
        Image.fromarray(np.ascontiguousarray(picture[:, :, ::-1])).quantize(colours, dither=Image.Dither.NONE)
        for picture in pictures
    )
    first = next(reduced)
    with replacing(path) as temporary:
        first.save(temporary, format="GIF", save_all=True, append_images=reduced, duration=round(1000 / fps), loop=0)


def save_mp4(pictures: Iterator[Picture], path: Path, fps: float) -> None:
    """Write pictures of one even size, (H, W, 3) uint8 with blue first, at least one, as H.264, which browsers play."""
    # Only for those who make videos.
    import av
    from av.video.reformatter import ColorRange, Colorspace

    first = next(pictures)
    height, width = first.shape[:2]
    # Colours are written as players of small and large videos alike read them, and said to be so.
    options = {"preset": "veryfast", "crf": "18", "x264-params": "colorprim=bt709:transfer=bt709:colormatrix=bt709"}
    with replacing(path) as temporary:
        # A folder that is missing or not writable is the system's error.
        temporary.open("xb").close()
        # The protocol is named, so that a colon in the name is no other one.
        url = os.fsdecode(b"file:" + os.fsencode(temporary))
        with av.open(url, "w", format="mp4", options={"movflags": "+faststart"}) as container:
            stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(10**5), options=options)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for picture in chain([first], pictures):
                frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
                frame = frame.reformat(
                    format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
                )
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
