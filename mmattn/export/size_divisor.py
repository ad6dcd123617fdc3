"""Sizes that a network accepts, found by trying, since no config says it."""

from __future__ import annotations

import numpy as np
from torch import nn

from mmattn.errors import ExportError

from .tasks.task import ExportTask


def find_size_divisor(
    task: ExportTask, model: nn.Module, shape: tuple[int, int], *, at_least: int = 1
) -> int:
    """Return the smallest power of two whose odd multiples are accepted as height and width.

    Some networks (PIDNet, DDRNet) add a branch resized to ``H // 8`` to one of ``ceil(H / 8)``;
    they refuse other sizes in torch already.

    Args:
        task: Task of the model.
        model: Model in eval mode.
        shape: Height and width; sizes near them are tried.
        at_least: Smallest divisor that is tried.

    Raises:
        ExportError: Not even multiples of 128 run.
    """
    divisor, error = 1, None
    while divisor <= 128:
        if divisor >= at_least:
            # Odd multiples: a multiple of 2 * divisor would not tell divisor from its double.
            height, width = ((max(side // divisor, 1) | 1) * divisor for side in shape)
            try:
                task.run_torch(model, np.zeros((1, height, width, 3), np.uint8))
                return divisor
            except RuntimeError as failure:
                error = failure
        divisor *= 2
    raise ExportError(
        f"the network runs at no size near {shape[0]} x {shape[1]}; give --shape"
    ) from error
