"""BEVANet's three heads and its training objective (ICIP 2025, arXiv:2508.07300).

Each head is batch norm, ReLU, 3x3 convolution, batch norm, ReLU, 1x1 convolution. The main head
predicts; the auxiliary and the boundary head supervise the two fusions of the branches. At the
resolution of the labels (bilinear, aligned corners),

    L = 0.4 CE(auxiliary) + OHEM(main) + 20 BCE(boundary) + OHEM(main where P(boundary) > 0.8)
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.losses import accuracy
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn.layers.folding import affine_of, fold_after
from mmattn.layers.fuse import fuse_children
from mmattn.registry import MODELS

from .conv_blocks import NormReLUConv, build_norm

_LOSSES = ("auxiliary", "main", "boundary", "main_at_boundary")


class PreActivated(nn.Module):
    """Batch norm, ReLU, 3x3 convolution, batch norm, ReLU: a head up to its classifier.

    Shape:
        (N, in_channels, H, W) -> (N, channels, H, W)
    """

    def __init__(self, in_channels: int, channels: int, *, norm_cfg: dict | None = None):
        super().__init__()
        self.conv = NormReLUConv(in_channels, channels, 3, norm_cfg=norm_cfg)
        self.norm = build_norm(norm_cfg, channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)), inplace=True)

    def fused(self) -> nn.Module:
        self.conv.conv = fold_after(self.conv.conv, affine_of(self.norm))
        self.norm = nn.Identity()
        return self


@MODELS.register_module()
class BEVAHead(BaseDecodeHead):
    """The heads of BEVANet, whose backbone returns (auxiliary, main, boundary) feature maps.

    Training needs ``gt_edge_map`` beside ``gt_sem_seg``: put ``mmattn.GenerateEdgeMap`` (or mmseg's
    ``GenerateEdge``) into the pipeline.

    Args:
        in_channels: Channels 4c of the main feature map; the other two have half as many.
        channels: Width of the main and the auxiliary head: 128, or 256 in BEVANet-L.
        num_classes: Number of classes.
        training_heads: Whether the auxiliary and the boundary head exist. Without them the model
            can predict but not be trained.
        class_weight: Weight of each class in the three losses over classes; None weights all
            equally. Only for the default losses.
        loss_decode: Configs of four losses, of the auxiliary, main and boundary head and of the
            main head at boundaries; by default those of the authors' code.
        boundary_threshold: Probability of a boundary above which a pixel belongs to the last loss.
        ignore_index: The label of pixels that take no part.
        norm_cfg: Config of the batch norms, as in ``BEVANet``.
        dropout_ratio: Dropout before the main classifier; none by default.
        out_channels: None or ``num_classes``; mmseg's single channel for two classes does not fit
            these losses.

    Raises:
        ValueError: ``loss_decode`` has not four losses or is given with ``class_weight``, or
            ``out_channels`` is not ``num_classes``.

    Shape:
        - inputs: (N, 2c, h, w), (N, 4c, h, w), (N, 2c, h, w)
        - output in training: logits (N, num_classes, h, w) twice, boundary logits (N, 1, h, w)
        - output in eval mode: logits (N, num_classes, h, w)
    """

    def __init__(
        self,
        in_channels: int,
        channels: int = 128,
        *,
        num_classes: int,
        training_heads: bool = True,
        class_weight: Sequence[float] | None = None,
        loss_decode: Sequence[dict] | None = None,
        boundary_threshold: float = 0.8,
        ignore_index: int = 255,
        norm_cfg: dict | None = None,
        dropout_ratio: float = 0.0,
        align_corners: bool = True,
        out_channels: int | None = None,
        init_cfg: dict | list[dict] | None = None,
    ):
        if out_channels not in (None, num_classes):
            raise ValueError(
                f"out_channels must be num_classes ({num_classes}), got {out_channels}: the losses "
                "are over classes"
            )
        if loss_decode is None:
            loss_decode = default_losses(class_weight)
        elif class_weight is not None:
            raise ValueError(
                "class_weight is for the default losses only; set it in loss_decode instead"
            )
        if len(loss_decode) != len(_LOSSES):
            raise ValueError(
                f"loss_decode must be {len(_LOSSES)} losses ({', '.join(_LOSSES)}), "
                f"got {len(loss_decode)}"
            )
        super().__init__(
            in_channels,
            channels,
            num_classes=num_classes,
            # Not None: mmseg would advise one channel for two classes.
            out_channels=num_classes,
            loss_decode=list(loss_decode),
            ignore_index=ignore_index,
            norm_cfg=norm_cfg,
            dropout_ratio=dropout_ratio,
            align_corners=align_corners,
            init_cfg=init_cfg,
        )
        self.boundary_threshold = boundary_threshold
        self.main = PreActivated(in_channels, channels, norm_cfg=norm_cfg)
        self.training_heads = training_heads
        if training_heads:
            half, quarter = in_channels // 2, in_channels // 4
            self.auxiliary = PreActivated(half, channels, norm_cfg=norm_cfg)
            self.auxiliary_seg = nn.Conv2d(channels, self.out_channels, 1)
            self.boundary = PreActivated(half, quarter, norm_cfg=norm_cfg)
            self.boundary_seg = nn.Conv2d(quarter, 1, 1)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        auxiliary, main, boundary = inputs
        logits = self.cls_seg(self.main(main))
        if not self.training:
            return logits
        if not self.training_heads:
            raise RuntimeError("BEVAHead(training_heads=False) only predicts; call eval()")
        return (
            self.auxiliary_seg(self.auxiliary(auxiliary)),
            logits,
            self.boundary_seg(self.boundary(boundary)),
        )

    def fused(self) -> nn.Module:
        for name in ("auxiliary", "auxiliary_seg", "boundary", "boundary_seg"):
            if hasattr(self, name):
                delattr(self, name)
        self.training_heads = False
        return fuse_children(self).to(memory_format=torch.channels_last)

    def loss_by_feat(
        self, seg_logits: tuple[Tensor, Tensor, Tensor], batch_data_samples: list
    ) -> dict[str, Tensor]:
        """Return the four losses and the accuracy, by name.

        Args:
            seg_logits: Auxiliary, main and boundary logits.
            batch_data_samples: Samples with ``gt_sem_seg`` and ``gt_edge_map``, (1, H, W) each.

        Raises:
            ValueError: A sample has no ``gt_edge_map``.
        """
        labels = self._stack_batch_gt(batch_data_samples)[:, 0]  # (N, H, W)
        edges = _stack_edges(batch_data_samples)  # (N, H, W)
        auxiliary, main, boundary = (
            F.interpolate(
                logits, size=labels.shape[1:], mode="bilinear", align_corners=self.align_corners
            )
            for logits in seg_logits
        )
        likely = boundary[:, 0].sigmoid() > self.boundary_threshold
        at_boundary = torch.where(likely, labels, self.ignore_index)
        compute = dict(zip(_LOSSES, self.loss_decode, strict=True))
        ignoring = {"ignore_index": self.ignore_index}
        return {
            "loss_auxiliary": compute["auxiliary"](auxiliary, labels, **ignoring),
            "loss_main": compute["main"](main, labels, **ignoring),
            "loss_boundary": compute["boundary"](boundary, edges),
            "loss_main_at_boundary": compute["main_at_boundary"](main, at_boundary, **ignoring),
            "acc_seg": accuracy(main, labels, ignore_index=self.ignore_index),
        }


def default_losses(class_weight: Sequence[float] | None = None) -> list[dict]:
    """Return the configs of the authors' losses, with their weights."""
    hard = {"type": "mmattn.HardPixelCrossEntropy", "class_weight": class_weight}
    return [
        {"type": "mmattn.AllPixelCrossEntropy", "class_weight": class_weight, "loss_weight": 0.4},
        {**hard},
        {"type": "mmseg.BoundaryLoss", "loss_weight": 20.0},
        {**hard},
    ]


def _stack_edges(batch_data_samples: list) -> Tensor:
    """Stack the edge maps, 1 at edges and 0 elsewhere, to (N, H, W).

    mmseg pads small images' edge maps with 255, as labels; the authors pad theirs with 0.
    """
    if not all("gt_edge_map" in sample for sample in batch_data_samples):
        raise ValueError(
            "BEVAHead needs gt_edge_map: put dict(type='mmattn.GenerateEdgeMap') after "
            "LoadAnnotations in the training pipeline"
        )
    edges = torch.cat([sample.gt_edge_map.data for sample in batch_data_samples])
    return (edges == 1).long()
