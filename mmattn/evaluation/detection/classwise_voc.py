"""mmdet's PASCAL VOC metric that keeps the values of every class, under its own name."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmdet.evaluation import VOCMetric
from mmdet.evaluation.functional import eval_map

from mmattn.evaluation.class_table import ClassTable
from mmattn.registry import METRICS

#: Release of VOC -> how its AP is computed.
_MODES = {"VOC2007": "11points", "VOC2012": "area"}


@METRICS.register_module()
class ClasswiseVOCMetric(VOCMetric):
    """Drop-in for ``mmdet.VOCMetric``: same options, same results, and ``class_tables``.

    Upstream names the classes of any dataset in a folder ``VOC2007`` or ``VOC2012`` after those of
    VOC: one's own first class is listed as ``aeroplane``. Recall (``metric="recall"``) and
    ``scale_ranges`` are left to upstream, without a table.

    Attributes:
        class_tables: A table with a row for each class; empty before an evaluation.
    """

    class_tables: tuple[ClassTable, ...] = ()

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Evaluate the detections of all images.

        Args:
            results: (ground truth, detections) of every image, from ``VOCMetric.process``.

        Returns:
            ``mAP`` and ``AP50``, … as fractions.
        """
        self.class_tables = ()
        if self.metric != "mAP" or self.scale_ranges is not None or not results:
            return super().compute_metrics(results) if results else {}
        meta: Mapping[str, Any] = self.dataset_meta or {}
        classes = tuple(meta["classes"])
        self._warn_mode(meta)
        truths, detections = zip(*results, strict=True)
        thresholds = [float(threshold) for threshold in np.atleast_1d(np.asarray(self.iou_thrs))]
        means: dict[str, float] = {}
        columns: dict[str, list[float]] = {}
        counts: Sequence[Mapping[str, Any]] = ()
        unrounded = []
        for threshold in thresholds:
            # As the official evaluation: widths and heights are one pixel more.
            result: tuple[float, Sequence[Mapping[str, Any]]] = eval_map(  # pyright: ignore
                detections,
                truths,
                iou_thr=threshold,
                dataset=classes,
                logger="silent",
                eval_mode=self.eval_mode,
                use_legacy_coordinate=True,
            )
            mean, counts = result
            unrounded.append(mean)
            name = f"AP{int(threshold * 100):02d}"
            means[name] = round(mean, 3)
            columns[name] = [float(one["ap"]) if one["num_gts"] else math.nan for one in counts]
        objects = [float(one["num_gts"]) for one in counts]
        found = [float(one["num_dets"]) for one in counts]
        rows = zip(classes, zip(objects, found, *columns.values(), strict=True), strict=True)
        self.class_tables = (
            ClassTable(
                title=f"VOC average precision ({self.eval_mode})",
                columns=("objects", "detections", *columns),
                rows=dict(rows),
                mean=[sum(objects), sum(found), *unrounded],
                absent=frozenset(c for c, n in zip(classes, objects, strict=True) if not n),
                digits=3,
                counts=frozenset({"objects", "detections"}),
                summary="all",
            ),
        )
        return {"mAP": sum(unrounded) / len(unrounded), **means}

    def _warn_mode(self, meta: Mapping[str, Any]) -> None:
        """Warn, as upstream does, of VOC itself evaluated in the way of another release."""
        release = str(meta.get("dataset_type"))
        usual = _MODES.get(release)
        if usual and usual != self.eval_mode and "aeroplane" in meta["classes"]:
            warnings.warn(
                f"Pascal {release} is evaluated with eval_mode={usual!r}, but this metric has "
                f"{self.eval_mode!r}.",
                stacklevel=2,
            )
