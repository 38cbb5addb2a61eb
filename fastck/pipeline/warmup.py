"""Compiling before work starts."""

from dataclasses import replace

import cv2
import numpy as np

from fastck.config import PreprocessConfig
from fastck.faces.finder import find_faces
from fastck.faces.search import FrameSearch
from fastck.faces.weights import frontal_bank
from fastck.images.image import decode_gray
from fastck.pipeline.sequence import iter_features

SIDE = 100  # pixels; larger than the smallest face that is searched for


def compile_kernels(config: PreprocessConfig) -> None:
    """Compile every kernel that a run needs, in this process.

    Worker processes that fill Numba's cache on disk at the same time may crash; after this they only read it.
    """
    grays = [np.zeros((SIDE, SIDE), np.uint8), np.zeros((SIDE, SIDE, 3), np.uint8)]
    decoded = [decode_gray(cv2.imencode(".png", gray)[1].tobytes()) for gray in grays]
    if not config.faces.boxes and config.faces.search == "tracked":
        # Upsampling once more takes no other kernel, only another detector.
        upsample = config.faces.upsample[:1]
        find_faces(decoded, replace(config.faces, upsample=upsample))
        # What is done around a face once there is one.
        FrameSearch((SIDE, SIDE), upsample[0], frontal_bank()).widen(np.zeros((0, 4), np.int64), np.zeros((0, 4)))
    side = config.faces.side
    for _ in iter_features(np.zeros((2, side, side), np.uint8), config):
        pass
