"""mmseg's IoU metric on exact counts: each class, outlines, calibration, intervals, images.

Results are the same whatever the order of the images and the number of processes, since only
whole numbers are added. Options that ``mmseg.IoUMetric`` has mean what they mean there.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.dist import all_gather_object
from mmengine.logging import print_log
from mmseg.evaluation import IoUMetric
from torch import Tensor

from mmattn.errors import ConfigError, DataError, did_you_mean
from mmattn.evaluation.bootstrap import bootstrap_intervals
from mmattn.evaluation.class_table import ClassTable
from mmattn.registry import METRICS

from .boundary import boundary_areas, clean_maps, outline_hits, pixels_of
from .calibration import calibration_counts, expected_calibration_error
from .confusion import SparseConfusion, confusion_matrix
from .image_counts import ImageCounts, WorstImages
from .plots import save_confusion, save_worst_images
from .scores import AREAS, BANDS, EDGES, class_scores, mean_over_classes, pixel_accuracy
from .scores import METRICS as SCORES

_NOTE = (
    "A mean leaves '-' out. As in mmseg, a class that is absent in ground truth but predicted "
    "somewhere has IoU 0, which counts in the mean."
)


@METRICS.register_module()
class ClasswiseIoUMetric(IoUMetric):
    """Drop-in for ``mmseg.IoUMetric``: same options and results, each class kept, and more scores.

    Pixels are counted as integers: upstream's float32 sums stop counting single pixels beyond
    2**24, which is eight images of Cityscapes. A label or prediction that is no class is wrong,
    as upstream, but is reported.

    Args:
        iou_metrics: Any of ``mIoU`` (IoU, Acc), ``mDice``, ``mFscore`` (with Precision and Recall)
            and, beyond upstream, ``mBoundaryIoU`` and ``mBoundaryF`` (see ``boundary.py``).
        ignore_index: Pixels with this label count nowhere.
        nan_to_num: What to put where a class has no value; by default it is left out of the mean.
        beta: Weight of recall in Fscore.
        boundary_width: Of boundary IoU: pixels from 1 on, below that a share of the image's
            diagonal. The authors take 0.02, for large detailed images such as Cityscapes 0.005.
        boundary_tolerance: Of boundary F: likewise (DAVIS takes 0.008).
        calibration: Bins of the expected calibration error (15 is usual); 0 leaves it out. The
            model has to hand over ``seg_logits``.
        bootstrap: Resamples for 95 % intervals over images (1000 is usual); 0 leaves them out.
        worst: How many of the images with the lowest mean IoU are drawn.
        output_dir: Where predictions are written, as label maps of 8 bits, or of 16 for more than
            256 classes. They have their images' names.
        format_only: Only write predictions; there is no ground truth.
        collect_device, collect_dir, prefix: As of every metric of mmengine.

    Attributes:
        class_tables: One table with a row for each class, and one of the intervals.
        confusion: int64 (K + 1, K + 1), rows by label; the last ones are no class.
        areas: int64 (images, 4, K): hit pixels, union, predicted and labelled ones of every
            image, in the dataset's order.
        worst_images: The images with the lowest mean IoU, the worst first.

    Raises:
        ConfigError: An option that cannot be meant.
    """

    class_tables: tuple[ClassTable, ...] = ()
    confusion: np.ndarray | None = None
    areas: np.ndarray | None = None
    worst_images: tuple[ImageCounts, ...] = ()

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
        for name in metrics:
            if name not in SCORES:
                hint = did_you_mean(name, SCORES) or f" There are {', '.join(SCORES)}."
                raise ConfigError(f"ClasswiseIoUMetric: iou_metrics has no {name!r}.{hint}")
        for option, value in (
            ("boundary_width", boundary_width),
            ("boundary_tolerance", boundary_tolerance),
        ):
            if not value > 0 or (value >= 1 and value != int(value)):
                raise ConfigError(
                    f"ClasswiseIoUMetric: {option}={value} must be a whole number of pixels, or "
                    "a share of the diagonal between 0 and 1."
                )
        for option, value in (("calibration", calibration), ("bootstrap", bootstrap)):
            if value is True or value < 0:
                raise ConfigError(f"ClasswiseIoUMetric: {option}={value} must be a number.")
        self.boundary_width = boundary_width
        self.boundary_tolerance = boundary_tolerance
        self.calibration = calibration
        self.bootstrap = bootstrap
        self.worst = worst
        self._worst = WorstImages(0)
        self._written: dict[str, str] = {}

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Count the pixels of a batch.

        Args:
            data_batch: Not needed.
            data_samples: As mmseg's segmentors make them: ``pred_sem_seg`` and ``gt_sem_seg`` with
                ``data`` of shape (1, H, W).

        Raises:
            DataError: Prediction and ground truth have different sizes, or the label map of another
                image has the same name.
        """
        if not self.results:
            # One more than is wanted: the last image of a process may be a repeated one, which
            # fills up a batch and is dropped afterwards.
            self._worst = WorstImages(self.worst + 1 if self.worst else 0)
        for sample in data_samples:
            predicted = _plane(sample["pred_sem_seg"]["data"])
            if not self.format_only:
                label = _plane(sample["gt_sem_seg"]["data"]).to(predicted.device)
                self.results.append(self._measure(sample, label, predicted))
            if self.output_dir is not None:
                self._write(sample, predicted)

    def _measure(self, sample: dict, label: Tensor, predicted: Tensor) -> ImageCounts:
        num_classes = len(self.dataset_meta["classes"])
        name = str(sample.get("img_path") or f"image {len(self.results)}")
        if label.shape != predicted.shape:
            raise DataError(
                f"{name}: the ground truth has {tuple(label.shape)} rows and columns, the "
                f"prediction {tuple(predicted.shape)}. Is the mask as large as the image, and "
                "loaded behind the resizing in the test pipeline?"
            )
        matrix = confusion_matrix(label, predicted, num_classes, self.ignore_index)
        counts = ImageCounts(name, SparseConfusion.of(matrix))
        maps = label.cpu().numpy(), predicted.cpu().numpy()
        cleaned = partial(clean_maps, *maps, num_classes, self.ignore_index)
        if "mBoundaryIoU" in self.metrics:
            width = pixels_of(self.boundary_width, label.shape)
            counts.bands = boundary_areas(*cleaned(), num_classes, width)
        if "mBoundaryF" in self.metrics:
            tolerance = pixels_of(self.boundary_tolerance, label.shape, up=True)
            counts.edges = outline_hits(*cleaned(), num_classes, tolerance)
        if self.calibration:
            counts.calibration = self._calibrate(sample, name, label, predicted)
        self._worst.offer(counts, *maps)
        return counts

    def _calibrate(self, sample: dict, name: str, label: Tensor, predicted: Tensor) -> np.ndarray:
        if "seg_logits" not in sample:
            raise ConfigError(
                "ClasswiseIoUMetric: calibration needs the logits, which the model does not hand "
                "over. mmattn.EncoderDecoder does with model.test_cfg.keep_logits=True."
            )
        label = label.masked_fill(label == self.ignore_index, -1)
        num_classes = len(self.dataset_meta["classes"])
        logits = sample["seg_logits"]["data"].to(predicted.device)
        try:
            return calibration_counts(logits, predicted, label, num_classes, self.calibration)
        except ValueError as error:
            raise ConfigError(
                f"{name}: {error}: the model does not predict what its logits say, so their "
                "calibration means nothing. Leave calibration out with test-time augmentation."
            ) from error

    def _write(self, sample: dict, predicted: Tensor) -> None:
        """The prediction as a file, named like its image."""
        classes = predicted.cpu().numpy()
        if sample.get("reduce_zero_label", False):
            classes = classes + 1  # as the files of the dataset count
        kind = np.uint8 if len(self.dataset_meta["classes"]) <= 256 else np.uint16
        file = Path(self.output_dir, Path(sample["img_path"]).stem + ".png")
        self._claim(str(file), str(sample["img_path"]))
        if not cv2.imwrite(str(file), classes.astype(kind)):
            raise OSError(f"{file} cannot be written")

    def _claim(self, file: str, image: str) -> None:
        other = self._written.setdefault(file, image)
        if other != image:
            raise DataError(
                f"{image} and {other} would have the one label map {file}. Rename one of them, "
                "test their folders one by one, or write all results into a file that ends in .pkl"
            )

    def evaluate(self, size: int) -> dict[str, float]:
        """Reduce the counts of all processes.

        Raises:
            DataError: Two processes wrote label maps of the same name.
        """
        for written in all_gather_object(self._written):
            for file, image in written.items():
                self._claim(file, image)
        return super().evaluate(size)

    def compute_metrics(self, results: list[ImageCounts]) -> dict[str, float]:
        """Reduce the counts of all images.

        Args:
            results: One for each image, in any order.

        Returns:
            ``aAcc`` and the mean of each score over the classes, in percent; ``ECE``; and the ends
            of the intervals, ``mIoU_low`` and so on.
        """
        self.class_tables, self.worst_images = (), ()
        self.confusion = self.areas = None
        if self.format_only:
            print_log(f"The predictions are in {self.output_dir}.", "current")
        if self.format_only or not results:
            return {}
        per_image = self._stack(results)
        hit, predicted, labelled = (per_image[name] for name in AREAS)
        self.areas = np.stack([hit, predicted + labelled - hit, predicted, labelled], axis=1)
        self.confusion = self._sum_confusion(results)
        self._report_invalid(results)

        counts = {name: values.sum(axis=0) for name, values in per_image.items()}
        scores = self._scores(counts)
        overall = {name: _percent(value) for name, value in scores.items() if np.ndim(value) == 0}
        if self.calibration:
            bins = np.sum([one.calibration for one in results], axis=0)
            overall["ECE"] = _percent(expected_calibration_error(bins))
        absent = frozenset(
            name
            for name, pixels in zip(self.dataset_meta["classes"], counts["labelled"], strict=True)
            if not pixels
        )
        self.class_tables = (self._table("segmentation, %", scores, absent),)
        if self.bootstrap:
            order = sorted(range(len(results)), key=lambda index: results[index].name)
            intervals = bootstrap_intervals(
                {name: values[order] for name, values in per_image.items()},
                self._scores,
                resamples=self.bootstrap,
            )
            ends = {
                f"{name}_{end}": values[place]
                for name, values in intervals.items()
                for place, end in enumerate(("low", "high"))
            }
            overall |= {name: _percent(value) for name, value in ends.items() if value.ndim == 0}
            title = "95 % intervals over images, %"
            self.class_tables += (self._table(title, ends, absent),)
        kept = sorted((one for one in results if one.maps), key=lambda one: one.rank)
        self.worst_images = tuple(kept[: self.worst])
        return overall

    def save_plots(self, folder: Path, name: str) -> list[Path]:
        """Draw the confusion matrix and the worst images of the last evaluation.

        Args:
            folder: Where the files go.
            name: What they end in, such as ``val``.

        Returns:
            The files: ``confusion_<name>.png`` and ``.csv``, ``worst_<name>.png``.
        """
        if self.confusion is None:
            return []
        name = f"{self.prefix}_{name}" if self.prefix else name
        classes = tuple(self.dataset_meta["classes"])
        files = save_confusion(self.confusion, classes, folder / f"confusion_{name}.png")
        if self.worst_images:
            palette = self.dataset_meta.get("palette") or ()
            file = folder / f"worst_{name}.png"
            files.append(save_worst_images(self.worst_images, classes, palette, file))
        return files

    def _scores(self, counts: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """aAcc, the means and the values of every class; leading axes are kept."""
        values = class_scores(counts, self.metrics, self.beta)
        if self.nan_to_num is not None:
            values = {k: np.nan_to_num(v, nan=self.nan_to_num) for k, v in values.items()}
        means = {f"m{name}": mean_over_classes(value) for name, value in values.items()}
        return {"aAcc": pixel_accuracy(counts), **means, **values}

    def _table(
        self, title: str, values: dict[str, np.ndarray], absent: frozenset[str]
    ) -> ClassTable:
        columns = tuple(name for name, value in values.items() if np.ndim(value) == 1)
        per_class = np.stack([values[name] for name in columns], axis=1) * 100
        classes = tuple(self.dataset_meta["classes"])
        return ClassTable(
            title=title,
            columns=tuple(name.replace("_", " ") for name in columns),
            rows=dict(zip(classes, per_class.tolist(), strict=True)),
            mean=[_percent(values[f"m{name}"]) for name in columns],
            absent=absent,
            note=_NOTE if absent else "",
        )

    def _stack(self, results: list[ImageCounts]) -> dict[str, np.ndarray]:
        """Every count as (images, K)."""
        areas = np.array([one.confusion.areas() for one in results])
        stacked = {name: areas[:, place] for place, name in enumerate(AREAS)}
        for metric, names, attribute in (
            ("mBoundaryIoU", BANDS, "bands"),
            ("mBoundaryF", EDGES, "edges"),
        ):
            if metric in self.metrics:
                counts = np.array([getattr(one, attribute) for one in results])
                stacked |= {name: counts[:, place] for place, name in enumerate(names)}
        return stacked

    def _sum_confusion(self, results: list[ImageCounts]) -> np.ndarray:
        side = len(self.dataset_meta["classes"]) + 1
        total = np.zeros((side, side), np.int64)
        for one in results:
            one.confusion.add_to(total)
        return total

    def _report_invalid(self, results: list[ImageCounts]) -> None:
        """Say how many labels and predictions are no class; mmseg would not."""
        last = len(self.dataset_meta["classes"])
        for what, pixels in (
            ("labelled", self.confusion[last].sum()),
            ("predicted", self.confusion[:, last].sum()),
        ):
            if not pixels:
                continue
            first = min(one.name for one in results if _has_other(one.confusion, what))
            print_log(
                f"{pixels} pixels are {what} as no class: outside of 0 to {last - 1}, and not "
                f"ignore_index={self.ignore_index}. The first image is {first}. They count as "
                "wrong.",
                "current",
                logging.WARNING,
            )


def _has_other(confusion: SparseConfusion, what: str) -> bool:
    rows, columns = np.divmod(confusion.places, confusion.side)
    return bool(((rows if what == "labelled" else columns) == confusion.side - 1).any())


def _plane(data: Tensor | np.ndarray) -> Tensor:
    """(1, H, W) or (H, W) -> (H, W), whole numbers."""
    data = torch.as_tensor(data)
    plane = data.reshape(data.shape[-2:])
    return plane if not plane.is_floating_point() else plane.long()


def _percent(share: float) -> float:
    return float(np.round(float(share) * 100, 2))
