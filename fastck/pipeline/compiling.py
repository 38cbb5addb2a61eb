"""Kernels compiled before they are needed: the face search's by a process of its own, the others meanwhile by this one.

Numba compiles one kernel at a time in a process. Two processes that keep the same kernel on disk at the same time may
spoil it, so that each has its own.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import cv2
import numpy as np

from fastck.config import FaceConfig, PreprocessConfig
from fastck.faces.finder import find_faces
from fastck.faces.search import FrameSearch
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
        compile_aside(rest)
        # Read from disk, or compiled after all.
        compile_search(config.faces)
    else:
        compile_decoding()
        rest()


def compile_on_first_call(rest: Callable[[], object]) -> None:
    """As `compile_aside`; nothing where the face search is on disk."""
    if is_first_call():
        compile_aside(rest)


def compile_aside(rest: Callable[[], object]) -> None:
    """Compile what reads frames, and call `rest`, while another process compiles the face search where that is new.

    Parameters
    ----------
    rest : callable
        Calls other kernels than those of reading frames and searching faces.
    """
    command = [sys.executable, "-c", f"from {__name__} import compile_search; compile_search()"]
    other: subprocess.Popen[bytes] | None = None
    # Not worth a process where there is one core.
    if is_first_call() and (os.cpu_count() or 1) > 1:
        with suppress(OSError):
            other = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
    try:
        compile_decoding()
        rest()
    finally:
        if other is not None:
            other.wait()


def compile_decoding() -> None:
    """Compile what decodes PNG files, gray and in colour."""
    for shape in ((SIDE, SIDE), (SIDE, SIDE, 3)):
        decode_gray(cv2.imencode(".png", np.zeros(shape, np.uint8))[1].tobytes())


def compile_search(faces: FaceConfig | None = None) -> None:
    """Compile the tracked face search."""
    faces = faces or FaceConfig()
    # Upsampling once more takes no other kernel, only another detector.
    upsample = faces.upsample[:1]
    find_faces([np.zeros((SIDE, SIDE), np.uint8)] * 2, replace(faces, upsample=upsample))
    # What is done around a face once there is one.
    FrameSearch((SIDE, SIDE), upsample[0], frontal_bank()).widen(np.zeros((0, 4), np.int64), np.zeros((0, 4)))
