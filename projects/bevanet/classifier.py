"""BEVANet as an image classifier, which trains its backbone on ImageNet.

Up to 1/32 it is the segmentation network. Then, with c channels at the start,

    semantic   8c -> Bottleneck 16c -> 2 x (EVA 35, layer norm) -> Bottleneck 16c, 1/32
    detail     Bottleneck 4c, 1/8 (detail5) -> 3x3 stride 2, 8c -> 3x3 stride 2, 16c, 1/32
    relu(semantic + detail) -> 1x1, 2048 -> mean over positions -> linear

so its stages 1 to 4 and detail5 fit ``BEVANet`` by name; the later layers exist only here.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn.registry import MODELS

from .backbone import BEVANetStages, attend
from .conv_blocks import Bottleneck, ConvNorm


@MODELS.register_module()
class BEVANetClassifier(BEVANetStages):
    """BEVANet's classifier: images (N, 3, H, W) to logits (N, num_classes).

    Args:
        num_classes: Number of classes.
        hidden_channels: Channels that are averaged over positions.
        channels, num_blocks, semantic_kernel, detail_kernel, expansion, norm_cfg, init_cfg: As in
            ``BEVANet``.

    Example:
        >>> import torch
        >>> BEVANetClassifier(channels=8, num_classes=10).eval()(torch.zeros(1, 3, 64, 64)).shape
        torch.Size([1, 10])
    """

    def __init__(
        self,
        *,
        num_classes: int = 1000,
        hidden_channels: int = 2048,
        channels: int = 64,
        num_blocks: Sequence[int] = (2, 2, 4),
        semantic_kernel: int = 35,
        detail_kernel: int = 23,
        expansion: int = 4,
        norm_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ):
        super().__init__(
            channels=channels,
            num_blocks=num_blocks,
            semantic_kernel=semantic_kernel,
            detail_kernel=detail_kernel,
            expansion=expansion,
            norm_cfg=norm_cfg,
            init_cfg=init_cfg,
        )
        c = channels
        self.semantic_end = nn.Sequential(
            Bottleneck(8 * c, 16 * c, norm_cfg=norm_cfg),
            *attend(16 * c, semantic_kernel, blocks=2, expansion=expansion, norm_cfg=norm_cfg),
            Bottleneck(16 * c, 16 * c, norm_cfg=norm_cfg),
        )
        self.detail5 = Bottleneck(2 * c, 4 * c, norm_cfg=norm_cfg)  # BEVANet's, by name
        self.detail_end = nn.Sequential(
            ConvNorm(4 * c, 8 * c, 3, stride=2, norm_cfg=norm_cfg),
            nn.ReLU(inplace=True),
            ConvNorm(8 * c, 16 * c, 3, stride=2, norm_cfg=norm_cfg),
        )
        self.hidden = ConvNorm(16 * c, hidden_channels, 1, norm_cfg=norm_cfg)
        self.classify = nn.Linear(hidden_channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        _, detail, semantic = self.stages(x)
        detail = self.detail_end(self.detail5(detail))
        y = F.relu(self.semantic_end(semantic) + detail)  # (N, 16c, H/32, W/32)
        return self.classify(F.relu(self.hidden(y)).mean((2, 3)))


@MODELS.register_module()
class MixedCrossEntropy(nn.Module):
    """Cross-entropy with the labels of two images that were mixed, by CutMix or MixUp.

        L = lambda CE(logits, first) + (1 - lambda) CE(logits, second)

    Args:
        loss_weight: Weight of the loss.
    """

    def __init__(self, *, loss_weight: float = 1.0):
        super().__init__()
        self.loss_weight = loss_weight

    def forward(
        self, logits: Tensor, first: Tensor, second: Tensor | None = None, share: float = 1.0
    ) -> Tensor:
        """Return the loss, a scalar.

        Args:
            logits: Shape (N, K).
            first: Classes of the images. Shape (N,).
            second: Classes of the images mixed in; None if nothing was mixed. Shape (N,).
            share: lambda, the first images' part of the area or of the brightness.

        Raises:
            ValueError: ``share`` is outside [0, 1], or is not 1 and there is no ``second``.
        """
        if not 0 <= share <= 1 or (second is None and share != 1):
            raise ValueError(f"share must be in [0, 1], and 1 without second, got {share}")
        loss = F.cross_entropy(logits, first)
        if second is not None:
            loss = torch.lerp(F.cross_entropy(logits, second), loss, share)
        return self.loss_weight * loss
