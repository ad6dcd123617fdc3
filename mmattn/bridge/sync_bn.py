"""Lets a model with mmcv's own SyncBN be built and run by a single process.

``MMSyncBN``, which some heads of mmdet have for its empty inputs, asks for the size of its process
group when it is built, and raises a ValueError where there is none: at inference, and in every
training on one device. Alone it is batch norm, as ``torch.nn.SyncBatchNorm`` is.
"""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any

import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F


def patch_sync_bn(sync_bn: ModuleType) -> None:
    """Give ``mmcv.ops.sync_bn.SyncBatchNorm`` a group of one where no group exists, once."""
    layer = sync_bn.SyncBatchNorm
    original_init, original_forward = layer.__init__, layer.forward
    if hasattr(original_init, "__wrapped__"):
        return

    @functools.wraps(original_init)
    def init(self, num_features: int, *args, group: Any = None, **kwargs) -> None:
        # Beyond eps, momentum, affine and track_running_stats a group is given by position.
        alone = group is None and len(args) < 5 and not _in_group()
        if alone:
            group = dist.GroupMember.NON_GROUP_MEMBER  # whose size can be asked for
        if len(args) < 5:
            kwargs["group"] = group
        original_init(self, num_features, *args, **kwargs)
        if alone:
            self.group, self.group_size = None, 1

    @functools.wraps(original_forward)
    def forward(self, input: Tensor) -> Tensor:
        if self.group is not None:
            return original_forward(self, input)
        momentum = self.momentum
        if self.training and self.track_running_stats:
            self.num_batches_tracked += 1
            if momentum is None:  # a cumulative average
                momentum = 1.0 / float(self.num_batches_tracked)
        return F.batch_norm(
            input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            momentum or 0.0,
            self.eps,
        )

    layer.__init__, layer.forward = init, forward


def _in_group() -> bool:
    return dist.is_available() and dist.is_initialized()
