"""Cut the detected objects out of their image, one file each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from .detections import Detections


def write_crops(
    image: np.ndarray, detections: Detections, classes: Sequence[str], folder: Path, stem: str
) -> list[Path]:
    """Write each detected object as ``FOLDER/CLASS/STEM_NUMBER.jpg``.

    Args:
        image: (H, W, 3) uint8 RGB
        detections: Boxes in pixels of ``image``; what rounds to no pixel is left out.
        classes: Class names by index.
        folder: Folder of the crops; a folder is made in it for each class that occurs.
        stem: Start of the files' names. The number counts from 1, best first, as the detections of
            the image are listed in ``detections.json``.

    Returns:
        The files.
    """
    height, width = image.shape[:2]
    written = []
    for index in range(len(detections)):
        left, top = np.floor(detections.boxes[index, :2]).astype(int).clip(min=0).tolist()
        right, bottom = np.ceil(detections.boxes[index, 2:]).astype(int).tolist()
        right, bottom = min(right, width), min(bottom, height)
        if right <= left or bottom <= top:
            continue
        name = folder_name(classes[int(detections.labels[index])])
        file = folder / name / f"{stem}_{index + 1}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        crop = np.ascontiguousarray(image[top:bottom, left:right])
        Image.fromarray(crop).save(file, quality=95)
        written.append(file)
    return written


def folder_name(name: str) -> str:
    """Return a class name as the name of a folder.

    >>> folder_name("traffic light"), folder_name("a/b"), folder_name("..")
    ('traffic light', 'a_b', '_')
    """
    return re.sub(r'[\\/:*?"<>|\x00-\x1f]', "_", name).strip(" .") or "_"
