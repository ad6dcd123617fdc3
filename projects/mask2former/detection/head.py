"""Mask2Former's head for mmdet's detectors: instance and panoptic segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmdet.structures import DetDataSample
from torch import Tensor
from torch.nn import functional as F

from mmattn.errors import ConfigError
from mmattn.layers.checks import require_at_least
from mmattn.registry import MODELS

from ..build_loss import build_loss
from ..network import Mask2FormerNetwork
from .mmdet_arguments import from_mmdet
from .targets import targets_of


@MODELS.register_module()
class Mask2FormerHead(Mask2FormerNetwork):
    """Head of ``mmattn.Mask2Former``, or of mmdet's detector of that name.

    Weights have the names of mmdet's ``Mask2FormerHead``, so that its checkpoints fit.

    Args:
        in_channels: Channels of the backbone's feature maps, from high to low resolution.
        num_things_classes: Classes with countable objects, the first ones.
        num_stuff_classes: Classes without; 0 for instance segmentation.
        loss_cfg: Arguments of ``MaskMatchingLoss`` besides the number of classes, such as
            ``dict(num_points=4096)``.
        train_cfg: None or empty, as there is nothing to set; mmdet's detectors give it.
        test_cfg: Settings of the fusion head, which mmdet's detectors give here as well.
        **network: Arguments of ``Mask2FormerNetwork``: num_queries, channels, recompute, …; or
            those of mmdet's head, which ``from_mmdet`` translates, with its ``train_cfg``.

    Raises:
        ConfigError: ``train_cfg`` is not empty, or an argument does not fit.
        ValueError: A number is below its least value.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        num_things_classes: int = 80,
        num_stuff_classes: int = 53,
        *,
        loss_cfg: dict[str, Any] | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        **network: Any,
    ):
        require_at_least(
            0, num_things_classes=num_things_classes, num_stuff_classes=num_stuff_classes
        )
        network = from_mmdet({**network, "loss_cfg": loss_cfg, "train_cfg": train_cfg})
        loss_cfg, train_cfg = network.pop("loss_cfg"), network.pop("train_cfg", None)
        if train_cfg:
            raise ConfigError(f"train_cfg has no entries here, got {train_cfg}; see loss_cfg")
        super().__init__(in_channels, num_things_classes + num_stuff_classes, **network)
        self.num_things_classes = num_things_classes
        self.num_stuff_classes = num_stuff_classes
        self.test_cfg = test_cfg
        self.loss_terms = build_loss(self.num_classes, loss_cfg)

    def forward(
        self, x: Sequence[Tensor], batch_data_samples: list[DetDataSample] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the logits of classes (B, Q, K + 1) and of masks (B, Q, h, w), the last layer's.

        Args:
            x: Feature maps.
            batch_data_samples: Not needed.
        """
        predictions = self.predict_masks(x, every_layer=False)
        return predictions.class_logits[-1], predictions.mask_logits()

    def loss(
        self, x: Sequence[Tensor], batch_data_samples: list[DetDataSample]
    ) -> dict[str, Tensor]:
        """Return the losses of all layers, see ``MaskMatchingLoss``.

        Args:
            x: Feature maps.
            batch_data_samples: Ground truth, see ``targets_of``.

        Raises:
            DataError: Ground truth is missing, or a label is not one of the classes.
        """
        predictions = self.predict_masks(x, every_layer=True)
        targets = [
            targets_of(sample, self.num_things_classes, self.num_stuff_classes)
            for sample in batch_data_samples
        ]
        return self.loss_terms(predictions, targets)

    def predict(
        self, x: Sequence[Tensor], batch_data_samples: list[DetDataSample]
    ) -> tuple[Tensor, Tensor]:
        """Return what mmdet's detectors ask for: logits of masks at the size of the input.

        ``mmattn.Mask2Former`` asks for the small ones of ``forward`` instead.

        Args:
            x: Feature maps.
            batch_data_samples: ``batch_input_shape`` is the size of the input.

        Returns:
            Logits of classes (B, Q, K + 1) and of masks (B, Q, H, W).
        """
        classes, masks = self(x)
        size = tuple(batch_data_samples[0].metainfo["batch_input_shape"])
        return classes, F.interpolate(masks, size, mode="bilinear", align_corners=False)
