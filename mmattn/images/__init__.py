"""The one place that reads images: which files are images, what their headers say, their pixels.

Checks, training, prediction and export read through here, so that all see the same image. Videos
and cameras are read in ``frames``.
"""

from .display import decode_for_display, read_for_display
from .files import IMAGE_SUFFIXES, evenly, images_below, is_image_file, list_images
from .frames import FrameReader, open_frames
from .header import ImageHeader, open_image, read_header
from .reader import check_bit_depth, decode_image, read_image

__all__ = [
    "IMAGE_SUFFIXES",
    "FrameReader",
    "ImageHeader",
    "check_bit_depth",
    "decode_for_display",
    "decode_image",
    "evenly",
    "images_below",
    "is_image_file",
    "list_images",
    "open_frames",
    "open_image",
    "read_for_display",
    "read_header",
    "read_image",
]
