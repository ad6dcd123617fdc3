"""Mask2Former's head for mmseg's segmentors; mmdet is not needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mmattn.errors import ConfigError, DataError
from mmattn.ops import is_exporting
from mmattn.registry import MODELS

from .batched_results import batched_semantic_scores
from .build_loss import build_loss
from .mask_bands import ResizedMasks
from .mask_bits import MaskBits, Size
from .network import Mask2FormerNetwork
from .postprocess import semantic_scores
from .targets import MaskTargets


@MODELS.register_module()
class Mask2FormerDecodeHead(Mask2FormerNetwork):
    """Decode head for ``EncoderDecoder``: a mask for each class that is in the image.

    Weights have the names of mmseg's ``Mask2FormerHead``, so that its checkpoints fit. It returns
    scores, sum_i p_i(c) s_i, where other heads return logits; they are 0 or more.

    Args:
        in_channels: Channels of the backbone's feature maps, from high to low resolution.
        num_classes: Number of classes K.
        ignore_index: Label that is no class.
        align_corners: False; mmseg's segmentors resize scores with it, masks are always False.
        loss_cfg: Arguments of ``MaskMatchingLoss`` besides the number of classes.
        **network: Arguments of ``Mask2FormerNetwork``: num_queries, channels, recompute, ….

    Raises:
        ConfigError: An argument does not fit.
        ValueError: A number is below its least value.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        num_classes: int,
        *,
        ignore_index: int = 255,
        align_corners: bool = False,
        loss_cfg: dict[str, Any] | None = None,
        **network: Any,
    ):
        if 0 <= ignore_index < num_classes:
            raise ConfigError(
                f"ignore_index={ignore_index} is one of the num_classes={num_classes} classes"
            )
        super().__init__(in_channels, num_classes, **network)
        self.out_channels = num_classes
        self.ignore_index = ignore_index
        self.align_corners = align_corners
        self.loss_terms = build_loss(num_classes, loss_cfg)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the logits of classes (B, Q, K + 1) and of masks (B, Q, h, w), the last layer's.

        Args:
            inputs: Feature maps.
        """
        predictions = self.predict_masks(inputs, every_layer=False)
        return predictions.class_logits[-1], predictions.mask_logits()

    def loss(
        self, inputs: Sequence[Tensor], batch_data_samples: list, train_cfg: Any = None
    ) -> dict[str, Tensor]:
        """Return the losses of all layers, see ``MaskMatchingLoss``.

        Args:
            inputs: Feature maps.
            batch_data_samples: ``gt_sem_seg`` with ``data``, (1, H, W), of the input's size.
            train_cfg: Not needed.

        Raises:
            DataError: A label is neither a class nor ``ignore_index``.
        """
        predictions = self.predict_masks(inputs, every_layer=True)
        targets = [self._targets(sample.gt_sem_seg.data[0]) for sample in batch_data_samples]
        return self.loss_terms(predictions, targets)

    def _targets(self, label_map: Tensor) -> MaskTargets:
        here = torch.unique(label_map)
        here = here[here != self.ignore_index]
        size = (label_map.shape[0], label_map.shape[1])
        return MaskTargets(here.long(), MaskBits.of_labels(label_map, here, size))

    def predict(
        self, inputs: Sequence[Tensor], batch_img_metas: list[dict], test_cfg: Any = None
    ) -> Tensor:
        """Return the scores of every class, (B, K, H, W), at the size of the input or window.

        Args:
            inputs: Feature maps.
            batch_img_metas: ``img_shape`` and ``pad_shape``, of which the input has one; windows
                that slide have ``img_shape``.
            test_cfg: Not needed.
        """
        classes, masks = self(inputs)
        if is_exporting():
            size = tuple(batch_img_metas[0]["img_shape"][:2])
            return batched_semantic_scores(classes.float(), masks.float(), size)
        size = _input_size(batch_img_metas[0], masks)
        scores = [
            semantic_scores(of_image.float(), ResizedMasks(logits.float(), size, size))
            for of_image, logits in zip(classes, masks, strict=True)
        ]
        return torch.stack(scores)


def _input_size(meta: dict, masks: Tensor) -> Size:
    """Return the size in ``meta`` of which the masks' is a fraction.

    mmseg pads images at inference, which ``img_shape`` does not tell, and cuts windows out of them,
    of which ``pad_shape`` does not tell; masks are a quarter of the input, rounded up.
    """
    small = (masks.shape[2], masks.shape[3])
    fitting = []
    for key in ("pad_shape", "img_shape"):
        size = tuple(meta.get(key, ())[:2])
        if len(size) == 2 and (power := _power(size, small)) is not None:
            fitting.append((power, size))
    if fitting:
        # A window of half an image is a smaller fraction of the image, too.
        return min(fitting, key=lambda found: found[0])[1]
    raise DataError(
        f"masks of {small} belong neither to pad_shape={meta.get('pad_shape')} nor to "
        f"img_shape={meta.get('img_shape')}: the pipeline must pack these for the network's input"
    )


def _power(size: Size, small: Size) -> int | None:
    """Return n where both sides of ``small`` are 1/2^n of those of ``size``, rounded up."""
    fractions = (tuple(-(-side // 2**power) for side in size) for power in range(7))
    return next((power for power, sides in enumerate(fractions) if sides == small), None)
