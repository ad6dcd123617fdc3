"""The loss from a head's ``loss_cfg``."""

from __future__ import annotations

from typing import Any

from mmattn.errors import ConfigError

from .loss import MaskMatchingLoss


def build_loss(num_classes: int, loss_cfg: dict[str, Any] | None) -> MaskMatchingLoss:
    """Build the loss.

    Args:
        num_classes: Number of classes.
        loss_cfg: The other arguments of ``MaskMatchingLoss``.

    Raises:
        ConfigError: An argument is unknown, or out of its range.
    """
    try:
        return MaskMatchingLoss(num_classes, **(loss_cfg or {}))
    except TypeError as error:
        raise ConfigError(f"loss_cfg does not fit MaskMatchingLoss: {error}") from error
