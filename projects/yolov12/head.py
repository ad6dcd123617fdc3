"""The head of YOLOv12: a class and the distances to the sides of a box at every cell.

Each level has a branch of its own for the box, two 3x3 convolutions, and one for the classes, two
depthwise 3x3 convolutions with a 1x1 each; there is no objectness. The distance to a side, in
strides, is the mean of a distribution over 0 .. 15 (Generalized Focal Loss, arXiv:2006.04388).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.utils import filter_scores_and_topk
from mmdet.structures.bbox import get_box_tensor
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmattn.errors import ConfigError, did_you_mean
from mmattn.layers.checks import require_at_least
from mmattn.layers.detection import TaskAlignedLoss, anchor_points, decode_boxes
from mmattn.layers.fuse import fuse_children
from mmattn.registry import MODELS

from .conv_blocks import Conv

_TEST_KEYS = ("score_thr", "nms_pre", "nms", "max_per_img", "multi_label", "min_bbox_size")
_OBJECTS_PER_IMAGE = 5  # that the initial scores expect, at an image of _EXPECTED_SIZE
_EXPECTED_SIZE = 640


@MODELS.register_module()
class YOLOv12Head(BaseDenseHead):
    """Anchor-free head with separate branches for classes and boxes; for any feature pyramid.

    ``test_cfg`` holds what ``predict`` does: ``score_thr``, the least score; ``nms_pre``, the
    largest number of boxes before NMS; ``nms``, config of the NMS, which is within classes;
    ``max_per_img``, the largest number after it; ``multi_label`` (True by default), whether a
    cell gives one box per class above ``score_thr``, else only the best class's; ``min_bbox_size``,
    the least width and height. The authors' evaluation has 0.001, 30000, 0.7, 300 and True.

    Boxes to be ignored (``ignored_instances``, COCO's crowds) take no part in the loss: cells there
    are background.

    Args:
        num_classes: Number of classes C.
        in_channels: Channels of each level.
        strides: Pixels per cell of each level.
        reg_max: Bins R of a distance.
        class_channels: Width of the layers before the last of the class branches. By default it is
            ``max(in_channels[0], min(num_classes, 100))``, so that weights for 80 classes fit a
            YOLOv12-N of 3 classes, which has 64, in no layer of that branch; 80 keeps them.
        loss_cfg: Arguments of ``TaskAlignedLoss`` besides those that this head knows, such as
            ``dict(topk=10)``.
        norm_cfg: Config of the batch norms; eps is 1e-3 and momentum 0.03 unless it says otherwise.
        train_cfg: None or empty, as there is nothing to set; mmdet's detectors give it.
        test_cfg: As above.
        init_cfg: mmengine's initialisation; by default the constructor's weights are kept.

    Raises:
        ConfigError: Levels and strides differ in number, ``train_cfg`` is not empty, ``test_cfg``
            has another key than those above, or ``loss_cfg`` does not fit ``TaskAlignedLoss``.
        ValueError: A number is out of its range.

    Shape:
        - x: (N, in_channels[i], H_i, W_i) for each level
        - output: logits of classes, (N, C, H_i, W_i), and of distances, (N, 4 R, H_i, W_i), of all
          levels: the bins of the left side, then those of top, right and bottom
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int],
        *,
        strides: Sequence[int] = (8, 16, 32),
        reg_max: int = 16,
        class_channels: int | None = None,
        loss_cfg: dict[str, Any] | None = None,
        norm_cfg: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ):
        super().__init__(init_cfg)
        require_at_least(1, num_classes=num_classes, number_of_levels=len(in_channels))
        if len(in_channels) != len(strides):
            raise ConfigError(
                f"in_channels and strides must have one number per level, got {in_channels} and "
                f"{strides}"
            )
        if train_cfg:
            raise ConfigError(f"train_cfg has no entries here, got {train_cfg}; see loss_cfg")
        _check_test_cfg(test_cfg or {})
        self.num_classes = num_classes
        self.strides = tuple(strides)
        self.reg_max = reg_max
        self.test_cfg = None if test_cfg is None else ConfigDict(test_cfg)
        self.loss_terms = _build_loss(num_classes, self.strides, reg_max, loss_cfg or {})
        box_channels = max(16, in_channels[0] // 4, 4 * reg_max)
        if class_channels is None:
            class_channels = max(in_channels[0], min(num_classes, 100))
        require_at_least(1, class_channels=class_channels)
        self.class_channels = class_channels
        norm: dict[str, Any] = {"norm_cfg": norm_cfg}

        def box_branch(channels: int) -> nn.Sequential:
            return nn.Sequential(
                Conv(channels, box_channels, 3, **norm),
                Conv(box_channels, box_channels, 3, **norm),
                nn.Conv2d(box_channels, 4 * reg_max, 1),
            )

        def separable(channels: int) -> nn.Sequential:
            return nn.Sequential(
                Conv(channels, channels, 3, groups=channels, **norm),
                Conv(channels, class_channels, **norm),
            )

        def class_branch(channels: int) -> nn.Sequential:
            return nn.Sequential(
                separable(channels),
                separable(class_channels),
                nn.Conv2d(class_channels, num_classes, 1),
            )

        self.box_branches = nn.ModuleList(map(box_branch, in_channels))
        self.class_branches = nn.ModuleList(map(class_branch, in_channels))
        self._init_biases()

    def weights_of_classes(self) -> tuple[str, ...]:
        """Names of the weights whose rows stand for the classes, one each.

        Of 65 to 99 classes a YOLOv12-N has as many hidden channels, which stand for no class.
        """
        levels = range(len(self.strides))
        return tuple(f"class_branches.{i}.2.{part}" for i in levels for part in ("weight", "bias"))

    def init_weights(self) -> None:
        """Initialise as ``init_cfg`` says, and, unless it is of a file, the last biases too."""
        super().init_weights()
        chosen = self.init_cfg if isinstance(self.init_cfg, list) else [self.init_cfg or {}]
        if all(one.get("type") != "Pretrained" for one in chosen):
            self._init_biases()

    def _init_biases(self) -> None:
        """Let a class begin with a score as high as its objects are frequent, distances alike."""
        for stride, boxes, classes in zip(
            self.strides, self.box_branches, self.class_branches, strict=True
        ):
            cells = (_EXPECTED_SIZE / stride) ** 2
            likely = math.log(_OBJECTS_PER_IMAGE / self.num_classes / cells)
            for branch, value in ((boxes, 1.0), (classes, likely)):
                nn.init.constant_(branch.get_parameter("2.bias"), value)

    def forward(self, x: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        if len(x) != len(self.strides):
            raise ValueError(f"this head has {len(self.strides)} levels, got {len(x)} feature maps")
        cls_scores = [branch(level) for branch, level in zip(self.class_branches, x, strict=True)]
        box_logits = [branch(level) for branch, level in zip(self.box_branches, x, strict=True)]
        return cls_scores, box_logits

    def loss_by_feat(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        cls_scores: list[Tensor],
        box_logits: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict] | None = None,
        batch_gt_instances_ignore: list[InstanceData | None] | None = None,
    ) -> dict[str, Tensor]:
        """Return ``loss_cls``, ``loss_bbox`` and ``loss_dfl``.

        Args:
            cls_scores: Logits of classes, as ``forward`` gives them.
            box_logits: Logits of distances.
            batch_gt_instances: ``bboxes`` (G, 4) x1, y1, x2, y2 in pixels of the input and
                ``labels`` (G,) of every image; G may be 0.
            batch_img_metas: Not needed.
            batch_gt_instances_ignore: Take no part, see the class.
        """
        boxes, labels, valid = _padded(batch_gt_instances, cls_scores[0].device)
        return self.loss_terms(cls_scores, box_logits, boxes, labels, valid)

    def decode(
        self, cls_scores: Sequence[Tensor], box_logits: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return the scores and boxes of all A cells, level by level and row by row.

        Args:
            cls_scores: Logits of classes, as ``forward`` gives them.
            box_logits: Logits of distances.

        Returns:
            Scores (N, A, C) and boxes (N, A, 4), x1, y1, x2, y2 in pixels of the input, which may
            reach over it; both float32 at least.
        """
        shapes = [(scores.shape[2], scores.shape[3]) for scores in cls_scores]
        device = cls_scores[0].device
        dtype = torch.promote_types(cls_scores[0].dtype, torch.float32)
        points, strides = anchor_points(shapes, self.strides, device=device, dtype=dtype)
        scores, logits = (
            torch.cat([level.flatten(2) for level in levels], 2).transpose(1, 2).to(dtype)
            for levels in (cls_scores, box_logits)
        )
        return scores.sigmoid(), decode_boxes(logits, points, strides, self.reg_max)

    def decode_for_export(
        self, outputs: tuple[list[Tensor], list[Tensor]], image_shape: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """Return boxes (N, A, 4) and scores (N, A, C), as ``decode`` does, for an exported file.

        Args:
            outputs: What ``forward`` returned.
            image_shape: Height and width of the input; not needed.
        """
        scores, boxes = self.decode(*outputs)
        return boxes, scores

    def predict_by_feat(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        cls_scores: list[Tensor],
        box_logits: list[Tensor],
        score_factors: None = None,
        batch_img_metas: list[dict] | None = None,
        cfg: dict | None = None,
        rescale: bool = False,
        with_nms: bool = True,
    ) -> list[InstanceData]:
        """Return the objects of every image.

        Args:
            cls_scores: Logits of classes, as ``forward`` gives them.
            box_logits: Logits of distances.
            score_factors: None, this head has none.
            batch_img_metas: Of every image ``img_shape``, to which boxes are clipped after NMS,
                and, for ``rescale``, ``scale_factor`` and, where the image was padded,
                ``ori_shape``, to which they are clipped too.
            cfg: In place of ``test_cfg``.
            rescale: Whether boxes are those of the image before the pipeline scaled it.
            with_nms: Whether NMS is applied.

        Returns:
            ``bboxes`` (K, 4), ``scores`` (K,) in descending order and ``labels`` (K,) of each.

        Raises:
            ConfigError: There is neither ``cfg`` nor ``test_cfg``, or it has an unknown key.
            ValueError: ``score_factors`` or no ``batch_img_metas`` are given.
        """
        if score_factors is not None or batch_img_metas is None:
            raise ValueError(
                f"predict_by_feat: score_factors={score_factors} must be None, and batch_img_metas "
                f"({'missing' if batch_img_metas is None else 'given'}) are needed"
            )
        cfg = self.test_cfg if cfg is None else ConfigDict(cfg)
        if cfg is None:
            raise ConfigError("test_cfg is needed to predict: score_thr, nms and max_per_img")
        _check_test_cfg(cfg)
        scores, boxes = self.decode(
            [level.detach() for level in cls_scores], [level.detach() for level in box_logits]
        )
        results = []
        for of_image, places, meta in zip(scores, boxes, batch_img_metas, strict=True):
            found = _above_threshold(of_image, places, cfg)
            found = self._bbox_post_process(found, cfg, with_nms=with_nms, img_meta=meta)
            kept = _clipped(found.get("bboxes"), meta["img_shape"])
            if rescale:
                kept = kept / kept.new_tensor(meta["scale_factor"]).repeat(2)
                kept = _clipped(kept, meta["ori_shape"]) if "ori_shape" in meta else kept
            found.set_field(kept, "bboxes")
            results.append(found)
        return results

    def fused(self) -> nn.Module:
        return fuse_children(self).to(memory_format=torch.channels_last)


def _clipped(boxes: Tensor, shape: Sequence[int]) -> Tensor:
    """Clip boxes x1, y1, x2, y2 to an image of a height and width."""
    height, width = shape[:2]
    return boxes.clamp(min=0).minimum(boxes.new_tensor([width, height, width, height]))


def _build_loss(
    num_classes: int, strides: tuple[int, ...], reg_max: int, loss_cfg: dict
) -> TaskAlignedLoss:
    try:
        return TaskAlignedLoss(num_classes, strides, reg_max=reg_max, **loss_cfg)
    except TypeError as error:
        raise ConfigError(f"loss_cfg does not fit TaskAlignedLoss: {error}") from error


def _check_test_cfg(cfg: dict) -> None:
    for key in cfg:
        if key not in _TEST_KEYS:
            raise ConfigError(
                f"test_cfg has no entry {key!r}.{did_you_mean(key, _TEST_KEYS)} It has "
                f"{', '.join(_TEST_KEYS)}."
            )


def _padded(instances: list[InstanceData], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return boxes (N, G, 4), labels (N, G) and whether they are real, G the largest number."""
    most = max((len(of_image) for of_image in instances), default=0)
    boxes = torch.zeros(len(instances), most, 4, device=device)
    labels = torch.zeros(len(instances), most, dtype=torch.long, device=device)
    valid = torch.zeros(len(instances), most, dtype=torch.bool, device=device)
    for i, of_image in enumerate(instances):
        count = len(of_image)
        boxes[i, :count] = get_box_tensor(of_image.get("bboxes")).to(boxes)
        labels[i, :count] = of_image.get("labels").to(labels)
        valid[i, :count] = True
    return boxes, labels, valid


def _above_threshold(scores: Tensor, boxes: Tensor, cfg: dict) -> InstanceData:
    """Return the boxes of one image with a score above the threshold, the best of them first.

    Args:
        scores: (A, C)
        boxes: (A, 4)
        cfg: ``test_cfg``.
    """
    if not cfg.get("multi_label", True):
        best, labels_of = scores.max(1, keepdim=True)
    else:
        best, labels_of = scores, None
    most = cfg.get("nms_pre", -1)
    kept, labels, cells, _ = filter_scores_and_topk(
        best, cfg.get("score_thr", 0.0), best.numel() if most < 0 else most
    )
    if labels_of is not None:
        labels = labels_of[cells, 0]
    return InstanceData(bboxes=boxes[cells], scores=kept, labels=labels)
