"""mmdet's panoptic quality for images that bring their own ground truth."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import mmcv
import numpy as np
from mmdet.evaluation import CocoPanopticMetric
from mmdet.evaluation.functional.panoptic_utils import pq_compute_single_core, rgb2id

from mmattn.registry import METRICS


@METRICS.register_module()
class FolderPanopticMetric(CocoPanopticMetric):
    """Panoptic quality of ``mmattn.FolderDetDataset``: same results, without an annotation file.

    Maps may lie anywhere and have any name. Upstream's looks for them in one folder under the name
    of the image, and needs a file for the areas of the segments.
    """

    def _compute_batch_pq_stats(self, data_samples: Sequence[dict]) -> None:
        meta = self.dataset_meta or {}
        categories = {
            label: {"id": label, "name": name, "isthing": int(name in meta["thing_classes"])}
            for label, name in enumerate(meta["classes"])
        }
        for sample in data_samples:
            map_path = sample["seg_map_path"]
            predicted = self._parse_predictions(
                pred=sample,
                img_id=sample["img_id"],
                segm_file=f"{len(self.results)}_{os.path.basename(map_path)}",
            )
            truth = {
                "image_id": sample["img_id"],
                "file_name": os.path.basename(map_path),
                "segments_info": _segments(map_path, sample["segments_info"], categories),
            }
            self.results.append(
                pq_compute_single_core(
                    proc_id=0,
                    annotation_set=[(truth, predicted)],
                    gt_folder=os.path.dirname(map_path),
                    pred_folder=self.seg_out_dir,
                    categories=categories,
                )
            )


def _segments(
    path: str, segments: Sequence[Mapping[str, Any]], categories: Mapping[int, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return the segments of a map with their areas in pixels."""
    ids, counts = np.unique(rgb2id(mmcv.imread(path, channel_order="rgb")), return_counts=True)
    areas = dict(zip(ids.tolist(), counts.tolist(), strict=True))
    return [
        {
            "id": segment["id"],
            "category_id": segment["category"],
            # The dataset marks a crowd of things as no thing.
            "iscrowd": int(
                bool(categories[segment["category"]]["isthing"]) and not segment["is_thing"]
            ),
            "area": areas.get(segment["id"], 0),
        }
        for segment in segments
    ]
