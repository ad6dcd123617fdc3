"""The counts of one image, from which all scores of semantic segmentation are computed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from torch import Tensor

from mmattn.errors import ConfigError, DataError

from .boundary import boundary_areas, clean_label_maps, outline_hits, pixels_of
from .calibration import calibration_counts
from .confusion import SparseConfusion, confusion_matrix
from .scores import AREAS, BANDS, EDGES


@dataclass(eq=False)
class ImageCounts:
    """Counts of one image; a few kilobytes, so that processes can exchange them.

    Attributes:
        name: Path of the image; it identifies the image and decides the order.
        confusion: Pixels by labelled and predicted class.
        bands: int64 (3, K), counts for boundary IoU, or None.
        edges: int64 (4, K), counts for the boundary F-score, or None.
        calibration: int64 (3, bins), or None.
        label_maps: PNGs of ground truth and prediction, reduced in size, while this is one of the
            worst images.
    """

    name: str
    confusion: SparseConfusion
    bands: np.ndarray | None = None
    edges: np.ndarray | None = None
    calibration: np.ndarray | None = None
    label_maps: tuple[bytes, bytes] | None = None

    @property
    def mean_iou(self) -> float:
        """Mean IoU of the classes that are labelled or predicted in this image; else nan."""
        hit, predicted, labelled = self.confusion.areas()
        union = predicted + labelled - hit
        seen = union > 0
        return float((hit[seen] / union[seen]).mean()) if seen.any() else math.nan

    @property
    def rank(self) -> tuple[float, str]:
        """Sort key, the worst image first; the name breaks ties, whatever the order."""
        score = self.mean_iou
        return (math.inf if math.isnan(score) else score), self.name


@dataclass(frozen=True)
class ImageCounter:
    """Counts the pixels of one image at a time.

    Attributes:
        num_classes: K; the classes are 0 to K - 1.
        ignore_index: Label of pixels that count nowhere.
        boundary_width: Width of the bands of boundary IoU, in pixels from 1 on, below that a share
            of the image's diagonal; None leaves them out.
        boundary_tolerance: Tolerance of the boundary F-score, likewise.
        calibration_bins: Bins of the calibration error; 0 leaves it out.
    """

    num_classes: int
    ignore_index: int
    boundary_width: float | None = None
    boundary_tolerance: float | None = None
    calibration_bins: int = 0

    def count(
        self, name: str, label: Tensor, predicted: Tensor, logits: Tensor | None = None
    ) -> ImageCounts:
        """Compare the prediction of an image with its ground truth.

        Args:
            name: Path of the image.
            label: (H, W) class indices of the ground truth.
            predicted: (H, W) class indices of the prediction, on the same device.
            logits: (C, H, W) that the prediction was taken from; needed for calibration.

        Raises:
            DataError: The two have different sizes.
            ConfigError: Calibration is asked for without logits, or with logits that do not belong
                to the prediction.
        """
        if label.shape != predicted.shape:
            raise DataError(
                f"{name}: the ground truth has size {tuple(label.shape)} and the prediction has "
                f"size {tuple(predicted.shape)} (height, width). Check that the mask is as large "
                "as its image, and that the test pipeline loads annotations after resizing."
            )
        matrix = confusion_matrix(label, predicted, self.num_classes, self.ignore_index)
        counts = ImageCounts(name, SparseConfusion.of(matrix))
        cleaned = partial(
            clean_label_maps,
            label.cpu().numpy(),
            predicted.cpu().numpy(),
            self.num_classes,
            self.ignore_index,
        )
        if self.boundary_width is not None:
            width = pixels_of(self.boundary_width, label.shape)
            counts.bands = boundary_areas(*cleaned(), self.num_classes, width)
        if self.boundary_tolerance is not None:
            tolerance = pixels_of(self.boundary_tolerance, label.shape, up=True)
            counts.edges = outline_hits(*cleaned(), self.num_classes, tolerance)
        if self.calibration_bins:
            counts.calibration = self._calibrate(name, label, predicted, logits)
        return counts

    def _calibrate(
        self, name: str, label: Tensor, predicted: Tensor, logits: Tensor | None
    ) -> np.ndarray:
        if logits is None:
            raise ConfigError(
                "ClasswiseIoUMetric: calibration needs the logits, but the model does not return "
                "them. Use mmattn.EncoderDecoder with model.test_cfg.keep_logits=True."
            )
        label = label.masked_fill(label == self.ignore_index, -1)
        logits = logits.to(predicted.device)
        try:
            return calibration_counts(
                logits, predicted, label, self.num_classes, self.calibration_bins
            )
        except ValueError as error:
            raise ConfigError(
                f"{name}: {error}, so the calibration of these logits would say nothing about the "
                "predictions. Remove `calibration` when you use test-time augmentation."
            ) from error


def stack_counts(images: Sequence[ImageCounts]) -> dict[str, np.ndarray]:
    """Put the counts of all images into one array per name of ``scores.AREAS``, ``BANDS``, ….

    Returns:
        Name -> int64 (images, K). Counts that were not taken are left out.
    """
    areas = np.array([image.confusion.areas() for image in images])
    stacked = {name: areas[:, place] for place, name in enumerate(AREAS)}
    for names, attribute in ((BANDS, "bands"), (EDGES, "edges")):
        if images and getattr(images[0], attribute) is not None:
            counts = np.array([getattr(image, attribute) for image in images])
            stacked |= {name: counts[:, place] for place, name in enumerate(names)}
    return stacked
