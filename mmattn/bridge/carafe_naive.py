"""Lets ``mmcv.ops.carafe_naive`` run backward wherever its forward runs.

mmcv's function asserts that the gradient lies on a GPU, since its compiled op has no CPU version.
Ours has; nothing is changed where the compiled op is the one in use.
"""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor


def allow_any_device(carafe_module: ModuleType) -> None:
    """Replace the backward of ``mmcv.ops.carafe.CARAFENaiveFunction`` by one for any device."""
    ext = carafe_module.ext_module
    if ext.__spec__.origin != "mmattn.bridge.ext":
        return

    def backward(ctx, grad_output: Tensor) -> tuple:
        features, masks = ctx.saved_tensors
        grad_features, grad_masks = torch.zeros_like(features), torch.zeros_like(masks)
        ext.carafe_naive_backward(
            grad_output,
            features,
            masks,
            grad_features,
            grad_masks,
            kernel_size=ctx.kernel_size,
            group_size=ctx.group_size,
            scale_factor=ctx.scale_factor,
        )
        return grad_features, grad_masks, None, None, None

    carafe_module.CARAFENaiveFunction.backward = staticmethod(backward)
