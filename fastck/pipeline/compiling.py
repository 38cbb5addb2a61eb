"""Kernels compiled before they are needed: those of the search's windows by a process of its own, the others meanwhile.

Numba compiles one kernel at a time in a process. Two processes that keep the same kernel on disk at the same time may
spoil it, so that each has its own.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress

import cv2
import numpy as np

from fastck.config import FaceConfig, PreprocessConfig
from fastck.faces.search import Detections, FrameSearch
from fastck.faces.weights import frontal_bank
from fastck.images.image import decode_gray
from fastck.kernels import is_new
from fastck.kernels.hog import search_windows
from fastck.pipeline.sequence import iter_features

SIDE = 100  # pixels; larger than the smallest face that is searched for


def is_first_call() -> bool:
    """Return whether the face search is still to be compiled."""
    return is_new(search_windows)


def searches(faces: FaceConfig) -> bool:
    """Return whether faces are searched with the compiled search."""
    return not faces.boxes and faces.search == "tracked"


def compile_kernels(config: PreprocessConfig) -> None:
    """Compile every kernel that a preprocessing run may need.

    Worker processes that fill Numba's cache on disk at the same time may crash; after this they only read it.
    """

    def rest() -> None:
        side = config.faces.side
        for _ in iter_features(np.zeros((2, side, side), np.uint8), config):
            pass

    if searches(config.faces):
        compile_aside(compile_decoding, rest)
        # Read from disk, or compiled after all.
        compile_windows()
    else:
        compile_decoding()
        rest()


def compile_on_first_call(*rest: Callable[[], object]) -> None:
    """As `compile_aside`; nothing where the face search is on disk."""
    if is_first_call():
        compile_aside(*rest)


def compile_aside(*rest: Callable[[], object]) -> None:
    """Compile the face search and what else is called; another process has half of it, where it is new."""
    command = [sys.executable, "-c", f"from {__name__} import compile_windows; compile_windows()"]
    other: subprocess.Popen[bytes] | None = None
    # Not worth a process where there is one core.
    if is_first_call() and (os.cpu_count() or 1) > 1:
        with suppress(OSError):
            other = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
    try:
        for compile_some in (*rest, compile_boxes):
            compile_some()
    finally:
        if other is not None:
            other.wait()


def compile_decoding() -> None:
    """Compile what decodes PNG files, gray and in colour."""
    for shape in ((SIDE, SIDE), (SIDE, SIDE, 3)):
        decode_gray(cv2.imencode(".png", np.zeros(shape, np.uint8))[1].tobytes())


def compile_windows() -> None:
    """Compile what makes a frame's pyramid and scores windows: half of all that there is to compile."""
    search = FrameSearch((SIDE, SIDE), FaceConfig().upsample[0], frontal_bank())
    search.load(np.zeros((SIDE, SIDE), np.uint8))
    search.search({0: search.whole(0)})


def compile_boxes() -> None:
    """Compile what chooses among the windows that are found."""
    no_boxes = np.zeros((0, 4))
    Detections(np.zeros((0, 14)), frontal_bank())
    FrameSearch((SIDE, SIDE), 0, frontal_bank()).widen(no_boxes.astype(np.int64), no_boxes)
