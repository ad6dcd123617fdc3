"""The three results of Mask2Former for mmdet's detectors, in bounded memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmdet.models.seg_heads.panoptic_fusion_heads.base_panoptic_fusion_head import (
    BasePanopticFusionHead,
)
from mmdet.structures import INSTANCE_OFFSET, DetDataSample
from mmengine.structures import InstanceData, PixelData
from torch import Tensor

from mmattn.errors import ConfigError, did_you_mean
from mmattn.registry import MODELS

from ..mask_bands import ResizedMasks
from ..postprocess import instances, panoptic, semantic

_SWITCHES = {"panoptic_on": True, "instance_on": False, "semantic_on": False}
_PANOPTIC = ("object_mask_thr", "iou_thr", "filter_low_score")
_KEYS = (*_SWITCHES, *_PANOPTIC, "max_per_image")


@MODELS.register_module()
class Mask2FormerFusionHead(BasePanopticFusionHead):
    """Turn logits of classes and masks into instances, panoptic and semantic maps.

    It takes the place of mmdet's ``MaskFormerFusionHead``, with the same settings. No memory is
    taken for all masks at full size, as results are computed on some rows at a time.

    Args:
        num_things_classes: Classes with countable objects, the first ones.
        num_stuff_classes: Classes without.
        test_cfg: ``panoptic_on`` (True), ``instance_on`` (False) and ``semantic_on`` (False) choose
            the results; ``max_per_image`` (100), the largest number of instances;
            ``object_mask_thr`` (0.8), ``iou_thr`` (0.8) and ``filter_low_score`` (True, as the
            authors; mmdet's default is False) are those of ``panoptic``.
        loss_panoptic: None, as in mmdet's configs.
        init_cfg: mmengine's initialisation; there are no weights.

    Raises:
        ConfigError: ``test_cfg`` has another key, or chooses nothing.
    """

    def __init__(
        self,
        num_things_classes: int = 80,
        num_stuff_classes: int = 53,
        test_cfg: Mapping[str, Any] | None = None,
        loss_panoptic: None = None,
        init_cfg: dict | None = None,
    ):
        if loss_panoptic is not None:
            raise ConfigError(f"loss_panoptic must be None, as nothing is trained: {loss_panoptic}")
        cfg = dict(test_cfg or {})
        super().__init__(num_things_classes, num_stuff_classes, cfg, None, init_cfg)
        for key in cfg:
            if key not in _KEYS:
                raise ConfigError(
                    f"test_cfg has no entry {key!r}.{did_you_mean(key, _KEYS)} It has "
                    f"{', '.join(_KEYS)}."
                )
        if not any(cfg.get(switch, default) for switch, default in _SWITCHES.items()):
            raise ConfigError(
                "test_cfg chooses no result: set panoptic_on, instance_on or semantic_on to True"
            )

    def loss(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, **kwargs: Any
    ) -> dict:
        """Return no losses: there is nothing to train."""
        return {}

    def predict(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        mask_cls_results: Tensor,
        mask_pred_results: Tensor,
        batch_data_samples: list[DetDataSample],
        rescale: bool = False,
        **kwargs: Any,
    ) -> list[dict[str, Any]]:
        """Return the results of every image.

        Args:
            mask_cls_results: (B, Q, K + 1)
            mask_pred_results: (B, Q, h, w), of any size: they are resized to ``batch_input_shape``.
            batch_data_samples: ``batch_input_shape``, ``img_shape`` and, for ``rescale``,
                ``ori_shape``.
            rescale: Whether results have the size of the file.

        Returns:
            ``pan_results``, ``ins_results`` and ``sem_results``, those that ``test_cfg`` chooses.
        """
        results = []
        for classes, masks, sample in zip(
            mask_cls_results, mask_pred_results, batch_data_samples, strict=True
        ):
            meta = sample.metainfo
            image_size = tuple(meta["img_shape"][:2])
            resized = ResizedMasks(
                masks.float(),
                tuple(meta.get("batch_input_shape", image_size)),
                image_size,
                tuple(meta["ori_shape"][:2]) if rescale else None,
            )
            results.append(self._results(classes.float(), resized))
        return results

    def _results(self, classes: Tensor, masks: ResizedMasks) -> dict[str, Any]:
        cfg = dict(self.test_cfg or {})
        on = {switch: cfg.get(switch, default) for switch, default in _SWITCHES.items()}
        results: dict[str, Any] = {}
        if on["panoptic_on"]:
            settings = {key: cfg[key] for key in _PANOPTIC if key in cfg}
            segments = panoptic(
                classes, masks, self.num_things_classes, offset=INSTANCE_OFFSET, **settings
            )
            results["pan_results"] = PixelData(sem_seg=segments[None])
        if on["instance_on"]:
            found = instances(
                classes, masks, self.num_things_classes, cfg.get("max_per_image", 100)
            )
            results["ins_results"] = InstanceData(
                bboxes=found.boxes, labels=found.labels, scores=found.scores, masks=found.masks
            )
        if on["semantic_on"]:
            results["sem_results"] = PixelData(sem_seg=semantic(classes, masks)[None])
        return results
