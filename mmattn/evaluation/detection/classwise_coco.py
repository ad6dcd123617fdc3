"""mmdet's COCO metric on a faster evaluator that keeps the values of every class."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
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

_EVERY = slice(None)
_AREAS = {"all": 0, "s": 1, "m": 2, "l": 3}
# Key of the result -> (threshold of IoU or all of them, range of areas), as COCO defines them.
_PRECISIONS: dict[str, tuple[float | None, str]] = {
    "mAP": (None, "all"),
    "mAP_50": (0.5, "all"),
    "mAP_75": (0.75, "all"),
    "mAP_s": (None, "s"),
    "mAP_m": (None, "m"),
    "mAP_l": (None, "l"),
}


@METRICS.register_module()
class ClasswiseCocoMetric(CocoMetric):
    """Drop-in for ``mmdet.CocoMetric``: same options, same results, and ``class_tables``.

    Boxes and masks are matched by faster-coco-eval. A model that detects nothing gets 0 where
    upstream reports nothing at all, so that ``save_best`` and curves have a value. Proposals, and
    recall asked for in ``metric_items``, are left to upstream.
    """

    class_tables: tuple[ClassTable, ...] = ()

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Evaluate the detections of all images.

        Args:
            results: (ground truth, detections) of every image, from ``CocoMetric.process``.

        Returns:
            ``bbox_mAP``, ``bbox_mAP_50``, … as fractions, -1 where there is no such object.

        Raises:
            ConfigError: ``metric`` asks for masks, and the model predicts none.
        """
        self.class_tables = ()
        items = tuple(self.metric_items or _PRECISIONS)
        ours = set(self.metrics) <= {"bbox", "segm"} and set(items) <= set(_PRECISIONS)
        if self.format_only or not ours or not results:
            return super().compute_metrics(results) if results else {}

        truths, detections = zip(*results, strict=True)
        with tempfile.TemporaryDirectory() as folder:
            prefix = self.outfile_prefix or str(Path(folder) / "results")
            if self._coco_api is None:
                self._coco_api = MMDetCOCO(self.gt_to_coco_json(truths, prefix))
            if self.cat_ids is None:
                self.cat_ids = self._coco_api.get_cat_ids(cat_names=self.dataset_meta["classes"])
            if self.img_ids is None:
                self.img_ids = self._coco_api.get_img_ids()
            files = self.results2json(detections, prefix)
            predicted = {name: load(files[name]) for name in self.metrics if name in files}

        metrics: dict[str, float] = {}
        tables = []
        for name in self.metrics:
            if name not in predicted:
                raise ConfigError(
                    f"metric={self.metrics} asks for {name!r}, but the model predicts none: set "
                    f"metric={list(predicted)} in val_evaluator and test_evaluator."
                )
            precision = self._precision(name, predicted[name])
            overall = self._overall(precision)
            table = self._table(name, precision, overall)
            tables.append(table)
            if self.classwise:
                for class_name, (ap, *_) in table.rows.items():
                    metrics[f"{class_name}_precision"] = round(ap, 3)
            metrics |= {f"{name}_{item}": round(overall[item], 3) for item in items}
        self.class_tables = tuple(tables)
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

    def _precision(self, iou_type: str, detections: list[dict]) -> np.ndarray:
        """Compute precision, of shape (IoU thresholds, recalls, classes, areas, max detections)."""
        from faster_coco_eval import COCO, COCOeval_faster

        if not detections:
            print_log(
                f"The model detected nothing: every {iou_type} AP is 0.", "current", logging.WARNING
            )
        if iou_type == "segm":
            # With a box the evaluator would take its area, not the mask's, for the area ranges.
            detections = [{k: v for k, v in d.items() if k != "bbox"} for d in detections]
        truth = COCO(self._coco_api.dataset)
        evaluation = COCOeval_faster(
            truth, truth.loadRes(detections), iou_type, print_function=_debug
        )
        evaluation.params.catIds = list(self.cat_ids)
        evaluation.params.imgIds = list(self.img_ids)
        evaluation.params.maxDets = list(self.proposal_nums)
        evaluation.params.iouThrs = np.asarray(self.iou_thrs)
        evaluation.evaluate()
        evaluation.accumulate()
        return np.asarray(evaluation.eval["precision"])

    def _mean(
        self,
        precision: np.ndarray,
        name: str,
        *,
        classes: int | slice = _EVERY,
        max_dets: int = -1,
        empty: float = -1.0,
    ) -> float:
        """Return AP ``name`` of one class or all; ``empty`` if there is no such object."""
        threshold, area = _PRECISIONS[name]
        if threshold is not None:
            precision = precision[np.isclose(self.iou_thrs, threshold)]
        chosen = precision[:, :, classes, _AREAS[area], max_dets]
        chosen = chosen[chosen > -1]
        return float(chosen.mean()) if chosen.size else empty

    def _overall(self, precision: np.ndarray) -> dict[str, float]:
        # COCO's own summary takes the first limit of detections for mAP and the last elsewhere.
        return {
            name: self._mean(precision, name, max_dets=0 if name == "mAP" else -1)
            for name in _PRECISIONS
        }

    def _table(self, iou_type: str, precision: np.ndarray, overall: dict[str, float]) -> ClassTable:
        nan = float("nan")
        # The evaluator sorts the categories by id, whatever order the file has them in.
        names = [category["name"] for category in self._coco_api.load_cats(sorted(self.cat_ids))]
        rows = {
            name: [self._mean(precision, item, classes=index, empty=nan) for item in _PRECISIONS]
            for index, name in enumerate(names)
        }
        return ClassTable(
            title=f"{iou_type} average precision",
            columns=tuple(_PRECISIONS),
            rows=rows,
            mean=[nan if value < 0 else value for value in overall.values()],
            absent=frozenset(name for name, (ap, *_) in rows.items() if np.isnan(ap)),
            digits=3,
        )


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


def _debug(*message: object) -> None:
    logging.getLogger(__name__).debug(" ".join(map(str, message)))
