"""BEVANet: Bilateral Efficient Visual Attention Network (ICIP 2025, arXiv:2508.07300).

With c channels at the start (64; 32 in BEVANet-S), sizes as parts of the input's:

    stem, layer1   c, 1/4
    layer2         2c, 1/8                    -> x
    semantic       4c, 1/16 -> 8c, 1/32 -> 16c, 1/64 -> DLKPPM 4c, up to 1/8
    detail         2c, 1/8  -> 2c, 1/8  -> 4c, 1/8
                     ^ semantic 3  ^ semantic 4        (one way: semantic to detail)
    boundary       a second last stage of the detail branch, 4c, 1/8
    BGAF(detail, semantic, boundary)          -> 4c, 1/8

The last two semantic stages are a basic block and two EVA blocks with kernel 35, the detail stage
between has one with kernel 23; a layer norm follows each EVA block.

Differs from the authors' code: trains on a single image, accepts any size from 64x64 (theirs fails
unless 8 divides the size), and returns the feature maps for the heads (mmattn.BEVAHead).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn.layers.folding import affine_of
from mmattn.layers.fuse import fuse_children
from mmattn.layers.layer_norm import LayerNorm2d
from mmattn.registry import MODELS

from .context import DLKPPM
from .conv_blocks import BasicBlock, Bottleneck, ConvNorm, basic_stage
from .eva_block import EVABlock
from .fusion import BGAF, SemanticGuide, resize


class BEVANetStages(BaseModule):
    """Layers that segmentation network and classifier share: everything up to 1/8 and 1/32.

    Args:
        channels, num_blocks, semantic_kernel, detail_kernel, expansion, norm_cfg, init_cfg: As in
            ``BEVANet``.
    """

    def __init__(
        self,
        *,
        channels: int,
        num_blocks: Sequence[int],
        semantic_kernel: int,
        detail_kernel: int,
        expansion: int,
        norm_cfg: dict | None,
        init_cfg: dict | list[dict] | None,
    ):
        super().__init__(init_cfg)
        if len(num_blocks) != 3 or min(num_blocks) < 1:
            raise ValueError(
                "num_blocks must be three numbers of at least 1 (layer1, layer2, first semantic "
                f"stage), got {tuple(num_blocks)}"
            )
        c = channels
        norm = {"norm_cfg": norm_cfg}
        inside = {"expansion": expansion, "norm_cfg": norm_cfg}
        self.stem = nn.Sequential(
            ConvNorm(3, c, 3, stride=2, bias=True, **norm),
            nn.ReLU(inplace=True),
            ConvNorm(c, c, 3, stride=2, bias=True, **norm),
            nn.ReLU(inplace=True),
        )
        self.layer1 = basic_stage(c, c, num_blocks[0], **norm)
        self.layer2 = basic_stage(c, 2 * c, num_blocks[1], stride=2, **norm)

        self.semantic3 = basic_stage(2 * c, 4 * c, num_blocks[2], stride=2, **norm)
        # A single block keeps its ReLU, as in the authors' code.
        self.detail3 = basic_stage(
            2 * c, 2 * c, num_blocks[0], last_relu=num_blocks[0] == 1, **norm
        )
        self.guide3 = SemanticGuide(2 * c, 4 * c, c, **norm)

        self.semantic4 = nn.Sequential(
            BasicBlock(4 * c, 8 * c, stride=2, **norm),
            *attend(8 * c, semantic_kernel, blocks=2, **inside),
        )
        self.detail4 = nn.Sequential(
            BasicBlock(2 * c, 2 * c, **norm), *attend(2 * c, detail_kernel, blocks=1, **inside)
        )
        self.guide4 = SemanticGuide(2 * c, 8 * c, c, **norm)

    def stages(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the shared part.

        Args:
            x: Images. Shape (N, 3, H, W).

        Returns:
            The detail feature map after each of the two guides by the semantic branch,
            (N, 2c, H/8, W/8), and the semantic feature map, (N, 8c, H/32, W/32).
        """
        x = self.layer2(self.layer1(self.stem(x)))  # (N, 2c, H/8, W/8)
        semantic = self.semantic3(x)  # (N, 4c, H/16, W/16)
        # The authors' ReLU works in place, so their auxiliary head also receives its result.
        auxiliary = F.relu(self.guide3(self.detail3(x), semantic), inplace=True)
        semantic = self.semantic4(semantic)  # (N, 8c, H/32, W/32)
        return auxiliary, self.guide4(self.detail4(auxiliary), semantic), semantic


@MODELS.register_module()
class BEVANet(BEVANetStages):
    """BEVANet's backbone: an image to the three feature maps that ``BEVAHead`` reads.

    Args:
        channels: c above: 64, or 32 in BEVANet-S.
        num_blocks: Basic blocks of layer1 (and the first detail stage), layer2 and the first
            semantic stage.
        context_channels: Channels of a DLKPPM branch.
        semantic_kernel: Side of the attention's cross in the semantic branch.
        detail_kernel: Side of the attention's cross in the detail branch.
        expansion: Ratio of hidden to outer channels in the EVA blocks.
        norm_cfg: Config of the batch norms. ``None`` and ``type='BN'`` are mmattn's
            LenientBatchNorm2d, which also trains on a single image.
        init_cfg: mmengine's initialisation; by default the constructor's weights are kept.

    Shape:
        - x: (N, 3, H, W), H and W at least 64
        - output: (auxiliary (N, 2c, h, w), main (N, 4c, h, w), boundary (N, 2c, h, w)) with
          h = ceil(H / 8), w = ceil(W / 8)

    Raises:
        ValueError: A number of blocks is less than 1, or a kernel size is not supported.

    Example:
        >>> import torch
        >>> maps = BEVANet(**BEVANet.variants["S"]).eval()(torch.zeros(1, 3, 64, 100))
        >>> [tuple(m.shape) for m in maps]
        [(1, 64, 8, 13), (1, 128, 8, 13), (1, 64, 8, 13)]
    """

    # BEVANet itself has the defaults. L has heads of 256 channels, the others of 128.
    variants: ClassVar[dict[str, dict]] = {
        "S": {"channels": 32, "num_blocks": (2, 2, 3)},
        "SW": {"channels": 64, "num_blocks": (2, 2, 3)},
        "L": {"channels": 64, "num_blocks": (3, 3, 4), "context_channels": 112},
    }

    def __init__(
        self,
        *,
        channels: int = 64,
        num_blocks: Sequence[int] = (2, 2, 4),
        context_channels: int = 96,
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
        self.semantic5 = nn.Sequential(
            BasicBlock(8 * c, 16 * c, stride=2, norm_cfg=norm_cfg),
            *attend(16 * c, semantic_kernel, blocks=2, expansion=expansion, norm_cfg=norm_cfg),
        )
        self.detail5 = Bottleneck(2 * c, 4 * c, norm_cfg=norm_cfg)
        self.boundary5 = Bottleneck(2 * c, 4 * c, norm_cfg=norm_cfg)
        self.context = DLKPPM(16 * c, context_channels, 4 * c, norm_cfg=norm_cfg)
        self.fusion = BGAF(4 * c, norm_cfg=norm_cfg)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        auxiliary, detail, semantic = self.stages(x)
        semantic = self.context(self.semantic5(semantic))  # (N, 4c, H/64, W/64)
        main = self.fusion(
            self.detail5(detail), resize(semantic, detail), self.boundary5(detail)
        )  # (N, 4c, H/8, W/8)
        return auxiliary, main, detail

    def fused(self) -> nn.Module:
        # Two norms of the fusion follow sums of convolutions; the bilinear resize between them is
        # linear and keeps constants.
        for source, reader in (
            (self.detail5, self.fusion.detail),
            (self.context, self.fusion.semantic),
        ):
            source.absorb(affine_of(reader.norm))
            reader.norm = nn.Identity()
        return fuse_children(self).to(memory_format=torch.channels_last)


def attend(
    channels: int, kernel_size: int, *, blocks: int, expansion: int, norm_cfg: dict | None
) -> list[nn.Module]:
    """Return EVA blocks, each followed by a layer norm."""
    layers: list[nn.Module] = []
    for _ in range(blocks):
        block = EVABlock(channels, kernel_size=kernel_size, expansion=expansion, norm_cfg=norm_cfg)
        layers += [block, LayerNorm2d(channels)]
    return layers
