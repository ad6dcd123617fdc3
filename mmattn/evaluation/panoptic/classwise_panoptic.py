"""Panoptic quality for any panoptic model of mmdet: each class, boundaries, mIoU, mask AP, plots.

Nothing depends on panopticapi, no prediction is written to a disk to be read again, and no image
leaves more behind than sums and counts. Results depend neither on the order of the images nor on
the number of processes.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from mmattn.detections.segment_map import SegmentMap
from mmattn.errors import ConfigError, DataError
from mmattn.evaluation.class_table import ClassTable
from mmattn.evaluation.detection.plots import save_plots as save_instance_plots
from mmattn.evaluation.semantic.worst_images import WorstImages
from mmattn.registry import METRICS
from mmattn.reports.detection.numbers import DetectionNumbers
from mmattn.reports.panoptic.numbers import PanopticNumbers

from .analysis import analyse, class_tables
from .files import PanopticWriter
from .image_result import DrawnSegments, ImageResult, compare_image
from .instances import InstanceComparison
from .matching import BOUNDARY_WIDTH
from .plots import save_plots
from .predictions import predicted_segments
from .truth import PanopticClasses, TruthReader


@METRICS.register_module()
class ClasswisePanopticMetric(BaseMetric):
    """Drop-in for ``mmdet.CocoPanopticMetric``: same options, same results, each class, and more.

    Without ``ann_file`` the ground truth is that of the samples (``segments_info`` and
    ``seg_map_path``), as ``mmattn.FolderDetDataset`` has it. Beyond upstream, each run gives
    boundary PQ, the semantic IoU of the same maps, and, where the model predicts instances as well,
    their mask AP and boundary AP against the things.

    Differences from panopticapi, which upstream calls: areas are those of the map, not those that
    the file states; all crowd regions of a class in an image excuse a false segment, not the last
    one alone; a thing of label 0 may have the instance 0; what does not fit is a typed error.

    Args:
        ann_file: COCO's panoptic annotation file.
        seg_prefix: Folder of the maps; by default that of the file's own name.
        classwise: Ignored: the table per class is always there.
        format_only: Whether to write predictions only, as where there is no ground truth.
        outfile_prefix: Path without ending to write predictions to, in COCO's form:
            ``PREFIX.panoptic/NAME.png`` and ``PREFIX.panoptic.json``. ``mmattn test`` keeps the
            sub-folders of images that share a name (``name_outputs``).
        nproc: Ignored: each process compares the images that it predicts, at once.
        file_client_args: Refused, as upstream does.
        backend_args: Where mmengine reads files from.
        collect_device, prefix: Options of every metric of mmengine.
        boundary: Width of the bands of boundary IoU: pixels from 1 on, below that a share of the
            image's diagonal; None leaves boundary PQ out.
        instances: Whether to evaluate ``pred_instances`` too; by default if the model has them.
        bootstrap: Resamples for 95 % intervals over images (1000 is usual); 0 leaves them out. They
            are reported as ``PQ_low``, ``PQ_high`` and so on.
        worst: Number of images with the lowest panoptic quality to draw.

    Attributes:
        class_tables: Tables of the last evaluation.
        panoptic: All numbers of the last evaluation, for plots and reports; None before it.
        numbers: ``segm`` and ``boundary`` -> numbers of the instances; empty without.

    Raises:
        ConfigError: An option has an invalid value.
        DataError: ``ann_file`` is not in COCO's panoptic form.
    """

    default_prefix = "coco_panoptic"
    class_tables: tuple[ClassTable, ...] = ()
    panoptic: PanopticNumbers | None = None

    def __init__(
        self,
        ann_file: str | None = None,
        seg_prefix: str | None = None,
        classwise: bool = False,
        format_only: bool = False,
        outfile_prefix: str | None = None,
        nproc: int = 32,
        file_client_args: dict | None = None,
        backend_args: dict | None = None,
        collect_device: str = "cpu",
        prefix: str | None = None,
        boundary: float | None = BOUNDARY_WIDTH,
        instances: bool | None = None,
        bootstrap: int = 0,
        worst: int = 6,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        _check_options(boundary, {"bootstrap": bootstrap, "worst": worst})
        if file_client_args is not None:
            raise ConfigError(
                "ClasswisePanopticMetric: file_client_args has become backend_args in mmengine: "
                "rename it"
            )
        if format_only and outfile_prefix is None:
            raise ConfigError(
                "ClasswisePanopticMetric: format_only=True writes predictions and nothing else, "
                "and outfile_prefix does not say where: set outfile_prefix='work_dirs/NAME/results'"
            )
        self.format_only = format_only
        self.boundary = boundary
        self.instances = instances
        self.bootstrap = bootstrap
        self.worst = worst
        self.numbers: Mapping[str, DetectionNumbers] = {}
        self._own_prefix = prefix
        self._truth = TruthReader(ann_file, seg_prefix, backend_args)
        self._writer = None if outfile_prefix is None else PanopticWriter(outfile_prefix)
        self._classes: PanopticClasses | None = None
        self._worst = WorstImages(0)
        self._instances: InstanceComparison | None = None

    def name_outputs(self, names: Mapping[str, Path]) -> None:
        """Set the names of the maps that are written.

        Args:
            names: ``img_path`` of an image -> path of its map, without ending.
        """
        if self._writer is not None:
            self._writer.name_outputs(names)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Compare a batch with its ground truth.

        Args:
            data_batch: Ignored.
            data_samples: Results of mmdet's panoptic models, with ``pred_panoptic_seg``.

        Raises:
            ConfigError: The model predicts no panoptic map, or no instances where they are asked
                for; or the samples lack their ground truth.
            DataError: Prediction, map and annotations do not fit together; the message has the file
                and the segment.
        """
        if self._classes is None:
            self._classes = self._truth.classes(self.dataset_meta)
        classes = self._classes
        if not self.results:
            # One more than is wanted: the last image of a process may be a repeated one, which
            # fills up a batch and is dropped afterwards.
            self._worst = WorstImages(self.worst + 1 if self.worst else 0)
            self._instances = InstanceComparison(
                classes, worst=self.worst, bootstrap=self.bootstrap
            )
        for sample in data_samples:
            predicted = predicted_segments(sample, classes.names)
            name = str(sample.get("img_path") or sample["img_id"])
            listed = []
            if self._writer is not None:
                listed = self._writer.write_map(name, predicted, classes)
            if self.format_only:
                result = ImageResult.without_truth(name, sample["img_id"])
            else:
                result = self._compare(sample, name, predicted, classes)
            result.listed = listed
            self.results.append(result)

    def _compare(
        self,
        sample: Mapping[str, Any],
        name: str,
        predicted: SegmentMap,
        classes: PanopticClasses,
    ) -> ImageResult:
        truth = self._truth.read(sample, classes)
        if truth.shape != predicted.shape:
            raise DataError(
                f"{name}: the panoptic map is {truth.shape[0]} x {truth.shape[1]} (height x width) "
                f"and the prediction {predicted.shape[0]} x {predicted.shape[1]}. Check that the "
                "map is as large as its image, and that the model returns masks of the image's own "
                "size (ori_shape)"
            )
        result, matches = compare_image(
            name, sample["img_id"], truth, predicted, len(classes.names), self.boundary
        )
        self._worst.offer(result, truth.index, predicted.index)
        if result.label_maps is not None:
            result.drawn = DrawnSegments.of(truth, predicted, matches)
        has_masks = "masks" in (sample.get("pred_instances") or {})
        if self.instances and not has_masks:
            raise ConfigError(
                "ClasswisePanopticMetric: instances=True, but the model predicts no instance masks "
                "beside its panoptic map. Set model.test_cfg.instance_on=True if it has that "
                "option, or leave instances out"
            )
        if self._instances is not None and has_masks and self.instances is not False:
            result.instances = self._instances.collect(sample, truth)
        return result

    def evaluate(self, size: int) -> dict:
        """Collect the results of all processes and compute the scores; see ``BaseMetric``."""
        if self._writer is not None:
            self._writer.check_processes()
        return super().evaluate(size)

    def compute_metrics(self, results: list[ImageResult]) -> dict[str, float]:
        """Compute the scores of all images.

        Args:
            results: Results of every image, from ``process``, in any order.

        Returns:
            In percent ``PQ``, ``SQ``, ``RQ``, those of things (``PQ_th``) and stuff (``PQ_st``) and
            by boundary (``boundary_PQ``), ``mIoU``, ``mAcc``, ``aAcc``; as fractions, as
            ``CocoMetric`` has them, ``segm_mAP``, ``boundary_mAP`` and so on. What is not defined
            is left out.
        """
        self.class_tables, self.panoptic, self.numbers = (), None, {}
        classes = self._classes
        if classes is None or not results:
            return {}
        if self._writer is not None:
            file = self._writer.write_json(results, classes)
            print_log(f"Predictions are in {file} and {self._writer.folder}", "current")
        if self.format_only:
            return {}
        self.panoptic, scores = analyse(
            results,
            classes,
            palette=(self.dataset_meta or {}).get("palette") or (),
            worst=self.worst,
            bootstrap=self.bootstrap,
        )
        self.class_tables = class_tables(self.panoptic)
        return scores | self._evaluate_instances([result.instances for result in results])

    def _evaluate_instances(self, collected: Sequence[Any]) -> dict[str, float]:
        """Compute mask AP where every image has predicted instances."""
        found = [one for one in collected if one is not None]
        comparison = self._instances
        if comparison is None or not found:
            return {}
        if len(found) < len(collected):
            print_log(
                f"{len(collected) - len(found)} of {len(collected)} images have no predicted "
                "instances: mask AP is left out",
                "current",
                logging.WARNING,
            )
            return {}
        if comparison.left_out:
            print_log(
                f"{comparison.left_out} predicted instances are of stuff: mask AP is of things, "
                "and leaves them out",
                "current",
                logging.WARNING,
            )
        scores = comparison.evaluate(found)
        self.class_tables += comparison.metric.class_tables
        self.numbers = comparison.metric.numbers
        return scores

    def save_plots(self, folder: Path, name: str) -> list[Path]:
        """Draw the last evaluation.

        Args:
            folder: Folder of the files.
            name: End of the file names, such as ``val``.

        Returns:
            The files, of instances first; none without an evaluation.
        """
        if self.panoptic is None:
            return []
        name = f"{self._own_prefix}_{name}" if self._own_prefix else name
        files = [
            file
            for iou_type, numbers in self.numbers.items()
            for file in save_instance_plots(numbers, folder, f"{iou_type}_{name}")
        ]
        return [*files, *save_plots(self.panoptic, folder, name)]


def _check_options(boundary: float | None, numbers: Mapping[str, int]) -> None:
    if boundary is not None and (isinstance(boundary, bool) or not boundary > 0):
        raise ConfigError(
            f"ClasswisePanopticMetric: boundary={boundary!r} must be a width in pixels, a share of "
            "the image's diagonal below 1, or None"
        )
    for option, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ConfigError(
                f"ClasswisePanopticMetric: {option}={value!r} must be a whole number, 0 or more"
            )
