"""The frame as the page shows it: gray, with the face box, the flow as arrows, and the landmarks."""

import cv2
import numpy as np
from numpy.typing import NDArray

from fastck.pages.palette import DARK, DARK_CLASSES, bgr
from fastck.recognition.live.stages import LiveResult

BOX, ARROW, LOST = bgr(DARK["bar"]), bgr(DARK_CLASSES[5]), (150, 150, 150)
LENGTHENED = 3  # arrows are so many times as long as the motion, which is a few pixels
LEAST = 0.004  # share of the crop's side; shorter arrows are noise
QUALITY = 80  # of JPEG


def draw(result: LiveResult) -> NDArray[np.uint8]:
    """Return the frame with all that was found, (H, W, 3) uint8, blue first; the box is gray where no face was."""
    picture = cv2.cvtColor(result.gray, cv2.COLOR_GRAY2BGR)
    reading = result.reading
    if reading is None:
        return picture
    top, left, bottom, right = reading.box
    cv2.rectangle(picture, (left, top), (right - 1, bottom - 1), BOX if reading.found else LOST, 2)
    flow = reading.moment.flow[:2]
    # Means over 2x2 cells: 14 arrows a side can be told apart.
    cells = flow.reshape(2, flow.shape[1] // 2, 2, flow.shape[2] // 2, 2).mean(axis=(2, 4))
    rows, columns = np.nonzero(np.hypot(*cells) >= LEAST)
    height, width = bottom - top, right - left
    for r, c in zip(rows.tolist(), columns.tolist(), strict=True):
        x = left + (c + 0.5) / cells.shape[2] * width
        y = top + (r + 0.5) / cells.shape[1] * height
        end = x + LENGTHENED * width * float(cells[0, r, c]), y + LENGTHENED * height * float(cells[1, r, c])
        cv2.arrowedLine(picture, (round(x), round(y)), (round(end[0]), round(end[1])), ARROW, 1, cv2.LINE_AA)
    if result.marks is not None:
        from fastck.recognition.marks import draw_marks

        draw_marks(picture, result.marks)
    return picture


def jpeg(result: LiveResult) -> bytes:
    """Return the drawn frame as a JPEG file."""
    good, data = cv2.imencode(".jpg", draw(result), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not good:
        raise ValueError(f"a frame of shape {result.gray.shape} cannot be written as JPEG")
    return data.tobytes()
