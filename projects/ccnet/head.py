"""CCNet's segmentation heads (Huang et al., ICCV 2019 and TPAMI 2020, arXiv:1811.11721).

    x -> conv 3x3 -> H -> criss-cross attention, R times with shared weights -> H''
    concat(x, conv 3x3 (H'')) -> conv 3x3 -> classifier

Two families of weights exist. mmseg's use ReLU after each norm. The authors' use LeakyReLU with
slope 0.01, the default of the in-place norm they train with, and a wider auxiliary head whose
convolution has a bias: ``act_cfg=dict(type='LeakyReLU', negative_slope=0.01)`` and
``DeepSupervisionHead``.
"""

from __future__ import annotations

import torch
from mmseg.models.decode_heads import FCNHead
from torch import Tensor, nn

from mmattn.registry import MODELS

from .attention import CrissCrossAttention


@MODELS.register_module()
class CCHead(FCNHead):
    """Criss-cross attention head, key by key the layout of mmseg's ``CCHead``.

    Args:
        recurrence: How often attention is applied, R in the paper; 0 leaves a plain FCN head.
        loss_category: Category-consistent loss on the attended features, as a config, for example
            ``dict(type='mmattn.CategoryConsistentLoss')``; None, the default, leaves it out.
        category_channels: Channels that a 1x1 convolution reduces the attended features to before
            ``loss_category``. The layer exists only with that loss and is not used in prediction.
        **kwargs: Arguments of mmseg's ``FCNHead``: in_channels, channels, num_classes, act_cfg, …
    """

    def __init__(
        self,
        *,
        recurrence: int = 2,
        loss_category: dict | None = None,
        category_channels: int = 16,
        **kwargs,
    ):
        super().__init__(num_convs=2, **kwargs)
        self.cca = CrissCrossAttention(self.channels, recurrence=recurrence)
        self.loss_category = None
        if loss_category is not None:
            self.loss_category = MODELS.build(loss_category)
            self.category_conv = nn.Conv2d(self.channels, category_channels, 1)

    def _attend(self, x: Tensor) -> Tensor:
        """Return the attended features H''. Shape (N, in_channels, H, W) -> (N, channels, H, W)."""
        return self.cca(self.convs[0](x))

    def _decode(self, x: Tensor, attended: Tensor) -> Tensor:
        """Return the input of the classifier. Shape (N, channels, H, W)."""
        features = self.convs[1](attended)
        if self.concat_input:
            features = self.conv_cat(torch.cat([x, features], dim=1))
        return features

    def _forward_feature(self, inputs: tuple[Tensor, ...]) -> Tensor:
        x = self._transform_inputs(inputs)
        return self._decode(x, self._attend(x))

    def loss(self, inputs: tuple[Tensor, ...], batch_data_samples: list, train_cfg) -> dict:
        """Return losses by name; the category-consistent loss has its own ``loss_name``."""
        if self.loss_category is None:
            return super().loss(inputs, batch_data_samples, train_cfg)
        x = self._transform_inputs(inputs)
        attended = self._attend(x)
        losses = self.loss_by_feat(self.cls_seg(self._decode(x, attended)), batch_data_samples)
        losses[self.loss_category.loss_name] = self.loss_category(
            self.category_conv(attended),
            self._stack_batch_gt(batch_data_samples).squeeze(1),
            ignore_index=self.ignore_index,
        )
        return losses


@MODELS.register_module()
class DeepSupervisionHead(FCNHead):
    """The authors' auxiliary head ("dsn"): a 3x3 convolution that has a bias before its norm.

    A bias before a norm has no effect, but the authors' checkpoints contain it.

    Args:
        num_convs: Number of such convolutions.
        concat_input: Whether the classifier also receives the input, as in mmseg's ``FCNHead``.
        **kwargs: Arguments of mmseg's ``FCNHead``; the authors use in_channels=1024, channels=512
            and a loss weight of 0.4.
    """

    def __init__(self, *, num_convs: int = 1, concat_input: bool = False, **kwargs):
        super().__init__(num_convs=num_convs, concat_input=concat_input, **kwargs)
        for layer in self.convs:
            layer.conv.bias = nn.Parameter(torch.zeros(self.channels))
