"""Image and video files -> gray frames."""

from fastck.images.header import MAX_PIXELS, ImageError, ImageHeader
from fastck.images.image import decode_gray, is_image, read_gray, read_image_header
from fastck.images.video import count_video_frames, is_video, read_video

__all__ = [
    "MAX_PIXELS",
    "ImageError",
    "ImageHeader",
    "count_video_frames",
    "decode_gray",
    "is_image",
    "is_video",
    "read_gray",
    "read_image_header",
    "read_video",
]
