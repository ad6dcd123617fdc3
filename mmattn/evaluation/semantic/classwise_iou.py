"""mmseg's IoU metric on exact counts: each class, outlines, calibration, intervals, plots.

Results are the same whatever the order of the images and the number of processes, since only
whole numbers are added. Options that ``mmseg.IoUMetric`` has mean what they mean there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log
from mmseg.evaluation import IoUMetric
from torch import Tensor

from mmattn.errors import ConfigError, did_you_mean
from mmattn.evaluation.bootstrap import bootstrap_intervals
from mmattn.evaluation.class_table import ClassTable
from mmattn.registry import METRICS

from .calibration import expected_calibration_error
from .confusion import SparseConfusion
from .image_counts import ImageCounter, ImageCounts, stack_counts
from .invalid_pixels import warn_invalid_pixels
from .label_maps import LabelMapWriter
from .plots import save_calibration, save_confusion, save_images
from .score_table import score_table
from .scores import AREAS, all_scores
from .scores import METRICS as SCORES
from .worst_images import WorstImages


@METRICS.register_module()
class ClasswiseIoUMetric(IoUMetric):
    """Drop-in for ``mmseg.IoUMetric``: same options and results, each class kept, and more scores.

    Pixels are counted as integers: upstream's float32 sums stop counting single pixels beyond
    2**24, which is eight images of Cityscapes. A label or prediction that is no class is wrong,
    as upstream, but is reported.

    Args:
        iou_metrics: Any of ``mIoU`` (IoU, Acc), ``mDice``, ``mFscore`` (with Precision and Recall)
            and, beyond upstream, ``mBoundaryIoU`` and ``mBoundaryF`` (see ``boundary.py``).
        ignore_index: Label of pixels that count nowhere.
        nan_to_num: Value for a class that has none; by default it is left out of the mean.
        beta: Weight of recall in Fscore.
        boundary_width: Width of the bands of boundary IoU: pixels from 1 on, below that a share of
            the image's diagonal. The authors take 0.02, for large detailed images such as
            Cityscapes 0.005.
        boundary_tolerance: Tolerance of boundary F, likewise (DAVIS takes 0.008).
        calibration: Bins of the expected calibration error (15 is usual); 0 leaves it out. The
            model has to return ``seg_logits``.
        bootstrap: Resamples for 95 % intervals over images (1000 is usual); 0 leaves them out.
        worst: Number of images with the lowest mean IoU to draw.
        best: Number of images with the highest mean IoU to draw, none of those drawn as the worst.
        output_dir: Folder to write predictions to, as label maps of 8 bits, or of 16 for more than
            256 classes. They have their images' names.
        format_only: Whether to write predictions only, as where there is no ground truth.
        collect_device, collect_dir, prefix: Options of every metric of mmengine.

    Attributes:
        class_tables: One table with a row for each class, and one of the intervals.
        confusion: int64 (K + 1, K + 1), rows by label; the last ones are no class.
        areas: int64 (images, 4, K): hit pixels, union, predicted and labelled pixels of each
            class in each image, in the dataset's order.
        worst_images: The images with the lowest mean IoU, the worst first.
        best_images: Those with the highest, the best first.
        calibration_bins: int64 (3, bins), see ``calibration_counts``; None where it is not counted.

    Raises:
        ConfigError: An option has an invalid value.
    """

    class_tables: tuple[ClassTable, ...] = ()
    confusion: np.ndarray | None = None
    areas: np.ndarray | None = None
    worst_images: tuple[ImageCounts, ...] = ()
    best_images: tuple[ImageCounts, ...] = ()
    calibration_bins: np.ndarray | None = None

    def __init__(
        self,
        ignore_index: int = 255,
        iou_metrics: Sequence[str] | str = ("mIoU",),
        nan_to_num: float | None = None,
        beta: float = 1,
        boundary_width: float = 0.02,
        boundary_tolerance: float = 3,
        calibration: int = 0,
        bootstrap: int = 0,
        worst: int = 6,
        output_dir: str | None = None,
        format_only: bool = False,
        collect_device: str = "cpu",
        collect_dir: str | None = None,
        prefix: str | None = None,
        best: int = 3,
    ) -> None:
        metrics = [iou_metrics] if isinstance(iou_metrics, str) else list(iou_metrics)
        super().__init__(
            ignore_index=ignore_index,
            iou_metrics=metrics,
            nan_to_num=nan_to_num,
            beta=beta,
            collect_device=collect_device,
            output_dir=output_dir,
            format_only=format_only,
            prefix=prefix,
        )
        self.collect_dir = collect_dir
        _check_options(
            metrics,
            lengths={"boundary_width": boundary_width, "boundary_tolerance": boundary_tolerance},
            numbers={"calibration": calibration, "bootstrap": bootstrap},
        )
        self.boundary_width = boundary_width
        self.boundary_tolerance = boundary_tolerance
        self.calibration = calibration
        self.bootstrap = bootstrap
        self.worst = worst
        self.best = best
        self._worst = WorstImages(0)
        self._label_maps = None if output_dir is None else LabelMapWriter(output_dir)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Count the pixels of a batch.

        Args:
            data_batch: Ignored.
            data_samples: Results of mmseg's segmentors: ``pred_sem_seg`` and ``gt_sem_seg`` with
                ``data`` of shape (1, H, W).

        Raises:
            DataError: Prediction and ground truth have different sizes, or the label map of another
                image has the same name.
            ConfigError: Calibration is asked for, and there are no logits or not the right ones.
        """
        if not self.results:
            # One more than is wanted: the last image of a process may be a repeated one, which
            # fills up a batch and is dropped afterwards. The best ones may be among the worst.
            best = self.best + self.worst + 1 if self.best else 0
            self._worst = WorstImages(self.worst + 1 if self.worst else 0, best)
        for sample in data_samples:
            predicted = _plane(sample["pred_sem_seg"]["data"])
            if not self.format_only:
                self.results.append(self._count(sample, predicted))
            if self._label_maps is not None:
                classes = predicted.cpu().numpy()
                if sample.get("reduce_zero_label", False):
                    classes = classes + 1  # as the files of the dataset count
                num_classes = len(self.dataset_meta["classes"])
                self._label_maps.write(str(sample["img_path"]), classes, num_classes)

    def _count(self, sample: dict, predicted: Tensor) -> ImageCounts:
        counter = ImageCounter(
            len(self.dataset_meta["classes"]),
            self.ignore_index,
            self.boundary_width if "mBoundaryIoU" in self.metrics else None,
            self.boundary_tolerance if "mBoundaryF" in self.metrics else None,
            self.calibration,
        )
        name = str(sample.get("img_path") or f"image {len(self.results)}")
        label = _plane(sample["gt_sem_seg"]["data"]).to(predicted.device)
        logits = sample["seg_logits"]["data"] if "seg_logits" in sample else None
        counts = counter.count(name, label, predicted, logits)
        self._worst.offer(counts, label.cpu().numpy(), predicted.cpu().numpy())
        return counts

    def evaluate(self, size: int) -> dict[str, float]:
        """Reduce the counts of all processes.

        Args:
            size: Number of images of the dataset.

        Raises:
            DataError: Two processes wrote label maps of the same name.
        """
        if self._label_maps is not None:
            self._label_maps.check_processes()
        return super().evaluate(size)

    def compute_metrics(self, results: list[ImageCounts]) -> dict[str, float]:
        """Reduce the counts of all images.

        Args:
            results: Counts of every image, in any order.

        Returns:
            ``aAcc`` and the mean of each score over the classes, in percent; ``ECE``; and the ends
            of the intervals, ``mIoU_low`` and so on.
        """
        self.class_tables, self.worst_images, self.best_images = (), (), ()
        self.confusion = self.areas = self.calibration_bins = None
        if self.format_only:
            print_log(f"The predictions are in {self.output_dir}.", "current")
        if self.format_only or not results:
            return {}
        classes = tuple(self.dataset_meta["classes"])
        per_image = stack_counts(results)
        hit, predicted, labelled = (per_image[name] for name in AREAS)
        self.areas = np.stack([hit, predicted + labelled - hit, predicted, labelled], axis=1)
        self.confusion = SparseConfusion.sum_of(image.confusion for image in results)
        warn_invalid_pixels(results, self.confusion, self.ignore_index)
        ranked = sorted(
            (image for image in results if image.label_maps), key=lambda image: image.rank
        )
        self.worst_images = tuple(ranked[: self.worst])
        self.best_images = tuple(ranked[self.worst :][::-1][: self.best])

        scores = self._scores({name: values.sum(axis=0) for name, values in per_image.items()})
        overall = _means(scores)
        absent = frozenset(name for name, n in zip(classes, labelled.sum(0), strict=True) if not n)
        self.class_tables = (score_table("segmentation, %", scores, classes, absent),)
        if self.calibration:
            bins = np.sum([image.calibration for image in results], axis=0)
            overall["ECE"] = _percent(expected_calibration_error(bins))
            self.calibration_bins = bins
        if self.bootstrap:
            order = sorted(range(len(results)), key=lambda index: results[index].name)
            ordered = {name: values[order] for name, values in per_image.items()}
            intervals = bootstrap_intervals(ordered, self._scores, resamples=self.bootstrap)
            ends = {
                f"{name}_{end}": values[place]
                for name, values in intervals.items()
                for place, end in enumerate(("low", "high"))
            }
            overall |= _means(ends)
            title = "95 % intervals over images, %"
            self.class_tables += (score_table(title, ends, classes, absent),)
        return overall

    def save_plots(self, folder: Path, name: str) -> list[Path]:
        """Draw the confusion matrix, the worst and the best images of the last evaluation.

        Args:
            folder: Folder of the files.
            name: End of the file names, such as ``val``.

        Returns:
            The files: ``confusion_<name>.png`` and ``.csv``, ``calibration_<name>.json`` where it
            was counted, ``best_<name>.png`` and ``worst_<name>.png``.
        """
        if self.confusion is None:
            return []
        name = f"{self.prefix}_{name}" if self.prefix else name
        classes = tuple(self.dataset_meta["classes"])
        files = save_confusion(self.confusion, classes, folder / f"confusion_{name}.png")
        if self.calibration_bins is not None:
            file = folder / f"calibration_{name}.json"
            files.append(save_calibration(self.calibration_bins, file))
        palette = self.dataset_meta.get("palette") or ()
        # The worst last: they are what is to be looked at.
        for which, images in (("best", self.best_images), ("worst", self.worst_images)):
            if images:
                file = folder / f"{which}_{name}.png"
                files.append(save_images(images, classes, palette, file))
        return files

    def _scores(self, counts: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return all_scores(counts, self.metrics, self.beta, self.nan_to_num)


def _check_options(
    metrics: Sequence[str], *, lengths: dict[str, float], numbers: dict[str, int]
) -> None:
    for name in metrics:
        if name not in SCORES:
            hint = did_you_mean(name, SCORES) or f" Available are {', '.join(SCORES)}."
            raise ConfigError(f"ClasswiseIoUMetric: unknown metric {name!r} in iou_metrics.{hint}")
    for option, value in lengths.items():
        if not value > 0 or (value >= 1 and value != int(value)):
            raise ConfigError(
                f"ClasswiseIoUMetric: {option}={value} must be a whole number of pixels, or a "
                "share of the image's diagonal between 0 and 1."
            )
    for option, value in numbers.items():
        if value is True or value < 0:
            raise ConfigError(
                f"ClasswiseIoUMetric: {option}={value} must be a whole number, 0 or more."
            )


def _plane(data: Tensor | np.ndarray) -> Tensor:
    """(1, H, W) or (H, W) -> (H, W), whole numbers."""
    data = torch.as_tensor(data)
    plane = data.reshape(data.shape[-2:])
    return plane if not plane.is_floating_point() else plane.long()


def _means(scores: dict[str, np.ndarray]) -> dict[str, float]:
    """Return the scores that are not per class, in percent."""
    return {name: _percent(value) for name, value in scores.items() if np.ndim(value) == 0}


def _percent(share: float) -> float:
    return float(np.round(float(share) * 100, 2))
