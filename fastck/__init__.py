"""Facial-expression sequences to memory-mapped motion features, fast, and a ConvLSTM2D trained on them.

The public names below are loaded when they are first used, so that importing the package costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fastck.version import __version__ as __version__

if TYPE_CHECKING:
    from fastck.batches.padding import pad_sequence
    from fastck.config import FaceConfig, FlowConfig, MotionConfig, PreprocessConfig
    from fastck.dataset.labels import EMOTIONS
    from fastck.dataset.layouts import scan
    from fastck.dataset.records import SequenceRecord
    from fastck.dataset.sample import sample
    from fastck.estimator import MotionFeatures
    from fastck.faces.box import FaceBox
    from fastck.faces.detector import Detector
    from fastck.faces.landmarks import Landmarks
    from fastck.faces.pose import HeadPose, head_pose
    from fastck.ops.flow import optical_flow
    from fastck.ops.motion import (
        erode,
        frame_difference,
        mean_pool_2x2,
        motion_features,
        motion_masks,
        motion_pools,
        motion_projections,
        project,
        threshold,
        unpack_masks,
    )
    from fastck.pipeline.dispatch import preprocess
    from fastck.pipeline.sequence import process_frames
    from fastck.recognition.clip import predict
    from fastck.recognition.units import ActionUnits, action_units
    from fastck.store.reader import Store, open_store
    from fastck.training.run import Run, open_run

_HOME = {
    "batches.padding": ("pad_sequence",),
    "dataset.labels": ("EMOTIONS",),
    "dataset.layouts": ("scan",),
    "dataset.records": ("SequenceRecord",),
    "dataset.sample": ("sample",),
    "config": ("FaceConfig", "FlowConfig", "MotionConfig", "PreprocessConfig"),
    "estimator": ("MotionFeatures",),
    "faces": ("Detector", "FaceBox", "FaceDetector", "detect_faces", "detect_landmarks"),
    "faces.landmarks": ("Landmarks",),
    "faces.pose": ("HeadPose", "head_pose"),
    "ops.flow": ("optical_flow",),
    "ops.motion": (
        "erode",
        "frame_difference",
        "mean_pool_2x2",
        "motion_features",
        "motion_masks",
        "motion_pools",
        "motion_projections",
        "project",
        "threshold",
        "unpack_masks",
    ),
    "pipeline.dispatch": ("preprocess",),
    "pipeline.sequence": ("process_frames",),
    "recognition.clip": ("predict",),
    "recognition.units": ("ActionUnits", "action_units"),
    "store.reader": ("Store", "open_store"),
    "training.run": ("Run", "open_run"),
}
_MODULE = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "EMOTIONS",
    "ActionUnits",
    "Detector",
    "FaceBox",
    "FaceConfig",
    "FaceDetector",
    "FlowConfig",
    "HeadPose",
    "Landmarks",
    "MotionConfig",
    "MotionFeatures",
    "PreprocessConfig",
    "Run",
    "SequenceRecord",
    "Store",
    "action_units",
    "detect_faces",
    "detect_landmarks",
    "erode",
    "frame_difference",
    "head_pose",
    "mean_pool_2x2",
    "motion_features",
    "motion_masks",
    "motion_pools",
    "motion_projections",
    "open_run",
    "open_store",
    "optical_flow",
    "pad_sequence",
    "predict",
    "preprocess",
    "process_frames",
    "project",
    "sample",
    "scan",
    "threshold",
    "unpack_masks",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module 'fastck' has no attribute {name!r}")
    value = getattr(import_module(f"fastck.{_MODULE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
