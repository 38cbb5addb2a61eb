"""A store's sequences as folders of PNG files: the form in which the paper keeps its masks (fig. 5)."""

from collections.abc import Callable, Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fastck.config import PictureFeature, PictureOrder, check_choice
from fastck.dataset.walk import safe_name
from fastck.faces.box import FaceBox, crop
from fastck.messages import Progress
from fastck.outputs import new_folder
from fastck.pipeline.frames import record_frames
from fastck.store.reader import Store
from fastck.views.flow import flow_colours, flow_rim
from fastck.views.preview import stored_record


def export_pictures(
    store: Store,
    out: str | PathLike[str],
    *,
    feature: PictureFeature = "mask",
    by: PictureOrder | None = None,
    root: str | PathLike[str] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> int:
    """Write a folder ``<subject>_<sequence>`` of PNG files for each sequence.

    Parameters
    ----------
    store : Store
    out : path-like
        Folder to write; must not exist. It appears when it is complete.
    feature : {"mask", "flow", "crop"}
        "mask": one file per step, 0 and 255, the store's own pixels. "flow": one per step and one pixel per cell; hue
        is the direction, saturation the distance, full at the store's longest. "crop": one per frame, in gray.
    by : {"emotion"}, optional
        Put the folders into one folder per emotion, named by its code, or by a label that is no emotion; sequences
        without a label are left out.
    root : path-like, optional
        The data set's folder that the store was made from; crops need it.
    on_progress : callable, optional
        Called with a `Progress` in sequences.

    Returns
    -------
    n_left_out : int
        Sequences without a label, which no folder of an emotion takes.

    Raises
    ------
    ValueError
        If `out` exists, an option is wrong, the store lacks the feature, two sequences would have one folder, or `root`
        holds other frames than those the store was made from.
    OSError
        If a file cannot be read or written.
    """
    check_choice("feature", feature, PictureFeature)
    if by is not None:
        check_choice("by", by, PictureOrder)
    if feature == "crop" and root is None:
        raise ValueError("a store keeps no frames: give the data set's folder as root for its crops")
    if feature != "crop":
        store.feature(feature)
    folders = _folders(store.table, by)
    with new_folder(Path(out)) as temporary:
        rim = flow_rim(flow for name in folders for flow in store.sequence(name, feature)) if feature == "flow" else 0.0
        for done, (sequence, folder) in enumerate(folders.items(), start=1):
            target = temporary / folder
            target.mkdir(parents=True)
            for number, picture in enumerate(_pictures(store, sequence, feature, root, rim), start=1):
                _, content = cv2.imencode(".png", picture)
                (target / f"{target.name}_{number:08d}.png").write_bytes(content.tobytes())
            if on_progress is not None:
                on_progress(Progress(done=done, total=len(folders)))
    return len(store.table) - len(folders)


def _folders(table: pd.DataFrame, by: PictureOrder | None) -> dict[str, str]:
    """Return the folder of each sequence that gets one."""
    folders: dict[str, str] = {}
    owners: dict[str, str] = {}
    rows: Iterable[Any] = table.itertuples(index=False)
    for row in rows:
        known = row.sequence == row.subject or row.sequence.startswith(f"{row.subject}_")
        folder = row.sequence if known else safe_name((row.subject, row.sequence))
        if by is not None:
            if not row.label:
                continue
            folder = f"{safe_name((row.label,)) if pd.isna(row.emotion) else row.emotion}/{folder}"
        # Some disks know no upper case.
        other = owners.setdefault(folder.casefold(), row.sequence)
        if other != row.sequence:
            raise ValueError(f"{other} and {row.sequence} would both be written to {folder}: rename one of them")
        folders[row.sequence] = folder
    return folders


def _pictures(
    store: Store, sequence: str, feature: PictureFeature, root: str | PathLike[str] | None, rim: float
) -> Iterator[NDArray[Any]]:
    if feature == "mask":
        yield from store.sequence(sequence, "mask") * np.uint8(255)
    elif feature == "flow":
        for flow in store.sequence(sequence, "flow"):
            yield np.rint(255 * flow_colours(flow, rim)[:, :, ::-1]).astype(np.uint8)
    elif root is not None:
        row = store.row(sequence)
        boxes = store.boxes[row.frame_start : row.frame_start + row.n_frames]
        for gray, box in zip(record_frames(stored_record(row, root)), boxes.tolist(), strict=True):
            yield crop(gray, FaceBox(*box), side=store.config.faces.side)
