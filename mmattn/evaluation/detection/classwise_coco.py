"""mmdet's COCO metric on a faster evaluator: each class, outlines, intervals, matches, plots."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.datasets.api_wrappers import COCO as MMDetCOCO
from mmdet.evaluation import CocoMetric
from mmengine.fileio import dump, load
from mmengine.logging import print_log

from mmattn.errors import ConfigError
from mmattn.evaluation.class_table import ClassTable
from mmattn.registry import METRICS
from mmattn.reports.detection.numbers import DetectionNumbers

from .analysis import analyse, class_table, interval_table
from .coco_evaluator import PRECISIONS, coco_of, evaluate_coco, limit_of_map
from .confidence import confidence_curves
from .intervals import ap_intervals
from .matching import Matches, match_dataset
from .packed_masks import PackedMasks
from .plots import save_plots
from .worst_images import worst_images

#: The highest score of a detector that has learnt something is above.
_SURE = 0.05
#: What is evaluated -> the results that upstream writes for it.
_RESULTS_OF = {"bbox": "bbox", "segm": "segm", "boundary": "segm"}


@METRICS.register_module()
class ClasswiseCocoMetric(CocoMetric):
    """Drop-in for ``mmdet.CocoMetric``: same options, same results, each class kept, and plots.

    Boxes and masks are matched by faster-coco-eval. Beyond upstream, ``metric`` takes ``boundary``:
    boundary AP (Cheng et al., Boundary IoU, CVPR 2021, arXiv:2103.16562), for which the smaller one
    of mask IoU and boundary IoU, of the pixels within 2 % of the image's diagonal from the outline,
    takes the place of mask IoU. A model that detects nothing gets 0 where
    upstream reports nothing at all, so that ``save_best`` and curves have a value. Proposals, and
    recall asked for in ``metric_items``, are left to upstream, without tables and plots.

    Args:
        ann_file, metric, classwise, proposal_nums, iou_thrs, metric_items: Options of
            ``mmdet.CocoMetric``.
        format_only, outfile_prefix, file_client_args, backend_args, sort_categories, use_mp_eval:
            Options of ``mmdet.CocoMetric``, too.
        bootstrap: Resamples for 95 % intervals of AP over images (1000 is usual); 0 leaves them
            out. They are reported as ``bbox_mAP_low``, ``bbox_mAP_high`` and so on.
        worst: Number of images with the lowest F1 to draw.
        best: Number of images with the highest F1 to draw, none of those drawn as the worst.
        collect_device, prefix: Options of every metric of mmengine.

    Attributes:
        class_tables: A table with a row for each class for each of ``metric``, and one of the
            intervals.
        matches: ``bbox``, ``segm`` or ``boundary`` -> detections of the last evaluation matched
            with objects.
        numbers: ``bbox``, ``segm`` or ``boundary`` -> all numbers of the last evaluation, for plots
            and reports.
        scores: The results before they are rounded.

    Raises:
        ConfigError: ``bootstrap``, ``worst`` or ``best`` is no whole number, 0 or more; or
            ``boundary`` is asked for beside what upstream evaluates.
    """

    class_tables: tuple[ClassTable, ...] = ()

    def __init__(
        self,
        ann_file: str | None = None,
        metric: str | list[str] = "bbox",
        classwise: bool = False,
        proposal_nums: Sequence[int] = (100, 300, 1000),
        iou_thrs: float | Sequence[float] | None = None,
        metric_items: Sequence[str] | None = None,
        format_only: bool = False,
        outfile_prefix: str | None = None,
        file_client_args: dict | None = None,
        backend_args: dict | None = None,
        collect_device: str = "cpu",
        prefix: str | None = None,
        sort_categories: bool = False,
        use_mp_eval: bool = False,
        bootstrap: int = 0,
        worst: int = 6,
        best: int = 3,
    ) -> None:
        for option, value in {"bootstrap": bootstrap, "worst": worst, "best": best}.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise ConfigError(
                    f"ClasswiseCocoMetric: {option}={value!r} must be a whole number, 0 or more."
                )
        asked = [metric] if isinstance(metric, str) else list(metric)
        # Upstream knows no boundary, and needs one that it knows.
        known = [name for name in asked if name != "boundary"]
        super().__init__(
            ann_file=ann_file,
            metric=known or ["segm"],
            classwise=classwise,
            proposal_nums=proposal_nums,
            iou_thrs=iou_thrs,
            metric_items=metric_items,
            format_only=format_only,
            outfile_prefix=outfile_prefix,
            file_client_args=file_client_args,  # pyright: ignore[reportArgumentType]
            backend_args=backend_args,  # pyright: ignore[reportArgumentType]
            collect_device=collect_device,
            prefix=prefix,
            sort_categories=sort_categories,
            use_mp_eval=use_mp_eval,
        )
        self.metrics = asked
        foreign = set(asked) - set(_RESULTS_OF) or set(self.metric_items or ()) - set(PRECISIONS)
        if "boundary" in asked and foreign:
            raise ConfigError(
                f"ClasswiseCocoMetric: boundary AP cannot be asked for beside {sorted(foreign)}, "
                "which is left to mmdet. Put it into a metric of its own: "
                "dict(type='mmattn.ClasswiseCocoMetric', metric='boundary', prefix='outlines')."
            )
        self.bootstrap = bootstrap
        self.worst = worst
        self.best = best
        self.matches: dict[str, Matches] = {}
        self.numbers: dict[str, DetectionNumbers] = {}
        self.scores: dict[str, float] = {}
        self._own_prefix = prefix

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Keep the detections of a batch, as upstream does, and where its images are.

        Args:
            data_batch: Ignored.
            data_samples: Results of mmdet's detectors, with ``pred_instances``.
        """
        first = len(self.results)
        super().process(data_batch, data_samples)
        for (truth, found), sample in zip(self.results[first:], data_samples, strict=True):
            truth["img_path"] = sample.get("img_path")
            if PackedMasks.can_hold(found.get("masks")):
                found["masks"] = PackedMasks(found["masks"])

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Evaluate the detections of all images.

        Args:
            results: (ground truth, detections) of every image, from ``process``, in any order.

        Returns:
            ``bbox_mAP``, ``bbox_mAP_50``, … as fractions, -1 where there is no such object.

        Raises:
            ConfigError: ``metric`` asks for masks, and the model predicts none.
        """
        self.class_tables, self.matches, self.numbers, self.scores = (), {}, {}, {}
        items = tuple(self.metric_items or PRECISIONS)
        ours = set(self.metrics) <= set(_RESULTS_OF) and set(items) <= set(PRECISIONS)
        if self.format_only or not ours or not results:
            return super().compute_metrics(results) if results else {}

        truths, detections = zip(*results, strict=True)
        with tempfile.TemporaryDirectory() as folder:
            prefix = self.outfile_prefix or str(Path(folder) / "results")
            if self._coco_api is None:
                self._coco_api = MMDetCOCO(self.gt_to_coco_json(truths, prefix))
            if self.cat_ids is None:
                self.cat_ids = self._coco_api.get_cat_ids(
                    cat_names=(self.dataset_meta or {})["classes"]
                )
            if self.img_ids is None:
                self.img_ids = self._coco_api.get_img_ids()
            files = self.results2json(detections, prefix)
            sources = {name: _RESULTS_OF[name] for name in self.metrics}
            predicted = {name: load(files[key]) for name, key in sources.items() if key in files}
        paths = {truth["img_id"]: truth.get("img_path") for truth in truths}

        metrics: dict[str, float] = {}
        for name in self.metrics:
            if name not in predicted:
                raise ConfigError(
                    f"metric={self.metrics} asks for {name!r}, but the model predicts none: set "
                    f"metric={list(predicted)} in val_evaluator and test_evaluator."
                )
            result = self._evaluate(name, predicted[name], paths)
            if self.classwise:
                for class_name, ap in zip(result.classes, result.per_class["mAP"], strict=True):
                    metrics[f"{class_name}_precision"] = round(float(ap), 3)
            scores = {f"{name}_{item}": result.overall[item] for item in items}
            for item, ends in result.intervals.items():
                ends = dict(zip(("low", "high"), ends, strict=True))
                scores |= {f"{name}_{item}_{end}": value for end, value in ends.items()}
            self.scores |= scores
            metrics |= {key: round(value, 3) for key, value in scores.items()}
        return metrics

    def gt_to_coco_json(self, gt_dicts: Sequence[dict], outfile_prefix: str) -> str:
        """Write the ground truth that came with the images as a COCO file.

        Upstream's takes the area of the box for every object, which moves objects between the
        ranges of areas, and leaves ``annotations`` out where there is none.

        Args:
            gt_dicts: ``img_id``, ``width``, ``height`` and ``anns`` of every image.
            outfile_prefix: Path of the file without its ending.

        Returns:
            The path of the file.
        """
        classes = (self.dataset_meta or {})["classes"]
        annotations: list[dict] = []
        for truth in gt_dicts:
            for item in truth["anns"]:
                x1, y1, x2, y2 = map(float, item["bbox"])
                annotation = {
                    "id": len(annotations) + 1,  # 0 would never count as found
                    "image_id": truth["img_id"],
                    "category_id": int(item["bbox_label"]),
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "iscrowd": int(item.get("ignore_flag", 0)),
                }
                if item.get("mask"):
                    annotation["segmentation"] = _as_text(item["mask"])
                annotation["area"] = item.get("area") or _area(annotation, truth)
                annotations.append(annotation)
        content = {
            "images": [
                {"id": t["img_id"], "width": t["width"], "height": t["height"], "file_name": ""}
                for t in gt_dicts
            ],
            "categories": [{"id": label, "name": name} for label, name in enumerate(classes)],
            "annotations": annotations,
        }
        path = f"{outfile_prefix}.gt.json"
        dump(content, path)
        return path

    def _evaluate(
        self, iou_type: str, detections: list[dict], paths: Mapping[Any, str | None]
    ) -> _Result:
        """Evaluate boxes, masks or outlines, and keep their tables and numbers."""
        if not detections:
            print_log(
                f"The model detected nothing: every {iou_type} AP is 0.", "current", logging.WARNING
            )
        elif (best := max(d["score"] for d in detections)) < _SURE:
            # Heads with a low threshold, such as YOLOv12's, always return a full list.
            print_log(
                f"The model is sure of nothing: the highest score of its {len(detections)} "
                f"detections is {best:.3f}. It has hardly learnt yet",
                "current",
                logging.WARNING,
            )
        if iou_type != "bbox":
            # With a box the evaluator would take its area, not the mask's, for the area ranges.
            detections = [{k: v for k, v in d.items() if k != "bbox"} for d in detections]
        truth = coco_of(dict(self._coco_api.dataset))
        thresholds = np.atleast_1d(np.asarray(self.iou_thrs, np.float64))
        # The evaluator sorts the categories by id, whatever order the file has them in.
        categories = sorted(self.cat_ids)
        names = [category["name"] for category in self._coco_api.load_cats(categories)]
        precision = evaluate_coco(
            truth,
            detections,
            iou_type,
            category_ids=categories,
            image_ids=list(self.img_ids),
            max_dets=list(self.proposal_nums),
            thresholds=thresholds,
        )
        per_class, overall = precision.per_class(), precision.overall()
        matches = match_dataset(
            truth,
            detections,
            iou_type,
            image_ids=self.img_ids,
            category_ids=categories,
            thresholds=thresholds,
            max_dets=max(self.proposal_nums),
        )
        curves = confidence_curves(matches)
        choose = partial(
            worst_images,
            matches,
            float(curves.confidences[curves.best]),
            truth=truth,
            detections=detections,
            iou_type=iou_type,
            names={image: path for image, path in paths.items() if path},
        )
        worst = choose(limit=self.worst)
        drawn = {image.name for image in worst}
        best = choose(limit=self.best + self.worst, best=True) if self.best else ()
        best = [one for one in best if one.f1 > 0 and one.name not in drawn][: self.best]
        ends: dict[str, np.ndarray] = {}
        if self.bootstrap:
            ends = ap_intervals(
                matches,
                thresholds,
                resamples=self.bootstrap,
                map_limit=limit_of_map(self.proposal_nums),
            )
        intervals = {
            name: (float(ends[name][0]), float(ends[name][1]))
            for name in ("mAP_50", "mAP")
            if name in ends
        }
        numbers = analyse(
            matches,
            curves,
            iou_type=iou_type,
            classes=names,
            class_precisions=per_class,
            overall={k: float("nan") if v < 0 else v for k, v in overall.items()},
            worst=worst,
            best_images=best,
            intervals=intervals,
        )
        self.matches[iou_type] = matches
        self.numbers[iou_type] = numbers
        self.class_tables += (class_table(numbers),)
        if ends:
            self.class_tables += (interval_table(iou_type, names, ends),)
        return _Result(numbers.classes, per_class, overall, intervals)

    def save_plots(self, folder: Path, name: str) -> list[Path]:
        """Draw the last evaluation, boxes, masks and outlines each.

        Args:
            folder: Folder of the files.
            name: End of the file names, such as ``val``.

        Returns:
            The files (see ``plots.save_plots``); none where upstream evaluated.
        """
        name = f"{self._own_prefix}_{name}" if self._own_prefix else name
        return [
            file
            for iou_type, numbers in self.numbers.items()
            for file in save_plots(numbers, folder, f"{iou_type}_{name}")
        ]


@dataclass(frozen=True)
class _Result:
    classes: tuple[str, ...]
    per_class: Mapping[str, np.ndarray]
    overall: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]


def _as_text(mask: Any) -> Any:
    """Return a mask whose run lengths are text, as JSON has them."""
    if isinstance(mask, dict) and isinstance(mask["counts"], bytes):
        return {**mask, "counts": mask["counts"].decode()}
    return mask


def _area(annotation: dict, image: dict) -> float:
    """Return the area of an object in pixels: of its mask, else of its box."""
    from pycocotools import mask as coco_mask

    mask = annotation.get("segmentation")
    if mask is None:
        return annotation["bbox"][2] * annotation["bbox"][3]
    if isinstance(mask, list) or isinstance(mask["counts"], list):
        mask = coco_mask.frPyObjects(mask, image["height"], image["width"])
    return float(coco_mask.area(coco_mask.merge(mask) if isinstance(mask, list) else mask))
