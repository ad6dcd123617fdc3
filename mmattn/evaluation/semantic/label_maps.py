"""Predictions as label map files, one per image and never two under one name."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from mmengine.dist import all_gather_object

from mmattn.errors import DataError


class LabelMapWriter:
    """Writes label maps as PNG, named like their images.

    Args:
        folder: Folder of the files; it has to exist.

    Attributes:
        images: File -> path of the image whose label map it holds.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.images: dict[str, str] = {}

    def write(self, image: str, classes: np.ndarray, num_classes: int) -> None:
        """Write the label map of an image.

        Args:
            image: Path of the image.
            classes: (H, W) class indices; 8 bits are written, or 16 for more than 256 classes.
            num_classes: Number of classes of the dataset.

        Raises:
            DataError: Another image has the same name.
            OSError: The file cannot be written.
        """
        file = str(Path(self.folder, Path(image).stem + ".png"))
        self._claim(file, image)
        if not cv2.imwrite(file, classes.astype(np.uint8 if num_classes <= 256 else np.uint16)):
            raise OSError(f"{file}: the label map cannot be written")

    def check_processes(self) -> None:
        """Check that no two processes wrote the same file; all of them have to call this.

        Raises:
            DataError: Two did, for different images.
        """
        for images in all_gather_object(self.images):
            for file, image in images.items():
                self._claim(file, image)

    def _claim(self, file: str, image: str) -> None:
        other = self.images.setdefault(file, image)
        if other != image:
            raise DataError(
                f"{image} and {other} would both be written to the label map {file}. Rename one of "
                "them, test their folders one by one, or write all results to a .pkl file."
            )
