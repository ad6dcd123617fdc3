"""Lets mmseg's cross entropy take ``class_weight`` where pixels are ignored.

Its mean divides by the sum of the pixels' class weights. The original mmseg looks up a weight for
ignored pixels too, whose label 255 is no class, and raises an IndexError; the forked one does so
with ``avg_non_ignore=True``. Here the sum is over the pixels that count, as in
``torch.nn.functional.cross_entropy`` and as the forked mmseg has it otherwise.
"""

from __future__ import annotations

import functools
from types import ModuleType

from torch import Tensor

from ._replacing import replace


def patch_class_weight(losses: ModuleType) -> None:
    """Give ``cross_entropy`` of ``mmseg.models.losses.cross_entropy_loss`` its divisor, once."""
    original = losses.cross_entropy
    if hasattr(original, "__wrapped__"):
        return

    @functools.wraps(original)
    def cross_entropy(
        pred: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        class_weight: Tensor | None = None,
        reduction: str = "mean",
        avg_factor: float | Tensor | None = None,
        ignore_index: int = -100,
        avg_non_ignore: bool = False,
    ) -> Tensor:
        if class_weight is not None and avg_factor is None and reduction == "mean":
            avg_factor = class_weight[label[label != ignore_index]].sum()
        return original(
            pred,
            label,
            weight,
            class_weight=class_weight,
            reduction=reduction,
            avg_factor=avg_factor,
            ignore_index=ignore_index,
            avg_non_ignore=avg_non_ignore,
        )

    replace(losses, "cross_entropy", cross_entropy)
