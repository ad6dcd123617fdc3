"""Per-class IoU of any predictor, so that torch and an exported file are measured alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mmattn.evaluation.semantic.scores import class_scores, pixel_accuracy

from .check_images import validation_dataset

if TYPE_CHECKING:
    from mmengine.config import Config
    from torch import nn

IGNORED = 255
Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class ClassIoUs:
    """IoU per class in percent; NaN where a class is neither in the truth nor predicted."""

    classes: tuple[str, ...]
    ious: tuple[float, ...]
    pixel_accuracy: float

    @property
    def mean(self) -> float:
        """mIoU in percent over the classes that occur, as mmseg's ``IoUMetric`` reports it."""
        return float(np.nanmean(self.ious))


def class_ious(
    predict: Callable[[np.ndarray], np.ndarray],
    pairs: Iterable[Pair],
    classes: Iterable[str],
) -> ClassIoUs:
    """Run ``predict`` over images and compare with their masks.

    Args:
        predict: Function from (H, W, 3) uint8 RGB to (H, W) class indices.
        pairs: Images, (H, W, 3) uint8 RGB, and masks, (H, W), where 255 stands for "ignored".
        classes: Class names by index.
    """
    classes = tuple(classes)
    count = len(classes)
    confusion = np.zeros((count, count), np.int64)
    for image, mask in pairs:
        counted = mask != IGNORED
        index = mask[counted].astype(np.int64) * count + predict(image)[counted]
        confusion += np.bincount(index, minlength=count * count).reshape(count, count)
    counts = {
        "hit": np.diag(confusion),
        "predicted": confusion.sum(0),
        "labelled": confusion.sum(1),
    }
    ious = 100 * class_scores(counts, ["mIoU"])["IoU"]
    return ClassIoUs(classes, tuple(ious.tolist()), 100 * float(pixel_accuracy(counts)))


def torch_predictor(model: nn.Module) -> Callable[[np.ndarray], np.ndarray]:
    """Return ``model`` as a function from (H, W, 3) uint8 RGB to (H, W) class indices.

    Args:
        model: An mmseg ``EncoderDecoder`` in eval mode.
    """
    import torch

    from .tasks.semantic_model import SemanticExport, class_map, torch_logits

    threshold = SemanticExport(model).threshold
    device = next(model.parameters()).device

    def predict(image: np.ndarray) -> np.ndarray:
        batch = torch.from_numpy(image).permute(2, 0, 1)[None].to(device)
        return class_map(torch_logits(model, batch), threshold)[0].cpu().numpy()

    return predict


def validation_pairs(cfg: Config, limit: int | None = None) -> list[Pair]:
    """Read images and masks of the config's validation set, with mmseg's loading transforms.

    Args:
        cfg: Config of a semantic segmentation model.
        limit: Largest number of pairs; the first ones are read.

    Returns:
        Images, (H, W, 3) uint8 RGB, and masks, (H, W).

    Raises:
        DataError: The config has no validation set, or its files are not there.
    """
    from mmcv.transforms import LoadImageFromFile
    from mmseg.datasets.transforms import LoadAnnotations

    from mmattn.data.datasets import LoadFolderMask
    from mmattn.data.datasets import LoadImageFromFile as LoadFolderImage

    dataset = validation_dataset(cfg)
    load_image, load_mask = LoadImageFromFile(), LoadAnnotations()
    load_folder_image, load_folder_mask = LoadFolderImage(), LoadFolderMask()
    pairs = []
    for index in range(min(limit or len(dataset), len(dataset))):
        results = dataset.get_data_info(index)
        if "mask_reader" in results:
            results = load_folder_mask(load_folder_image(results))
        else:
            results = load_mask(load_image(results))
        pairs.append((results["img"][..., ::-1].copy(), results["gt_seg_map"]))
    return pairs
