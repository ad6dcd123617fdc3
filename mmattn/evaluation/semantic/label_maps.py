"""Predictions as label map files, one per image and never two under one name."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from mmattn.evaluation.claimed_files import ClaimedFiles


class LabelMapWriter:
    """Writes label maps as PNG, named like their images.

    Args:
        folder: Folder of the files; it has to exist.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._claimed = ClaimedFiles(
            "label map",
            "Rename one of them, test their folders one by one, or write all results to a .pkl "
            "file.",
        )

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
        self._claimed.claim(file, image)
        if not cv2.imwrite(file, classes.astype(np.uint8 if num_classes <= 256 else np.uint16)):
            raise OSError(f"{file}: the label map cannot be written")

    def check_processes(self) -> None:
        """Check that no two processes wrote the same file; all of them have to call this.

        Raises:
            DataError: Two did, for different images.
        """
        self._claimed.check_processes()
