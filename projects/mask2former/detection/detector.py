"""Mask2Former as a detector of mmdet, with semantic maps and without large maps."""

from __future__ import annotations

from typing import Any

from mmdet.models.detectors import MaskFormer
from mmdet.structures import DetDataSample
from torch import Tensor

from mmattn.errors import ExportError
from mmattn.registry import MODELS

from ..batched_results import batched_instances


@MODELS.register_module()
class Mask2Former(MaskFormer):
    """Detector for instance, panoptic and semantic segmentation.

    Backbone, ``panoptic_head`` and ``panoptic_fusion_head``, as mmdet's ``Mask2Former``; masks go
    from one head to the other at the network's resolution, a sixteenth of the pixels, and
    ``test_cfg=dict(semantic_on=True)`` adds ``pred_sem_seg`` to the results.

    Args:
        kwargs: Arguments of mmdet's ``MaskFormer``; heads are ``mmattn.Mask2FormerHead`` and
            ``mmattn.Mask2FormerFusionHead``.
    """

    def predict(
        self,
        batch_inputs: Tensor,
        batch_data_samples: list[DetDataSample],
        rescale: bool = True,
    ) -> list[DetDataSample]:
        """Segment images.

        Args:
            batch_inputs: (B, 3, H, W), normalised.
            batch_data_samples: Samples of the pipeline, to which results are added.
            rescale: Whether results have the size of the files.

        Returns:
            Samples with ``pred_panoptic_seg``, ``pred_instances`` and ``pred_sem_seg``, those that
            ``test_cfg`` chooses.
        """
        classes, masks = self.panoptic_head(self.extract_feat(batch_inputs))
        results = self.panoptic_fusion_head.predict(
            classes, masks, batch_data_samples, rescale=rescale
        )
        return self.add_pred_to_datasample(batch_data_samples, results)

    @property
    def num_export_classes(self) -> int:
        """Number of classes of the objects that ``instances_for_export`` returns."""
        return self.panoptic_fusion_head.num_things_classes

    def instances_for_export(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return labels, scores and masks of objects, see ``batched_instances``.

        Args:
            images: (B, 3, H, W), normalised.

        Raises:
            ExportError: ``test_cfg`` does not ask for objects.
        """
        cfg = self.test_cfg or {}
        if not cfg.get("instance_on", False):
            raise ExportError(
                "objects are exported, and test_cfg.instance_on is False; set "
                "model.test_cfg.instance_on=True"
            )
        classes, masks = self.panoptic_head(self.extract_feat(images))
        size = (images.shape[2], images.shape[3])
        return batched_instances(
            classes, masks, size, self.num_export_classes, cfg.get("max_per_image", 100)
        )

    @property
    def panoptic_settings(self) -> dict[str, Any]:
        """Thresholds that make a panoptic map of ``queries_for_export``, see ``panoptic``.

        ``mask_stride`` is how much smaller than the input masks are: by the finest feature map,
        which has stride 4 in every backbone that the paper and mmdet take.
        """
        cfg = self.test_cfg or {}
        return {
            "num_things": self.panoptic_fusion_head.num_things_classes,
            "object_mask_thr": float(cfg.get("object_mask_thr", 0.8)),
            "iou_thr": float(cfg.get("iou_thr", 0.8)),
            "filter_low_score": bool(cfg.get("filter_low_score", True)),
            "mask_stride": 4,
        }

    def queries_for_export(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of classes (B, Q, K + 1) and of masks (B, Q, h, w).

        Args:
            images: (B, 3, H, W), normalised.
        """
        return self.panoptic_head(self.extract_feat(images))

    def add_pred_to_datasample(
        self, data_samples: list[DetDataSample], results_list: list[dict[str, Any]]
    ) -> list[DetDataSample]:
        """Add results to samples, semantic ones too.

        Args:
            data_samples: Samples.
            results_list: Results of the fusion head.
        """
        for sample, results in zip(data_samples, results_list, strict=True):
            if "sem_results" in results:
                sample.pred_sem_seg = results.pop("sem_results")
        return super().add_pred_to_datasample(data_samples, results_list)
